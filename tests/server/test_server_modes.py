"""Modes: the server as other servers of this protocol are."""

from __future__ import annotations

import pytest
import trio
from server_client import create

from triplane.server import OptionError, Server
from triplane.server.dialect import DIALECTS

ALONE = ["azure", "xai", "spec", "rejecting"]


@pytest.mark.parametrize("mode", ALONE)
async def test_without_lanes_a_stream_id_is_ignored(connect, mode):
    client = await connect(mode=mode)

    for stream_id in ("a", "no name", "", 3):
        turn = await client.ask("hi", stream_id=stream_id)
        assert turn.text == "echo: hi"
        assert turn.lane is None


@pytest.mark.parametrize("mode", ["azure", "xai", "spec"])
async def test_without_lanes_responses_come_one_after_the_other(connect, autojump_clock, mode):
    client = await connect(mode=mode)
    for number in range(3):
        await client.send(create(f"WAIT 1000\nSAY 1 {number}", stream_id=f"{number}"))

    assert [(await client.turn()).text for _ in range(3)] == list("012")
    assert trio.current_time() == 3


@pytest.mark.parametrize("mode", ALONE)
async def test_without_lanes_only_the_most_recent_response_is_cached(connect, mode):
    client = await connect(mode=mode)
    client.validates = False
    first = await client.ask("hi", stream_id="a")
    second = await client.ask("hi", stream_id="b")

    again = await client.ask("hi", stream_id="a", previous_response_id=first.id)

    assert again.error["code"] == "previous_response_not_found"
    assert (await client.ask("hi", stream_id="c", previous_response_id=second.id)).text == "echo: hi"


@pytest.mark.parametrize("mode", ALONE)
@pytest.mark.parametrize("kind", ["response.steer", "response.inject"])
async def test_without_steering_and_injecting_their_events_are_unknown(connect, mode, kind):
    client = await connect(mode=mode, headers={"OpenAI_Beta": "responses_multi_agent=v1"})

    await client.send({"type": kind, "previous_response_id": "x", "response_id": "x", "input": "x"})
    refused = await client.turn()

    assert (refused.error["code"], refused.error["param"]) == ("invalid_value", "type")


@pytest.mark.parametrize(
    ("mode", "seconds", "words"),
    [
        ("openai", 3600, "60 minutes"),
        ("azure", 3600, "60 minutes"),
        ("xai", 1500, "25 minutes"),
        ("spec", 3600, "60 minutes"),
    ],
)
async def test_how_old_connections_become(connect, autojump_clock, mode, seconds, words):
    client = await connect(mode=mode)

    error = await client.receive()

    assert trio.current_time() == seconds
    assert error["error"]["code"] == "websocket_connection_limit_reached"
    assert error["error"]["type"] == "invalid_request_error"
    assert f"({words})" in error["error"]["message"]


@pytest.mark.parametrize(
    ("mode", "typed"), [("openai", True), ("azure", False), ("xai", False), ("spec", True)]
)
async def test_a_response_that_is_not_found_has_no_error_type_at_azure_and_xai(connect, mode, typed):
    client = await connect(mode=mode)
    client.validates = False

    refused = await client.ask("hi", previous_response_id="resp_x")

    assert ("type" in refused.error) is typed
    assert {name: value for name, value in refused.error.items() if name != "type"} == {
        "code": "previous_response_not_found",
        "message": "Previous response with id 'resp_x' not found.",
        "param": "previous_response_id",
        "status": 400,
    }
    assert (await client.ask(3)).error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "field", [{"stream": True}, {"stream_options": {"include_obfuscation": False}}, {"background": True}]
)
async def test_the_specification_has_no_stream_stream_options_and_background(connect, field):
    client = await connect(mode="spec")

    refused = await client.ask("hi", **field)

    assert (refused.error["code"], refused.error["param"]) == ("unsupported_parameter", *field)
    assert (await client.ask("hi", stream=None, background=False)).text == "echo: hi"


@pytest.mark.parametrize("mode", ["openai", "azure", "xai", "rejecting"])
async def test_elsewhere_stream_is_tolerated(connect, mode):
    client = await connect(mode=mode)

    assert (
        await client.ask("hi", stream=True, stream_options={"include_obfuscation": False})
    ).text == "echo: hi"


async def test_rejecting_answers_a_create_on_a_busy_connection_with_an_error(connect, autojump_clock):
    client = await connect(mode="rejecting")
    await client.send(create("WAIT 1000\nSAY 1 x"))
    await client.until("in_progress")

    await client.send(create("hi"))
    refused = await client.receive()

    assert (refused["status"], refused["error"]["code"]) == (409, "concurrent_request")
    assert (await client.until("completed"))["response"]["status"] == "completed"
    # Then it is free, and at once.
    assert (await client.ask("hi")).text == "echo: hi"


async def test_rejecting_answers_the_first_of_two_creates_that_come_together(connect, autojump_clock):
    client = await connect(mode="rejecting", latency=1)
    await client.send(create("one"))
    await client.send(create("two"))

    events = [await client.receive() for _ in range(10)]

    (refused,) = [event for event in events if event["type"] == "error"]
    assert refused["error"]["code"] == "concurrent_request"
    assert [event["response"]["id"] for event in events if "response" in event] == ["resp_000001"] * 3


@pytest.mark.parametrize("mode", list(DIALECTS))
async def test_chains_and_warm_ups_are_the_same_everywhere(connect, mode):
    client = await connect(mode=mode)
    warm = await client.ask("CALL look {}", generate=False)
    call = await client.ask([], previous_response_id=warm.id)
    turn = await client.ask(call.outputs("seen"), previous_response_id=call.id)

    assert turn.text == 'RESULT: "seen"'


@pytest.mark.parametrize(
    "option",
    [
        {"mode": "realtime"},
        {"max_age": 0},
        {"max_age": "1h"},
        {"on_max_age": "sometimes"},
        {"max_age_close_code": 1005},
        {"max_age_close_code": "1000"},
        {"max_lanes": -1},
        {"max_in_flight": 0},
        {"max_pending_steers": 0},
        {"steering_models": "gpt-6*"},
        {"steering_models": [6]},
        {"injection_wait": 0},
    ],
    ids=str,
)
def test_options_that_cannot_be(option):
    with pytest.raises(OptionError):
        Server(**option)
