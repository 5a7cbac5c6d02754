"""How work on a ledger's file ends: wholly, or not at all and with one of the two errors that a ledger has."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Literal

from triplane.core.errors import LedgerCorrupt, LedgerFailed, TriplaneError

from .chain import BrokenChainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.core.errors import LedgerOperation, LedgerTrouble

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


def error_code(error: sqlite3.Error) -> int:
    """What kind of error it is, as SQLite counts them."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


@contextlib.contextmanager
def trouble(path: str, operation: LedgerOperation) -> Iterator[None]:
    """Turn what SQLite and the system report into the two errors that a ledger has."""
    try:
        yield
    except TriplaneError:
        raise
    except sqlite3.Error as error:
        if error_code(error) == sqlite3.SQLITE_NOTADB:
            words = f"{path!r} is not a ledger: it is not an SQLite file"
            raise LedgerCorrupt(words, path=path, offset=0) from error
        reason = _REASONS.get(error_code(error))
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
