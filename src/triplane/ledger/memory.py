"""A ledger that lives as long as its process: for tests, for short programs, and as the model for other stores."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import ConfigError, LedgerFailed
from triplane.core.records import Record

from .artifacts import FileArtifacts
from .following import Follower
from .run_id import check_run_id
from .wall_clock import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from triplane.core.records import Body


@final
class MemoryLog:
    """One run's records, in a list."""

    def __init__(self, run_id: str, clock: Callable[[], float]) -> None:
        self._run_id = run_id
        self._clock = clock
        self._records: list[Record] = []
        self._grown = trio.Event()
        # The claim that may append, 0 while there is none.
        self.latest_token = 0
        self.claimed_by = 0

    def __repr__(self) -> str:
        return f"<MemoryLog {self._run_id}: {len(self._records)} records>"

    @property
    def run_id(self) -> str:
        """The run."""
        return self._run_id

    @property
    def records(self) -> tuple[Record, ...]:
        """All of them, without waiting."""
        return tuple(self._records)

    def append(self, body: Body) -> Record:
        """Append one record and wake whoever waits for it. Not a checkpoint."""
        record = Record(len(self._records), self._clock(), body)
        self._records.append(record)
        if self._grown.statistics().tasks_waiting:
            self._grown.set()
            self._grown = trio.Event()
        return record

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """See `RunLog.read`."""
        await trio.lowlevel.checkpoint()
        start = max(after + 1, 0)
        return self._records[start : start + limit]

    async def wait(self, after: int) -> None:
        """See `RunLog.wait`."""
        await trio.lowlevel.checkpoint()
        while len(self._records) <= after + 1:
            await self._grown.wait()


@final
class ClaimedMemoryLog:
    """The claim to a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        log.latest_token += 1
        log.claimed_by = self._token = log.latest_token

    def __repr__(self) -> str:
        return f"<ClaimedMemoryLog {self._log!r}>"

    @property
    def run_id(self) -> str:
        """The run."""
        return self._log.run_id

    @property
    def records(self) -> tuple[Record, ...]:
        """All of them, without waiting."""
        return self._log.records

    @property
    def token(self) -> int:
        """See `ClaimedLog.token`."""
        return self._token

    def append(self, body: Body) -> Record:
        """See `ClaimedLog.append`."""
        if self._log.claimed_by != self._token:
            raise LedgerFailed(
                f"the claim to run {self.run_id} was given back; nothing more can be appended",
                operation="write",
                reason="claim_lost",
            )
        return self._log.append(body)

    async def durable(self) -> None:
        """Return at once: this store promises nothing beyond the life of its process. A checkpoint."""
        await trio.lowlevel.checkpoint()

    def release(self) -> None:
        """See `ClaimedLog.release`."""
        if self._log.claimed_by == self._token:
            self._log.claimed_by = 0

    async def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """See `RunLog.read`."""
        return await self._log.read(after, limit)

    async def wait(self, after: int) -> None:
        """See `RunLog.wait`."""
        await self._log.wait(after)


@final
class MemoryLedger:
    """Logs in memory, by run id: they end with the process.

    Args:
        clock: Gives the wall-clock time that records carry, in seconds since 1970; see `open_ledger`.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = checked(clock)
        self._logs: dict[str, MemoryLog] = {}
        self._artifacts = FileArtifacts()

    @property
    def artifacts(self) -> FileArtifacts:
        """Where long outputs go: files in a temporary directory, which goes with this ledger."""
        return self._artifacts

    def __repr__(self) -> str:
        return f"<MemoryLedger: {len(self._logs)} runs>"

    @property
    def logs(self) -> Mapping[str, MemoryLog]:
        """The logs by run id, in the order in which the runs began, without waiting."""
        return MappingProxyType(self._logs)

    def create(self, run_id: str) -> ClaimedMemoryLog:
        """See `Ledger.create`."""
        check_run_id(run_id)
        if run_id in self._logs:
            raise ConfigError(f"this ledger already has a run {run_id!r}; every run needs an id of its own")
        log = self._logs[run_id] = MemoryLog(run_id, self._clock)
        return ClaimedMemoryLog(log)

    async def claim(self, run_id: str) -> ClaimedMemoryLog:
        """See `Ledger.claim`."""
        log = await self.open(run_id)
        if log.claimed_by:
            raise LedgerFailed(
                f"run {run_id} is being driven by an engine of this process; wait for it to end, then ask again",
                operation="claim",
                reason="claimed",
            )
        return ClaimedMemoryLog(log)

    async def open(self, run_id: str) -> MemoryLog:
        """See `Ledger.open`."""
        check_run_id(run_id)
        await trio.lowlevel.checkpoint()
        try:
            return self._logs[run_id]
        except KeyError:
            raise ConfigError(f"this ledger has no run {run_id!r}") from None

    async def run_ids(self) -> Sequence[str]:
        """See `Ledger.run_ids`."""
        await trio.lowlevel.checkpoint()
        return tuple(self._logs)

    def follow(self, run_id: str, after: int = -1) -> Follower:
        """See `Ledger.follow`."""
        return Follower(self, run_id, after)
