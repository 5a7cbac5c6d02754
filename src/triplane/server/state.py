"""What one connection remembers between requests. No I/O.

The rules are those of the Responses WebSocket guide: a connection keeps the latest response of each lane in memory;
responses with `store: true` can be continued from anywhere; a continuation that is refused evicts the parent it
named from the connection's cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs

from .conversation import Conversation
from .errors import Refused
from .requests import Create

if TYPE_CHECKING:
    from .store import ResponseStore, StoredResponse

__all__ = ["ConnectionCache", "Resolved"]


@final
@attrs.frozen
class Resolved:
    """A request together with what came before it.

    Attributes:
        conversation: everything the model is to read, oldest first.
        cached_bytes: how much of it came by `previous_response_id`.
    """

    create: Create
    conversation: Conversation
    cached_bytes: int


@final
class ConnectionCache:
    """What one connection remembers: the latest response of each lane (there is only the default lane yet)."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self._latest: dict[str | None, tuple[str, Conversation]] = {}

    def resolve(self, create: Create) -> Resolved:
        """Put the conversation together that `create` continues or begins.

        Raises:
            Refused: the previous response is unknown, a call has no output or an output no call.
        """
        parent = Conversation()
        if create.previous_response_id is not None:
            parent = self._find(create.previous_response_id)
        conversation = parent.extended(create.items, create.items_bytes)
        conversation.check_answered()
        return Resolved(create, conversation, parent.size)

    def evict(self, response_id: object, *, lane: str | None = None) -> None:
        """Forget `response_id` as this lane's latest response, after a continuation of it was refused.

        With `store: true` that costs nothing but the fast path: the response is still stored.
        """
        latest = self._latest.get(lane)
        if latest is not None and latest[0] == response_id:
            del self._latest[lane]

    def commit(
        self, response_id: str, ended: StoredResponse, *, store: bool, lane: str | None = None
    ) -> None:
        """Make `response_id` the lane's latest response, in place of the one before."""
        self._latest[lane] = (response_id, ended.conversation)
        if store:
            self._store.put(response_id, ended)

    def _find(self, response_id: str) -> Conversation:
        # A fork may name the latest response of any lane of the connection.
        for latest_id, conversation in self._latest.values():
            if latest_id == response_id:
                return conversation
        if (stored := self._store.get(response_id)) is not None:
            return stored.conversation
        raise Refused(
            f"Previous response with id '{response_id}' not found.",
            code="previous_response_not_found",
            param="previous_response_id",
        )
