"""The relay: two streams in memory, and what a link does between them."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from fault_relay import memory_pair, relay
from fault_toxics import Bandwidth, BlackHole, HalfOpen, Latency, Link, Reset, Slicer, SlowClose


@pytest.fixture
def linked(nursery):
    """Start a relay; returns the client's and the server's stream."""

    def linked(pair=memory_pair, **toxics):
        client, near = pair()
        far, server = pair()
        nursery.start_soon(relay, near, far, Link(**toxics))
        return client, server

    return linked


async def receive_all(stream) -> bytes:
    """What comes until the end of the stream."""
    data = b""
    while more := await stream.receive_some():
        data += more
    return data


async def receive_exactly(stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some()
        assert more, "the stream has ended"
        data += more
    return data


async def test_a_clean_link_carries_bytes_and_ends(linked, autojump_clock) -> None:
    client, server = linked()
    await client.send_all(b"x" * 100_000)
    await client.send_eof()
    assert b"x" * 100_000 == await receive_all(server)
    # The other direction goes on.
    await server.send_all(b"answer")
    await server.aclose()
    assert b"answer" == await receive_all(client)
    assert 0 == trio.current_time()


async def test_latency_holds_nothing_up(linked, autojump_clock) -> None:
    client, server = linked(up=[Latency(10)])
    for letter in (b"a", b"b", b"c"):
        await client.send_all(letter)
        await trio.sleep(1)
    arrived = [(bytes(await server.receive_some()), trio.current_time()) for _ in range(3)]

    assert [(b"a", 10), (b"b", 11), (b"c", 12)] == arrived


async def test_who_sends_faster_than_the_link_carries_has_to_wait(linked, autojump_clock) -> None:
    client, server = linked(trio.testing.lockstep_stream_pair, up=[Bandwidth(1_000)])
    sent_after = []

    async def send() -> None:
        for _ in range(200):
            await client.send_all(b"x" * 1_000)
        sent_after.append(trio.current_time())
        await client.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert 200_000 == len(await receive_all(server))
    # 200 s for all of it, and no more is on its way than a few dozen pieces.
    assert 200 == trio.current_time()
    assert 150 < sent_after[0] < 200


async def test_pieces_arrive_one_by_one(linked, autojump_clock) -> None:
    client, server = linked(up=[Slicer(2, gap=1)])
    await client.send_all(b"abcde")
    pieces = [await server.receive_some() for _ in range(3)]

    assert [b"ab", b"cd", b"e"] == pieces
    assert 2 == trio.current_time()


@pytest.mark.parametrize("byte", [0, 3])
async def test_a_reset_is_seen_at_both_ends(linked, autojump_clock, byte) -> None:
    client, server = linked(down=[Reset(byte)])
    await server.send_all(b"abcdef")
    assert b"abcdef"[:byte] == await receive_exactly(client, byte)
    for stream in (client, server):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


async def test_a_black_hole_takes_everything_and_the_other_direction_goes_on(linked, autojump_clock) -> None:
    client, server = linked(up=[BlackHole(2)])
    await client.send_all(b"abc")
    await client.send_eof()
    assert b"ab" == await receive_exactly(server, 2)
    await server.send_all(b"answer")
    assert b"answer" == await receive_exactly(client, 6)
    with trio.move_on_after(3600) as scope:
        await server.receive_some()
    assert scope.cancelled_caught


async def test_of_a_half_open_connection_nobody_is_told(linked, autojump_clock) -> None:
    client, server = linked(trio.testing.lockstep_stream_pair, down=[HalfOpen(2)])
    with trio.move_on_after(1):
        await server.send_all(b"abc")
    assert b"ab" == await receive_exactly(client, 2)
    for wait in (client.receive_some, lambda: client.send_all(b"x")):
        with trio.move_on_after(3600) as scope:
            await wait()
        assert scope.cancelled_caught


async def test_a_slow_close(linked, autojump_clock) -> None:
    client, server = linked(down=[SlowClose(30)])
    await server.send_all(b"abc")
    await server.aclose()
    assert b"abc" == await receive_exactly(client, 3)
    assert 0 == trio.current_time()
    assert b"" == await receive_all(client)
    assert 30 == trio.current_time()


async def test_a_peer_that_is_gone_is_a_reset_for_who_still_sends(linked, autojump_clock) -> None:
    client, server = linked()
    await client.aclose()
    assert b"" == await server.receive_some()
    await server.send_all(b"x")
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError):
        await server.send_all(b"x")
