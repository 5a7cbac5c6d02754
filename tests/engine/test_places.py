"""Tools whose calls run agents, where only so many calls may be at work at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing

import triplane
from triplane.testing import open_server
from triplane.tools.workbench import acquire, lent


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


async def test_a_place_that_was_given_back_is_lent_no_more() -> None:
    """Neither to who waits for it, nor by a call that was begun in the one that has ended."""
    of_engine, of_tool = trio.CapacityLimiter(1), trio.CapacityLimiter(1)
    of_engine.acquire_on_behalf_of_nowait("outer")
    got: dict[str, trio.CapacityLimiter] = {}
    outer_has_ended = trio.Event()

    async def second() -> None:
        got["second"] = await acquire(of_engine, "second")

    async def inner() -> None:
        """It has a place of another kind, and no less does it work in the outer one's."""
        with lent([of_tool]):
            await outer_has_ended.wait()
            got["third"] = await acquire(of_engine, "third")

    async with trio.open_nursery() as nursery:
        with lent([of_engine]):
            first = await acquire(of_engine, "first")
            nursery.start_soon(second)
            nursery.start_soon(inner)
            await trio.testing.wait_all_tasks_blocked()
        first.release_on_behalf_of("first")
        outer_has_ended.set()
        await trio.testing.wait_all_tasks_blocked()

        assert {} == got
        assert 0 == first.borrowed_tokens
        for _ in range(2):
            of_engine.release_on_behalf_of(next(iter(of_engine.statistics().borrowers)))
            await trio.testing.wait_all_tasks_blocked()

    assert {"second": of_engine, "third": of_engine} == got
