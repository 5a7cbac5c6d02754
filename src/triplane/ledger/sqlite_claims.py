"""How the claim to a run on disk is taken, and how a run is removed. This runs in the writing thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from triplane.core.errors import LedgerFailed

from .sqlite_rows import find_run, read_packed
from .sqlite_trouble import transaction
from .sqlite_writer import Claim

if TYPE_CHECKING:
    import sqlite3

    from .sqlite_rows import RunRow
    from .sqlite_writer import Writer


def take_claim(writer: Writer, connection: sqlite3.Connection, run_id: str) -> Claim:
    """Take the claim to a run as it stands, and see to it that it is renewed.

    Raises:
        ConfigError: There is no such run.
        LedgerFailed: Somebody else has the claim.
        BrokenChainError: The run's last record is not what was written.
    """
    with transaction(connection, "IMMEDIATE"):
        run = find_run(connection, writer.path, run_id)
        _refuse_if_claimed(run, writer)
        # Whoever continues a run adds to its last record, which must be the right one.
        for record in read_packed(connection, run, max(0, run.records - 1), run.records):
            record.decoded()
        connection.execute(
            "UPDATE runs SET owner = ?, token = token + 1, deadline = ? WHERE run = ?",
            (writer.owner, writer.clock() + writer.claim_seconds, run.run),
        )
    claim = Claim(run_id, run.token + 1, run.began, run.head, run.records, run.run)
    writer.adopt(claim)
    return claim


def remove_run(writer: Writer, connection: sqlite3.Connection, run_id: str) -> None:
    """Delete a run and its records.

    Raises:
        ConfigError: There is no such run.
        LedgerFailed: Somebody has the claim.
    """
    with transaction(connection, "IMMEDIATE"):
        run = find_run(connection, writer.path, run_id)
        _refuse_if_claimed(run, writer)
        connection.execute("DELETE FROM chunks WHERE run = ?", (run.run,))
        connection.execute("DELETE FROM runs WHERE run = ?", (run.run,))
        connection.execute("UPDATE totals SET runs = runs - 1")


def _refuse_if_claimed(run: RunRow, writer: Writer) -> None:
    now = writer.clock()
    if run.is_claimed(now):
        left = (run.deadline or now) - now
        until = time.strftime("%H:%M:%S", time.gmtime(run.deadline or 0))
        raise LedgerFailed(
            f"run {run.run_id} is being driven by another engine; its claim lasts until {until} UTC"
            f" ({left:.0f} s from now) and is renewed as long as that engine lives. Wait for it to end, then ask"
            " again",
            path=writer.path,
            operation="claim",
            reason="claimed",
        )
