"""Warm-up: prepared on request, used up by the first run, harmless where it is refused."""

from __future__ import annotations

import pytest
import trio

import triplane

AGENT = triplane.Agent("m", "A long system prompt.", name="warmed")
OTHER = triplane.Agent("m", "Another prompt.")


def plans(run: triplane.Run) -> list[str]:
    return [record.body.plan for record in run.log.records if isinstance(record.body, triplane.RequestSent)]


async def test_the_first_run_continues_from_the_warm_up_and_the_second_does_not(
    bench, autojump_clock
) -> None:
    async with bench() as b:
        assert 1 == await b.engine.warm_up(AGENT)
        async with b.engine.open_run(AGENT, "one") as first:
            await first.wait()
        async with b.engine.open_run(AGENT, "two") as second:
            await second.wait()

    assert ["warm"] == plans(first)
    assert ["full"] == plans(second)
    assert first.result.usage.cached_tokens > 0 == second.result.usage.cached_tokens
    assert 1 == b.engine.statistics().opened


async def test_a_warm_lane_is_kept_for_its_agent_while_there_is_another(bench, autojump_clock) -> None:
    async with bench(options=triplane.EngineOptions(max_connections=2)) as b:
        assert 2 == await b.engine.warm_up(OTHER, lanes=2)
        assert 1 == await b.engine.warm_up(AGENT)
        async with b.engine.open_run(AGENT, "one") as run:
            await run.wait()

    assert ["warm"] == plans(run)


async def test_warm_agents_are_prepared_before_the_block(bench, autojump_clock) -> None:
    async with bench() as b:
        endpoint, network = triplane.Endpoint("ws://memory/v1"), b.network
        async with triplane.open_engine(endpoint, network=network, warm=[AGENT]) as engine:
            async with engine.open_run(AGENT, "one") as run:
                await run.wait()

    assert ["warm"] == plans(run)


async def test_a_server_that_refuses_costs_nothing_but_the_request(bench, autojump_clock) -> None:
    async with bench(warm_up="refuse") as b:
        assert 0 == await b.engine.warm_up(AGENT)
        async with b.engine.open_run(AGENT, "one") as run:
            await run.wait()

    assert ["full"] == plans(run)
    assert ("completed", 0) == (run.result.status, run.result.reconnects)
    assert 1 == b.engine.statistics().opened


async def test_several_lanes_are_different_lanes(bench, autojump_clock) -> None:
    async with bench() as b:
        assert 4 == await b.engine.warm_up(AGENT, lanes=4)

    assert 4 == b.engine.statistics().opened


@pytest.mark.parametrize("lanes", [0, 5, 1.0, True])
async def test_a_wrong_number_of_lanes_is_refused(bench, autojump_clock, lanes) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="lanes must be from 1 to 4 here"):
            await b.engine.warm_up(AGENT, lanes=lanes)


async def test_warm_ups_at_the_same_time_do_not_wait_for_each_others_lanes(bench, autojump_clock) -> None:
    warm = []

    async def warm_up(number: int) -> None:
        warm.append(await b.engine.warm_up(triplane.Agent("m", f"Prompt {number}."), lanes=4))

    async with bench() as b:
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(warm_up, number)

    assert [4, 4, 4] == warm


async def test_what_is_no_agent_is_refused(bench, autojump_clock) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="what runs is an Agent"):
            await b.engine.warm_up("m")
    with pytest.raises(triplane.ConfigError, match="what runs is an Agent"):
        async with triplane.open_engine(triplane.Endpoint("ws://memory/v1"), warm=["m"]):
            pass
    with pytest.raises(triplane.ConfigError, match="warm= takes a list of agents"):
        async with triplane.open_engine(triplane.Endpoint("ws://memory/v1"), warm=AGENT):
            pass


async def test_a_dead_endpoint_is_told(bench, autojump_clock) -> None:
    from triplane.server import RefuseUpgrade

    async with bench(faults=[RefuseUpgrade(401)]) as b:
        with pytest.raises(triplane.ConnectFailed):
            await b.engine.warm_up(AGENT, lanes=3)


async def test_a_lost_warm_up_is_harmless(bench, autojump_clock) -> None:
    from triplane.server import Drop

    async with bench(faults=[Drop(1, nth=1)]) as b:
        assert 0 == await b.engine.warm_up(AGENT)
        assert "echo: one" == (await b.engine.run(AGENT, "one")).text


async def test_the_agents_to_be_warmed_up_again_do_not_grow_for_ever(bench, autojump_clock) -> None:
    async with bench(options=triplane.EngineOptions(rewarm=True)) as b:
        for number in range(300):
            with trio.CancelScope() as scope:
                # As cheap as can be: it is noted all the same.
                scope.cancel()
                await b.engine.warm_up(triplane.Agent("m", f"Prompt {number}."))
        assert 256 == len(b.engine._warm_ups._warmed)
