"""One way over HTTP, against a peer that does what it is told, byte by byte."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import h11
import orjson
import pytest
import trio
import trio.testing

from triplane import (
    ConnectFailed,
    ConnectionLost,
    Endpoint,
    EngineOptions,
    ProtocolViolation,
    Stalled,
)
from triplane.net.carrier import connection_to
from triplane.net.dial import Dialler
from triplane.protocol import decode_event

KEY = "sk-canary-1234567890"
CREATE = orjson.dumps(
    {"type": "response.create", "stream_id": "a", "generate": True, "model": "m", "input": "hello"}
).decode()
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(status: int, body: bytes, **headers: str) -> bytes:
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Any\r\n{lines}\r\n".encode() + body


class HttpPeer:
    """The server's end of one memory stream."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.stream = stream
        self._protocol = h11.Connection(h11.SERVER)

    async def request(self) -> tuple[h11.Request, bytes]:
        """The next request and its body. What is answered is written past h11."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._protocol.next_event()
            if event is h11.NEED_DATA:
                data = await self.stream.receive_some()
                if not data:
                    raise EOFError
                self._protocol.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                self._protocol = h11.Connection(h11.SERVER)
                return head, body

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)


class Net:
    """A network that can be told to fail, and keeps the server's end of what it opens."""

    def __init__(self) -> None:
        self.peers: deque[HttpPeer] = deque()
        self.all_peers: list[HttpPeer] = []
        self.opened = 0
        self.is_down = False

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.is_down:
            raise ConnectionRefusedError("refused")
        client, server = trio.testing.memory_stream_pair()
        self.opened += 1
        self.peers.append(HttpPeer(server))
        self.all_peers.append(self.peers[-1])
        return client


class Rig:
    def __init__(
        self, nursery: trio.Nursery, url: str, headers: dict[str, str], refresh_key: Any, **options: Any
    ) -> None:
        self.net = Net()
        self.options = EngineOptions(**options)
        endpoint = Endpoint(url, api_key=KEY, transport="http", headers=headers, refresh_key=refresh_key)
        self.connection = connection_to(endpoint, "c1", self.options)
        self.opened = trio.Event()
        self.ended = trio.Event()
        self._nursery = nursery

    async def run(self) -> None:
        try:
            await self.connection.run(Dialler(self.net, self.options), on_open=self.opened.set)
        finally:
            self.ended.set()

    async def open(self) -> HttpPeer:
        self._nursery.start_soon(self.run)
        await self.opened.wait()
        return self.net.peers.popleft()

    def hold_up_after(self, writes: int) -> None:
        """From so many writes on, the server takes no more bytes."""
        left = [writes]
        stream = self.connection._network._ahead._raw.send_stream
        hand_over = stream.send_all_hook

        async def wait() -> None:
            await hand_over()
            left[0] -= 1
            if left[0] < 0:
                await trio.sleep_forever()

        stream.send_all_hook = wait

    async def ask(self, peer: HttpPeer) -> tuple[h11.Request, bytes]:
        """Send a request and return what the peer got."""
        got: list[tuple[h11.Request, bytes]] = []

        async def take() -> None:
            got.append(await peer.request())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await self.connection.send(CREATE)
        return got[0]


@pytest.fixture
def rig(nursery):
    def make(
        url: str = "http://host:81/v1?z=1",
        headers: dict[str, str] | None = None,
        refresh_key: Any = None,
        **options: Any,
    ) -> Rig:
        return Rig(nursery, url, headers or {}, refresh_key, **options)

    return make


async def test_what_is_asked(rig, autojump_clock) -> None:
    r = rig(headers={"OpenAI-Project": "p", "accept": "text/html"})
    head, body = await r.ask(await r.open())

    headers = dict(head.headers)
    assert (b"POST", b"/v1/responses?z=1") == (head.method, head.target)
    assert (b"host:81", b"Bearer " + KEY.encode(), b"p") == (
        headers[b"host"],
        headers[b"authorization"],
        headers[b"openai-project"],
    )
    assert [b"text/event-stream"] == [value for name, value in head.headers if name == b"accept"]
    # What exists on a WebSocket only does not go up.
    assert {"model": "m", "input": "hello", "stream": True} == orjson.loads(body)


async def test_events_come_as_frames_one_batch_for_each_read(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED + chunk(b"event: a\ndata: 1\n\ndata: 2\n\n: ping\n\nda"))
    assert ("1", "2") == await r.connection.receive()
    await peer.say(chunk(b"ta: 3\n\n"))
    assert ("3",) == await r.connection.receive()


async def test_the_tcp_connection_is_used_again(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    for _ in range(3):
        await r.ask(peer)
        await peer.say(CHUNKED + chunk(b"data: x\n\n"))
        assert ("x",) == await r.connection.receive()
        # The end of the body comes when the next request is on its way already.
        await peer.say(b"0\r\n\r\n")

    assert (1, 3) == (r.net.opened, r.connection.statistics().requests)


@pytest.mark.parametrize("is_given_back", [True, False])
async def test_an_answer_that_never_ends_costs_a_tcp_connection_and_no_more(
    rig, autojump_clock, is_given_back
) -> None:
    r = rig()
    first = await r.open()
    await r.ask(first)
    await first.say(CHUNKED + chunk(b"data: x\n\n"))
    assert ("x",) == await r.connection.receive()
    if is_given_back:
        r.connection.end_use()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(r.connection.send, CREATE)
        await trio.sleep(1)
        second = r.net.peers.popleft()
        await second.request()
    await second.say(CHUNKED + chunk(b"data: y\n\n"))
    assert ("y",) == await r.connection.receive()
    assert (2, "open") == (r.net.opened, r.connection.state)
    with pytest.raises(EOFError):
        await first.request()


async def test_bytes_are_counted_over_all_tcp_connections(rig, autojump_clock) -> None:
    r = rig()
    await r.open()
    sizes = []
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(r.connection.send, CREATE)
            await trio.testing.wait_all_tasks_blocked()
            peer = r.net.all_peers[number]
            await peer.request()
            await peer.say(answer(503, b"{}", Connection="close"))
            await r.connection.receive()
            await trio.testing.wait_all_tasks_blocked()
            now = r.connection.statistics()
            sizes.append((now.bytes_up, now.bytes_down))

    assert sizes[1] == (2 * sizes[0][0], 2 * sizes[0][1])
    assert sizes[0][1] == len(answer(503, b"{}", Connection="close"))


async def test_an_error_is_an_event_with_its_status_and_what_is_worth_keeping(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    body = b'{"error": {"message": "Slow down.", "code": "rate_limit_exceeded", "type": "tokens", "param": null}}'
    await peer.say(answer(429, body, Retry_After="7", X_Request_Id="req_1", Set_Cookie="secret=1"))
    (frame,) = await r.connection.receive()

    detail = decode_event(frame).detail
    assert (429, "rate_limit_exceeded", "tokens", "Slow down.", 7.0) == (
        detail.status,
        detail.code,
        detail.type,
        detail.message,
        detail.retry_after,
    )
    assert {"retry-after": "7", "x-request-id": "req_1"} == detail.headers
    # It is a refusal of the request and no loss of anything.
    assert "open" == r.connection.state


async def test_a_refusal_that_repeats_our_key_does_not_get_it_into_the_log(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(400, b'{"error": {"message": "Bad request by %s."}}' % KEY.encode()))
    (frame,) = await r.connection.receive()

    assert "Bad request by ***." == decode_event(frame).detail.message


async def test_a_date_to_try_again_after_counts_from_the_answers_own(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    dates = {"Date": "Fri, 27 Nov 2026 06:00:00 GMT", "Retry_After": "Fri, 27 Nov 2026 06:01:30 GMT"}
    await peer.say(answer(503, b"", **dates))
    (frame,) = await r.connection.receive()

    assert 90 == decode_event(frame).detail.retry_after


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"", "check the API key"),
        (404, b"<html>nothing here</html>", "check the path"),
        (502, b"<html>bad gateway</html>", "bad gateway"),
        (400, b'{"detail": "no such field"}', "no such field"),
        (400, b'{"error": "in words"}', "in words"),
        (400, b"[1, 2]", "HTTP status 400"),
        (303, b"", "redirects to another place"),
    ],
)
async def test_an_error_that_is_not_in_the_usual_form_still_says_something(
    rig, autojump_clock, status, body, words
) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(status, body))
    (frame,) = await r.connection.receive()

    detail = decode_event(frame).detail
    assert status == detail.status
    assert words in detail.message


async def test_an_error_that_repeats_the_key_does_not_carry_it_on(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(400, f"bad header: Authorization: Bearer {KEY}".encode()))
    (frame,) = await r.connection.receive()

    assert KEY not in frame


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_at_the_same_origin_is_followed(rig, autojump_clock, status) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(status, b"", Location="/elsewhere?x=1", Connection="close"))
    await trio.testing.wait_all_tasks_blocked()
    head, body = await r.net.peers.popleft().request()

    assert (b"POST", b"/elsewhere?x=1") == (head.method, head.target)
    assert "hello" == orjson.loads(body)["input"]
    assert b"Bearer " + KEY.encode() == dict(head.headers)[b"authorization"]


@pytest.mark.parametrize(
    ("status", "next_target"), [(301, b"/elsewhere"), (302, None), (307, None), (308, b"/elsewhere")]
)
async def test_only_a_redirect_for_good_holds_for_the_next_request(
    rig, autojump_clock, status, next_target
) -> None:
    r = rig()
    peer = await r.open()
    first, _ = await r.ask(peer)
    await peer.say(answer(status, b"", Location="/elsewhere", Connection="close"))
    await trio.testing.wait_all_tasks_blocked()
    peer = r.net.peers.popleft()
    await peer.request()
    await peer.say(answer(500, b"{}", Connection="close"))
    await r.connection.receive()
    await trio.testing.wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(r.connection.send, CREATE)
        await trio.testing.wait_all_tasks_blocked()
        head, _ = await r.net.peers.popleft().request()

    assert (next_target or first.target) == head.target


async def test_an_answer_that_is_not_http_names_no_key(rig, autojump_clock) -> None:
    """The library quotes the line that it cannot read."""

    async def fresh() -> str:
        return f"{KEY}-fresh"

    r = rig(refresh_key=fresh)
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(401, b"{}"))
    head, _ = await peer.request()
    sent = dict(head.headers)[b"authorization"]
    await peer.say(b"HTTP/1.1 200 OK\r\nYou sent " + sent + b"\r\n\r\n")
    with pytest.raises(ConnectionLost, match=r"You sent Bearer \*\*\*") as caught:
        await r.connection.receive()

    assert sent == f"Bearer {KEY}-fresh".encode()
    assert "fresh" not in str(caught.value)


@pytest.mark.parametrize("location", ["https://host:81/v1", "http://host:82/v1", "http://elsewhere/"])
async def test_a_redirect_to_another_origin_gets_nothing(rig, autojump_clock, location) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(307, b"", Location=location))
    (frame,) = await r.connection.receive()

    assert (307, 1) == (decode_event(frame).detail.status, r.net.opened)


async def test_redirects_in_a_circle_end(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    for _ in range(6):
        await peer.say(answer(307, b"", Location="/v1/responses"))
        await trio.testing.wait_all_tasks_blocked()
        peer = r.net.peers.popleft() if r.net.peers else peer
    (frame,) = await r.connection.receive()

    assert 307 == decode_event(frame).detail.status


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(200, b'{"object": "response"}'), "instead of a stream of events"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (STREAM_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "compressed"),
        (CHUNKED + chunk(b"data: \xff\n\n"), "not text"),
    ],
)
async def test_an_answer_that_is_no_stream_of_events_is_a_violation(rig, autojump_clock, said, words) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(said)
    with pytest.raises(ProtocolViolation, match=words):
        await r.connection.receive()


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED, CHUNKED + b"5\r\nda", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
)
async def test_an_answer_that_breaks_off_is_a_loss(rig, autojump_clock, said) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(said)
    await peer.stream.aclose()
    with pytest.raises(ConnectionLost) as caught:
        await r.connection.receive()

    assert ("network", 1006) == (caught.value.close.by, caught.value.close.code)


async def test_an_answer_that_ends_too_early_in_good_order_is_a_loss_too(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED + chunk(b"data: x\n\n") + b"0\r\n\r\n")
    assert ("x",) == await r.connection.receive()
    with pytest.raises(ConnectionLost, match="ended before the response did"):
        await r.connection.receive()


async def test_an_event_that_is_too_large_is_told_as_our_own_limit(rig, autojump_clock) -> None:
    r = rig(max_message_size=1_000)
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED + chunk(b"data: " + b"x" * 2_000))
    with pytest.raises(ConnectionLost, match="raise max_message_size") as caught:
        await r.connection.receive()

    assert (1009, "us") == (caught.value.close.code, caught.value.close.by)


async def test_a_cancelled_receive_loses_nothing(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED)
    with trio.move_on_after(1) as scope:
        await r.connection.receive()
    assert scope.cancelled_caught
    await peer.say(chunk(b"data: x\n\n"))
    with trio.CancelScope() as cancelled:
        cancelled.cancel()
        await r.connection.receive()

    assert ("x",) == await r.connection.receive()


@pytest.mark.parametrize("writes", [0, 1])
async def test_a_cancelled_send_poisons(writes, rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    r.hold_up_after(writes)
    with trio.move_on_after(1) as scope:
        await r.connection.send(CREATE)
    assert scope.cancelled_caught

    await r.ended.wait()
    with pytest.raises(ConnectionLost):
        await r.connection.send(CREATE)
    with pytest.raises(EOFError):
        await peer.request()
        await peer.request()


async def test_giving_up_an_answer_closes_its_tcp_connection(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED)
    r.connection.poison(ConnectionLost("a run was cancelled"))
    with trio.fail_after(1):
        await r.ended.wait()

    assert "closed" == r.connection.state
    with pytest.raises(EOFError):
        await peer.request()
    with pytest.raises(ConnectionLost, match="a run was cancelled"):
        await r.connection.receive()


@pytest.mark.parametrize("how", ["poison", "close"])
async def test_whoever_waits_is_told_when_it_is_closed(rig, autojump_clock, how) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(ConnectionLost):
                await r.connection.receive()

        await trio.testing.wait_all_tasks_blocked()
        end = r.connection.close if how == "close" else partial(r.connection.poison, ConnectionLost("over"))
        end()
    await r.ended.wait()


async def test_a_request_that_comes_while_it_is_being_closed_is_told(rig, autojump_clock) -> None:
    """It waits for the end of the answer before, and what comes instead is the end of everything."""
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(CHUNKED + chunk(b"data: x\n\n"))
    await r.connection.receive()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ask() -> None:
            with trio.fail_after(1), pytest.raises(ConnectionLost):
                await r.connection.send(CREATE)

        await trio.testing.wait_all_tasks_blocked()
        r.connection.close()
    with trio.fail_after(1), pytest.raises(ConnectionLost):
        await r.connection.send(CREATE)


@pytest.mark.parametrize("writes", [0, 1])
async def test_a_server_that_does_not_read_is_given_up(writes, rig, autojump_clock) -> None:
    r = rig(send_timeout=3)
    await r.open()
    r.hold_up_after(writes)
    before = trio.current_time()
    with pytest.raises(Stalled) as caught:
        await r.connection.send(CREATE)

    assert ("send", 3) == (caught.value.phase, round(trio.current_time() - before, 6))
    await r.ended.wait()


async def test_a_slow_reader_holds_up_the_server(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    event = b"data: " + b"x" * 60_000 + b"\n\n"
    await peer.say(CHUNKED + chunk(event) * 20)
    await trio.testing.wait_all_tasks_blocked()
    taken = r.connection.statistics().bytes_down

    assert taken < 5 * 65_536
    total = 0
    while total < 20:
        total += len(await r.connection.receive())
    assert r.connection.statistics().bytes_down > taken


async def test_the_first_connection_that_fails_says_at_which_stage(rig, autojump_clock) -> None:
    r = rig()
    r.net.is_down = True
    with pytest.raises(ConnectFailed) as caught:
        await r.run()

    assert ("tcp", "closed") == (caught.value.stage, r.connection.state)


async def test_a_later_connection_that_fails_says_so_and_that_nothing_was_sent(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(500, b"{}", Connection="close"))
    await r.connection.receive()
    r.net.is_down = True
    with pytest.raises(ConnectFailed) as caught:
        await r.connection.send(CREATE)

    assert ("tcp", "nothing") == (caught.value.stage, caught.value.receipt.sent)
    await r.ended.wait()
    with pytest.raises(ConnectionLost):
        await r.connection.send(CREATE)


async def test_two_tasks_in_one_are_told_apart(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    await r.ask(peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(r.connection.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await r.connection.receive()
        with pytest.raises(trio.BusyResourceError):
            await r.connection.send(CREATE)
        nursery.cancel_scope.cancel()


async def test_sending_and_receiving_always_are_checkpoints(rig, autojump_clock) -> None:
    r = rig()
    peer = await r.open()
    with trio.testing.assert_checkpoints():
        await r.ask(peer)
    await peer.say(CHUNKED + chunk(b"data: x\n\n"))
    await trio.testing.wait_all_tasks_blocked()
    with trio.testing.assert_checkpoints():
        await r.connection.receive()


async def test_nothing_shows_the_key(rig, autojump_clock) -> None:
    r = rig(headers={"X-Secret": KEY})
    await r.open()

    for shown in (repr(r.connection), repr(r.connection.endpoint), repr(r.connection.statistics())):
        assert KEY not in shown


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_renewed_once_and_the_fresh_one_is_used_from_then_on(
    rig, autojump_clock, status
) -> None:
    async def fresh() -> str:
        await trio.sleep(5)
        return "fresh"

    r = rig(refresh_key=fresh)
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(status, b"{}"))
    head, body = await peer.request()
    assert (b"Bearer fresh", "hello") == (dict(head.headers)[b"authorization"], orjson.loads(body)["input"])
    await peer.say(answer(status, b"{}"))
    (frame,) = await r.connection.receive()
    assert status == decode_event(frame).detail.status
    head, _ = await r.ask(peer)

    assert b"Bearer fresh" == dict(head.headers)[b"authorization"]
    assert 1 == r.net.opened


async def test_a_fresh_key_that_cannot_be_had_is_told_with_the_refusal(rig, autojump_clock) -> None:
    async def fresh() -> str:
        await trio.sleep(1)
        raise RuntimeError(KEY)

    r = rig(refresh_key=fresh)
    peer = await r.open()
    await r.ask(peer)
    await peer.say(answer(401, b'{"error": {"message": "Expired."}}'))
    with pytest.raises(ConnectFailed) as caught:
        await r.connection.receive()

    assert ("auth", 401, False) == (caught.value.stage, caught.value.status, caught.value.is_transient)
    assert "Expired" in caught.value.body
    assert KEY not in str(caught.value)
