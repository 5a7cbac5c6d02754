"""Recording endpoints that behave oddly, played by hand on a socket."""

from __future__ import annotations

import json

import httpx2
import pytest
import trio

from triplane.bridges.cassette import CassetteError, read_tape, record, replay

SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n"
BLOCKS = (
    b'event: response.created\ndata: {"type":"response.created","n":1}\n\n',
    b'data: {"n":2}\n\n',
    b": a comment\n\n",
    b"data: [DONE]\n\n",
)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
async def odd(nursery):
    """An endpoint that reads one request and then does what it is told; returns its base URL."""

    async def odd(answer):
        async def handle(stream):
            async with stream:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += await stream.receive_some()
                await answer(stream)

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        return f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"

    yield odd
    nursery.cancel_scope.cancel()


async def test_server_sent_events_are_recorded_one_by_one_however_they_were_cut(odd, tape, http):
    async def answer(stream):
        whole = b"".join(BLOCKS)
        await stream.send_all(
            SSE + chunk(whole[:20]) + chunk(whole[20:70]) + chunk(whole[70:]) + b"0\r\n\r\n"
        )

    async with record(tape, upstream=await odd(answer)) as proxy:
        live = await http.get(f"{proxy.base_url}/responses")
    async with replay(tape) as player:
        replayed = await http.get(f"{player.base_url}/responses")

    assert live.content == replayed.content == b"".join(BLOCKS)
    (channel,) = read_tape(tape).channels
    assert [sent.content.to_tape() for _, sent in channel.sent] == [
        {"sse": "response.created", "json": {"type": "response.created", "n": 1}},
        {"sse": None, "json": {"n": 2}},
        {"text": ": a comment\n\n"},
        {"text": "data: [DONE]\n\n"},
    ]
    assert channel.answered.headers["set-cookie"] == "[redacted]"


async def until_it_breaks(http, server) -> bytes:
    """What comes of an answer that is cut short."""
    seen = b""
    with pytest.raises(httpx2.RemoteProtocolError):
        async with http.stream("GET", f"{server.base_url}/responses") as answer:
            async for data in answer.aiter_raw():
                seen += data
    return seen


async def test_an_answer_that_was_cut_short_is_cut_short_again(odd, tape, http):
    async def answer(stream):
        await stream.send_all(SSE + chunk(BLOCKS[0]))

    async with record(tape, upstream=await odd(answer)) as proxy:
        assert await until_it_breaks(http, proxy) == BLOCKS[0]
    assert read_tape(tape).channels[0].ended.by == "network"
    async with replay(tape) as player:
        assert await until_it_breaks(http, player) == BLOCKS[0]


async def test_what_came_of_a_body_that_was_cut_short_comes_again(odd, tape, http):
    async def answer(stream):
        await stream.send_all(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"half":')

    async with record(tape, upstream=await odd(answer)) as proxy:
        assert await until_it_breaks(http, proxy) == b'{"half":'
    async with replay(tape) as player:
        assert await until_it_breaks(http, player) == b'{"half":'


async def test_a_client_that_goes_away_ends_the_request_upstream(odd, tape):
    gone = trio.Event()

    async def answer(stream):
        await stream.send_all(SSE + chunk(BLOCKS[0]))
        assert await stream.receive_some() == b""
        gone.set()

    async def play(server):
        seen = b""
        async with await trio.open_tcp_stream(server.address.host, server.address.port) as stream:
            await stream.send_all(b"GET /v1/responses HTTP/1.1\r\nHost: x\r\n\r\n")
            while BLOCKS[0] not in seen:
                seen += await stream.receive_some()

    async with record(tape, upstream=await odd(answer)) as proxy:
        await play(proxy)
        with trio.fail_after(5):
            await gone.wait()
    assert read_tape(tape).channels[0].ended.by == "client"
    async with replay(tape) as player:
        await play(player)


@pytest.mark.parametrize("words", [b"", b"nonsense\r\n\r\n"])
async def test_an_upgrade_that_is_not_answered_fails_the_recording(odd, tape, http, words):
    async def answer(stream):
        await stream.send_all(words)

    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    with pytest.raises(CassetteError, match="the upgrade was not answered|the connection ended"):
        async with record(tape, upstream=await odd(answer)) as proxy:
            assert (await http.get(f"{proxy.base_url}/responses", headers=upgrade)).status_code == 502


async def test_what_is_not_text_is_kept_as_it_is(odd, tape, http):
    body = bytes(range(256))

    async def answer(stream):
        await stream.send_all(b"HTTP/1.1 201 Created\r\nContent-Length: 256\r\n\r\n" + body)

    async with record(tape, upstream=await odd(answer)) as proxy:
        await http.put(f"{proxy.base_url}/files", content=body)
    async with replay(tape) as player:
        answered = await http.put(f"{player.base_url}/files", content=body)
    assert (answered.status_code, answered.content) == (201, body)


async def test_parallel_requests_may_come_in_any_order(odd, tape, http):
    async def answer(stream):
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\n"
        await stream.send_all(head + b'{"fine":true}')
        while await stream.receive_some():
            pass

    async def play(server, order):
        for number in order:
            assert (await http.post(f"{server.base_url}/responses", json={"n": number})).json() == {
                "fine": True
            }

    async with record(tape, upstream=await odd(answer)) as proxy:
        await play(proxy, [1, 2, 3])
    async with replay(tape) as player:
        await play(player, [3, 1, 2])


async def test_what_is_no_request_harms_nobody(odd, tape, http):
    async def answer(stream):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with record(tape, upstream=await odd(answer)) as proxy:
        for data in (
            b"",
            b"nonsense\r\n\r\n",
            b"GET /v1/x",
            b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        ):
            async with await trio.open_tcp_stream(proxy.address.host, proxy.address.port) as stream:
                await stream.send_all(data)
                await stream.send_eof()
                with trio.fail_after(5):
                    assert await stream.receive_some() == b""
        assert (await http.get(f"{proxy.base_url}/x")).json() == {}
    assert len(json.loads(tape.read_text().splitlines()[1])["headers"]) > 1
    assert len(read_tape(tape).channels) == 1
