"""The proxy on real sockets, and an engine behind it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import trio
from fault_network import open_fault_proxy
from fault_toxics import Bandwidth, BlackHole, Latency, Link, Reset, Slicer

import triplane

AGENT = triplane.Agent("m")


@pytest.fixture
async def echo(nursery) -> int:
    """The port of a server that says everything again."""

    async def handle(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    return listener.socket.getsockname()[1]


async def test_bytes_and_ends_come_through(echo) -> None:
    async with open_fault_proxy(echo) as proxy:
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port) as stream:
            await stream.send_all(b"hello")
            assert b"hello" == await stream.receive_some()
            assert (1, 1) == (proxy.accepted, proxy.open)
            await stream.send_eof()
            assert b"" == await stream.receive_some()
        while proxy.open:
            await trio.lowlevel.checkpoint()


async def test_each_connection_has_the_next_link(echo) -> None:
    async def ask(port: int) -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            try:
                await stream.send_all(b"abcdef")
                await stream.send_eof()
                return b"".join([bytes(data) async for data in stream])
            except trio.BrokenResourceError:
                return b"reset"

    links = [Link(down=[Reset(0)]), Link(down=[Slicer(1)])]
    async with open_fault_proxy(echo, links, then=Link(up=[BlackHole(3)])) as proxy:
        answers = [await ask(proxy.port), await ask(proxy.port)]
        with trio.move_on_after(0.05) as scope:
            await ask(proxy.port)

    assert [b"reset", b"abcdef"] == answers
    assert scope.cancelled_caught
    assert 3 == proxy.accepted


async def test_it_refuses_until_it_listens(echo) -> None:
    async with open_fault_proxy(echo, listening=False) as proxy:
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", proxy.port)
        proxy.listen()
        async with await trio.open_tcp_stream("127.0.0.1", proxy.port):
            pass


async def test_a_run_over_a_bad_network(local_server) -> None:
    """Late, thin, and in crumbs, in both directions."""

    @triplane.tool(effect="read")
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    bad = [Slicer(200), Bandwidth(2_000_000), Latency(0.001, jitter=0.001)]
    async with open_fault_proxy(local_server.port, then=Link(bad, bad)) as proxy:
        async with triplane.open_engine(triplane.Endpoint.local(proxy.port)) as engine:
            agent = triplane.Agent("m", "Be terse.", [add])
            inputs = ['REPEAT 3 CALL add {"a": 1, "b": 2}', "SAY 50 word "] * 4
            async with engine.fan_out(agent, inputs) as results:
                found = {result.index: result async for result in results}

    texts = [found[index].result.text for index in range(8)]
    assert ['RESULT: "3"', "word " * 50] * 4 == texts
    assert [0] * 8 == [found[index].result.reconnects for index in range(8)]
    assert engine.statistics().opened == engine.statistics().closed == proxy.accepted
