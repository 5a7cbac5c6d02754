"""What the next request carries: new items after a cached response, or the whole conversation.

The server's memory is an optimisation: it keeps the latest response of a lane, on one connection, and loses it with
the socket (OpenAI WebSocket-mode guide). The run's log is the memory. So the question is only whether the lane in
hand still caches the head of this run's chain; where it does not, the whole conversation is sent and a new chain
begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import Item, PlanKind, PlanReason

# An input item's id may have 64 characters (``string_above_max_length``); it may also be left out.
_MAX_ITEM_ID = 64


@attrs.frozen
class ChainHead:
    """The response that a chain continues from.

    Attributes:
        response_id: The response.
        connection: The connection on which it was made.
        length: How many items of the conversation it covers, its own output included.
        stored: Whether the server stored it, so that other connections know it as well.
    """

    response_id: str
    connection: str
    length: int
    stored: bool = False


@attrs.frozen
class LaneMemory:
    """What the server remembers on one lane, as far as we know.

    Attributes:
        connection: The lane's connection.
        response_id: The latest response on it, else None.
        warm_for: The fingerprint of the agent that a warm-up prepared `response_id` for, else None.
    """

    connection: str
    response_id: str | None = None
    warm_for: str | None = None


@attrs.frozen
class Plan:
    """What to send, and why.

    Attributes:
        kind: See `RequestSent`.
        reason: See `RequestSent`.
        previous_response_id: The response to continue, else None.
        items: The input items to send, in order.
    """

    kind: PlanKind
    reason: PlanReason
    previous_response_id: str | None
    items: tuple[Item, ...]


def plan_turn(
    history: Sequence[Item],
    head: ChainHead | None,
    memory: LaneMemory,
    fingerprint: str,
    *,
    head_lost: Literal["connection_lost", "head_evicted"] | None = None,
) -> Plan:
    """Decide what the next request carries.

    Args:
        history: The whole conversation: every input item and every output item, in order.
        head: The head of the run's chain, None when there is none or the server is known to have dropped it.
        memory: What the lane in hand caches.
        fingerprint: The agent's fingerprint, compared with that of a warm-up.
        head_lost: Why `head` is None although the run had one.
    """
    if head is not None:
        if memory.response_id == head.response_id and memory.connection == head.connection:
            return Plan("incremental", "head_cached", head.response_id, tuple(history[head.length :]))
        if head.stored:
            return Plan("incremental", "head_stored", head.response_id, tuple(history[head.length :]))
    if memory.response_id is not None and memory.warm_for == fingerprint:
        return Plan("warm", "lane_warmed", memory.response_id, tuple(map(_replayable, history)))
    reason: PlanReason = head_lost or ("first_turn" if head is None else "lane_changed")
    return Plan("full", reason, None, tuple(map(_replayable, history)))


def _replayable(item: Item) -> Item:
    identity = item.get("id")
    if isinstance(identity, str) and len(identity) > _MAX_ITEM_ID:
        return {key: value for key, value in item.items() if key != "id"}
    return item
