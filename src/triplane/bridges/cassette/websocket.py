"""One end of a WebSocket over any stream: wsproto's framing and the few waits around it.

A proxy needs both ends alike, close codes and all, which is why this is neither the server's socket nor the engine's.
"""

from __future__ import annotations

from typing import Final, final

import attrs
import trio
import wsproto
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

__all__ = ["WebSocket", "WebSocketEnded"]

_MAX_MESSAGE: Final = 256 * 1024 * 1024
# What is no code of a close frame but says that there was none.
_NO_CODE: Final = (1005, 1006, 1015)


@attrs.define(slots=False, eq=False)
class WebSocketEnded(Exception):  # noqa: N818 - the end of a socket is no error; never leaves this package
    """The peer closed or is lost.

    Attributes:
        code: of its close frame; None if there was none, or none in it.
        reason: in the close frame.
        by: "peer", or "network" where the stream ended without a close frame.
    """

    code: int | None
    reason: str
    by: str


@final
class WebSocket:
    """An open WebSocket: one task receives, any task sends."""

    def __init__(self, stream: trio.abc.Stream, *, client: bool, rest: bytes = b"") -> None:
        kind = wsproto.ConnectionType.CLIENT if client else wsproto.ConnectionType.SERVER
        self._stream = stream
        self._protocol = Connection(kind, trailing_data=rest)
        self._events = iter(self._protocol.events())
        self._sending = trio.StrictFIFOLock()

    async def receive(self) -> str | bytes:
        """Receive the next message. Pings are answered on the way.

        Raises:
            WebSocketEnded: there is none.
        """
        parts: list[str | bytes] = []
        size = 0
        while True:
            event = await self._next()
            match event:
                case Ping():
                    await self._send(event.response())
                case CloseConnection(code=code, reason=reason):
                    await self._send(event.response())
                    known = None if int(code) in _NO_CODE else int(code)
                    raise WebSocketEnded(known, reason or "", "peer")
                case TextMessage() | BytesMessage():
                    parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                    size += len(event.data)
                    if size > _MAX_MESSAGE:
                        raise WebSocketEnded(1009, "the message is too large to be recorded", "network")
                    if event.message_finished:
                        return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)  # type: ignore[arg-type]  # all are of one type

    async def _next(self) -> object:
        while True:
            try:
                event = next(self._events, None)
            except RemoteProtocolError as error:
                raise WebSocketEnded(1002, str(error), "network") from None
            if event is not None:
                return event
            try:
                data = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                raise WebSocketEnded(None, "", "network")
            self._protocol.receive_data(bytes(data))
            self._events = iter(self._protocol.events())

    async def send(self, message: str | bytes) -> None:
        """Send one message. Whether it arrives, or the socket is over, shows in `receive`."""
        await self._send(TextMessage(message) if isinstance(message, str) else BytesMessage(message))

    async def close(self, code: int | None, reason: str = "") -> None:
        """Send a close frame. The peer's answer, if it is of interest, shows in `receive`."""
        await self._send(
            CloseConnection(code=CloseReason.NO_STATUS_RCVD if code is None else code, reason=reason)
        )

    async def _send(self, event: wsproto.events.Event) -> None:
        async with self._sending:
            try:
                data = self._protocol.send(event)
                await self._stream.send_all(data)
            except (LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                # It is closing or lost already.
                await trio.lowlevel.checkpoint()
