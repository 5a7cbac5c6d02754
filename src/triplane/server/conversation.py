"""Conversations: the items that a model reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, final, overload

from .errors import Refused
from .pairs import ANSWERS, CALLS

__all__ = ["Conversation", "Item", "is_output", "item_text"]

Item: TypeAlias = Mapping[str, Any]
"""One item as it stands on the wire. Nobody may change it: conversations share their items."""


def is_output(item: Item) -> bool:
    """Tell whether this is the client's answer to a call, of whatever kind."""
    pair = ANSWERS.get(str(item.get("type")))
    return pair is not None and pair.key_of(item) is not None


def item_text(item: Item) -> str:
    """Return the text of a message or of a tool output: its string, or its text parts, one per line."""
    content = item.get("content", item.get("output"))
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in parts if isinstance(text, str))


@final
class Conversation(Sequence[Item]):
    """An immutable list of items that is cheap to continue.

    A chain of n turns has n conversations, each the one before and a few items more. They share one list, of which
    each sees its own beginning, and what is asked at every turn is counted along the way, so that a turn costs what
    its own items cost. Only a second continuation of the same conversation, a fork, copies.

    Attributes:
        size: bytes of all items as JSON, from which tokens are reckoned.
        last_user: where the last user message stands, or None.
        calls_since_user: calls of the client's tools after that message, or at all.
    """

    __slots__ = ("_call_index", "_items", "_length", "_open_calls", "calls_since_user", "last_user", "size")

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._length = 0
        # Where each call first stands, by each of its names. Shared like the list, so an entry counts only if it is
        # within our length.
        self._call_index: dict[str, int] = {}
        self._open_calls: set[str] = set()
        self.size = 0
        self.last_user: int | None = None
        self.calls_since_user = 0

    def extended(self, items: Iterable[Item], size: int = 0, *, checked: bool = True) -> Conversation:
        """Return this conversation with `items` appended, which are `size` bytes as JSON.

        Args:
            items: the new ones.
            size: of them.
            checked: whether they are a client's, which may be wrong.

        Raises:
            Refused: an item answers a call that is not in the conversation.
        """
        new = Conversation()
        if len(self._items) == self._length:
            new._items, new._call_index = self._items, self._call_index
        else:
            new._items = self._items[: self._length]
            new._call_index = {call: at for call, at in self._call_index.items() if at < self._length}
        new._length = self._length
        new._open_calls = set(self._open_calls)
        new.size = self.size + size
        new.last_user, new.calls_since_user = self.last_user, self.calls_since_user
        try:
            for item in items:
                new._append(item, checked=checked)
        except Refused:
            # Leave no trace in what is shared with this conversation.
            del new._items[self._length :]
            for call_id in [call_id for call_id, at in new._call_index.items() if at >= self._length]:
                del new._call_index[call_id]
            raise
        return new

    def _append(self, item: Item, *, checked: bool) -> None:
        kind = item.get("type", "message")
        if kind == "message":
            if item.get("role") == "user":
                self.last_user, self.calls_since_user = self._length, 0
        elif (pair := CALLS.get(kind)) is not None:
            keys = pair.keys_of(item)
            if keys and pair.is_the_clients(item):
                self.calls_since_user += 1
                # An async call may be answered in any later request of the chain.
                if not item.get("async"):
                    self._open_calls.add(keys[0])
            for name in keys:
                if not self._has_call(name):
                    self._call_index[name] = self._length
        elif (pair := ANSWERS.get(kind)) is not None and (key := pair.key_of(item)) is not None:
            if self._has_call(key):
                call = self._items[self._call_index[key]]
                self._open_calls.difference_update(CALLS[call["type"]].keys_of(call))
            elif checked:
                field = pair.answer_keys[0]
                message = f"No tool call found for {pair.words} output with {field} {key}."
                raise Refused(message, param="input")
        self._items.append(item)
        self._length += 1

    def _has_call(self, call_id: str) -> bool:
        at = self._call_index.get(call_id)
        return at is not None and at < self._length

    def check_answered(self) -> None:
        """Check that every call has its output.

        Raises:
            Refused: it names the first call without one.
        """
        if self._open_calls:
            call_id = min(self._open_calls, key=self._call_index.__getitem__)
            words = CALLS[self._items[self._call_index[call_id]]["type"]].words
            raise Refused(f"No tool output found for {words} {call_id}.", param="input")

    @property
    def user_text(self) -> str:
        """The text of the last user message; "" if there is none."""
        return "" if self.last_user is None else item_text(self._items[self.last_user])

    def since_user(self) -> Sequence[Item]:
        """Return the items after the last user message, or all of them."""
        return self[0 if self.last_user is None else self.last_user + 1 :]

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self._items[at] for at in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._items[index if index >= 0 else self._length + index]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return iter(self[:])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._length} items, {self.size} bytes>"
