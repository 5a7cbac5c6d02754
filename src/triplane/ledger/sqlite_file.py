"""How a ledger's SQLite file is opened. No Trio here: this runs in threads.

Nobody but SQLite may open the file and close it again in a process that has it open: closing any descriptor of a file
gives up all locks that the process has on it (fcntl(2); sqlite.org/howtocorrupt.html, 2.2). Another process that leaves
then takes itself for the last one and deletes the ``-wal`` file, and what is written afterwards nobody else ever sees.
So only a file that is not there yet is touched here, and what is in one is asked of SQLite.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from triplane.core.errors import ConfigError, LedgerCorrupt, LedgerFailed

from .sqlite_formats import FORMAT, bring_up_to_date, check_format, make_tables
from .sqlite_rows import value_of
from .sqlite_trouble import error_code, transaction, trouble

if TYPE_CHECKING:
    from collections.abc import Callable

Sync = Literal["off", "normal", "full"]

_making = threading.Lock()


def check_path(path: str | os.PathLike[str]) -> str:
    """The absolute path.

    Raises:
        ConfigError: No file can be there, or what is there is none.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ConfigError(f"a ledger is a file: give its path as text or a Path, not {type(path).__name__}")
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
        _make(path)
        connection = _connect(path, busy_timeout)
        try:
            _until(time.monotonic() + busy_timeout, lambda: _prepare(connection, path))
            connection.execute(f"PRAGMA synchronous = {sync}")
            # What a statement puts aside, a few rows, needs no file.
            connection.execute("PRAGMA temp_store = memory")
            # The longer until all pages are copied into the file, the fewer of them are copied in vain.
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            connection.close()
            raise
    return connection


def identity_of(path: str) -> tuple[int, int]:
    """Which file is at a path.

    Raises:
        OSError: None is.
    """
    there = os.lstat(path)
    return there.st_dev, there.st_ino


def check_identity(path: str, identity: tuple[int, int]) -> None:
    """Check that a path still leads to the file that was opened there: SQLite would go on writing to one that has no name.

    Raises:
        LedgerFailed: It does not.
    """
    try:
        if identity_of(path) == identity:
            return
    except OSError:
        pass
    raise LedgerFailed(
        f"the file of the ledger {path!r} was removed, renamed or replaced while it was open; what is written there now"
        " would be lost. Put it back, or leave the ledger and open it again",
        path=path,
        operation="write",
        reason="io",
    )


def open_reader(path: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a file that is there for reading."""
    with trouble(path, "open"):
        # SQLite would make it.
        identity_of(path)
        connection = _connect(path, busy_timeout)
        try:
            connection.execute("PRAGMA query_only = 1")
            if check_format(connection, path) < FORMAT:
                raise LedgerCorrupt(f"{path!r} is of an earlier format", path=path, offset=60)
        except BaseException:
            connection.close()
            raise
    return connection


def _connect(path: str, busy_timeout: float) -> sqlite3.Connection:
    # Each is used by one thread at a time, though not always the same.
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        # The writer has two for each number of rows.
        cached_statements=256,
    )
    connection.execute("PRAGMA trusted_schema = 0")
    connection.execute("PRAGMA cell_size_check = 1")
    return connection


def _make(path: str) -> None:
    """Make the file if there is none, and check that it may be written."""
    # Whoever finds the file there may have it open before it is closed here.
    with _making, suppress(FileExistsError):
        # Readable to its user alone, whatever the umask; SQLite gives the files beside it the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    if not value_of(connection, "PRAGMA page_count"):
        # Of a file that is made now. Deleted runs then make it smaller; and a read from the socket fits a page.
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA auto_vacuum = incremental")
    is_old = False
    with transaction(connection, "EXCLUSIVE"):
        if not make_tables(connection):
            is_old = check_format(connection, path) < FORMAT
            if is_old:
                bring_up_to_date(connection, path)
    if value_of(connection, "PRAGMA journal_mode") != "wal":
        connection.execute("PRAGMA journal_mode = wal")
    if is_old:
        give_space_back(connection)


def _until(deadline: float, attempt: Callable[[], None]) -> None:
    """Try again while others prepare the same file: SQLite does not wait for every one of its locks."""
    while True:
        try:
            attempt()
        except sqlite3.OperationalError as error:
            if (
                error_code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > deadline
            ):
                raise
        else:
            return
        time.sleep(0.01)


def give_space_back(connection: sqlite3.Connection) -> None:
    """Make the file shorter by what nothing stands in."""
    # It frees a page with each step, and only a script goes on stepping; the file gets shorter at the checkpoint.
    connection.executescript("PRAGMA incremental_vacuum")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
