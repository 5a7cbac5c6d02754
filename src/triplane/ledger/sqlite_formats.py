"""Which tables a ledger's file has, and how a file of an earlier format comes to those of this one.

Format 2 has a row for each chunk, in the order in which they were written: what all runs have appended goes to the end of
one table, so that a commit changes few pages. Format 1 had a row for each record, by run.
"""

from __future__ import annotations

import hashlib
import struct
import time
from typing import TYPE_CHECKING

from triplane.core.errors import LedgerCorrupt, LedgerFailed

from .chain import BrokenChainError, chunks_of, pack, seed
from .encoding import Encoded
from .sqlite_rows import all_runs, value_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from .sqlite_rows import RunRow

FORMAT = 2
# "TRPL", in the header of every file, where `file` and others look for it.
_APPLICATION = 0x5452504C
_RUNS = (
    "CREATE TABLE runs (run INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, began REAL NOT NULL,"
    " records INTEGER NOT NULL, head BLOB NOT NULL, token INTEGER NOT NULL, owner TEXT, deadline REAL) STRICT"
)
# The body comes last: whoever looks for a chunk need not walk through the bodies of others.
_CHUNKS = (
    "CREATE TABLE chunks (run INTEGER NOT NULL, first INTEGER NOT NULL, records INTEGER NOT NULL,"
    " digest BLOB NOT NULL, body BLOB NOT NULL, UNIQUE (run, first)) STRICT"
)
_TOTALS = "CREATE TABLE totals (one INTEGER PRIMARY KEY CHECK (one = 1), runs INTEGER NOT NULL) STRICT"
_RECORDS = (
    "CREATE TABLE records (place INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL,"
    " version INTEGER NOT NULL, essential INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL) STRICT"
)
# What SQLite makes for AUTOINCREMENT.
_SEQUENCE = "CREATE TABLE sqlite_sequence(name,seq)"
_TABLES = {1: {_RUNS, _RECORDS, _TOTALS, _SEQUENCE}, FORMAT: {_RUNS, _CHUNKS, _TOTALS, _SEQUENCE}}


def make_tables(connection: sqlite3.Connection) -> bool:
    """Make the tables of a ledger if the file is empty. Returns whether it was. In a transaction."""
    if value_of(connection, "SELECT count(*) FROM sqlite_schema") or value_of(
        connection, "PRAGMA application_id"
    ):
        return False
    for statement in (_RUNS, _CHUNKS, _TOTALS, "INSERT INTO totals VALUES (1, 0)"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    return True


def check_format(connection: sqlite3.Connection, path: str) -> int:
    """Which format a file has.

    Raises:
        LedgerCorrupt: None that this version knows, or its tables are not those of that format.
    """
    application = value_of(connection, "PRAGMA application_id")
    if application != _APPLICATION:
        raise LedgerCorrupt(f"{path!r} is a database of another program, not a ledger", path=path, offset=68)
    version: int = value_of(connection, "PRAGMA user_version")
    if version not in _TABLES:
        words = f"{path!r} has format {version} and this Triplane knows those up to {FORMAT}"
        more = "; a newer Triplane wrote it" if version > FORMAT else ""
        raise LedgerCorrupt(words + more, path=path, offset=60)
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if found != _TABLES[version]:
        raise LedgerCorrupt(
            f"{path!r} is damaged: its tables are not those of a ledger", path=path, offset=100
        )
    return version


def bring_up_to_date(connection: sqlite3.Connection, path: str) -> None:
    """Make a file of format 1 one of this format, every record verified. In a transaction.

    Raises:
        LedgerCorrupt, BrokenChainError: It is damaged. The version that wrote it can repair it.
        LedgerFailed: An engine of that version is using it.
    """
    runs = all_runs(connection, path)
    for run in runs:
        if run.is_claimed(time.time()):
            raise LedgerFailed(
                f"{path!r} is of an earlier format, and an engine of that version drives run {run.run_id}; open it"
                " when that has ended",
                path=path,
                operation="open",
                reason="claimed",
            )
    connection.execute(_CHUNKS)
    for run in runs:
        head = seed(run.run_id)
        for chunk in chunks_of(head, 0, _records_of_format_1(connection, run)):
            connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", (run.run, *chunk))
            head = chunk.digest
        connection.execute("UPDATE runs SET head = ? WHERE run = ?", (head, run.run))
    connection.execute("DROP TABLE records")
    connection.execute(f"PRAGMA user_version = {FORMAT}")


_HEAD_OF_FORMAT_1 = struct.Struct(">QdH?H")


def _records_of_format_1(connection: sqlite3.Connection, run: RunRow) -> Iterator[bytes]:
    base = run.run << 32
    found = connection.execute(
        "SELECT place, at, kind, version, essential, body, digest FROM records"
        " WHERE place >= ? AND place < ? ORDER BY place",
        (base, base + 2**32),
    )
    head, expected = seed(run.run_id), 0
    for place, at, kind, version, essential, body, digest in found:
        try:
            name = kind.encode()
            facts = _HEAD_OF_FORMAT_1.pack(place - base, at, version, essential, len(name))
            head = hashlib.sha256(b"".join((head, facts, name, body))).digest()[:16]
        except (struct.error, TypeError, AttributeError) as error:
            raise BrokenChainError(expected, f"of run {run.run_id} is not one: {error}") from error
        if (place - base, digest) != (expected, head):
            raise BrokenChainError(expected, f"of run {run.run_id} is missing, or its checksum is wrong")
        yield pack(at, Encoded(kind, version, bool(essential), body))
        expected += 1
    if (expected, head) != (run.records, run.head):
        words = f"of run {run.run_id} is missing, or was never written"
        raise BrokenChainError(min(expected, run.records), words)
