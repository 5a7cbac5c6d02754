"""The HTTP/1.1 side of a connection: one request head in, one small answer out.

trio-websocket answers whatever is not a WebSocket upgrade with a bare 400 of its own, so the head is read and judged
here first. The parsing is h11's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import attrs
import h11
import orjson

from .errors import error_body

if TYPE_CHECKING:
    import trio

__all__ = ["BadRequest", "Head", "read_head", "send_answer"]

MAX_HEAD: Final = 64 * 1024
_RECEIVE: Final = 16 * 1024


@attrs.define
class BadRequest(Exception):  # noqa: N818 - an answer, not an accident; never leaves this package
    """The peer sent something that gets an HTTP error answer."""

    status: int
    message: str
    code: str | None = None
    headers: Mapping[str, str] = attrs.Factory(dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer, shaped like the API's HTTP errors."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": error_body(code=self.code, message=self.message, param=None, error_type=kind)}


@attrs.frozen
class Head:
    """A parsed request head.

    Attributes:
        path: without the query, which this server ignores everywhere.
        headers: names in lower case; repeated headers are joined by commas.
        rest: what the peer sent after the head, without waiting for an answer.
    """

    method: str
    path: str
    version: bytes
    headers: Mapping[bytes, bytes] = attrs.field(repr=False)  # the key is in there
    rest: bytes = attrs.field(repr=False)

    def bearer(self) -> bytes | None:
        """Return the token of the Authorization header, if it is a Bearer one."""
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else None

    def wants_upgrade(self) -> bool:
        """Tell whether this asks for a WebSocket, well-formed or not."""
        return b"websocket" in _tokens(self.headers.get(b"upgrade", b""))

    def websocket_key(self) -> bytes:
        """Check the upgrade of RFC 6455, section 4.2.1, and return its key.

        Raises:
            BadRequest: it is not an upgrade that can be accepted.
        """
        if self.version < b"1.1":
            raise BadRequest(400, "The upgrade must be a request of HTTP/1.1.")
        if b"transfer-encoding" in self.headers or self.headers.get(b"content-length", b"0") != b"0":
            raise BadRequest(400, "The upgrade must not have a body.")
        if b"upgrade" not in _tokens(self.headers.get(b"connection", b"")):
            raise BadRequest(400, "The upgrade lacks the header 'Connection: Upgrade'.")
        if self.headers.get(b"sec-websocket-version") != b"13":
            headers = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            raise BadRequest(426, "The upgrade must be for WebSocket version 13.", headers=headers)
        key = self.headers.get(b"sec-websocket-key", b"")
        try:
            nonce = base64.b64decode(key, validate=True)
        except binascii.Error:
            nonce = b""
        if len(nonce) != 16:
            raise BadRequest(400, "The upgrade needs a Sec-WebSocket-Key of 16 bytes in base64.")
        return key


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip() for token in value.lower().split(b",")]


async def read_head(stream: trio.abc.ReceiveStream, *, max_size: int = MAX_HEAD) -> Head | None:
    """Read one request head, however its bytes are split. None if the peer closed without a word.

    A deadline is the caller's: a cancelled read leaves nothing behind but a stream to close.

    Raises:
        BadRequest: the bytes are not HTTP, the head is larger than `max_size` or was cut short.
        trio.BrokenResourceError: the connection is lost.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=max_size)
    size = 0
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            # h11's own words may quote the header line at fault, and that may be the one with the key.
            raise BadRequest(exc.error_status_hint, "This is not an HTTP request that can be read.") from None
        if isinstance(event, h11.Request):
            break
        if isinstance(event, h11.ConnectionClosed):
            return None
        data = await stream.receive_some(_RECEIVE)
        if not data and size:
            raise BadRequest(400, "The request head ends too early.")
        size += len(data)
        connection.receive_data(bytes(data))
    rest = connection.trailing_data[0]
    if size - len(rest) > max_size:
        raise BadRequest(431, "The request head is too large.")
    headers: dict[bytes, bytes] = {}
    for name, value in event.headers:
        headers[name] = headers[name] + b", " + value if name in headers else value
    try:
        path = urlsplit(event.target.decode("ascii")).path
    except ValueError:
        raise BadRequest(400, "The request target is not a URL.") from None
    return Head(event.method.decode("ascii"), path, event.http_version, headers, rest)


async def send_answer(
    stream: trio.abc.SendStream,
    status: int,
    body: Mapping[str, Any] | bytes,
    *,
    headers: Mapping[str, str] | None = None,
    head_only: bool = False,
) -> None:
    """Send one whole HTTP answer that ends the connection.

    Args:
        stream: where to.
        status: the status code.
        body: an object to send as JSON, or bytes that are JSON already.
        headers: beside the usual ones.
        head_only: leave the body out, as the answer to HEAD does.

    Raises:
        trio.BrokenResourceError: the connection is lost.
    """
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        **(headers or {}),
    }
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    await stream.send_all("\r\n".join(lines).encode("latin-1") + (b"" if head_only else content))
