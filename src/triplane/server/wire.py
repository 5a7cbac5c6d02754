"""One WebSocket, server side: trio-websocket's framing on a stream that we own.

trio-websocket 0.12 is used for what it does well, the handshake and the reading of frames. Around it stands what a
server must be able to rely on: every wait ends, a half-written frame is never continued, and a batch of events is one
write.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, final

import attrs
import trio
import trio_websocket
import wsproto.utilities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .head import Head

__all__ = ["LIBRARY_ERRORS", "Close", "GuardedStream", "Socket", "SocketClosed", "upgrade_request"]

# What trio-websocket's reader task can die of through no fault of ours: a ping that arrives after a close frame was
# sent (https://github.com/python-trio/trio-websocket/issues/184), or a connection that breaks while the answer to a
# protocol error is sent.
LIBRARY_ERRORS: Final = (wsproto.utilities.LocalProtocolError, trio_websocket.ConnectionClosed)

_TEXT: Final = 0x81  # FIN and opcode 1
_CLOSE: Final = 0x88


@attrs.frozen
class Close:
    """How to close a WebSocket: with a close frame of this code or, with None, without one."""

    code: int | None
    reason: str = ""


class SocketClosed(Exception):  # noqa: N818 - the end of a socket is no error; never leaves this package
    """Nothing more can be received or sent.

    Attributes:
        close: what is left to do; nothing, unless it is our side that has to close.
    """

    def __init__(self, close: Close | None = None) -> None:
        super().__init__(close)
        self.close = close or Close(None)


@final
class GuardedStream(trio.abc.Stream):
    """The transport as trio-websocket sees it: first the upgrade request, then, once accepted, the peer's bytes.

    Holding the peer's bytes back matters because wsproto loses what follows the upgrade request in the same read.
    Writes are serialised, and a write that was interrupted dooms the stream: how much of it went out is not known, so
    the next frame would begin in the middle of it.
    """

    def __init__(self, transport: trio.abc.Stream, *, request: bytes, rest: bytes) -> None:
        self._transport = transport
        self._request = request
        self._rest = rest
        self._accepted = trio.Event()
        self._send_lock = trio.StrictFIFOLock()
        self.doomed = False
        self.close_sent = False
        self.bytes_received = len(rest)
        self.bytes_sent = 0

    def accept(self) -> None:
        """Let the peer's bytes through."""
        self._accepted.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        if self._request:
            await trio.lowlevel.checkpoint()
            data, self._request = self._request, b""
            return data
        await self._accepted.wait()
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        received = await self._transport.receive_some(max_bytes)
        self.bytes_received += len(received)
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`. Safe to call from several tasks."""
        async with self._send_lock:
            if self.doomed:
                raise trio.BrokenResourceError("an earlier write was interrupted")
            self.doomed = True
            await self._transport.send_all(data)
            self.doomed = False
            self.bytes_sent += len(data)
            # trio-websocket writes whole frames.
            self.close_sent = self.close_sent or data[0] == _CLOSE

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the transport."""
        self.doomed = True
        await self._transport.aclose()


@final
class Socket:
    """An accepted WebSocket. One task may receive while another sends; `Socket.accept` makes one."""

    def __init__(
        self, connection: trio_websocket.WebSocketConnection, stream: GuardedStream, max_size: int
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._max_size = max_size

    @classmethod
    async def accept(cls, nursery: trio.Nursery, stream: GuardedStream, *, max_message_size: int) -> Socket:
        """Accept the upgrade request that `stream` begins with.

        trio-websocket's reader task runs in `nursery` from here on and may raise one of `LIBRARY_ERRORS` there.

        Raises:
            SocketClosed: the peer went away.
        """
        request = await trio_websocket.wrap_server_stream(
            nursery,
            stream,
            # The session reads all the time and has a queue of its own.
            message_queue_size=1,
            max_message_size=max_message_size,
            receive_buffer_size=None,
        )
        try:
            connection = await request.accept()
        except trio_websocket.ConnectionClosed:
            raise SocketClosed from None
        stream.accept()
        return cls(connection, stream, max_message_size)

    async def receive(self) -> str | bytes:
        """Receive the next message, text or binary. Cancelling is safe.

        Raises:
            SocketClosed: the peer closed or went away, or its message was over the limit.
        """
        try:
            message = await self._connection.get_message()
            # trio-websocket measures text in characters, and a character is up to four bytes.
            if isinstance(message, str) and len(message) * 4 > self._max_size:
                size = len(message.encode())
                if size > self._max_size:
                    raise SocketClosed(Close(1009, f"Exceeded maximum message size: {self._max_size} bytes"))
        except trio_websocket.ConnectionClosed:
            raise SocketClosed from None
        return message

    async def send(self, messages: Iterable[bytes]) -> None:
        """Send each of `messages`, which are UTF-8, as a text message; all of them in one write.

        The frames are made here and not by trio-websocket: one write for a batch of events instead of a lock, a write
        and a trip through the scheduler for each of them. A cancelled send dooms the socket.

        Raises:
            SocketClosed: the WebSocket is closing or lost.
        """
        data = bytearray()
        for message in messages:
            size = len(message)
            if size < 126:
                data += struct.pack("!BB", _TEXT, size)
            elif size < 65536:
                data += struct.pack("!BBH", _TEXT, 126, size)
            else:
                data += struct.pack("!BBQ", _TEXT, 127, size)
            data += message
        if self._connection.closed or self._stream.close_sent:
            raise SocketClosed
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise SocketClosed from None

    async def aclose(self, code: int, reason: str) -> None:
        """Do the closing handshake, unless the socket is closed, closing or doomed already.

        Waits for the peer; a deadline is the caller's. The transport still has to be closed afterwards.
        """
        if not self._stream.doomed:
            await self._connection.aclose(code, reason or None)


def upgrade_request(head: Head, key: bytes) -> bytes:
    """Return an upgrade request that says what `head` says, for wsproto to parse.

    Handing on the peer's own bytes would have them judged twice, by rules that need not agree.
    """
    return (
        b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"
    ) % (head.path.encode("ascii"), key)
