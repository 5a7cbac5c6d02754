"""Forks on the lanes of one connection: by the source's response, while the source waits until they have begun."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from steering_bench import requests_of, when

import triplane
from triplane.server import ErrorEvent

LANES = triplane.Endpoint("ws://memory/v1", lanes="named")
ELSEWHERE = triplane.Endpoint("ws://memory/v1", lanes="named", headers={"OpenAI-Project": "other"})


@triplane.tool(effect="read")
async def look(seconds: float = 10) -> str:
    """Look around."""
    await trio.sleep(seconds)
    return "seen"


AGENT = triplane.Agent("m", "", [look])
CALL = "CALL look {}\nSAY 1 x"


def on_lanes(bench: Any, lanes: int = 3, **given: Any) -> Any:
    options = triplane.EngineOptions(max_connections=1, lanes_per_connection=lanes)
    return bench(endpoint=LANES, options=options, **given)


def plans_of(run: triplane.Run) -> list[tuple[str, str | None, int]]:
    return [(each.plan, each.previous_response_id, each.items) for each in requests_of(run)]


async def test_a_fork_continues_its_sources_response_on_another_lane(bench, autojump_clock) -> None:
    async with on_lanes(bench) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other") as fork:
            assert "echo: other" == (await fork.wait()).text
        await run.wait()
        assert 1 == b.engine.statistics().opened
        lanes = [each.lane for each in b.server.requests]

    head = requests_of(run)[1].previous_response_id
    assert [("full", None, 1), ("incremental", head, 1)] == plans_of(run)
    # It brings the output of the call itself.
    assert [("fork", head, 2)] == plans_of(fork)
    assert 2 == len(set(lanes))


async def test_the_source_goes_on_once_its_fork_has_begun(bench, autojump_clock) -> None:
    """Each response begins after 2 s, and the source's lane would be quicker."""
    async with on_lanes(bench, latency=2) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("WAIT 1000\nSAY 1 y") as fork:
            await run.wait()
            # First response, tool, fork's beginning, second response.
            assert 2 + 10 + 2 + 2 == trio.current_time()
            assert "y" == (await fork.wait()).text

    assert ["fork"] == [each.plan for each in requests_of(fork)]


async def test_the_source_waits_for_a_fork_only_so_long(bench, autojump_clock) -> None:
    async with on_lanes(bench, latency=60) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other") as fork:
            await run.wait()
            assert 60 + 10 + 5 + 60 == trio.current_time()
            assert "echo: other" == (await fork.wait()).text


async def test_a_fork_that_finds_no_other_lane_takes_its_sources(bench, autojump_clock) -> None:
    async with on_lanes(bench, 2) as b, b.engine.lane(), b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other") as fork:
            await fork.wait()
        await run.wait()

    assert ["incremental"] == [each.plan for each in requests_of(fork)]
    assert ["full", "full"] == [each.plan for each in requests_of(run)]


async def test_forks_that_end_before_they_begin_hold_nobody(bench, autojump_clock) -> None:
    async with on_lanes(bench, latency=3) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other") as fork:
            pass
        assert "cancelled" == fork.state.status
        await run.wait()
        assert 3 + 10 + 3 == trio.current_time()


@pytest.mark.parametrize(
    "other", [triplane.Agent("m", "differ", [look]), attrs.evolve(AGENT, endpoint=ELSEWHERE)]
)
async def test_a_fork_that_continues_nothing_holds_nobody(bench, autojump_clock, other) -> None:
    """It sends the whole conversation, so its source need not wait for it to begin."""
    async with on_lanes(bench, latency=3) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other", agent=other) as fork:
            await run.wait()
            assert 3 + 10 + 3 == trio.current_time()
            assert "echo: other" == (await fork.wait()).text

    assert ["full"] == [each.plan for each in requests_of(fork)]


async def test_a_fork_whose_response_was_forgotten_sends_the_whole_conversation(
    bench, autojump_clock
) -> None:
    faults = [ErrorEvent(status=400, code="previous_response_not_found", param="previous_response_id", nth=2)]
    async with on_lanes(bench, faults=faults) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other") as fork:
            assert "echo: other" == (await fork.wait()).text
        assert ("completed", "x") == ((await run.wait()).status, run.state.text)

    assert ["fork", "full"] == [each.plan for each in requests_of(fork)]
    assert ["full", "incremental"] == [each.plan for each in requests_of(run)]


async def test_many_forks_at_once(bench, autojump_clock) -> None:
    async with on_lanes(bench, 8, latency=1) as b, b.engine.open_run(AGENT, CALL) as run:
        await when(run, triplane.ToolStarted)
        forks: list[triplane.Run] = []

        async def follow(number: int) -> None:
            async with run.fork(f"{number}") as fork:
                forks.append(fork)
                assert f"echo: {number}" == (await fork.wait()).text

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(follow, number)
        await run.wait()

    assert [["fork"]] * 6 == [[each.plan for each in requests_of(fork)] for fork in forks]
    assert ["full", "incremental"] == [each.plan for each in requests_of(run)]
