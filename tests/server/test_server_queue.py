"""What waits on a connection: in which order it is answered, and how much of it there can be."""

from __future__ import annotations

import pytest
import trio
from server_client import create
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from triplane.server.errors import Refused
from triplane.server.websocket.lanes import Backlog, Lane, Lanes, WaitingCreate


def waiting(parent=None):
    return WaitingCreate("{}", None, parent)


async def test_what_waits_is_bounded_over_all_lanes(connect, autojump_clock):
    client = await connect(pair=lockstep_stream_pair, max_queued_bytes=5000, latency=60)
    sent = 0

    with trio.move_on_after(30):
        while True:
            await client.send(create("x" * 1000, stream_id=f"lane-{sent % 4}"))
            sent += 1

    # Four being answered, five waiting, one more, and those in the WebSocket library's hands.
    assert 10 <= sent <= 13


async def test_whatever_waits_is_answered_in_the_order_of_its_lane(connect, autojump_clock):
    client = await connect(max_queued_bytes=1, latency=1)

    async def send():
        for number in range(30):
            await client.send(create(f"{number}", stream_id=f"lane-{number % 3}"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        turns = await client.turns(30)

    for lane in range(3):
        texts = [turn.text for turn in turns if turn.lane == f"lane-{lane}"]
        assert texts == [f"echo: {number}" for number in range(lane, 30, 3)]


async def test_what_waits_is_silent(connect, autojump_clock):
    client = await connect()
    await client.send(create("WAIT 1000000\nSAY 1 x"))
    await client.send(create("queued"))
    await client.until("in_progress")

    with trio.move_on_after(999) as scope:
        await client.receive()

    assert scope.cancelled_caught


async def test_what_waits_is_judged_in_its_turn(connect, autojump_clock):
    client = await connect(latency=1)
    await client.send(create("one"))
    await client.send(create(3))
    await client.send(create("two"))

    assert [turn.types[-1] for turn in await client.turns(3)] == ["completed", "error", "completed"]


async def test_a_client_that_leaves_takes_along_what_waits(connect, autojump_clock):
    client = await connect(latency=10)
    for name in ("a", "a", "b", None):
        await client.send(create("x", stream_id=name))
    await wait_all_tasks_blocked()
    await client.stream.aclose()
    await wait_all_tasks_blocked()

    assert client.server.statistics().connections_now == 0
    assert trio.current_time() < 10


async def test_the_backlog_lets_nobody_wait_below_its_size(autojump_clock):
    backlog = Backlog(10)
    backlog.grow("x" * 10)
    with trio.fail_after(1):
        await backlog.wait_fits()
    backlog.grow("x")

    async def shrink():
        await trio.sleep(5)
        backlog.shrink("x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shrink)
        await backlog.wait_fits()

    assert trio.current_time() == 5


async def test_a_lane_is_idle_until_something_comes_and_again_once_more_is_asked_for():
    lane = Lane("a")
    assert (lane.idle, lane.busy) == (True, False)
    lane.put(waiting("resp_1"))
    assert (lane.idle, lane.busy) == (False, True)
    assert lane.continues_next("resp_1")
    assert not lane.continues_next("resp_2")
    await lane.get()
    assert (lane.idle, lane.busy) == (False, True)
    with trio.CancelScope() as scope:
        scope.cancel()
        await lane.get()

    assert (lane.idle, lane.busy, lane.continues_next("resp_1")) == (True, False, False)


def test_lanes_are_opened_by_their_first_use():
    lanes = Lanes(2)

    assert lanes.of("a") is lanes.of("a")
    assert lanes.of("b") is not lanes.of(None)
    with pytest.raises(Refused) as refused:
        lanes.of("c")
    assert refused.value.code == "websocket_stream_limit_reached"
    assert [lane.name for lane in lanes] == [None, "a", "b"]
