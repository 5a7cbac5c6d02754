"""Runs that are cut off after each record of their logs, and what must come of them when they are resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

import triplane
from triplane.tools import idempotency_key

if TYPE_CHECKING:
    from collections.abc import Sequence


@attrs.define
class Effects:
    """What tools did, counted where no engine can see it: the idempotency keys by tool, in order."""

    done: list[tuple[str, str]] = attrs.field(factory=list)

    def agent(self, *more: triplane.Tool, **settings: object) -> triplane.Agent:
        """An agent with a tool of each effect class."""

        @triplane.tool(effect="write")
        async def pay(amount: int, context: triplane.ToolContext) -> str:
            """Must not happen twice."""
            self.done.append(("pay", context.idempotency_key))
            return f"paid {amount}"

        @triplane.tool(effect="idempotent")
        async def put(amount: int, context: triplane.ToolContext) -> str:
            """May happen twice with the same key."""
            self.done.append(("put", context.idempotency_key))
            return f"put {amount}"

        @triplane.tool(effect="read")
        async def look(amount: int, context: triplane.ToolContext) -> str:
            """May happen as often as it likes."""
            self.done.append(("look", context.idempotency_key))
            return f"saw {amount}"

        return triplane.Agent("m", "Be careful.", [pay, put, look, *more], **settings)


def cut_off(records: Sequence[triplane.Record], length: int) -> triplane.MemoryLedger:
    """A ledger with the first `length` records of a run, as its death would have left it."""
    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    add_cut_off(ledger, records[0].body.run_id, records, length)
    return ledger


def add_cut_off(
    ledger: triplane.MemoryLedger, run_id: str, records: Sequence[triplane.Record], length: int
) -> None:
    """Add a run to a ledger that is like the first `length` records of another."""
    log = ledger.create(run_id)
    log.append(attrs.evolve(records[0].body, run_id=run_id))
    for record in records[1:length]:
        log.append(record.body)
    log.release()


def run_id_of(ledger: triplane.MemoryLedger) -> str:
    """The only run of a ledger."""
    (run_id,) = ledger.logs
    return run_id


@attrs.frozen
class Due:
    """What is due of a call, by the records that are left of a log.

    Attributes:
        tool: Which tool.
        is_open: Whether it had started and not finished.
        again: How often its tool has to run after the resumption.
        doubtful: Whether the model has to be told that the call was interrupted.
    """

    tool: str
    is_open: bool
    again: int
    doubtful: bool


def dues(run_id: str, records: Sequence[triplane.Record], length: int) -> dict[str, Due]:
    """What is due of each call of a run that is cut off, by its idempotency key."""
    kept = records[:length]
    finished = {each.body.call_id for each in kept if isinstance(each.body, triplane.ToolFinished)}
    started = {each.body.call_id for each in kept if isinstance(each.body, triplane.ToolStarted)}
    found = {}
    for record in records:
        body = record.body
        if isinstance(body, triplane.ToolStarted):
            is_open = body.call_id in started and body.call_id not in finished
            doubtful = is_open and body.effect == "write"
            again = int(body.call_id not in finished and not doubtful)
            found[idempotency_key(run_id, body.call_id)] = Due(body.name, is_open, again, doubtful)
    return found
