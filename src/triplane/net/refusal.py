"""What an answer to the upgrade that is no WebSocket means: from its status, headers and body to one typed error.

Whichever library shakes hands, the same refusal is the same error.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

import orjson

from triplane.core.errors import CloseInfo, ConnectFailed
from triplane.protocol import excerpt, retry_delay

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .endpoint import Endpoint

MAX_BODY: Final = 2_000
# Closes by which servers that accept every upgrade refuse a key: a policy (OpenAI's ChatGPT backend, LiteLLM),
# private codes after 401 and 403 (OGX), and the registered "unauthorized".
AUTH_CLOSES: Final = frozenset({1008, 3000, 4401, 4403})

# 101 is none, and what is below 200 otherwise has its real answer still to come.
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([2-9]\d\d)[ \r\n]")
_OVER_HTTP = 'or have Endpoint(transport="auto") go over HTTP where there is no WebSocket mode'
_NO_WEBSOCKET = (
    f"something answers at this URL, but not in WebSocket mode; check the host and the path, {_OVER_HTTP}"
)
_ADVICE: Final = {
    200: _NO_WEBSOCKET,
    401: "check the API key",
    403: "the key is not allowed here, or too many connections were opened too fast",
    404: f"this URL has no Responses endpoint in WebSocket mode; check the path, {_OVER_HTTP}",
    405: _NO_WEBSOCKET,
    426: f"this server offers no WebSocket here; check the path, {_OVER_HTTP}",
    429: "the server limits how often one may connect",
}


def refused(
    url: str, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, now: float | None = None
) -> ConnectFailed:
    """The error for an upgrade that was answered with a status other than 101.

    Args:
        url: Where; for the message.
        status: The HTTP status.
        headers: Of the answer.
        body: Of the answer, as far as it came.
        now: Seconds since 1970, for a ``Retry-After`` that is a date when the answer has no ``Date`` to measure it
            against; by default the clock's.
    """
    values = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    location = values.get("location") if 300 <= status < 400 else None
    advice = _ADVICE.get(status, _NO_WEBSOCKET if 200 <= status < 300 else "see status and body")
    if location is not None:
        advice = "it redirects to another place, which gets no credentials; if you trust it, make it the URL"
    return ConnectFailed(
        f"the server at {url} refused the WebSocket with HTTP status {status}: {advice}",
        stage="upgrade",
        status=status,
        body=body.decode(errors="replace")[:MAX_BODY],
        retry_after=_retry_after(values, time.time() if now is None else now),
        location=location,
    )


def quote(failure: ConnectFailed, endpoint: Endpoint) -> None:
    """Have a refusal say what the server said, without our credentials, and when it wants to be asked again."""
    failure.body = endpoint.masked(failure.body)
    if words := " ".join(excerpt(_message_in(failure.body)).split()):
        failure.message += f"; it says: {words}"
    if failure.retry_after is not None:
        failure.message += f"; it asks to wait {failure.retry_after:g} s (Retry-After)"


def refusal_in(url: str, head: bytes) -> ConnectFailed | None:
    """The refusal that the first bytes of an answer hold; None if they hold none.

    For answers that never come to an end, or end with the stream: a library then gives up without saying that the
    status had been there.
    """
    match = _STATUS_LINE.match(head)
    if match is None:
        return None
    lines, _, body = head.partition(b"\r\n\r\n")
    pairs = [line.partition(b":") for line in lines.split(b"\r\n")[1:]]
    return refused(url, int(match[1]), [(name, value.strip()) for name, _, value in pairs], body)


def put_out(url: str, close: CloseInfo) -> ConnectFailed:
    """The error for a WebSocket that was accepted and then closed at once with one of `AUTH_CLOSES`."""
    words = f" ({close.reason})" if close.reason else ""
    return ConnectFailed(
        f"the server at {url} accepted the WebSocket and closed it at once with code {close.code}{words}: check the"
        " API key, and whether it may use WebSocket mode",
        stage="upgrade",
        close=close,
    )


def _message_in(body: str) -> str:
    """What an error in JSON says; a body that is none, as it is."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    for key in ("error", "message"):
        if isinstance(said, dict):
            said = said.get(key, said)
    return said if isinstance(said, str) else ""


def _retry_after(values: dict[str, str], now: float) -> float | None:
    # A date in Retry-After is by the server's clock, and so is the one in Date: ours may be wrong.
    date = retry_delay({"retry-after": values.get("date", "")}, now=0.0)
    return retry_delay(values, now=date or now)
