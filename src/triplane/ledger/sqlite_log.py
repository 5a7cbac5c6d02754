"""One run's log on disk: in the hands of the one who appends to it, and for everybody else."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import ConfigError, LedgerFailed
from triplane.core.records import Record

from .chain import pack
from .encoding import encode
from .sqlite_rows import find_run, read_run

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from triplane.core.records import Body

    from .sqlite import SqliteLedger
    from .sqlite_writer import Claim

# How many bytes of records that are in the file stay in memory for readers; who is further behind reads the file.
_TAIL = 256 * 1024


@final
class SqliteLog:
    """A log with the claim to it. Made by `SqliteLedger.create` and `SqliteLedger.claim`."""

    def __init__(self, ledger: SqliteLedger, claim: Claim) -> None:
        self._ledger = ledger
        self._claim = claim
        self._next = claim.records
        # The newest records; the first of them is number `_first`.
        self._tail: list[Record] = []
        self._sizes: deque[int] = deque()
        self._first = claim.records
        self._bytes = 0
        self._ticket = 0
        self._released = False
        self._is_over = False
        self._failure: LedgerFailed | None = None
        self._grown = trio.Event()
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<SqliteLog {self.run_id}: {self._next} records, {len(self._tail)} of them in memory>"

    @property
    def run_id(self) -> str:
        """The run."""
        return self._claim.run_id

    @property
    def token(self) -> int:
        """See `ClaimedLog.token`."""
        return self._claim.token

    def append(self, body: Body) -> Record:
        """See `ClaimedLog.append`.

        Whoever reads the log gets what `redact` made of the record; only the caller gets back what was given.

        Raises:
            ConfigError: What `redact` returned, or what the clock says, cannot be written.
            LedgerFailed: See there.
        """
        ledger = self._ledger
        if self._failure is not None:
            raise self._failure.again()
        if self._released:
            words = f"the claim to run {self.run_id} was given back; nothing more can be appended"
            raise LedgerFailed(words, path=ledger.path, operation="write", reason="claim_lost")
        ledger.check_writable()
        at = ledger.clock()
        kept = body if ledger.redact is None else _redacted(ledger.redact, body)
        # Its bytes are made here, so that what is written is what was appended, whatever becomes of the parts.
        packed = pack(at, encode(kept))
        record = Record(self._next, at, kept)
        size = len(packed)
        self._tail.append(record)
        self._sizes.append(size)
        self._bytes += size
        self._next += 1
        self._ticket = ledger.enqueue((self._claim, packed))
        if self._waiting:
            self._grown.set()
            self._grown = trio.Event()
        return record if kept is body else Record(record.sequence, at, body)

    async def durable(self) -> None:
        """See `ClaimedLog.durable`."""
        await self._ledger.written(self._ticket)
        if self._failure is not None:
            raise self._failure.again()

    def release(self) -> None:
        """See `ClaimedLog.release`."""
        if not self._released:
            self._released = True
            self._ticket = self._ledger.release(self._claim)

    @property
    def is_released(self) -> bool:
        """Whether the claim was given back, though the file may not say so yet."""
        return self._released

    async def given_back(self) -> None:
        """Return once the file says that the claim was given back, or that it was lost. A checkpoint."""
        await self._ledger.written(self._ticket)

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """See `RunLog.read`."""
        after = max(after, -1)
        if after + 1 >= self._first:
            await trio.lowlevel.checkpoint()
            start = after + 1 - self._first
            # The tail may have been cut meanwhile.
            if start >= 0 and after + 1 >= self._first:
                return self._tail[start : start + limit]
        return await self._ledger.readers.look(partial(_read, run_id=self.run_id, after=after, limit=limit))

    async def wait(self, after: int) -> None:
        """See `RunLog.wait`."""
        while not await self.wait_while_live(after):
            await trio.sleep_forever()

    async def wait_while_live(self, after: int) -> bool:
        """Wait as `wait` does, but not after the end of the claim. Returns whether there is such a record. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self._waiting += 1
        try:
            while self._next <= after + 1 and not self._is_over:
                await self._grown.wait()
        finally:
            self._waiting -= 1
        return self._next > after + 1

    def note_written(self, records: int) -> None:
        """So many records are in the file: keep no more of them than readers will soon want."""
        if self._bytes <= 2 * _TAIL:
            return
        first = self._first
        while self._first < records and self._bytes > _TAIL:
            self._bytes -= self._sizes.popleft()
            self._first += 1
        del self._tail[: self._first - first]

    def note_over(self) -> None:
        """The claim is over: what comes from now on is in the file, and not here."""
        self._is_over = True
        self._grown.set()

    def note_lost(self, failure: LedgerFailed) -> None:
        """Nothing that is appended will be written any more."""
        self._failure = failure


@final
class StoredLog:
    """A log for reading, whoever appends to it: one engine after the other, here or elsewhere.

    What is appended here is read from memory, before the file has it.
    """

    def __init__(self, ledger: SqliteLedger, run_id: str) -> None:
        self._ledger = ledger
        self._run_id = run_id

    def __repr__(self) -> str:
        return f"<StoredLog {self._run_id} in {self._ledger.path}>"

    @property
    def run_id(self) -> str:
        """The run."""
        return self._run_id

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """See `RunLog.read`."""
        live = self._ledger.live(self._run_id)
        if live is not None:
            return await live.read(after, limit)
        return await self._ledger.readers.look(partial(_read, run_id=self._run_id, after=after, limit=limit))

    async def wait(self, after: int) -> None:
        """See `RunLog.wait`. Looks at the file 20 times a second, together with all others who wait."""
        while True:
            live = self._ledger.live(self._run_id)
            if live is not None:
                if await live.wait_while_live(after):
                    return
                continue
            changed = self._ledger.readers.changed
            if await self._ledger.readers.look(partial(_count, run_id=self._run_id)) > after + 1:
                return
            await self._ledger.readers.until(changed)


def _redacted(redact: Callable[[Body], Body], body: Body) -> Body:
    kept = redact(body)
    if type(kept) is not type(body):
        # The state that the log makes would be another one than the run's.
        raise ConfigError(
            f"redact= was given a {type(body).__name__} and returned a {type(kept).__name__}; what is written instead of a"
            " record is of the same class: attrs.evolve(body, …), or the body itself"
        )
    return kept


def _read(connection: sqlite3.Connection, path: str, *, run_id: str, after: int, limit: int) -> list[Record]:
    return read_run(connection, path, run_id, max(after, -1), limit)[1]


def _count(connection: sqlite3.Connection, path: str, *, run_id: str) -> int:
    return find_run(connection, path, run_id).records
