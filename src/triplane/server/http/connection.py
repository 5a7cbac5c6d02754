"""One HTTP/1.1 connection, server side: h11 on a stream, where every wait has an end."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, final

import h11
import trio

from .head import MAX_HEAD, BadRequest, Head

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from triplane.server.options import Options

__all__ = ["ClientGone", "HangUp", "HttpConnection"]

_RECEIVE: Final = 16 * 1024


class ClientGone(Exception):  # noqa: N818 - the end of a connection is no error; never leaves this package
    """The client went away, or does not read what it is sent."""


class HangUp(Exception):  # noqa: N818 - a fault, and so what was asked for; never leaves this package
    """The connection ends here, in the middle of everything.

    Attributes:
        reset: whether by a TCP reset.
    """

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__(reset)
        self.reset = reset


@final
class HttpConnection:
    """Reads requests and writes answers, one after the other.

    A misbehaving client makes `BadRequest`, which can still be answered; a lost one makes `ClientGone`.
    """

    def __init__(self, stream: trio.abc.Stream, options: Options) -> None:
        self._stream = stream
        self._options = options
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._patience = options.handshake_timeout
        self._head_only = False

    @property
    def rest(self) -> bytes:
        """What the client sent behind a request for an upgrade, without waiting for an answer."""
        return self._h11.trailing_data[0]

    @property
    def answering(self) -> bool:
        """Whether the head of the answer is out."""
        return self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    def next_cycle(self) -> bool:
        """Make ready for the next request, and tell whether there can be one."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            return True
        return False

    async def next_request(self) -> Head | None:
        """Read the next request's head, however its bytes are split.

        None if the client closed without a word, sent nothing for too long, or was too slow about it.

        Raises:
            BadRequest: the bytes are not HTTP, the head is too large or was cut short.
            ClientGone: the connection is lost.
        """
        with trio.move_on_after(self._patience) as scope:
            self._patience = self._options.keep_alive_timeout
            size, begun = len(self.rest), False
            while not isinstance(event := self._next_event(), h11.Request):
                if isinstance(event, h11.ConnectionClosed):
                    return None
                data = await self._receive()
                if begun and not data:
                    raise BadRequest(400, "The request head ends too early.")
                if not begun:
                    begun = True
                    scope.deadline = trio.current_time() + self._options.handshake_timeout
                size += len(data)
                self._h11.receive_data(data)
            # h11 limits only what it cannot read yet.
            if size - len(self.rest) > MAX_HEAD:
                raise BadRequest(431, "The request head is too large.")
            self._head_only = event.method == b"HEAD"
            head = Head.of(event)
            if b"transfer-encoding" not in head.headers and not head.headers.get(
                b"content-length", b""
            ).strip(b"0"):
                # There is no body to wait for, so this is the end of the message.
                self._next_event()
            return head
        return None

    async def body(self) -> bytes:
        """Read the body of the request.

        Raises:
            BadRequest: it is too large, too slow, malformed or cut short.
            ClientGone: the connection is lost.
        """
        limit = self._options.max_body_size
        body = bytearray()
        with trio.move_on_after(self._options.body_timeout):
            while self._h11.their_state is h11.SEND_BODY:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))
                event = self._next_event()
                if isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > limit:
                        raise BadRequest(413, f"The body is larger than {limit} bytes.", "request_too_large")
                elif event is h11.NEED_DATA:
                    self._h11.receive_data(await self._receive())
            return bytes(body)
        raise BadRequest(408, "The body did not arrive in time.")

    async def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer.

        Args:
            status: its status code.
            content: its body.
            headers: all of them but those about the body's length and the connection.

        Raises:
            ClientGone: the connection is lost, or the client does not read.
        """
        data = self._head(status, {**headers, "Content-Length": str(len(content))})
        if content and not self._head_only:
            data += self._h11.send(h11.Data(data=content)) or b""
        await self._write(data + (self._h11.send(h11.EndOfMessage()) or b""))

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer whose length is not known yet.

        Raises:
            ClientGone: see `answer`.
        """
        await self._write(self._head(status, headers))

    async def send(self, data: bytes) -> None:
        """Send a piece of the answer that `begin` began.

        Raises:
            ClientGone: see `answer`.
        """
        await self._write(self._h11.send(h11.Data(data=data)))

    async def end(self) -> None:
        """Send the end of the answer.

        Raises:
            ClientGone: see `answer`.
        """
        await self._write(self._h11.send(h11.EndOfMessage()))

    async def watched(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, and give it up when the client goes away meanwhile.

        Closing its own side is going away too, as it is for most servers: a client that means to read the answer
        keeps the connection open.

        Raises:
            ClientGone: it did, or `work` found out.
            HangUp: `work` did.
        """
        ended: ClientGone | HangUp | None = None

        async def watch(scope: trio.CancelScope) -> None:
            nonlocal ended
            try:
                data = await self._receive()
            except ClientGone:
                data = b""
            if data:
                # The next request, ahead of time. No more of it is read before its turn.
                self._h11.receive_data(data)
                return
            ended = ClientGone()
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            try:
                await work()
            except (ClientGone, HangUp) as caught:
                ended = caught
            nursery.cancel_scope.cancel()
        if ended is not None:
            raise ended

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        if self._h11.their_state in (h11.SEND_BODY, h11.ERROR):
            # What is left of this request would be taken for the next one.
            fields.append((b"Connection", b"close"))
        try:
            reason = HTTPStatus(status).phrase.encode()
        except ValueError:
            reason = b"Unknown"
        return self._h11.send(h11.Response(status_code=status, headers=fields, reason=reason)) or b""

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            # h11's own words may quote the header line at fault, and that may be the one with the key.
            raise BadRequest(exc.error_status_hint, "This is not an HTTP request that can be read.") from None

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_RECEIVE))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ClientGone from None

    async def _write(self, data: bytes | None) -> None:
        with trio.move_on_after(self._options.send_timeout) as scope:
            try:
                await self._stream.send_all(data or b"")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise ClientGone from None
        if scope.cancelled_caught:
            raise ClientGone
