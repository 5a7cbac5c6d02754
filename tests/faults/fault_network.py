"""The networks that tests put between an engine and a server: one of memory streams, and a TCP proxy on loopback."""

from __future__ import annotations

import math
import random
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import attrs
import trio
from fault_relay import MemoryEnd, memory_pair, relay
from fault_toxics import CLEAN, Link

import triplane
from triplane.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence


class FaultNetwork:
    """What `triplane.open_engine(network=…)` takes: memory streams to one server, each through a link of its own.

    Args:
        nursery: Where the links live, and the server's connections; links that nothing ends live until it is
            cancelled.
        server: Who is at the other end.
        links: Those of the first connections, in order.
        then: The link of every later one.
        pair: What makes the streams; see `memory_pair`.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        server: Server,
        links: Sequence[Link] = (),
        *,
        then: Link = CLEAN,
        pair: Callable[[], tuple[MemoryEnd, MemoryEnd]] = memory_pair,
    ) -> None:
        self._nursery = nursery
        self._server = server
        self._links = chain(links, repeat(then))
        self._pair = pair
        self.streams: list[MemoryEnd] = []

    @property
    def opened(self) -> int:
        """How many connections were made."""
        return len(self.streams)

    @property
    def left_open(self) -> int:
        """How many of them the engine has not closed."""
        return sum(not stream.is_closed for stream in self.streams)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """See `triplane.Network`."""
        await trio.lowlevel.checkpoint()
        link = next(self._links)
        client, served = self._pair()
        if link != CLEAN:
            near, (far, served) = served, self._pair()
            self._nursery.start_soon(relay, near, far, link)
        self.streams.append(client)
        self._nursery.start_soon(self._server.handle, served)
        return client


@attrs.define(eq=False)
class FaultBench:
    """An engine, its server and the network between them; and, once the engine is left, when that was and what of it
    is still open.
    """

    engine: triplane.Engine
    server: Server
    network: FaultNetwork
    left_at: float = math.nan
    left_open: int = -1


@asynccontextmanager
async def open_faulty_bench(
    links: Sequence[Link] = (),
    *,
    then: Link = CLEAN,
    pair: Callable[[], tuple[MemoryEnd, MemoryEnd]] = memory_pair,
    endpoint: triplane.Endpoint | None = None,
    options: triplane.EngineOptions | None = None,
    **server_options: Any,
) -> AsyncIterator[FaultBench]:
    """An engine on a local server, with model ``directive``, over a `FaultNetwork`."""
    server_options.setdefault("model", "directive")
    async with trio.open_nursery() as nursery:
        server = Server(epoch=0.0, **server_options)
        network = FaultNetwork(nursery, server, links, then=then, pair=pair)
        async with triplane.open_engine(
            endpoint or triplane.Endpoint("ws://memory/v1"),
            options=options,
            network=network,
            rng=random.Random(7),
        ) as engine:
            bench = FaultBench(engine, server, network)
            yield bench
        bench.left_at, bench.left_open = trio.current_time(), network.left_open
        nursery.cancel_scope.cancel()


class FaultProxy:
    """A TCP proxy on loopback; `open_fault_proxy` makes one.

    Attributes:
        port: Where it listens. Before `listen` the port is taken, and who connects is refused.
        accepted: How many connections it has accepted.
        open: How many of them are there now.
    """

    def __init__(self, nursery: trio.Nursery, target: int, links: Sequence[Link], then: Link) -> None:
        self._nursery = nursery
        self._target = target
        self._links = chain(links, repeat(then))
        self._socket = trio.socket.socket()
        self.accepted = 0
        self.open = 0
        self.port = 0

    async def bind(self) -> None:
        await self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def listen(self) -> None:
        """Accept connections from now on."""
        self._socket.listen()
        self._nursery.start_soon(trio.serve_listeners, self._handle, [trio.SocketListener(self._socket)])

    def close(self) -> None:
        self._socket.close()

    async def _handle(self, client: trio.SocketStream) -> None:
        link = next(self._links)
        self.accepted += 1
        self.open += 1
        try:
            async with client:
                server = await trio.open_tcp_stream("127.0.0.1", self._target)
                async with server:
                    await relay(client, server, link)
        finally:
            self.open -= 1


@asynccontextmanager
async def open_fault_proxy(
    target: int, links: Sequence[Link] = (), *, then: Link = CLEAN, listening: bool = True
) -> AsyncIterator[FaultProxy]:
    """A proxy to a port of this machine, which carries each connection through a link of its own.

    Args:
        target: The port that it leads to.
        links: Those of the first connections, in order.
        then: The link of every later one.
        listening: Whether it accepts connections at once, and does not refuse them until `FaultProxy.listen`.
    """
    async with trio.open_nursery() as nursery:
        proxy = FaultProxy(nursery, target, links, then)
        try:
            await proxy.bind()
            if listening:
                proxy.listen()
            yield proxy
        finally:
            nursery.cancel_scope.cancel(reason="the proxy is being left")
            proxy.close()
