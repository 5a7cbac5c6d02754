"""One WebSocket, server side: trio-websocket's framing on a stream that we own.

trio-websocket 0.12 is used for what it does well, the handshake and the reading of frames. Around it stands what a
server must be able to rely on: every wait ends, a half-written frame is never continued, and a batch of events is one
write.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

import attrs
import trio
import trio_websocket
import wsproto.utilities

from triplane.server.faults.connection import ConnectionFaults

from .frames import CLOSE, FIN, PONG, frame

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from triplane.server.faults.catalogue import CutAtByte
    from triplane.server.journal import Recorder

__all__ = ["Close", "GuardedStream", "ReaderDied", "Socket", "SocketClosed", "Traffic"]

# What trio-websocket's reader task dies of when a ping arrives after a close frame was sent, see
# https://github.com/python-trio/trio-websocket/issues/184. The connection is at its end then anyway.
ReaderDied = wsproto.utilities.LocalProtocolError

_CLOSE: Final = FIN | CLOSE
_PONG: Final = FIN | PONG
_MAX_REASON: Final = 123
_MAX_LATE_PONGS: Final = 100

# What trio-websocket says of a connection that ended without a close frame.
_LOST: Final = 1006

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
        self,
        transport: trio.abc.Stream,
        *,
        key: bytes,
        rest: bytes,
        traffic: Traffic,
        send_timeout: float,
        faults: ConnectionFaults | None = None,
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
        self._sent = 0
        self._late_pongs = 0
        self._nursery: trio.Nursery | None = None
        self.faults = faults or ConnectionFaults()
        self._closed = False
        self._held: trio.Event | None = None
        self.muted = False
        self.doomed = False
        self.close_sent = False
        self.closing = False

    def accept(self, nursery: trio.Nursery) -> None:
        """Let the peer's bytes through; what is to be sent late is sent from `nursery`."""
        self._nursery = nursery
        self._accepted.set()

    def between_writes(self) -> AbstractAsyncContextManager[None]:
        """While this is held nothing is being written, so that no cancellation can interrupt a write."""
        return self._send_lock

    def mute(self) -> None:
        """From now on send nothing, whoever tries to, and forget what the peer sends."""
        self.muted = True

    def prepare_reset(self) -> None:
        """Let the end of the connection be a TCP reset, where the transport is a socket."""
        if isinstance(self._transport, trio.SocketStream):
            self._transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

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
        while True:
            received = await self._transport.receive_some(max_bytes)
            self._traffic.received += len(received)
            if not (self.muted and received):
                return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`. Safe to call from several tasks."""
        # trio-websocket writes whole frames.
        if data[0] == _PONG and self.faults.slow_pong is not None:
            await self._send_late(bytes(data), self.faults.slow_pong.seconds)
            return
        if data[0] == _CLOSE and self.faults.close_delay and not self.closing:
            await self._hold_close()
        await self._send(data)

    async def _send(self, data: bytes | bytearray | memoryview) -> None:
        closes = data[0] == _CLOSE
        async with self._send_lock:
            if self.doomed:
                raise trio.BrokenResourceError("an earlier write was interrupted")
            if self.muted:
                return
            cut = self.faults.cut
            if cut is not None and self._sent + len(data) > cut.byte:
                await self._write(data[: cut.byte - self._sent])
                await self._cut_off(cut)
            else:
                await self._write(data)
                self.close_sent = self.close_sent or closes

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        whole = False
        try:
            with trio.move_on_after(self._send_timeout):
                await self._transport.send_all(data)
                whole = True
        finally:
            self.doomed = not whole
        if not whole:
            raise trio.BrokenResourceError("the peer does not read")
        self._traffic.sent += len(data)
        self._sent += len(data)

    async def _cut_off(self, cut: CutAtByte) -> None:
        if cut.then == "half_open":
            self.mute()
            return
        if cut.then == "reset":
            self.prepare_reset()
        self.doomed = True
        await trio.aclose_forcefully(self._transport)
        raise trio.BrokenResourceError("a fault cut the connection")

    async def _send_late(self, data: bytes, seconds: float | None) -> None:
        await trio.lowlevel.checkpoint()
        # RFC 6455 lets an endpoint answer the latest ping only.
        if seconds is None or self._nursery is None or self._late_pongs == _MAX_LATE_PONGS:
            return
        self._late_pongs += 1
        self._nursery.start_soon(self._send_later, data, seconds)

    async def _send_later(self, data: bytes, seconds: float) -> None:
        await trio.sleep(seconds)
        self._late_pongs -= 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if not self.close_sent:
                await self._send(data)

    async def _hold_close(self) -> None:
        self._held = trio.Event()
        try:
            # The task that reads is in here, so nobody else is waiting for the peer.
            with trio.move_on_after(self.faults.close_delay) as scope:
                while await self._transport.receive_some(65536):
                    pass
        finally:
            self._held.set()
        if not scope.cancelled_caught:
            raise trio.BrokenResourceError("the peer went away")

    async def wait_close_not_held(self) -> None:
        """Wait for the end of a fault that delays the answer to the peer's close frame, if there is one."""
        if self._held is not None:
            await self._held.wait()

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Stop receiving."""
        self._closed = True
        await trio.lowlevel.checkpoint()


@final
class Socket:
    """An accepted WebSocket. One task may receive while another sends; `Socket.accept` makes one.

    Attributes:
        recorder: notes what is received, and is there for whoever sends; None if nobody wants to know.
    """

    def __init__(
        self, connection: trio_websocket.WebSocketConnection, stream: GuardedStream, max_size: int
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._max_size = max_size
        self.recorder: Recorder | None = None

    @property
    def peer_close(self) -> tuple[int | None, str] | None:
        """The peer's close frame; its code is None if it went away without one. None if it did neither."""
        reason = self._connection.closed
        if reason is None:
            return None
        return (None if reason.code == _LOST else reason.code), reason.reason or ""

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
        stream.accept(nursery)
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
        if self.recorder is not None:
            self.recorder.received(message)
        return message

    async def send(self, frames: bytes | bytearray) -> None:
        """Send these frames in one write. A cancelled send dooms the socket.

        Raises:
            SocketClosed: the WebSocket is closing or lost.
        """
        if self._connection.closed or self._stream.close_sent:
            raise SocketClosed
        try:
            await self._stream.send_all(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise SocketClosed from None

    def between_writes(self) -> AbstractAsyncContextManager[None]:
        """While this is held nothing is being written, so that no cancellation can doom the socket."""
        return self._stream.between_writes()

    def mute(self) -> None:
        """From now on send nothing, no pong and no close frame, and forget what the peer sends."""
        self._stream.mute()

    def prepare_reset(self) -> None:
        """Let the end of the connection be a TCP reset, where the transport is a socket."""
        self._stream.prepare_reset()

    @property
    def faults(self) -> ConnectionFaults:
        """What is wrong with it."""
        return self._stream.faults

    async def wait_close_not_held(self) -> None:
        """Wait for the end of a fault that delays the answer to the peer's close frame, if there is one."""
        await self._stream.wait_close_not_held()

    async def aclose(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the peer's, unless one was sent or the socket is doomed.

        A deadline is the caller's. The transport still has to be closed afterwards.
        """
        if self._stream.doomed or self._stream.muted or self._stream.close_sent:
            return
        self._stream.closing = True
        if self._connection.closed:
            # trio-websocket has given up on the peer, without a word to it.
            payload = struct.pack("!H", code) + reason.encode()[:_MAX_REASON]
            with suppress(trio.BrokenResourceError):
                await self._stream.send_all(frame(CLOSE, payload))
        else:
            await self._connection.aclose(code, reason or None)
