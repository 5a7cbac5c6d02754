"""One WebSocket by trio-websocket, over a stream that we own.

Only `wrap_client_stream` is used, never the library's context managers, and each step is guarded. What is guarded
against was measured on trio-websocket 0.12.2:

* a TCP end during the handshake leaves `wrap_client_stream` waiting for ever, so the handshake is raced against the
  stream's end;
* after a Close whose sender keeps TCP open, `aclose` returns early and its reader stays, so the stream is closed
  forcefully after a bounded `aclose`;
* a ping that is answered by nothing waits for ever, so pings run under the caller's deadline;
* a frame that arrives after our own Close can raise in the reader
  (https://github.com/python-trio/trio-websocket/issues/184), and so can an answer to the upgrade that is not HTTP,
  with an error of h11's; protocol errors of all three libraries end the connection as a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, final

import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError, ProtocolError

from triplane.core.errors import CloseInfo, ConnectFailed, ConnectionLost, ProtocolViolation

from .refusal import refusal_in, refused

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .guarded_stream import GuardedStream

# Messages that may wait for us before the library stops reading, and with that stops answering pings.
_QUEUE = 1_024
Leaf = TypeVar("Leaf", bound=BaseException)


@final
class TrioWebSocketWire:
    """A client WebSocket. `run` is its life; the other methods are for while it runs."""

    def __init__(
        self, stream: GuardedStream, endpoint: Endpoint, resource: str, *, max_message_size: int
    ) -> None:
        self._stream = stream
        self._endpoint = endpoint
        self._resource = resource
        self._max_message_size = max_message_size
        self._websocket: WebSocketConnection | None = None
        self._closed_by_us = False
        self._protocol_error = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Shake hands, report started, and return once the WebSocket is over, however it ended.

        Raises:
            ConnectFailed: The upgrade was refused, or the stream ended before it was answered.
        """
        rejection: ConnectionRejected | None = None
        handshaken = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up_at_end, nursery.cancel_scope)
                self._websocket = await wrap_client_stream(
                    nursery,
                    self._stream,  # type: ignore[arg-type]  # any stream does; the annotation is too narrow
                    self._endpoint.authority,
                    self._resource,
                    extra_headers=self._endpoint.upgrade_headers(),
                    message_queue_size=_QUEUE,
                    max_message_size=self._max_message_size,
                    receive_buffer_size=None,
                )
                # The library lets HTTP/1.0 pass, which has no upgrade (RFC 6455 section 4.1 asks for 1.1).
                handshaken = bytes(self._stream.head or b"").startswith(b"HTTP/1.1 ")
                if handshaken:
                    self._stream.forget_head()
                    task_status.started()
                else:
                    self._protocol_error = "the upgrade was not answered in HTTP/1.1"
                    nursery.cancel_scope.cancel(reason="the peer does not speak HTTP/1.1")
        except* ConnectionRejected as group:
            rejection = _first(group)
        except* (ProtocolError, h11.ProtocolError) as group:
            error = _first(group)
            # What a library says of our own bytes may quote them, credentials included.
            ours = isinstance(error, (LocalProtocolError, h11.LocalProtocolError))
            self._protocol_error = "the WebSocket library refused to go on" if ours else str(error)
        finally:
            await trio.aclose_forcefully(self._stream)
        if rejection is not None:
            raise refused(self._endpoint.url, rejection.status_code, rejection.headers, rejection.body or b"")
        if not handshaken:
            raise self._cut_short()

    async def _give_up_at_end(self, scope: trio.CancelScope) -> None:
        await self._stream.ended.wait()
        # Messages that came before the end stay readable: they are in the library's channel, not in its tasks.
        scope.cancel(reason="the stream has ended")

    async def send(self, text: str) -> None:
        """Send one text message.

        Raises:
            ConnectionLost: The WebSocket is over.
        """
        try:
            await self._open().send_message(text)
        except ConnectionClosed:
            raise self.lost() from None

    async def receive(self) -> tuple[str, ...]:
        """The next messages, at least one. Cancelling it loses nothing.

        Raises:
            ConnectionLost: The WebSocket is over and everything received has been read.
            ProtocolViolation: A binary message is not UTF-8 text.
        """
        try:
            message = await self._open().get_message()
        except ConnectionClosed:
            raise self.lost() from None
        if isinstance(message, bytes):
            # OpenAI sends text; some servers send the same JSON in binary messages.
            try:
                message = message.decode()
            except UnicodeDecodeError:
                raise ProtocolViolation("the server sent a binary message that is not text") from None
        return (message,)

    async def ping(self) -> None:
        """Send a ping and wait for its pong, for ever if need be.

        Raises:
            ConnectionLost: The WebSocket is over.
        """
        try:
            await self._open().ping()
        except ConnectionClosed:
            raise self.lost() from None

    async def aclose(self) -> None:
        """Close the WebSocket with a closing handshake, for as long as the caller's deadline allows."""
        self._closed_by_us = True
        if self._websocket is not None:
            await self._websocket.aclose()

    def close_info(self) -> CloseInfo:
        """How it ended, as far as that is known now."""
        reason = self._websocket.closed if self._websocket is not None else None
        code = 1006 if reason is None else int(reason.code)
        words = self._protocol_error or (reason.reason if reason is not None else None) or ""
        # The library closes with 1009 itself and tells so by nothing but its words.
        too_big_for_us = code == 1009 and words.startswith("Exceeded maximum message size")
        # wsproto reports what is wrong with the peer's frames as a close with one of these codes. Our own frames are
        # wsproto's as well, so a peer has no reason to send them.
        malformed = code in (1002, 1007)
        if self._closed_by_us or too_big_for_us or malformed or self._protocol_error:
            return CloseInfo(code, words, "us")
        return CloseInfo(code, words, "network" if code == 1006 else "peer")

    def lost(self) -> ConnectionLost:
        """The error for whoever still expected something."""
        close = self.close_info()
        words = f": {close.reason}" if close.reason else ""
        advice = ""
        if close.code == 1009:
            advice = (
                "; raise max_message_size to accept it"
                if close.by == "us"
                else "; the request is too large for it"
            )
        return ConnectionLost(f"the connection was closed with code {close.code}{words}{advice}", close=close)

    def _open(self) -> WebSocketConnection:
        assert self._websocket is not None, "used before its handshake"
        return self._websocket

    def _cut_short(self) -> ConnectFailed:
        # A refusal whose body has no declared length ends with the stream, and the library then drops it.
        refusal = refusal_in(self._endpoint.url, bytes(self._stream.head or b""))
        if refusal is not None:
            return refusal
        why = self._protocol_error or "the connection ended before the upgrade was answered"
        return ConnectFailed(f"no WebSocket at {self._endpoint.url}: {why}", stage="upgrade", status=None)


def _first(group: BaseExceptionGroup[Leaf]) -> Leaf:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
