"""What a ledger's SQLite file looks like, and how it is opened, read and distrusted. No Trio here: this runs in threads.

A file has a row for each run and one for each record. A record's key is its run's number and its own in one integer, so
that both appending and reading are one walk in one tree. The run's row says how many records there are and what the
last one's checksum is, so that a file which has lost its end is not taken for a shorter log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from triplane.core.errors import ConfigError, LedgerCorrupt, LedgerFailed, TriplaneError

from .chain import BrokenChainError, Row, seed, unlink
from .encoding import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triplane.core.errors import LedgerOperation, LedgerTrouble
    from triplane.core.records import Record

Sync = Literal["off", "normal", "full"]

# "TRPL", in the header of every file, where `file` and others look for it.
_APPLICATION = 0x5452504C
FORMAT = 1
_MAGIC = b"SQLite format 3\0"
_SCHEMA = (
    (
        "CREATE TABLE runs (run INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, began REAL NOT NULL,"
        " records INTEGER NOT NULL, head BLOB NOT NULL, token INTEGER NOT NULL, owner TEXT, deadline REAL) STRICT"
    ),
    (
        "CREATE TABLE records (place INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL,"
        " version INTEGER NOT NULL, essential INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL) STRICT"
    ),
    "CREATE TABLE totals (one INTEGER PRIMARY KEY CHECK (one = 1), runs INTEGER NOT NULL) STRICT",
)
_REASONS: dict[int, LedgerTrouble] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "io",
    sqlite3.SQLITE_CANTOPEN: "io",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_PERM: "read_only",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
}
_ADVICE: dict[LedgerTrouble, str] = {
    "full": "no space is left; make room, then resume the run",
    "io": "the disk reports an error",
    "read_only": "it cannot be written; check its permissions and those of its folder",
    "locked": "other processes held it for longer than busy_timeout",
}


def run_base(run: int) -> int:
    """The key of a run's first record."""
    return run << 32


@attrs.frozen
class RunRow:
    """What a file says about a run.

    Attributes:
        run: Its number in the file.
        run_id: Its id.
        began: Wall-clock seconds since 1970.
        records: How many records it has.
        head: The last one's digest.
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


def check_path(path: str | os.PathLike[str]) -> str:
    """The absolute path.

    Raises:
        ConfigError: No file can be there, or what is there is none.
    """
    given = os.fspath(path)
    if not isinstance(given, str) or not given or "\0" in given:
        raise ConfigError(f"a ledger is a file, and {given!r} cannot be the path of one")
    whole = Path(given).absolute()
    if not whole.parent.is_dir():
        raise ConfigError(
            f"the folder {str(whole.parent)!r} does not exist; a ledger's file is made, its folder is not"
        )
    try:
        mode = whole.lstat().st_mode
    except FileNotFoundError:
        return str(whole)
    except OSError as error:
        raise ConfigError(f"{str(whole)!r} cannot be a ledger's file: {error.strerror}") from None
    if stat.S_ISLNK(mode):
        raise ConfigError(f"{str(whole)!r} is a symbolic link; name the file that it leads to")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{str(whole)!r} is not a file")
    return str(whole)


def open_file(path: str, sync: Sync, busy_timeout: float) -> sqlite3.Connection:
    """Open the file for writing; make it if there is none.

    Raises:
        LedgerCorrupt: It is something else, damaged, or of a newer format.
        LedgerFailed: It cannot be opened.
    """
    with trouble(path, "open"):
        # Readable to its user alone, whatever the umask; SQLite gives the files beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        _check_magic(path)
        connection = _connect(path, busy_timeout)
        try:
            _until(time.monotonic() + busy_timeout, lambda: _prepare(connection, path))
            connection.execute(f"PRAGMA synchronous = {sync}")
            # The last page of each run is written with every group: the longer until all are copied into the file, the
            # fewer of them are copied in vain.
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a file that is there for reading."""
    with trouble(path, "open"):
        _check_magic(path)
        connection = _connect(path, busy_timeout)
        try:
            connection.execute("PRAGMA query_only = 1")
            _check_format(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(path: str, busy_timeout: float) -> sqlite3.Connection:
    # Each is used by one thread at a time, though not always the same.
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = 0")
    connection.execute("PRAGMA cell_size_check = 1")
    return connection


def _check_magic(path: str) -> None:
    with Path(path).open("rb") as file:
        head = file.read(16)
    if head and head != _MAGIC:
        raise LedgerCorrupt(f"{path!r} is not a ledger: it is not an SQLite file", path=path, offset=0)


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    if not _value(connection, "PRAGMA page_count"):
        # Of a file that is made now. Deleted runs then make it smaller; and a read from the socket fits a page.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = incremental")
    with transaction(connection, "EXCLUSIVE"):
        if not _value(connection, "SELECT count(*) FROM sqlite_schema") and not _value(
            connection, "PRAGMA application_id"
        ):
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO totals VALUES (1, 0)")
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        _check_format(connection, path)
    if _value(connection, "PRAGMA journal_mode") != "wal":
        connection.execute("PRAGMA journal_mode = wal")


def _check_format(connection: sqlite3.Connection, path: str) -> None:
    application = _value(connection, "PRAGMA application_id")
    if application != _APPLICATION:
        raise LedgerCorrupt(f"{path!r} is a database of another program, not a ledger", path=path, offset=68)
    version = _value(connection, "PRAGMA user_version")
    if version != FORMAT:
        words = f"{path!r} has format {version} and this Triplane knows {FORMAT}"
        more = "; a newer Triplane wrote it" if version > FORMAT else ""
        raise LedgerCorrupt(words + more, path=path, offset=60)
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if found != {*_SCHEMA, "CREATE TABLE sqlite_sequence(name,seq)"}:
        raise LedgerCorrupt(
            f"{path!r} is damaged: its tables are not those of a ledger", path=path, offset=100
        )


@contextlib.contextmanager
def transaction(
    connection: sqlite3.Connection, kind: Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE"]
) -> Iterator[None]:
    """What happens in the block happens as one, or not at all."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _value(connection: sqlite3.Connection, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    return row[0] if row else None


def _until(deadline: float, attempt: Callable[[], None]) -> None:
    """Try again while others prepare the same file: SQLite does not wait for every one of its locks."""
    while True:
        try:
            attempt()
        except sqlite3.OperationalError as error:
            if (
                _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > deadline
            ):
                raise
        else:
            return
        time.sleep(0.01)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


@contextlib.contextmanager
def trouble(path: str, operation: LedgerOperation) -> Iterator[None]:
    """Turn what SQLite and the system report into the two errors that a ledger has."""
    try:
        yield
    except TriplaneError:
        raise
    except sqlite3.Error as error:
        reason = _REASONS.get(_code(error))
        if reason is None:
            raise LedgerCorrupt(f"{path!r} is damaged: {error}", path=path, offset=0) from error
        raise LedgerFailed(
            f"the ledger {path!r} failed to {operation}: {_ADVICE[reason]} ({error})",
            path=path,
            operation=operation,
            reason=reason,
        ) from error
    except BrokenChainError as error:
        raise LedgerCorrupt(f"{path!r} is damaged at {error}", path=path, offset=error.sequence) from error
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        # What is in the file is not of the kind that was written there.
        raise LedgerCorrupt(f"{path!r} is damaged: {error}", path=path, offset=0) from error
    except OSError as error:
        raise LedgerFailed(
            f"the ledger {path!r} failed to {operation}: {error.strerror or error}",
            path=path,
            operation=operation,
            reason="read_only" if isinstance(error, PermissionError) else "io",
        ) from error


_RUN = "SELECT run, run_id, began, records, head, token, owner, deadline FROM runs"


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
        _value(connection, "SELECT count(*) FROM runs NOT INDEXED") if there is None else there,
        _value(connection, "SELECT count(*) FROM runs INDEXED BY sqlite_autoindex_runs_1 WHERE run_id >= ''"),
    ]
    expected = _value(connection, "SELECT runs FROM totals")
    if counts != [expected] * 2:
        words = f"{path!r} is damaged: it has {min(counts)} runs and should have {expected}"
        raise LedgerCorrupt(words, path=path, offset=0)


def read_run(
    connection: sqlite3.Connection, path: str, run_id: str, after: int, limit: int
) -> tuple[RunRow, list[Record]]:
    """A run and some of its records, as of one moment, each of them verified.

    Raises:
        LedgerCorrupt: One of them is not what was written, or is not there.
    """
    with transaction(connection, "DEFERRED"):
        run = find_run(connection, path, run_id)
        wanted = max(0, min(limit, run.records - after - 1))
        # One more than is wanted: after the last one there must be none.
        rows = read_rows(connection, run.run, max(after, 0), wanted + (after >= 0) + 1) if wanted else []
    previous, first = seed(run_id), after + 1
    if after >= 0 and rows:
        before, *rows = rows
        if before.sequence != after:
            raise BrokenChainError(after, "is missing")
        previous = before.digest
    beyond = rows[wanted:]
    del rows[wanted:]
    records = unlink(previous, rows, first)
    if len(records) < wanted:
        raise BrokenChainError(first + len(records), "is missing")
    if rows and rows[-1].sequence == run.records - 1 and rows[-1].digest != run.head:
        raise BrokenChainError(run.records - 1, "is not the one that was written last")
    if beyond and first + wanted == run.records:
        raise BrokenChainError(run.records, "is there, and the row of its run does not know it")
    return run, records


def read_rows(connection: sqlite3.Connection, run: int, first: int, limit: int) -> list[Row]:
    """Rows of a run as they stand, from a sequence number on."""
    base = run_base(run)
    found = connection.execute(
        "SELECT place, at, kind, version, essential, body, digest FROM records"
        " WHERE place >= ? AND place < ? ORDER BY place LIMIT ?",
        (base + first, base + 2**32, limit),
    )
    return [
        Row(place - base, at, Encoded(kind, version, bool(essential), body), digest)
        for place, at, kind, version, essential, body, digest in found
    ]
