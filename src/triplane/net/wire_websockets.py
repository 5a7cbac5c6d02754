"""One WebSocket by the sans-I/O protocol of `websockets`, driven by whoever reads.

There is no task between the socket and the holder: `receive_any` reads the stream, hands the bytes to the protocol
and returns every message that they complete. That saves a task switch for each read, and most of the time of bulk
reading.

**Who reads when the holder does not?** A peer pings while the holder sends, waits for a slow reader of its own, or
works; unanswered, it hangs up after some 20 seconds. So a stand-in reads once nobody has read for a second. It stays
off the path of a holder that keeps reading: all it costs there is one wake-up a second. What it reads waits for the
holder, and at `max_unread` bytes it stops, since memory has an end and TCP tells the peer to wait. Beyond that point
a ping cannot be answered, because it stands behind messages that nobody has taken; it is the peer who waits for us
then, and the heartbeat does not count it as silence.

**Who answers?** Not the reader: it may be cancelled, and a cancelled send breaks the stream. Pongs and the echo of a
close are written by a task of the wire's own, which ends with it. It keeps the newest thousand pongs, and drops older
ones of a peer that floods and does not read; RFC 6455, section 5.5.3, allows to answer the latest ping alone.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast, final

import trio
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from triplane.core.errors import CloseInfo, ConnectFailed

from .refusal import refusal_in, refused
from .wire import LAST_WORDS, MOST_AT_ONCE, PATIENCE, Wire

if TYPE_CHECKING:
    from triplane.core.options import EngineOptions

    from .endpoint import Endpoint
    from .guarded_stream import GuardedStream

_MOST_REPLIES = 1_000
# The protocol holds a ping between two fragments against what is left of the message's limit, so its limit has room
# for one, and the message's length is compared here.
_CONTROL_FRAME = 125

_UTF_8 = codecs.getincrementaldecoder("utf-8")

# The library logs the headers of the upgrade at level DEBUG, the key among them. No handler hears this logger.
_SILENT = logging.Logger("triplane.net.wire_websockets", logging.INFO)  # noqa: LOG001  # it has no parent
_SILENT.addHandler(logging.NullHandler())


@final
class WebsocketsWire(Wire):
    """See `Wire`."""

    def __init__(
        self, stream: GuardedStream, endpoint: Endpoint, resource: str, options: EngineOptions
    ) -> None:
        super().__init__(endpoint.mask)
        self._stream = stream
        self._endpoint = endpoint
        self._max_message_size = options.max_message_size
        self._max_unread = options.max_unread
        uri = parse_uri(f"{'wss' if endpoint.uses_tls else 'ws'}://{endpoint.authority}{resource}")
        self._protocol = ClientProtocol(
            uri,
            max_size=options.max_message_size + _CONTROL_FRAME,
            extensions=[ClientPerMessageDeflateFactory()] if endpoint.compression else None,
            logger=_SILENT,
        )
        self._answer: Response | None = None
        self._writing = trio.Lock()
        self._pings: dict[bytes, trio.Event] = {}
        self._pings_sent = 0
        # What came in: messages for the holder, and a message of which fragments are missing.
        self._messages: list[str | bytes] = []
        self._partial = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = None
        # What has to go out: whole frames.
        self._replies: deque[bytes] = deque(maxlen=_MOST_REPLIES)
        self._to_reply = trio.Event()
        # Who reads.
        self._reading = False
        self._read_done: trio.Event | None = None
        self._last_held = trio.current_time()
        self._read_ahead = 0
        self._taken = trio.Event()
        # How it ends: no message comes after `_over`, nothing goes out after `_done`.
        self._over = trio.Event()
        self._done = trio.Event()
        self._closed_by_us = False
        self._failed_by_us: CloseInfo | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Wire.run`."""
        try:
            await self._shake_hands()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reply)
                nursery.start_soon(self._stand_in)
                await self._over.wait()
                with trio.move_on_after(LAST_WORDS):
                    await self._write_replies()
                nursery.cancel_scope.cancel(reason="the WebSocket is over")
        finally:
            self._end()
            self._done.set()
            await trio.aclose_forcefully(self._stream)

    async def _shake_hands(self) -> None:
        request = self._protocol.connect()
        del request.headers["Host"]
        request.headers["Host"] = self._endpoint.authority
        for name, value in self._endpoint.upgrade_headers():
            request.headers[name.decode()] = value.decode()
        self._protocol.send_request(request)
        # Whoever refuses before it has read everything leaves an answer all the same.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(b"".join(self._protocol.data_to_send()))
        while self._answer is None and self._protocol.handshake_exc is None and not self._over.is_set():
            await self._read()
        # A WebSocket that was opened and closed by the same bytes has been open all the same.
        if not self._has_opened:
            raise await self._refused()
        self._stream.forget_head()

    async def _refused(self) -> ConnectFailed:
        url, answer = self._endpoint.url, self._answer
        if answer is not None and answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            headers = [
                # What is not ASCII comes as surrogates, which hold its bytes.
                (name.encode(), value.encode("utf-8", "surrogateescape"))
                for name, value in answer.headers.raw_items()
            ]
            return refused(url, answer.status_code, headers, bytes(answer.body))
        with trio.move_on_after(LAST_WORDS):
            # What the library does not read, HTTP/1.0 for one, can be a refusal all the same.
            while refusal_in(url, self._head()) is not None and not self._over.is_set():
                await self._read()
        refusal = refusal_in(url, self._head())
        if refusal is not None:
            return refusal
        why = "the connection ended before the upgrade was answered"
        if self._head():
            why = self.mask.text(str(self._protocol.handshake_exc))
        return ConnectFailed(f"no WebSocket at {url}: {why}", stage="upgrade", status=None)

    def _head(self) -> bytes:
        return bytes(self._stream.head or b"")

    async def send(self, message: str | bytes) -> None:
        """See `Wire.send`."""
        whole = False
        async with self._writing:
            if self._is_open:
                if isinstance(message, str):
                    self._protocol.send_text(message.encode())
                else:
                    self._protocol.send_binary(message)
                whole = await self._write(self._protocol.data_to_send())
        if not whole:
            # A peer that hangs up on a request says why before it does: it has to be read.
            with trio.move_on_after(LAST_WORDS):
                await self._read_to_the_end()
            raise self.lost()

    async def receive_any(self) -> tuple[str | bytes, ...]:
        """See `Wire.receive_any`."""
        if self._messages:
            await trio.lowlevel.checkpoint()
        while not self._messages:
            if self._over.is_set():
                # The echo of a close gets its chance before anybody can drop the connection for being over.
                await self._done.wait()
                raise self.lost()
            try:
                await self._read_or_wait()
            finally:
                self._last_held = trio.current_time()
        messages = tuple(self._messages)
        self._messages.clear()
        if self._read_ahead:
            self._read_ahead = 0
            self._taken.set()
        return messages

    async def ping(self) -> None:
        """See `Wire.ping`."""
        self._pings_sent += 1
        payload = self._pings_sent.to_bytes(8, "big")
        pong = self._pings[payload] = trio.Event()
        try:
            async with self._writing:
                if self._is_open:
                    self._protocol.send_ping(payload)
                    await self._write(self._protocol.data_to_send())
            if not self._over.is_set():
                await pong.wait()
        finally:
            self._pings.pop(payload, None)
        if self._over.is_set():
            raise self.lost()

    async def aclose(self) -> None:
        """See `Wire.aclose`."""
        async with self._writing:
            if self._is_open:
                self._closed_by_us = True
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                await self._write(self._protocol.data_to_send())
        await self._read_to_the_end()

    def close_info(self) -> CloseInfo:
        """See `Wire.close_info`."""
        if self._failed_by_us is not None:
            return self._failed_by_us
        if self._over.is_set():
            close = self._protocol.close_exc
            if close.rcvd is not None:
                words = self.mask.text(close.rcvd.reason)
                return CloseInfo(int(close.rcvd.code), words, "us" if self._closed_by_us else "peer")
            if close.sent is not None and not self._closed_by_us:
                return self._failure(int(close.sent.code), close.sent.reason)
        return CloseInfo(by="us" if self._closed_by_us else "network")

    @property
    def _is_open(self) -> bool:
        return not self._closed_by_us and not self._over.is_set()

    @property
    def _has_opened(self) -> bool:
        return self._answer is not None and self._protocol.handshake_exc is None

    # --- reading

    async def _read(self) -> int:
        """Read the stream once and take everything that it brings; the number of bytes. One task at a time."""
        self._reading = True
        try:
            data = await self._stream.receive_some(MOST_AT_ONCE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        finally:
            self._reading = False
            if self._read_done is not None:
                self._read_done.set()
                self._read_done = None
        if not self._over.is_set():
            self._take(data)
        return len(data)

    async def _read_or_wait(self) -> None:
        """Read once, or wait until whoever reads has read."""
        if self._reading:
            if self._read_done is None:
                self._read_done = trio.Event()
            await self._read_done.wait()
        else:
            await self._read()

    async def _read_to_the_end(self) -> None:
        while not self._over.is_set():
            await self._read_or_wait()

    async def _stand_in(self) -> None:
        """Read whenever the holder has not read for a while, so that pings and closes do not wait for it."""
        while True:
            await trio.sleep_until(self._last_held + PATIENCE)
            if self._reading:
                await self._read_or_wait()
            elif self._read_ahead >= self._max_unread:
                self._taken = trio.Event()
                await self._taken.wait()
            elif trio.current_time() >= self._last_held + PATIENCE:
                self._read_ahead += await self._read()

    def _take(self, data: bytes | bytearray) -> None:
        if not data:
            self._end()
            return
        protocol = self._protocol
        protocol.receive_data(
            cast("bytes", data)
        )  # a bytearray does as well; version 15 is annotated too narrowly
        closed = False
        for event in protocol.events_received():
            if isinstance(event, Response):
                self._answer = event
            elif isinstance(event, Frame) and self._failed_by_us is None:
                if event.opcode is Opcode.PONG:
                    self._note_pong(bytes(event.data))
                elif event.opcode is Opcode.CLOSE:
                    closed = True
                elif event.opcode is not Opcode.PING and not self._closed_by_us:
                    self._assemble(event)
        replies = protocol.data_to_send()
        if replies:
            self._replies.extend(
                filter(None, replies)
            )  # an empty one asks for half-closing TCP, which TLS cannot
            self._to_reply.set()
        # Having closed ourselves we wait for the peer's close; any other expected end is one that has come.
        if closed or (self._has_opened and protocol.close_expected() and not self._closed_by_us):
            self._end()

    def _assemble(self, frame: Frame) -> None:
        data = frame.data
        if frame.fin and frame.opcode is not Opcode.CONT:
            if len(data) > self._max_message_size:
                self._fail(CloseCode.MESSAGE_TOO_BIG)
            elif frame.opcode is Opcode.BINARY:
                self._messages.append(bytes(data))
            else:
                try:
                    self._messages.append(str(data, "utf-8"))
                except UnicodeDecodeError:
                    self._fail(CloseCode.INVALID_DATA)
            return
        if frame.opcode is not Opcode.CONT:
            self._decoder = _UTF_8() if frame.opcode is Opcode.TEXT else None
        # Not a list of fragments: with a byte in each, their objects would take thirty times the message's memory.
        self._partial += data
        if len(self._partial) > self._max_message_size:
            self._fail(CloseCode.MESSAGE_TOO_BIG)
            return
        try:
            if self._decoder is not None:
                self._decoder.decode(bytes(data), frame.fin)
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA)
            return
        if frame.fin:
            whole, self._partial = self._partial, bytearray()
            self._messages.append(bytes(whole) if self._decoder is None else whole.decode())

    def _note_pong(self, payload: bytes) -> None:
        # One pong may answer for all pings before it: RFC 6455, section 5.5.3.
        if payload in self._pings:
            for sent, pong in self._pings.items():
                pong.set()
                if sent == payload:
                    break

    # --- the end

    def _fail(self, code: CloseCode) -> None:
        """Close the WebSocket for what the peer sent."""
        self._failed_by_us = self._failure(int(code), "")
        self._protocol.fail(code, self._failed_by_us.reason)

    def _failure(self, code: int, reason: str) -> CloseInfo:
        if code == CloseCode.MESSAGE_TOO_BIG:
            reason = f"the message is larger than {self._max_message_size} bytes"
        if code == CloseCode.INVALID_DATA:
            reason = "the message is not UTF-8"
        return CloseInfo(code, reason, "us")

    def _end(self) -> None:
        """Nothing comes any more: tell whoever waits."""
        if self._over.is_set():
            return
        self._protocol.receive_eof()
        for event in self._protocol.events_received():
            # The body of a refusal can last until the stream ends.
            if isinstance(event, Response):
                self._answer = event
        self._over.set()
        for pong in self._pings.values():
            pong.set()

    # --- writing

    async def _write(self, frames: list[bytes]) -> bool:
        """Write whole frames, after the replies that wait; whether that went well. Called with the lock held.

        A pong that is due is not held up by a request: RFC 6455, section 5.5.2.
        """
        if self._replies:
            frames = [*self._replies, *frames]
            self._replies.clear()
        try:
            await self._stream.send_all(b"".join(frames))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def _reply(self) -> None:
        while True:
            await self._to_reply.wait()
            self._to_reply = trio.Event()
            await self._write_replies()

    async def _write_replies(self) -> None:
        async with self._writing:
            if self._replies:
                await self._write([])
