"""A request and its answer as HTTP has them, and as a WebSocket would have had them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from triplane.protocol import excerpt, retry_delay

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a ``response.create`` has on a WebSocket only (OpenAI WebSocket-mode guide).
_SOCKET_ONLY: Final = ("type", "stream_id", "generate")
# What of the answer's head goes into the log with an error: when to try again, and what to tell the server's people.
_KEPT_HEADERS: Final = ("retry-after", "retry-after-ms", "x-request-id")
_KEPT_PREFIX: Final = "x-ratelimit-"
_ADVICE: Final = {
    401: "check the API key",
    403: "the key is not allowed here",
    404: "this URL has no Responses endpoint; check the path",
    413: "the request is too large for this server",
}
_REDIRECTED: Final = "it redirects to another place, which gets no credentials; if you trust it, make it the URL of the endpoint"


def as_http_body(request: str) -> bytes:
    """The body of a ``POST`` for the text of a ``response.create``."""
    body: dict[str, Any] = orjson.loads(request)
    for name in _SOCKET_ONLY:
        body.pop(name, None)
    body["stream"] = True
    return orjson.dumps(body)


def as_error_event(status: int, headers: Mapping[str, str], content: bytes) -> str:
    """The text of the ``error`` event that says what an HTTP answer says.

    It has the nested shape that errors have on a WebSocket, with the answer's status, and with those of its headers
    that are worth keeping.

    Args:
        status: The answer's.
        headers: The answer's, names in lower case.
        content: The beginning of its body.
    """
    kept = {
        name: value
        for name, value in headers.items()
        if name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIX)
    }
    if "date" in headers and "retry-after" in headers:
        # A date to try again after means seconds from the answer's own date; nobody else's clock is asked.
        now = retry_delay({"retry-after": headers["date"]}, now=0.0)
        delay = retry_delay(headers, now=now)
        if delay is not None:
            kept["retry-after"] = f"{delay:g}"
    event = {"type": "error", "status": status, "error": _error_in(status, content), "headers": kept}
    return orjson.dumps(event).decode()


def _error_in(status: int, content: bytes) -> Mapping[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        error = body.get("error", body)
        if isinstance(error, dict):
            return error
        if isinstance(error, str):
            return {"message": error}
    advice = _REDIRECTED if 300 <= status < 400 else _ADVICE.get(status)
    words = [f"HTTP status {status}"]
    if advice is not None:
        words.append(advice)
    elif content:
        words.append(excerpt(content.decode(errors="replace")))
    return {"message": ": ".join(words)}
