"""One WebSocket, server side: trio-websocket's framing on a stream that we own.

trio-websocket 0.12 is used for what it does well, the handshake and the reading of frames. Around it stands what a
server must be able to rely on: every wait ends, a half-written frame is never continued, and a batch of events is one
write.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

import attrs
import trio
import trio_websocket
import wsproto.utilities

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Close", "GuardedStream", "ReaderDied", "Socket", "SocketClosed", "Traffic"]

# What trio-websocket's reader task dies of when a ping arrives after a close frame was sent, see
# https://github.com/python-trio/trio-websocket/issues/184. The connection is at its end then anyway.
ReaderDied = wsproto.utilities.LocalProtocolError

_TEXT: Final = 0x81  # FIN and opcode 1
_CLOSE: Final = 0x88
_MAX_REASON: Final = 123

# Protocol error, text that is not UTF-8, a message over the limit.
_PEER_AT_FAULT: Final = (1002, 1007, 1009)


@attrs.frozen
class Close:
    """How to close a WebSocket.

    Attributes:
        code: of the close frame; None for none.
        reason: in the close frame.
        linger: whether the peer may still be sending, unaware, and should be read from until it sees the close frame.
    """

    code: int | None
    reason: str = ""
    linger: bool = False


@attrs.define
class Traffic:
    """Bytes over WebSockets."""

    received: int = 0
    sent: int = 0


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
    """The transport as trio-websocket sees it: first an upgrade request, then, once accepted, the peer's bytes.

    Holding the peer's bytes back matters because wsproto loses what follows the upgrade request in the same read.
    Writes are serialised, trio-websocket's own answers to pings and closes included, and none may take longer than
    `send_timeout`. A write that was interrupted dooms the stream: how much of it went out is not known, so the next
    frame would begin in the middle of it. Closing it leaves the transport open, because trio-websocket closes in
    places where there is something left to say.
    """

    def __init__(
        self, transport: trio.abc.Stream, *, key: bytes, rest: bytes, traffic: Traffic, send_timeout: float
    ) -> None:
        self._transport = transport
        # Not the peer's own bytes, which would then be judged twice, by rules that need not agree.
        self._request = (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        self._rest = rest
        self._traffic = traffic
        self._send_timeout = send_timeout
        self._accepted = trio.Event()
        self._send_lock = trio.StrictFIFOLock()
        self._closed = False
        self.doomed = False
        self.close_sent = False

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
            await trio.lowlevel.checkpoint()
            data, self._rest = self._rest, b""
            self._traffic.received += len(data)
            return data
        if self._closed or self.doomed:
            raise trio.ClosedResourceError
        received = await self._transport.receive_some(max_bytes)
        self._traffic.received += len(received)
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`. Safe to call from several tasks."""
        async with self._send_lock:
            if self.doomed:
                raise trio.BrokenResourceError("an earlier write was interrupted")
            self.doomed = True
            with trio.move_on_after(self._send_timeout) as scope:
                await self._transport.send_all(data)
            if scope.cancelled_caught:
                raise trio.BrokenResourceError("the peer does not read")
            self.doomed = False
            self._traffic.sent += len(data)
            # trio-websocket writes whole frames.
            self.close_sent = self.close_sent or data[0] == _CLOSE

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Stop receiving."""
        self._closed = True
        await trio.lowlevel.checkpoint()


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

        trio-websocket's reader task runs in `nursery` from here on and may raise `ReaderDied` there.

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
        except trio_websocket.ConnectionClosed as closed:
            # The codes that trio-websocket closes with on its own account. If it was the peer who did, the answer is
            # out, and there is no harm in waiting for its end.
            if closed.reason is not None and closed.reason.code in _PEER_AT_FAULT:
                raise SocketClosed(
                    Close(closed.reason.code, closed.reason.reason or "", linger=True)
                ) from None
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
        """Send a close frame and wait for the peer's, unless one was sent or the socket is doomed.

        A deadline is the caller's. The transport still has to be closed afterwards.
        """
        if self._stream.doomed or self._stream.close_sent:
            return
        if self._connection.closed:
            # trio-websocket has given up on the peer, without a word to it.
            payload = struct.pack("!H", code) + reason.encode()[:_MAX_REASON]
            with suppress(trio.BrokenResourceError):
                await self._stream.send_all(bytes((_CLOSE, len(payload))) + payload)
        else:
            await self._connection.aclose(code, reason or None)
