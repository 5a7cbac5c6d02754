"""What tests of several rooms share."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import hypothesis
import pytest
import trio
import trio.testing

import triplane
from triplane.server import Server, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from triplane.server import ServerHandle


# How long an example takes says more about the machine than about the code. In CI a failure must be there again
# when somebody looks; on a desk the search goes on from one run to the next, and `--hypothesis-profile=thorough`
# searches for longer.
# Nothing here goes through the proxies of the machine that the tests run on.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

hypothesis.settings.register_profile("sample", deadline=None, max_examples=50, derandomize="CI" in os.environ)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("sample")


class MemoryNetwork:
    """A network of memory streams to one server. Counts what it opens, and can cut it."""

    def __init__(self, nursery: trio.Nursery, server: Server) -> None:
        self._nursery = nursery
        self._server = server
        self.opened = 0
        self.streams: list[trio.StapledStream[Any, Any]] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, served = trio.testing.memory_stream_pair()
        self.opened += 1
        self.streams.append(client)
        self._nursery.start_soon(self._server.handle, served)
        return client


@attrs.frozen
class Bench:
    """An engine, its server and the network between them."""

    engine: triplane.Engine
    server: Server
    network: MemoryNetwork


@asynccontextmanager
async def open_bench(
    *,
    options: triplane.EngineOptions | None = None,
    ledger: triplane.Ledger | None = None,
    endpoint: triplane.Endpoint | None = None,
    **server_options: Any,
) -> AsyncIterator[Bench]:
    """An engine on a local server over memory streams: no sockets, no threads, one clock."""
    server_options.setdefault("model", "directive")
    async with trio.open_nursery() as nursery:
        server = Server(epoch=0.0, **server_options)
        network = MemoryNetwork(nursery, server)
        async with triplane.open_engine(
            endpoint or triplane.Endpoint("ws://memory/v1"),
            options=options,
            ledger=ledger,
            network=network,
            rng=random.Random(7),
        ) as engine:
            yield Bench(engine, server, network)
        nursery.cancel_scope.cancel()


@pytest.fixture
def bench() -> Callable[..., Any]:
    """`open_bench`."""
    return open_bench


@pytest.fixture
async def local_server(nursery: trio.Nursery) -> ServerHandle:
    """The local server on a real loopback socket, model ``directive``."""
    handle: ServerHandle = await nursery.start(partial(serve, model="directive"))
    return handle
