"""Servers for tests: in the nursery of a Trio test, or in a thread of their own for all others."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack, final

import attrs
import trio
import trio.testing

from triplane.server import Server, serve

from .local import LocalServer, staged
from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from triplane.server import ServerHandle
    from triplane.server.options import OptionArguments

__all__ = ["MemoryNetwork", "open_server", "start_server"]

# Clients of tests are often still open at the end, and do not answer a close frame.
_CLOSE_SECONDS: Final = 0.1


@final
class MemoryNetwork:
    """A network of memory streams with one server on it, which goes by every name.

    `triplane.open_engine(network=...)` takes it. A raw client gets a stream from `connect`.
    """

    def __init__(self, nursery: trio.Nursery, server: Server) -> None:
        self._nursery = nursery
        self._server = server

    async def connect(self, host: str = "memory", port: int = 80) -> trio.abc.Stream:  # noqa: ARG002 - every name
        """Open a connection to the server."""
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._server.handle, theirs)
        return ours


@attrs.frozen
class _Nowhere:
    url: str = "ws://memory/v1/responses"
    http_url: str = "http://memory/v1"


@asynccontextmanager
async def open_server(**options: Unpack[OptionArguments]) -> AsyncIterator[tuple[LocalServer, MemoryNetwork]]:
    """Open a local server in the nursery and on the clock of a Trio test, without sockets.

    For example, with pytest-trio::

        async def test_my_agent(autojump_clock):
            async with open_server(latency=300) as (server, network):
                async with triplane.open_engine(triplane.Endpoint(server.url), network=network) as engine:
                    ...

    Leaving the block closes all connections, at most `close_timeout` seconds later, and checks the server; what the
    block raises comes out as it is.

    Args:
        options: see `triplane.server.Options`; `model` is "directive" unless it is given.

    Raises:
        AssertionError: see `LocalServer.check`.
        OptionError: an option has a value that it cannot have.
    """
    given, stage = staged(options)
    server = Server(**given)

    def call(function: Callable[[], Any]) -> Any:
        return function()

    local = LocalServer(server, _Nowhere(), stage, call)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield local, MemoryNetwork(nursery, server)
        except Exception as error:  # noqa: BLE001 - raised below
            raised = error
        nursery.cancel_scope.cancel(reason="the test is over")
    if raised is not None:
        raise raised
    local.check()


@contextmanager
def start_server(**options: Unpack[OptionArguments]) -> Iterator[LocalServer]:
    """Start a local server in a thread of its own, on a free port of the loopback interface.

    For tests on any event loop, or on none. Leaving the block stops it within seconds. It does not check the server:
    the fixtures do that while the test can still fail.

    Args:
        options: see `triplane.server.Options`; `model` is "directive" and `close_timeout` 0.1 unless they are given.

    Raises:
        OptionError: an option has a value that it cannot have.
        ServiceError: the server did not start, or did not stop, in time.
        BaseException: a bug of the server's, when the block is left.
    """
    defaults: OptionArguments = {"close_timeout": _CLOSE_SECONDS}
    given, stage = staged({**defaults, **options})

    async def service(*, task_status: trio.TaskStatus[ServerHandle]) -> None:
        await serve(task_status=task_status, **given)

    with in_thread(service, name="local Responses server") as running:
        yield LocalServer(running.value, running.value, stage, running.call)
