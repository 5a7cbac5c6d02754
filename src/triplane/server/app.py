"""The server: accepts connections, answers plain HTTP, upgrades to WebSocket, closes everything in bounded time."""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, Any, Final, NoReturn, Unpack, final

import attrs
import orjson
import trio

from .head import BadRequest, Head, read_head, send_answer
from .options import OptionArguments, Options, ServerStatistics, Shared
from .session import Session
from .wire import Close, GuardedStream, ReaderDied, Socket, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Server", "ServerHandle", "serve", "serve_stream"]

_RESPONSES: Final = ("/v1/responses", "/responses")
_MODELS: Final = ("/v1/models", "/models")

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self._shared.counters}>"

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
        try:
            await self._handle(stream)
        except trio.BrokenResourceError:
            logger.debug("A client went away.")
        finally:
            counters.connections_closed += 1
            await trio.aclose_forcefully(stream)

    async def _handle(self, stream: trio.abc.Stream) -> None:
        head: Head | None = None
        key: bytes | None = None
        with trio.move_on_after(self._options.handshake_timeout):
            try:
                head = await read_head(stream)
                if head is None:
                    return
                key = await self._answer_http(stream, head)
            except BadRequest as bad:
                head_only = head is not None and head.method == "HEAD"
                await send_answer(stream, bad.status, bad.body(), headers=bad.headers, head_only=head_only)
                await self._linger(stream)
        if head is not None and key is not None:
            await self._websocket(stream, head, key)

    async def _answer_http(self, stream: trio.abc.Stream, head: Head) -> bytes | None:
        """Answer a plain request and return None, or return the key of an upgrade that is to be accepted.

        Raises:
            BadRequest: the answer is an error.
        """
        if head.path == "/healthz":
            await self._answer_get(stream, head, {"status": "ok"})
            return None
        if head.path not in (*_RESPONSES, *_MODELS):
            raise BadRequest(
                404, f"There is nothing at {head.path[:100]}. There are /v1/responses, /v1/models, /healthz."
            )
        self._check_key(head)
        if head.path in _MODELS:
            await self._answer_get(stream, head, self._models())
            return None
        if head.method != "GET":
            raise BadRequest(
                405, "The responses of this server are served over WebSocket only.", headers={"Allow": "GET"}
            )
        if not head.wants_upgrade():
            message = (
                "This is a WebSocket endpoint: connect with an upgrade, and send response.create events."
            )
            raise BadRequest(426, message, headers={"Upgrade": "websocket"})
        key = head.websocket_key()
        counters = self._shared.counters
        counters.upgrades += 1
        if (fault := self._options.faults.of_upgrade(counters.upgrades)) is not None:
            counters.upgrades_refused += 1
            bad = BadRequest(fault.status, "This upgrade is refused by a fault.", code="fault")
            body = orjson.dumps(bad.body()) if fault.body is None else fault.body
            await send_answer(stream, fault.status, body, headers=fault.headers)
            return None
        return key

    async def _answer_get(self, stream: trio.abc.Stream, head: Head, body: Mapping[str, Any]) -> None:
        if head.method not in ("GET", "HEAD"):
            raise BadRequest(405, f"{head.method} is not allowed here.", headers={"Allow": "GET, HEAD"})
        await send_answer(stream, 200, body, head_only=head.method == "HEAD")

    def _check_key(self, head: Head) -> None:
        wanted = self._options.api_key
        if wanted is not None and not hmac.compare_digest(head.bearer() or b"", wanted.encode()):
            raise BadRequest(
                401,
                "Incorrect API key provided.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _models(self) -> dict[str, Any]:
        created = self._shared.now()
        data = [
            {"id": name, "object": "model", "created": created, "owned_by": "triplane"}
            for name in sorted(self._options.catalog.models)
        ]
        return {"object": "list", "data": data}

    async def _linger(self, stream: trio.abc.Stream) -> None:
        """Read what the peer is still sending, for a while.

        Closing a socket with unread bytes resets the connection, and the reset may overtake what was sent last.
        """
        with trio.move_on_after(self._options.close_timeout):
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while await stream.receive_some(65536):
                pass

    async def _websocket(self, transport: trio.abc.Stream, head: Head, key: bytes) -> None:
        stream = GuardedStream(
            transport,
            key=key,
            rest=head.rest,
            traffic=self._shared.traffic,
            send_timeout=self._options.send_timeout,
        )
        try:
            close = await self._converse(stream)
            if close.linger and stream.close_sent and not stream.doomed:
                await self._linger(transport)
        except* ReaderDied as group:
            logger.debug("The WebSocket library gave up on a connection: %r", group)

    async def _converse(self, stream: GuardedStream) -> Close:
        """Run a session and close its socket. Returns how it was closed.

        The session is cancelled when the server is. The task that reads frames must not be, or it could not see the
        peer's answer to our close frame: it runs under a shield, which ends at most `close_timeout` after the session.
        """
        ending = _Ending()
        async with trio.open_nursery() as session_nursery, trio.open_nursery() as wire_nursery:
            wire_nursery.cancel_scope.shield = True
            session_nursery.start_soon(self._run_session, wire_nursery, stream, ending)
            await ending.reached.wait()
            if ending.socket is not None and ending.close.code is not None:
                with trio.move_on_after(self._options.close_timeout):
                    await ending.socket.aclose(ending.close.code, ending.close.reason)
            wire_nursery.cancel_scope.cancel()
        return ending.close

    async def _run_session(self, wire_nursery: trio.Nursery, stream: GuardedStream, ending: _Ending) -> None:
        try:
            with trio.move_on_after(self._options.handshake_timeout) as scope:
                ending.socket = await Socket.accept(
                    wire_nursery, stream, max_message_size=self._options.max_message_size
                )
            if ending.socket is None or scope.cancelled_caught:
                return
            # What stands if the session is cancelled.
            ending.close = Close(1001, "The server is shutting down.")
            ending.close = await Session(ending.socket, self._shared).run()
        except SocketClosed:
            logger.debug("A client went away during the upgrade.")
        finally:
            ending.reached.set()


@attrs.define
class _Ending:
    """How a session ended, for the task that closes its socket."""

    reached: trio.Event = attrs.Factory(trio.Event)
    socket: Socket | None = None
    close: Close = attrs.field(factory=lambda: Close(None))


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
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

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
    """
    await Server(**options).handle(stream)
