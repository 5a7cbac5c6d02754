"""Connections are replaced before the server ends them for their age, and no run notices."""

from __future__ import annotations

import itertools
import math

import pytest
import trio
from rotation_days import MOST_HANDSHAKES, live

import triplane
from triplane import RequestSent
from triplane.server import RefuseUpgrade

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


async def test_an_age_counts_from_when_a_connection_is_open(bench, autojump_clock, monkeypatch) -> None:
    # Retired while it was still dialling, it would be there for ever.
    age = 2.0
    async with bench(endpoint=triplane.Endpoint("ws://memory", max_age=age)) as b:
        connect = b.network.connect

        async def slowly(host: str, port: int) -> trio.abc.Stream:
            await trio.sleep(2 * age)
            return await connect(host, port)

        monkeypatch.setattr(b.network, "connect", slowly)
        await b.engine.run(agent, "hello")
        assert 0 == b.engine.statistics().closed
        await trio.sleep(age)
        assert (1, 1) == (b.engine.statistics().closed, b.engine.statistics().pool.rotated)


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


async def test_the_replacement_is_opened_first_and_the_old_one_is_used_until_it_is_there(
    bench, autojump_clock
) -> None:
    """Connecting takes 30 seconds here: nobody waits for that, neither in a turn nor between two."""

    @triplane.tool(timeout=1_000)
    async def wait() -> str:
        """Take 10 seconds."""
        await trio.sleep(10)
        return "rested"

    agent = triplane.Agent("m", tools=[wait], limits=triplane.RunLimits(max_turns=300))
    endpoint = triplane.Endpoint("ws://memory", max_age=2_000.0)
    slow = [RefuseUpgrade(503, delay=14, nth=2), RefuseUpgrade(503, delay=14, nth=3)]
    async with bench(endpoint=endpoint, faults=slow) as b:
        async with b.engine.open_run(agent, "REPEAT 240 CALL wait {}") as run:
            result = await run.wait()
            plans = [record.body.plan for record in run.log.records if isinstance(record.body, RequestSent)]
        times = [
            entry.time
            for entry in b.server.journal.entries
            if (entry.kind, entry.direction) == ("message", "in")
        ]
        pool = b.engine.statistics().pool

    assert ("completed", 241, 0, 1) == (result.status, result.turns, result.replays, result.reconnects)
    assert (2, 1) == (pool.opened, pool.rotated)
    assert 2 == plans.count("full")
    # Ten seconds for each tool, and nothing between them.
    assert {10.0} == {round(later - earlier, 6) for earlier, later in itertools.pairwise(times)}


@pytest.mark.parametrize("policy", ["finish", "announce"])
async def test_a_limit_that_is_told_while_nothing_goes_on_is_a_rotation(
    bench, autojump_clock, policy
) -> None:
    @triplane.tool(timeout=1_000)
    async def wait() -> str:
        """Take 30 seconds."""
        await trio.sleep(30)
        return "rested"

    endpoint = triplane.Endpoint("ws://memory", max_age=None)
    options = {"max_age": 20, "on_max_age": policy, "max_age_close_code": None}
    async with bench(endpoint=endpoint, **options) as b:
        assert "RESULT" in (await b.engine.run(triplane.Agent("m", tools=[wait]), "CALL wait {}")).text
        pool = b.engine.statistics().pool
        await trio.sleep(30)
        later = b.engine.statistics().pool

    assert (2, 1, 1) == (pool.opened, pool.closed, pool.rotated)
    assert (2, 2, 2) == (later.opened, later.closed, later.rotated)


async def test_spare_connections_are_kept_beyond_need(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(spare_connections=2, max_connections=4)
    async with bench(options=options) as b:
        assert 0 == b.engine.statistics().opened
        async with b.engine.open_run(agent, "WAIT 60000\nSAY 1 x"):
            await trio.testing.wait_all_tasks_blocked()
            assert (3, 1) == (b.engine.statistics().opened, b.engine.statistics().pool.leased)
            async with b.engine.open_run(agent, "WAIT 60000\nSAY 1 x"), b.engine.lane():
                await trio.testing.wait_all_tasks_blocked()
                # No more than there may be.
                assert (4, 3) == (b.engine.statistics().opened, b.engine.statistics().pool.leased)
        await trio.testing.wait_all_tasks_blocked()
        assert 4 - 2 <= b.engine.statistics().pool.free


async def test_more_spare_connections_than_there_can_be_are_as_many_as_there_can_be(
    bench, autojump_clock
) -> None:
    async with bench(options=triplane.EngineOptions(spare_connections=10**400)) as b:
        await b.engine.run(triplane.Agent("m"), "hello")
        await trio.sleep(1)
        assert 4 == b.engine.statistics().pool.free


async def test_a_spare_connection_that_grows_old_or_dies_is_replaced(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(spare_connections=1)
    async with bench(options=options) as b:
        await b.engine.run(agent, "hello")
        await trio.testing.wait_all_tasks_blocked()
        assert 1 <= b.engine.statistics().pool.free
        await trio.sleep(3 * HOUR)
        assert 3 <= b.engine.statistics().pool.rotated
        assert 1 == b.engine.statistics().pool.free
        await b.network.streams[-1].aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert 1 == b.engine.statistics().pool.free


@pytest.mark.parametrize(("status", "most"), [(403, 6), (503, 100)])
async def test_a_spare_connection_that_cannot_be_had_is_not_asked_for_all_the_time(
    bench, autojump_clock, status, most
) -> None:
    refusals = [RefuseUpgrade(status, nth=nth) for nth in range(2, 1_000)]
    async with bench(options=triplane.EngineOptions(spare_connections=1), faults=refusals) as b:
        async with b.engine.open_run(agent, "WAIT 500000\nSAY 1 x") as run:
            result = await run.wait()
        assert "x" == result.text
        assert b.network.opened <= most


async def test_a_warm_up_is_made_again_when_its_connection_is_replaced(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(rewarm=True)
    async with bench(options=options) as b:
        await b.engine.warm_up(agent)
        await trio.sleep(3 * HOUR)
        async with b.engine.open_run(agent, "hello") as run:
            await run.wait()
            (sent,) = [record.body for record in run.log.records if isinstance(record.body, RequestSent)]

    assert "warm" == sent.plan
    assert 3 <= b.engine.statistics().pool.rotated


async def test_a_warm_up_is_not_made_again_unless_asked_for(bench, autojump_clock) -> None:
    async with bench() as b:
        await b.engine.warm_up(agent)
        await trio.sleep(3 * HOUR)
        assert (1, 1) == (b.engine.statistics().opened, b.engine.statistics().closed)
        assert 1 == b.server.statistics().responses_created


def test_hours_of_connections_that_end_after_an_hour_cost_no_turn() -> None:
    """A sample of what `nox -s sweep -- rotation` lives through for 30 days."""
    outcome = live(5, sessions=4)

    assert () == outcome.failures
    assert 0 == outcome.replays
    assert 4 * 4 <= outcome.rotated
    # Apart from the first of each.
    assert outcome.opened <= 4 + MOST_HANDSHAKES * outcome.connection_hours
