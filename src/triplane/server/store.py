"""The responses with `store: true`, which any connection can continue and HTTP can show. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, final

import attrs

from .conversation import Conversation, Item

__all__ = ["ResponseStore", "StoredResponse"]


@final
@attrs.frozen
class StoredResponse:
    """One response that has ended.

    Attributes:
        conversation: everything up to and including its output.
        response: the response object as its last event had it; to be encoded by orjson.
        input_items: the input items of its own request.
    """

    conversation: Conversation
    response: Mapping[str, Any]
    input_items: Sequence[Item]


@final
class ResponseStore:
    """The stored responses of a server, by id; when full, the one unused for longest goes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._responses: OrderedDict[str, StoredResponse] = OrderedDict()

    def __len__(self) -> int:
        return len(self._responses)

    def get(self, response_id: str) -> StoredResponse | None:
        """Return this response, if it is still stored."""
        stored = self._responses.get(response_id)
        if stored is not None:
            self._responses.move_to_end(response_id)
        return stored

    def put(self, response_id: str, stored: StoredResponse) -> None:
        """Remember a response."""
        self._responses[response_id] = stored
        if len(self._responses) > self._capacity:
            self._responses.popitem(last=False)
