"""A ledger that lives as long as its process: for tests, for short programs, and as the model for other stores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import ConfigError
from triplane.core.records import Record

from .artifacts import FileArtifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triplane.core.records import Body


@final
class MemoryLog:
    """One run's records, in a list."""

    def __init__(self, run_id: str, clock: Callable[[], float]) -> None:
        self._run_id = run_id
        self._clock = clock
        self._records: list[Record] = []
        self._grown = trio.Event()

    def __repr__(self) -> str:
        return f"<MemoryLog {self._run_id}: {len(self._records)} records>"

    @property
    def run_id(self) -> str:
        """The run."""
        return self._run_id

    def append(self, body: Body) -> Record:
        """See `RunLog.append`."""
        record = Record(len(self._records), self._clock(), body)
        self._records.append(record)
        if self._grown.statistics().tasks_waiting:
            self._grown.set()
            self._grown = trio.Event()
        return record

    async def durable(self) -> None:
        """Return at once: this store promises nothing beyond the life of its process. A checkpoint."""
        await trio.lowlevel.checkpoint()

    def read(self, after: int, limit: int = 1_000) -> Sequence[Record]:
        """See `RunLog.read`."""
        return self._records[after + 1 : after + 1 + limit]

    async def wait(self, after: int) -> None:
        """See `RunLog.wait`."""
        await trio.lowlevel.checkpoint()
        while len(self._records) <= after + 1:
            await self._grown.wait()


@final
class MemoryLedger:
    """Logs by run id.

    Args:
        clock: Gives the wall-clock time that records carry, in seconds since 1970.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._logs: dict[str, MemoryLog] = {}
        self._artifacts = FileArtifacts()

    @property
    def artifacts(self) -> FileArtifacts:
        """Where long outputs go: files in a temporary directory, which goes with this ledger."""
        return self._artifacts

    def __repr__(self) -> str:
        return f"<MemoryLedger: {len(self._logs)} runs>"

    def create(self, run_id: str) -> MemoryLog:
        """See `Ledger.create`."""
        if run_id in self._logs:
            raise ConfigError(f"this ledger already has a run {run_id!r}; every run needs an id of its own")
        log = self._logs[run_id] = MemoryLog(run_id, self._clock)
        return log

    def open(self, run_id: str) -> MemoryLog:
        """See `Ledger.open`."""
        try:
            return self._logs[run_id]
        except KeyError:
            raise ConfigError(f"this ledger has no run {run_id!r}") from None

    def run_ids(self) -> Sequence[str]:
        """See `Ledger.run_ids`."""
        return tuple(self._logs)
