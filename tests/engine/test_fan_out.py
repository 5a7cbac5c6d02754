"""Many runs at once: results, order, failures, and nothing left over."""

from __future__ import annotations

import pytest
import trio

import triplane
from triplane.server import Drop

AGENT = triplane.Agent("m")


async def test_results_come_as_they_finish(bench, autojump_clock) -> None:
    inputs = ["WAIT 3000\nSAY 1 slow", "WAIT 1000\nSAY 1 quick", "WAIT 2000\nSAY 1 middling"]
    async with bench() as b, b.engine.fan_out(AGENT, inputs) as results:
        seen = [(result.index, result.result.text) async for result in results]

    assert [(1, "quick"), (2, "middling"), (0, "slow")] == seen


async def test_results_in_order_when_asked(bench, autojump_clock) -> None:
    inputs = ["WAIT 3000\nSAY 1 a", "WAIT 1000\nSAY 1 b", "WAIT 2000\nSAY 1 c"]
    async with bench() as b, b.engine.fan_out(AGENT, inputs, ordered=True) as results:
        seen = [result.result.text async for result in results]

    assert ["a", "b", "c"] == seen


async def test_one_agent_for_each_input(bench, autojump_clock) -> None:
    agents = [triplane.Agent("m", name="first"), triplane.Agent("m", name="second")]
    async with bench() as b, b.engine.fan_out(agents, ["x", "y"], ordered=True) as results:
        logs = [result.run.log.records[0].body.agent async for result in results]

    assert ["first", "second"] == logs


async def test_a_failure_disturbs_nobody(bench, autojump_clock) -> None:
    agents = [triplane.Agent("m"), triplane.Agent("nonesuch"), triplane.Agent("m")]
    async with (
        bench(model={"m": "directive"}) as b,
        b.engine.fan_out(agents, ["a", "b", "c"], ordered=True) as results,
    ):
        seen = [result async for result in results]

    assert [None, "model_not_found", None] == [result.error and result.error.code for result in seen]
    with pytest.raises(triplane.ServerError, match="nonesuch"):
        _ = seen[1].result
    assert ["echo: a", "echo: c"] == [seen[index].result.text for index in (0, 2)]


@pytest.mark.parametrize(
    ("agents", "inputs", "words"),
    [
        ([AGENT, "m"], ["a", "b"], "what runs is an Agent"),
        ([AGENT, AGENT], ["a", 5], "a run's input is text"),
        (None, ["a"], "takes a list of agents, not NoneType"),
        (AGENT, None, "takes a list of inputs, not NoneType"),
    ],
)
async def test_what_cannot_run_is_refused_before_anything_runs(bench, agents, inputs, words) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match=words):
            b.engine.fan_out(agents, inputs)
        assert 0 == b.network.opened


async def test_no_more_than_max_runs_at_once(bench, autojump_clock) -> None:
    most = 0
    async with bench() as b, b.engine.fan_out(AGENT, ["WAIT 1000\nSAY 1 x"] * 20, max_runs=3) as results:
        async for _result in results:
            most = max(most, b.engine.statistics().runs_active)

    assert 3 >= most > 1
    assert 20 == b.engine.statistics().runs_finished


async def test_leaving_early_cancels_the_rest(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.fan_out(AGENT, ["WAIT 100\nSAY 1 x"] + ["WAIT 100000\nSAY 1 x"] * 5) as results:
            async for _result in results:
                break
        assert 0 == b.engine.statistics().runs_active
        assert {"completed", "cancelled"} == {run.state.status for run in results.runs.values()}
        assert "echo: after" == (await b.engine.run(AGENT, "after")).text


async def test_nothing_to_do(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.fan_out(AGENT, []) as results:
        assert [] == [result async for result in results]


@pytest.mark.parametrize("max_runs", [0, -1, 1.5, True])
async def test_a_wrong_max_runs_is_refused(bench, autojump_clock, max_runs) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="max_runs must be a whole number"):
            b.engine.fan_out(AGENT, ["x"], max_runs=max_runs)


async def test_as_many_agents_as_inputs(bench, autojump_clock) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="2 agents for 3 inputs"):
            b.engine.fan_out([AGENT, AGENT], ["x", "y", "z"])


async def test_the_block_may_raise(bench, autojump_clock) -> None:
    async with bench() as b:
        with pytest.raises(KeyError, match="mine"):
            async with b.engine.fan_out(AGENT, ["WAIT 100000\nSAY 1 x"] * 5):
                await trio.sleep(1)
                raise KeyError("mine")
        assert 0 == b.engine.statistics().runs_active


async def test_200_runs_over_16_connections_leave_nothing(bench, autojump_clock) -> None:
    """Some of the connections are dropped on the way."""
    faults = [Drop(after_events=3, nth=nth) for nth in range(10, 400, 37)]

    @triplane.tool(effect="read")
    async def nap(seconds: float) -> str:
        """Sleep."""
        await trio.sleep(seconds)
        return f"{seconds}"

    agent = triplane.Agent("m", "", [nap])
    options = triplane.EngineOptions(max_connections=16)
    inputs = [f'REPEAT {1 + number % 4} CALL nap {{"seconds": {1 + number % 7}}}' for number in range(200)]
    async with bench(options=options, faults=faults) as b:
        async with b.engine.fan_out(agent, inputs, max_runs=200) as results:
            seen = [result async for result in results]
        now = b.engine.statistics().pool
        assert (0, 0, 0, 0) == (now.leased, now.reserved, now.waiting, now.dialling)
        assert 16 >= len(now.connections)

    assert {"completed"} == {result.result.status for result in seen}
    assert len(faults) <= sum(result.result.reconnects for result in seen)
    assert b.engine.statistics().opened == b.engine.statistics().closed > 16
