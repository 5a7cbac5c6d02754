"""What one does with a ledger's file as a whole: list its runs, verify it, repair its torn ends, make it smaller."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter, deque
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from triplane.core.errors import ConfigError, LedgerCorrupt, LedgerFailed
from triplane.core.records import (
    ApprovalGiven,
    EndStatus,
    RunEnded,
    RunParked,
    RunStarted,
    ToolFinished,
    ToolStarted,
)

from .chain import BrokenChainError, follows, packed_of, seed, unpack
from .sqlite_file import give_space_back, open_reader
from .sqlite_rows import all_runs, check_totals, read_chunks, read_packed
from .sqlite_trouble import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .chain import Chunk
    from .sqlite import SqliteLedger
    from .sqlite_rows import RunRow

# How many chunks are read at once.
_BATCH = 32

# What ends that a run is parked, apart from the last decision. Its calls that nobody waits for may tell things meanwhile.
_GOES_ON = ("run_resumed", "request_sent", "run_ended")


@attrs.frozen
class RunSummary:
    """A run in a list.

    Attributes:
        run_id: The run.
        agent: The agent's name, empty if its first record is damaged.
        model: The model, likewise.
        status: How it ended; ``"parked"`` if it waits for a person's decision; ``"running"`` while somebody has the claim,
            else ``"interrupted"``.
        began: Wall-clock seconds since 1970.
        updated: When its last record was appended.
        records: How many it has.
        requests: How many requests it made, repeated ones included.
        tool_calls: How many tools it started.
        size: Bytes of its records.
    """

    run_id: str
    agent: str
    model: str
    status: EndStatus | Literal["running", "interrupted", "parked"]
    began: float
    updated: float
    records: int
    requests: int
    tool_calls: int
    size: int


@attrs.frozen
class Damage:
    """Something in the file that is not what was written.

    Attributes:
        run_id: The run, empty if it is about the file as a whole.
        sequence: The first record that is wrong.
        words: What is wrong.
        is_tail: Whether nothing good comes after it, so that the run can be cut off there.
    """

    run_id: str
    sequence: int
    words: str
    is_tail: bool


async def summaries(ledger: SqliteLedger) -> Sequence[RunSummary]:
    """The runs of a ledger in the order in which they began. A checkpoint."""
    return await ledger.readers.look(partial(_summaries, now=ledger.clock()))


async def check(ledger: SqliteLedger) -> Sequence[Damage]:
    """Read the whole file and verify every checksum. A checkpoint; takes as long as reading takes."""
    return await ledger.readers.look(_check)


async def repair(ledger: SqliteLedger) -> Sequence[Damage]:
    """Cut off each run whose end is damaged, after its last good record. A checkpoint.

    Nothing is guessed: damage with good records after it stays, as does damage to the file as a whole. Before anything
    is changed the file is copied to one beside it, whose name ends in ``.before-repair``.

    Returns:
        What was cut.

    Raises:
        ConfigError: There is such a copy already, from an earlier repair.
        LedgerFailed: A damaged run is being driven, or the file could not be written.
    """
    found = [damage for damage in await check(ledger) if damage.is_tail]
    if found:
        found = await ledger.ask(partial(_cut, ledger.path, ledger.clock, found), "write")
    return found


async def prune(
    ledger: SqliteLedger, *, older_than: float | None = None, max_size: float | None = None
) -> Sequence[RunSummary]:
    """Delete runs that nobody drives: the oldest first. A checkpoint.

    What a call drives that has no outcome yet, since its tool is an agent, is part of the run that made the call, and
    stays as long as that one does: without its log the call would begin anew, and do again what it did.

    Args:
        ledger: The ledger.
        older_than: Delete what had its last record more than so many seconds ago.
        max_size: Delete until the records have at most so many bytes in all.

    Returns:
        What was deleted.

    Raises:
        LedgerFailed: The file could not be written.
    """
    runs, children = await ledger.readers.look(partial(_families, now=ledger.clock()))
    left = deque(sorted(runs, key=lambda run: run.updated))
    needed = Counter(child for of_run in children.values() for child in of_run)
    total = sum(run.size for run in runs)
    removed: list[RunSummary] = []
    before = -1
    # Once a run is gone, so may be what it needed.
    while before != len(removed):
        before = len(removed)
        for _ in range(len(left)):
            run = left.popleft()
            left.append(run)
            too_old = older_than is not None and ledger.clock() - run.updated > older_than
            too_much = max_size is not None and total > max_size
            if run.status == "running" or needed[run.run_id] or not (too_old or too_much):
                continue
            with suppress(ConfigError):  # somebody else was faster
                try:
                    await ledger.remove(run.run_id)
                except LedgerFailed as failure:
                    if failure.reason == "claimed":
                        continue
                    raise
                total -= run.size
                removed.append(left.pop())
                needed.subtract(children[run.run_id])
    if removed:
        await ledger.ask(give_space_back, "write")
    return removed


def _summaries(connection: sqlite3.Connection, path: str, *, now: float) -> list[RunSummary]:
    with transaction(connection, "DEFERRED"):
        return [_summary(connection, run, now) for run in all_runs(connection, path)]


def _families(
    connection: sqlite3.Connection, path: str, *, now: float
) -> tuple[list[RunSummary], dict[str, set[str]]]:
    """The runs of one moment, and for each the ids of those that its calls without an outcome drive."""
    with transaction(connection, "DEFERRED"):
        rows = all_runs(connection, path)
        found = [_summary(connection, run, now) for run in rows]
        return found, {run.run_id: _children(connection, run) for run in rows}


def _children(connection: sqlite3.Connection, run: RunRow) -> set[str]:
    unfinished: dict[str, str] = {}
    with suppress(BrokenChainError, TypeError):
        for chunk in _chunks(connection, run):
            for record in unpack(chunk):
                if record.encoded.kind in ("tool_started", "tool_finished"):
                    body = record.decoded().body
                    if isinstance(body, ToolStarted):
                        unfinished[body.call_id] = body.child_run_id
                    elif isinstance(body, ToolFinished):
                        unfinished.pop(body.call_id, None)
    return set(unfinished.values())


def _summary(connection: sqlite3.Connection, run: RunRow, now: float) -> RunSummary:
    agent = model = ""
    status: EndStatus | Literal["running", "interrupted", "parked"] = (
        "running" if run.is_claimed(now) else "interrupted"
    )
    updated = run.began
    requests = tool_calls = size = 0
    # What it is parked for.
    undecided: set[str] = set()
    # A list is not the place to find damage: what cannot be read is left out.
    with suppress(BrokenChainError, TypeError):
        for chunk in _chunks(connection, run):
            for record in unpack(chunk):
                requests += record.encoded.kind == "request_sent"
                tool_calls += record.encoded.kind == "tool_started"
                size += len(record.encoded.data)
                updated = record.at
                if record.encoded.kind in _GOES_ON:
                    undecided = set()
                elif record.encoded.kind in ("run_parked", "approval_given"):
                    body = record.decoded().body
                    if isinstance(body, RunParked):
                        undecided = set(body.approvals)
                    elif isinstance(body, ApprovalGiven):
                        undecided.discard(body.call_id)
    with suppress(BrokenChainError):
        for record in read_packed(connection, run, 0, 1):
            first = record.decoded().body
            if isinstance(first, RunStarted):
                agent, model = first.agent, first.model
    with suppress(BrokenChainError):
        for record in read_packed(connection, run, run.records - 1, run.records):
            last = record.decoded().body
            if isinstance(last, RunEnded):
                status = last.status
    if undecided and status in ("running", "interrupted"):
        status = "parked"
    return RunSummary(
        run.run_id,
        agent,
        model,
        status,
        run.began,
        updated,
        run.records,
        requests,
        tool_calls,
        size,
    )


def _chunks(connection: sqlite3.Connection, run: RunRow, first: int = 0) -> Iterator[Chunk]:
    """The chunks of a run as they stand, a few of them in memory."""
    while chunks := read_chunks(connection, run.run, first, _BATCH):
        yield from chunks
        first = chunks[-1].first + 1


def _check(connection: sqlite3.Connection, path: str) -> list[Damage]:
    found = []
    with transaction(connection, "DEFERRED"):
        try:
            check_totals(connection, path)
        except LedgerCorrupt as error:
            found.append(Damage("", 0, str(error), is_tail=False))
        for (words,) in connection.execute("PRAGMA quick_check(20)"):
            if words != "ok":
                found.append(Damage("", 0, words, is_tail=False))
        for run in all_runs(connection, path) if not found else ():
            damage = _check_run(connection, run)
            if damage is not None:
                found.append(damage)
        strays = connection.execute(
            "SELECT count(*) FROM chunks WHERE run NOT IN (SELECT run FROM runs)"
        ).fetchone()[0]
        if strays:
            found.append(Damage("", 0, f"{strays} rows with records belong to no run", is_tail=False))
    return found


def _check_run(connection: sqlite3.Connection, run: RunRow) -> Damage | None:
    previous, good, may_be_torn = seed(run.run_id), 0, True
    try:
        for chunk in _chunks(connection, run):
            if good >= run.records:
                break
            for record in packed_of(previous, [chunk], good):
                record.decoded()
            previous, good = chunk.digest, good + chunk.records
        if good < run.records:
            raise BrokenChainError(good, "is missing")
        # All are good, and the run's row says otherwise: which of them is right cannot be known.
        may_be_torn = False
        if good > run.records or read_chunks(connection, run.run, run.records):
            raise BrokenChainError(run.records, "is there and was never written")
        if previous != run.head:
            raise BrokenChainError(good - 1, "is not the one that was written last")
    except BrokenChainError as error:
        is_tail = may_be_torn and not _goes_on(connection, run, previous, good)
        return Damage(run.run_id, error.sequence, str(error), is_tail)
    return None


def _goes_on(connection: sqlite3.Connection, run: RunRow, previous: bytes, bad: int) -> bool:
    """Whether from the record `bad` on there is a chunk that is what was written after the one before it."""
    for chunk in _chunks(connection, run, bad):
        if follows(previous, chunk):
            return True
        previous = chunk.digest
    return False


def _cut(
    path: str, clock: Callable[[], float], found: Sequence[Damage], connection: sqlite3.Connection
) -> list[Damage]:
    copy = Path(f"{path}.before-repair")
    if copy.exists():
        raise ConfigError(f"{str(copy)!r} is from an earlier repair; move it away first")
    wanted = {damage.run_id for damage in found}
    with transaction(connection, "IMMEDIATE"):
        # Since it was looked for, somebody else may have repaired a run, and gone on with it, or removed it.
        torn = [
            (run, damage)
            for run in all_runs(connection, path)
            if run.run_id in wanted and (damage := _check_run(connection, run)) is not None and damage.is_tail
        ]
        for run, _ in torn:
            if run.is_claimed(clock()):
                raise LedgerFailed(
                    f"run {run.run_id} is being driven; repair it when it has ended",
                    path=path,
                    operation="write",
                    reason="claimed",
                )
        if torn:
            _copy(path, copy)
        for run, damage in torn:
            kept = connection.execute(
                "SELECT digest FROM chunks WHERE run = ? AND first < ? ORDER BY first DESC LIMIT 1",
                (run.run, damage.sequence),
            ).fetchone()
            (head,) = kept or (seed(run.run_id),)
            connection.execute("DELETE FROM chunks WHERE run = ? AND first >= ?", (run.run, damage.sequence))
            connection.execute(
                "UPDATE runs SET records = ?, head = ?, token = token + 1 WHERE run = ?",
                (damage.sequence, head, run.run),
            )
    return [damage for _, damage in torn]


def _copy(path: str, copy: Path) -> None:
    """Copy the file page by page, as they are, and by SQLite: see the module of the file."""
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(open_reader(path, 1.0)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except BaseException:
        # Half a copy would be in the way of the next attempt.
        copy.unlink()
        raise
