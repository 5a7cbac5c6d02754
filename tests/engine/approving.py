"""Runs with calls that wait for a person, for tests."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

import triplane
from triplane.core.reducer import RunReducer
from triplane.protocol import ModelSettings

HOSTED = ModelSettings(extra={"tools": [{"type": "mcp", "server_label": "dice", "server_url": "https://x"}]})

CALLS = 'CALL pay {"amount": 1}\nCALL look {"amount": 2}'


@attrs.define
class Shop:
    """Tools, some of which a person has to approve, and what they did."""

    done: list[str] = attrs.field(factory=list)

    @triplane.tool(needs_approval=True)
    async def pay(self, amount: int) -> str:
        """Pay."""
        self.done.append(f"pay {amount}")
        return f"paid {amount}"

    @triplane.tool(needs_approval=lambda arguments: arguments["amount"] > 100)
    async def send(self, amount: int) -> str:
        """Send."""
        self.done.append(f"send {amount}")
        return f"sent {amount}"

    @triplane.tool(effect="read")
    async def look(self, amount: int) -> str:
        """Look."""
        await trio.sleep(1)
        self.done.append(f"look {amount}")
        return f"saw {amount}"

    @triplane.tool
    async def fail(self, amount: int) -> str:
        """Fail."""
        self.done.append(f"fail {amount}")
        raise RuntimeError("no")

    def agent(self, **settings: Any) -> triplane.Agent:
        return triplane.Agent("m", tools=triplane.tools_of(self), **settings)


def kinds(records: Any) -> list[str]:
    """What the records are, apart from frames."""
    names = [each.body.type.removeprefix("triplane.") for each in records]
    return [name for name in names if name not in ("frames_received", "tool_queued")]


def told(state: triplane.RunState) -> dict[str, tuple[str, str]]:
    return {each.call.name: (each.outcome.kind, each.outcome.output) for each in state.tool_calls}


def requests(b: Any) -> list[dict[str, Any]]:
    """What the server was asked."""
    entries = b.server.journal.entries
    return [entry.json for entry in entries if entry.kind == "message" and entry.direction == "in"]


async def parked(run: triplane.Run) -> tuple[triplane.ApprovalAsked, ...]:
    """Wait until a run is parked; what it waits for."""
    async for event in run:
        if isinstance(event, triplane.RunParked):
            break
    assert "parked" == run.state.status
    return run.approvals


async def park(engine: triplane.Engine, agent: triplane.Agent, text: str) -> triplane.ApprovalRequired:
    with pytest.raises(triplane.ApprovalRequired) as caught:
        await engine.run(agent, text)
    return caught.value


def ledger_state(ledger: triplane.MemoryLedger, run_id: str) -> triplane.RunState:
    reducer = RunReducer()
    for record in ledger.logs[run_id].records:
        reducer.apply(record)
    return reducer.snapshot()
