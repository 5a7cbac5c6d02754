"""What the model is told: results and errors as text, within their budgets."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from .content import MAX_PARTS, File, Image, parts_of, size_of
from .messages import message_of
from .output import CallOutput, NotTextError
from .sink import Sink
from .values import UnserialisableError, to_json

if TYPE_CHECKING:
    from triplane.core.outcome import CallKind

    from .options import ErrorText

# A sentence about an error is the engine's, not the tool's output, so it has a budget of its own.
MAX_ERROR = 2_000
_WAYS: Mapping[CallKind, str] = {
    "function_call": "as a function, with arguments as JSON",
    "custom_tool_call": "as a custom tool, with a text as it is",
}
_DOUBT = "Whether it did its work is not known; look before you make it again."
_MAX_NAMES = 20
_MAX_ERRORS = 10
_LONGEST = 16 * 1024


class InvalidResultError(Exception):
    """A tool returned what cannot be told to a model; the message says why."""


@attrs.frozen
class Rendered:
    """A result as the model gets it.

    Attributes:
        text: What it is told.
        bytes_produced: UTF-8 bytes of the whole result; of images and files, the bytes that they are.
        bytes_kept: How many of them the model gets.
        content: The parts as wire data, if there is more than text.
    """

    text: str
    bytes_produced: int
    bytes_kept: int
    content: tuple[Mapping[str, Any], ...] | None = None


def render(value: Any, max_output: int, output: CallOutput | None = None) -> Rendered:
    """A tool's return value as text of at most `max_output` bytes and a marker.

    A str is taken as it is, bytes as UTF-8 with replacement, None as nothing, a `Sink` as what it kept; images and
    files, and lists with such, become parts; anything else becomes JSON.

    Args:
        value: What the tool returned.
        max_output: See `ToolOptions`.
        output: Takes what is too long. Default: one that keeps nothing besides.

    Raises:
        InvalidResultError: It cannot be written as JSON, is a str with lone surrogates, or has too large parts; or it is
            of a class of the tool's own that fails when it is read.
    """
    try:
        return _render(value, max_output, output)
    except InvalidResultError:
        raise
    except Exception as error:
        raise InvalidResultError(
            f"its result, a {type(value).__name__}, cannot be read: {type(error).__name__}: {message_of(error)}"
        ) from error


def _render(value: Any, max_output: int, output: CallOutput | None) -> Rendered:
    if value is None:
        return Rendered("", 0, 0)
    if isinstance(value, Sink):
        return Rendered(value.text(), value.bytes_produced, value.bytes_kept)
    if output is None:
        output = CallOutput(max_output, 0)
    if isinstance(value, str):
        return _render_text(value, output)
    if isinstance(value, bytes | bytearray | memoryview):
        return _capped(value, output)
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that nobody awaited it
        raise InvalidResultError("it returned a coroutine; declare the tool's function with `async def`")
    if (parts := parts_of(value)) is not None:
        return _render_parts(parts, max_output)
    return _render_text(_as_json(value), output)


def drain(output: CallOutput) -> Rendered:
    """What was written to an output while it was produced."""
    text = output.text()
    return Rendered(text, output.bytes_produced, output.bytes_kept)


def _as_json(value: Any) -> str:
    try:
        return to_json(value).decode()
    except UnserialisableError as error:
        raise InvalidResultError(
            f"its result, a {type(value).__name__}, cannot be written as JSON: {error}"
        ) from None


def _render_text(text: str, output: CallOutput) -> Rendered:
    if len(text) > output.max_output:
        return _capped(text, output)
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise InvalidResultError("its result holds a lone surrogate, which is not text") from None
    if size > output.max_output:
        return _capped(text, output)
    return Rendered(str.__str__(text), size, size)  # an enum of strings is its value


def _capped(value: str | bytes | bytearray | memoryview, output: CallOutput) -> Rendered:
    try:
        output.write(value)
    except NotTextError as error:
        raise InvalidResultError(f"its result is not text: {error}") from None
    return drain(output)


def _render_parts(parts: Iterable[Any], max_output: int) -> Rendered:
    """Texts share the budget of bytes; images and files go whole or not at all."""
    content: list[Mapping[str, Any]] = []
    words: list[str] = []
    produced = kept = media = 0
    for part in parts:
        if isinstance(part, Image | File):
            wire = part.part()
            if (flaw := flaw_of([wire])) is not None:
                raise InvalidResultError(flaw)
            media += size_of(wire)
            content.append(wire)
            words.append(part.words())
            size = len(part.data or b"")
            produced += size
            kept += size
            continue
        text = part if isinstance(part, str) else _as_json(part)
        # A budget that is used up still says how much is missing.
        rendered = _render_text(text, CallOutput(max(1, max_output), 0))
        max_output -= rendered.bytes_kept
        produced += rendered.bytes_produced
        kept += rendered.bytes_kept
        content.append({"type": "input_text", "text": rendered.text})
        words.append(rendered.text)
    if media > MAX_PARTS:
        raise InvalidResultError(
            f"its images and files take {media:,} bytes in a request; at most {MAX_PARTS:,} are sent"
        )
    return Rendered("\n".join(words), produced, kept, tuple(content))


def flaw_of(parts: Sequence[Mapping[str, Any]]) -> str | None:
    """Why parts as wire data cannot be written into a request, in words that follow "the tool ran, but"; None if they can."""
    for part in parts:
        try:
            orjson.dumps(part)
        except TypeError as error:
            return f"its {part.get('type', 'answer')} cannot be written as JSON: {cap(str(error))}"
    return None


def describe_error(error: BaseException, masked: Callable[[str], str] = str) -> str:
    """An exception in words for the model: types and messages, without secrets, at most 2,000 bytes.

    Args:
        error: It.
        masked: Takes the secrets of the call out of a message, before anything else is taken out or cut off: what
            that left of a secret would not be known for one.
    """
    leaves = list(_leaves(error))
    lines = [_one_error(leaf, masked) for leaf in leaves[:_MAX_ERRORS]]
    if len(leaves) > _MAX_ERRORS:
        lines.append(f"… {len(leaves) - _MAX_ERRORS} more")
    return cap("\n".join(lines))


def failed(
    error: BaseException,
    error_text: ErrorText | None = None,
    hidden: tuple[type[Exception], ...] = (),
    masked: Callable[[str], str] = str,
) -> str:
    """The sentences for a tool that raised.

    Args:
        error: What it raised.
        error_text: See `ToolOptions`.
        hidden: The classes of exceptions of which the model learns nothing; one in a group hides the group.
        masked: See `describe_error`.
    """
    if hidden and any(isinstance(leaf, hidden) for leaf in _leaves(error)):
        return "The tool failed."
    if isinstance(error_text, str):
        return error_text.encode(errors="replace").decode()
    if error_text is not None:
        try:
            return cap(redact(masked(str(error_text(error)))))  # type: ignore[arg-type]  # a group of Exceptions is one for it
        except Exception:  # noqa: BLE001  (words that cannot be made must not hide the failure)
            return "The tool failed."
    return f"The tool failed. {describe_error(error, masked)}"


def with_output(text: str, output: str) -> str:
    """A sentence about a call, followed by what it had produced."""
    return f"{text}\nIts output until then:\n{output}" if output else text


def _leaves(error: BaseException) -> Iterable[BaseException]:
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting += reversed(one.exceptions)
        else:
            yield one


def _one_error(error: BaseException, masked: Callable[[str], str]) -> str:
    shown = clean(message_of(error), masked)
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


def clean(message: str, masked: Callable[[str], str]) -> str:
    """A message that somebody else wrote, without what looks like a key, and not much longer than can be told."""
    message = masked(message)
    shown = redact(message[:_LONGEST])
    if len(message) > _LONGEST:
        # Half a key is not recognised as one, so what stands near the cut goes.
        shown = f"{shown[: _LONGEST // 2]}…"
    return shown


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
    r"[\"']?\s{0,8}[=:]\s{0,8}[\"']?)(?!\[secret )[^\s\"',;&]{4,}",
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


def other_kind(name: str, kind: CallKind) -> str:
    """The sentence for a call of a tool that is called in another way.

    Args:
        name: Its name.
        kind: The type of the items by which it is called.
    """
    return (
        f"The tool {_quoted(name)} is called in another way: {_WAYS.get(kind, f'by an item of type {kind}')}."
    )


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= 64 else name[:64] + "…").replace("\\u2026", "…")


def invalid_arguments(lines: Iterable[str]) -> str:
    """The sentences for arguments that do not fit."""
    return cap("\n".join(("The tool was not run: its arguments do not fit.", *lines)))


def unknown_secret(mask: str) -> str:
    """The sentence for a call whose secret did not survive the process that was told it."""
    return (
        f"The tool was not run: {mask} stands for a secret that is not known any more, since the program was started"
        " anew. Call again with the secret itself, if you know it."
    )


def interrupted() -> str:
    """The sentences for a call that the end of the program cut off."""
    return f"The call was cut off when the program ended. {_DOUBT}"


def stopped(error: BaseException, masked: Callable[[str], str] = str, *, harmless: bool) -> str:
    """The sentences for a call whose tool raised what stops programs."""
    text = f"The tool stopped the program. {describe_error(error, masked)}"
    return text if harmless else f"{text}\n{_DOUBT}"


def cancelled(why: str = "", *, harmless: bool) -> str:
    """The sentences for a call that had begun when nobody wanted it any more."""
    text = why or "The call was cancelled before it ended."
    return text if harmless else f"{text} {_DOUBT}"


def sibling_failed(name: str) -> str:
    """The sentence for a call that was cancelled with the others of its response."""
    return f"The call was cancelled because {name} failed."


def denied(reason: str) -> str:
    """The sentences for a call that a person did not approve."""
    said = f" The reason: {cap(reason)}" if reason else ""
    return f"The tool was not run: the call was not approved.{said}"


def timed_out(seconds: float, *, harmless: bool) -> str:
    """The sentence for a call that was cut off."""
    doubt = "" if harmless else " Part of its work may have been done."
    return f"The tool timed out after {seconds:g} s.{doubt}"
