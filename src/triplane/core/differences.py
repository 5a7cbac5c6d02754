"""Where a later event said something else than the events before it: reported as data, never raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from .records import Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STRINGS = ("arguments", "input", "code")
_PARTS = ("content", "summary")


@attrs.frozen
class Difference:
    """Two events that do not agree about an output item.

    Attributes:
        by: Which event came later: the ``"part"`` was done, the ``"item"`` was done, or the ``"response"`` ended.
        output_index: The item's place in the output: the later one's, or the earlier one's if that is all there is.
        item_id: Its id, else None.
        field: What differs: a key of the item, a text inside it such as ``"content[0]"``, or ``""`` for the item
            itself, which one of the two does not have.
        before: The earlier value, None if there was none.
        after: The later value, None if there was none.
        kept: Which of them counts. It is the later one, except for tool calls that had finished.
    """

    by: Literal["part", "item", "response"]
    output_index: int
    item_id: str | None
    field: str
    before: Any
    after: Any
    kept: Literal["before", "after"] = "after"


@attrs.frozen
class StreamedItem:
    """An item as the events before the terminal one left it: whether it was done, and if it was a call."""

    output_index: int
    item: Item
    done: bool


def texts_of(item: Item) -> dict[str, str]:
    """The texts that an item consists of, by their path in it: what deltas add up to."""
    texts = {key: value for key in _STRINGS if isinstance(value := item.get(key), str)}
    for key in _PARTS:
        for index, part in enumerate(_elements(item.get(key))):
            text = text_of_part(part)
            if text is not None:
                texts[f"{key}[{index}]"] = text
    action = item.get("action")
    commands = action.get("commands") if isinstance(action, dict) else None
    for index, command in enumerate(_elements(commands)):
        if isinstance(command, str):
            texts[f"action.commands[{index}]"] = command
    return texts


def text_of_part(part: object) -> str | None:
    """The text of a content part or a summary part, whatever its kind; None if it has none."""
    if not isinstance(part, dict):
        return None
    text = part.get("refusal" if part.get("type") == "refusal" else "text")
    return text if isinstance(text, str) else None


def _elements(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def differences_in_texts(
    before: dict[str, str], after: dict[str, str]
) -> Iterator[tuple[str, str, str | None]]:
    """The texts of `before` that `after` does not have, or has otherwise: path, earlier, later."""
    for path, text in before.items():
        later = after.get(path)
        if later != text and (text or later):
            yield path, text, later


def differences_in_items(before: Item, after: Item) -> Iterator[tuple[str, Any, Any]]:
    """The keys in which two items differ: key, earlier, later."""
    if before != after:
        for key in sorted({*before, *after}):
            if (earlier := before.get(key)) != (later := after.get(key)):
                yield key, earlier, later


def match_items(streamed: Sequence[StreamedItem], output: Sequence[Item]) -> list[int | None]:
    """For each item of a terminal ``output`` list, which of the streamed ones it is, by place in `streamed`.

    They are told by id, else by type and call id, else by type and place. Each is matched once.
    """
    found: list[int | None] = [None] * len(output)
    left = set(range(len(streamed)))
    for tell in (_by_id, _by_call, _by_place):
        known: dict[object, int] = {}
        for index in sorted(left):
            known.setdefault(tell(streamed[index].item, streamed[index].output_index), index)
        for place, item in enumerate(output):
            if found[place] is None and (identity := tell(item, place)) is not None and identity in known:
                index = known.pop(identity)
                found[place] = index
                left.discard(index)
    return found


def _by_id(item: Item, _place: int) -> object:
    identity = item.get("id")
    return identity if isinstance(identity, str) and identity else None


def _by_call(item: Item, _place: int) -> object:
    call_id = item.get("call_id")
    return (str(item.get("type")), call_id) if isinstance(call_id, str) else None


def _by_place(item: Item, place: int) -> object:
    return str(item.get("type")), place
