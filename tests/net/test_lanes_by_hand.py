"""Several lanes against a peer that does what it is told: what the local server never does, or not at that moment."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

import triplane

AGENT = triplane.Agent("m")


async def request(peer) -> dict:
    event = await peer.next_event()
    assert isinstance(event, TextMessage), event
    return json.loads(event.data)


def frame(kind: str, lane: str | None = None, **fields: object) -> str:
    return json.dumps({"type": kind, **({} if lane is None else {"stream_id": lane}), **fields})


def end(number: int, lane: str | None = None, text: str = "done") -> str:
    message = {
        "type": "message",
        "id": f"msg_{number}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    response = {"id": f"resp_{number}", "status": "completed", "output": [message], "usage": None}
    return frame("response.completed", lane, response=response)


def error(lane: str | None = None, status: int | None = None, **fields: object) -> str:
    return frame("error", lane, status=status, error={"message": "no", "code": None, **fields})


async def test_a_server_that_refuses_the_name_is_asked_again_without(
    by_hand, nursery, autojump_clock
) -> None:
    texts: list[str] = []

    async def run(engine) -> None:
        texts.append((await engine.run(AGENT, "hello")).text)

    async with by_hand() as (engine, peers, _), trio.open_nursery() as runs:
        runs.start_soon(run, engine)
        peer = await peers.next()
        named = await request(peer)
        await peer.text(error(status=400, code="unknown_parameter", param="stream_id"))
        again = await request(peer)
        await peer.text(end(1))
        runs.start_soon(run, engine)
        later = await request(peer)
        await peer.text(end(2))
        nursery.start_soon(peer.answer)
        await trio.testing.wait_all_tasks_blocked()
        replays = [engine.ledger.logs[each].records[1].body.attempt for each in engine.ledger.logs]

    assert "lane-1" == named.pop("stream_id")
    assert named == again
    assert "stream_id" not in later
    # The run has not noticed.
    assert (["done"] * 2, [1, 1]) == (texts, replays)


async def test_nobody_asks_again_for_a_run_that_was_cancelled(by_hand, nursery, autojump_clock) -> None:
    async with by_hand() as (engine, peers, _), trio.open_nursery() as runs:
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(engine.run, AGENT, "cancelled")
            peer = await peers.next()
            assert "lane-1" == (await request(peer))["stream_id"]
            cancelled.cancel_scope.cancel()
        await peer.text(error(status=400, code="unknown_parameter", param="stream_id"))
        await trio.testing.wait_all_tasks_blocked()
        # The refusal has told all the same, and has ended what the lane owed.
        assert ["free"] == [lane.state for lane in engine.statistics().pool.lanes]
        runs.start_soon(engine.run, AGENT, "next")
        asked = await request(peer)
        await peer.text(end(1))
        nursery.start_soon(peer.answer)

    assert ("next", None) == (asked["input"][0]["content"], asked.get("stream_id"))


async def test_a_connection_that_can_have_no_lane_any_more_makes_way(
    by_hand, nursery, autojump_clock
) -> None:
    """Sixteen responses that nobody reads any more count against the server's limit until it ends them."""
    async with by_hand("named", lanes_per_connection=16, drain_timeout=0) as (engine, peers, _):
        async with trio.open_nursery() as cancelled:
            for _ in range(16):
                cancelled.start_soon(engine.run, AGENT, "cancelled")
            old = await peers.next()
            for _ in range(16):
                await request(old)
            cancelled.cancel_scope.cancel()
        nursery.start_soon(old.answer)
        async with trio.open_nursery() as runs:
            runs.start_soon(engine.run, AGENT, "next")
            with trio.fail_after(1):
                new = await peers.next()
            await new.text(end(1, (await request(new))["stream_id"]))
            nursery.start_soon(new.answer)


async def test_a_vendors_keepalive_tells_nothing_of_lanes(by_hand, nursery, autojump_clock) -> None:
    async with by_hand() as (engine, peers, lease), trio.open_nursery() as runs:
        runs.start_soon(engine.run, AGENT, "hello")
        peer = await peers.next()
        await request(peer)
        await peer.text(frame("keepalive"))
        await trio.testing.wait_all_tasks_blocked()
        assert 1 == len(engine.statistics().pool.lanes)
        await peer.text(frame("response.created", "lane-1", response={"id": "resp_1"}))
        await trio.testing.wait_all_tasks_blocked()
        assert "c1/2" == (await lease("second").acquire()).name
        await peer.text(end(1, "lane-1"))
        nursery.start_soon(peer.answer)


async def test_a_server_that_has_lost_its_lanes_is_found_out_again(by_hand, nursery, autojump_clock) -> None:
    """Behind one address there may be servers of several versions."""
    texts: list[str] = []

    async def run(engine) -> None:
        texts.append((await engine.run(AGENT, "hello")).text)

    async with by_hand() as (engine, peers, _), trio.open_nursery() as runs:
        runs.start_soon(run, engine)
        peer = await peers.next()
        await peer.text(end(1, (await request(peer))["stream_id"]))
        await trio.testing.wait_all_tasks_blocked()
        await peer.stream.aclose()
        runs.start_soon(run, engine)
        for _ in range(2):
            peer = await peers.next()
            assert "lane-1" == (await request(peer))["stream_id"]
            await peer.text(end(2))
        runs.start_soon(run, engine)
        assert "stream_id" not in await request(peer)
        await peer.text(end(3))
        nursery.start_soon(peer.answer)

    assert ["done"] * 3 == texts


@pytest.mark.parametrize("lane", [None, "lane-1"])
async def test_the_servers_age_limit_retires_the_connection(by_hand, nursery, autojump_clock, lane) -> None:
    """Without a name all lanes in flight hear of it; with one, the others finish first."""
    async with by_hand("named") as (engine, peers, _), trio.open_nursery() as runs:
        for _ in range(2):
            runs.start_soon(engine.run, AGENT, "hello")
        old = await peers.next()
        assert {"lane-1", "lane-2"} == {(await request(old))["stream_id"], (await request(old))["stream_id"]}
        for number in (1, 2):
            await old.text(frame("response.created", f"lane-{number}", response={"id": f"resp_{number}"}))
        await old.text(error(lane, status=400, code="websocket_connection_limit_reached"))
        new = await peers.next()
        again = {(await request(new))["stream_id"] for _ in range(2 if lane is None else 1)}
        if lane is None:
            assert {"lane-1", "lane-2"} == again
            await new.text(end(4, "lane-2"))
        else:
            assert {"lane-1"} == again
            assert ["draining", "open"] == [each.state for each in engine.statistics().pool.connections]
            await old.text(end(2, "lane-2"))
        nursery.start_soon(old.answer)
        await new.text(end(3, "lane-1"))
        nursery.start_soon(new.answer)
        await trio.testing.wait_all_tasks_blocked()
        assert ["c2"] == [each.name for each in engine.statistics().pool.connections]


async def test_a_frame_that_is_nobodys_ends_the_connection_for_all(by_hand, nursery, autojump_clock) -> None:
    async with by_hand("named") as (engine, peers, _), trio.open_nursery() as runs:
        for _ in range(2):
            runs.start_soon(engine.run, AGENT, "hello")
        old = await peers.next()
        await request(old)
        await request(old)
        await old.text("{not json")
        new = await peers.next()
        for _ in range(2):
            each = await request(new)
            await new.text(end(1, each["stream_id"]))
        nursery.start_soon(new.answer)


async def test_what_came_before_the_end_of_the_connection_is_delivered(
    by_hand, nursery, autojump_clock
) -> None:
    async with by_hand("named") as (_engine, peers, lease):
        first, second = lease("first"), lease("second")
        async with trio.open_nursery() as takers:
            takers.start_soon(first.acquire)
            takers.start_soon(second.acquire)
            peer = await peers.next()
        for each in (first, second):
            await each.lane.send(frame("response.create", each.lane.stream_id))
        for number in range(50):
            await peer.text(frame("response.in_progress", f"lane-{number % 2 + 1}", response={"id": "r"}))
        await peer.say(CloseConnection(1000))
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        got: list[int] = []
        for each in (first, second):
            got.append(len(await each.lane.receive()))
            with pytest.raises(triplane.ConnectionLost) as caught:
                await each.lane.receive()
            assert 1000 == caught.value.close.code

    assert [25, 25] == got


async def test_what_tells_of_lanes_may_come_with_the_end_of_the_connection(
    by_hand, nursery, autojump_clock
) -> None:
    async with by_hand() as (_engine, peers, lease):
        mine = lease("mine")
        async with trio.open_nursery() as takers:
            takers.start_soon(mine.acquire)
            peer = await peers.next()
        lane = mine.lane
        await lane.send(frame("response.create", lane.stream_id))
        await peer.text(end(1, "lane-1"))
        await peer.say(CloseConnection(1000))
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()

        assert (end(1, "lane-1"),) == await lane.receive()
        with pytest.raises(triplane.ConnectionLost):
            await lane.receive()
        # It is known now.
        async with trio.open_nursery() as takers:
            takers.start_soon(mine.acquire)
            takers.start_soon(lease("another").acquire)
            nursery.start_soon((await peers.next()).answer)


@pytest.mark.parametrize("lanes", ["none", "named"])
async def test_a_lane_takes_messages_while_it_is_read(by_hand, nursery, autojump_clock, lanes) -> None:
    """A steer is sent while the run's driver waits for events; two who read are a bug."""
    async with by_hand(lanes) as (engine, peers, lease):
        mine = lease("mine")
        async with trio.open_nursery() as takers:
            takers.start_soon(mine.acquire)
            peer = await peers.next()
        lane = mine.lane
        await lane.send(frame("response.create", lane.stream_id))
        got: list[tuple[str, ...]] = []

        async def read() -> None:
            got.append(await lane.receive())

        async with trio.open_nursery() as readers:
            readers.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await lane.receive()
            await lane.send(frame("response.steer"))
            assert ["response.create", "response.steer"] == [
                (await request(peer))["type"],
                (await request(peer))["type"],
            ]
            await peer.text(frame("response.steer.accepted", lane.stream_id))
        assert 1 == len(got[0])
        # What ends a steered answer cannot be told from outside.
        mine.release()
        await trio.testing.wait_all_tasks_blocked()
        assert () == engine.statistics().pool.lanes


async def test_pings_are_answered_while_lanes_are_not_read(by_hand, nursery, autojump_clock) -> None:
    async with by_hand("named") as (engine, peers, lease):
        mine = lease("mine")
        async with trio.open_nursery() as takers:
            takers.start_soon(mine.acquire)
            peer = await peers.next()
        await mine.lane.send(frame("response.create", mine.lane.stream_id))
        await request(peer)
        for _ in range(3_000):
            await peer.text(frame("response.in_progress", "lane-1", response={"id": "r"}))
        await peer.say(Ping(b"hello"))
        event = await peer.next_event()
        assert isinstance(event, Pong)
        assert b"hello" == event.payload
        (connection,) = engine.statistics().pool.connections
        assert (
            3_000 * len(frame("response.in_progress", "lane-1", response={"id": "r"})) == connection.buffered
        )
        assert 3_000 == len(await mine.lane.receive())
        nursery.start_soon(peer.answer)


async def test_an_event_on_a_lane_that_asked_for_nothing_costs_that_lane(
    by_hand, nursery, autojump_clock
) -> None:
    async with by_hand("named") as (engine, peers, lease):
        first, second = lease("first"), lease("second")
        async with trio.open_nursery() as takers:
            takers.start_soon(first.acquire)
            takers.start_soon(second.acquire)
            peer = await peers.next()
        nursery.start_soon(peer.answer)
        first.release()
        second.reserve()
        for lane in ("lane-1", "lane-2"):
            await peer.text(frame("response.created", lane, response={"id": "r"}))
        await trio.testing.wait_all_tasks_blocked()

        assert ((), 2) == (engine.statistics().pool.lanes, engine.statistics().pool.dropped)
        assert second.lane is None
        assert "c1/3" == (await second.acquire()).name


async def test_a_lane_that_was_given_up_sends_nothing(by_hand, nursery, autojump_clock) -> None:
    async with by_hand("named") as (_engine, peers, lease):
        mine = lease("mine")
        async with trio.open_nursery() as takers:
            takers.start_soon(mine.acquire)
            peer = await peers.next()
        nursery.start_soon(peer.answer)
        lane = mine.lane
        lane.poison(triplane.ProtocolViolation("for a reason"))
        with pytest.raises(triplane.ConnectionLost, match="this lane of the connection was given up"):
            await lane.send("x")
        with pytest.raises(triplane.ConnectionLost, match="this lane of the connection was given up"):
            await lane.receive()
        assert not lane.is_usable
        mine.release()
        assert "c1/2" == (await mine.acquire()).name


@pytest.mark.parametrize("lanes", ["none", "named"])
async def test_an_end_that_comes_once_more_is_no_answer_to_the_next_run(
    by_hand, nursery, autojump_clock, lanes
) -> None:
    texts: list[str] = []

    async def run(engine) -> None:
        texts.append((await engine.run(AGENT, "hello")).text)

    async with by_hand(lanes, lanes_per_connection=2) as (engine, peers, _), trio.open_nursery() as runs:
        runs.start_soon(run, engine)
        peer = await peers.next()
        first = (await request(peer)).get("stream_id")
        await peer.text(end(1, first, "one"))
        await trio.testing.wait_all_tasks_blocked()
        runs.start_soon(run, engine)
        second = (await request(peer)).get("stream_id")
        await peer.text(end(1, first, "one"))
        await peer.text(end(2, second, "two"))
        nursery.start_soon(peer.answer)

    assert first == second
    assert ["one", "two"] == texts


async def test_a_response_may_use_the_id_of_the_one_before_if_it_says_so(
    by_hand, nursery, autojump_clock
) -> None:
    texts: list[str] = []

    async def run(engine) -> None:
        texts.append((await engine.run(AGENT, "hello")).text)

    async with by_hand("none") as (engine, peers, _), trio.open_nursery() as runs:
        runs.start_soon(run, engine)
        peer = await peers.next()
        await request(peer)
        await peer.text(end(1, text="one"))
        await trio.testing.wait_all_tasks_blocked()
        runs.start_soon(run, engine)
        await request(peer)
        await peer.text(frame("response.created", response={"id": "resp_1", "status": "in_progress"}))
        await peer.text(end(1, text="two"))
        nursery.start_soon(peer.answer)

    assert ["one", "two"] == texts
