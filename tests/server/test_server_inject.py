"""`response.inject`: outputs of tools for a response of the multi-agent beta that is going on."""

from __future__ import annotations

import pytest
import trio
from server_client import Closed, create

BETA = {"OpenAI_Beta": "responses_multi_agent=v1"}
MULTI = {"multi_agent": {"enabled": True}}


async def waiting(connect, input_="CALL look {}", **options):
    """A client and the response of its that waits for the outputs of its calls."""
    client = await connect(headers=BETA, **options)
    await client.send(create(input_, stream_id="a", **MULTI))
    response_id = (await client.until("created"))["response"]["id"]
    calls = [(await client.until("output_item.done"))["item"] for _ in range(input_.count("CALL"))]
    return client, response_id, calls


def inject(response_id, *items, **fields):
    return {"type": "response.inject", "response_id": response_id, "input": list(items), **fields}


def output(call, text="seen", **fields):
    return {"type": "function_call_output", "call_id": call["call_id"], "output": text, **fields}


async def test_outputs_go_into_the_response_that_waits_for_them(connect, autojump_clock):
    client, response_id, (call,) = await waiting(connect)

    await client.send(inject(response_id, output(call)))
    created = await client.receive()
    turn = await client.turns(1)

    assert (created["type"], created["response_id"], created["stream_id"]) == (
        "response.inject.created",
        response_id,
        "a",
    )
    assert turn[0].id == response_id
    # The output has what was said before and after; what came in is no output.
    assert [item["type"] for item in turn[0].response["output"]] == ["function_call", "message"]
    assert turn[0].text == 'RESULT: "seen"'
    assert turn[0].events[0]["sequence_number"] == created["sequence_number"] + 1
    # Nothing is owed any more.
    again = await client.ask("on", stream_id="a", previous_response_id=response_id)
    assert again.text == "echo: on"
    assert trio.current_time() == 0


async def test_items_and_their_events_name_the_agent_and_lifecycle_events_do_not(connect):
    client = await connect(headers=BETA)

    turn = await client.ask("hello", **MULTI)

    for event in turn.events:
        assert ("agent" in event) is ("response" not in event), event["type"]
    assert {event["agent"]["agent_name"] for event in turn.events if "agent" in event} == {"/root"}
    assert turn.response["output"][0]["agent"] == {"agent_name": "/root"}


async def test_all_outputs_or_one_at_a_time(connect, autojump_clock):
    client, response_id, (one, two) = await waiting(connect, "CALL a {}\nCALL b {}")

    await client.send(inject(response_id, output(two, "2")))
    assert (await client.receive())["type"] == "response.inject.created"
    with trio.move_on_after(1) as scope:
        await client.receive()
    assert scope.cancelled_caught
    await client.send(inject(response_id, output(one, "1")))

    assert (await client.receive())["type"] == "response.inject.created"
    assert (await client.until("completed"))["response"]["id"] == response_id


async def test_acknowledgements_come_in_the_order_of_the_injects(connect):
    client, response_id, (one, two) = await waiting(connect, "CALL a {}\nCALL b {}")
    await client.send(inject("resp_none", output(one)))
    await client.send(inject(response_id, output(one)))
    await client.send(inject(response_id, output(two)))

    kinds = [(await client.receive())["type"] for _ in range(3)]

    assert kinds == ["response.inject.failed", "response.inject.created", "response.inject.created"]


async def test_a_response_that_waits_in_vain_completes_with_its_calls(connect, autojump_clock):
    client, response_id, (call,) = await waiting(connect, injection_wait=7)

    completed = await client.until("completed")

    assert trio.current_time() == 7
    assert completed["response"]["output"] == [call]
    # Too late: the input comes back, for a create that continues.
    await client.send(inject(response_id, output(call)))
    failed = await client.receive()
    assert failed["type"] == "response.inject.failed"
    assert (failed["response_id"], failed["stream_id"]) == (response_id, "a")
    assert failed["error"]["code"] == "response_already_completed"
    turn = await client.ask(failed["input"], stream_id="a", previous_response_id=response_id)
    assert turn.text == 'RESULT: "seen"'


async def test_what_was_injected_in_part_is_part_of_the_conversation(connect, autojump_clock):
    client, response_id, (one, two) = await waiting(connect, "CALL a {}\nCALL b {}")
    await client.send(inject(response_id, output(one)))
    await client.until("completed")

    turn = await client.ask([output(two)], stream_id="a", previous_response_id=response_id)

    assert turn.last["type"] == "response.completed"


async def test_inject_failed_response_not_found(connect):
    client, _, (call,) = await waiting(connect)
    # Of this connection, but nothing in it waits for anything.
    single = await client.ask("WAIT 0\nCALL look {}", stream_id="b")

    await client.send(inject("resp_none", output(call, name="look")))
    failed = await client.receive()

    assert failed["error"]["code"] == "response_not_found"
    assert failed["input"] == [output(call, name="look")]
    assert single.calls


async def test_an_output_that_nobody_waits_for_is_an_error_and_nothing_is_committed(connect, autojump_clock):
    client, response_id, (call,) = await waiting(connect)

    for items in ([output(call), output({"call_id": "call_x"})], [output(call), output(call)]):
        await client.send(inject(response_id, *items))
        refused = await client.receive()
        assert (refused["status"], refused["error"]["param"]) == (400, "input")
        assert refused["stream_id"] == "a"
    await client.send(inject(response_id, output(call)))
    assert (await client.receive())["type"] == "response.inject.created"


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"response_id": 3, "input": [{"type": "function_call_output", "call_id": "c", "output": ""}]},
        {"response_id": "resp_1"},
        {"response_id": "resp_1", "input": []},
        {"response_id": "resp_1", "input": "hi"},
        {"response_id": "resp_1", "input": ["hi"]},
        {"response_id": "resp_1", "input": [{"role": "user", "content": "hi"}]},
        {"response_id": "resp_1", "input": [{"type": "message", "role": "user", "content": "hi"}]},
        {"response_id": "resp_1", "input": [{"type": "function_call_output", "output": ""}]},
        {"response_id": "resp_1", "input": [{"type": "function_call_output", "call_id": "c"}]},
        {"response_id": "resp_1", "stream_id": "a", "input": [{"type": "x_output", "call_id": "c"}]},
    ],
)
async def test_a_malformed_inject_is_an_error_and_closes_the_socket(connect, frame):
    client = await connect(headers=BETA)

    await client.send({"type": "response.inject", **frame})
    refused = await client.receive()

    assert (refused["type"], refused["status"]) == ("error", 400)
    assert refused["error"]["type"] == "invalid_request_error"
    with pytest.raises(Closed) as closed:
        await client.receive()
    assert closed.value.code == 1008


@pytest.mark.parametrize("headers", [{}, {"OpenAI_Beta": "responses_websockets=2026-02-06"}])
async def test_without_the_beta_there_is_no_inject(connect, headers):
    client = await connect(headers=headers)

    await client.send(inject("resp_1"))
    refused = await client.turn()

    assert (refused.error["code"], refused.error["param"]) == ("invalid_value", "type")
    # And no response waits for one.
    assert (await client.ask("CALL look {}", **MULTI)).calls


@pytest.mark.parametrize("value", ["responses_multi_agent=v1", "a=b, responses_multi_agent=v1"])
async def test_the_beta_is_one_of_those_in_the_header(connect, value):
    client = await connect(headers={"OpenAI_Beta": value})

    await client.send(inject("resp_1", {"type": "function_call_output", "call_id": "c", "output": ""}))

    assert (await client.receive())["type"] == "response.inject.failed"
