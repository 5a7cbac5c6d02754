from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from http_client import HttpClient
from server_client import Client

from triplane.server import Ids, Server, serve


@pytest.fixture
async def connect(nursery):
    """Make clients of one server, each on its own pair of memory streams.

    `await connect(**options)` gives a connected client; the options count for the first one, which makes the server.
    `upgrade=False` leaves out the upgrade, whatever is in `headers` goes into it, and `pair` makes the streams.
    `client.server` is the server, and `client.shut_down()` cancels it.
    """
    server: Server | None = None
    streams = []
    scopes = []

    async def run(server, stream):
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await server.handle(stream)

    def shut_down():
        for scope in scopes:
            scope.cancel()

    async def connect(
        *, upgrade=True, headers=None, target="/v1/responses", pair=trio.testing.memory_stream_pair, **options
    ) -> Client:
        nonlocal server
        if server is None or options:
            server = Server(**{"ids": Ids(""), "epoch": 1_800_000_000, **options})
        ours, theirs = pair()
        streams.append(ours)
        nursery.start_soon(run, server, theirs)
        client = Client(ours)
        client.server, client.shut_down = server, shut_down
        return await client.connect(target, **(headers or {})) if upgrade else client

    yield connect
    # Or the server would wait for each client's answer to its close frame.
    for stream in streams:
        await stream.aclose()


@pytest.fixture
async def http(connect):
    """Make HTTP clients of one server; see `connect`."""

    async def http(**options) -> HttpClient:
        socket = await connect(upgrade=False, **options)
        client = HttpClient(socket.stream)
        client.server = socket.server
        return client

    return http


@pytest.fixture
def listening():
    """Run `serve` on a real socket."""

    @asynccontextmanager
    async def listening(**options):
        async with trio.open_nursery() as nursery:
            yield await nursery.start(partial(serve, **options))
            nursery.cancel_scope.cancel()

    return listening
