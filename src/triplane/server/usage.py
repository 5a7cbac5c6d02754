"""What a response cost, reckoned in our own tokens. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .websocket.state import Resolved

__all__ = ["BYTES_PER_TOKEN", "tokens", "usage"]

BYTES_PER_TOKEN: Final = 4
"""About right for English, and exact enough to test sums with."""


def tokens(size: int) -> int:
    """Return how many tokens `size` bytes are."""
    return -(-size // BYTES_PER_TOKEN)


def usage(resolved: Resolved, output_bytes: int, reasoning_bytes: int) -> dict[str, Any]:
    """Return the `usage` of a response.

    The input is what the model reads: its settings and the conversation. Cached is what came by
    `previous_response_id`. The output is what the model wrote, `reasoning_bytes` of it while thinking.
    """
    input_tokens = tokens(resolved.create.settings_bytes + resolved.conversation.size)
    output_tokens = tokens(output_bytes)
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": tokens(resolved.cached_bytes), "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": tokens(reasoning_bytes)},
        "total_tokens": input_tokens + output_tokens,
    }
