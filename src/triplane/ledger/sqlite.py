"""The ledger on disk: one SQLite file for any number of runs, processes and viewers."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar, final, get_args

import trio

from triplane.core.errors import ConfigError, LedgerFailed, TriplaneError

from .artifacts import FileArtifacts
from .chain import seed
from .following import Follower
from .owner import generation, new_owner
from .run_id import check_run_id
from .sqlite_claims import remove_run, take_claim
from .sqlite_file import Sync, check_path
from .sqlite_log import SqliteLog, StoredLog
from .sqlite_readers import Readers
from .sqlite_rows import all_runs, find_run
from .sqlite_trouble import trouble
from .sqlite_writer import Claim, Writer
from .wall_clock import checked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence

    from triplane.core.errors import LedgerOperation
    from triplane.core.records import Body
    from triplane.core.store import RunLog

    from .sqlite_rows import RunRow
    from .sqlite_writer import Outcome, QueuedWrite

T = TypeVar("T")

# While the file cannot be written, appending goes on until so many records wait.
_MOST_UNWRITTEN = 100_000
# On top of `busy_timeout`, for the last group and the claims.
_CLOSE_GRACE = 5.0


@final
class SqliteLedger:
    """Logs in a file. Made by `open_ledger`; usable from any task of that Trio run."""

    def __init__(
        self,
        path: str,
        *,
        sync: Sync,
        busy_timeout: float,
        claim_seconds: float,
        redact: Callable[[Body], Body] | None,
        clock: Callable[[], float],
    ) -> None:
        self.path = path
        self.redact = redact
        self.clock = checked(clock)
        self.readers = Readers(path, busy_timeout, partial(self._check_open, "read"))
        self._busy_timeout = busy_timeout
        self._token = trio.lowlevel.current_trio_token()
        self.writer = Writer(
            path, sync, busy_timeout, claim_seconds, new_owner(), self.clock, self._note, self._token
        )
        self._artifacts = FileArtifacts(f"{path}-artifacts")
        self._process = os.getpid()
        self._generation = generation()
        self._closed = False
        # By claim for what the writing thread reports, by run for whoever wants to read.
        self._claims: dict[Claim, SqliteLog] = {}
        self._logs: dict[str, SqliteLog] = {}
        self._enqueued = 0
        self._written = 0
        self._tried = 0
        self._failure: TriplaneError | None = None
        self._rung = False
        # Who waits for durability, each with a ticket: whoever need not be woken yet goes on sleeping.
        self._waiting: list[tuple[int, trio.Event]] = []
        self._over = trio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._claims)} runs claimed"
        return f"<SqliteLedger {self.path}: {state}>"

    @property
    def artifacts(self) -> FileArtifacts:
        """Where long outputs go: files in a directory beside the ledger's file, whose name ends with ``-artifacts``."""
        return self._artifacts

    def create(self, run_id: str) -> SqliteLog:
        """See `Ledger.create`. A run of that id that another process has begun is met by `durable`."""
        self._check_open("write")
        check_run_id(run_id)
        if run_id in self._logs:
            raise ConfigError(f"this ledger already has a run {run_id!r}; every run needs an id of its own")
        return self._log(Claim(run_id, 1, self.clock(), seed(run_id)))

    async def claim(self, run_id: str) -> SqliteLog:
        """See `Ledger.claim`.

        The claim of an engine that is known to be dead, since it ran on this machine, counts for nothing; and one that
        was given back here is waited for until the file knows.
        """
        self._check_open("claim")
        check_run_id(run_id)
        await self._given_back(run_id)
        take = partial(take_claim, self.writer, run_id=run_id)
        try:
            claim = await self.ask(take, "claim", undo=self._give_back)
        except ConfigError:
            if run_id not in self._logs:
                raise
            # It was begun here, and the file does not know yet.
            raise LedgerFailed(
                f"run {run_id} has just been begun by an engine of this process, which drives it; wait for it to end,"
                " then ask again",
                path=self.path,
                operation="claim",
                reason="claimed",
            ) from None
        return self._log(claim)

    async def open(self, run_id: str) -> RunLog:
        """See `Ledger.open`."""
        check_run_id(run_id)
        if self.live(run_id) is not None:
            await trio.lowlevel.checkpoint()
        else:
            await self.readers.look(partial(find_run, run_id=run_id))
        return StoredLog(self, run_id)

    async def run_ids(self) -> Sequence[str]:
        """See `Ledger.run_ids`. Runs that were begun a moment ago may not be there yet."""
        return tuple(run.run_id for run in await self.runs())

    async def runs(self) -> Sequence[RunRow]:
        """What the file says of each run, in the order in which they began. A checkpoint."""
        return await self.readers.look(all_runs)

    def follow(self, run_id: str, after: int = -1) -> Follower:
        """See `Ledger.follow`."""
        return Follower(self, run_id, after)

    async def remove(self, run_id: str) -> None:
        """Delete a run for good, its artifacts included. A checkpoint; cancelled while it waits, it is done all the same.

        Raises:
            ConfigError: There is no such run.
            LedgerFailed: Somebody has the claim to it, or the file could not be written.
        """
        check_run_id(run_id)
        await self._given_back(run_id)

        def remove(connection: sqlite3.Connection) -> None:
            remove_run(self.writer, connection, run_id)
            # Here, and not by whoever waits for it: cancelled, that one would leave them, and nobody could ask again.
            self._artifacts.remove(run_id)

        await self.ask(remove, "write")

    # What follows is for the logs and for upkeep.

    def live(self, run_id: str) -> SqliteLog | None:
        """The log of a run that is being driven here, until the file has all of it."""
        return self._logs.get(run_id)

    def check_writable(self) -> None:
        """Raise if nothing can be appended now."""
        self._check_open("write")
        if self._failure is not None and self._enqueued - self._written > _MOST_UNWRITTEN:
            raise self._failure.again()

    def enqueue(self, entry: QueuedWrite) -> int:
        """Give something to the writing thread; returns its ticket for `written`. Not a checkpoint."""
        self.writer.entries.append(entry)
        self._enqueued += 1
        if not self._rung:
            self._rung = True
            self.writer.ring("soon")
        return self._enqueued

    def release(self, claim: Claim) -> int:
        """Have a claim given back after everything that was appended with it."""
        if self._closed:
            return self._enqueued
        return self.enqueue((claim, None))

    async def written(self, ticket: int) -> None:
        """Return once what has this ticket is in the file. A checkpoint.

        Raises:
            LedgerFailed, LedgerCorrupt: An attempt to write it has failed. It is tried again with the next one.
        """
        if self._written >= ticket:
            await trio.lowlevel.checkpoint()
        while self._written < ticket:
            self._check_open("write")
            settled = trio.Event()
            self._waiting.append((ticket, settled))
            if ticket > self._tried:
                self.writer.want(ticket)
            else:
                # It has failed before; this asks for another attempt.
                self.writer.ring("now")
            await settled.wait()
            if self._written < ticket <= self._tried and self._failure is not None:
                raise self._failure.again()

    def _log(self, claim: Claim) -> SqliteLog:
        log = self._claims[claim] = self._logs[claim.run_id] = SqliteLog(self, claim)
        return log

    async def _given_back(self, run_id: str) -> None:
        """Return once the file knows of a claim that was given back here. A checkpoint if it waits."""
        before = self.live(run_id)
        if before is not None and before.is_released:
            await before.given_back()

    def _give_back(self, claim: Claim) -> None:
        if not self._closed:
            self.enqueue((claim, None))

    def _check_open(self, operation: LedgerOperation) -> None:
        if self._closed:
            words = f"the ledger {self.path!r} was left; open it again with triplane.open_ledger"
            raise LedgerFailed(words, path=self.path, operation=operation, reason="closed")
        if generation() != self._generation:
            words = (
                f"the ledger {self.path!r} was opened by process {self._process}, of which this one is a fork;"
                " open it in the process that uses it"
            )
            raise LedgerFailed(words, path=self.path, operation=operation, reason="forked")

    async def ask(
        self,
        work: Callable[[sqlite3.Connection], T],
        operation: LedgerOperation,
        undo: Callable[[T], None] = lambda _value: None,
    ) -> T:
        """Have something done by the writing thread. A checkpoint; if cancelled, it is undone once it is done."""
        await trio.lowlevel.checkpoint()
        self._check_open(operation)
        answered = trio.Event()
        answer: list[T] = []
        failures: list[BaseException] = []
        waiting = True

        def job() -> None:
            try:
                with trouble(self.path, operation):
                    answer.append(work(self.writer.connection()))
            except BaseException as failure:  # noqa: BLE001  # raised where it was asked for
                failures.append(failure)
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(reply)

        def reply() -> None:
            answered.set()
            if not waiting and answer:
                undo(answer[0])

        self.writer.ask(job)
        try:
            await answered.wait()
        finally:
            waiting = False
        if failures:
            raise failures[0]
        return answer[0]

    def _note(self, outcome: Outcome) -> None:
        """Take note of what the writing thread has done. Called in Trio's thread."""
        self._written = outcome.written
        self._tried = outcome.tried
        if not outcome.is_last:
            self._failure = outcome.failure
        for claim, records in outcome.records.items():
            if claim in self._claims:
                self._claims[claim].note_written(records)
        for claim, failure in outcome.lost.items():
            if claim in self._claims:
                self._claims[claim].note_lost(failure)
        for claim in outcome.over:
            log = self._claims.pop(claim, None)
            if log is not None:
                if self._logs.get(claim.run_id) is log:
                    del self._logs[claim.run_id]
                log.note_over()
        self._wake(outcome.tried)
        if outcome.is_last:
            self._over.set()
        self._rung = self._enqueued > outcome.tried
        if self._rung:
            self.writer.ring("soon")

    def _wake(self, tried: int) -> None:
        """Wake those who wait for what has been tried."""
        waiting, self._waiting = self._waiting, []
        for ticket, settled in waiting:
            if ticket <= tried:
                settled.set()
            else:
                self._waiting.append((ticket, settled))

    async def _open(self) -> None:
        await trio.to_thread.run_sync(self.writer.open)
        self.writer.start()

    async def _close(self) -> None:
        """Write what is left, give the claims back and end the thread, as far as that is possible in time."""
        self._closed = True
        self.writer.ring("stop")
        with trio.CancelScope(shield=True, relative_deadline=self._busy_timeout + _CLOSE_GRACE):
            await self._over.wait()
        self.readers.close()
        self._wake(self._enqueued)
        while self._logs:
            self._logs.popitem()[1].note_over()

    def _raise_if_unwritten(self) -> None:
        left = self._enqueued - self._written
        if left:
            raise self._failure or LedgerFailed(
                f"the ledger {self.path!r} could not write its last {left} records in time",
                path=self.path,
                operation="write",
                reason="io",
            )


@asynccontextmanager
async def open_ledger(
    path: str | os.PathLike[str],
    *,
    sync: Sync = "normal",
    busy_timeout: float = 10.0,
    claim_seconds: float = 15.0,
    redact: Callable[[Body], Body] | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[SqliteLedger]:
    """Open a ledger on disk for as long as the block lasts. Several processes may have one file open.

    Entering and leaving are checkpoints. Leaving writes what is still in memory and gives all claims back, also when
    the block is cancelled or raises; it takes `busy_timeout` and five seconds at most.

    Args:
        path: The file. It is made if there is none, readable and writable by its user alone.
        sync: What `durable` promises. ``"normal"``: what was written survives the death of the process; a power failure
            may cost the latest records, and never more than those. ``"full"``: it survives a power failure too, if the
            disk does what it says. ``"off"``: it survives the death of the process, but a power failure may cost the
            file.
        busy_timeout: How many seconds to wait for other processes that write to the file.
        claim_seconds: How long after its last sign of life an engine on another machine counts as dead. One on this
            machine is known to be dead at once.
        redact: Given each record's body before it is written, returns what is written instead: a body of the same
            class. Whoever reads the log, now or later, sees only that.
        clock: Gives the wall-clock time for records and claims, in seconds since 1970; what is no finite number is a
            `ConfigError` wherever the time is needed.

    Raises:
        ConfigError: No file can be at that path, or an argument is not what it should be.
        LedgerCorrupt: The file is something else, is damaged, or is of a newer format.
        LedgerFailed: The file cannot be opened; on leaving: something that was appended could not be written.
    """
    if sync not in get_args(Sync):
        raise ConfigError(f'sync must be "normal", "full" or "off", not {sync!r}')
    for name, value in (("busy_timeout", busy_timeout), ("claim_seconds", claim_seconds)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.01 <= value <= 86_400:
            raise ConfigError(f"{name} must be from 0.01 to 86400 seconds, not {value!r}")
    ledger = SqliteLedger(
        check_path(path),
        sync=sync,
        busy_timeout=busy_timeout,
        claim_seconds=claim_seconds,
        redact=redact,
        clock=clock,
    )
    await ledger._open()  # noqa: SLF001  # made for this
    try:
        yield ledger
    finally:
        await ledger._close()  # noqa: SLF001
    ledger._raise_if_unwritten()  # noqa: SLF001
