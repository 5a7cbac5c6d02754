"""A peer that does what it is told, byte by byte."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from triplane import Endpoint, EngineOptions, open_engine
from triplane.net.connection import Connection
from triplane.net.dial import Dialler
from triplane.net.lane import Lease


class Peer:
    """The server's end of one memory stream, with a WebSocket state machine that is driven by hand."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []

    async def next_event(self) -> Event:
        """The next thing that the client said."""
        while not self._events:
            data = await self.stream.receive_some()
            self.protocol.receive_data(data or None)
            self._events.extend(self.protocol.events())
            if not data and not self._events:
                raise EOFError
        return self._events.pop(0)

    async def say(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def accept(self, *, deflate: bool = False) -> Request:
        request = await self.next_event()
        assert isinstance(request, Request)
        await self.say(AcceptConnection(extensions=[PerMessageDeflate()] if deflate else []))
        return request

    async def answer(self) -> None:
        """Answer pings, closes and nothing else, for ever."""
        while True:
            event = await self.next_event()
            if isinstance(event, (Ping, CloseConnection)):
                await self.say(event.response())
            if isinstance(event, CloseConnection):
                await self.stream.aclose()
                return

    async def text(self, text: str) -> None:
        await self.say(TextMessage(text))


class OneStream:
    """A network that hands out one stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return self._stream


class Rig:
    """A connection, the peer at its other end, and the task that runs it."""

    def __init__(self, options: EngineOptions, endpoint: Endpoint) -> None:
        client, server = trio.testing.memory_stream_pair()
        self.client = client
        self.peer = Peer(server)
        self.connection = Connection("c1", endpoint, options)
        self.opened = trio.Event()
        self.ended = trio.Event()
        self.failure: BaseException | None = None
        self._dialler = Dialler(OneStream(client), options)

    async def run(self) -> None:
        try:
            await self.connection.run(self._dialler, on_open=self.opened.set)
        except Exception as failure:
            self.failure = failure
        finally:
            self.ended.set()

    async def open(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self.run)
        await self.peer.accept()
        await self.opened.wait()


@pytest.fixture(params=["trio-websocket", "websockets"])
def wire(request: pytest.FixtureRequest) -> str:
    """Every wire in turn."""
    return str(request.param)


@pytest.fixture
def rig(wire):
    """Makes a `Rig` on each wire: options by keyword."""

    def make(*, endpoint: Endpoint | None = None, **options: Any) -> Rig:
        place = endpoint or Endpoint("ws://host/v1", api_key="k")
        return Rig(EngineOptions(**options), attrs.evolve(place, wire=wire))

    return make


class Peers:
    """A network whose other ends are in the test's hands, in the order in which they were dialled."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Peer](8)

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, server = trio.testing.memory_stream_pair()
        self._send.send_nowait(Peer(server))
        return client

    async def next(self) -> Peer:
        peer = await self._receive.receive()
        await peer.accept()
        return peer


@pytest.fixture
def by_hand():
    """Opens an engine for one connection with four lanes, whose peers the test plays; gives what makes leases, too."""

    @asynccontextmanager
    async def opened(lanes: str = "auto", **options: Any):
        peers = Peers()
        endpoint = Endpoint("ws://host/v1", lanes=lanes)
        limits = EngineOptions(
            **{"max_connections": 1, "lanes_per_connection": 4, "backoff_base": 0.01, **options}
        )
        async with open_engine(endpoint, options=limits, network=peers, rng=random.Random(1)) as engine:
            yield engine, peers, partial(Lease, engine._pool, endpoint)

    return opened


@pytest.fixture
def make_rig() -> type[Rig]:
    """Makes a `Rig` of options and an endpoint."""
    return Rig


@pytest.fixture
def make_peer() -> type[Peer]:
    """Makes a `Peer` of a stream."""
    return Peer
