"""Cancelled at any step of DNS, TCP, the proxy, TLS or the upgrade, a connection leaves nothing open."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial

import pytest
import trio
import trio.socket
import trio.testing
import trustme

import triplane
from cancel_steps import cancelled_at
from triplane import Endpoint, EngineOptions
from triplane.net.connection import Connection
from triplane.net.dial import Dialler, TcpNetwork
from triplane.server import RefuseUpgrade, Server


class Watched(trio.abc.Stream):
    """A stream that its network counts while it is open."""

    def __init__(self, stream: trio.abc.Stream, still_open: set[Watched]) -> None:
        self._stream = stream
        self._still_open = still_open
        still_open.add(self)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self._still_open.discard(self)
        await self._stream.aclose()


class WatchedNetwork:
    """A host of two addresses, of which the first never answers; the second leads to what serves."""

    def __init__(self, nursery: trio.Nursery, serve) -> None:
        self._nursery = nursery
        self._serve = serve
        self.still_open: set[Watched] = set()

    async def resolve(self, host: str, port: int) -> list[str]:
        await trio.sleep(1)
        return ["2001:db8::1", "192.0.2.1"]

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if ":" in host:
            await trio.sleep_forever()
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return Watched(ours, self.still_open)


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The client's and the server's."""
    authority = trustme.CA()
    client = ssl.create_default_context()
    authority.configure_trust(client)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.example.com", "proxy.example").configure_cert(server)
    return client, server


@pytest.mark.parametrize(("tls", "stride"), [(False, 3), (True, 11)], ids=["plain", "TLS in TLS"])
async def test_a14_no_step_of_connecting_leaves_a_stream(
    nursery, autojump_clock, contexts, tls, stride
) -> None:
    """DNS, the race of addresses, a proxy, TLS to it and through it, a refused key, the upgrade."""
    client_context, server_context = contexts
    upgrades = 0

    def encrypted(stream: trio.abc.Stream) -> trio.abc.Stream:
        if not tls:
            return stream
        return trio.SSLStream(stream, server_context, server_side=True, https_compatible=True)

    async def serve(raw: trio.abc.Stream) -> None:
        nonlocal upgrades
        upgrades += 1
        outer = encrypted(raw)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = await outer.receive_some()
                if not data:
                    return
                head += data
            await outer.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            faults = [RefuseUpgrade(401)] if upgrades % 2 else []
            server = Server(model="directive", allowed_hosts=["api.example.com"], faults=faults)
            await server.handle(encrypted(outer))
        await trio.aclose_forcefully(raw)

    async def fresh_key() -> str:
        await trio.sleep(1)
        return f"key-{upgrades}"

    network = WatchedNetwork(nursery, serve)
    endpoint = Endpoint(
        f"{'wss' if tls else 'ws'}://api.example.com/v1",
        api_key="k",
        refresh_key=fresh_key,
        ssl_context=client_context,
        proxy=f"{'https' if tls else 'http'}://proxy.example",
    )
    options = EngineOptions(dial_rate=1e6)
    opened = 0

    async def connect() -> None:
        nonlocal upgrades, opened
        upgrades = 0
        dialler = Dialler(network, options, {})
        dialler._default_context = client_context
        connection = Connection("c", endpoint, options)

        def on_open() -> None:
            nonlocal opened
            opened += 1
            connection.close()

        await connection.run(dialler, on_open=on_open)

    _, steps = await cancelled_at(0, connect)
    assert (1, 2) == (opened, upgrades)
    assert set() == network.still_open
    assert steps > 60
    for step in range(1, steps, stride):
        await cancelled_at(step, connect)
        await trio.testing.wait_all_tasks_blocked()
        assert set() == network.still_open, f"cancelled at step {step}"
    nursery.cancel_scope.cancel()


async def test_a14_no_step_of_connecting_on_real_sockets_leaves_one(nursery, contexts) -> None:
    """The kernel's own list of what is open, before and after."""
    client_context, server_context = contexts

    class Names(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
            await trio.lowlevel.checkpoint()
            kind = trio.socket.SOCK_STREAM
            return [
                (trio.socket.AF_INET, kind, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")
            ]

        async def getnameinfo(self, sockaddr, flags):
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Names())
    network = TcpNetwork()

    async def serve(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await Server(model="directive", allowed_hosts=["api.example.com"]).handle(stream)

    (listener,) = await nursery.start(
        partial(trio.serve_ssl_over_tcp, serve, 0, server_context, host="127.0.0.1", https_compatible=True)
    )
    port = listener.transport_listener.socket.getsockname()[1]
    endpoint = Endpoint(f"wss://api.example.com:{port}/v1", ssl_context=client_context)
    options = EngineOptions(dial_rate=1e6)
    opened: list[trio.SocketStream] = []
    real_connect = network.connect

    class Remembering:
        resolve = staticmethod(network.resolve)

        @staticmethod
        async def connect(host: str, port: int) -> trio.abc.Stream:
            stream = await real_connect(host, port)
            assert isinstance(stream, trio.SocketStream)
            opened.append(stream)
            return stream

    async def connect() -> None:
        connection = Connection("c", endpoint, options)
        await connection.run(Dialler(Remembering(), options, {}), on_open=connection.close)

    _, steps = await cancelled_at(0, connect)
    assert steps > 20
    for step in range(1, steps, 4):
        await cancelled_at(step, connect)
        assert all(stream.socket.fileno() == -1 for stream in opened), f"cancelled at step {step}"
    assert len(opened) > 5
    nursery.cancel_scope.cancel()


async def test_a14_a_cancelled_waiter_gives_its_place_to_the_next(bench, autojump_clock) -> None:
    agent = triplane.Agent("m")
    async with bench(options=EngineOptions(max_connections=1), faults=[], latency=0.1) as b:

        async def one() -> None:
            await b.engine.run(agent, "hello")

        _, steps = await cancelled_at(0, one)
        for step in range(1, min(steps, 60), 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancelled_at, step, one)
                nursery.start_soon(one)
            assert 0 == b.engine.statistics().pool.dialling
        assert b.engine.statistics().pool.waiting == 0
