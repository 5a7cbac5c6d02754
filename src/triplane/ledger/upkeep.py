"""What one does with a ledger's file as a whole: list its runs, verify it, repair its torn ends, make it smaller."""

from __future__ import annotations

import shutil
import struct
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from triplane.core.errors import ConfigError, LedgerCorrupt, LedgerFailed
from triplane.core.records import EndStatus, RunEnded, RunStarted

from .chain import BrokenChainError, digest_of, seed, unlink
from .sqlite_claims import is_claimed
from .sqlite_file import all_runs, check_totals, read_rows, run_base, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from .sqlite import SqliteLedger
    from .sqlite_file import RunRow

# How many records are verified at once.
_BATCH = 2_000

# What a run does last, not counting what may be said to it while it is parked.
_LATEST_STEP = """
    SELECT kind FROM records WHERE place >= ? AND place < ?
    AND kind NOT IN ('approval_given', 'input_added', 'late_result_dropped')
    ORDER BY place DESC LIMIT 1
"""


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
    return await ledger.look(partial(_summaries, now=ledger.clock()))


async def check(ledger: SqliteLedger) -> Sequence[Damage]:
    """Read the whole file and verify every checksum. A checkpoint; takes as long as reading takes."""
    return await ledger.look(_check)


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
        await ledger.ask(partial(_cut, ledger.path, ledger.clock, found), "write")
    return found


async def prune(
    ledger: SqliteLedger, *, older_than: float | None = None, max_size: int | None = None
) -> Sequence[RunSummary]:
    """Delete runs that nobody drives: the oldest first. A checkpoint.

    Args:
        ledger: The ledger.
        older_than: Delete what had its last record more than so many seconds ago.
        max_size: Delete until the records have at most so many bytes in all.

    Returns:
        What was deleted.

    Raises:
        LedgerFailed: The file could not be written.
    """
    runs = sorted(await summaries(ledger), key=lambda run: run.updated)
    total = sum(run.size for run in runs)
    removed = []
    for run in runs:
        too_old = older_than is not None and ledger.clock() - run.updated > older_than
        too_much = max_size is not None and total > max_size
        if run.status == "running" or not (too_old or too_much):
            continue
        with suppress(ConfigError):  # somebody else was faster
            try:
                await ledger.remove(run.run_id)
            except LedgerFailed as failure:
                if failure.reason == "claimed":
                    continue
                raise
            total -= run.size
            removed.append(run)
    if removed:
        await ledger.ask(_give_space_back, "write")
    return removed


def _summaries(connection: sqlite3.Connection, path: str, *, now: float) -> list[RunSummary]:
    with transaction(connection, "DEFERRED"):
        return [_summary(connection, run, now) for run in all_runs(connection, path)]


def _summary(connection: sqlite3.Connection, run: RunRow, now: float) -> RunSummary:
    base = run_base(run.run)
    counts = {
        kind: (count, size)
        for kind, count, size in connection.execute(
            "SELECT kind, count(*), sum(length(body)) FROM records WHERE place >= ? AND place < ? GROUP BY kind",
            (base, base + 2**32),
        )
    }
    agent = model = ""
    status: EndStatus | Literal["running", "interrupted", "parked"] = (
        "running" if is_claimed(run, now) else "interrupted"
    )
    updated = run.began
    # A list is not the place to find damage: what cannot be read is left out.
    with suppress(BrokenChainError):
        (first,) = unlink(seed(run.run_id), read_rows(connection, run.run, 0, 1), 0)
        if isinstance(first.body, RunStarted):
            agent, model = first.body.agent, first.body.model
    rows = read_rows(connection, run.run, max(0, run.records - 2), 3)
    if rows:
        updated = rows[-1].at
        previous = rows[-2].digest if len(rows) > 1 else seed(run.run_id)
        with suppress(BrokenChainError):
            (last,) = unlink(previous, rows[-1:], run.records - 1)
            if isinstance(last.body, RunEnded):
                status = last.body.status
    if "run_parked" in counts and status in ("running", "interrupted"):
        what = connection.execute(_LATEST_STEP, (base, base + 2**32)).fetchone()
        status = "parked" if what == ("run_parked",) else status
    return RunSummary(
        run.run_id,
        agent,
        model,
        status,
        run.began,
        updated,
        run.records,
        counts.get("request_sent", (0, 0))[0],
        counts.get("tool_started", (0, 0))[0],
        sum(size for _, size in counts.values()),
    )


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
            "SELECT count(*) FROM records WHERE place >> 32 NOT IN (SELECT run FROM runs)"
        ).fetchone()[0]
        if strays:
            found.append(Damage("", 0, f"{strays} records belong to no run", is_tail=False))
    return found


def _check_run(connection: sqlite3.Connection, run: RunRow) -> Damage | None:
    previous, good, may_be_torn = seed(run.run_id), 0, True
    try:
        while good < run.records:
            rows = read_rows(connection, run.run, good, min(_BATCH, run.records - good))
            for row in rows:
                unlink(previous, [row], good)
                previous, good = row.digest, good + 1
            if not rows:
                raise BrokenChainError(good, "is missing")
        # All are good, and the run's row says otherwise: which of them is right cannot be known.
        may_be_torn = False
        if previous != run.head:
            raise BrokenChainError(good - 1, "is not the one that was written last")
        if read_rows(connection, run.run, run.records, 1):
            raise BrokenChainError(good, "is there and was never written")
    except BrokenChainError as error:
        is_tail = may_be_torn and not _goes_on(connection, run, good)
        return Damage(run.run_id, error.sequence, str(error), is_tail)
    return None


def _goes_on(connection: sqlite3.Connection, run: RunRow, bad: int) -> bool:
    """Whether after the record `bad` there is one that is what was written."""
    before: bytes | None = None
    at = bad
    while rows := read_rows(connection, run.run, at, _BATCH):
        for row in rows:
            at = row.sequence + 1
            with suppress(struct.error, ValueError, TypeError, AttributeError, OverflowError):
                if (
                    row.sequence > bad
                    and before is not None
                    and digest_of(before, row.sequence, row.at, row.encoded) == row.digest
                ):
                    return True
            before = row.digest
    return False


def _cut(
    path: str, clock: Callable[[], float], found: Sequence[Damage], connection: sqlite3.Connection
) -> None:
    copy = Path(f"{path}.before-repair")
    if copy.exists():
        raise ConfigError(f"{str(copy)!r} is from an earlier repair; move it away first")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with transaction(connection, "IMMEDIATE"):
        shutil.copyfile(path, copy)
        copy.chmod(0o600)
        runs = {run.run_id: run for run in all_runs(connection, path)}
        for damage in found:
            run = runs[damage.run_id]
            if is_claimed(run, clock()):
                raise LedgerFailed(
                    f"run {run.run_id} is being driven; repair it when it has ended",
                    path=path,
                    operation="write",
                    reason="claimed",
                )
            base = run_base(run.run)
            kept = read_rows(connection, run.run, damage.sequence - 1, 1) if damage.sequence else []
            head = kept[0].digest if kept else seed(run.run_id)
            connection.execute(
                "DELETE FROM records WHERE place >= ? AND place < ?", (base + damage.sequence, base + 2**32)
            )
            connection.execute(
                "UPDATE runs SET records = ?, head = ?, token = token + 1 WHERE run = ?",
                (damage.sequence, head, run.run),
            )


def _give_space_back(connection: sqlite3.Connection) -> None:
    # It frees a page with each step, and only a script goes on stepping; the file gets shorter at the checkpoint.
    connection.executescript("PRAGMA incremental_vacuum")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
