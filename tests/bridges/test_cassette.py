"""Recording the local server through the proxy, and replaying it."""

from __future__ import annotations

import json

import pytest
import trio

from triplane.bridges.cassette import CassetteDrift, CassetteError, Redaction, record, replay
from triplane.server import Drop, RefuseUpgrade


async def lines(path):
    return [json.loads(line) for line in (await trio.Path(path).read_text()).splitlines()]


async def test_a_websocket_says_the_same_again(recorded, tape, talk):
    async def play(server):
        async with talk(server) as client:
            first = await client.ask("SAY 3 hm ")
            second = await client.ask("again", previous_response_id=first[-1]["response"]["id"])
            failed = await client.ask("x", previous_response_id="resp_unknown")
        return first, second, failed

    live = await recorded(play)
    async with replay(tape) as player:
        replayed = await play(player)

    assert replayed == live
    assert live[2][-1]["error"]["code"] == "previous_response_not_found"


async def test_a_recording_replays_twice(recorded, tape, talk):
    async def play(server):
        async with talk(server) as client:
            return await client.ask("SAY 3 hm ")

    live = await recorded(play)
    for _ in range(2):
        async with replay(tape) as player:
            assert await play(player) == live


async def test_http_says_the_same_again(recorded, tape, http):
    async def play(server):
        answers = [
            await http.get(f"{server.base_url}/models"),
            await http.get(f"{server.base_url}/no-such-thing"),
            await http.post(f"{server.base_url}/nothing", json={"a": [1, 2.5, None]}),
        ]
        return [(answer.status_code, answer.headers["content-type"], answer.json()) for answer in answers]

    live = await recorded(play)
    async with replay(tape) as player:
        assert await play(player) == live
    assert [status for status, _, _ in live] == [200, 404, 404]


async def test_a_refused_upgrade_is_refused_again(recorded, tape, http):
    async def play(server):
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        answer = await http.get(f"{server.base_url}/responses", headers=upgrade)
        return answer.status_code, answer.headers["retry-after"], answer.json()

    live = await recorded(play, faults=[RefuseUpgrade(429, {"Retry-After": "3"})])
    async with replay(tape) as player:
        assert await play(player) == live
    assert live[:2] == (429, "3")


async def test_a_lost_connection_is_lost_again_at_the_same_event(recorded, tape, talk):
    async def play(server):
        async with talk(server) as client:
            await client.send("SAY 3 hm ")
            events = [await client.receive() for _ in range(4)]
            end = await client.closed()
        return events, end

    live = await recorded(play, faults=[Drop(after_events=4, nth=1)])
    async with replay(tape) as player:
        assert await play(player) == live
    assert live[1] == (None, None)


async def test_a_closed_socket_is_closed_again_with_the_same_code(recorded, tape, talk):
    async def play(server):
        async with talk(server) as client:
            await client.send_raw(b"\x00\x01")
            first = await client.receive()
            await client.send_raw("x" * 2000)
            return first, await client.closed()

    live = await recorded(play, max_message_size=1000)
    async with replay(tape) as player:
        assert await play(player) == live
    assert live[1][0] == 1009


async def test_lanes_keep_their_answers_whatever_order_they_ask_in(recorded, tape, talk):
    """What one lane is told never depends on another's request being first."""

    async def play(server, *, order):
        async with talk(server) as client:
            for lane in order:
                await client.send(f"SAY 2 {lane}", stream_id=lane)
            seen = {"a": [], "b": []}
            while not all(events and events[-1]["type"] == "response.completed" for events in seen.values()):
                event = await client.receive()
                seen[event["stream_id"]].append(event)
            return seen

    live = await recorded(lambda server: play(server, order="ab"))
    async with replay(tape) as player:
        assert await play(player, order="ba") == live


async def test_several_sockets_may_speak_in_any_order(recorded, tape, talk, http):
    async def play(server, order):
        async with talk(server) as one, talk(server) as other:
            refused = await http.get(f"{server.base_url}/responses", headers=UPGRADE)
            clients = {"one": one, "other": other}
            answers = {name: await clients[name].ask(name) for name in order}
        return refused.status_code, answers

    live = await recorded(lambda server: play(server, ["one", "other"]), faults=[RefuseUpgrade(503, nth=3)])
    async with replay(tape) as player:
        assert await play(player, ["other", "one"]) == live
    assert live[0] == 503


async def test_nothing_is_said_before_it_is_asked_for(recorded, tape, talk):
    async def play(server):
        async with talk(server) as client:
            await client.ask("one")
            with trio.move_on_after(0.05) as quiet:
                await client.receive()
            await client.ask("two")
            return quiet.cancelled_caught

    assert await recorded(play)
    async with replay(tape) as player:
        assert await play(player)


async def test_what_differs_is_told_to_the_client_and_fails_the_replay(recorded, tape, talk):
    async def play(server, text):
        async with talk(server) as client:
            return await client.ask(text, metadata={"run": text})

    await recorded(lambda server: play(server, "hello"))
    with pytest.raises(CassetteDrift) as caught:
        async with replay(tape) as player:
            (event,) = await play(player, "good-bye")

    assert (event["status"], event["error"]["code"]) == (400, "cassette_drift")
    words = 'input: recorded "hello", now "good-bye"'
    assert words in event["error"]["message"]
    assert words in str(caught.value)
    assert 'metadata.run: recorded "hello", now "good-bye"' in str(caught.value)
    assert str(tape) in str(caught.value)


async def test_what_is_ignored_may_differ(recorded, tape, talk):
    async def play(server, run):
        async with talk(server) as client:
            return await client.ask("hello", metadata={"run": run, "id": [{"x": run}]})

    live = await recorded(lambda server: play(server, "1"), strict_models=False)
    async with replay(tape, ignore=["metadata"]) as player:
        await play(player, "2")
    assert live[0]["type"] == "error"  # metadata hold strings, and the server said so
    with pytest.raises(CassetteDrift, match=r"metadata\.run: .*"):
        async with replay(tape, ignore=["metadata.id[*].x"]) as player:
            await play(player, "2")


async def test_what_was_not_asked_for_fails_the_replay(recorded, tape, talk, http):
    async def play(server, turns=2):
        async with talk(server) as client:
            for _ in range(turns):
                await client.ask("hello")

    await recorded(play)
    with pytest.raises(CassetteDrift, match="messages of the WebSocket to /v1/responses .* were not played"):
        async with replay(tape) as player:
            await play(player, turns=1)
    with pytest.raises(CassetteDrift, match="the WebSocket to /v1/responses .* was not asked for"):
        async with replay(tape):
            pass
    async with replay(tape, strict=False) as player:
        assert player.unused
    with pytest.raises(CassetteDrift, match="no further message"):
        async with replay(tape) as player:
            await play(player, turns=3)
    with pytest.raises(CassetteDrift, match="GET /v1/models was not recorded"):
        async with replay(tape, strict=False) as player:
            assert (await http.get(f"{player.base_url}/models")).status_code == 400
    with pytest.raises(CassetteDrift, match="a WebSocket to /v1/responses/other was not recorded"):
        async with replay(tape, strict=False) as player:
            await http.get(f"{player.base_url}/responses/other", headers=UPGRADE)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def test_an_error_of_the_block_gets_the_drift_as_a_note(recorded, tape, talk):
    async def play(server, text="hello"):
        async with talk(server) as client:
            return await client.ask(text)

    await recorded(play)
    with pytest.raises(KeyError, match="mine") as caught:
        async with replay(tape) as player:
            await play(player, "otherwise")
            raise KeyError("mine")
    assert "otherwise" in caught.value.__notes__[0]


async def test_secrets_are_not_recorded(recorded, tape, talk, http):
    key = "this-is-the-key-and-nobody-may-see-it"
    tool = {
        "type": "mcp",
        "server_label": "s",
        "server_url": "http://x",
        "authorization": "short",
        "headers": {"X-Api-Key": "k"},
    }

    async def play(server):
        async with talk(server, key=key, openai_organization="org-1234", x_custom="private") as client:
            events = await client.ask(
                f"is {key} my key, or sk-proj-ABCDEFGHIJKLMNOPQRST, private?",
                tools=[tool],
                metadata={"customer": "Ada"},
            )
        async with http.stream(
            "GET",
            f"{server.base_url}/models?key={key}",
            headers={"Authorization": f"Bearer {key}", "Cookie": "a=b"},
        ) as answer:
            await answer.aread()
        return events

    redaction = Redaction(
        headers=["X-Custom"], fields=["customer"], hook=lambda value: {**value, "hooked": True}
    )
    await recorded(play, redaction=redaction)
    text = await trio.Path(tape).read_text()

    assert [] == [
        word
        for word in (key, "ABCDEFGHIJ", "org-1234", "short", '"k"', "Ada", "a=b", '"private"')
        if word in text
    ]
    assert '"hooked":true' in text
    async with replay(tape, redaction=redaction) as player:
        await play(player)


async def test_a_replay_may_have_another_key(recorded, tape, talk):
    async def play(server, key):
        async with talk(server, key=key) as client:
            return await client.ask(f"my key is {key}")

    await recorded(lambda server: play(server, "sk-one-key-of-some-length"))
    async with replay(tape) as player:
        await play(player, "sk-another-key-of-some-length")


async def test_the_original_timing_and_a_scaled_one(recorded, tape, talk):
    async def play(server):
        times = [trio.current_time()]
        async with talk(server) as client:
            await client.ask("WAIT 200\nSAY 1 hm")
            times.append(trio.current_time())
        return times[1] - times[0]

    await recorded(play)
    async with replay(tape, speed=1) as player:
        assert await play(player) > 0.19
    async with replay(tape, speed=10) as player:
        assert 0.019 < await play(player) < 0.19
    async with replay(tape) as player:
        assert await play(player) < 0.15
    with pytest.raises(CassetteError, match="speed"):
        async with replay(tape, speed=0):
            pass


async def test_an_upstream_that_is_not_there_fails_the_recording(tape, http, talk):
    tape.parent.mkdir()
    tape.write_text("what was there")
    with pytest.raises(CassetteError, match=r"not whole.*127\.0\.0\.1:9/v1/models"):
        async with record(tape, upstream="http://127.0.0.1:9/v1") as proxy:
            answer = await http.get(f"{proxy.base_url}/models")
            assert answer.status_code == 502
            answer = await http.get(f"{proxy.base_url}/responses", headers=UPGRADE)
            assert answer.status_code == 502
    assert tape.read_text() == "what was there"
    assert [path.name for path in tape.parent.iterdir()] == [tape.name]


async def test_a_recording_that_raises_leaves_the_file_that_was_there(tape, upstream, talk):
    server = await upstream()
    with pytest.raises(ValueError, match="mine"):
        async with record(tape, upstream=server.http_url) as proxy:
            async with talk(proxy) as client:
                await client.ask()
            raise ValueError("mine")
    assert list(tape.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no cassette"),
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"triplane_cassette": 2}', "not a cassette of version 1: its first line says 2"),
        ('{"triplane_cassette": 1}\nx', "line 2 is not JSON"),
        ('{"triplane_cassette": 1}\n\n{"at": 1, "channel": 1}', "line 3: 'kind' is missing"),
        ('{"triplane_cassette": 1}\n{"at": 1, "channel": 1, "kind": "odd"}', "line 2: a line of kind 'odd'"),
        (
            '{"triplane_cassette": 1}\n{"at": 1, "channel": 1, "kind": "sent", "by": "server"}',
            "nothing was sent",
        ),
        (
            '{"triplane_cassette": 1}\n{"at": 1, "channel": 1, "kind": "ended", "by": "server"}',
            "has not begun",
        ),
    ],
)
async def test_what_is_no_cassette_is_refused_with_its_line(tmp_path, text, words):
    path = tmp_path / "c.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CassetteError, match=words):
        async with replay(path):
            pass


async def test_upstream_is_a_base_url(tape):
    with pytest.raises(CassetteError, match="base URL"):
        async with record(tape, upstream="wss://api.openai.com/v1/responses"):
            pass
