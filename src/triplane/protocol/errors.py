"""What goes wrong on the wire: frames that cannot be read, and errors as servers report them."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import orjson

from ._wire import NO_EXTRA
from .events import ServerEvent


class DecodeError(ValueError):
    """A frame cannot be read as an event.

    Attributes:
        message: what is wrong, for people. Names keys and types, never values.
        reason: one word for programs: ``too_large``, ``too_deep``, ``too_many_items``, ``invalid_unicode``,
            ``invalid_json``, ``not_an_object``, ``missing_type``, ``missing_field`` or ``wrong_type``.
        excerpt: the beginning of the frame, at most 200 bytes, with everything masked that may be secret; see
            `triplane.protocol.redact`.
    """

    def __init__(self, reason: str, message: str, excerpt: str = "") -> None:
        super().__init__(reason, message, excerpt)
        self.reason = reason
        self.message = message
        self.excerpt = excerpt

    def __str__(self) -> str:
        return (
            f"{self.message} ({self.reason}): {self.excerpt}"
            if self.excerpt
            else f"{self.message} ({self.reason})"
        )


class EncodeError(ValueError):
    """An object has no JSON form: a lone surrogate, an integer beyond 64 bits, something of another type."""


@attrs.frozen
class ErrorDetail:
    """An error of the server in one form, whatever shape it came in.

    Policy reads ``code``, ``status`` and ``type``; ``message`` is for people.
    """

    code: str | None = None
    status: int | None = None
    type: str | None = None
    param: str | None = None
    message: str = ""
    headers: Mapping[str, str] = attrs.field(default=NO_EXTRA, hash=False)
    """Headers that the error carries in place of HTTP's, names in lower case."""
    retry_after: float | None = None
    """Seconds to wait before another try, if the server said so."""
    resets_at: float | None = None
    """When a used-up quota is filled again, in seconds since 1970."""
    misalignment: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    """What a safety stop says about itself."""


def normalise_error(source: ServerEvent | Mapping[str, Any], *, now: float | None = None) -> ErrorDetail:
    """Bring an error into one form.

    Accepts events (`ErrorEvent`, `ResponseFailed`, `ResponseSteerFailed`, `ResponseInjectFailed`) and JSON
    objects: a whole frame, the body of an HTTP error, or just the error object. Known shapes: the nested
    envelope with and without a status (OpenAI WebSocket-mode guide), the flat one of server-sent events
    (openai-python 3.52.0), ``status_code`` for ``status``, headers beside or inside the error, ``detail`` for
    ``message``, usage limits with ``resets_at``, ``response.failed``, ``response.error``, and no ``type`` at
    all. Every field may be missing.

    ``retry_after`` is read from the headers ``retry-after-ms`` and ``retry-after``; failing these, and only
    for rate limits, from words such as "try again in 1.2s" in the message, because OpenAI says it nowhere
    else on a socket. This is the one place where text is read.

    Args:
        source: the event or JSON object.
        now: seconds since 1970, to understand a ``retry-after`` that is a date. Without it such a date is
            passed over.

    Raises:
        ValueError: the event is not an error.
    """
    frame = _frame_of(source)
    body = _body_of(frame)
    headers = {**_headers(frame.get("headers")), **_headers(body.get("headers"))}
    message = _text(body.get("message")) or _text(body.get("detail"))
    code, kind = _string(body.get("code")), _string(body.get("type"))
    statuses = [_status(holder.get(key)) for holder in (frame, body) for key in ("status", "status_code")]
    status = next((status for status in statuses if status is not None), None)
    retry_after = retry_delay(headers, now=now)
    if retry_after is None and _is_rate_limit(code, status, kind):
        retry_after = _delay_in_words(message)
    misalignment = body.get("misalignment")
    return ErrorDetail(
        code=code,
        status=status,
        type=kind,
        param=_string(body.get("param")),
        message=message,
        headers=headers or NO_EXTRA,
        retry_after=retry_after,
        resets_at=_finite(body.get("resets_at")),
        misalignment=misalignment if isinstance(misalignment, Mapping) else None,
    )


def retry_delay(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """The seconds to wait that ``retry-after-ms`` or ``retry-after`` ask for; None if neither says so.

    Args:
        headers: names in lower case.
        now: seconds since 1970; without it, a ``retry-after`` that is a date says nothing.
    """
    milliseconds = _finite(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _finite(value)
    if seconds is not None:
        return max(0.0, seconds)
    date = None if value is None or now is None else _http_date(value)
    return None if date is None or now is None else max(0.0, date - now)


def _frame_of(source: ServerEvent | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if source.type not in _EVENT_TYPES:
        raise ValueError(f"{source.type} is not an error")
    from .codec import to_wire  # noqa: PLC0415 - the codec raises our errors

    return to_wire(source)


_EVENT_TYPES: Final = (
    "error",
    "response.error",
    "response.failed",
    "response.steer.failed",
    "response.inject.failed",
)


def _body_of(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object with ``code`` and ``message``: ``error``, the response's ``error``, or the frame itself."""
    error, response = frame.get("error"), frame.get("response")
    flat: Mapping[str, Any] = NO_EXTRA
    if error is None and isinstance(response, Mapping):
        error = response.get("error")
    else:
        # In a flat error, `type` is the event's if it names one, else the error's.
        flat = {key: value for key, value in frame.items() if key != "type" or value not in _EVENT_TYPES}
    if isinstance(error, Mapping):
        return error
    return flat if error is None else {"message": error, **flat}


def _status(value: object) -> int | None:
    """A status of HTTP, as a number or as text."""
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{2}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _string(value: object) -> str | None:
    """A name or a number, in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _text(value: object) -> str:
    """Something to read: text as it is, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return repr(value)


_HTTP_DATE: Final = r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _http_date(value: str) -> float | None:
    """Seconds since 1970 of a date as HTTP writes it (RFC 9110).

    `email.utils` would do, but it imports sockets.
    """
    match = re.fullmatch(_HTTP_DATE, value)
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    try:
        date = datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return date.timestamp()


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {str(k).lower(): text for k, v in value.items() if (text := _string(v)) is not None}


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


_RATE_LIMITS: Final = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "slow_down", "tokens", "requests"}
)
_UNITS: Final[Mapping[str, float]] = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_AMOUNT: Final = r"(\d{1,9}(?:\.\d{1,9})?)\s?([a-z]+)\s?"
_TRY_AGAIN: Final = rf"(?i)try again in\s((?:{_AMOUNT})+)"


def _is_rate_limit(code: str | None, status: int | None, kind: str | None) -> bool:
    return status == 429 or code in _RATE_LIMITS or kind in _RATE_LIMITS


def _delay_in_words(message: str) -> float | None:
    match = re.search(_TRY_AGAIN, message)
    if match is None:
        return None
    seconds = 0.0
    for number, unit in re.findall(_AMOUNT, match.group(1).lower()):
        if unit not in _UNITS:
            break
        seconds += float(number) * _UNITS[unit]
    return round(seconds, 3) if seconds else None
