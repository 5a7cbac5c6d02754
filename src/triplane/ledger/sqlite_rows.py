"""What stands in a ledger's file, read and distrusted. No Trio here: this runs in threads.

The row of a run says how many records there are and what the last chunk's digest is, so that a file which has lost its
end is not taken for a shorter log; and a table of one row says how many runs there are.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from triplane.core.errors import ConfigError, LedgerCorrupt

from .chain import BrokenChainError, Chunk, packed_of, seed
from .owner import is_dead
from .sqlite_trouble import transaction

if TYPE_CHECKING:
    import sqlite3

    from triplane.core.records import Record

    from .chain import PackedRecord

_RUN = "SELECT run, run_id, began, records, head, token, owner, deadline FROM runs"
_CHUNK = "SELECT first, records, digest, body FROM chunks WHERE run = ?"
_CHUNKS = f"{_CHUNK} AND first >= ? AND first < ? ORDER BY first"
# The chunk that a record is in, and the one before it.
_PLACES = "SELECT first, digest FROM chunks WHERE run = ? AND first <= ? ORDER BY first DESC LIMIT 2"


@attrs.frozen
class RunRow:
    """What a file says about a run.

    Attributes:
        run: Its number in the file.
        run_id: Its id.
        began: Wall-clock seconds since 1970.
        records: How many records it has.
        head: The last chunk's digest.
        token: The latest claim's token.
        owner: Who has the claim, None if nobody has.
        deadline: When it ends unless it is renewed, in wall-clock seconds.
    """

    run: int
    run_id: str
    began: float
    records: int
    head: bytes
    token: int
    owner: str | None
    deadline: float | None

    def is_claimed(self, now: float) -> bool:
        """Whether somebody who may be alive has the claim."""
        return self.owner is not None and (self.deadline or 0) > now and not is_dead(self.owner)


def value_of(connection: sqlite3.Connection, statement: str) -> Any:
    """The one value that a statement brings."""
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def find_run(connection: sqlite3.Connection, path: str, run_id: str) -> RunRow:
    """A run's row.

    Raises:
        ConfigError: There is no such run.
        LedgerCorrupt: The index does not know it and the table does.
    """
    row = connection.execute(f"{_RUN} WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        if connection.execute(f"{_RUN} WHERE +run_id = ?", (run_id,)).fetchone() is not None:
            raise LedgerCorrupt(f"{path!r} is damaged: its index of runs is wrong", path=path, offset=0)
        check_totals(connection, path)
        raise ConfigError(f"this ledger has no run {run_id!r}")
    return _run_row(row)


def _run_row(row: tuple[Any, ...]) -> RunRow:
    """A row of the table of runs.

    Raises:
        ValueError: It holds what nobody wrote there.
    """
    run, run_id, began, records, head, token, owner, deadline = row
    if (
        [type(each) for each in (run, run_id, began, records, head, token)]
        != [int, str, float, int, bytes, int]
        or not isinstance(owner, str | None)
        or not isinstance(deadline, float | None)
        or records < 0
    ):
        raise ValueError(f"its row of run {run!r} is not one")
    return RunRow(*row)


def all_runs(connection: sqlite3.Connection, path: str) -> list[RunRow]:
    """Every run in the order in which they began."""
    found = [_run_row(row) for row in connection.execute(f"{_RUN} ORDER BY run")]
    check_totals(connection, path, len(found))
    return found


def check_totals(connection: sqlite3.Connection, path: str, there: int | None = None) -> None:
    """Whether all runs are there, so many in the table and as many in its index."""
    counts = [
        value_of(connection, "SELECT count(*) FROM runs NOT INDEXED") if there is None else there,
        value_of(
            connection, "SELECT count(*) FROM runs INDEXED BY sqlite_autoindex_runs_1 WHERE run_id >= ''"
        ),
    ]
    expected = value_of(connection, "SELECT runs FROM totals")
    if counts != [expected] * 2:
        words = f"{path!r} is damaged: it has {min(counts)} runs and should have {expected}"
        raise LedgerCorrupt(words, path=path, offset=0)


def read_run(
    connection: sqlite3.Connection, path: str, run_id: str, after: int, limit: int
) -> tuple[RunRow, list[Record]]:
    """A run and some of its records, as of one moment, each of them verified.

    Raises:
        ConfigError: There is no such run.
        LedgerCorrupt: The table of runs is damaged.
        BrokenChainError: One of the records is not what was written, or is not there.
    """
    with transaction(connection, "DEFERRED"):
        run = find_run(connection, path, run_id)
        packed = read_packed(connection, run, after + 1, after + 1 + limit)
    return run, [record.decoded() for record in packed]


def read_packed(connection: sqlite3.Connection, run: RunRow, start: int, stop: int) -> list[PackedRecord]:
    """Records of a run from one sequence number to before another one, each of them verified.

    Raises:
        BrokenChainError: One of them is not what was written, or is not there.
    """
    if run.records == 0 and (run.head != seed(run.run_id) or read_chunks(connection, run.run, 0)):
        raise BrokenChainError(0, "is there, and the row of its run does not know it")
    stop = min(stop, run.records)
    if start >= stop:
        return []
    places = connection.execute(_PLACES, (run.run, start)).fetchall()
    first = places[0][0] if places else 0
    previous = places[1][1] if len(places) > 1 else seed(run.run_id)
    chunks = [Chunk(*row) for row in connection.execute(_CHUNKS, (run.run, first, stop))]
    packed = list(islice(packed_of(previous, chunks, first), start - first, stop - first))
    if len(packed) < stop - start:
        raise BrokenChainError(start + len(packed), "is missing")
    if stop == run.records:
        last = chunks[-1]
        if last.end > stop or read_chunks(connection, run.run, stop):
            raise BrokenChainError(stop, "is there, and the row of its run does not know it")
        if last.digest != run.head:
            raise BrokenChainError(stop - 1, "is not the one that was written last")
    return packed


def read_chunks(connection: sqlite3.Connection, run: int, first: int, limit: int = 1) -> list[Chunk]:
    """Chunks of a run as they stand, from a sequence number on."""
    found = connection.execute(f"{_CHUNK} AND first >= ? ORDER BY first LIMIT ?", (run, first, limit))
    return [Chunk(*row) for row in found]
