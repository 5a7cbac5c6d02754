"""What type checkers make of the public names. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, assert_type

import triplane
from triplane.protocol import (
    ComputerAction,
    ErrorEvent,
    ResponseCompleted,
    ResponseCreate,
    ResponseOutputTextDelta,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


@triplane.tool
async def plain(city: str, days: int = 1) -> str:
    """A bare decorator."""
    return city * days


@triplane.tool(timeout=5, max_output=1024, effect="read", retries=2)
def with_options(city: str) -> list[str]:
    """A decorator with options, on a sync function."""
    return [city]


@triplane.custom_tool(regex="[a-z]+", async_=True)
async def free(text: str) -> int:
    """A custom tool."""
    return len(text)


async def act(actions: Sequence[ComputerAction], context: triplane.ToolContext) -> bytes:
    """A handler."""
    return context.call_id.encode() + bytes(len(actions))


assert_type(triplane.computer_tool(act), triplane.Tool)
assert_type(triplane.shell_tool(".", timeout=3), triplane.Tool)
assert_type(triplane.namespace("a", "b", [free]), tuple[triplane.Tool, ...])
assert_type(triplane.tool_search([plain], execution="client"), tuple[triplane.Tool, ...])


async def a_tool_is_still_its_function() -> None:
    """Tests of users call their tools."""
    assert_type(await plain("x", days=2), str)
    assert_type(with_options("x"), list[str])
    assert_type(plain.timeout, float)
    assert_type(await free("x"), int)


agent = triplane.Agent(
    "m", "instructions", [plain, with_options], settings=triplane.ModelSettings(temperature=0.0)
)
assert_type(agent.as_tool(), triplane.Tool)
assert_type(agent.tools, tuple[triplane.Tool, ...])


async def runs(endpoint: triplane.Endpoint) -> None:
    """The engine's surface."""
    async with triplane.open_engine(endpoint, options=triplane.EngineOptions(max_connections=2)) as engine:
        assert_type(await engine.run(agent, "text"), triplane.RunState)
        assert_type(await engine.run(agent, [{"role": "user", "content": "x"}]), triplane.RunState)
        async with engine.open_run(agent, "text") as run:
            assert_type(run, triplane.Run)
            async for event in run:
                assert_type(event.type, str)
                match event:
                    case ResponseOutputTextDelta(delta=delta):
                        assert_type(delta, str)
                    case ResponseCompleted(response=response):
                        assert_type(response.id, str)
                    case ErrorEvent():
                        assert_type(event.detail.code, str | None)
                    case triplane.ToolFinished(outcome=outcome):
                        assert_type(outcome, triplane.ToolOutcome)
                    case triplane.ResponseRetracted(ambiguous=ambiguous):
                        assert_type(ambiguous, bool)
                    case triplane.StillWaiting(phase=phase, round_trip=round_trip):
                        assert_type(phase, Literal["model_thinking", "socket_silent"])
                        assert_type(round_trip, float | None)
                    case triplane.ApprovalAsked(call_id=call_id, server_label=label):
                        assert_type(label, str | None)
                        run.approve(call_id)
                        run.deny(call_id, "Not that.")
                    case triplane.DifferencesFound(differences=differences):
                        assert_type(differences, tuple[dict[str, Any], ...])
                    case _:
                        pass
            assert_type(run.approvals, tuple[triplane.ApprovalAsked, ...])
            assert_type(run.result.usage, triplane.RunUsage)
        resumed = await engine.resume("run_1", agent, approve=["call_1"], deny={"call_2": "Not that."})
        assert_type(resumed, triplane.RunState)
        await engine.resume("run_1", agent, deny=["call_2"])
        async with engine.fan_out([agent], ["a"], ordered=True) as results:
            async for result in results:
                assert_type(result.error, triplane.TriplaneError | None)
                assert_type(result.result, triplane.RunState)
        async with engine.lane() as lane:
            turn = await lane.create(ResponseCreate(model="m", input="x", store=False))
            assert_type(turn.response.text, str)
        assert_type(engine.statistics(), triplane.EngineStatistics)
        assert_type(await engine.warm_up(agent, lanes=2), int)


def errors(error: triplane.TriplaneError) -> None:
    """Facts by class."""
    match error:
        case triplane.ConnectFailed():
            assert_type(error.status, int | None)
        case triplane.ApprovalRequired():
            assert_type(error.approvals, tuple[triplane.ApprovalAsked, ...])
        case triplane.ServerError():
            assert_type(error.retry_after, float | None)
        case _:
            assert_type(error.receipt, triplane.Receipt)
