"""What to send for a caller that always gives the whole conversation: only what is new, where that is the same.

Most programs know nothing of chains: they send the full history with every request. On one connection the server has
nearly all of it already. This is the rule that Codex uses (openai/codex, ``codex-rs/core/src/client.rs``): if nothing
but the input has changed, and the input goes on exactly where the previous request and its answer ended, then the rest
after ``previous_response_id`` says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from .records import Item

PrefixReason = Literal[
    "extends", "no_baseline", "connection_changed", "settings_changed", "not_an_extension", "continues_itself"
]

# What may differ: the input, what only concerns this one frame, and what was only for the warm-up.
_NOT_SETTINGS: Final = frozenset(
    {"type", "input", "previous_response_id", "generate", "client_metadata", "stream_id", "stream"}
)


@attrs.frozen
class Baseline:
    """The latest request on a connection that ended well, and what it brought.

    Attributes:
        connection: The connection's name.
        request: The ``response.create`` with its full input, as wire data, whatever of it was sent.
        response_id: The response.
        output: Its output items, as the server sent them.
    """

    connection: str
    request: Mapping[str, Any]
    response_id: str
    output: tuple[Item, ...]


@attrs.frozen
class PrefixPlan:
    """What to send for a request with full input, and why.

    Attributes:
        previous_response_id: The response to continue; None to send the request as it is.
        input: The input to send.
        reason: ``"extends"`` if only what is new is sent. Otherwise why not: ``"no_baseline"``,
            ``"connection_changed"``, ``"settings_changed"``, ``"not_an_extension"``, or ``"continues_itself"`` when the
            caller names a response or a stored conversation.
        changed: The settings that changed, sorted.
    """

    previous_response_id: str | None
    input: Any
    reason: PrefixReason
    changed: tuple[str, ...] = ()


def plan_by_prefix(request: Mapping[str, Any], connection: str, baseline: Baseline | None) -> PrefixPlan:
    """Decide what to send for a request that carries the whole conversation.

    An explicit null says the same as nothing, since clients that write an item back add nulls for what was unset.

    Args:
        request: The caller's ``response.create``, as wire data.
        connection: The connection in hand.
        baseline: The latest request on it, None after an error or a reconnection.
    """
    given = request.get("input")

    def as_it_is(reason: PrefixReason, changed: tuple[str, ...] = ()) -> PrefixPlan:
        return PrefixPlan(None, given, reason, changed)

    if request.get("previous_response_id") is not None or request.get("conversation") is not None:
        return as_it_is("continues_itself")
    if baseline is None:
        return as_it_is("no_baseline")
    if connection != baseline.connection:
        return as_it_is("connection_changed")
    changed = tuple(
        sorted(
            key
            for key in {*request, *baseline.request} - _NOT_SETTINGS
            if not _same(request.get(key), baseline.request.get(key))
        )
    )
    if changed:
        return as_it_is("settings_changed", changed)
    items = _as_items(given)
    known = [*_as_items(baseline.request.get("input")), *baseline.output]
    # After a warm-up there may be nothing new: its input is then what is to be answered.
    is_longer = len(items) > len(known) or (
        len(items) == len(known) and baseline.request.get("generate") is False
    )
    if not is_longer or not all(map(_same, items, known)):
        return as_it_is("not_an_extension")
    return PrefixPlan(baseline.response_id, items[len(known) :], "extends")


def _as_items(given: object) -> Sequence[Any]:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return given if isinstance(given, (list, tuple)) else []


def _same(one: object, other: object) -> bool:
    """Whether two JSON values say the same; a key that is null says nothing."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one.get(key), other.get(key)) for key in {*one, *other})
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other
