"""Answers to the upgrade that are none: each is one typed error, in bounded memory and time."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from triplane import ConnectFailed, EngineOptions
from triplane.net.guarded_stream import GuardedStream

if TYPE_CHECKING:
    from wsproto.events import Request

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(request: Request) -> bytes:
    key = next(value for name, value in request.extra_headers if name.lower() == b"sec-websocket-key")
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def answer_with(status: bytes, *headers: bytes) -> bytes:
    lines = [status, b"Upgrade: websocket", b"Connection: Upgrade", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def feed(stream: trio.abc.SendStream, answer: bytes, *, chunk: int, pause: float = 0.0) -> bool:
    """Send an answer piece by piece; whether all of it could be sent."""
    try:
        for start in range(0, len(answer), chunk):
            await stream.send_all(answer[start : start + chunk])
            await trio.sleep(pause)
    except trio.BrokenResourceError:
        return False
    return True


async def meet(rig, nursery, answer, *, chunk=65_536, pause=0.0):
    """Answer a connection's upgrade, and the failure it ends in."""
    r = rig()
    nursery.start_soon(r.run)
    request = await r.peer.next_event()
    nursery.start_soon(lambda: feed(r.peer.stream, answer(request), chunk=chunk, pause=pause))
    await r.ended.wait()
    assert not r.opened.is_set()
    assert isinstance(r.failure, ConnectFailed)
    assert "upgrade" == r.failure.stage
    # Nothing of it is left: the peer's end is closed.
    with pytest.raises(trio.BrokenResourceError):
        while True:
            await r.peer.stream.send_all(b"x")
    return r.failure


@pytest.mark.parametrize("chunk", [1, 65_536])
@pytest.mark.parametrize(
    "answer",
    [
        lambda _request: answer_with(
            b"HTTP/1.1 101 Switching Protocols", b"Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBvbmU="
        ),
        lambda _request: answer_with(b"HTTP/1.1 101 Switching Protocols"),
        lambda request: b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " + accept_of(request) + b"\r\n\r\n",
        lambda request: answer_with(
            b"HTTP/1.1 101 x", b"Sec-WebSocket-Accept: " + accept_of(request), b"Sec-WebSocket-Protocol: chat"
        ),
        lambda _request: b"HTTP/2 101\r\n\r\n",
        lambda _request: b"\x16\x03\x01 this is TLS\r\n\r\n",
        lambda _request: b"HTTP/1.1 101 x\r\nno colon here\r\n\r\n",
    ],
    ids=["wrong accept", "no accept", "no upgrade", "a protocol", "HTTP/2", "TLS", "a broken header"],
)
async def test_a10_a_wrong_answer_is_no_websocket(rig, nursery, autojump_clock, answer, chunk) -> None:
    with trio.fail_after(5):
        failure = await meet(rig, nursery, answer, chunk=chunk)

    assert failure.status is None
    assert not failure.is_unsupported


async def test_a10_http_1_0_switches_no_protocols(rig, nursery, autojump_clock) -> None:
    with trio.fail_after(5):
        await meet(
            rig,
            nursery,
            lambda request: answer_with(
                b"HTTP/1.0 101 Switching Protocols", b"Sec-WebSocket-Accept: " + accept_of(request)
            ),
        )


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 200_000 + b"\r\n",
        b"HTTP/1.1 101 x\r\nA: " + b"b" * 2**20 + b"\r\n\r\n",
        b"HTTP/1.1 101 " + b"b" * 2**20,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50_000,
    ],
    ids=["a flood of headers", "a header of 1 MiB", "a status line of 1 MiB", "100 without end"],
)
async def test_a10_a_flood_is_cut_off(rig, nursery, autojump_clock, answer) -> None:
    with trio.fail_after(5):
        failure = await meet(rig, nursery, lambda _request: answer)

    assert failure.status in (None, 100)
    assert len(failure.body) <= 2_000


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000", b"X: y"])
async def test_a10_a_refusal_with_an_endless_body_stands_and_is_cut_off(
    rig, nursery, autojump_clock, length
) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\n" + length + b"\r\n\r\n"
    with trio.fail_after(5):
        failure = await meet(rig, nursery, lambda _request: head + b"who are you? " * 100_000)

    assert (401, True, False) == (failure.status, failure.is_auth_refusal, failure.is_transient)
    assert failure.body.startswith("who are you? who")
    assert 2_000 == len(failure.body)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX-Long: " + b"x" * 10_000,
    ],
)
async def test_a10_a_drip_fed_head_has_a_deadline(rig, nursery, autojump_clock, answer) -> None:
    failure = await meet(rig, nursery, lambda _request: answer, chunk=1, pause=1)

    assert 15 == trio.current_time()
    assert "within 15 s (option upgrade_timeout)" in str(failure)


async def test_a10_a_drip_fed_refusal_stands_at_the_deadline(rig, nursery, autojump_clock) -> None:
    """Its status was there: to try again would be blind."""
    answer = b"HTTP/1.1 401 x\r\nContent-Length: 900\r\n\r\n" + b"y" * 900
    failure = await meet(rig, nursery, lambda _request: answer, chunk=50, pause=4)

    assert 15 == trio.current_time()
    assert (401, False) == (failure.status, failure.is_transient)


async def test_a11_an_upgrade_that_is_never_answered_has_a_deadline_of_its_own(
    rig, nursery, autojump_clock
) -> None:
    r = rig(upgrade_timeout=6, first_event_timeout=1, idle_timeout=1)
    nursery.start_soon(r.run)
    await r.ended.wait()

    assert 6 == trio.current_time()
    assert isinstance(r.failure, ConnectFailed)
    assert ("upgrade", None, True) == (r.failure.stage, r.failure.status, r.failure.is_transient)


async def test_what_follows_a_good_handshake_is_not_counted(autojump_clock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = GuardedStream(ours)
    await theirs.send_all(b"x" * 300_000)
    assert 300_000 == len(await stream.receive_some())
    await theirs.send_all(b"y")
    stream.forget_head()

    assert b"y" == await stream.receive_some()


async def test_a_handshake_without_end_is_cut_off(autojump_clock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = GuardedStream(ours)
    await theirs.send_all(b"x" * 300_000)
    await stream.receive_some()
    await theirs.send_all(b"y")

    assert b"" == await stream.receive_some()
    assert stream.ended.is_set()


def test_the_deadlines_of_connecting_are_apart() -> None:
    """Each stage has its own, so one that hangs is named."""
    names = [name for name in dir(EngineOptions()) if name.endswith("_timeout")]

    assert {"dns_timeout", "tcp_timeout", "proxy_timeout", "tls_timeout", "upgrade_timeout"} <= set(names)
