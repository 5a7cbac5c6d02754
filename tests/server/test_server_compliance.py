"""The rules of the Open Responses specification for WebSockets, and the shape of every response.

One test for each of the specification's own cases, under the name that it has there.
"""

from __future__ import annotations

import h11
import orjson
import pytest
from openai.types.responses import Response
from server_client import create

# What the specification's schema of a response requires.
REQUIRED = {
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "user",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
}

TOOL = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
}


def message(text):
    return {"type": "message", "role": "user", "content": text}


def check(response):
    """Check one response object as clients do."""
    assert response.keys() >= REQUIRED
    assert all(isinstance(response[name], int) for name in ("created_at", "top_logprobs"))
    assert all(isinstance(response[name], (int, float)) for name in ("presence_penalty", "frequency_penalty"))
    parsed = Response.model_validate(response, strict=True)
    # Nothing is lost on the way, so every value is of a type that the model has.
    assert parsed.model_dump(mode="json", warnings="error", exclude_unset=True) == response


async def post(connect, path, body):
    """Send one request over HTTP to the same server; return its status and JSON."""
    client = await connect(upgrade=False)
    http = h11.Connection(h11.CLIENT)
    data = orjson.dumps(body)
    headers = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(data))}
    await client.stream.send_all(
        http.send(h11.Request(method="POST", target=path, headers=list(headers.items())))
        + http.send(h11.Data(data=data))
        + http.send(h11.EndOfMessage())
    )
    status, received = 0, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await client.stream.receive_some()))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            received += event.data
    await client.stream.aclose()
    return status, orjson.loads(received)


@pytest.fixture(params=["openai", "spec"])
def mode(request):
    return request.param


async def test_websocket_response(connect, mode):
    client = await connect(mode=mode)

    turn = await client.ask([message("Say hello in exactly 3 words.")])

    assert turn.types[0] == "created"
    assert turn.last["type"] == "response.completed"
    assert turn.response["status"] == "completed"
    assert turn.response["output"]
    for event in turn.events:
        if "response" in event:
            check(event["response"])


async def test_websocket_sequential_responses(connect, mode):
    client = await connect(mode=mode)
    await client.send(create([message("one")]))
    await client.send(create([message("two")]))

    first, second = await client.turn(), await client.turn()

    assert (first.text, second.text) == ("echo: one", "echo: two")
    assert first.id != second.id


async def test_websocket_continuation(connect, mode):
    client = await connect(mode=mode)
    first = await client.ask([message("CALL look {}")], tools=[TOOL], store=False)

    second = await client.ask(first.outputs("seen"), previous_response_id=first.id, store=False)

    assert second.response["previous_response_id"] == first.id
    assert second.text == 'RESULT: "seen"'
    check(second.response)


async def test_websocket_reconnect_store_false_recovery(connect, mode):
    client = await connect(mode=mode)
    first = await client.ask([message("CALL look {}")], store=False)
    await client.close()
    again = await connect()

    refused = await again.ask(first.outputs("seen"), previous_response_id=first.id, store=False)
    recovered = await again.ask(
        [message("CALL look {}"), *first.response["output"], *first.outputs("seen")], store=False
    )

    assert refused.error["code"] == "previous_response_not_found"
    assert recovered.text == 'RESULT: "seen"'
    assert recovered.response["previous_response_id"] is None


async def test_websocket_previous_response_not_found(connect, mode):
    client = await connect(mode=mode)

    refused = await client.ask([message("hi")], previous_response_id="resp_missing", store=False)

    assert refused.last.keys() == {"type", "status", "error"}
    assert (refused.last["type"], refused.last["status"]) == ("error", 400)
    assert refused.error["code"] == "previous_response_not_found"
    assert (await client.ask([message("hi")])).text == "echo: hi"


async def test_websocket_failed_continuation_evicts_cache(connect, mode):
    client = await connect(mode=mode)
    first = await client.ask([message("hi")], store=False)
    output = {"type": "function_call_output", "call_id": "call_unknown", "output": "x"}

    failed = await client.ask([output], previous_response_id=first.id, store=False)
    again = await client.ask([message("hi")], previous_response_id=first.id, store=False)

    assert 400 <= failed.error["status"] < 600
    assert again.error["code"] == "previous_response_not_found"


async def test_websocket_compact_new_chain(connect, mode):
    client = await connect(mode=mode)
    first = await client.ask([message("a long conversation")], store=False)
    history = [message("a long conversation"), *first.response["output"]]

    status, compacted = await post(connect, "/v1/responses/compact", {"model": "directive", "input": history})
    assert (status, compacted["object"]) == (200, "response.compaction")
    refused = await client.ask([message("on")], previous_response_id=compacted["id"], store=False)
    turn = await client.ask([*compacted["output"], message("on")], store=False)

    assert refused.error["code"] == "previous_response_not_found"
    assert turn.text == "echo: on"
    assert turn.response["previous_response_id"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"generate": False},
        {"input": "CALL look {}\nCALL hear {}", "tools": [TOOL]},
        {"store": True, "metadata": {"a": "b"}, "instructions": "Be brief."},
        {"reasoning": {"effort": "low", "summary": "auto"}, "text": {"verbosity": "low"}},
        {"tool_choice": {"type": "function", "name": "look"}, "tools": [TOOL], "parallel_tool_calls": False},
        {"max_output_tokens": 2, "input": "SAY 100 word "},
        {"conversation": "conv_1"},
        {"temperature": 0, "top_p": 1, "presence_penalty": 1, "frequency_penalty": 0.5, "top_logprobs": 3},
        {"service_tier": "flex", "safety_identifier": "s", "prompt_cache_key": "k", "truncation": "auto"},
    ],
)
async def test_every_response_has_what_the_schema_requires(connect, fields):
    client = await connect()

    turn = await client.ask(fields.get("input", "hi"), **{k: v for k, v in fields.items() if k != "input"})

    responses = [event["response"] for event in turn.events if "response" in event]
    assert len(responses) >= 2
    for response in responses:
        check(response)


async def test_so_has_a_response_that_failed_or_was_steered(connect, autojump_clock, caplog):
    class Failing:
        name = "failing"

        def respond(self, request):
            raise RuntimeError

    client = await connect(model={"failing": Failing()})
    check((await client.ask("x", model="failing")).response)
    await client.send(create("SAY 1 a\nWAIT 1000\nSAY 1 b"))
    response_id = (await client.until("created"))["response"]["id"]
    await client.steer(response_id, "x")

    check((await client.until("incomplete"))["response"])
    check((await client.turn()).response)
