"""The server: accepts connections, and gives each of them an end."""

from __future__ import annotations

import logging
import socket
import struct
from typing import TYPE_CHECKING, NoReturn, Unpack, final

import attrs
import orjson
import trio

from .client_requests import ClientRequest, client_requests
from .faults.as_json import fault_to_json
from .faults.catalogue import UpgradeFault
from .faults.upgrade import strike_upgrade
from .http.connection import ClientGone, HangUp, HttpConnection
from .http.exchange import Exchange
from .http.head import BadRequest, Head
from .http.routes import Routes
from .options import OptionArguments, Options, ServerStatistics, Shared
from .origin import Gate, Peer, cors_headers, is_address
from .shaping import shaped
from .websocket.upgrade import converse, linger

if TYPE_CHECKING:
    from .faults.plan import FaultPlan
    from .journal import Journal, Recorder

__all__ = ["Server", "ServerHandle", "serve", "serve_stream"]

logger = logging.getLogger("triplane.server")


@final
class Server:
    """A local Responses server: the state its connections share, and what to do with one connection.

    Most programs want `serve`. With a `Server` of your own, connections can come from anywhere, such as a pair of
    memory streams.

    Args:
        options: see `Options`.

    Raises:
        OptionError: an option has a value that it cannot have.
    """

    def __init__(self, **options: Unpack[OptionArguments]) -> None:
        self._options = Options.of(options)
        self._shared = Shared(self._options)
        self._gate = Gate(self._options.allowed_hosts, self._options.allowed_origins)
        self._routes = Routes(self._shared)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self._shared.counters}>"

    @property
    def journal(self) -> Journal:
        """What went over the connections."""
        return self._shared.journal

    @property
    def requests(self) -> list[ClientRequest]:
        """What clients asked so far, as far back as the journal goes, and what they were answered."""
        return client_requests(self._shared.journal.entries)

    @property
    def faults(self) -> FaultPlan:
        """What is to go wrong; faults can be added and removed while the server runs."""
        return self._shared.faults

    def statistics(self) -> ServerStatistics:
        """Return a snapshot of what the server has done so far."""
        return self._shared.statistics()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; `stream` is closed on return, whatever happens.

        A misbehaving, lost or silent client ends the connection and raises nothing. Cancellation ends it too: an open
        WebSocket is sent a close frame with code 1001 and has `close_timeout` seconds to answer it.
        """
        counters = self._shared.counters
        counters.connections_opened += 1
        recorder = self._shared.journal.recorder(counters.connections_opened)
        try:
            # What HTTP needs is not kept: a WebSocket may be open for hours.
            async with shaped(
                stream, latency=self._options.network_latency, bandwidth=self._options.bandwidth
            ) as network:
                if (upgrade := await self._requests(network, Peer.of(stream), recorder)) is not None:
                    await self._websocket(network, upgrade, recorder)
        except (trio.BrokenResourceError, ClientGone):
            logger.debug("A client went away.")
        except HangUp as fault:
            if fault.reset and isinstance(stream, trio.SocketStream):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            counters.connections_closed += 1
            # It does not block. Without the shield a cancellation would take the place of what was raised above.
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _requests(
        self, stream: trio.abc.Stream, peer: Peer, recorder: Recorder | None
    ) -> _Upgrade | None:
        """Answer requests until the connection has no more of them. Returns the upgrade that ended them, if one did."""
        http = HttpConnection(stream, self._options)
        while True:
            exchange: Exchange | None = None
            try:
                head = await http.next_request()
                if head is None:
                    return None
                exchange = Exchange(http, head, peer=peer, recorder=recorder)
                self._gate.check(head, peer.local_address)
                exchange.headers |= cors_headers(head)
                if self._routes.is_upgrade(head):
                    exchange.record_request(upgrade=True)
                    return _Upgrade(head, self._routes.upgrade(head), http.rest)
                await self._routes.answer(exchange)
            except BadRequest as bad:
                if exchange is not None:
                    await exchange.refuse(bad)
                else:
                    await http.answer(
                        bad.status, orjson.dumps(bad.body()), {"Content-Type": "application/json"}
                    )
            if not http.next_cycle():
                await linger(stream, self._options.close_timeout)
                return None

    async def _websocket(self, stream: trio.abc.Stream, upgrade: _Upgrade, recorder: Recorder | None) -> None:
        if isinstance(upgrade.verdict, UpgradeFault):
            if recorder is not None:
                recorder.struck(fault_to_json(upgrade.verdict))
            await strike_upgrade(stream, upgrade.verdict, timeout=self._options.handshake_timeout)
            return
        await converse(
            stream,
            self._shared,
            key=upgrade.verdict,
            rest=upgrade.rest,
            betas=upgrade.head.betas(),
            recorder=recorder,
        )


@attrs.frozen
class _Upgrade:
    """A request for a WebSocket, the key or the fault that answers it, and what the client sent behind it."""

    head: Head
    verdict: bytes | UpgradeFault
    rest: bytes


@final
@attrs.frozen
class ServerHandle:
    """A running server, as `serve` reports it."""

    host: str
    port: int
    _server: Server = attrs.field(repr=False)

    @property
    def url(self) -> str:
        """The WebSocket URL of the Responses endpoint."""
        return f"ws://{self._netloc}/v1/responses"

    @property
    def http_url(self) -> str:
        """The base URL for clients that take one, such as `openai.OpenAI(base_url=...)`."""
        return f"http://{self._netloc}/v1"

    @property
    def _netloc(self) -> str:
        # A wildcard address is good for listening only.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - nothing is bound here
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def journal(self) -> Journal:
        """See `Server.journal`."""
        return self._server.journal

    @property
    def requests(self) -> list[ClientRequest]:
        """See `Server.requests`."""
        return self._server.requests

    @property
    def faults(self) -> FaultPlan:
        """See `Server.faults`."""
        return self._server.faults

    def statistics(self) -> ServerStatistics:
        """Return a snapshot of what the server has done so far."""
        return self._server.statistics()


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[ServerHandle] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[OptionArguments],
) -> NoReturn:
    """Serve the Responses endpoint until cancelled.

    Works with `nursery.start`, which returns a `ServerHandle` once connections are accepted::

        handle = await nursery.start(partial(serve, model="directive"))

    Args:
        host: the interface to listen on. Where a name such as "localhost" means several addresses and `port` is 0, the
            first of them is used, since the others would get other ports.
        port: 0 for any free one.
        task_status: reports the `ServerHandle`.
        options: see `Options`.

    Raises:
        OSError: the address cannot be bound.
        OptionError: see `Server`.

    Cancellation closes all connections, at most `close_timeout` seconds later.
    """
    if not is_address(host):
        options["allowed_hosts"] = (*options.get("allowed_hosts", ()), host)
    server = Server(**options)
    listeners = await trio.open_tcp_listeners(port, host=host)
    if port == 0:
        for listener in listeners[1:]:
            listener.socket.close()  # and not aclose, where a cancellation would leave the others open
        del listeners[1:]
    address = listeners[0].socket.getsockname()
    task_status.started(ServerHandle(address[0], address[1], server))
    await trio.serve_listeners(server.handle, listeners)


async def serve_stream(stream: trio.abc.Stream, **options: Unpack[OptionArguments]) -> None:
    """Serve one connection that exists already, such as one end of a pair of memory streams, until it ends.

    The same as `Server(...).handle(stream)`, for when the connection shares nothing with others.

    Raises:
        OptionError: see `Server`.
    """
    await Server(**options).handle(stream)
