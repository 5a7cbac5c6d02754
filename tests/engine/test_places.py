"""Tools whose calls run agents, where only so many calls may be at work at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

import triplane
from triplane.testing import open_server


@pytest.mark.parametrize(
    ("of_engine", "of_tool"), [(1, math.inf), (2, math.inf), (3, math.inf), (math.inf, 1)]
)
@pytest.mark.parametrize("calls", [1, 3])
async def test_a_call_does_not_wait_for_its_own_place(
    of_engine: float, of_tool: float, calls: int, autojump_clock: Any
) -> None:
    now = most = 0

    @triplane.tool(effect="read", max_concurrency=of_tool)
    async def leaf(number: int) -> str:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(1)
        now -= 1
        return str(number)

    @triplane.tool(effect="read", max_concurrency=of_tool)
    async def ask(context: triplane.ToolContext, depth: int) -> str:
        question = f'CALL ask {{"depth": {depth - 1}}}'
        if depth == 0:
            question = "\n".join(f'CALL leaf {{"number": {number}}}' for number in range(3))
        return str((await context.engine.run(triplane.Agent("m", tools=[ask, leaf]), question)).text)

    options = triplane.EngineOptions(max_tool_concurrency=of_engine)
    async with open_server() as (server, network):
        endpoint = triplane.Endpoint(server.url)
        async with triplane.open_engine(endpoint, network=network, options=options) as engine:
            question = "\n".join(f'CALL ask {{"depth": {number % 3}}}' for number in range(calls))
            with trio.fail_after(50):
                result = await engine.run(triplane.Agent("m", tools=[ask]), question)

    assert ["ok"] * calls == [each.outcome.kind for each in result.tool_calls]
    assert calls == result.text.count("2"), "each got what its agent's calls brought"
    assert most <= min(of_engine, of_tool)


async def test_who_is_left_behind_has_nobody_elses_place(autojump_clock: Any) -> None:
    """A run that a call began and did not wait for waits like any other."""
    began: list[str] = []

    @triplane.tool(effect="read")
    async def slow(name: str) -> str:
        began.append(f"{name} at {trio.current_time() - start:g}")
        await trio.sleep(10)
        return name

    agent = triplane.Agent("m", tools=[slow])

    @triplane.tool(effect="read")
    async def begin(context: triplane.ToolContext) -> str:
        async def later() -> None:
            await trio.sleep(5)
            await context.engine.run(agent, 'CALL slow {"name": "behind"}')

        nursery.start_soon(later)
        await trio.sleep(1)
        return "begun"

    options = triplane.EngineOptions(max_tool_concurrency=1)
    async with open_server() as (server, network):
        endpoint = triplane.Endpoint(server.url)
        async with (
            triplane.open_engine(endpoint, network=network, options=options) as engine,
            trio.open_nursery() as nursery,
        ):
            start = trio.current_time()
            await engine.run(triplane.Agent("m", tools=[begin]), "CALL begin {}")
            await engine.run(agent, 'CALL slow {"name": "next"}')

    assert ["next at 1", "behind at 11"] == began
