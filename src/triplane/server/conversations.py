"""The conversations that requests name by `conversation`. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from typing import final

from .conversation import Conversation

__all__ = ["ConversationStore"]


@final
class ConversationStore:
    """Conversations by id; the first request that names one begins it. When full, the one unused for longest goes."""

    def __init__(self, capacity: int = 1024) -> None:
        self._capacity = capacity
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._conversations)

    def get(self, conversation_id: str) -> Conversation:
        """Return what has been said so far."""
        conversation = self._conversations.get(conversation_id)
        if conversation is None:
            return Conversation()
        self._conversations.move_to_end(conversation_id)
        return conversation

    def add(self, conversation_id: str, conversation: Conversation, *, parent: Conversation) -> None:
        """Add what `conversation` has more than `parent`, which was the conversation when a response began.

        Responses that went on at the same time are added one after the other.
        """
        current = self._conversations.get(conversation_id, parent)
        if current is not parent:
            conversation = current.extended(
                conversation[len(parent) :], max(conversation.size - parent.size, 0)
            )
        self._conversations[conversation_id] = conversation
        self._conversations.move_to_end(conversation_id)
        if len(self._conversations) > self._capacity:
            self._conversations.popitem(last=False)

    def clear(self) -> None:
        """Forget all conversations."""
        self._conversations.clear()
