"""The server survives what clients do to it: damaged frames, silence, slowness, and many of them at once."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial

import pytest
import server_fuzz
import trio
from server_client import create
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from triplane.server import Server


def mocked(run, *arguments):
    return trio.run(partial(run, *arguments), clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_sample_of_damaged_frames(seed):
    """Much more of it: `nox -s fuzz -- server`."""
    frames = mocked(server_fuzz.run, seed, range(7))

    assert frames["message"] > 150


def test_the_fuzzer_notices_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(server_fuzz.Fuzzed, "respond", lambda _model, _request: iter(()))

    with pytest.RaisesGroup(server_fuzz.Broken, flatten_subgroups=True):
        mocked(server_fuzz.run, 1, range(1))


def test_the_fuzzer_notices_a_server_that_raises(monkeypatch):
    def raising(_data, *_more):
        raise ZeroDivisionError

    monkeypatch.setattr("triplane.server.websocket.session.parse_frame", raising)

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True, allow_unwrapped=True):
        mocked(server_fuzz.run, 1, range(3))


async def held(number: int, **options) -> int:
    """The bytes that a server holds for each of `number` idle WebSockets, its side of the streams included."""
    server = Server(max_journal=0, **options)
    async with trio.open_nursery() as nursery:

        async def connect(count: int) -> None:
            for _ in range(count):
                peer = server_fuzz.Peer(server, nursery)
                assert await peer.upgrade()
                peers.append(peer)
            await wait_all_tasks_blocked()
            gc.collect()

        peers: list[server_fuzz.Peer] = []
        await connect(5)
        tracemalloc.start()
        try:
            await connect(number)
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    return size // number


def test_an_idle_connection_is_small():
    """Two thousand of them: see `scripts/soak_server.py`."""
    assert mocked(held, 15) < 100_000


async def test_half_open_clients_hold_nobody_up(connect, autojump_clock):
    """They took part in the upgrade, and then their machines were switched off in the middle of a frame."""
    other = await connect()
    for cut in (1, 2, 5, 20):
        client = await connect()
        await client.stream.send_all((b"\x81\x94" + bytes(4) + b'{"type":"response.c')[:cut])

    assert (await other.ask("WAIT 60000\nSAY 1 x")).text == "x"
    # Nothing ends them, as nothing tells a client that thinks from one that is gone; but the server can still end.
    assert other.server.statistics().connections_now == 5
    other.shut_down()
    await trio.sleep(1.1)
    assert other.server.statistics().connections_now == 0


async def test_a_slow_reader_gets_everything_and_costs_little(connect, autojump_clock):
    """What is made for a client that does not read waits in the stream, not in the server."""
    client = await connect(pair=lockstep_stream_pair, send_timeout=3600)
    await client.send(create(f"SAY 2000 {'x' * 100}"))
    await wait_all_tasks_blocked()

    # A batch is as much as is made ahead.
    assert client.server.statistics().events_sent == 0
    events = 0
    while (await client.receive())["type"] != "response.completed":
        events += 1
        if events % 400 == 0:
            await trio.sleep(1)
    assert events == 2007


async def test_clients_that_ask_and_never_read_are_given_up(autojump_clock):
    server = Server(send_timeout=10)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            ours, theirs = lockstep_stream_pair()
            nursery.start_soon(server.handle, theirs)
            await ours.send_all(server_fuzz.UPGRADE)
            await ours.receive_some(10_000)
            await ours.send_all(
                server_fuzz.frame(b'{"type":"response.create","model":"directive","input":"x"}')
            )
        await trio.sleep(9)
        assert server.statistics().connections_now == 20
        await trio.sleep(3)
        assert server.statistics().connections_now == 0


async def test_a_ping_flood_is_answered_and_forgotten(connect, autojump_clock):
    client = await connect()
    flood = server_fuzz.frame(b"p", first=0x89) * 500

    await client.stream.send_all(flood)

    assert (await client.ask("hello")).text == "echo: hello"
    assert len(client.pongs) == 500


async def test_heads_that_never_end(autojump_clock):
    server = Server(handshake_timeout=10)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            ours, theirs = memory_stream_pair()
            nursery.start_soon(server.handle, theirs)
            await ours.send_all(b"GET / HTTP/1.1\r\nX: ")
        await trio.sleep(12)
        assert server.statistics().connections_now == 0
