"""The journal: every frame in and out, and the requests that can be read off it."""

from __future__ import annotations

import orjson
import pytest
import trio
import trio.testing
from http_client import HttpClient
from server_client import Closed, create

from triplane.server import RefuseUpgrade
from triplane.server.faults.catalogue import CloseSocket, Drop, ErrorEvent, Malformed
from triplane.server.journal import Journal
from triplane.server.redaction import hide_fields, hide_headers, hide_target


def kinds(server):
    return [(entry.direction, entry.kind) for entry in server.journal.entries]


async def test_every_frame_of_a_socket_is_in_the_journal(connect):
    client = await connect()
    turn = await client.ask("hello")
    await client.send("nonsense")
    error = await client.turn()
    await client.close(4000)
    await trio.testing.wait_all_tasks_blocked()

    upgrade, accepted, asked, *answered, nonsense, refused, close = client.server.journal.entries

    assert (upgrade.kind, upgrade.direction, upgrade.fields["target"]) == ("upgrade", "in", "/v1/responses")
    assert (accepted.kind, accepted.direction, accepted.fields["status"]) == ("upgrade", "out", 101)
    assert (asked.direction, asked.json) == ("in", create("hello"))
    assert [entry.json for entry in answered] == turn.events
    assert {(entry.direction, entry.kind) for entry in answered} == {("out", "message")}
    assert (nonsense.json, nonsense.text, nonsense.size) == (None, "nonsense", 8)
    assert refused.json == error.last
    assert (close.direction, close.kind, close.fields) == ("in", "close", {"code": 4000, "reason": ""})
    assert {entry.connection for entry in client.server.journal.entries} == {1}
    assert [entry.number for entry in client.server.journal.entries] == list(range(1, len(answered) + 7))


async def test_what_is_on_its_way_is_in_the_journal_already(connect):
    client = await connect()
    await client.send(create("hello"))

    event = await client.receive()

    assert client.server.journal.entries[3].json == event


async def test_every_request_over_http_is_in_the_journal(connect):
    client = await connect(upgrade=False)
    http = HttpClient(client.stream)
    body = {"model": "directive", "input": "x"}
    whole = await http.ask("POST", "/v1/responses", body)
    events = await http.ask("POST", "/v1/responses", {**body, "stream": True})
    refused = await http.ask("POST", "/v1/responses", body=b"{")

    asked, answered, asked_again, head, *sent, asked_badly, answer = client.server.journal.entries

    assert (asked.kind, asked.json, asked.fields["method"]) == ("request", body, "POST")
    assert (answered.kind, answered.json, answered.fields["status"]) == ("answer", whole.json, 200)
    assert answered.size == len(whole.content)
    assert asked_again.json["stream"] is True
    assert (head.kind, head.json, head.fields["status"]) == ("answer", None, 200)
    assert ([entry.json for entry in sent], {entry.kind for entry in sent}) == (events.events, {"event"})
    assert (asked_badly.text, answer.json) == ("{", refused.json)


async def test_entries_have_the_time_of_the_server(connect, autojump_clock):
    client = await connect(delta_delay=10)
    await client.ask("SAY 1 x")

    first, *_, last = client.server.journal.entries

    assert (first.time, last.time) == (1_800_000_000, 1_800_000_010)


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (CloseSocket(1, code=1012), {"code": 1012, "reason": ""}),
        (Drop(1), {"code": None, "reason": ""}),
    ],
)
async def test_the_server_s_own_end_of_a_socket(connect, fault, end):
    client = await connect(faults=[fault])
    await client.send(create("x"))
    with pytest.raises(Closed):
        while True:
            await client.receive()
    await trio.testing.wait_all_tasks_blocked()

    last = client.server.journal.entries[-1]

    assert (last.kind, last.direction, last.fields) == ("close", "out", end)


async def test_a_client_that_vanishes(connect):
    client = await connect()
    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()

    last = client.server.journal.entries[-1]

    assert (last.kind, last.direction, last.fields["code"]) == ("close", "in", None)


async def test_a_refused_upgrade(connect):
    with pytest.raises(Exception, match="503"):
        await connect(faults=[RefuseUpgrade(503, nth=1)])
    client = await connect()

    _, refused, *_ = client.server.journal.entries

    assert refused.fields == {"fault": {"fault": "refuse_upgrade", "status": 503, "nth": 1}}


# No secrets.


async def test_no_key_is_ever_in_the_journal(connect):
    secret = "sk-very-secret"
    bearer = {"Authorization": f"Bearer {secret}"}
    client = await connect(api_key=secret, headers={**bearer, "Sec-WebSocket-Protocol": f"key.{secret}"})
    tool = {
        "type": "mcp",
        "server_label": "x",
        "authorization": "other-secret",
        "headers": {"X-Api-Key": "other-secret"},
    }
    await client.ask("x", tools=[tool])
    await client.send(f"what is {secret}")
    await client.turn()
    http = HttpClient((await connect(upgrade=False)).stream)
    await http.ask("POST", f"/v1/responses?api_key={secret}&x=1", body=b"%b" % secret.encode(), **bearer)

    entries = client.server.journal.entries
    shown = (
        repr(entries)
        + repr([entry.shown() for entry in entries])
        + repr([entry.text for entry in entries[2:3]])
    )
    requests = repr([(request.headers, request.json) for request in client.server.requests])

    assert secret not in shown + requests
    assert "other-secret" not in repr([entry.shown() for entry in entries]) + requests
    assert "Authorization" not in shown
    assert entries[2].json["tools"][0]["authorization"] == "[hidden]"


def test_headers_that_hold_secrets_are_left_out():
    headers = dict.fromkeys(
        ("Authorization", "Cookie", "Set-Cookie", "X-API-Key", "api_key", "X-Auth-Token"), "x"
    )

    assert hide_headers([*headers.items(), ("User-Agent", "me")]) == {"user-agent": "me"}


def test_parameters_that_hold_secrets_are_hidden():
    assert hide_target("/a?model=m&api_key=s&access_token=s#x") == (
        "/a?model=m&api_key=%5Bhidden%5D&access_token=%5Bhidden%5D#x"
    )
    assert hide_target("/a/b?key=") == "/a/b?key=%5Bhidden%5D"


def test_fields_that_hold_secrets_are_hidden():
    value = [
        {"Authorization": "s", "headers": {"x-api-key": "s", "other": "o"}, "n": [[{"password": "s"}]]},
        1,
        "s",
    ]

    assert hide_fields(value) == [
        {
            "Authorization": "[hidden]",
            "headers": {"x-api-key": "[hidden]", "other": "o"},
            "n": [[{"password": "[hidden]"}]],
        },
        1,
        "s",
    ]


def test_the_key_is_hidden_however_it_is_written():
    journal = Journal(10_000, lambda: 0.0, secret="sk-ö")
    journal.recorder(1).received('{"a": ["is sk-\\u00f6", 5], "b": {"c": "sk-ö"}}')

    assert journal.entries[0].json == {"a": ["is [hidden]", 5], "b": {"c": "[hidden]"}}
    assert "sk-ö" not in journal.entries[0].text


def test_json_may_be_nested_deeply():
    journal = Journal(10_000, lambda: 0.0)
    journal.recorder(1).received("[" * 1000 + '{"authorization":"s"}' + "]" * 1000)

    innermost = journal.entries[0].json
    while isinstance(innermost, list):
        (innermost,) = innermost
    assert innermost == {"authorization": "[hidden]"}


# Bounds.


def test_the_oldest_entries_go_first():
    journal = Journal(10_000, lambda: 0.0)
    recorder = journal.recorder(1)
    for _ in range(100):
        recorder.received("x" * 244)

    assert len(journal) == 20
    assert journal.dropped == 80
    assert [entry.number for entry in journal.entries] == list(range(81, 101))
    recorder.received("x" * 20_000)
    assert (len(journal), journal.dropped) == (0, 101)


def test_characters_of_several_bytes_count_as_such():
    journal = Journal(10_000, lambda: 0.0)
    journal.recorder(1).received("ä€")

    assert journal.entries[0].size == 5


async def test_a_journal_that_is_off(connect):
    client = await connect(max_journal=0)
    await client.ask("x")
    await HttpClient((await connect(upgrade=False)).stream).post("x")

    assert client.server.journal.entries == ()
    assert client.server.requests == []
    assert client.server.journal.recorder(1) is None


def test_entries_are_followed_by_number():
    journal = Journal(10_000, lambda: 0.0)
    for connection in (1, 2, 1, 2):
        journal.recorder(connection).received("x")

    assert [entry.number for entry in journal.after(2)] == [3, 4]
    assert [entry.number for entry in journal.after(0, connection=2)] == [2, 4]
    assert journal.after(4) == []
    journal.clear()
    journal.recorder(1).received("x")
    assert [entry.number for entry in journal.after(0)] == [5]


# Requests.


async def test_requests_of_both_transports_come_in_order(connect):
    socket = await connect(headers={"User-Agent": "mine"})
    http = HttpClient((await connect(upgrade=False)).stream)
    turn = await socket.ask("one")
    whole = await http.post("two", stream_options=None)
    stream = await http.post("three", stream=True)
    await http.ask("GET", "/v1/models")
    compacted = await http.ask("POST", "/v1/responses/compact", {"model": "directive", "input": "four"})

    one, two, three, four = socket.server.requests

    assert [request.transport for request in (one, two, three, four)] == ["websocket", "http", "http", "http"]
    assert [request.json["input"] for request in (one, two, three, four)] == ["one", "two", "three", "four"]
    assert [request.kind for request in (one, two, three)] == ["response.create"] * 3
    assert four.kind == "POST /v1/responses/compact"
    assert one.headers["user-agent"] == "mine"
    assert (one.events, one.response, one.response_id) == (turn.events, turn.response, turn.id)
    assert (two.status, two.events, two.response) == (200, [], whole.json)
    assert (three.status, three.events, three.response_id) == (
        200,
        stream.events,
        stream.events[0]["response"]["id"],
    )
    assert (four.response, four.status) == (None, compacted.status)
    assert all(request.ended and request.error is None for request in (one, two, three, four))


async def test_a_request_without_its_answer_has_not_ended(connect, autojump_clock):
    client = await connect(latency=10, delta_delay=10)
    await client.send(create("SAY 1 x"))
    await trio.testing.wait_all_tasks_blocked()

    (request,) = client.server.requests
    assert (request.ended, request.events, request.response_id) == (False, [], None)
    await client.receive()

    (request,) = client.server.requests
    assert (request.ended, request.response["status"]) == (False, "in_progress")


async def test_events_answer_the_request_of_their_lane(connect, autojump_clock):
    client = await connect(delta_delay=1)
    for lane, text in (("a", "SAY 3 x"), ("b", "SAY 2 y"), ("a", "SAY 1 z"), (None, "SAY 1 w")):
        await client.send(create(text, **({"stream_id": lane} if lane else {})))
    seen = [await client.receive() for _ in range(4 * 8 + 7)]

    requests = client.server.requests

    assert [request.lane for request in requests] == ["a", "b", "a", None]
    texts = [request.response["output"][0]["content"][0]["text"] for request in requests]
    assert texts == ["xxx", "yy", "z", "w"]
    assert sum(len(request.events) for request in requests) == len(seen)


async def test_errors_answer_the_request_that_they_are_about(connect):
    client = await connect(model="directive", faults=[ErrorEvent(3, shape="no_status", nth=2)])
    await client.send(create("one"))
    await client.send("nonsense")
    await client.send(create("two", stream_id="no lane"))
    await client.send(create("three", previous_response_id="resp_none"))
    await client.send(create("four"))
    for _ in range(5):
        await client.turn()

    codes = [request.error and request.error["code"] for request in client.server.requests]

    assert codes == [None, "invalid_json", "invalid_stream_id", "previous_response_not_found", "server_error"]
    assert all(request.ended for request in client.server.requests)
    assert len(client.server.requests[4].events) == 4


async def test_a_steer_is_answered_by_the_response_that_follows(connect, autojump_clock):
    client = await connect()
    await client.send(create("SAY 3 a\nWAIT 60000\nSAY 3 b", stream_id="a"))
    response_id = (await client.receive())["response"]["id"]
    await client.steer(response_id, "SAY 1 new")
    await client.steer("resp_none", "x")
    kinds = [(await client.receive())["type"] for _ in range(8)]
    while kinds[-1] != "response.completed":
        kinds.append((await client.receive())["type"])

    asked, steer, stray = client.server.requests

    assert (asked.kind, asked.response_id, asked.response["status"]) == (
        "response.create",
        response_id,
        "incomplete",
    )
    assert (steer.kind, steer.events[0]["type"]) == ("response.steer", "response.steer.accepted")
    assert steer.response["previous_response_id"] == response_id
    assert (steer.response["status"], steer.ended) == ("completed", True)
    assert stray.error["code"] == "response_not_found"
    assert stray.ended


async def test_an_injection_is_answered_by_its_acknowledgement(connect, autojump_clock):
    client = await connect(headers={"OpenAI_Beta": "responses_multi_agent=v1"})
    await client.send(create("CALL look {}", multi_agent={"enabled": True}))
    while (event := await client.receive())["type"] != "response.output_item.done":
        pass
    output = {"type": "function_call_output", "call_id": event["item"]["call_id"], "output": "seen"}
    response_id = client.server.requests[0].response_id
    await client.send({"type": "response.inject", "response_id": response_id, "input": [output]})
    while (await client.receive())["type"] != "response.completed":
        pass

    asked, injected = client.server.requests

    assert (asked.ended, asked.response["status"]) == (True, "completed")
    assert [event["type"] for event in injected.events] == ["response.inject.created"]
    assert injected.ended


async def test_an_error_of_the_connection_answers_nothing(connect, autojump_clock):
    client = await connect(max_age=10)
    await client.ask("x")
    await client.receive()

    (request,) = client.server.requests

    assert request.error is None


async def test_a_create_that_is_refused_at_once_leaves_the_others_alone(connect, autojump_clock):
    client = await connect(mode="rejecting", latency=10)
    await client.send(create("one"))
    await client.send(create("two"))
    for _ in range(2):
        await client.turn()

    one, two = client.server.requests

    assert (one.error, one.response["status"]) == (None, "completed")
    assert (two.error["code"], two.response) == ("concurrent_request", None)


async def test_a_failed_response_is_the_request_s_error(connect):
    class Broken:
        name = "broken"

        def respond(self, request):
            raise ValueError

    client = await connect(model=Broken())
    await client.ask("x", model="broken")

    (request,) = client.server.requests

    assert (request.error["code"], request.response["status"], request.ended) == (
        "server_error",
        "failed",
        True,
    )


async def test_an_error_over_http_is_the_request_s_error(connect):
    http = HttpClient((client := await connect(upgrade=False, faults=[ErrorEvent(2)])).stream)
    await http.post("x", stream=True)
    await http.post("x", model=None)

    errors = [(request.error["code"], request.status) for request in client.server.requests]

    assert errors == [("server_error", 200), ("missing_required_parameter", 400)]


async def test_what_cannot_be_parsed_answers_nothing(connect):
    client = await connect(faults=[Malformed(1)])
    await client.send(create("x"))
    await client.receive()
    await trio.testing.wait_all_tasks_blocked()

    (request,) = client.server.requests

    assert request.events[0]["type"] == "response.created"
    assert request.ended


async def test_requests_go_with_their_journal(connect):
    client = await connect()
    await client.ask("x")

    client.server.journal.clear()
    turn = await client.ask("y")

    (request,) = client.server.requests
    assert (request.json["input"], request.events, request.headers) == ("y", turn.events, {})


async def test_a_large_message_is_kept_whole_or_not_at_all(connect):
    client = await connect(max_journal=50_000)
    await client.ask("x" * 100_000)

    assert client.server.journal.dropped > 0
    assert all(entry.size < 50_000 for entry in client.server.journal.entries)
    assert all(orjson.loads(entry.text) for entry in client.server.journal.entries if entry.kind == "message")
