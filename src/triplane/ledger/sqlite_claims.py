"""How the claim to a run on disk is taken, and how a run is removed. This runs in the writing thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from triplane.core.errors import LedgerFailed

from .chain import BrokenChainError, unlink
from .owner import is_dead
from .sqlite_file import find_run, read_rows, run_base, transaction
from .sqlite_writer import Claim

if TYPE_CHECKING:
    import sqlite3

    from .sqlite_file import RunRow
    from .sqlite_writer import Writer


def take_claim(writer: Writer, connection: sqlite3.Connection, run_id: str) -> tuple[Claim, RunRow]:
    """Take the claim to a run and see to it that it is renewed.

    Returns:
        The claim, and the run as it stands.

    Raises:
        ConfigError: There is no such run.
        LedgerFailed: Somebody else has the claim.
        LedgerCorrupt: The run's last record is not what was written.
    """
    with transaction(connection, "IMMEDIATE"):
        run = find_run(connection, writer.path, run_id)
        _refuse_if_claimed(run, writer)
        # Whoever continues a run adds to its last record, which must be the right one.
        last = read_rows(connection, run.run, max(0, run.records - 2), 3)
        if run.records and (not last or last[-1].sequence != run.records - 1 or last[-1].digest != run.head):
            raise BrokenChainError(run.records - 1, "is not the one that was written last")
        if len(last) > 1:
            unlink(last[0].digest, last[1:], last[1].sequence)
        connection.execute(
            "UPDATE runs SET owner = ?, token = token + 1, deadline = ? WHERE run = ?",
            (writer.owner, writer.clock() + writer.claim_seconds, run.run),
        )
    claim = Claim(run_id, run.token + 1, run.began, run.run)
    writer.adopt(claim)
    return claim, run


def remove_run(writer: Writer, connection: sqlite3.Connection, run_id: str) -> None:
    """Delete a run and its records.

    Raises:
        ConfigError: There is no such run.
        LedgerFailed: Somebody has the claim.
    """
    with transaction(connection, "IMMEDIATE"):
        run = find_run(connection, writer.path, run_id)
        _refuse_if_claimed(run, writer)
        base = run_base(run.run)
        connection.execute("DELETE FROM records WHERE place >= ? AND place < ?", (base, base + 2**32))
        connection.execute("DELETE FROM runs WHERE run = ?", (run.run,))
        connection.execute("UPDATE totals SET runs = runs - 1")


def is_claimed(run: RunRow, now: float) -> bool:
    """Whether somebody who may be alive has the claim to a run."""
    return run.owner is not None and (run.deadline or 0) > now and not is_dead(run.owner)


def _refuse_if_claimed(run: RunRow, writer: Writer) -> None:
    now = writer.clock()
    if is_claimed(run, now):
        left = (run.deadline or now) - now
        until = time.strftime("%H:%M:%S", time.gmtime(run.deadline or 0))
        raise LedgerFailed(
            f"run {run.run_id} is being driven by another engine; its claim lasts until {until} UTC"
            f" ({left:.0f} s from now) and is renewed as long as that engine lives. Wait for it to end",
            path=writer.path,
            operation="claim",
            reason="claimed",
        )
