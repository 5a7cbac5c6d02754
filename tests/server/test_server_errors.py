"""Errors: their shape, their codes, where they belong and what survives them."""

from __future__ import annotations

import pytest
from server_client import Closed, create

from triplane.server import ErrorEvent
from triplane.server.errors import Refused

CALL_OUTPUT = {"type": "function_call_output", "call_id": "call_x", "output": ""}


async def refused(client, message):
    await client.send(message)
    turn = await client.turn()
    assert turn.types == ["error"]
    return turn.last


async def test_an_error_of_a_request_has_a_status_and_no_sequence_number(connect):
    error = await refused(await connect(), create(previous_response_id="resp_x", stream_id="planner"))

    assert error == {
        "type": "error",
        "stream_id": "planner",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "previous_response_not_found",
            "message": "Previous response with id 'resp_x' not found.",
            "param": "previous_response_id",
        },
    }


async def test_an_error_of_the_default_lane_has_no_stream_id(connect):
    assert "stream_id" not in await refused(await connect(), create(previous_response_id="resp_x"))


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        (create("x", previous_response_id="resp_x"), "previous_response_not_found", "previous_response_id"),
        (create("x", stream_id="no way"), "invalid_stream_id", "stream_id"),
        (
            create([{"role": "user", "content": "x", "id": "m" * 65}]),
            "string_above_max_length",
            "input[0].id",
        ),
        (create("x", metadata={"a": "b" * 513}), "string_above_max_length", "metadata.a"),
        (create("x", metadata={"a" * 65: "b"}), "string_above_max_length", "metadata." + "a" * 64),
        (create("x", metadata={str(n): "" for n in range(17)}), "object_above_max_properties", "metadata"),
        (create("x", store="yes"), "invalid_type", "store"),
        (create("x", background=True), "unsupported_parameter", "background"),
        (create("x", model=None), "missing_required_parameter", "model"),
        (create("x", conversation={"id": 3}), "invalid_type", "conversation.id"),
        (create("x", conversation={}), "missing_required_parameter", "conversation.id"),
        (create("x", multi_agent=True), "invalid_type", "multi_agent"),
        (create("x", context_management={}), "invalid_type", "context_management"),
        ({"type": "response.cancel", "response_id": "resp_x"}, "invalid_value", "type"),
        ("{", "invalid_json", None),
    ],
)
async def test_each_code_has_its_param_and_status(connect, message, code, param):
    error = await refused(await connect(), message)

    assert error["status"] == 400
    assert error["error"]["type"] == "invalid_request_error"
    assert (error["error"]["code"], error["error"]["param"]) == (code, param)


@pytest.mark.parametrize("metadata", [{str(n): "" for n in range(16)}, {"a" * 64: "b" * 512}])
async def test_as_much_metadata_as_is_allowed(connect, metadata):
    turn = await (await connect()).ask([{"role": "user", "content": "x", "id": "m" * 64}], metadata=metadata)

    assert turn.response["metadata"] == metadata


async def test_a_call_without_output_and_an_output_without_call_have_no_code(connect):
    client = await connect()
    call = await client.ask("CALL look {}", stream_id="a")

    missing = await refused(client, create("x", previous_response_id=call.id, stream_id="b"))
    unknown = await refused(client, create([CALL_OUTPUT], stream_id="b"))

    call_id = call.calls[0]["call_id"]
    for error, message in (
        (missing, f"No tool output found for function call {call_id}."),
        (unknown, "No tool call found for function call output with call_id call_x."),
    ):
        assert error == {
            "type": "error",
            "status": 400,
            "stream_id": "b",
            "error": {"type": "invalid_request_error", "code": None, "message": message, "param": "input"},
        }


@pytest.mark.parametrize("stream_id", [None, "a"])
@pytest.mark.parametrize("message", ["{", "[]", {"type": "response.cancel"}, {}])
async def test_a_message_that_is_no_request_belongs_to_no_lane_and_is_answered_at_once(
    connect, autojump_clock, message, stream_id
):
    client = await connect()
    await client.send(create("WAIT 1000\nSAY 1 x", stream_id=stream_id))
    await client.until("in_progress")

    await client.send(message)

    error = await client.receive()
    assert error["type"] == "error"
    assert "stream_id" not in error
    await client.until("completed")


async def test_the_supported_types_are_named(connect):
    error = await refused(await connect(), {"type": "session.update"})

    assert error["error"]["message"] == (
        "Invalid value: 'session.update'. Supported values are: 'response.create', 'response.steer'."
    )


async def test_the_socket_survives_every_error_of_a_request(connect):
    client = await connect()
    for message in (
        "{",
        create(3),
        create(previous_response_id="x"),
        create(stream_id=""),
        create(model="nobody"),
    ):
        await refused(client, message)

    assert (await client.ask("still there?")).text == "echo: still there?"
    assert client.server.statistics().requests_refused == 5


async def test_a_message_over_the_limit_closes_with_1009_and_no_event(connect):
    client = await connect(max_message_size=1000)
    await client.send(create("x" * 1000, stream_id="a"))

    with pytest.raises(Closed) as closed:
        await client.receive()

    assert closed.value.code == 1009


async def test_the_limit_of_a_message_is_16_mib(connect):
    client = await connect()
    empty = len('{"type":"response.create","model":"directive","input":""}')
    frame = '{"type":"response.create","model":"directive","input":"%s"}'
    await client.send(frame % ("x" * (16 * 1024 * 1024 - empty)))
    assert (await client.turn()).last["type"] == "response.completed"

    await client.send(frame % ("x" * (16 * 1024 * 1024 - empty + 1)))

    with pytest.raises(Closed) as closed:
        await client.receive()
    assert closed.value.code == 1009


# The codes that a server gives of its own accord, on demand.

ON_DEMAND = [
    ("rate_limit_exceeded", 429, "tokens", "Rate limit reached. Please try again in 1.2s."),
    ("too_many_requests", 429, "too_many_requests", "Too many requests."),
    ("insufficient_quota", 429, "insufficient_quota", "You exceeded your current quota."),
    ("server_is_overloaded", 503, "server_error", "The server is overloaded."),
    ("slow_down", 503, "server_error", "Slow down."),
    (None, 500, "server_error", "The server had an error."),
    ("context_length_exceeded", 400, "invalid_request_error", "The input is too long."),
    ("invalid_prompt", 400, "invalid_request_error", "Invalid prompt."),
]


@pytest.mark.parametrize(("code", "status", "kind", "message"), ON_DEMAND)
async def test_any_code_on_demand_is_tagged_and_leaves_the_socket(connect, code, status, kind, message):
    fault = ErrorEvent(
        0, code=code, status=status, error_type=kind, message=message, headers={"retry-after": "1"}, nth=2
    )
    client = await connect(faults=[fault])
    parent = await client.ask("hi", stream_id="a")

    turn = await client.ask("x", stream_id="a", previous_response_id=parent.id)

    assert turn.last == {
        "type": "error",
        "status": status,
        "stream_id": "a",
        "error": {
            "type": kind,
            "code": code,
            "message": message,
            "param": None,
            "headers": {"retry-after": "1"},
        },
    }
    # As every error does, it evicts the parent.
    again = await client.ask("x", stream_id="a", previous_response_id=parent.id)
    assert again.error["code"] == "previous_response_not_found"


async def test_an_error_in_the_middle_of_a_response_is_its_end(connect):
    client = await connect(faults=[ErrorEvent(2, shape="no_status", code=None, nth=1)])

    turn = await client.ask("x")

    assert turn.types == ["created", "in_progress", "error"]
    assert turn.last["sequence_number"] == 2
    assert "status" not in turn.last
    assert (await client.ask("x")).text == "echo: x"


def test_headers_stand_inside_the_error():
    event = Refused("no", code="rate_limit_exceeded", status=429, headers={"retry-after": "2"}).event(
        stream_id="a"
    )

    assert event["error"]["headers"] == {"retry-after": "2"}
    assert (event["status"], event["stream_id"]) == (429, "a")
