"""One WebSocket against a peer that misbehaves on command: every wait ends, and every end has its facts."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from triplane import CloseInfo, ConnectFailed, ConnectionLost, Endpoint, ProtocolViolation, Stalled
from triplane.net.guarded_stream import GuardedStream

SECRET = "sk-canary-abcdef0123456789"


async def test_a_good_life(rig, nursery, autojump_clock) -> None:
    r = rig(endpoint=Endpoint("ws://host:81/v1?a=b", api_key="k", headers={"X-A": "1"}))
    nursery.start_soon(r.run)
    request = await r.peer.accept()
    await r.opened.wait()
    r.connection.begin_use()
    await r.connection.send("question")
    event = await r.peer.next_event()
    await r.peer.text("answer")
    answer = await r.connection.receive()
    r.connection.end_use()
    r.connection.close()
    nursery.start_soon(r.peer.answer)
    await r.ended.wait()

    assert ("host:81", "/v1/responses?a=b") == (request.host, request.target)
    assert {(b"authorization", b"Bearer k"), (b"x-a", b"1")} <= set(request.extra_headers)
    assert ("question", ("answer",)) == (event.data, answer)
    assert (None, "closed") == (r.failure, r.connection.state)
    assert CloseInfo(1000, "", "us") == r.connection.close_info()
    statistics = r.connection.statistics()
    assert (1, "closed") == (statistics.requests, statistics.state)
    assert statistics.bytes_up > 0 < statistics.bytes_down


# --- the handshake


async def test_the_peer_vanishes_in_the_handshake(rig, nursery, autojump_clock) -> None:
    r = rig()
    nursery.start_soon(r.run)
    await r.peer.next_event()
    await r.peer.stream.aclose()
    with trio.fail_after(1):
        await r.ended.wait()

    assert isinstance(r.failure, ConnectFailed)
    assert ("upgrade", None) == (r.failure.stage, r.failure.status)


async def test_the_peer_is_silent_in_the_handshake(rig, nursery, autojump_clock) -> None:
    r = rig(upgrade_timeout=4)
    await r.run()

    assert isinstance(r.failure, ConnectFailed)
    assert "upgrade_timeout" in str(r.failure)
    assert 4 == trio.current_time()
    with pytest.raises(EOFError):
        while True:
            await r.peer.next_event()


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("answer", "status", "body", "retry_after"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nnope", 401, "nope", None),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 12\r\nContent-Length: 0\r\n\r\n", 429, "", 12.0),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nConnection: close\r\n\r\nbusy", 503, "busy", None),
        (b"HTTP/1.1 426 Upgrade\r\n\r\n", 426, "", None),
        (b"HTTP/1.0 404 Not Found\r\n\r\nnothing", 404, "nothing", None),
    ],
)
async def test_a_refusal_keeps_its_facts(
    rig, nursery, autojump_clock, answer, status, body, retry_after, chunk
) -> None:
    r = rig()
    nursery.start_soon(r.run)
    await r.peer.next_event()
    try:
        for start in range(0, len(answer), chunk):
            await r.peer.stream.send_all(answer[start : start + chunk])
        await r.peer.stream.send_eof()
    except trio.BrokenResourceError:
        pass
    with trio.fail_after(1):
        await r.ended.wait()

    failure = r.failure
    assert isinstance(failure, ConnectFailed)
    assert ("upgrade", status, retry_after) == (failure.stage, failure.status, failure.retry_after)
    assert body == failure.body or chunk > 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-x\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 90_000,
    ],
    ids=["another protocol", "zeros", "no accept", "header flood"],
)
async def test_an_answer_that_is_none_ends_the_handshake(rig, nursery, autojump_clock, answer) -> None:
    r = rig()
    nursery.start_soon(r.run)
    await r.peer.next_event()
    try:
        await r.peer.stream.send_all(answer)
        await r.peer.stream.send_eof()
    except trio.BrokenResourceError:
        pass
    with trio.fail_after(20):
        await r.ended.wait()

    assert isinstance(r.failure, ConnectFailed)
    assert "upgrade" == r.failure.stage


async def test_a_cancelled_handshake_leaves_no_stream(rig, autojump_clock) -> None:
    r = rig()
    with trio.move_on_after(1):
        await r.run()
    with pytest.raises(EOFError):
        while True:
            await r.peer.next_event()

    assert "closed" == r.connection.state


# --- the end of an open connection


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "bye"), (1001, ""), (1011, "oops"), (1012, ""), (4400, "x")]
)
async def test_the_peer_closes_while_we_wait(rig, nursery, autojump_clock, code, reason) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.say(CloseConnection(code, reason))
    with pytest.raises(ConnectionLost) as caught:
        await r.connection.receive()
    await r.ended.wait()

    assert CloseInfo(code, reason, "peer") == caught.value.close
    assert "c1" == caught.value.connection
    assert (None, "closed") == (r.failure, r.connection.state)


async def test_the_peer_closes_and_keeps_tcp_open(rig, nursery, autojump_clock) -> None:
    """trio-websocket's own exit waits for ever here."""
    r = rig(close_timeout=1)
    await r.open(nursery)
    await r.peer.say(CloseConnection(1000))
    with trio.fail_after(2):
        await r.ended.wait()

    assert "closed" == r.connection.state


async def test_the_peer_never_answers_our_close(rig, nursery, autojump_clock) -> None:
    r = rig(close_timeout=1)
    await r.open(nursery)
    started = trio.current_time()
    r.connection.close()
    await r.ended.wait()

    assert 1 == trio.current_time() - started
    assert "closed" == r.connection.state


async def test_tcp_just_ends(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.aclose()
    with pytest.raises(ConnectionLost) as caught:
        await r.connection.receive()

    assert (1006, "network") == (caught.value.close.code, caught.value.close.by)


async def test_what_came_before_the_end_is_not_lost(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    for number in range(50):
        await r.peer.text(str(number))
    await r.peer.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()
    got = []
    with pytest.raises(ConnectionLost):
        while True:
            got.extend(await r.connection.receive())

    assert [str(number) for number in range(50)] == got


async def test_an_idle_connection_notices_its_end(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    await r.peer.stream.aclose()
    with trio.fail_after(1):
        await r.ended.wait()

    assert not r.connection.is_usable


async def test_a_message_nobody_asked_for_poisons(rig, nursery, autojump_clock) -> None:
    """It would be taken for the answer to the next request."""
    r = rig()
    await r.open(nursery)
    await r.peer.text("stale")
    with trio.fail_after(1):
        await r.ended.wait()

    assert isinstance(r.connection.fault, ProtocolViolation)
    with pytest.raises(ConnectionLost):
        await r.connection.send("x")


async def test_use_begins_and_ends_many_times(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    for number in range(20):
        r.connection.begin_use()
        if number % 3:
            await trio.testing.wait_all_tasks_blocked()
        await r.peer.text(str(number))
        assert (str(number),) == await r.connection.receive()
        r.connection.end_use()
        if number % 2:
            await trio.testing.wait_all_tasks_blocked()

    assert r.connection.is_usable


@pytest.mark.parametrize(
    "raw",
    [b"\x83\x00", b"\xc1\x00", b"\x81\x02\xff\xfe", b"\x89\x7e\x00\x80" + b"x" * 128, b"\x01\x01a\x81\x01b"],
)
async def test_broken_frames_end_the_connection(rig, nursery, autojump_clock, raw) -> None:
    """Unknown opcode, reserved bit, invalid UTF-8, a long ping, a fragment left open."""
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(raw)
    with pytest.raises((ConnectionLost, ProtocolViolation)), trio.fail_after(30):
        await r.connection.receive()
    with trio.fail_after(30):
        await r.ended.wait()

    assert r.failure is None


async def test_a_message_over_our_limit(rig, nursery, autojump_clock) -> None:
    r = rig(max_message_size=1000)
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.text("x" * 1001)
    with pytest.raises(ConnectionLost, match="raise max_message_size") as caught:
        await r.connection.receive()
    with trio.fail_after(2):
        await r.ended.wait()

    assert (1009, "us") == (caught.value.close.code, caught.value.close.by)


async def test_binary_messages_with_text_are_text(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.say(BytesMessage("grün".encode()))
    assert ("grün",) == await r.connection.receive()
    await r.peer.say(BytesMessage(b"\xff\xfe"))
    with pytest.raises(ProtocolViolation, match="not text"):
        await r.connection.receive()
    await r.ended.wait()


async def test_fragments_with_pings_between_are_one_message(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(b"\x01\x02he" + b"\x89\x01p" + b"\x80\x03llo")
    assert ("hello",) == await r.connection.receive()

    pong = await r.peer.next_event()
    assert isinstance(pong, Pong)
    assert b"p" == pong.payload


async def test_a_ping_after_our_close_harms_nobody(rig, nursery, autojump_clock) -> None:
    """https://github.com/python-trio/trio-websocket/issues/184"""
    r = rig()
    await r.open(nursery)
    r.connection.close()
    await trio.testing.wait_all_tasks_blocked()
    await r.peer.say(Ping(b"late"))
    with trio.fail_after(5):
        await r.ended.wait()

    assert r.failure is None


# --- sending


async def test_a_cancelled_send_poisons(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    r.client.send_stream.send_all_hook = trio.sleep_forever
    with trio.move_on_after(1):
        await r.connection.send("x" * 100)
    assert "poisoned" == r.connection.state
    with pytest.raises(ConnectionLost, match="half-way"):
        await r.connection.send("y")
    await r.ended.wait()


async def test_a_peer_that_does_not_read(rig, nursery, autojump_clock) -> None:
    r = rig(send_timeout=9)
    await r.open(nursery)
    r.connection.begin_use()
    r.client.send_stream.send_all_hook = trio.sleep_forever
    started = trio.current_time()
    with pytest.raises(Stalled) as caught:
        await r.connection.send("x")

    assert ("send", 9.0) == (caught.value.phase, trio.current_time() - started)
    assert "poisoned" == r.connection.state


async def test_two_tasks_in_one_connection_are_told(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    nursery.start_soon(r.connection.receive)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError, match="another task is receiving from c1"):
        await r.connection.receive()
    await r.connection.send("a steer")
    assert "a steer" == (await r.peer.next_event()).data
    await r.peer.text("x")


async def test_an_interrupted_stream_refuses_to_send() -> None:
    transport, _other = trio.testing.memory_stream_pair()
    transport.send_stream.send_all_hook = trio.sleep_forever
    stream = GuardedStream(transport)
    with trio.move_on_after(0.01):
        await stream.send_all(b"half")
    transport.send_stream.send_all_hook = None
    with pytest.raises(trio.BrokenResourceError, match="interrupted"):
        await stream.send_all(b"more")


async def test_a_keepalive_that_nobody_asked_for_harms_nobody(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    await r.peer.text('{"type": "keepalive"}')
    await r.peer.text('{"type": "response.done", "response": {}}')
    await trio.testing.wait_all_tasks_blocked()
    assert r.connection.is_usable
    await r.peer.text('{"type": "response.created", "response": {"id": "resp_1"}}')
    await r.ended.wait()

    assert isinstance(r.connection.fault, ProtocolViolation)


@pytest.mark.parametrize("cut", [0, 3])
async def test_a_refusal_that_repeats_our_request_does_not_show_its_credentials(rig, nursery, cut) -> None:
    r = rig(endpoint=Endpoint("ws://host/v1", api_key=SECRET, headers={"X-Key": "another-secret"}))
    nursery.start_soon(r.run)
    await r.peer.next_event()
    body = f"nobody let in: another-secret, Bearer {SECRET}"
    body = body[: len(body) - cut].encode()
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n"
    await r.peer.stream.send_all(head.encode() + body)
    await r.ended.wait()

    assert "nobody let in: ***, Bearer ***" == r.failure.body
