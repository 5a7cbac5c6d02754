"""How anybody follows a run's records: those that are there, then each as it comes, until the run has ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, final

import trio

from triplane.core.records import RunEnded

if TYPE_CHECKING:
    from triplane.core.records import Record
    from triplane.core.store import Ledger, RunLog

# How many records are read at once. A viewer of a long log holds no more of it than that.
_BATCH = 256


@final
class Follower:
    """An asynchronous iterator over the records of one run, for one task. It holds nothing that has to be closed.

    Args:
        ledger: The store.
        run_id: The run.
        after: The sequence number of the last record that is not wanted.
    """

    def __init__(self, ledger: Ledger, run_id: str, after: int = -1) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._after = after
        self._log: RunLog | None = None
        self._records: deque[Record] = deque()
        self._ended = False

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Record:
        """The next record. A checkpoint; cancelling it loses nothing.

        Raises:
            StopAsyncIteration: The run has ended and everything was given.
            ConfigError: The ledger has no such run.
            LedgerCorrupt: The log is damaged there.
            LedgerFailed: The store could not be read.
        """
        if self._log is None:
            self._log = await self._ledger.open(self._run_id)
            await self._look_at_the_end()
        elif self._records:
            await trio.lowlevel.checkpoint()
        while not self._records:
            # Also after an end: the run may have been resumed.
            self._records.extend(await self._log.read(self._after, _BATCH))
            if not self._records:
                if self._ended:
                    raise StopAsyncIteration
                await self._log.wait(self._after)
        record = self._records.popleft()
        self._after = record.sequence
        self._ended = isinstance(record.body, RunEnded)
        return record

    async def _look_at_the_end(self) -> None:
        # Whoever begins behind the end of a run that is over would wait for ever.
        if self._after >= 0 and self._log is not None:
            last = await self._log.read(self._after - 1, 1)
            self._ended = bool(last) and isinstance(last[0].body, RunEnded)
