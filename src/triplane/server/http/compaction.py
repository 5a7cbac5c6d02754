"""What `POST /v1/responses/compact` makes of a conversation. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from triplane.server.usage import tokens

from .input_items import shown

if TYPE_CHECKING:
    from triplane.server.ids import Ids
    from triplane.server.websocket.state import Resolved

__all__ = ["compacted"]


def compacted(resolved: Resolved, *, ids: Ids, now: int) -> dict[str, Any]:
    """Return the compacted conversation: its user messages, and one item that stands for all the rest.

    What that item holds is for nobody to read. Here it says how much there was, and which conversation it was.
    """
    response_id = ids.new("resp")
    messages = [
        item
        for item in shown(response_id, resolved.conversation)
        if item["type"] == "message" and item.get("role") == "user"
    ]
    digest = hashlib.sha256(orjson.dumps(list(resolved.conversation))).hexdigest()
    content = base64.b64encode(f"{len(resolved.conversation)} items {digest}".encode()).decode()
    item = {"id": ids.new("cmp"), "type": "compaction", "encrypted_content": content}
    input_tokens = tokens(resolved.create.settings_bytes + resolved.conversation.size)
    output_tokens = tokens(len(content))
    return {
        "id": response_id,
        "object": "response.compaction",
        "created_at": now,
        "output": [*messages, item],
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": tokens(resolved.cached_bytes), "cache_write_tokens": 0},
            "output_tokens": output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + output_tokens,
        },
    }
