"""The age limit of a connection: when it comes, how a client hears of it, and what happens then."""

from __future__ import annotations

import math

import pytest
import trio
from server_client import Closed, create

LIMIT = {
    "type": "error",
    "status": 400,
    "error": {
        "type": "invalid_request_error",
        "code": "websocket_connection_limit_reached",
        "message": "Responses websocket connection limit reached (60 minutes). Create a new websocket connection "
        "to continue.",
        "param": None,
    },
}


async def end(client):
    with pytest.raises(Closed) as closed:
        while True:
            await client.receive()
    return closed.value.code


async def test_an_idle_connection_of_60_minutes_gets_the_error_and_is_closed(connect, autojump_clock):
    client = await connect()
    await client.ask("hi", stream_id="a")

    error = await client.receive()

    assert trio.current_time() == 3600
    assert error == LIMIT
    assert await end(client) == 1000
    assert trio.current_time() == 3600


async def test_until_then_it_works(connect, autojump_clock):
    client = await connect()
    first = await client.ask("hi")
    await trio.sleep(3599)

    assert (await client.ask("hi", previous_response_id=first.id)).text == "echo: hi"


async def test_finish_lets_what_is_in_flight_end_first(connect, autojump_clock):
    client = await connect()
    await client.send(create("WAIT 4000000\nSAY 1 a", stream_id="a"))
    await client.send(create("WAIT 5000000\nSAY 1 b", stream_id="b"))

    turns = await client.turns(2)
    error = await client.receive()

    assert [turn.text for turn in turns] == ["a", "b"]
    assert trio.current_time() == 5000
    assert error == LIMIT
    assert await end(client) == 1000


async def test_announce_tells_in_the_middle_of_a_response_which_goes_on(connect, autojump_clock):
    client = await connect(on_max_age="announce")
    await client.send(create("WAIT 4000000\nSAY 1 a"))
    await client.until("in_progress")

    error = await client.receive()
    at = trio.current_time()
    completed = await client.until("completed")

    assert (error, at) == (LIMIT, 3600)
    assert (completed["response"]["status"], trio.current_time()) == ("completed", 4000)
    # Once is enough.
    assert await end(client) == 1000


async def test_cut_ends_what_is_in_flight(connect, autojump_clock):
    client = await connect(on_max_age="cut")
    await client.send(create("WAIT 4000000\nSAY 1 a"))
    await client.until("in_progress")

    error = await client.receive()

    assert error == LIMIT
    with pytest.raises(Closed) as closed:
        await client.receive()
    assert closed.value.code == 1000
    assert trio.current_time() == 3600


async def test_next_create_is_answered_with_the_error(connect, autojump_clock):
    client = await connect(on_max_age="next_create")
    with trio.move_on_after(10_000) as scope:
        await client.receive()
    assert scope.cancelled_caught

    await client.send(create("hi", stream_id="a"))

    assert await client.receive() == LIMIT
    assert await end(client) == 1000


async def test_next_create_waits_for_what_is_in_flight_elsewhere(connect, autojump_clock):
    client = await connect(on_max_age="next_create")
    await client.send(create("WAIT 4000000\nSAY 1 a", stream_id="a"))
    await client.until("in_progress")
    await trio.sleep(3700)
    await client.send(create("hi", stream_id="b"))

    error = await client.receive()
    completed = await client.until("completed")

    assert error == LIMIT
    assert completed["stream_id"] == "a"
    assert await end(client) == 1000


@pytest.mark.parametrize("policy", ["finish", "announce", "next_create"])
async def test_no_response_begins_after_the_limit(connect, autojump_clock, policy):
    client = await connect(on_max_age=policy)
    await client.send(create("WAIT 4000000\nSAY 1 a", stream_id="a"))
    await client.send(create("queued", stream_id="a"))
    await trio.sleep(3700)
    await client.send(create("late", stream_id="b"))

    await end(client)

    assert client.server.statistics().responses_created == 1


@pytest.mark.parametrize("policy", ["finish", "announce", "cut", "next_create"])
async def test_a_connection_may_be_left_open(connect, autojump_clock, policy):
    client = await connect(on_max_age=policy, max_age_close_code=None)
    await trio.sleep(3700)

    for _ in range(3 if policy == "next_create" else 2):
        await client.send(create("hi", stream_id="a"))
        assert await client.receive() == LIMIT
    await client.ping(b"there?")
    with trio.move_on_after(100_000):
        while True:
            assert await client.receive() == LIMIT
    assert client.pongs == [b"there?"]
    assert client.server.statistics().connections_now == 1


async def test_the_close_code_can_be_chosen(connect, autojump_clock):
    assert await end(await connect(max_age_close_code=1001)) == 1001


@pytest.mark.parametrize(
    ("age", "words"), [(90 * 60, "90 minutes"), (90, "1.5 minutes"), (3600, "60 minutes")]
)
async def test_the_age_can_be_chosen(connect, autojump_clock, age, words):
    client = await connect(max_age=age)

    error = await client.receive()

    assert trio.current_time() == age
    assert words in error["error"]["message"]


async def test_for_ever(connect, autojump_clock):
    client = await connect(max_age=math.inf)
    await trio.sleep(80_000)

    assert (await client.ask("hi")).text == "echo: hi"


async def test_the_age_counts_from_the_upgrade_of_each_connection(connect, autojump_clock):
    await connect()
    await trio.sleep(1000)
    other = await connect()
    await trio.sleep(3500)

    assert (await other.ask("hi")).text == "echo: hi"


async def test_an_id_that_is_stored_can_be_continued_on_a_new_connection(connect, autojump_clock):
    client = await connect()
    stored, unstored = await client.ask("hi", store=True), await client.ask("hi")
    await end(client)
    again = await connect()

    assert (await again.ask("x", previous_response_id=stored.id)).text == "echo: x"
    assert (await again.ask("x", previous_response_id=unstored.id)).error[
        "code"
    ] == "previous_response_not_found"


async def test_steers_that_can_no_longer_be_committed_come_back(connect, autojump_clock):
    client = await connect()
    await client.send(create("SAY 1 a\nWAIT 4000000\nSAY 1 b"))
    response_id = (await client.until("created"))["response"]["id"]
    await client.steer(response_id, "more")
    await client.until("incomplete")

    failed = await client.receive()

    assert failed["error"]["code"] == "successor_creation_failed"
    assert await client.receive() == LIMIT
