"""The responses with `store: true`, which any connection can continue and HTTP can show. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import attrs

from .conversation import Conversation, Item

if TYPE_CHECKING:
    from .http.background import BackgroundResponse

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
        self._background: OrderedDict[str, BackgroundResponse] = OrderedDict()

    def __len__(self) -> int:
        return len(self._responses)

    def get(self, response_id: str) -> StoredResponse | None:
        """Return this response, if it is still stored."""
        if response_id in self._background:
            self._background[response_id].catch_up()
        stored = self._responses.get(response_id)
        if stored is not None:
            self._responses.move_to_end(response_id)
        return stored

    def put(self, response_id: str, stored: StoredResponse) -> None:
        """Remember a response."""
        self._responses[response_id] = stored
        if len(self._responses) > self._capacity:
            self._responses.popitem(last=False)

    def get_background(self, response_id: str) -> BackgroundResponse | None:
        """Return this background response, ended or not, as it is by now."""
        background = self._background.get(response_id)
        if background is not None:
            self._background.move_to_end(response_id)
            background.catch_up()
        return background

    def put_background(self, background: BackgroundResponse) -> None:
        """Remember a background response; there is room for as many as for other responses."""
        self._background[background.stream.id] = background
        if len(self._background) > self._capacity:
            self._background.popitem(last=False)

    def delete(self, response_id: str) -> bool:
        """Forget this response. Return whether it was known."""
        background = self._background.pop(response_id, None)
        if background is not None:
            # Whoever is reading it must not bring it back.
            background.cancel()
        stored = self._responses.pop(response_id, None)
        return background is not None or stored is not None

    def clear(self) -> None:
        """Forget all responses."""
        self._responses.clear()
        self._background.clear()
