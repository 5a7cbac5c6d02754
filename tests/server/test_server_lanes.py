"""Lanes: several streams of responses on one connection."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from server_client import Client, Closed, create

from triplane.server import CloseSocket


def lane(name, input_=None, **fields):
    return create(input_, stream_id=name, **fields)


def order(turns):
    return [turn.lane for turn in turns]


@pytest.mark.parametrize("name", ["a", "0", "_", "-", ".", "A.b-c_9", "x" * 256])
async def test_a_stream_id_is_letters_digits_underscore_dot_and_dash_up_to_256(connect, name):
    client = await connect()

    assert (await client.ask("hi", stream_id=name)).lane == name


@pytest.mark.parametrize("name", ["", "x" * 257, "a b", "a/b", "a\n", "é", "a:b", 3, True, [], {"a": 1}])
async def test_any_other_stream_id_is_an_untagged_error(connect, name):
    client = await connect()

    refused = await client.ask("hi", stream_id=name)

    assert refused.last == {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_stream_id",
            "message": refused.error["message"],
            "param": "stream_id",
        },
    }
    for word in ("non-empty", "256", "characters"):
        assert word in refused.error["message"]
    assert (await client.ask("still there?")).text == "echo: still there?"


@pytest.mark.parametrize("fields", [{}, {"stream_id": None}])
async def test_without_a_stream_id_it_is_the_default_lane_whose_events_have_none(connect, fields):
    client = await connect()

    turn = await client.ask("CALL a {}\nCALL b {}", **fields)

    assert not any("stream_id" in event for event in turn.events)


async def test_every_event_of_a_lane_names_it(connect):
    client = await connect()

    turn = await client.ask("SAY 2 x\nCALL a {}", stream_id="one")

    assert turn.types[0] == "created"
    assert turn.types[-1] == "completed"
    assert turn.lane == "one"


async def test_an_error_of_a_request_names_its_lane(connect):
    client = await connect()
    messages = [
        lane("one", model=None),
        lane("one", model="nobody"),
        lane("one", previous_response_id="resp_none"),
        lane("one", [{"type": "function_call_output", "call_id": "x", "output": ""}]),
    ]
    for message in messages:
        await client.send(message)
        assert (await client.turn()).last["stream_id"] == "one"


async def test_32_names_and_the_default_lane_last_for_the_life_of_a_connection(connect):
    client = await connect()
    for number in range(32):
        assert (await client.ask("hi", stream_id=f"lane-{number}")).lane == f"lane-{number}"
    assert (await client.ask("hi")).lane is None

    refused = await client.ask("hi", stream_id="lane-32")

    assert refused.lane == "lane-32"
    assert (refused.error["status"], refused.error["code"], refused.error["type"]) == (
        400,
        "websocket_stream_limit_reached",
        "invalid_request_error",
    )
    assert "32" in refused.error["message"]
    # Those that are there can be used, and another connection has names of its own.
    assert (await client.ask("hi", stream_id="lane-31")).text == "echo: hi"
    assert (await client.ask("hi")).text == "echo: hi"
    assert (await (await connect()).ask("hi", stream_id="lane-32")).text == "echo: hi"


async def test_a_name_counts_even_if_its_first_request_is_refused(connect):
    client = await connect(max_lanes=1)
    await client.ask("hi", stream_id="one", model="nobody")

    assert (await client.ask("hi", stream_id="two")).error["code"] == "websocket_stream_limit_reached"


async def test_the_same_lane_is_first_in_first_out_without_overlap(connect, autojump_clock):
    client = await connect()
    for number in range(4):
        await client.send(lane("one", f"WAIT 1000\nSAY 1 {number}"))

    turns = [await client.turn() for _ in range(4)]

    assert [turn.text for turn in turns] == list("0123")
    assert trio.current_time() == pytest.approx(4)


async def test_different_lanes_run_at_the_same_time_and_their_events_interleave(connect, autojump_clock):
    client = await connect(delta_delay=1)
    for name in ("a", "b", None):
        await client.send(lane(name, "SAY 5 x"))
    names = [(await client.receive()).get("stream_id") for _ in range(3 * 13)]

    assert trio.current_time() == pytest.approx(5)
    # None of them waits for another one to end.
    assert all({*names[start : start + 12]} == {"a", "b", None} for start in range(0, 36, 12))


async def test_a_slow_lane_delays_no_other(connect, autojump_clock):
    client = await connect()
    await client.send(lane("slow", "WAIT 60000\nSAY 1 x"))
    await client.until("in_progress")

    assert (await client.ask("hi", stream_id="fast")).text == "echo: hi"
    assert trio.current_time() == 0


async def test_16_responses_are_in_flight_and_the_others_wait_in_silence(connect, autojump_clock):
    client = await connect()
    for number in range(20):
        await client.send(lane(f"lane-{number}" if number else None, f"WAIT {(number + 1) * 1000}\nSAY 1 x"))
    begun = []
    with trio.move_on_after(0.5):
        while True:
            event = await client.receive()
            if event["type"] == "response.created":
                begun.append(event.get("stream_id"))

    assert begun == [None, *[f"lane-{number}" for number in range(1, 16)]]
    # They begin in the order in which they came, each when another one has ended.
    await client.until("completed")
    assert (await client.until("created"))["stream_id"] == "lane-16"
    assert trio.current_time() == pytest.approx(1)
    await client.until("completed")
    assert (await client.until("created"))["stream_id"] == "lane-17"
    assert trio.current_time() == pytest.approx(2)


async def test_the_limit_of_responses_in_flight_can_be_chosen(connect, autojump_clock):
    client = await connect(max_in_flight=1)
    for name in "abc":
        await client.send(lane(name, "WAIT 1000\nSAY 1 x"))

    assert order(await client.turns(3)) == ["a", "b", "c"]
    assert trio.current_time() == pytest.approx(3)


async def test_a_lane_is_routing_and_not_lineage(connect):
    client = await connect()
    call = await client.ask("CALL look {}", stream_id="one")

    fresh = await client.ask("hi", stream_id="one")

    assert fresh.response["previous_response_id"] is None
    assert fresh.text == "echo: hi"
    assert call.calls


async def test_a_fork_continues_a_response_on_another_lane(connect, autojump_clock):
    client = await connect(latency=1)
    parent = await client.ask("CALL look {}", stream_id="source")
    outputs = parent.outputs("seen")

    await client.send(lane("fork", outputs, previous_response_id=parent.id))
    await client.send(lane("source", outputs, previous_response_id=parent.id))
    turns = await client.turns(2)

    assert {turn.lane: turn.text for turn in turns} == {"fork": 'RESULT: "seen"', "source": 'RESULT: "seen"'}
    assert {turn.response["previous_response_id"] for turn in turns} == {parent.id}
    # At the same time.
    assert trio.current_time() == pytest.approx(2)
    # And both can be continued, by themselves.
    for turn in turns:
        assert (
            await client.ask("more", stream_id=turn.lane, previous_response_id=turn.id)
        ).text == "echo: more"


async def test_the_default_lane_can_be_forked_and_be_a_fork(connect):
    client = await connect()
    first = await client.ask("one")
    second = await client.ask("two", stream_id="a", previous_response_id=first.id)

    assert (await client.ask("three", previous_response_id=second.id)).text == "echo: three"


@pytest.mark.parametrize("store", [False, True])
async def test_a_queued_fork_is_resolved_when_it_starts(connect, autojump_clock, store):
    """The source lane has advanced by then, and its parent is gone unless it is stored."""
    client = await connect()
    parent = await client.ask("hi", stream_id="source", store=store)
    await client.send(lane("fork", "WAIT 2000\nSAY 1 x"))
    await client.send(lane("fork", "forked", previous_response_id=parent.id))
    await client.send(lane("source", "on", previous_response_id=parent.id))

    advanced, _, fork = await client.turns(3)

    assert (advanced.lane, fork.lane) == ("source", "fork")
    if store:
        assert fork.text == "echo: forked"
    else:
        assert fork.error["code"] == "previous_response_not_found"


async def test_a_fork_that_waits_for_a_slot_is_resolved_when_it_starts(connect, autojump_clock):
    client = await connect(max_in_flight=1)
    parent = await client.ask("hi", stream_id="source")
    await client.send(lane("source", "on", previous_response_id=parent.id))
    await client.send(lane("fork", "forked", previous_response_id=parent.id))

    _, fork = await client.turns(2)

    assert fork.error["code"] == "previous_response_not_found"


async def test_once_a_fork_is_in_progress_its_source_may_advance(connect, autojump_clock):
    client = await connect()
    parent = await client.ask("CALL look {}", stream_id="source")
    outputs = parent.outputs("seen")
    await client.send(
        lane(
            "fork", [*outputs, {"role": "user", "content": "WAIT 9\nCALL a"}], previous_response_id=parent.id
        )
    )
    await client.until("in_progress")

    source = await client.ask(outputs, stream_id="source", previous_response_id=parent.id)
    again = await client.ask("x", stream_id="source", previous_response_id=source.id)
    while (event := await client.receive())["type"] != "response.completed":
        pass

    assert again.text == "echo: x"
    assert (event["stream_id"], event["response"]["output"][0]["name"]) == ("fork", "a")


async def test_an_error_on_one_lane_leaves_the_others_alone(connect, autojump_clock):
    client = await connect()
    await client.send(lane("a", "WAIT 1000\nSAY 1 a"))
    await client.until("in_progress")
    await client.send(lane("b", previous_response_id="resp_none"))
    await client.send(lane("b", "b"))
    await client.send("garbage")

    turns = await client.turns(4)

    assert turns[-1].lane == "a"
    assert turns[-1].last["type"] == "response.completed"
    seen = {(turn.lane, turn.error["code"] if turn.types == ["error"] else turn.text) for turn in turns[:3]}
    assert seen == {("b", "previous_response_not_found"), ("b", "echo: b"), (None, "invalid_json")}


async def test_an_error_on_a_lane_leaves_what_waits_there(connect, autojump_clock):
    client = await connect(latency=1)
    await client.send(lane("a", "one"))
    await client.send(lane("a", "two", previous_response_id="resp_none"))
    await client.send(lane("a", "three"))

    one, two, three = [await client.turn() for _ in range(3)]

    assert (one.text, two.error["code"], three.text) == (
        "echo: one",
        "previous_response_not_found",
        "echo: three",
    )


async def test_nothing_of_a_lane_outlives_its_connection(connect, autojump_clock):
    client = await connect(latency=1)
    first = await client.ask("hi", stream_id="a")
    await client.send(lane("a", "WAIT 5000\nSAY 1 x"))
    await client.send(lane("a", "queued"))
    await client.close()

    again = await connect()

    assert (await again.ask("x", stream_id="a", previous_response_id=first.id)).error[
        "code"
    ] == "previous_response_not_found"
    with trio.move_on_after(100) as scope:
        await again.receive()
    assert scope.cancelled_caught
    assert client.server.statistics().responses_created == 2


async def test_33_lanes_at_once(connect, autojump_clock):
    client = await connect(delta_delay=0.01, max_in_flight=33)
    for number in range(32):
        await client.send(lane(f"{number}", f"SAY 3 {number}"))
    await client.send(create("SAY 3 default"))

    turns = await client.turns(33)

    assert {turn.lane: turn.text for turn in turns} == {
        None: "default" * 3,
        **{f"{number}": f"{number}" * 3 for number in range(32)},
    }


async def test_a_fault_that_closes_the_socket_closes_it_in_good_order_while_other_lanes_send(connect):
    client = await connect(faults=[CloseSocket(2, code=1012, lane="a")])
    for name in "bcd":
        await client.send(lane(name, "SAY 5000 x"))
    await client.send(lane("a", "x"))

    with pytest.raises(Closed) as closed:
        while True:
            await client.receive()

    assert closed.value.code == 1012


async def test_lanes_and_a_steer_on_a_real_socket(listening):
    async with listening(delta_delay=0.005) as handle:
        async with await trio.open_tcp_stream(handle.host, handle.port) as stream:
            client = await Client(stream).connect()
            await client.send(lane("b", "SAY 3 b"))
            await client.send(lane("a", "SAY 1000 a"))
            created = await client.until("created")
            while created["stream_id"] != "a":
                created = await client.until("created")
            await client.steer(created["response"]["id"], "SAY 1 steered")
            ended = {(turn.lane, turn.last["type"], turn.text) for turn in await client.turns(3)}

    assert {("b", "response.completed", "bbb"), ("a", "response.completed", "steered")} < ended
