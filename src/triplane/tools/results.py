"""What the model is told: results and errors as text, within their budgets."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import attrs

from .sink import Sink
from .values import UnserialisableError, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

# A sentence about an error is the engine's, not the tool's output, so it has a budget of its own.
MAX_ERROR = 2_000
_MAX_NAMES = 20
_MAX_ERRORS = 10
_PIECE = 64 * 1024
_LONGEST = 16 * 1024


class InvalidResultError(Exception):
    """A tool returned what cannot be told to a model; the message says why."""


@attrs.frozen
class Rendered:
    """A result as text.

    Attributes:
        text: What the model is told.
        bytes_produced: UTF-8 bytes of the whole result.
        bytes_kept: How many of them are in `text`.
    """

    text: str
    bytes_produced: int
    bytes_kept: int


def render(value: Any, max_output: int) -> Rendered:
    """A tool's return value as text of at most `max_output` bytes and a marker.

    A str is taken as it is, bytes as UTF-8 with replacement, None as nothing, a `Sink` as what it kept; anything
    else becomes JSON.

    Raises:
        InvalidResultError: It cannot be written as JSON, or is a str with lone surrogates.
    """
    if value is None:
        return Rendered("", 0, 0)
    if isinstance(value, Sink):
        return _drain(value)
    if isinstance(value, str):
        return _render_text(value, max_output)
    if isinstance(value, bytes | bytearray | memoryview):
        return _capped((value[at : at + _PIECE] for at in range(0, len(value), _PIECE)), max_output)
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that nobody awaited it
        raise InvalidResultError("it returned a coroutine; declare the tool's function with `async def`")
    try:
        return _render_text(to_json(value).decode(), max_output)
    except UnserialisableError as error:
        raise InvalidResultError(
            f"its result, a {type(value).__name__}, cannot be written as JSON: {error}"
        ) from None


def _render_text(text: str, max_output: int) -> Rendered:
    try:
        if len(text) > max_output:
            return _capped(
                (text[at : at + _PIECE].encode() for at in range(0, len(text), _PIECE)), max_output
            )
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidResultError("its result holds a lone surrogate, which is not text") from None
    if len(data) > max_output:
        return _capped((data,), max_output)
    return Rendered(str.__str__(text), len(data), len(data))  # an enum of strings is its value


def _capped(pieces: Iterable[bytes | bytearray | memoryview], max_output: int) -> Rendered:
    sink = Sink(max_output)
    for piece in pieces:
        sink.write(bytes(piece))
    return _drain(sink)


def _drain(sink: Sink) -> Rendered:
    text = sink.text()
    return Rendered(text, sink.bytes_produced, sink.bytes_kept)


def describe_error(error: BaseException) -> str:
    """An exception in words for the model: types and messages, without secrets, at most 2,000 bytes."""
    leaves = list(_leaves(error))
    lines = [_one_error(leaf) for leaf in leaves[:_MAX_ERRORS]]
    if len(leaves) > _MAX_ERRORS:
        lines.append(f"… {len(leaves) - _MAX_ERRORS} more")
    return cap("\n".join(lines))


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _one_error(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  (a message that cannot be made must not hide the error)
        message = "(its message cannot be shown)"
    shown = redact(message[:_LONGEST])
    if len(message) > _LONGEST:
        # Half a key is not recognised as one, so what stands near the cut goes.
        shown = f"{shown[: _LONGEST // 2]}…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


def cap(text: str) -> str:
    """At most 2,000 bytes of `text`, beginning and end, and a marker."""
    sink = Sink(MAX_ERROR)
    sink.write(text.encode(errors="replace"))
    return sink.text()


# Keys by their shape, then by what stands before them. Every repetition is bounded, or can start in one place only:
# a message may be long, and chosen by somebody else.
_SECRETS = re.compile(
    r"(?P<key>\bsk-)[\w-]{8,}"
    r"|(?P<scheme>\b(?:bearer|basic)\s{1,8})[\w.~+/=-]{8,}"
    r"|(?P<url>://)[^\s/@]+(?=@)"
    r"|(?P<name>(?:api[_-]?key|access[_-]?token|auth[_-]?token|secret|passwd|password)[\w-]{0,32}"
    r"[\"']?\s{0,8}[=:]\s{0,8}[\"']?)[^\s\"',;&]{4,}",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` with what looks like a key, a bearer token or a password replaced by ``[redacted]``."""
    return _SECRETS.sub(lambda match: f"{match[match.lastgroup or 0]}[redacted]", text)


def unknown_tool(name: str, known: Iterable[str]) -> str:
    """The sentence for a call of a tool that there is not."""
    names = sorted(known)
    if not names:
        return f"There is no tool named {_quoted(name)}: you have no tools."
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"There is no tool named {_quoted(name)}. The tools are: {', '.join(names[:_MAX_NAMES])}{more}."


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= 64 else name[:64] + "…").replace("\\u2026", "…")


def invalid_arguments(lines: Iterable[str]) -> str:
    """The sentences for arguments that do not fit."""
    return cap("\n".join(("The tool was not run: its arguments do not fit.", *lines)))


def interrupted() -> str:
    """The sentence for a call that the end of the program cut off."""
    return (
        "The call was cut off when the program ended. Whether it did its work is not known;"
        " look before you make it again."
    )


def timed_out(seconds: float, *, harmless: bool) -> str:
    """The sentence for a call that was cut off."""
    doubt = "" if harmless else " Part of its work may have been done."
    return f"The tool timed out after {seconds:g} s.{doubt}"
