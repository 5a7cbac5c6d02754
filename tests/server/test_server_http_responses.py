"""The Responses API over HTTP: the same responses as over WebSocket, over the same state."""

from __future__ import annotations

import orjson
import pytest
import trio
from http_client import validate_response

from triplane.server import FunctionCall, Text
from triplane.server.faults.catalogue import (
    Drop,
    ErrorEvent,
    HalfOpen,
    KeepAlive,
    Malformed,
    Omit,
    PingStorm,
    Reset,
    Stall,
    Strike,
    Truncate,
)
from triplane.server.steps import StreamError

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


async def test_a_whole_response(http):
    client = await http()

    answer = await client.post("SAY 2 hi ", metadata={"run": "1"})

    assert answer.status == 200
    response = validate_response(answer.json)
    assert (response["status"], response["object"], response["metadata"]) == (
        "completed",
        "response",
        {"run": "1"},
    )
    assert response["output"][0]["content"][0]["text"] == "hi hi "
    assert response["usage"]["total_tokens"] > 0
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_response_as_events(http):
    client = await http()

    answer = await client.post("SAY 1 hi", stream=True)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.types == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in answer.events] == list(range(9))
    assert b"[DONE]" not in answer.content


async def test_both_transports_send_the_same_events(http, connect):
    over_http = await (await http()).post("SAY 2 a", store=False, stream=True)
    socket = await connect(model="directive")

    turn = await socket.ask("SAY 2 a")

    def plain(events):
        text = orjson.dumps(events).decode()
        for event in events:
            for an_id in (
                event.get("item_id"),
                event.get("item", {}).get("id"),
                event.get("response", {}).get("id"),
            ):
                text = text.replace(an_id, "ID") if an_id else text
        return text

    assert plain(over_http.events) == plain(turn.events)


async def test_events_come_as_they_are_made(http, autojump_clock):
    client = await http(delta_delay=10)
    await client.send("POST", "/v1/responses", {"model": "directive", "input": "SAY 2 hi", "stream": True})
    await client.head()

    times = [(trio.current_time(), piece.count(b"event:")) async for piece in client.pieces()]

    assert times == [(0, 4), (10, 1), (20, 5)]


async def test_latency_comes_before_the_head(http, autojump_clock):
    client = await http(latency=5)

    for stream in (False, True):
        before = trio.current_time()
        await client.send("POST", "/v1/responses", {"model": "directive", "input": "x", "stream": stream})
        await client.head()
        assert trio.current_time() - before == 5
        [_ async for _ in client.pieces()]


async def test_a_conversation_goes_on_by_previous_response_id(http):
    client = await http()
    calls = (await client.post('CALL look {"at":"x"}', tools=[LOOK])).json
    output = {"type": "function_call_output", "call_id": calls["output"][0]["call_id"], "output": "seen"}

    answer = await client.post([output], previous_response_id=calls["id"], tools=[LOOK])

    assert "seen" in answer.json["output"][0]["content"][0]["text"]
    assert answer.json["usage"]["input_tokens_details"]["cached_tokens"] > 0


async def test_a_stored_response_of_a_socket_is_continued_over_http_and_back(http, connect):
    client = await http()
    socket = await connect()
    first = await socket.ask("one", store=True)

    second = (await client.post("two", previous_response_id=first.id)).json
    third = await socket.ask("three", previous_response_id=second["id"])

    assert second["previous_response_id"] == first.id
    assert third.text == "echo: three"
    assert (await client.ask("GET", f"/v1/responses/{first.id}")).json == first.response


async def test_what_is_not_stored_is_not_found(http):
    client = await http()
    response = (await client.post("x", store=False)).json

    again = await client.post("y", previous_response_id=response["id"])
    shown = await client.ask("GET", f"/v1/responses/{response['id']}")

    assert (again.status, again.error["code"], again.error["param"]) == (
        400,
        "previous_response_not_found",
        "previous_response_id",
    )
    assert (shown.status, shown.error["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": None}, 400, "missing_required_parameter", "model"),
        ({"model": 5}, 400, "invalid_type", "model"),
        ({"generate": False}, 400, "unknown_parameter", "generate"),
        ({"stream_id": "a"}, 400, "unknown_parameter", "stream_id"),
        ({"stream": "yes"}, 400, "invalid_type", "stream"),
        ({"background": True, "store": False}, 400, "invalid_value", "store"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, 400, None, "input"),
    ],
)
async def test_refusals_are_http_errors(http, fields, status, code, param):
    client = await http()

    answer = await client.post(**fields)

    assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, param)
    assert client.server.statistics().requests_refused == 1
    # The connection lives on.
    assert (await client.post("still there?")).status == 200


async def test_an_unknown_model_is_not_found(http):
    client = await http(strict_models=True)

    answer = await client.post("x", model="gpt-9")

    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert (await client.ask("GET", "/v1/models/gpt-9")).status == 404
    assert (await client.ask("GET", "/v1/models/directive")).json["object"] == "model"


class Broken:
    name = "broken"

    def respond(self, request):
        yield Text("so")
        raise ValueError("no")


async def test_a_model_that_fails_is_an_error_or_an_event(http, caplog):
    client = await http(model=Broken())

    whole = await client.post("x", model="broken")
    events = await client.post("x", model="broken", stream=True)

    assert (whole.status, whole.error["code"], whole.error["type"]) == (500, "server_error", "server_error")
    assert events.status == 200
    assert events.types[-1] == "failed"


# Background.


async def test_a_background_response_goes_on_by_itself(http, autojump_clock):
    client = await http(latency=5)
    begun = (await client.post("WAIT 20000\nSAY 2 hi", background=True)).json
    path = f"/v1/responses/{begun['id']}"
    statuses = [begun["status"]]

    for _ in range(5):
        await trio.sleep(4)
        statuses.append(validate_response((await client.ask("GET", path)).json)["status"])
    await trio.sleep(5)
    ended = validate_response((await client.ask("GET", path)).json)

    assert statuses == ["queued", "queued", "in_progress", "in_progress", "in_progress", "in_progress"]
    assert (ended["status"], ended["background"]) == ("completed", True)
    assert ended["completed_at"] - ended["created_at"] == 25
    assert client.server.statistics().turns == 1


async def test_a_background_response_is_continued_once_it_has_ended(http, autojump_clock):
    client = await http()
    begun = (await client.post("WAIT 1000\nSAY 2 hi", background=True)).json

    early = await client.post("more", previous_response_id=begun["id"])
    await trio.sleep(2)
    late = await client.post("more", previous_response_id=begun["id"])

    assert (early.status, late.status) == (400, 200)


async def test_a_cancelled_background_response_stays_cancelled(http, autojump_clock):
    client = await http()
    begun = (await client.post("SAY 1 a\nWAIT 9000\nSAY 1 b", background=True)).json
    path = f"/v1/responses/{begun['id']}"

    cancelled = (await client.ask("POST", f"{path}/cancel")).json
    await trio.sleep(100)

    assert validate_response(cancelled)["status"] == "cancelled"
    assert (await client.ask("GET", path)).json == cancelled
    assert (await client.ask("POST", f"{path}/cancel")).json == cancelled
    assert (await client.post("x", previous_response_id=begun["id"])).status == 400


async def test_only_background_responses_can_be_cancelled(http):
    client = await http()
    response = (await client.post("x")).json

    answer = await client.ask("POST", f"/v1/responses/{response['id']}/cancel")

    assert (answer.status, answer.error["message"]) == (400, "Cannot cancel a synchronous response.")
    assert (await client.ask("POST", "/v1/responses/resp_none/cancel")).status == 404


async def test_a_background_stream_outlives_its_reader_and_can_be_read_again(http, autojump_clock):
    client = await http()
    fields = {
        "model": "directive",
        "input": "SAY 1 a\nWAIT 9000\nSAY 1 b",
        "stream": True,
        "background": True,
    }
    await client.send("POST", "/v1/responses", fields)
    await client.head()
    piece = bytes((await client.next_event()).data)
    first = orjson.loads(piece.split(b"\n")[1].removeprefix(b"data: "))
    await client.stream.aclose()
    again = await http()
    path = f"/v1/responses/{first['response']['id']}"

    whole = await again.ask("GET", f"{path}?stream=true")
    rest = await again.ask("GET", f"{path}?stream=true&starting_after=4")

    assert whole.types[:3] == ["created", "queued", "in_progress"]
    assert whole.types[-1] == "completed"
    assert [event["sequence_number"] for event in whole.events] == list(range(len(whole.events)))
    assert rest.events == whole.events[5:]
    assert trio.current_time() == 9


async def test_only_background_responses_can_be_streamed_again(http):
    client = await http()
    response = (await client.post("x")).json
    background = (await client.post("x", background=True)).json

    plain = await client.ask("GET", f"/v1/responses/{response['id']}?stream=true")
    number = await client.ask("GET", f"/v1/responses/{background['id']}?stream=true&starting_after=-1")

    assert (plain.status, plain.error["param"]) == (400, "stream")
    assert (number.status, number.error["param"]) == (400, "starting_after")


@pytest.mark.parametrize("start", [11, 500])
async def test_there_may_be_nothing_left_to_stream(http, start):
    client = await http()
    begun = (await client.post("SAY 1 a", background=True)).json

    answer = await client.ask("GET", f"/v1/responses/{begun['id']}?stream=true&starting_after={start}")

    assert (answer.status, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_deleting_a_background_response_ends_its_readers(http, autojump_clock):
    reader, client = await http(), await http()
    begun = (await client.post("WAIT 9000\nSAY 1 b", background=True)).json
    path = f"/v1/responses/{begun['id']}"
    await reader.send("GET", f"{path}?stream=true")
    await reader.head()

    await client.ask("DELETE", path)

    assert b"response.completed" not in b"".join([piece async for piece in reader.pieces()])
    assert trio.current_time() == 0
    assert (await client.ask("GET", path)).status == 404


class Endless:
    name = "endless"

    def respond(self, request):
        while True:
            yield Text("x")


async def test_an_endless_background_response_stops_nothing_else(http):
    client = await http(model=Endless())

    begun = (await client.post("x", model="endless", background=True)).json

    assert (await client.ask("GET", f"/v1/responses/{begun['id']}")).json["status"] == "in_progress"
    assert (await client.ask("GET", "/healthz")).status == 200


# What there is about a response.


async def test_a_deleted_response_is_gone(http):
    client = await http()
    paths = [
        f"/v1/responses/{(await client.post('x', background=background)).json['id']}"
        for background in (False, True)
    ]

    for path in paths:
        deleted = await client.ask("DELETE", path)
        assert deleted.json == {"id": path.rpartition("/")[2], "object": "response", "deleted": True}
        assert (await client.ask("GET", path)).status == 404
        assert (await client.ask("GET", f"{path}/input_items")).status == 404
        assert (await client.ask("DELETE", path)).status == 404


async def test_input_items_come_in_pages(http):
    client = await http()
    items = [{"role": "user", "content": f"{number}"} for number in range(5)]
    path = f"/v1/responses/{(await client.post(items)).json['id']}/input_items"

    async def texts(query):
        page = (await client.ask("GET", f"{path}?{query}")).json
        assert page["first_id"] == page["data"][0]["id"]
        assert page["last_id"] == page["data"][-1]["id"]
        return [item["content"][0]["text"] for item in page["data"]], page["has_more"], page["last_id"]

    newest, more, last_id = await texts("limit=2")
    assert (newest, more) == (["4", "3"], True)
    assert (await texts(f"limit=3&after={last_id}"))[:2] == (["2", "1", "0"], False)
    assert (await texts("order=asc"))[:2] == (["0", "1", "2", "3", "4"], False)
    assert (await client.ask("GET", f"{path}?order=asc&after={last_id}&limit=100")).json["data"][0][
        "content"
    ][0]["text"] == "4"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "after=msg_none"])
async def test_pages_that_are_none(http, query):
    client = await http()
    path = f"/v1/responses/{(await client.post('x')).json['id']}/input_items"

    answer = await client.ask("GET", f"{path}?{query}")

    assert (answer.status, answer.error["param"]) == (400, query.partition("=")[0])


async def test_input_items_have_all_their_fields(http):
    client = await http()
    items = [
        {"role": "assistant", "content": "I said"},
        {"type": "function_call", "id": "fc_mine", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
    ]
    path = f"/v1/responses/{(await client.post(items)).json['id']}/input_items?order=asc"

    message, call, output = (await client.ask("GET", path)).json["data"]

    assert message["content"] == [
        {"type": "output_text", "text": "I said", "annotations": [], "logprobs": []}
    ]
    assert (call["id"], call["status"]) == ("fc_mine", "completed")
    assert output["id"].startswith("fco_")


@pytest.mark.parametrize("depth", range(250, 255))
async def test_items_of_any_depth_are_shown_or_refused(http, depth):
    client = await http()
    deep = b"[" * depth + b"]" * depth
    body = b'{"model":"directive","input":[{"type":"odd","deep":%b}]}' % deep
    answer = await client.ask("POST", "/v1/responses", body=body)

    if answer.status == 200:
        shown = await client.ask("GET", f"/v1/responses/{answer.json['id']}/input_items")
        assert shown.status in (200, 500)
    else:
        assert (answer.status, answer.error["param"]) == (400, "input")
    assert (await client.ask("GET", "/healthz")).status == 200


async def test_a_compacted_conversation_is_a_new_beginning(http, connect):
    client = await http()
    first = (await client.post("one")).json

    compacted = await client.ask(
        "POST",
        "/v1/responses/compact",
        {"model": "directive", "previous_response_id": first["id"], "input": "two"},
    )

    body = compacted.json
    assert body["object"] == "response.compaction"
    *messages, item = body["output"]
    assert [message["content"][0]["text"] for message in messages] == ["one", "two"]
    assert (item["type"], isinstance(item["encrypted_content"], str)) == ("compaction", True)
    assert body["usage"]["input_tokens"] > 0
    assert (await client.post("x", previous_response_id=body["id"])).status == 400
    turn = await (await connect()).ask([*body["output"], {"role": "user", "content": "three"}])
    assert turn.text == "echo: three"


async def test_input_tokens_are_those_of_the_response(http):
    client = await http()
    fields = {"model": "directive", "input": "how much", "instructions": "Be brief.", "tools": [LOOK]}

    counted = (await client.ask("POST", "/v1/responses/input_tokens", fields)).json

    assert counted["object"] == "response.input_tokens"
    assert counted["input_tokens"] == (await client.post(**fields)).json["usage"]["input_tokens"]


# Faults.


async def test_an_error_before_the_first_event_is_the_answer(http):
    fault = ErrorEvent(
        status=429, code="rate_limit_exceeded", error_type="requests", headers={"retry-after": "7"}
    )
    client = await http(faults=[fault])

    for stream in (False, True):
        answer = await client.post("x", stream=stream)
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert (answer.error["code"], answer.error["type"]) == ("rate_limit_exceeded", "requests")


async def test_an_error_after_the_first_event_is_an_event(http):
    client = await http(faults=[ErrorEvent(3, code="server_error", message="Gone.")])

    answer = await client.post("x", stream=True)

    assert answer.status == 200
    assert answer.events[-1] == {
        "type": "error",
        "code": "server_error",
        "message": "Gone.",
        "param": None,
        "sequence_number": 3,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [Drop(3), Reset(3), Truncate(3)], ids=lambda fault: type(fault).__name__)
async def test_a_dropped_connection_ends_in_mid_answer(http, fault, stream):
    client = await http(faults=[fault])
    await client.send("POST", "/v1/responses", {"model": "directive", "input": "x", "stream": stream})

    received = b""
    while data := await client.stream.receive_some():
        received += data

    assert received.count(b"\r\n\r\n") == stream  # the head, or nothing
    assert received.count(b"event: ") == (3 + isinstance(fault, Truncate)) * stream
    assert not received.endswith(b"0\r\n\r\n")


async def test_a_stall_delays_the_answer(http, autojump_clock):
    client = await http(faults=[Stall(3, seconds=30)])

    for stream in (False, True):
        before = trio.current_time()
        assert (await client.post("x", stream=stream)).status == 200
        assert trio.current_time() - before == 30


async def test_a_client_that_leaves_ends_a_response_that_does_not(http, autojump_clock):
    client = await http(faults=[HalfOpen(2)])
    await client.send("POST", "/v1/responses", {"model": "directive", "input": "x", "stream": True})
    await client.head()

    await client.stream.send_stream.aclose()
    await trio.testing.wait_all_tasks_blocked()

    assert client.server.statistics().connections_now == 0


async def test_odd_records_reach_the_reader(http):
    client = await http(faults=[PingStorm(1, pings=3), Malformed(2, data=b"{one\ntwo")])

    content = (await client.post("x", stream=True)).content

    assert content.count(b": ping\n\n") == 3
    assert b"\n\ndata: {one\ndata: two\n\n" in content


async def test_an_inserted_event_is_no_event_of_the_response(http):
    client = await http(faults=[KeepAlive(2, times=2)])

    assert (await client.post("x", stream=True)).content.count(
        b'event: keepalive\ndata: {"type":"keepalive"}\n\n'
    ) == 2
    assert (await client.post("x")).json["status"] == "completed"


@pytest.mark.parametrize("status", [418, 599])
async def test_any_status_can_be_an_error(http, status):
    client = await http(faults=[ErrorEvent(status=status, code=None)])

    assert (await client.post("x")).status == status


class Struck:
    """Says when its connection ends, or its response."""

    name = "struck"

    def __init__(self, *steps) -> None:
        self.steps = steps

    def respond(self, request):
        yield Text("so")
        yield from self.steps


async def test_a_model_says_when_its_connection_ends(http):
    client = await http(model=Struck(Strike(Drop(1)), Text("a"), Text("b")))
    await client.send("POST", "/v1/responses", {"model": "struck", "stream": True})

    received = b""
    while data := await client.stream.receive_some():
        received += data

    assert received.count(b"event: response.output_text.delta") == 2


async def test_a_fault_of_a_model_does_not_reach_a_background_response(http):
    client = await http(model=Struck(Strike(Drop()), Text("a")))
    begun = (await client.post("x", model="struck", background=True)).json

    response = (await client.ask("GET", f"/v1/responses/{begun['id']}")).json

    assert response["output"][0]["content"][0]["text"] == "soa"


async def test_a_stream_that_breaks_by_itself(http):
    client = await http(model=Struck(StreamError("too_many_requests", "Slow down.", error_type="requests")))

    events = await client.post("x", model="struck", stream=True)
    whole = await client.post("x", model="struck")

    assert events.events[-1] == {
        "type": "error",
        "code": "too_many_requests",
        "message": "Slow down.",
        "param": None,
        "sequence_number": len(events.events) - 1,
    }
    assert (whole.status, whole.error["message"], whole.error["type"]) == (429, "Slow down.", "requests")


async def test_a_whole_answer_has_no_place_for_signs_of_life(http):
    client = await http(faults=[PingStorm(1)])

    assert (await client.post("x")).json["status"] == "completed"


async def test_an_event_left_out_is_not_sent_but_its_response_is_known(http):
    client = await http(faults=[Omit(before="response.completed", nth=1)])

    answer = await client.post("x", stream=True)

    assert answer.types[-1] == "output_item.done"
    assert (await client.post("y", previous_response_id=answer.events[0]["response"]["id"])).status == 200


async def test_a_response_without_any_event(http):
    client = await http(faults=[Omit(count=None)])

    assert (await client.post("x", stream=True)).content == b""
    assert (await client.post("x")).content == b""


async def test_the_store_is_bounded(http):
    client = await http(max_stored=2)

    for background in (False, True):
        ids = [(await client.post("x", background=background)).json["id"] for _ in range(3)]
        statuses = [(await client.ask("GET", f"/v1/responses/{an_id}")).status for an_id in ids]
        assert statuses == [404, 200, 200]


class Caller:
    name = "caller"

    def respond(self, request):
        yield FunctionCall("look", "{}")


async def test_a_malformed_answer_is_not_repaired(http):
    client = await http(model=Caller(), faults=[Malformed(before="response.completed", data=b"{nonsense")])

    assert (await client.post("x", model="caller")).content == b"{nonsense"
