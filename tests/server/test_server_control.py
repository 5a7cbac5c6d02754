"""`/_triplane/`: faults, journal and statistics for tests in any language."""

from __future__ import annotations

import attrs
import pytest
import trio
from http_client import HttpClient
from server_client import Closed, create

from triplane.server import Drop
from triplane.server.origin import Peer


@pytest.fixture
async def control(connect):
    """Make a client of one server; see `connect`. `control.socket()` gives a WebSocket to the same server."""

    async def control(**options) -> HttpClient:
        plain = await connect(upgrade=False, **options)
        client = HttpClient(plain.stream)
        client.server, client.socket = plain.server, connect
        return client

    return control


async def test_faults_are_set_seen_and_removed(control):
    client = await control()

    for given in (
        {"fault": "drop", "after_events": 1, "nth": 1},
        [{"fault": "close_socket", "code": 1012, "nth": 1}],
    ):
        assert (await client.ask("POST", "/_triplane/faults", given)).status == 200
    listed = (await client.ask("GET", "/_triplane/faults")).json

    assert listed == {
        "faults": [
            {"fault": "drop", "after_events": 1, "nth": 1},
            {"fault": "close_socket", "nth": 1, "code": 1012},
        ]
    }
    assert (await client.ask("DELETE", "/_triplane/faults")).json == {"faults": []}
    assert (await (await client.socket()).ask("x")).text == "echo: x"


async def test_a_fault_strikes_from_now_on(control):
    client = await control()
    socket = await client.socket()
    await socket.ask("before")

    await client.ask("POST", "/_triplane/faults", {"fault": "close_socket", "code": 1012, "nth": 1})

    await socket.send(create("after"))
    with pytest.raises(Closed) as caught:
        await socket.receive()
    assert caught.value.code == 1012


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ({"fault": "earthquake"}, "fault", "drop"),
        ({}, "fault", "There are"),
        ([{"fault": "drop"}, {"fault": "drop", "after": 1}], "[1].after", "after_events"),
        ({"fault": "drop", "after_events": "x"}, "after_events", "whole number"),
        ({"fault": "refuse_upgrade"}, "status", "needs"),
        ([1], "[0].fault", "object"),
    ],
)
async def test_what_is_no_fault_is_explained(control, given, param, words):
    client = await control()

    answer = await client.ask("POST", "/_triplane/faults", given)

    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "invalid_fault", param)
    assert words in answer.error["message"]
    # None of them is set.
    assert (await client.ask("GET", "/_triplane/faults")).json == {"faults": []}


async def test_the_journal_can_be_followed(control):
    client = await control()
    await (await client.socket()).ask("x")
    await (await client.socket()).ask("y")

    first = (await client.ask("GET", "/_triplane/journal?limit=3")).json
    rest = (await client.ask("GET", f"/_triplane/journal?after={first['last']}")).json
    one = (await client.ask("GET", "/_triplane/journal?connection=3")).json
    none = (await client.ask("GET", f"/_triplane/journal?after={rest['last']}")).json

    assert [entry["kind"] for entry in first["entries"]] == ["upgrade", "upgrade", "message"]
    assert first["entries"][2]["json"] == create("x")
    assert (first["last"], first["has_more"], rest["has_more"], rest["dropped"]) == (3, True, False, 0)
    assert [entry["number"] for entry in rest["entries"]] == list(range(4, rest["last"] + 1))
    assert {entry["connection"] for entry in one["entries"]} == {3}
    assert one["entries"][2]["json"] == create("y")
    assert (none["entries"], none["last"]) == ([], rest["last"])


async def test_what_is_nested_too_deeply_is_shown_as_text(control):
    client = await control()
    message = b'{"type":"response.create","input":' + b"[" * 500 + b"]" * 500 + b"}"
    socket = await client.socket()
    await socket.send(message.decode())
    await socket.turn()

    entries = (await client.ask("GET", "/_triplane/journal")).json["entries"]
    faults = await client.ask(
        "POST", "/_triplane/faults", body=b'{"fault":"insert","event":{"x":' + b"[" * 500 + b"]" * 500 + b"}}"
    )

    assert entries[2]["text"] == message.decode()
    assert (faults.status, faults.error["code"]) == (400, "invalid_fault")
    assert client.server.faults.faults == ()


async def test_looking_leaves_no_trace(control):
    client = await control()

    await client.ask("GET", "/_triplane/journal")
    await client.ask("GET", "/_triplane/nothing")

    assert (await client.ask("GET", "/_triplane/journal")).json["entries"] == []


async def test_a_cleared_journal_goes_on_counting(control):
    client = await control()
    await (await client.socket()).ask("x")
    last = client.server.journal.entries[-1].number

    assert (await client.ask("DELETE", "/_triplane/journal")).status == 200
    await client.ask("GET", "/healthz")

    assert [entry["number"] for entry in (await client.ask("GET", "/_triplane/journal")).json["entries"]] == [
        last + 1,
        last + 2,
    ]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "connection=one", "limit=1.5", "after=" + "9" * 50])
async def test_queries_that_are_none(control, query):
    answer = await (await control()).ask("GET", f"/_triplane/journal?{query}")

    assert (answer.status, answer.error["param"]) == (400, query.partition("=")[0])


async def test_statistics(control):
    client = await control()
    await (await client.socket()).ask("x")

    statistics = (await client.ask("GET", "/_triplane/statistics")).json

    assert statistics == attrs.asdict(client.server.statistics())
    assert statistics["turns"] == 1


async def test_a_reset_server_is_like_a_new_one(control):
    client = await control(faults=[Drop(5, nth=2)])
    socket = await client.socket()
    stored = await socket.ask("x", store=True)
    await client.ask("POST", "/_triplane/faults", {"fault": "stall"})

    statistics = (await client.ask("POST", "/_triplane/reset")).json

    assert (statistics["turns"], statistics["responses_stored"], statistics["connections_now"]) == (0, 0, 2)
    assert (await client.ask("GET", "/_triplane/faults")).json == {
        "faults": [{"fault": "drop", "after_events": 5, "nth": 2}]
    }
    assert client.server.requests == []
    answer = await client.post("y", previous_response_id=stored.id)
    assert answer.error["code"] == "previous_response_not_found"
    # And the second response from now on is dropped.
    await socket.ask("one")
    await socket.send(create("two"))
    with pytest.raises(Closed):
        await socket.turn()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_triplane", 404),
        ("GET", "/_triplane/", 404),
        ("GET", "/_triplane/nothing", 404),
        ("GET", "/_triplane/faults/1", 404),
        ("GET", "/v1/_triplane/faults", 200),
        ("PUT", "/_triplane/faults", 405),
        ("GET", "/_triplane/reset", 405),
    ],
)
async def test_what_there_is(control, method, path, status):
    assert (await (await control()).ask(method, path)).status == status


async def test_it_can_be_turned_off(control):
    client = await control(control=False)

    answer = await client.ask("GET", "/_triplane/statistics")

    assert answer.status == 404
    assert "_triplane/" not in answer.error["message"].partition("There are")[2]


@pytest.mark.parametrize(
    ("address", "key", "allowed"),
    [
        (None, None, True),
        ("127.0.0.1", None, True),
        ("::1", None, True),
        ("192.168.1.9", None, False),
        ("192.168.1.9", "Bearer sk-1", True),
        ("192.168.1.9", "Bearer sk-2", False),
        ("", None, False),
    ],
)
async def test_other_machines_need_the_key(control, monkeypatch, address, key, allowed):
    client = await control(api_key="sk-1")
    monkeypatch.setattr(Peer, "of", lambda _stream: Peer(address, None))
    other = await control()

    answer = await other.ask("GET", "/_triplane/statistics", **({"Authorization": key} if key else {}))

    assert answer.status == (200 if allowed else 403)
    assert client.server is other.server


async def test_without_a_key_other_machines_are_kept_out(control, monkeypatch):
    monkeypatch.setattr(Peer, "of", lambda _stream: Peer("192.168.1.9", None))

    answer = await (await control()).ask("GET", "/_triplane/statistics", Authorization="Bearer")

    assert (answer.status, answer.error["code"]) == (403, "control_not_allowed")


async def test_over_a_real_socket(listening):
    async with listening() as handle, await trio.open_tcp_stream(handle.host, handle.port) as stream:
        assert (await HttpClient(stream).ask("GET", "/_triplane/faults")).json == {"faults": []}
        assert handle.requests == []
        assert len(handle.journal) == 0
