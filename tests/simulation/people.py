"""What does the person say who is asked? Something that depends on nothing but the question."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
import trio

import triplane

if TYPE_CHECKING:
    from triplane.core.run_state import RunState


def needs_approval(tool: str, arguments: str) -> bool:
    """Whether a call needs approval."""
    return tool == "risk" and (_number(arguments) or 0) > 2


def approves(asked: triplane.ApprovalAsked) -> bool:
    """What the person says."""
    return (_number(asked.arguments) or 0) % 3 != 0


def _number(arguments: str) -> int | None:
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(arguments)
        if isinstance(found, dict) and isinstance(found.get("number"), int):
            return int(found["number"])
    return None


async def run(engine: triplane.Engine, agent: triplane.Agent, text: str) -> RunState:
    """Run it, and resume it with what the person says as often as it is parked."""
    try:
        return await engine.run(agent, text)
    except triplane.ApprovalRequired as error:
        parked = error
    while True:
        verdicts = {asked.call_id: approves(asked) for asked in parked.approvals}
        approve = [call_id for call_id, verdict in verdicts.items() if verdict]
        deny = [call_id for call_id, verdict in verdicts.items() if not verdict]
        try:
            return await engine.resume(parked.run_id, agent, approve=approve, deny=deny)
        except triplane.ApprovalRequired as error:
            parked = error


async def watch(run: triplane.Run) -> None:
    """Decide whatever a run asks, after a while."""
    try:
        async for event in run:
            if isinstance(event, triplane.ApprovalAsked):
                await trio.sleep(0.7)
                if approves(event):
                    run.approve(event.call_id)
                else:
                    run.deny(event.call_id, "Rather not.")
    except triplane.EngineClosed:
        # It would be parked for ever.
        run.cancel()
    except triplane.TriplaneError:
        return  # `Run.wait` tells it once more
