"""Who gets a lane, in which order, and what those hear who get none."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from wsproto.events import CloseConnection

import triplane

ONE = triplane.EngineOptions(max_connections=1)


async def test_waiters_are_served_in_the_order_of_their_arrival(bench, autojump_clock) -> None:
    order: list[int] = []

    async def hold(b, number: int) -> None:
        async with b.engine.lane():
            order.append(number)
            await trio.sleep(1)

    async with bench(options=ONE) as b, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(hold, b, number)
            await trio.testing.wait_all_tasks_blocked()

    assert list(range(20)) == order


async def test_connections_are_dialled_when_needed_and_no_more_than_allowed(bench, autojump_clock) -> None:
    async def hold(b) -> None:
        async with b.engine.lane():
            await trio.sleep(10)

    async with bench(options=triplane.EngineOptions(max_connections=3)) as b:
        assert 0 == b.network.opened
        async with b.engine.lane():
            pass
        async with b.engine.lane():
            assert 1 == b.network.opened
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(hold, b)
            await trio.sleep(1)
            now = b.engine.statistics().pool
            assert (3, 3, 7) == (b.network.opened, now.leased, now.waiting)
    assert 3 == b.network.opened


async def test_a_wait_for_a_lane_can_be_limited(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_connections=1, acquire_timeout=5)
    async with bench(options=options) as b, b.engine.lane():
        started = trio.current_time()
        with pytest.raises(triplane.LimitReached, match=r"acquire_timeout.*1 of 1 connections") as caught:
            await b.engine.run(triplane.Agent("m"), "x")
        waited = trio.current_time() - started

        assert 5 == waited
        assert ("acquire_timeout", 5) == (caught.value.which, caught.value.limit)
        assert 0 == b.engine.statistics().pool.waiting


async def test_the_queue_can_be_limited(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_connections=1, max_waiters=2)
    async with bench(options=options) as b:
        async with b.engine.fan_out(triplane.Agent("m"), ["WAIT 1000\nSAY 1 x"] * 5, max_runs=5) as results:
            ended = [result.error and result.error.which async for result in results]

    assert ["max_waiters"] * 3 == [which for which in ended if which]
    assert [None, None] == [which for which in ended if which is None]


async def test_those_who_wait_when_the_engine_is_left_are_told(bench, autojump_clock) -> None:
    heard: list[BaseException] = []

    async def wait(b) -> None:
        try:
            await b.engine.run(triplane.Agent("m"), "x")
        except triplane.TriplaneError as error:
            heard.append(error)

    async with trio.open_nursery() as nursery:
        async with bench(options=ONE) as b, b.engine.lane():
            nursery.start_soon(wait, b)
            await trio.testing.wait_all_tasks_blocked()

    assert [triplane.EngineClosed] == [type(error) for error in heard]


async def test_agents_at_two_endpoints_share_no_connection(bench, autojump_clock) -> None:
    elsewhere = triplane.Endpoint("ws://memory/v1", api_key="another")
    async with bench() as b:
        await b.engine.run(triplane.Agent("m"), "x")
        await b.engine.run(triplane.Agent("m", endpoint=elsewhere), "x")
        await b.engine.run(triplane.Agent("m", endpoint=elsewhere), "x")

    assert 2 == b.engine.statistics().opened


async def test_a_chain_prefers_the_lane_that_caches_its_head(bench, autojump_clock) -> None:
    @triplane.tool(effect="read")
    async def nap(seconds: float) -> str:
        """Sleep."""
        await trio.sleep(seconds)
        return "x"

    agent = triplane.Agent("m", "", [nap])
    inputs = [f'REPEAT 5 CALL nap {{"seconds": {1 + number / 10}}}' for number in range(4)]
    async with bench() as b, b.engine.fan_out(agent, inputs, max_runs=4) as results:
        runs = [result.run async for result in results]

    for run in runs:
        sent = [record.body for record in run.log.records if isinstance(record.body, triplane.RequestSent)]
        assert ["full"] + ["incremental"] * 5 == [request.plan for request in sent]
        assert 1 == len({request.connection for request in sent})


async def test_a_lent_lane_is_taken_only_when_nothing_else_is_to_be_had(bench, autojump_clock) -> None:
    @triplane.tool(effect="read")
    async def nap() -> str:
        """Sleep."""
        await trio.sleep(10)
        return "x"

    agent = triplane.Agent("m", "", [nap])
    for connections, plan in [(2, "incremental"), (1, "full")]:
        async with bench(options=triplane.EngineOptions(max_connections=connections)) as b:
            async with b.engine.open_run(agent, "CALL nap {}") as run:
                await trio.sleep(1)
                await b.engine.run(triplane.Agent("m"), "x")
                await run.wait()
        sent = [record.body for record in run.log.records if isinstance(record.body, triplane.RequestSent)]
        assert ["full", plan] == [request.plan for request in sent]
        assert (connections, 0) == (b.engine.statistics().opened, run.result.reconnects)


async def test_a_key_that_is_refused_after_the_handshake_has_failed_once(
    by_hand, nursery, autojump_clock
) -> None:
    async with by_hand("none", max_connections=2, backoff_base=10) as (_engine, peers, lease):
        first, second = lease("first"), lease("second")
        async with trio.open_nursery() as takers:
            for each in (first, second):
                takers.start_soon(each.acquire)
                peer = await peers.next()
                await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lease("third").acquire)
        await trio.testing.wait_all_tasks_blocked()
        await peer.say(CloseConnection(1008))
        with pytest.raises(triplane.ConnectFailed, match="closed it at once"):
            await second.lane.receive()
        closed_at = trio.current_time()
        await peers.next()

        # What the second try after one failure waits, and not what the third would.
        assert 7.5 <= trio.current_time() - closed_at <= 10
        nursery.cancel_scope.cancel()


async def test_a_pool_and_its_parts_describe_themselves(bench, autojump_clock) -> None:
    async with bench(options=ONE) as b, b.engine.lane():
        shown = repr(b.engine)
        (lane,) = b.engine.statistics().pool.lanes

    assert (
        "1 connections, 0 being opened; lanes: 1 leased, 0 reserved, 0 draining, 0 free; 0 waiting" in shown
    )
    assert ("c1", "c1", "leased", "lane") == (lane.name, lane.connection, lane.state, lane.holder)
