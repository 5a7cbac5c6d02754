"""What a test expects of the requests that a server saw, and what to say when they are otherwise. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack

from .facts import FACTS, describe, fact

if TYPE_CHECKING:
    from types import EllipsisType

    from triplane.server.client_requests import ClientRequest

__all__ = ["Pattern", "TextPattern", "check"]

TextPattern: TypeAlias = str | re.Pattern[str] | Callable[[str], object]
"""A text that must be contained, a regular expression that must be found, or a function that must say yes."""


class Pattern(TypedDict, total=False):
    """What a request is like; what is left out may be anything.

    Attributes:
        kind: the type of the message; "response.create", which a POST for a response is called too, unless it is given.
        transport: "websocket" or "http".
        model: its exact name, or a regular expression for all of it.
        text: of the input, messages and outputs of tools; see `TextPattern`.
        instructions: see `TextPattern`; None is for none.
        tools: names of tools that it offers, perhaps among others.
        previous_response_id: that exactly; None is for none, `...` for any.
        lane: that exactly; None is the default one, `...` any other.
        where: a function of the `ClientRequest` that must say yes.
    """

    kind: str
    transport: Literal["websocket", "http"]
    model: str | re.Pattern[str]
    text: TextPattern
    instructions: TextPattern | None
    tools: Collection[str]
    previous_response_id: str | EllipsisType | None
    lane: str | EllipsisType | None
    where: Callable[[ClientRequest], object]


def check(
    requests: Sequence[ClientRequest],
    *,
    count: int | None = None,
    order: Sequence[Pattern] | None = None,
    **pattern: Unpack[Pattern],
) -> tuple[ClientRequest, ...]:
    """Return the requests that are like `pattern`, in the order in which they came.

    Args:
        requests: what the server saw.
        count: how many of them there are to be; by default at least one.
        order: patterns of which each must be met after the one before it, by requests that are like `pattern` as
            well; others may come between. Those that met them are returned.
        pattern: what the requests are to be like.

    Raises:
        AssertionError: it is otherwise; the message lists what came.
        TypeError: there is no such fact about a request.
    """
    __tracebackhide__ = True
    for each in (pattern, *(order or ())):
        if unknown := [name for name in each if name not in FACTS]:
            raise TypeError(
                f"there is no {', '.join(unknown)} to expect; there are {', '.join(FACTS)}, count, order"
            )
    found = tuple(request for request in requests if not any(_differences(request, pattern)))
    in_order = None if order is None else _in_order(found, order, requests)
    if len(found) != count if count is not None else not found and in_order is None:
        wanted = (
            "at least one request" if count is None else "1 request" if count == 1 else f"{count} requests"
        )
        came = f"{len(found)} came" if found else "none came"
        raise AssertionError(_report(f"expected {wanted}{_words(pattern)}; {came}", requests, pattern))
    return found if in_order is None else in_order


def _in_order(
    found: Sequence[ClientRequest], order: Sequence[Pattern], requests: Sequence[ClientRequest]
) -> tuple[ClientRequest, ...]:
    __tracebackhide__ = True
    rest = iter(found)
    met: list[ClientRequest] = []
    for number, pattern in enumerate(order, start=1):
        request = next((request for request in rest if not any(_differences(request, pattern))), None)
        if request is None:
            after = f" after request {list(requests).index(met[-1]) + 1}" if met else ""
            words = f"expected, as number {number} in order, a request{_words(pattern)}{after}; none came"
            raise AssertionError(_report(words, requests, pattern))
        met.append(request)
    return tuple(met)


def _differences(request: ClientRequest, pattern: Pattern) -> Iterator[str]:
    wanted: Mapping[str, Any] = {"kind": "response.create", **pattern}
    for name, value in wanted.items():
        found = fact(request, name)
        if not _fits(name, value, found):
            yield "where says no" if name == "where" else f"{name} is {_short(found)}"


def _fits(name: str, wanted: Any, value: Any) -> bool:
    if name == "tools":
        return set(wanted) <= set(value)
    if wanted is ...:
        return value is not None
    if value is None or wanted is None:
        return value is wanted
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, re.Pattern):
        return (wanted.fullmatch if name == "model" else wanted.search)(value) is not None
    if name in ("text", "instructions"):
        return wanted in value
    return bool(wanted == value)


def _words(pattern: Mapping[str, Any]) -> str:
    return (
        " with " + ", ".join(f"{name}={_wanted(value)}" for name, value in pattern.items()) if pattern else ""
    )


def _wanted(value: Any) -> str:
    if value is ...:
        return "any"
    if isinstance(value, re.Pattern):
        return f"/{value.pattern}/"
    return getattr(value, "__name__", repr(value)) if callable(value) else repr(value)


def _short(value: Any) -> str:
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _report(words: str, requests: Sequence[ClientRequest], pattern: Pattern) -> str:
    if not requests:
        return f"{words}. The server saw no request at all."
    lines = []
    for number, request in enumerate(requests, start=1):
        differences = "; ".join(_differences(request, pattern))
        lines.append(f"  {number}. {describe(request)}" + (f" - {differences}" if differences else ""))
    return "\n".join([f"{words}. The server saw:", *lines])
