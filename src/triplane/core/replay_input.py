"""What of a conversation can be sent again as input, and what a server would reject.

Items go back as they came: reasoning is encrypted, compactions are opaque, and unknown keys may matter. So the only
things done to an item are that an id too long for the server is left out, and that two configuration updates in a row
become one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .items import is_answer, is_cut_off, is_for_client, is_from_model, kind_of, pair_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .records import Item

# An input item's id may have 64 characters (``string_above_max_length``); it may also be left out, except where it is
# what the item is about.
_MAX_ITEM_ID: Final = 64
_NAMED_BY_ID: Final = frozenset({"item_reference", "local_shell_call_output", "mcp_approval_request"})


def replay_input(history: Sequence[Item]) -> list[Item]:
    """The input that begins a new chain with a conversation.

    It begins at the latest compaction, which stands for everything before it (OpenAI compaction guide). Left out are
    repetitions; compactions that were begun and not finished; calls that were cut off, which nobody can answer; answers to calls that are not there; triggers of
    compactions that have happened; and reasoning that led to nothing that is still there, which the server rejects
    just as it rejects what reasoning led to without it.
    """
    begin = max((place for place, item in enumerate(history) if _is_compaction(item)), default=0)
    kept: list[Item] = []
    calls: set[tuple[str, str]] = set()
    last = len(history) - 1
    for place, item in _without_repetitions(history, begin):
        kind, pair = kind_of(item), pair_of(item)
        if kind == "compaction" and not _is_compaction(item):
            continue
        if is_for_client(item) and is_cut_off(item):
            continue
        if is_answer(item) and pair not in calls:
            continue
        if kind == "compaction_trigger" and place != last:
            continue
        if pair is not None:
            calls.add(pair)
        kept.append(item)
    return tidy(_without_lost_reasoning(kept))


def _is_compaction(item: Item) -> bool:
    return kind_of(item) == "compaction" and isinstance(item.get("encrypted_content"), str)


def _without_repetitions(history: Sequence[Item], begin: int) -> Iterable[tuple[int, Item]]:
    """The items from `begin` on with their places, without those that have the type and id of an earlier one.

    A call id counts like an id.
    """
    ids: set[tuple[str, str]] = set()
    pairs: set[tuple[str, tuple[str, str]]] = set()
    for place in range(begin, len(history)):
        item = history[place]
        kind, identity, pair = kind_of(item), item.get("id"), pair_of(item)
        if isinstance(identity, str) and identity:
            if (kind, identity) in ids:
                continue
            ids.add((kind, identity))
        if pair is not None:
            if (kind, pair) in pairs:
                continue
            pairs.add((kind, pair))
        yield place, item


def _without_lost_reasoning(items: Sequence[Item]) -> list[Item]:
    kept: list[Item] = []
    led_on = False
    for item in reversed(items):
        if kind_of(item) == "reasoning":
            if led_on:
                kept.append(item)
        else:
            led_on = is_from_model(item)
            kept.append(item)
    return kept[::-1]


def tidy(items: Iterable[Item]) -> list[Item]:
    """Items as input, with nothing in them that a server rejects whatever the conversation is."""
    tidied: list[Item] = []
    for item in items:
        identity = item.get("id")
        if isinstance(identity, str) and len(identity) > _MAX_ITEM_ID and kind_of(item) not in _NAMED_BY_ID:
            item = {key: value for key, value in item.items() if key != "id"}  # noqa: PLW2901  # a shorter copy
        if tidied and kind_of(item) == kind_of(tidied[-1]) == "configuration_update":
            # Two in a row are rejected; the later one has the last word on what both set.
            tidied[-1] = {**tidied[-1], **item}
        else:
            tidied.append(item)
    return tidied


def unanswered_calls(calls: Iterable[Item], answers: Iterable[Item]) -> tuple[str, ...]:
    """The ids of the client's calls among `calls` that must have an answer among `answers` and have none.

    A request without it is rejected, and evicts the response that it continues (OpenAI WebSocket-mode guide). Calls of
    tools that are ``async`` may be answered in any later request.
    """
    answered = {pair_of(item) for item in answers if is_answer(item)}
    return tuple(
        pair[1]
        for call in calls
        if is_for_client(call)
        and (pair := pair_of(call))
        and pair not in answered
        and call.get("async") is not True
    )
