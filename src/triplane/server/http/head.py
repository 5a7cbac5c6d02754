"""The head of an HTTP/1.1 request, judged; and the answers that are not worth a conversation."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import orjson

from triplane.server.errors import Refused, error_body

if TYPE_CHECKING:
    import h11
    import trio

__all__ = ["MAX_HEAD", "BadRequest", "Head", "send_answer"]

MAX_HEAD: Final = 64 * 1024


@attrs.define
class BadRequest(Exception):  # noqa: N818 - an answer, not an accident; never leaves this package
    """The peer sent something that gets an HTTP error answer."""

    status: int
    message: str
    code: str | None = None
    headers: Mapping[str, str] = attrs.Factory(dict)
    param: str | None = None
    error_type: str | None = None

    def __str__(self) -> str:
        return self.message

    @classmethod
    def of(cls, refused: Refused) -> BadRequest:
        """Return the answer over HTTP to a request that the API refuses."""
        # The one code whose status is not the one that it has in an event.
        status = 404 if refused.code == "model_not_found" else refused.status
        return cls(
            status, refused.message, refused.code, refused.headers or {}, refused.param, refused.error_type
        )

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer, shaped like the API's HTTP errors."""
        kind = self.error_type or ("invalid_request_error" if self.status < 500 else "server_error")
        return {"error": error_body(code=self.code, message=self.message, param=self.param, error_type=kind)}


@attrs.frozen
class Head:
    """A parsed request head.

    Attributes:
        path: without the query; percent-encoded as it came.
        query: the last value of each parameter.
        target: as it came.
        headers: names in lower case; repeated headers are joined by commas.
    """

    method: str
    path: str
    query: Mapping[str, str]
    target: str = attrs.field(repr=False)
    version: bytes
    headers: Mapping[bytes, bytes] = attrs.field(repr=False)  # the key is in there

    @classmethod
    def of(cls, request: h11.Request) -> Head:
        """Make the head of what h11 has read.

        Raises:
            BadRequest: its target is not a URL.
        """
        headers: dict[bytes, bytes] = {}
        for name, value in request.headers:
            headers[name] = headers[name] + b", " + value if name in headers else value
        try:
            target = request.target.decode("ascii")
            url = urlsplit(target)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
        except ValueError:
            raise BadRequest(400, "The request target is not a URL.") from None
        return cls(request.method.decode("ascii"), url.path, query, target, request.http_version, headers)

    def segments(self) -> list[str]:
        """Return the parts of the path, decoded, without the "v1" that may stand before them; at least one."""
        parts = [unquote(part) for part in self.path.split("/")[1:]] or [""]
        return parts[1:] if parts[:1] == ["v1"] and len(parts) > 1 else parts

    def bearer(self) -> bytes | None:
        """Return the token of the Authorization header, if it is a Bearer one."""
        scheme, _, token = self.headers.get(b"authorization", b"").partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" else None

    def betas(self) -> frozenset[str]:
        """Return what the OpenAI-Beta header asks for."""
        value = self.headers.get(b"openai-beta", b"").decode("latin-1")
        return frozenset(beta.strip() for beta in value.split(","))

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


async def send_answer(
    stream: trio.abc.SendStream,
    status: int,
    body: Mapping[str, Any] | bytes,
    *,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send one whole HTTP answer that ends the connection, even one that nobody should send.

    Args:
        stream: where to.
        status: the status code.
        body: an object to send as JSON, or bytes that are JSON already.
        headers: beside the usual ones.

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
    await stream.send_all("\r\n".join(lines).encode("latin-1") + content)
