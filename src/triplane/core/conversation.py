"""A run's conversation, and the place in it from which the next request may continue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from .continuation import ChainHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .entry import Item
    from .records import ForkedFrom, RequestSent

HeadLost = Literal["connection_lost", "head_evicted"]


class ConversationBook:
    """The book of what was said. Only the run's reducer writes in it.

    Attributes:
        items: Every input item and every output item that counts, in order.
        head: The response that the next request may continue, None if there is none.
        head_lost: Why there is none although there was one.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.head: ChainHead | None = None
        self.head_lost: HeadLost | None = None
        # What the head was before the server put steers after it.
        self._head_before_steers: ChainHead | None = None
        # How many of the items some response has answered.
        self._answered = 0
        # Where the turn in hand began: how many items there were, and the head there.
        self._turn_began: tuple[int, ChainHead | None] = (0, None)

    @property
    def has_unanswered(self) -> bool:
        """Whether it holds something that the model has not answered."""
        return len(self.items) > self._answered

    def settled(self, *, is_open: bool) -> tuple[tuple[Item, ...], ChainHead | None]:
        """What a fork begins with: the items, and the head there, without what the server has of steers.

        Args:
            is_open: Whether the turn in hand waits for an output or a decision. Then it is where that turn began.
        """
        length, head = self._turn_began if is_open else (len(self.items), self._unsteered)
        return tuple(self.items[:length]), head

    @property
    def _unsteered(self) -> ChainHead | None:
        return self.head and (self._head_before_steers or self.head)

    def inherit(self, origin: ForkedFrom) -> None:
        """A fork has its first items from another run, and may continue from that one's head."""
        if origin.length <= len(self.items):
            self._answered = origin.length
            if origin.response_id is not None:
                self.head = ChainHead(origin.response_id, origin.connection, origin.length, origin.stored)

    def add(self, items: Iterable[Item]) -> None:
        """Somebody, or something, has said more."""
        self.items.extend(items)

    def add_steer(self, items: Iterable[Item]) -> None:
        """The server has put the input of a steer after the head: it would take it for another one if it came again."""
        self.items.extend(items)
        if self.head is not None:
            self._head_before_steers = self._head_before_steers or self.head
            self.head = attrs.evolve(self.head, length=len(self.items))

    def begin_turn(self) -> None:
        """A request is about to go up that is no other attempt at the one before."""
        self._turn_began = (len(self.items), self._unsteered)

    def add_response(
        self, output: Iterable[Item], response_id: str | None, request: RequestSent | None
    ) -> None:
        """A response has come to its end, and is what the next request may continue."""
        self.items.extend(output)
        self.note_answered()
        self._head_before_steers = None
        if response_id is not None and request is not None:
            self.head = ChainHead(response_id, request.connection, len(self.items), request.stored)
            self.head_lost = None
        else:
            self.head = None

    def note_answered(self) -> None:
        """Nothing of what is there waits for the model."""
        self._answered = len(self.items)

    def evict_head(self) -> None:
        """The server does not remember the head any more."""
        if self.head is not None:
            self.head = self._head_before_steers = None
            self.head_lost = "head_evicted"

    def forget_steers(self) -> None:
        """What the server had put after the head is not to be relied on any more."""
        self.head = self._unsteered
        self._head_before_steers = None

    def forget_connection(self) -> None:
        """What the server remembers with the connection alone is gone."""
        self.forget_steers()
        if self.head is not None and not self.head.stored:
            self.head = None
            self.head_lost = "connection_lost"

    def state(self) -> dict[str, Any]:
        """Everything that can be asked of it now or later."""
        return {
            "history": self.items,
            "head": self.head,
            "head_lost": self.head_lost,
            "head_before_steers": self._head_before_steers,
            "answered": self._answered,
            "turn_began": self._turn_began,
        }
