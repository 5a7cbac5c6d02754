"""How connections end: clients that leave, stay silent, do not read or talk nonsense; faults; the server's own end."""

from __future__ import annotations

import struct

import pytest
import trio
import wsproto
from hypothesis import given, settings
from hypothesis import strategies as st
from server_client import Client, Closed, create
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from triplane.server import CloseSocket, Drop, Ids, Server, Stall
from triplane.server.websocket.frames import text_frames
from triplane.server.websocket.wire import GuardedStream, Socket, Traffic

UPGRADE = (
    b"GET /responses HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def end_of(client) -> Closed:
    """Read to the end and return how it came."""
    with pytest.raises(Closed) as caught:
        while True:
            await client.receive()
    return caught.value


async def settled(client) -> None:
    await wait_all_tasks_blocked()
    assert client.server.statistics().connections_now == 0


async def test_a_client_that_closes(connect):
    client = await connect()

    assert await client.close(1001) == 1001
    assert await client.stream.receive_some() == b""
    await settled(client)


@pytest.mark.parametrize("message", [None, "hello", "WAIT 99999\nSAY 1 x", "SAY 999999999 x"])
async def test_a_client_that_vanishes(connect, autojump_clock, message):
    client = await connect()
    if message:
        await client.send(create(message))
        await client.receive()

    await client.stream.aclose()
    await settled(client)

    assert trio.current_time() < 1.1


async def test_a_client_that_vanishes_does_not_disturb_others(connect):
    other = await connect()
    client = await connect()
    await client.send(create("SAY 999999999 x"))
    await client.stream.aclose()

    assert (await other.ask("hello")).text == "echo: hello"


async def test_a_client_that_does_not_read(connect, autojump_clock):
    other = await connect(send_timeout=30)
    client = await connect(pair=lockstep_stream_pair)
    await client.send(create("SAY 5 x"))

    # Nobody else notices.
    assert (await other.ask("WAIT 5000\nSAY 1 y")).text == "y"
    await trio.sleep(24.9)
    assert client.server.statistics().connections_now == 2
    await trio.sleep(1.2)  # and a second in which the client might have said goodbye
    assert client.server.statistics().connections_now == 1
    assert (await other.ask("hello")).text == "echo: hello"


@pytest.mark.parametrize("said", [b"\x89\x80\0\0\0\0", b"\x88\x80\0\0\0\0"], ids=["ping", "close"])
async def test_a_client_that_does_not_read_our_answers(connect, autojump_clock, said):
    client = await connect(pair=lockstep_stream_pair, send_timeout=30)
    await client.stream.send_all(said)

    await trio.sleep(29.9)
    assert client.server.statistics().connections_now == 1
    await trio.sleep(1.2)
    assert client.server.statistics().connections_now == 0


async def test_a_client_that_sends_more_than_can_wait(connect, autojump_clock):
    client = await connect(pair=lockstep_stream_pair, max_queued_bytes=5000, latency=60)
    sent = 0

    with trio.move_on_after(30):
        while True:
            await client.send(create("x" * 1000))
            sent += 1

    # One being answered, five in the queue, one put to it, and those in trio-websocket's hands.
    assert 7 <= sent <= 10


async def test_all_that_waits_is_answered(connect, autojump_clock):
    client = await connect(max_queued_bytes=1, latency=1)
    for number in range(20):
        await client.send(create(str(number)))

    assert [(await client.turn()).text for _ in range(20)] == [f"echo: {number}" for number in range(20)]


LIMIT = 2000


def padded(size: int, character: str = "x") -> str:
    """A create of exactly `size` bytes."""
    empty = len(create_json(""))
    body, rest = divmod(size - empty, len(character.encode()))
    return create_json(character * body + "x" * rest)


def create_json(text: str) -> str:
    return f'{{"type":"response.create","model":"directive","input":"{text}"}}'


@pytest.mark.parametrize("character", ["x", "é", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("form", [str, str.encode])
async def test_the_largest_message(connect, character, form):
    client = await connect(max_message_size=LIMIT)
    message = padded(LIMIT, character)
    assert len(message.encode()) == LIMIT

    await client.send(form(message))

    assert (await client.turn()).types[-1] == "completed"


@pytest.mark.parametrize("character", ["x", "é", "\N{GRINNING FACE}"])
@pytest.mark.parametrize("form", [str, str.encode])
@pytest.mark.parametrize("queued", [0, 2])
async def test_a_message_that_is_too_large(connect, autojump_clock, character, form, queued):
    client = await connect(max_message_size=LIMIT, latency=5)
    for _ in range(queued):
        await client.send(create("queued"))

    await client.send(form(padded(LIMIT + 1, character)))
    end = await end_of(client)

    assert end.code == 1009
    assert str(LIMIT) in end.reason
    assert client.server.statistics().events_sent == 0
    await client.stream.aclose()
    await settled(client)


async def test_a_large_message_in_fragments(connect, autojump_clock):
    client = await connect(max_message_size=LIMIT)
    text = wsproto.events.TextMessage

    for part in ("{" + " " * 900, " " * 900):
        await client.stream.send_all(client.ws.send(text(part, message_finished=False)))
    await client.stream.send_all(client.ws.send(text(" " * 900)))

    assert (await end_of(client)).code == 1009


@pytest.mark.parametrize("data", [b"\x81\xfe\x07\xd1\0\0\0\0" + b"x" * 2001, b"\x83\x80\0\0\0\0"])
async def test_one_close_frame_and_then_the_end(connect, autojump_clock, data):
    client = await connect(max_message_size=LIMIT)
    await client.stream.send_all(data)

    received = b""
    while piece := await client.stream.receive_some():
        received += piece

    assert received[:1] == b"\x88"
    assert len(received) == 2 + received[1]


async def test_after_too_large_a_message_the_rest_is_read(connect, autojump_clock):
    """Or a client that is still writing would be reset and never see the close frame."""
    client = await connect(pair=lockstep_stream_pair, max_message_size=LIMIT, close_timeout=3)
    frame = b"\x81\xff" + struct.pack("!Q", 1_000_000) + bytes(4)
    codes = []

    async def read():
        codes.append((await end_of(client)).code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await client.stream.send_all(frame)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.stream.send_all(b"x" * 1000)
                await trio.sleep(0.1)

    assert codes == [1009]
    assert trio.current_time() == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", 1002),  # not masked
        (b"\xc1\x81\0\0\0\0x", 1002),  # a reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # a reserved opcode
        (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in fragments
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),  # a ping too long
        (b"\x88\x81\0\0\0\0x", 1002),  # half a close code
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),  # a close code that must not be sent
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", 1007),  # a reason that is not UTF-8
    ],
)  # fmt: skip
async def test_broken_frames(connect, autojump_clock, data, code):
    client = await connect()

    await client.stream.send_all(data)

    assert (await end_of(client)).code == code
    await client.stream.aclose()
    await settled(client)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.binary(min_size=1, max_size=60) | st.sampled_from([b"\x89\x80\0\0\0\0", b"\x88\x80\0\0\0\0"]),
        max_size=6,
    )
)
def test_noise_after_the_upgrade_ends_no_more_than_its_connection(noise):
    async def main():
        server = Server(close_timeout=1)
        async with trio.open_nursery() as nursery:
            clients = []
            for _ in range(2):
                ours, theirs = memory_stream_pair()
                nursery.start_soon(server.handle, theirs)
                clients.append(await Client(ours).connect())
            for data in noise:
                try:
                    await clients[0].stream.send_all(data)
                except trio.BrokenResourceError:
                    break
                await wait_all_tasks_blocked()
            await clients[0].stream.aclose()
            assert (await clients[1].ask("hello")).text == "echo: hello"
            await clients[1].close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_noise_instead_of_a_head(noise, then_closes):
    async def main():
        server = Server(handshake_timeout=5)
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.handle, theirs)
            await ours.send_all(b"GET /healthz HTTP/1.1\r\n" + noise if then_closes else noise)
            if then_closes:
                await ours.send_stream.aclose()
            received = b""
            while data := await ours.receive_some():
                received += data
            assert received == b"" or received.startswith(b"HTTP/1.1 ")

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_ping_after_our_close_frame(connect, autojump_clock):
    """trio-websocket's reader dies of it, see ReaderDied."""
    client = await connect(faults=[CloseSocket()])
    await client.send(create("x"))
    await wait_all_tasks_blocked()

    await client.stream.send_all(b"\x89\x80\0\0\0\0")

    assert (await end_of(client)).code == 1011
    await settled(client)


async def test_drop(connect):
    client = await connect(faults=[Drop(after_events=3, nth=1)])
    await client.send(create("SAY 3 x"))

    types = [(await client.receive())["type"] for _ in range(3)]
    end = await end_of(client)
    # The fault was for the first response of the server only.
    turn = await (await connect()).ask("SAY 3 x")

    assert types == ["response.created", "response.in_progress", "response.output_item.added"]
    assert end.code is None
    assert turn.text == "xxx"


async def test_a_dropped_response_is_not_stored(connect):
    client = await connect(faults=[Drop(after_events=5)])
    await client.send(create("hello", store=True))
    response_id = (await client.receive())["response"]["id"]
    await end_of(client)

    other = await connect()

    assert (await other.ask("x", previous_response_id=response_id)).error[
        "code"
    ] == "previous_response_not_found"
    assert client.server.statistics().responses_completed == 0


async def test_a_response_dropped_after_its_end_is_stored(connect):
    client = await connect(faults=[Drop(after_events=9, nth=1)])
    turn = await client.ask("hello", store=True)
    assert (await end_of(client)).code is None

    assert (await (await connect()).ask("x", previous_response_id=turn.id)).text == "echo: x"


@pytest.mark.parametrize("events", [0, 1, 4])
async def test_close_code(connect, events):
    client = await connect(faults=[CloseSocket(after_events=events, code=1013, reason="later")])
    await client.send(create("SAY 9 x"))
    for _ in range(events):
        await client.receive()

    end = await end_of(client)

    assert (end.code, end.reason) == (1013, "later")
    await settled(client)


async def test_a_fault_beyond_the_end_does_not_strike(connect):
    client = await connect(faults=[CloseSocket(after_events=100)])

    assert (await client.ask("hello")).text == "echo: hello"


async def test_stall(connect, autojump_clock):
    client = await connect(faults=[Stall(after_events=2, nth=2)])
    await client.ask("the first response is fine")
    await client.send(create("hello"))
    for _ in range(2):
        await client.receive()

    with trio.move_on_after(3600) as waited:
        await client.receive()
    await client.ping(b"alive?")
    with trio.move_on_after(1):
        await client.receive()

    assert waited.cancelled_caught
    assert client.pongs == [b"alive?"]
    assert await client.close() == 1000
    await settled(client)


async def test_the_server_ends_with_a_close_frame(connect, autojump_clock):
    idle = await connect()
    busy = await connect()
    await busy.send(create("WAIT 99999\nSAY 1 x"))
    await busy.receive()

    idle.shut_down()

    for client in (idle, busy):
        end = await end_of(client)
        assert (end.code, end.reason) == (1001, "The server is shutting down.")
    await settled(idle)
    assert trio.current_time() == 0


async def test_the_server_does_not_wait_long_for_silent_clients(connect, autojump_clock):
    clients = [await connect(close_timeout=2)] + [await connect() for _ in range(9)]

    clients[0].shut_down()
    await trio.sleep(1.9)
    assert clients[0].server.statistics().connections_now == 10
    await trio.sleep(0.2)

    assert clients[0].server.statistics().connections_now == 0


async def test_a_client_in_mid_write_is_not_waited_for(connect, autojump_clock):
    """Half a frame may be out already, so there is no saying goodbye."""
    client = await connect(pair=lockstep_stream_pair)
    await client.send(create("SAY 5 x"))
    await wait_all_tasks_blocked()

    client.shut_down()
    await settled(client)

    assert trio.current_time() == 0


async def test_a_close_frame_waits_for_a_write_that_is_going_on(connect, autojump_clock):
    client = await connect(pair=lockstep_stream_pair)
    await client.ping(b"1")
    await wait_all_tasks_blocked()  # the pong is being written

    client.shut_down()
    await wait_all_tasks_blocked()
    end = await end_of(client)

    assert (client.pongs, end.code) == ([b"1"], 1001)


@pytest.mark.parametrize("sent", [b"", b"GET /v1/resp", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"])
@pytest.mark.parametrize("pair", [memory_stream_pair, lockstep_stream_pair])
async def test_cancelled_while_speaking_http(connect, autojump_clock, sent, pair):
    client = await connect(upgrade=False, pair=pair)
    if sent:
        await client.stream.send_all(sent)
    await wait_all_tasks_blocked()

    client.shut_down()
    await settled(client)

    assert trio.current_time() == 0


async def test_cancelled_in_mid_upgrade(connect, autojump_clock):
    client = await connect(upgrade=False, pair=lockstep_stream_pair)
    await client.stream.send_all(UPGRADE)
    await wait_all_tasks_blocked()

    client.shut_down()
    await settled(client)

    assert trio.current_time() == 0


@pytest.mark.parametrize(
    "request_head", [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", UPGRADE], ids=["get", "upgrade"]
)
async def test_a_client_that_leaves_before_its_answer(connect, autojump_clock, request_head):
    client = await connect(upgrade=False, pair=lockstep_stream_pair)
    await client.stream.send_all(request_head)
    await wait_all_tasks_blocked()

    await client.stream.aclose()
    await settled(client)

    assert trio.current_time() == 0


async def test_an_upgrade_whose_answer_is_not_read(connect, autojump_clock):
    client = await connect(upgrade=False, pair=lockstep_stream_pair, handshake_timeout=4)
    await client.stream.send_all(UPGRADE)

    await trio.sleep(4.1)

    assert client.server.statistics().connections_now == 0


async def test_a_bug_is_not_swallowed(nursery):
    """Clients end connections; our own mistakes end the server."""

    class Bug(Exception):  # noqa: N818
        pass

    def buggy():
        raise Bug

    server = Server()
    server._shared.now = buggy
    ours, theirs = memory_stream_pair()

    with pytest.RaisesGroup(Bug, flatten_subgroups=True):
        async with trio.open_nursery() as inner:
            inner.start_soon(server.handle, theirs)
            client = await Client(ours).connect()
            await client.send(create("x"))
            await client.close()


async def test_the_same_requests_get_the_same_bytes(autojump_clock):
    async def run() -> bytes:
        server = Server(ids=Ids("seed"), epoch=0, latency=1)
        ours, theirs = memory_stream_pair()
        received = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.handle, theirs)
            client = await Client(ours).connect()
            for text in ("CALL a {}", "WAIT 100\nSAY 3 x", "hello"):
                await client.send(create(text))
            with trio.move_on_after(10):
                while data := await ours.receive_some():
                    received += data
            await ours.aclose()
        return received

    first = await run()
    started = trio.current_time()
    # The clock has moved on, so this server begins at another time; what it says must not.
    second = await run()

    assert started > 0
    assert first == second
    assert b'"type":"response.completed"' in first


@pytest.mark.parametrize("size", [0, 125, 126, 127, 65_535, 65_536, 65_537])
async def test_frames_of_all_sizes(nursery, size):
    ours, theirs = memory_stream_pair()
    stream = GuardedStream(
        theirs, key=b"dGhlIHNhbXBsZSBub25jZQ==", rest=b"", traffic=Traffic(), send_timeout=60
    )
    socket = await Socket.accept(nursery, stream, max_message_size=1)
    answer = await ours.receive_some()
    client = wsproto.connection.Connection(wsproto.connection.ConnectionType.CLIENT)

    await socket.send(text_frames([b"x" * size, b"y"]))
    client.receive_data(await ours.receive_some())

    assert answer.startswith(b"HTTP/1.1 101 ")
    messages = [(event.data, event.message_finished) for event in client.events()]
    assert messages == [("x" * size, True), ("y", True)]
    nursery.cancel_scope.cancel()


async def test_an_interrupted_write_dooms_the_stream():
    ours, theirs = lockstep_stream_pair()
    stream = GuardedStream(theirs, key=b"", rest=b"", traffic=Traffic(), send_timeout=60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"half a fra")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"me")
    await ours.aclose()
