"""Several lanes on one connection, on an engine and a local server over memory streams."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

import triplane
from triplane.core.records import RequestSent
from triplane.protocol import ResponseCreate
from triplane.server import ErrorEvent, Stall

AGENT = triplane.Agent("m")
NAMED = triplane.Endpoint("ws://memory/v1", lanes="named")


def options(**more) -> triplane.EngineOptions:
    return triplane.EngineOptions(**{"max_connections": 1, "lanes_per_connection": 8, **more})


def pool(b):
    return b.engine.statistics().pool


def states(b) -> dict[str, int]:
    return dict(Counter(lane.state for lane in pool(b).lanes))


def stream_ids(b) -> list[str | None]:
    return [request.json.get("stream_id") for request in b.server.requests]


def plans(run) -> list[str]:
    return [record.body.plan for record in run.log.records if isinstance(record.body, RequestSent)]


# --- whether there are any


async def test_with_one_lane_a_connection_no_name_is_sent(bench, autojump_clock) -> None:
    async with bench() as b:
        await b.engine.run(AGENT, "hello")
        (lane,) = pool(b).lanes

    assert ([None], "c1") == (stream_ids(b), lane.name)


async def test_the_first_answer_tells_that_there_are_lanes(bench, autojump_clock) -> None:
    async with bench(options=options()) as b:
        async with b.engine.fan_out(AGENT, ["WAIT 100\nSAY 1 x"] * 8) as results:
            texts = [result.result.text async for result in results]
        lanes = [lane.name for lane in pool(b).lanes]
        (connection,) = pool(b).connections

    assert ["x"] * 8 == texts
    assert 1 == b.network.opened
    assert [f"c1/{number}" for number in range(1, 9)] == lanes == list(connection.lanes)
    assert {f"lane-{number}" for number in range(1, 9)} == set(stream_ids(b))


@pytest.mark.parametrize("mode", ["azure", "xai", "spec"])
async def test_a_server_that_does_not_echo_the_name_has_no_lanes(bench, autojump_clock, mode) -> None:
    """It is asked once for the engine's whole life, and connections are as they are without lanes."""
    async with bench(options=options(), mode=mode) as b:
        await b.engine.run(AGENT, "one")
        (lane,) = pool(b).lanes
        async with b.engine.fan_out(AGENT, ["a", "b", "c"]) as results:
            assert 3 == len([result.result async for result in results])
        for stream in b.network.streams:
            await stream.aclose()
        await b.engine.run(AGENT, "two")
        (later,) = pool(b).lanes

    assert ["lane-1"] + [None] * 4 == stream_ids(b)
    assert ("c1", "c2") == (lane.name, later.name)


async def test_an_endpoint_that_says_none_is_not_asked(bench, autojump_clock) -> None:
    endpoint = triplane.Endpoint("ws://memory/v1", lanes="none")
    async with bench(options=options(), endpoint=endpoint) as b:
        await b.engine.run(AGENT, "one")

    assert [None] == stream_ids(b)


@pytest.mark.parametrize(
    "endpoint", [triplane.Endpoint.azure("r", api_key="k"), triplane.Endpoint.xai("k")], ids=["azure", "xai"]
)
def test_services_without_lanes_are_known(endpoint) -> None:
    assert "none" == endpoint.lanes


async def test_an_endpoint_that_says_named_gets_all_lanes_at_once(bench, autojump_clock) -> None:
    async with bench(options=options(), endpoint=NAMED, latency=1) as b, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(b.engine.run, AGENT, "x")
        await trio.sleep(0.5)
        assert {"leased": 8} == states(b)
    assert 1 == b.network.opened


async def test_an_endpoint_that_says_named_and_has_none_is_found_out(bench, autojump_clock) -> None:
    """Without this the run would wait for its first event until the end of `first_event_timeout`."""
    limits = options(replay_attempts=1)
    async with bench(options=limits, endpoint=NAMED, mode="azure") as b:
        with pytest.raises(triplane.ProtocolViolation, match=r'use Endpoint\(lanes="auto"\)'):
            await b.engine.run(AGENT, "x")


async def test_a_server_that_learned_lanes_on_one_connection_has_them_on_all(bench, autojump_clock) -> None:
    async with bench(options=options(max_connections=2), latency=1) as b:
        async with b.engine.lane(), b.engine.lane():
            # Two connections, since nothing is known yet; neither lane has sent anything.
            assert ["c1/1", "c2/1"] == [lane.name for lane in pool(b).lanes]
        await b.engine.run(AGENT, "x")
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(b.engine.run, AGENT, "x")
            await trio.sleep(0.5)
            assert {"leased": 16} == states(b)
    assert 2 == b.network.opened


async def test_a_bare_lane_has_a_name_like_any_other(bench, autojump_clock) -> None:
    async with bench(options=options(), endpoint=NAMED) as b, b.engine.lane() as lane:
        turn = await lane.create(ResponseCreate(model="m", input="hi", store=False))
        assert "echo: hi" == (await turn.wait()).text

    assert ["lane-1"] == stream_ids(b)


async def test_warm_lanes(bench, autojump_clock) -> None:
    async with bench(options=options(), endpoint=NAMED) as b:
        assert 8 == await b.engine.warm_up(AGENT, lanes=8)
        async with b.engine.fan_out(AGENT, ["x"] * 8) as results:
            runs = [result.run async for result in results]

    assert [["warm"]] * 8 == [plans(run) for run in runs]


# --- neighbours


async def test_200_runs_on_two_connections_with_eight_lanes_each(bench, autojump_clock) -> None:
    peak = 0

    @triplane.tool(effect="read")
    async def look() -> str:
        """Count."""
        nonlocal peak
        peak = max(peak, sum(state.leased for state in [pool(b)]))
        await trio.sleep(0.01)
        return "seen"

    agent = triplane.Agent("m", "", [look])
    async with bench(options=options(max_connections=2), latency=0.01) as b:
        inputs = ["CALL look {}" if number % 4 == 0 else "hello" for number in range(200)]
        async with b.engine.fan_out(agent, inputs, max_runs=200) as results:
            texts = [result.result.text async for result in results]
        assert {"free": 16} == states(b)

    assert Counter({"echo: hello": 150, 'RESULT: "seen"': 50}) == Counter(texts)
    assert (2, 0) == (b.network.opened, pool(b).dropped)
    assert 8 <= peak <= 16


async def test_a_chain_comes_back_to_the_lane_that_caches_its_head(bench, autojump_clock) -> None:
    @triplane.tool(effect="read")
    async def nap(seconds: float) -> str:
        """Sleep."""
        await trio.sleep(seconds)
        return "x"

    agent = triplane.Agent("m", "", [nap])
    inputs = [f'REPEAT 5 CALL nap {{"seconds": {1 + number / 10}}}' for number in range(8)]
    async with bench(options=options(), endpoint=NAMED) as b, b.engine.fan_out(agent, inputs) as results:
        runs = [result.run async for result in results]

    assert [["full"] + ["incremental"] * 5] * 8 == [plans(run) for run in runs]


async def test_a_slow_reader_holds_up_neither_its_neighbours_nor_its_own_run(bench, autojump_clock) -> None:
    """By default what it has not seen stays in the log, which has it anyway."""
    limits = options(max_unread=100)
    async with bench(options=limits, endpoint=NAMED) as b:
        async with b.engine.open_run(AGENT, "SAY 500 " + "x" * 20) as slow:
            reader = aiter(slow)
            await anext(reader)
            async with b.engine.fan_out(AGENT, ["quick"] * 20) as results:
                assert 20 == len([result.result async for result in results])
            await slow.wait()
            assert 500 * 20 == len(slow.result.text)
            assert 500 < len([event async for event in slow])


async def test_a_lane_that_nobody_reads_fails_alone(bench, autojump_clock) -> None:
    limits = options(slow_lane="fail", max_lane_buffer=10_000, max_unread=100)
    async with bench(options=limits, endpoint=NAMED) as b, b.engine.lane() as quick:
        async with b.engine.lane() as slow:
            turn = await slow.create(ResponseCreate(model="m", input="SAY 500 " + "x" * 20, store=False))
            for _ in range(20):
                other = await quick.create(ResponseCreate(model="m", input="hi", store=False))
                assert "echo: hi" == (await other.wait()).text
            with pytest.raises(triplane.LimitReached, match="max_lane_buffer=10,000") as caught:
                await turn.wait()
            # There is no log to resume from; and no turn any more that would have to be read to its end first.
            assert ("accepted", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)
            with pytest.raises(triplane.ConnectionLost):
                await slow.create(ResponseCreate(model="m", input="hi", store=False))
        assert "max_lane_buffer" == caught.value.which
        assert 1 == len(pool(b).lanes)
        assert 0 < pool(b).dropped

    assert 1 == b.network.opened


async def test_a_run_whose_reader_is_slow_fails_if_the_options_say_so(bench, autojump_clock) -> None:
    limits = options(slow_lane="fail", max_lane_buffer=5_000, max_unread=4_000)
    async with bench(options=limits, endpoint=NAMED) as b:
        with pytest.raises(triplane.LimitReached) as caught:
            async with b.engine.open_run(AGENT, "SAY 500 " + "x" * 20) as slow:
                reader = aiter(slow)
                await anext(reader)
                await trio.sleep(1)
                async for _event in reader:
                    pass

    assert ("max_lane_buffer", True) == (caught.value.which, caught.value.receipt.shown > 0)


async def test_an_error_on_one_lane_is_no_concern_of_the_others(bench, autojump_clock) -> None:
    faults = [ErrorEvent(3, code="server_error", nth=1)]
    async with bench(options=options(), endpoint=NAMED, faults=faults) as b:
        async with b.engine.fan_out(AGENT, ["SAY 20 x"] * 8) as results:
            states_ = [result.run.state async for result in results]

    assert ["x" * 20] * 8 == [state.text for state in states_]
    assert [0] * 8 == [state.reconnects for state in states_]
    assert 1 == sum(state.replays for state in states_)
    assert 1 == b.network.opened


async def test_a_connection_that_dies_takes_all_its_lanes_and_all_runs_recover(bench, autojump_clock) -> None:
    async with bench(options=options(), endpoint=NAMED, delta_delay=0.1) as b:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(b.engine.run, AGENT, "SAY 20 x")
            await trio.sleep(1)
            await b.network.streams[0].aclose()
        ended = [b.engine.ledger.logs[each].records[-1].body for each in b.engine.ledger.logs]

    assert ["completed"] * 8 == [end.status for end in ended]
    assert 2 == b.network.opened


# --- forks


async def test_a_fork_gets_another_lane_of_the_connection_that_caches_its_parent(
    bench, autojump_clock
) -> None:
    async with bench(options=options(max_connections=2, lanes_per_connection=2), endpoint=NAMED) as b:
        source, fork = (b.engine._pool.lease(NAMED, name) for name in ("source", "fork"))
        first = await source.acquire()
        others = [b.engine._pool.lease(NAMED, "other") for _ in range(2)]
        for other in others:
            await other.acquire()
        assert ["c1/1", "c1/2", "c2/1"] == [lane.name for lane in pool(b).lanes]
        first.remember("resp_1")
        source.reserve()
        # The free lane of the other connection would do as well.
        others[1].release()
        others[0].release()
        lane = await fork.acquire(near="resp_1")

        assert "c1/2" == lane.name
        assert frozenset({"resp_1"}) == lane.memory.neighbours
        # The source goes on: what it caches may be gone at any moment.
        await source.acquire()
        assert frozenset() == lane.memory.neighbours


# --- abandoned lanes


async def test_a_cancelled_run_returns_at_once_and_its_connection_lives(bench, autojump_clock) -> None:
    async with bench(delta_delay=0.1) as b:
        with trio.move_on_after(1):
            await b.engine.run(AGENT, "SAY 20 x")
        cancelled_at = trio.current_time()
        assert {"draining": 1} == states(b)
        await trio.sleep(3)
        assert {"free": 1} == states(b)
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text

    assert 1 == cancelled_at
    assert 1 == b.network.opened


async def test_a_lane_that_was_read_off_is_as_good_as_new(bench, autojump_clock) -> None:
    """What it cached is not what its server caches now."""
    async with bench(delta_delay=0.1) as b:
        await b.engine.run(AGENT, "hello")
        (lane,) = b.engine._pool.lanes()
        assert lane.caches is not None
        with trio.move_on_after(1):
            await b.engine.run(AGENT, "SAY 20 x")
        await trio.sleep(3)
        assert lane.caches is None
        async with b.engine.lane():
            pass
        assert {"free": 1} == states(b)


async def test_what_takes_too_long_is_not_waited_for(bench, autojump_clock) -> None:
    async with bench(options=triplane.EngineOptions(drain_timeout=2)) as b:
        with trio.move_on_after(1):
            await b.engine.run(AGENT, "WAIT 100000\nSAY 1 x")
        await trio.sleep(1.9)
        assert {"draining": 1} == states(b)
        await trio.sleep(0.2)
        assert {} == states(b)
        assert (1, 1) == (pool(b).opened, pool(b).closed)
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text


async def test_whoever_needs_the_place_of_a_draining_connection_gets_it_at_once(
    bench, autojump_clock
) -> None:
    async with bench(options=triplane.EngineOptions(max_connections=1)) as b:
        with trio.move_on_after(1):
            await b.engine.run(AGENT, "WAIT 100000\nSAY 1 x")
        began = trio.current_time()
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text

        assert began == trio.current_time()
        assert (2, 1) == (pool(b).opened, pool(b).closed)


async def test_a_draining_connection_is_left_alone_where_another_may_be_opened(bench, autojump_clock) -> None:
    async with bench(options=triplane.EngineOptions(max_connections=2)) as b:
        with trio.move_on_after(1):
            await b.engine.run(AGENT, "WAIT 3000\nSAY 1 x")
        await b.engine.run(AGENT, "hello")
        assert {"draining": 1, "free": 1} == states(b)
        await trio.sleep(3)
        assert {"free": 2} == states(b)


async def test_one_lane_is_cancelled_while_its_neighbours_stream(bench, autojump_clock) -> None:
    texts: list[str] = []

    async def stream(b) -> None:
        texts.append((await b.engine.run(AGENT, "SAY 50 x")).text)

    async with bench(options=options(drain_timeout=2), endpoint=NAMED, delta_delay=0.1) as b:
        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(stream, b)
            with trio.move_on_after(1):
                await b.engine.run(AGENT, "SAY 500 y")
            assert 1 == trio.current_time()
            assert {"leased": 7, "draining": 1} == states(b)
            await trio.sleep(2.5)
            # The lane is gone, with its name; what still comes for it is dropped.
            assert {"leased": 7} == states(b)
        assert 0 < pool(b).dropped
        assert {"free": 7} == states(b)

    assert ["x" * 50] * 7 == texts
    assert 1 == b.network.opened


async def test_names_are_used_again_and_a_connection_without_names_is_replaced(bench, autojump_clock) -> None:
    """A lane that was read to its end keeps its name; a lane that had to be given up takes it along."""
    limits = options(lanes_per_connection=2, drain_timeout=1)
    async with bench(options=limits, endpoint=NAMED) as b:
        for _ in range(40):
            await b.engine.run(AGENT, "hello")
        assert ["c1/1"] == [lane.name for lane in pool(b).lanes]
        for _ in range(31):
            with trio.move_on_after(1):
                await b.engine.run(AGENT, "WAIT 3500\nSAY 1 late")
            await trio.sleep(2)
        assert (1, 0) == (pool(b).opened, pool(b).closed)
        for _ in range(3):
            with trio.move_on_after(1):
                await b.engine.run(AGENT, "WAIT 3500\nSAY 1 late")
            await trio.sleep(2)
        assert (2, 1) == (pool(b).opened, pool(b).closed)

    assert 32 == len(set(stream_ids(b)))
    assert 0 == b.server.statistics().requests_refused


async def test_responses_that_were_given_up_count_as_long_as_the_server_makes_them(
    bench, autojump_clock
) -> None:
    limits = options(lanes_per_connection=16, drain_timeout=1)
    async with bench(options=limits, endpoint=NAMED) as b, trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with b.engine.fan_out(AGENT, ["WAIT 60000\nSAY 1 late"] * 10, max_runs=10) as results:
                async for _result in results:
                    pass
        await trio.sleep(2)
        for _ in range(16):
            nursery.start_soon(b.engine.run, AGENT, "WAIT 1000\nSAY 1 x")
        await trio.sleep(0.5)
        assert ({"leased": 6}, 10) == (states(b), pool(b).waiting)
        nursery.cancel_scope.cancel()


async def test_a_request_that_was_never_sent_leaves_nothing_to_drain(bench, autojump_clock) -> None:
    """Another lane's large request is on its way; this one is cancelled while it waits to be sent."""
    async with (
        bench(options=options(), endpoint=NAMED) as b,
        b.engine.lane() as big,
        b.engine.lane() as small,
    ):
        gate = trio.Event()
        b.network.streams[0].send_stream.send_all_hook = gate.wait
        async with trio.open_nursery() as nursery:
            nursery.start_soon(big.create, ResponseCreate(model="m", input="big", store=False))
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await small.create(ResponseCreate(model="m", input="small", store=False))
            assert scope.cancelled_caught
            small._leave()
            assert {"leased": 1, "free": 1} == states(b)
            gate.set()
        assert 1 == b.network.opened


async def test_a_request_cut_off_half_way_takes_the_connection_along(bench, autojump_clock) -> None:
    async with (
        bench(options=options(), endpoint=NAMED) as b,
        b.engine.lane() as first,
        b.engine.lane() as second,
    ):
        turn = await second.create(ResponseCreate(model="m", input="WAIT 9000", store=False))
        b.network.streams[0].send_stream.send_all_hook = trio.sleep_forever
        with trio.move_on_after(1):
            await first.create(ResponseCreate(model="m", input="big", store=False))
        with pytest.raises(triplane.ConnectionLost, match="interrupted half-way"):
            await turn.wait()


async def test_a_lane_left_silent_is_given_up_without_its_neighbours(bench, autojump_clock) -> None:
    limits = options(idle_timeout=5, replay_attempts=1)
    async with bench(
        options=limits, endpoint=NAMED, faults=[Stall(after_events=3, nth=1)], delta_delay=1
    ) as b:
        async with b.engine.fan_out(AGENT, ["SAY 20 x"] * 3) as results:
            states_ = [result.run.state async for result in results]

    assert ["x" * 20] * 3 == [state.text for state in states_]
    assert 1 == sum(state.replays for state in states_)
    assert 1 == b.network.opened


async def test_cancelled_runs_of_all_kinds_leave_a_pool_that_serves(bench, autojump_clock) -> None:
    import random

    rng = random.Random(5)
    async with bench(
        options=options(drain_timeout=0.5, max_connections=2), latency=0.1, delta_delay=0.2
    ) as b:

        async def one() -> None:
            await trio.sleep(rng.random() * 20)
            with trio.move_on_after(rng.choice([rng.random(), 1e6])):
                assert 5 == len((await b.engine.run(AGENT, "SAY 5 x")).text)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
        await trio.sleep(5)
        assert (0, 0, 0) == (pool(b).leased, pool(b).draining, pool(b).waiting)
        async with b.engine.fan_out(AGENT, [f"hello {number}" for number in range(20)]) as results:
            texts = {result.index: result.result.text async for result in results}

    assert {number: f"echo: hello {number}" for number in range(20)} == texts
    assert b.engine.statistics().opened == b.engine.statistics().closed
    assert 0 == b.server.statistics().requests_refused


async def test_leaving_does_not_wait_for_what_nobody_wants(bench, autojump_clock) -> None:
    async with bench() as b:
        async with triplane.open_engine(NAMED, network=b.network) as engine:
            with trio.move_on_after(1):
                await engine.run(AGENT, "WAIT 100000")
            b.network.streams[-1].send_stream.send_all_hook = trio.sleep_forever
        assert 1 == trio.current_time()
