"""The side of a cassette that faces the client: HTTP/1.1 by h11, one request a connection, or an upgrade.

Small on purpose. It serves clients of tests on this machine, and what it says is what was recorded or comes from
upstream.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final, final

import attrs
import h11
import orjson
import trio

__all__ = ["HOP_BY_HOP", "BrokenRequest", "Front", "Request"]

_MAX_HEAD: Final = 64 * 1024
_MAX_BODY: Final = 64 * 1024 * 1024
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Headers that say something of one connection only, or of how a body is packed on it.
HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


class BrokenRequest(Exception):  # noqa: N818 - the client's fault; never leaves this package
    """The client went away, or what it sends is no request."""


@attrs.frozen
class Request:
    """What a client asks.

    Attributes:
        headers: names in lower case; of repeated ones the last.
        key: of a WebSocket upgrade; None for plain HTTP.
        body: of a plain request.
        rest: what came after an upgrade in the same read.
    """

    method: str
    target: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    key: bytes | None = None
    body: bytes = attrs.field(default=b"", repr=False)
    rest: bytes = attrs.field(default=b"", repr=False)


@final
class Front:
    """One connection of a client."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)

    async def receive(self) -> Request:
        """Receive the request, with its body.

        Raises:
            BrokenRequest: there is none.
        """
        head = await self._next()
        if not isinstance(head, h11.Request):
            raise BrokenRequest("no request")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        method, target = head.method.decode("ascii"), head.target.decode("latin-1")
        if headers.get("upgrade", "").lower() == "websocket" and "sec-websocket-key" in headers:
            while not isinstance(await self._next(), h11.EndOfMessage):
                pass
            key = headers["sec-websocket-key"].encode("latin-1")
            return Request(method, target, headers, key, rest=self._http.trailing_data[0])
        body = bytearray()
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if not isinstance(event, h11.Data) or len(body) > _MAX_BODY:
                raise BrokenRequest("the request was cut short or is too large")
            body += event.data
        return Request(method, target, headers, body=bytes(body))

    async def _next(self) -> object:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise BrokenRequest(str(error)) from None
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await self._stream.send_all(self._http.send(go_on) or b"")
                self._http.receive_data(bytes(await self._stream.receive_some()))
                continue
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                # An upgrade is paused after its head.
                return h11.EndOfMessage() if event is h11.PAUSED else event
            return event

    async def wait_closed(self) -> None:
        """Wait until the client, which has sent its request, goes away."""
        try:
            while await self._stream.receive_some(4096):
                pass
        except trio.BrokenResourceError:
            pass

    async def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of an answer, without the hop-by-hop headers that are in `headers`."""
        fields = [(name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP]
        await self._send(h11.Response(status_code=status, headers=[*fields, ("connection", "close")]))

    async def send_body(self, data: bytes) -> None:
        """Send a part of the body."""
        if data:
            await self._send(h11.Data(data=data))

    async def send_end(self) -> None:
        """Send the end of the body; without it, the client sees that something is missing."""
        await self._send(h11.EndOfMessage())

    async def send_json(self, status: int, value: Any) -> None:
        """Send a whole answer."""
        body = orjson.dumps(value)
        await self.send_head(status, {"content-type": "application/json"})
        await self.send_body(body)
        await self.send_end()

    async def accept(self, key: bytes, headers: Mapping[str, str]) -> None:
        """Accept an upgrade; the stream speaks WebSocket afterwards."""
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
        kept = [
            (name, value)
            for name, value in headers.items()
            if name.lower() not in HOP_BY_HOP and not name.lower().startswith("sec-websocket-")
        ]
        switch = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept)]
        await self._send(h11.InformationalResponse(status_code=101, headers=[*switch, *kept]))

    async def _send(self, event: Any) -> None:
        await self._stream.send_all(self._http.send(event) or b"")
