"""What one connection remembers between requests. No I/O.

The rules are those of the Responses WebSocket guide: a connection keeps the latest response of each lane in memory, and
any lane can continue it; responses with `store: true` can be continued from anywhere; a continuation that is refused
evicts the parent it named from the connection's cache if that was the latest of the same lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs

from triplane.server.conversation import Conversation
from triplane.server.conversations import ConversationStore
from triplane.server.errors import previous_response_not_found
from triplane.server.requests import Create

if TYPE_CHECKING:
    from triplane.server.store import ResponseStore, StoredResponse

__all__ = ["ConnectionCache", "Resolved"]


@final
@attrs.frozen
class Resolved:
    """A request together with what came before it.

    Attributes:
        conversation: everything the model is to read, oldest first.
        cached_bytes: how much of it came by `previous_response_id` or by `conversation`.
        parent: what came before the request.
    """

    create: Create
    conversation: Conversation
    cached_bytes: int
    parent: Conversation = attrs.field(factory=Conversation, repr=False)


@final
class ConnectionCache:
    """What one connection remembers: the latest response of each lane.

    Args:
        store: the responses that can be continued from any connection.
        conversations: those that requests may name; by default nobody else's.
    """

    def __init__(self, store: ResponseStore, conversations: ConversationStore | None = None) -> None:
        self._store = store
        self._conversations = ConversationStore() if conversations is None else conversations
        self._latest: dict[str | None, tuple[str, Conversation]] = {}

    def resolve(self, create: Create) -> Resolved:
        """Put the conversation together that `create` continues or begins.

        Raises:
            Refused: the previous response is unknown, a call has no output or an output no call.
        """
        parent = Conversation()
        if create.previous_response_id is not None:
            found = self._find(create.previous_response_id)
            if found is None:
                raise previous_response_not_found(create.previous_response_id)
            parent = found
        elif create.conversation_id is not None:
            parent = self._conversations.get(create.conversation_id)
        conversation = parent.extended(create.items, create.items_bytes)
        conversation.check_answered()
        return Resolved(create, conversation, parent.size, parent)

    def knows(self, response_id: str) -> bool:
        """Tell whether `response_id` could be continued now."""
        return self._find(response_id) is not None

    def evict(self, response_id: object, *, lane: str | None = None) -> None:
        """Forget `response_id` as this lane's latest response, after a continuation of it on this lane was refused.

        With `store: true` that costs nothing but the fast path: the response is still stored.
        """
        latest = self._latest.get(lane)
        if latest is not None and latest[0] == response_id:
            del self._latest[lane]

    def commit(
        self,
        response_id: str,
        ended: StoredResponse,
        *,
        store: bool,
        lane: str | None = None,
        resolved: Resolved | None = None,
    ) -> None:
        """Make `response_id` the lane's latest response, in place of the one before.

        Args:
            response_id: its id.
            ended: how it ended.
            store: whether it can be continued from other connections too.
            lane: the lane's name.
            resolved: its request, if it may belong to a conversation, which it is then added to.
        """
        self._latest[lane] = (response_id, ended.conversation)
        if store:
            self._store.put(response_id, ended)
        if resolved is not None and resolved.create.conversation_id is not None:
            self._conversations.add(
                resolved.create.conversation_id, ended.conversation, parent=resolved.parent
            )

    def _find(self, response_id: str) -> Conversation | None:
        # A fork may name the latest response of any lane of the connection.
        for latest_id, conversation in self._latest.values():
            if latest_id == response_id:
                return conversation
        stored = self._store.get(response_id)
        return None if stored is None else stored.conversation
