"""Speaks with an MCP server over streamable HTTP: the SDK's transport, over a client that never fails.

In that transport an error of one request (a refused connection, a reset) ends the tasks of all others, and a notification
whose answer does not come holds up whatever is sent next. So the client below turns an error into an answer, to the
request whose error it is; sends what cancels a request in the background; and gives up the request that was cancelled.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, final

import httpx2
import orjson
import trio
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client
from mcp_types import INTERNAL_ERROR

from .wire import LOOKED_AT, MAX_MESSAGE, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .servers import Http

T = TypeVar("T")

# Marks the answers that no server gave.
UNREACHABLE = "triplane/unreachable"
# And those of a server that wants other credentials.
REFUSED = "triplane/refused"
# For opening a connection, and for writing to it. How long an answer may take is the call's business.
_PATIENCE = 30.0
# How long the notice that a request is cancelled may take.
_NOTICE = 5.0
_SHOWN = 500
# Who asks again with the same headers, or at the same place, is told the same.
_REFUSED = (401, 403, 404)
_UNAUTHORIZED = (401, 403)


@asynccontextmanager
async def open_http(server: Http, wire: Wire) -> AsyncIterator[None]:
    """Give `wire` the streams of a session. Leaving ends the session, and may take until the scope around it is over."""
    async with trio.open_nursery() as background:
        try:
            async with (
                _Client(server, wire, background) as client,
                streamable_http_client(
                    server.url, http_client=client, max_sse_event_size=MAX_MESSAGE
                ) as streams,
            ):
                wire.streams = streams
                yield
        finally:
            background.cancel_scope.cancel()


class _CutError(httpx2.StreamError):
    """An answer is not read to its end; the message says why."""


@final
class _Exchange:
    """A request that waits for something, and may be given up at any moment."""

    def __init__(self) -> None:
        self._is_cut = False
        self._scope: trio.CancelScope | None = None

    def cut(self) -> None:
        """Give it up. Not a checkpoint."""
        self._is_cut = True
        if self._scope is not None:
            self._scope.cancel(reason="the request was cancelled")

    async def wait_for(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await it.

        Raises:
            _CutError: The request was given up.
        """
        if self._is_cut:
            await trio.lowlevel.checkpoint()
            raise _CutError("the request was cancelled")
        with trio.CancelScope() as self._scope:
            return await function()
        raise _CutError("the request was cancelled")


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, with an end to it."""

    def __init__(
        self, stream: httpx2.AsyncByteStream, exchange: _Exchange, most: float, on_close: Callable[[], object]
    ) -> None:
        self._stream = stream
        self._exchange = exchange
        self._most = most
        self._on_close = on_close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._stream)
        received = 0
        while True:
            try:
                piece = await self._exchange.wait_for(lambda: anext(pieces))
            except StopAsyncIteration:
                return
            except httpx2.TransportError as error:
                raise _CutError(f"{type(error).__name__}: {error}") from error
            received += len(piece)
            if received > self._most:
                raise _CutError(f"the answer is longer than {MAX_MESSAGE:,} bytes")
            yield piece

    async def aclose(self) -> None:
        self._on_close()
        await self._stream.aclose()


@final
class _Client(httpx2.AsyncClient):
    """Sends what the SDK's transport wants to send."""

    def __init__(self, server: Http, wire: Wire, background: trio.Nursery) -> None:
        super().__init__(
            # What is compressed has no size that is known before it is unpacked.
            headers={"Accept-Encoding": "identity", **server.headers},
            auth=server.auth,
            timeout=httpx2.Timeout(_PATIENCE, read=None, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=10),
        )
        self._wire = wire
        self._background = background
        self._exchanges: dict[Any, _Exchange] = {}

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send it. An `Exception` becomes an answer."""
        message = _message_of(request)
        if message.get("method") == "notifications/cancelled":
            self._background.start_soon(self._cancel, request, message, name="MCP cancellation")
            await trio.lowlevel.checkpoint()
            return httpx2.Response(202, request=request)
        exchange = _Exchange()
        request_id = message.get("id") if "method" in message else None
        if request_id is not None:
            self._exchanges[request_id] = exchange
            self._wire.is_refused = False
        response = None
        try:
            response = await exchange.wait_for(lambda: self._sent(request, {**options, "stream": stream}))
            return await self._checked(request, response, exchange, request_id) if stream else response
        except Exception as error:  # noqa: BLE001  (in the SDK's transport it would end all requests)
            return _refusal(
                request, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            )
        finally:
            if response is None:
                self._exchanges.pop(request_id, None)

    async def _sent(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        return await super().send(request, **options)

    async def _checked(
        self, request: httpx2.Request, response: httpx2.Response, exchange: _Exchange, request_id: object
    ) -> httpx2.Response:
        kind = response.headers.get("content-type", "").lower()
        if response.status_code == 404 and request.method == "POST" and MCP_SESSION_ID in request.headers:
            # https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management
            self._wire.end("has forgotten the session")
        if request_id is not None:
            self._wire.is_refused = response.status_code in _REFUSED
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        most = float("inf") if kind.startswith("text/event-stream") else MAX_MESSAGE
        response.stream = _Body(
            response.stream, exchange, most, lambda: self._exchanges.pop(request_id, None)
        )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            return _refusal(request, "the answer is compressed, which was not asked for")
        # What refuses credentials says so in JSON of its own, in which the SDK sees no message.
        is_message = kind.startswith("application/json") and response.status_code not in _UNAUTHORIZED
        if request_id is not None and response.status_code >= 400 and not is_message:
            return _refusal(request, await _told(response, self._wire.conceal), response.status_code)
        return response

    async def _cancel(self, request: httpx2.Request, message: dict[str, Any]) -> None:
        """Tell the server that nobody waits for a request any more, and stop waiting."""
        try:
            with trio.move_on_after(_NOTICE):
                await super().send(request)
        except Exception as error:  # noqa: BLE001  (nobody waits for this)
            self._wire.remark = f"a cancellation could not be sent: {type(error).__name__}"
        cancelled = self._exchanges.pop((message.get("params") or {}).get("requestId"), None)
        if cancelled is not None:
            cancelled.cut()


def _message_of(request: httpx2.Request) -> dict[str, Any]:
    """The message that a request carries, empty for none."""
    try:
        message = orjson.loads(request.content) if request.method == "POST" else {}
    except (orjson.JSONDecodeError, httpx2.RequestNotRead):
        return {}
    return message if isinstance(message, dict) else {}


def _refusal(request: httpx2.Request, words: str, status: int = 502) -> httpx2.Response:
    """An answer of our own, from which the SDK makes the error of the one request."""
    data = REFUSED if status in _UNAUTHORIZED else UNREACHABLE
    error = {"code": INTERNAL_ERROR, "message": words, "data": data}
    if request.method == "DELETE":
        status = 405  # nothing that the SDK would have to warn of: the session ends in any case
    return httpx2.Response(status, json={"jsonrpc": "2.0", "id": None, "error": error}, request=request)


async def _told(response: httpx2.Response, conceal: Callable[[str], str]) -> str:
    """What an answer that is no message says."""
    told = bytearray()
    try:
        async for piece in response.aiter_raw():
            told += piece
            if len(told) > LOOKED_AT:
                break
    except httpx2.StreamError:
        pass  # what came is enough
    finally:
        await response.aclose()
    advice = "; check headers= or auth=" if response.status_code in _UNAUTHORIZED else ""
    words = " ".join(conceal(told[:LOOKED_AT].decode(errors="replace")).split())[:_SHOWN]
    return f"HTTP status {response.status_code}{advice}{': ' if words else ''}{words}"
