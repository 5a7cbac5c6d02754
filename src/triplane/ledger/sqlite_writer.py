"""The one thread of a ledger that writes: what all runs have appended goes into the file in groups.

A commit costs about as much for a hundred records as for one, and so does telling Trio about it. So the thread takes
whatever is there when it begins, and what is appended meanwhile is the next group. It begins when somebody waits for
durability, or else a moment after something was appended.

The loop's side appends to `Writer.entries` and rings; the thread answers with one `Outcome` for each attempt. Nothing
else is shared.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from functools import cache
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, final

import attrs
import trio

from triplane.core.errors import LedgerFailed, TriplaneError

from .chain import Chunk, chunks_of
from .sqlite_file import check_identity, identity_of, open_file
from .sqlite_trouble import transaction, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triplane.core.errors import LedgerOperation

    from .sqlite_file import Sync

    Order = Literal["soon", "now", "stop"]

# How long something that nobody waits for may stay in memory alone.
LINGER = 0.05
# A group is at most so many records, since others who share the file wait for as long as it takes.
_GROUP = 5_000
# At most so many rows for each statement, and as few statements as can be: every one lets go of the interpreter, and under
# load it takes long to get it back.
_AT_ONCE = 64


@attrs.define(eq=False)
class Claim:
    """A claim as the thread sees it: only the thread changes it once it is here.

    Attributes:
        run_id: The run.
        token: The claim's token.
        began: When the run began, for the file.
        head: The digest of the run's last chunk in the file.
        records: How many records are in the file.
        run: The run's number in the file, None while it is not there.
        is_lost: Whether somebody else has the run; nothing more is written with it.
    """

    run_id: str
    token: int
    began: float
    head: bytes
    records: int = 0
    run: int | None = None
    is_lost: bool = False


# Something for the thread to write: a record as `chain.pack` made it, or None: the claim is given back.
QueuedWrite = tuple[Claim, bytes | None]


@attrs.frozen
class Outcome:
    """What came of one attempt.

    Attributes:
        tried: How many entries there had been in all when it began.
        written: How many of them are in the file now, or never will be.
        records: For each claim with something written, how many records of its run are in the file.
        lost: Claims that no longer count, each with why.
        over: Claims that were given back, or are lost.
        failure: Why the attempt failed, else None.
        is_last: Whether the thread has ended.
    """

    tried: int
    written: int
    records: dict[Claim, int] = attrs.field(factory=dict)
    lost: dict[Claim, LedgerFailed] = attrs.field(factory=dict)
    over: tuple[Claim, ...] = ()
    failure: TriplaneError | None = None
    is_last: bool = False


@attrs.define
class _Done:
    """What one transaction has done, to be noted once it is committed."""

    entries: int
    last: dict[Claim, Chunk] = attrs.field(factory=dict)
    lost: dict[Claim, LedgerFailed] = attrs.field(factory=dict)
    runs: dict[Claim, int] = attrs.field(factory=dict)
    over: list[Claim] = attrs.field(factory=list)


@final
class Writer:
    """The thread and what it needs.

    Args:
        path: The file, which exists.
        sync: See `open_ledger`.
        busy_timeout: See `open_ledger`.
        claim_seconds: How long a claim lasts without being renewed.
        owner: Who this is, in claims.
        clock: Wall-clock seconds.
        report: Called in Trio's thread with each outcome.
        token: That thread.
    """

    def __init__(
        self,
        path: str,
        sync: Sync,
        busy_timeout: float,
        claim_seconds: float,
        owner: str,
        clock: Callable[[], float],
        report: Callable[[Outcome], None],
        token: trio.lowlevel.TrioToken,
    ) -> None:
        self.path = path
        self.owner = owner
        self.clock = clock
        self.claim_seconds = claim_seconds
        self.entries: deque[QueuedWrite] = deque()
        self._wanted = 0
        self._is_idle = False
        self._sync: Sync = sync
        self._busy_timeout = busy_timeout
        self._report = report
        self._token = token
        self._bell: SimpleQueue[Order] = SimpleQueue()
        self._jobs: deque[Callable[[], None]] = deque()
        self._taken = 0
        self._written = 0
        self._unwritten: list[QueuedWrite] = []
        # A group whose commit was begun and is not known to have come to its end.
        self._in_doubt: _Done | None = None
        self._claims: dict[Claim, None] = {}
        # Claims are fresh when they are taken; the first to be renewed are a third of their time old.
        self._renewed = time.monotonic()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._work, name=f"ledger {path}", daemon=True)

    def open(self) -> None:
        """Open the file. Called in any thread, before `start`.

        Raises:
            LedgerCorrupt, LedgerFailed: It cannot be opened.
        """
        self._connection = open_file(self.path, self._sync, self._busy_timeout)
        with trouble(self.path, "open"):
            self._identity = identity_of(self.path)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ring(self, order: Order) -> None:
        """Say that there is something to do. Called in Trio's thread; never blocks."""
        self._bell.put(order)

    def want(self, ticket: int) -> None:
        """Say that somebody waits for the entry of this number. Called in Trio's thread; never blocks.

        The thread looks at what is wanted before it goes to sleep, so a busy one need not be rung for: with many runs
        that is most of the time.
        """
        self._wanted = max(self._wanted, ticket)
        if self._is_idle:
            self._is_idle = False
            self._bell.put("now")

    def ask(self, job: Callable[[], None]) -> None:
        """Have something else done between two groups, in the thread. It must not raise."""
        self._jobs.append(job)
        self._bell.put("now")

    def adopt(self, claim: Claim) -> None:
        """Renew a claim from now on. Called in the thread."""
        self._claims[claim] = None

    def connection(self) -> sqlite3.Connection:
        """The connection, opened anew if it was given up. Called in the thread.

        Raises:
            LedgerCorrupt, LedgerFailed: It cannot be opened, or another file is there.
        """
        if self._identity is not None:
            check_identity(self.path, self._identity)
        if self._connection is None:
            self._connection = open_file(self.path, self._sync, self._busy_timeout)
        return self._connection

    def give_up_connection(self) -> None:
        """Close it: after an error nobody knows what SQLite still remembers of the file."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _work(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._wait()
            while self._jobs:
                self._jobs.popleft()()
            while (
                (self.entries or self._unwritten)
                and self._attempt()
                and (stopping or len(self.entries) > _GROUP)
            ):
                pass
            if time.monotonic() - self._renewed > self.claim_seconds / 3:
                self._renew()
        # What failed has been tried; the claims of whoever did not release them go back all the same.
        with suppress(TriplaneError), trouble(self.path, "write"):
            connection = self.connection()
            for claim in self._claims:
                if claim.run is not None:
                    _give_back(connection, claim.run, claim.token)
        self.give_up_connection()
        self._tell(Outcome(self._taken, self._written, is_last=True))

    def _wait(self) -> bool:
        """Wait until there is something to do. Returns whether that is to stop."""
        orders: set[Order] = set()
        self._is_idle = True
        with suppress(Empty):
            if self._wanted <= self._taken:
                orders.add(self._bell.get(timeout=self.claim_seconds / 3))
                if orders == {"soon"} and self._wanted <= self._taken:
                    orders.add(self._bell.get(timeout=LINGER))
            while True:
                orders.add(self._bell.get_nowait())
        self._is_idle = False
        return "stop" in orders

    def _attempt(self) -> bool:
        """Write one group. Returns whether that went well."""
        more = max(0, min(len(self.entries), _GROUP - len(self._unwritten)))
        self._unwritten += [self.entries.popleft() for _ in range(more)]
        self._taken += more
        try:
            with trouble(self.path, "write"):
                connection = self.connection()
                if self._in_doubt is not None and _is_there(connection, self._in_doubt):
                    self._note(self._in_doubt)
                self._in_doubt = None
                self._note(self._write(connection, self._unwritten))
        except TriplaneError as failure:
            self.give_up_connection()
            self._tell(Outcome(self._taken, self._written, failure=failure))
            return False
        return True

    def _note(self, done: _Done) -> None:
        """Take note of what is in the file now, and tell."""
        for claim, chunk in done.last.items():
            claim.run = done.runs[claim]
            claim.head = chunk.digest
            claim.records = chunk.end
        for claim in done.over:
            self._claims.pop(claim, None)
        for claim in done.lost:
            claim.is_lost = True
        self._written += done.entries
        del self._unwritten[: done.entries]
        self._in_doubt = None
        records = {claim: claim.records for claim in done.last}
        self._tell(Outcome(self._taken, self._written, records, done.lost, tuple(done.over)))

    def _write(self, connection: sqlite3.Connection, group: Sequence[QueuedWrite]) -> _Done:
        done = _Done(len(group))
        appended: defaultdict[Claim, list[bytes]] = defaultdict(list)
        for claim, record in group:
            if record is None:
                done.over.append(claim)
            elif not claim.is_lost:
                appended[claim].append(record)
        chunks = {
            claim: list(chunks_of(claim.head, claim.records, records)) for claim, records in appended.items()
        }
        values: list[Any] = []
        with transaction(connection, "IMMEDIATE"):
            self._advance(connection, chunks, done)
            for claim, run in done.runs.items():
                for chunk in chunks[claim]:
                    values += (run, *chunk)
            for _ in _in_batches(connection, _INSERT, values, 5):
                pass
            for claim in done.over:
                run_number = done.runs.get(claim, claim.run)
                if run_number is not None:
                    _give_back(connection, run_number, claim.token)
            self._in_doubt = done
        return done

    def _advance(self, connection: sqlite3.Connection, chunks: dict[Claim, list[Chunk]], done: _Done) -> None:
        """Put the rows of the runs forward, which nobody can do but whoever has the claim."""
        moved: list[Claim] = []
        values: list[Any] = []
        for claim, batch in chunks.items():
            last = batch[-1]
            if claim.run is None:
                self._begin(connection, claim, last, done)
                continue
            moved.append(claim)
            values += (claim.run, last.end, last.digest, claim.token, claim.records)
        count = sum(cursor.rowcount for cursor in _in_batches(connection, _ADVANCE, values, 5))
        lost = set() if count == len(moved) else self._stale(connection, moved, chunks)
        for claim in moved:
            if claim in lost:
                done.lost[claim] = self._lost(claim, "claim_lost")
                done.over.append(claim)
            else:
                assert claim.run is not None
                done.runs[claim] = claim.run
                done.last[claim] = chunks[claim][-1]

    def _begin(self, connection: sqlite3.Connection, claim: Claim, last: Chunk, done: _Done) -> None:
        """Make the row of a run."""
        deadline = self.clock() + self.claim_seconds
        records = last.end
        made = connection.execute(
            "INSERT INTO runs (run_id, began, records, head, token, owner, deadline)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (claim.run_id, claim.began, records, last.digest, claim.token, self.owner, deadline),
        )
        if not made.rowcount:
            done.lost[claim] = self._lost(claim, "claimed")
            done.over.append(claim)
            return
        connection.execute("UPDATE totals SET runs = runs + 1")
        self._claims[claim] = None
        assert made.lastrowid is not None
        done.runs[claim] = made.lastrowid
        done.last[claim] = last

    def _stale(
        self, connection: sqlite3.Connection, moved: list[Claim], chunks: dict[Claim, list[Chunk]]
    ) -> set[Claim]:
        """Of these claims those that are not the latest any more."""
        heads = dict(
            connection.execute(
                f"SELECT run, head FROM runs WHERE run IN ({','.join('?' * len(moved))})",  # noqa: S608  # question marks only
                [claim.run for claim in moved],
            ).fetchall()
        )
        return {claim for claim in moved if heads.get(claim.run) != chunks[claim][-1].digest}

    def _lost(self, claim: Claim, reason: Literal["claim_lost", "claimed"]) -> LedgerFailed:
        words = {
            "claim_lost": f"run {claim.run_id} was taken over by another engine, since this one seemed to be dead;"
            " nothing more of it is recorded here",
            "claimed": f"run {claim.run_id} was begun by another engine at the same time, and is that engine's; nothing of"
            " it was done here. Wait for it to end, then ask again; what is to be another run needs another id",
        }
        operation: LedgerOperation = "claim" if reason == "claimed" else "write"
        return LedgerFailed(words[reason], path=self.path, operation=operation, reason=reason)

    def _renew(self) -> None:
        """Put off the deadlines of the claims. Whoever has lost one learns it with the next record."""
        self._renewed = time.monotonic()
        claims = [claim for claim in self._claims if claim.run is not None]
        if not claims:
            return
        try:
            with trouble(self.path, "write"):
                connection = self.connection()
                with transaction(connection, "IMMEDIATE"):
                    deadline = self.clock() + self.claim_seconds
                    for claim in claims:
                        connection.execute(
                            "UPDATE runs SET deadline = ? WHERE run = ? AND token = ?",
                            (deadline, claim.run, claim.token),
                        )
        except TriplaneError:
            # A claim that cannot be renewed runs out, and what is appended then is refused.
            self.give_up_connection()

    def _tell(self, outcome: Outcome) -> None:
        # After the end of Trio nobody is there to be told.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._report, outcome)


_INSERT = "INSERT INTO chunks VALUES {}"
_ADVANCE = (
    "UPDATE runs SET records = new.column2, head = new.column3 FROM (VALUES {}) AS new"
    " WHERE run = new.column1 AND token = new.column4 AND records = new.column5"
)


@cache
def _statement(statement: str, width: int, many: int) -> str:
    return statement.format(",".join([f"({','.join('?' * width)})"] * many))


def _in_batches(
    connection: sqlite3.Connection, statement: str, values: list[Any], width: int
) -> Iterator[sqlite3.Cursor]:
    for start in range(0, len(values), width * _AT_ONCE):
        some = values[start : start + width * _AT_ONCE]
        yield connection.execute(_statement(statement, width, len(some) // width), some)


def _is_there(connection: sqlite3.Connection, done: _Done) -> bool:
    """Whether a group is in the file although its commit has failed.

    If what fails is the last thing that it does, the flush, then whoever opens the file anew finds the group whole.
    """
    for claim, chunk in done.last.items():
        found = connection.execute("SELECT head FROM runs WHERE run = ?", (done.runs[claim],)).fetchone()
        # All of it or nothing.
        return bool(found == (chunk.digest,))
    return False


def _give_back(connection: sqlite3.Connection, run: int, token: int) -> None:
    connection.execute(
        "UPDATE runs SET owner = NULL, deadline = NULL WHERE run = ? AND token = ?", (run, token)
    )
