"""Connections are replaced before the server ends them for their age, and no run notices."""

from __future__ import annotations

import math

import pytest
import trio
from rotation_days import MOST_HANDSHAKES, live

import triplane

HOUR = 3600.0

agent = triplane.Agent("m")


async def test_an_idle_connection_is_closed_in_time_and_replaced_when_it_is_needed(
    bench, autojump_clock
) -> None:
    async with bench() as b:
        await b.engine.run(agent, "hello")
        await trio.sleep(0.9 * 55 * 60 - 1)
        assert (1, 0) == (b.engine.statistics().opened, b.engine.statistics().closed)
        await trio.sleep(0.1 * 55 * 60 + 10)
        assert (1, 1, 1) == (
            b.engine.statistics().opened,
            b.engine.statistics().closed,
            b.engine.statistics().pool.rotated,
        )
        assert "echo: hello" == (await b.engine.run(agent, "hello")).text
        assert 2 == b.engine.statistics().opened


async def test_a_run_whose_connection_grows_old_while_a_tool_runs_goes_on_elsewhere(
    bench, autojump_clock
) -> None:
    @triplane.tool(timeout=2 * HOUR)
    async def wait() -> str:
        """Take an hour."""
        await trio.sleep(HOUR)
        return "rested"

    waiting = triplane.Agent("m", tools=[wait])
    async with bench() as b:
        result = await b.engine.run(waiting, "REPEAT 3 CALL wait {}")
        statistics = b.engine.statistics()

    assert 'RESULT: "rested"' == result.text
    assert 0 == result.replays
    assert 3 <= statistics.pool.rotated <= 4
    # Handshakes: one for each connection-hour, and no more.
    assert statistics.opened == statistics.pool.rotated + 1


async def test_a_response_that_is_on_its_way_is_not_cut_off(bench, autojump_clock) -> None:
    age = 100.0
    async with bench(endpoint=triplane.Endpoint("ws://memory", max_age=age)) as b:
        async with b.engine.open_run(agent, "WAIT 150000\nSAY 2 late ") as run:
            await trio.sleep(age + 5)
            # The old one still brings the answer; its replacement is there.
            states = sorted(each.state for each in b.engine.statistics().pool.connections)
            assert ["draining", "open"] == states
            result = await run.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert ["open"] == [each.state for each in b.engine.statistics().pool.connections]

    assert ("late late ", 0, 0) == (result.text, result.replays, result.reconnects)


async def test_without_an_age_connections_stay(bench, autojump_clock) -> None:
    async with bench(endpoint=triplane.Endpoint("ws://memory", max_age=None), max_age=math.inf) as b:
        await b.engine.run(agent, "hello")
        await trio.sleep(2 * HOUR)
        assert (1, 0) == (b.engine.statistics().opened, b.engine.statistics().closed)


async def test_connections_of_one_engine_do_not_go_all_at_once(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.fan_out(agent, ["WAIT 1000"] * 4, max_runs=4) as results:
            async for _result in results:
                pass
        assert 4 == b.engine.statistics().opened
        await trio.sleep(0.9 * 55 * 60 - 10)
        closed = set()
        for _ in range(360):
            closed.add(b.engine.statistics().closed)
            await trio.sleep(1)

    assert {0, 1, 2, 3, 4} == closed


@pytest.mark.parametrize("age", [0, -1, True, "1", float("nan")])
def test_an_age_that_cannot_be_is_refused(age) -> None:
    with pytest.raises(triplane.ConfigError, match="max_age must be a number of seconds above 0"):
        triplane.Endpoint("ws://x", max_age=age)


def test_xai_ends_connections_sooner() -> None:
    assert 24 * 60 == triplane.Endpoint.xai("k").max_age


def test_hours_of_connections_that_end_after_an_hour_cost_no_turn() -> None:
    """A sample of what `nox -s sweep -- rotation` lives through for 30 days."""
    outcome = live(5, sessions=4)

    assert () == outcome.failures
    assert 0 == outcome.replays
    assert 4 * 4 <= outcome.rotated
    # Apart from the first of each.
    assert outcome.opened <= 4 + MOST_HANDSHAKES * outcome.connection_hours
