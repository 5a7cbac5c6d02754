"""What was appended, and what of it is durable? A ledger in memory that tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from triplane.core.records import FramesReceived
from triplane.ledger.following import Follower
from triplane.ledger.memory import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from triplane.core.records import Body, Record
    from triplane.ledger.memory import ClaimedMemoryLog


class WatchedLog:
    """A log in memory. What was appended is durable once a checkpoint of `durable` has passed, and not before.

    Attributes:
        records: All of them.
        durable_below: Records with a smaller sequence number would survive.
    """

    def __init__(self, log: ClaimedMemoryLog, ledger: WatchedLedger) -> None:
        self._log = log
        self._ledger = ledger
        self.run_id = log.run_id
        self.records: list[Record] = []
        self._as_appended: list[object] = []
        self.durable_below = 0

    def append(self, body: Body) -> Record:
        record = self._log.append(body)
        self.records.append(record)
        self._as_appended.append(_seen(record))
        self._ledger.fresh.append((self, record))
        return record

    def taken_up(self, claim: ClaimedMemoryLog) -> WatchedLog:
        """Append by another claim from here on."""
        self._log = claim
        return self

    def is_as_appended(self) -> bool:
        """Whether every record is what it was."""
        return self._as_appended == list(map(_seen, self.records))

    async def durable(self) -> None:
        asked = len(self.records)
        await self._log.durable()
        self.durable_below = max(self.durable_below, asked)

    @property
    def token(self) -> int:
        return self._log.token

    def release(self) -> None:
        self._log.release()

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        return await self._log.read(after, limit)

    async def wait(self, after: int) -> None:
        await self._log.wait(after)


def _seen(record: Record) -> object:
    """What a record says, to be compared later. Frames are text, which cannot change, and a lot of it."""
    return record.body.frames if isinstance(record.body, FramesReceived) else repr(record)


class WatchedLedger:
    """The store of `WatchedLog`s. Its clock is Trio's.

    Attributes:
        logs: By run id, in the order of their beginning.
        fresh: What was appended since somebody last took it from here.
    """

    def __init__(self) -> None:
        self._ledger = MemoryLedger(clock=trio.current_time)
        self.logs: dict[str, WatchedLog] = {}
        self.fresh: list[tuple[WatchedLog, Record]] = []

    def create(self, run_id: str) -> WatchedLog:
        log = self.logs[run_id] = WatchedLog(self._ledger.create(run_id), self)
        return log

    async def claim(self, run_id: str) -> WatchedLog:
        claim = await self._ledger.claim(run_id)
        return self.logs[run_id].taken_up(claim)

    async def open(self, run_id: str) -> WatchedLog:
        await self._ledger.open(run_id)
        return self.logs[run_id]

    async def run_ids(self) -> Sequence[str]:
        return await self._ledger.run_ids()

    def follow(self, run_id: str, after: int = -1) -> Follower:
        return Follower(self, run_id, after)

    def lines(self) -> Iterator[str]:
        """Everything, as text."""
        for run_id, log in self.logs.items():
            yield run_id
            yield from map(repr, log.records)
