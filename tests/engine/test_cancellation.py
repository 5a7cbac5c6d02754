"""Cancelled at any moment, a run leaves the pool able to serve every later one."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triplane
from cancel_steps import cancelled_at
from simulation.cancelling import (
    ENGINES,
    OPERATIONS,
    STATES,
    cancelled_at_random,
    cancelled_engine,
    cancelled_job,
    cancelled_state,
)


@triplane.tool
async def nap() -> str:
    """Sleep a little."""
    await trio.sleep(1)
    return "rested"


AGENT = triplane.Agent("m", "", [nap])
LIMITS = triplane.EngineOptions(max_connections=2)


async def assert_whole(b, *, runs: int = 4) -> None:
    """The pool holds nothing and serves as many runs at once as it has connections, and more."""
    await trio.testing.wait_all_tasks_blocked()
    now = b.engine.statistics()
    assert (0, 0, 0, 0) == (now.pool.leased, now.pool.reserved, now.pool.waiting, now.runs_active)
    with trio.fail_after(30):
        async with b.engine.fan_out(AGENT, [f"hello {number}" for number in range(runs)]) as results:
            texts = {result.index: result.result.text async for result in results}
    assert {number: f"echo: hello {number}" for number in range(runs)} == texts


# A sample of what `nox -s sweep -- cancel` does at every step there is.


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_cancelled_at_a_step(name: str) -> None:
    place = list(OPERATIONS).index(name)
    cancelled_job(OPERATIONS[name], order=place, step=7 + 37 * place % 110)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_cancelled_at_a_step(name: str) -> None:
    place = list(ENGINES).index(name)
    cancelled_engine(ENGINES[name], order=place, step=12 + 41 * place)


@pytest.mark.parametrize("name", STATES)
def test_cancelled_whatever_the_network_is_doing(name: str) -> None:
    """Up to a mebibyte may be on its way; whoever is cancelled returns in no time."""
    cancelled_state(STATES[name], order=1)


def test_many_cancelled_at_random() -> None:
    assert len(cancelled_at_random(1, 40).latencies) > 25


@pytest.mark.parametrize("lanes", ["auto", "named"])
async def test_every_step_of_a_run_on_a_shared_connection(bench, autojump_clock, lanes) -> None:
    """Its neighbour is never disturbed, and however often this happens, lanes are neither lost nor used twice."""
    limits = triplane.EngineOptions(max_connections=1, lanes_per_connection=4, drain_timeout=0.5)
    endpoint = triplane.Endpoint("ws://memory/v1", lanes=lanes)
    async with bench(options=limits, endpoint=endpoint, delta_delay=0.3, max_age=1e9) as b:
        texts: list[str] = []

        async def operation() -> None:
            await b.engine.run(AGENT, "CALL nap {}")

        async def beside() -> None:
            while True:
                texts.append((await b.engine.run(AGENT, "SAY 3 x")).text)

        _, steps = await cancelled_at(0, operation)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside)
            for step in range(1, steps, 2):
                await cancelled_at(step, operation)
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        await trio.sleep(1)
        await assert_whole(b)

    assert {"xxx"} == set(texts)
    assert b.engine.statistics().opened == b.engine.statistics().closed
    assert 0 == b.server.statistics().requests_refused


async def test_a_waiter_cancelled_at_the_moment_of_being_served_passes_the_lane_on(
    bench, autojump_clock
) -> None:
    async with bench(options=triplane.EngineOptions(max_connections=1)) as b:
        order: list[str] = []

        async def hold(label: str, scope: trio.CancelScope, task_status=trio.TASK_STATUS_IGNORED) -> None:
            with scope:
                task_status.started()
                async with b.engine.lane():
                    await trio.lowlevel.checkpoint()
                    order.append(label)

        async with trio.open_nursery() as nursery:
            first, second = trio.CancelScope(), trio.CancelScope()
            async with b.engine.lane():
                nursery.start_soon(hold, "first", first)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(hold, "second", second)
                await trio.testing.wait_all_tasks_blocked()
            # The lane has just been given to the first, whose task has not run yet.
            assert "lane" == b.engine.statistics().pool.lanes[0].holder
            first.cancel()

        assert ["second"] == order
        await assert_whole(b)


async def test_cancelling_the_engine_is_bounded_even_if_the_peer_is_gone(bench, autojump_clock) -> None:
    """The server never answers the closing handshake: it has stopped reading."""
    options = triplane.EngineOptions(close_timeout=1.0, close_grace=2.0)
    async with bench() as b:
        with trio.CancelScope() as scope:
            async with triplane.open_engine(
                triplane.Endpoint("ws://memory/v1"), options=options, network=b.network
            ) as engine:
                await engine.run(AGENT, "hello")
                for stream in b.network.streams:
                    # What we send from here on stays in the buffer, as with a peer that vanished.
                    stream.send_stream.send_all_hook = None
                left_at = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert left_at + 1.0 == trio.current_time()

    assert 1 == engine.statistics().opened == engine.statistics().closed
