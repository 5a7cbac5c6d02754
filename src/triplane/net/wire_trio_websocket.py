"""One WebSocket by trio-websocket, over a stream that we own.

Only `wrap_client_stream` is used, never the library's context managers, and each step is guarded. What is guarded
against was measured on trio-websocket 0.12.2:

* a TCP end during the handshake leaves `wrap_client_stream` waiting for ever, so the handshake is raced against the
  stream's end;
* after a Close whose sender keeps TCP open, `aclose` returns early and its reader stays, so the stream is closed
  forcefully after a bounded `aclose`;
* a ping that is answered by nothing waits for ever, so pings run under the caller's deadline;
* the reader answers a Close before it goes on, and waits for ever while a request of ours is stuck half-way; nothing
  tells of a Close but a property, so that is looked at before each read, and while a request takes long;
* it reads for as long as its queue has room for a message, whatever the sizes, so the stream it reads from stops
  at `max_unread` bytes; and it counts the characters of a message where the limit is one of bytes;
* no close frame answers what wsproto cannot read, so one is sent for it;
* a frame that arrives after our own Close can raise in the reader
  (https://github.com/python-trio/trio-websocket/issues/184), and so can an answer to the upgrade that is not HTTP,
  with an error of h11's; protocol errors of all three libraries end the connection as a value.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar, final

import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection
from wsproto.utilities import LocalProtocolError, ProtocolError

from triplane.core.errors import CloseInfo, ConnectFailed

from .refusal import refusal_in, refused
from .wire import LAST_WORDS, MOST_AT_ONCE, PATIENCE, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triplane.core.options import EngineOptions

    from .endpoint import Endpoint
    from .guarded_stream import GuardedStream

# Messages that may wait for us before the library stops reading, and with that stops answering pings.
_QUEUE = 1_024
_TOO_LARGE = "the message is larger than max_message_size"
_MALFORMED = (1002, 1007)
Leaf = TypeVar("Leaf", bound=BaseException)


@final
class TrioWebSocketWire(Wire):
    """See `Wire`."""

    def __init__(
        self, stream: GuardedStream, endpoint: Endpoint, resource: str, options: EngineOptions
    ) -> None:
        super().__init__(endpoint.mask)
        self._stream = stream
        self._unread = _Unread(stream, options.max_unread, self._note_close)
        self._endpoint = endpoint
        self._resource = resource
        self._max_message_size = options.max_message_size
        self._websocket: WebSocketConnection | None = None
        self._closed_by_us = False
        self._too_large = False
        self._protocol_error = ""
        self._sending = trio.Event()
        # No message comes after `_over`, nothing goes out after `_done`.
        self._over = trio.Event()
        self._done = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Wire.run`."""
        rejection: ConnectionRejected | None = None
        handshaken = False
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._give_up_at_end, nursery.cancel_scope)
                await nursery.start(self._keep_reading)
                # The library lets HTTP/1.0 pass, which has no upgrade (RFC 6455 section 4.1 asks for 1.1).
                handshaken = bytes(self._stream.head or b"").startswith(b"HTTP/1.1 ")
                if handshaken:
                    self._stream.forget_head()
                    task_status.started()
                    nursery.start_soon(self._watch_requests)
                    await self._over.wait()
                    await self._tell_why()
                else:
                    self._protocol_error = "the upgrade was not answered in HTTP/1.1"
                nursery.cancel_scope.cancel(reason="the WebSocket is over")
        except* ConnectionRejected as group:
            rejection = _first(group)
        except* (ProtocolError, h11.ProtocolError) as group:
            error = _first(group)
            # What a library says of our own bytes may quote them, credentials included.
            ours = isinstance(error, (LocalProtocolError, h11.LocalProtocolError))
            words = "the WebSocket library refused to go on" if ours else str(error)
            self._protocol_error = self.mask.text(words)
        finally:
            self._over.set()
            self._done.set()
            await trio.aclose_forcefully(self._stream)
        if rejection is not None:
            raise refused(self._endpoint.url, rejection.status_code, rejection.headers, rejection.body or b"")
        if not handshaken:
            raise self._cut_short()

    async def _keep_reading(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            self._websocket = await wrap_client_stream(
                nursery,
                self._unread,  # type: ignore[arg-type]  # any stream does; the annotation is too narrow
                self._endpoint.authority,
                self._resource,
                extra_headers=self._endpoint.upgrade_headers(),
                message_queue_size=_QUEUE,
                max_message_size=self._max_message_size,
                receive_buffer_size=MOST_AT_ONCE,
            )
            self._note_close()
            task_status.started()
        self._over.set()

    def _note_close(self) -> None:
        # While it is we who close, the property is set from the beginning, and `aclose` waits for the end.
        if self._closed_by_us:
            return
        if self._websocket is not None and self._websocket.closed is not None:
            self._over.set()

    async def _watch_requests(self) -> None:
        while True:
            await self._sending.wait()
            await trio.sleep(PATIENCE)
            self._note_close()

    async def _tell_why(self) -> None:
        """Send the close frame that the library does not send.

        wsproto reports what it cannot read as if the peer had closed, so trio-websocket says nothing:
        https://github.com/python-hyper/wsproto/pull/100.
        """
        close = self.close_info()
        if not (self._too_large or close.code in _MALFORMED):
            return
        frame = Connection(ConnectionType.CLIENT).send(CloseConnection(close.code, close.reason))
        with (
            trio.move_on_after(LAST_WORDS),
            # Busy, when a request is stuck half-way: no frame may begin inside it.
            contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError),
        ):
            await self._stream.send_all(frame)

    async def _give_up_at_end(self, scope: trio.CancelScope) -> None:
        await self._stream.ended.wait()
        # Messages that came before the end stay readable: they are in the library's channel, not in its tasks.
        scope.cancel(reason="the stream has ended")

    async def send(self, message: str | bytes) -> None:
        """See `Wire.send`."""
        self._sending.set()
        try:
            await self._open().send_message(message)
        except ConnectionClosed:
            raise self.lost() from None
        finally:
            self._sending = trio.Event()

    async def receive_any(self) -> tuple[str | bytes, ...]:
        """See `Wire.receive_any`."""
        try:
            with self._unread.wanted():
                message = await self._open().get_message()
        except ConnectionClosed:
            if self._closed_by_us:
                raise self.lost() from None
            self._over.set()
        else:
            size = len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
            self._unread.took(size)
            if size <= self._max_message_size and not self._too_large:
                return (message,)
            self._too_large = True
            self._over.set()
        # The close frame gets its chance before anybody can drop the connection for being over.
        await self._done.wait()
        raise self.lost()

    async def ping(self) -> None:
        """See `Wire.ping`."""
        try:
            await self._open().ping()
        except ConnectionClosed:
            raise self.lost() from None

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        self._closed_by_us = True
        if self._websocket is not None:
            await self._websocket.aclose()

    def close_info(self) -> CloseInfo:
        """See `Wire.close_info`."""
        if self._too_large:
            return CloseInfo(1009, _TOO_LARGE, "us")
        reason = self._websocket.closed if self._websocket is not None else None
        code = 1006 if reason is None else int(reason.code)
        words = self._protocol_error or (reason.reason if reason is not None else None) or ""
        # The library closes with 1009 itself and tells so by nothing but its words; a server that is made with the same
        # library has the same words for its own limit.
        too_big_for_us = (
            code == 1009 and words == f"Exceeded maximum message size: {self._max_message_size} bytes"
        )
        # wsproto reports what is wrong with the peer's frames as a close with one of these codes. Our own frames are
        # wsproto's as well, so a peer has no reason to send them.
        malformed = code in _MALFORMED
        words = self.mask.text(words)
        if self._closed_by_us or too_big_for_us or malformed or self._protocol_error:
            return CloseInfo(code, words, "us")
        return CloseInfo(code, words, "network" if code == 1006 else "peer")

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


@final
class _Unread(trio.abc.Stream):
    """The stream for a reader that would read on for as long as its queue has room, however large the messages.

    It stops at a number of unread bytes, unless somebody waits for a message.

    Args:
        stream: The stream under it.
        most: That number.
        before_read: Called before each read, when everything read before has been looked at.
    """

    def __init__(self, stream: GuardedStream, most: int, before_read: Callable[[], None]) -> None:
        self._stream = stream
        self._most = most
        self._before_read = before_read
        self._unread = 0
        self._wanted = 0
        self._room = trio.Event()

    @contextlib.contextmanager
    def wanted(self) -> Iterator[None]:
        """While somebody waits for a message, of which perhaps only the beginning has been read.

        For a moment two may wait, when one is cancelled to make way for the other.
        """
        self._wanted += 1
        self._room.set()
        try:
            yield
        finally:
            self._wanted -= 1

    def took(self, size: int) -> None:
        """A message of so many bytes has found its reader."""
        self._unread = max(0, self._unread - size - _frame_header(size))
        self._room.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        self._before_read()
        while self._unread >= self._most and not self._wanted:
            self._room = trio.Event()
            await self._room.wait()
        data = await self._stream.receive_some(max_bytes)
        self._unread += len(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()


def _frame_header(size: int) -> int:
    return 2 if size < 126 else 4 if size < 65_536 else 10  # RFC 6455, section 5.2


def _first(group: BaseExceptionGroup[Leaf]) -> Leaf:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
