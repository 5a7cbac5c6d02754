"""What a peer may send, and what it may not: whole messages or a typed end, on every wire."""

from __future__ import annotations

import socket
import struct
import zlib

import pytest
import trio
import trio.testing
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from triplane import CloseInfo, ConnectFailed, ConnectionLost, Endpoint, EngineOptions, ProtocolViolation
from triplane.net.connection import Connection
from triplane.net.dial import Dialler, TcpNetwork


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """One unmasked frame, as servers send them."""
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + struct.pack("!H", size)
        if size < 65_536
        else b"\x7f" + struct.pack("!Q", size)
    )
    return bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + length + payload


CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


async def receive_all(r) -> tuple[list[str], CloseInfo]:
    """What the holder gets until the end, and the end."""
    got: list[str] = []
    try:
        with trio.fail_after(60):
            while True:
                got += await r.connection.receive()
    except ConnectionLost as lost:
        await r.ended.wait()
        assert r.failure is None
        return got, lost.close


async def close_sent(r) -> CloseConnection:
    """The close that the peer gets, whatever comes before it."""
    while True:
        event = await r.peer.next_event()
        if isinstance(event, CloseConnection):
            return event


# --- whole messages


@pytest.mark.parametrize("chunk", [1, 2, 5, 10_000])
async def test_one_byte_fragments_with_pings_between_are_one_message(
    rig, nursery, autojump_clock, chunk
) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    text = "größer 🚀 than one byte"
    data = text.encode()
    wire = frame(TEXT, data[:1], fin=False)
    for byte in data[1:]:
        wire += frame(PING, b"p") + frame(CONT, bytes([byte]), fin=False)
    wire += frame(PONG) + frame(CONT)
    for start in range(0, len(wire), chunk):
        await r.peer.stream.send_all(wire[start : start + chunk])
    assert (text,) == await r.connection.receive()
    pongs = [await r.peer.next_event() for _ in data[1:]]
    assert all(isinstance(pong, Pong) and pong.payload == b"p" for pong in pongs)


async def test_fragmented_binary_messages_are_text_as_well(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(frame(BINARY, b"gr\xc3", fin=False) + frame(CONT, b"\xbcn"))
    assert ("grün",) == await r.connection.receive()


async def test_one_read_can_bring_many_messages(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(b"".join(frame(TEXT, str(number).encode()) for number in range(500)))
    got: list[str] = []
    while len(got) < 500:
        got += await r.connection.receive()

    assert list(map(str, range(500))) == got


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 2**20, 4 * 2**20 + 1, 64 * 2**20])
async def test_large_messages_come_in_whole(rig, nursery, autojump_clock, size) -> None:
    """A final event repeats the whole response."""
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    text = "x" * size
    await r.peer.stream.send_all(frame(TEXT, text.encode()))
    assert (text,) == await r.connection.receive()


@pytest.mark.parametrize("size", [0, 126, 65_536, 16 * 2**20])
async def test_large_requests_go_out_whole(rig, nursery, autojump_clock, size) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    text = "y" * size
    await r.connection.send(text)
    header = 6 if size < 126 else 8 if size < 65_536 else 14
    data = b""
    while len(data) < header + size:
        data += await r.peer.stream.receive_some()
    mask, payload = data[header - 4 : header], data[header:]
    key = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(key, "big") ^ int.from_bytes(payload, "big")

    assert b"\x81" == data[:1]
    assert text.encode() == number.to_bytes(size, "big")


async def test_a_cancelled_receive_loses_nothing(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    got: list[str] = []
    for number in range(60):
        data = frame(TEXT, str(number).encode())
        await r.peer.stream.send_all(data[: number % 4])
        with trio.move_on_after(number % 3):
            got += await r.connection.receive()
        await r.peer.stream.send_all(data[number % 4 :])
    while len(got) < 60:
        got += await r.connection.receive()

    assert list(map(str, range(60))) == got


# --- the size limit


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"x" * 1001),
        frame(TEXT, "é".encode() * 501),
        frame(TEXT, b"x" * 600, fin=False) + frame(CONT, b"x" * 401),
        frame(BINARY, b"x" * 999, fin=False) + frame(CONT, b"", fin=False) + frame(CONT, b"xx"),
        b"\x81\x7f" + struct.pack("!Q", 2**40) + b"x" * 5_000,
    ],
    ids=["text", "characters of two bytes", "fragments", "binary fragments", "announced"],
)
async def test_a_message_over_the_limit_is_refused_with_1009(rig, nursery, autojump_clock, data) -> None:
    r = rig(max_message_size=1000)
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(data)
    with pytest.raises(ConnectionLost, match="raise max_message_size") as caught:
        await r.connection.receive()
    close = await close_sent(r)
    await r.ended.wait()

    assert (1009, "us") == (caught.value.close.code, caught.value.close.by)
    assert 1009 == close.code


async def test_a_message_at_the_limit_is_accepted_with_pings_between_its_fragments(
    rig, nursery, autojump_clock
) -> None:
    """The limit is the message's: control frames do not count."""
    r = rig(max_message_size=1000)
    await r.open(nursery)
    r.connection.begin_use()
    ping = frame(PING, b"p" * 125)
    await r.peer.stream.send_all(
        frame(TEXT, b"x" * 1000, fin=False) + ping + frame(CONT, fin=False) + ping + frame(CONT)
    )
    assert ("x" * 1000,) == await r.connection.receive()


# --- what is wrong ends the connection, and says who ended it


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"\xff\xfe"),
        frame(TEXT, b"a\xc3", fin=False) + frame(CONT, b"b"),
        frame(TEXT, "🚀".encode()[:3]),
        frame(TEXT, b"a\xed\xa0\x80"),
        frame(TEXT, b"ok", fin=False) + frame(CONT, b"\xf0\x9f", fin=False) + frame(CONT),
    ],
    ids=["whole", "across fragments", "cut short", "a surrogate", "cut short in fragments"],
)
async def test_invalid_utf_8_is_closed_with_1007_and_never_patched(
    rig, nursery, autojump_clock, data
) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(frame(TEXT, b"before") + data)
    got, close = await receive_all(r)

    assert ["before"] == got
    assert (1007, "us") == (close.code, close.by)
    assert 1007 == (await close_sent(r)).code


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"a", rsv=4),
        frame(TEXT, b"a", rsv=2),
        frame(TEXT, b"a", rsv=1),
        frame(3),
        frame(11),
        b"\x81\x81\x00\x00\x00\x00a",
        frame(PING, b"a", fin=False),
        frame(PING, b"a" * 126),
        frame(CONT, b"a"),
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, struct.pack("!H", 1006)),
    ],
    ids=[
        "RSV1",
        "RSV2",
        "RSV3",
        "opcode 3",
        "opcode 11",
        "masked",
        "fragmented ping",
        "long ping",
        "continuation of nothing",
        "fragment left open",
        "close of one byte",
        "close with 1006",
    ],
)
async def test_broken_frames_are_closed_with_1002(rig, nursery, autojump_clock, data) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(frame(TEXT, b"before") + data)
    got, close = await receive_all(r)

    assert ["before"] == got
    assert (1002, "us") == (close.code, close.by)
    assert 1002 == (await close_sent(r)).code


async def test_nothing_after_a_close_counts(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(
        frame(TEXT, b"before") + frame(CLOSE, struct.pack("!H", 1000)) + frame(TEXT, b"after") + frame(PING)
    )
    got, close = await receive_all(r)

    assert ["before"] == got
    assert CloseInfo(1000, "", "peer") == close
    assert 1000 == (await close_sent(r)).code


async def test_a_close_without_a_code_has_code_1005(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(frame(CLOSE))

    assert ([], CloseInfo(1005, "", "peer")) == await receive_all(r)


async def test_a_half_closed_stream_is_over(rig, nursery, autojump_clock) -> None:
    """A peer that sends nothing more will not answer either, though it might still read."""
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(frame(TEXT, b"before"))
    await r.peer.stream.send_eof()

    assert (["before"], CloseInfo(1006, "", "network")) == await receive_all(r)


async def test_a_binary_message_that_is_not_text_is_a_violation(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.say(BytesMessage(b"\xff"))
    with pytest.raises(ProtocolViolation, match="not text"):
        await r.connection.receive()
    await r.ended.wait()


@pytest.mark.parametrize("kept", [1, 3, 20, 70_000])
async def test_half_a_frame_is_never_delivered(nursery, wire, make_peer, kept) -> None:
    """A real socket, reset in the middle of a frame."""
    whole, data = frame(TEXT, b"whole"), frame(TEXT, b"x" * 100_000)

    async def serve_once(stream: trio.SocketStream) -> None:
        peer = make_peer(stream)
        await peer.accept()
        await stream.send_all(whole + data[:kept])
        await peer.next_event()  # the holder has read what came
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve_once, [listener])
    port = listener.socket.getsockname()[1]
    options = EngineOptions()
    connection = Connection("c1", Endpoint(f"ws://127.0.0.1:{port}", wire=wire), options)
    opened = trio.Event()

    def on_open() -> None:
        connection.begin_use()
        opened.set()

    async def run() -> None:
        await connection.run(Dialler(TcpNetwork(), options), on_open=on_open)

    with trio.fail_after(30):
        nursery.start_soon(run)
        await opened.wait()
        assert ("whole",) == await connection.receive()
        await connection.send("seen")
        with pytest.raises(ConnectionLost) as caught:
            await connection.receive()

    assert (1006, "network") == (caught.value.close.code, caught.value.close.by)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("start", range(4))
async def test_one_flipped_bit_is_another_text_or_a_typed_end(rig, autojump_clock, start) -> None:
    data = frame(TEXT, '{"é": 1}'.encode()) + frame(PING, b"p") + frame(TEXT, b"end")
    for bit in range(start, len(data) * 8, 4):
        r = rig(max_message_size=1000)
        async with trio.open_nursery() as nursery:
            await r.open(nursery)
            r.connection.begin_use()
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            await r.peer.stream.send_all(flipped)
            await r.peer.stream.send_eof()
            try:
                got, close = await receive_all(r)
            except ProtocolViolation:
                continue
            finally:
                nursery.cancel_scope.cancel()
        assert close.code in {1002, 1005, 1006, 1007, 1009}
        assert "\ufffd" not in "".join(got)


# --- pings


async def test_a_flood_of_pings_is_answered_and_harms_nobody(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    pings = b"".join(frame(PING, b"%d" % number) for number in range(2_000))
    await r.peer.stream.send_all(pings + frame(TEXT, b"after"))
    assert ("after",) == await r.connection.receive()
    last = b""
    answered = 0
    while last != b"1999":
        event = await r.peer.next_event()
        assert isinstance(event, Pong)
        assert int(event.payload) >= int(last or b"0")
        last = bytes(event.payload)
        answered += 1

    assert answered >= 1_000
    assert r.connection.is_usable


async def test_pongs_that_nobody_asked_for_are_ignored(rig, nursery, autojump_clock) -> None:
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(frame(PONG, b"?") + frame(PONG) + frame(TEXT, b"text"))
    assert ("text",) == await r.connection.receive()


async def test_a_pong_for_a_later_ping_answers_the_earlier_ones(rig, nursery, autojump_clock) -> None:
    """A server may skip pings: RFC 6455, section 5.5.3."""
    r = rig(heartbeat_interval=3600)
    await r.open(nursery)
    wire = r.connection._wire
    async with trio.open_nursery() as pings:
        pings.start_soon(wire.ping)
        first = await r.peer.next_event()
        pings.start_soon(wire.ping)
        second = await r.peer.next_event()
        assert isinstance(first, Ping) and isinstance(second, Ping)
        assert first.payload != second.payload
        await r.peer.say(Pong(second.payload))
        with trio.fail_after(5):
            while pings.child_tasks:
                await trio.testing.wait_all_tasks_blocked()


# --- compression


async def test_compression_is_not_offered_and_not_taken(rig, nursery, autojump_clock) -> None:
    r = rig()
    nursery.start_soon(r.run)
    request = await r.peer.next_event()
    assert not request.extensions
    await r.peer.stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    await r.ended.wait()

    assert isinstance(r.failure, ConnectFailed)
    assert "upgrade" == r.failure.stage


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("size", [100_000, 100_001, 20_000_000])
async def test_a_compressed_message_is_measured_inflated(
    nursery, autojump_clock, make_rig, size, fragments
) -> None:
    endpoint = Endpoint("ws://host/v1", wire="websockets", compression="deflate")
    r = make_rig(EngineOptions(max_message_size=100_000), endpoint)
    nursery.start_soon(r.run)
    await r.peer.accept(deflate=True)
    await r.opened.wait()
    r.connection.begin_use()
    deflate = zlib.compressobj(wbits=-15)
    packed = (deflate.compress(b"x" * size) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    step = -(-len(packed) // fragments)
    pieces = [packed[start : start + step] for start in range(0, len(packed), step)]
    for number, piece in enumerate(pieces):
        first, last = number == 0, number == len(pieces) - 1
        await r.peer.stream.send_all(frame(TEXT if first else CONT, piece, fin=last, rsv=4 if first else 0))
    if size == 100_000:
        assert ("x" * size,) == await r.connection.receive()
    else:
        with pytest.raises(ConnectionLost, match="raise max_message_size") as caught:
            await r.connection.receive()
        assert (1009, "us") == (caught.value.close.code, caught.value.close.by)


async def test_requests_are_compressed_where_the_server_agrees(nursery, autojump_clock, make_rig) -> None:
    endpoint = Endpoint("ws://host/v1", wire="websockets", compression="deflate")
    r = make_rig(EngineOptions(), endpoint)
    nursery.start_soon(r.run)
    await r.peer.accept(deflate=True)
    await r.opened.wait()
    r.connection.begin_use()
    before = r.connection.statistics().bytes_up
    await r.connection.send("x" * 100_000)
    event = await r.peer.next_event()

    assert "x" * 100_000 == event.data
    assert r.connection.statistics().bytes_up - before < 1_000
