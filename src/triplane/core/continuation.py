"""What the next request carries: new items after a cached response, or the whole conversation.

The server's memory is an optimisation: it keeps the latest response of each lane of a connection, and loses all of
them with the socket (OpenAI WebSocket-mode guide). The run's log is the memory. So the question is only whether the
lane in hand can still continue from the head of this run's chain; where it cannot, the whole conversation is sent and
a new chain begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from .items import is_cut_off, is_for_client, is_from_model
from .records import Item, PlanKind, PlanReason
from .replay_input import replay_input, tidy, unanswered_calls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .accumulator import ResponseAccumulator


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
        neighbours: The latest responses of the other lanes of the connection, which a fork may continue from.
        keeps: Whether the server remembers anything there. Over HTTP it does not.
    """

    connection: str
    response_id: str | None = None
    warm_for: str | None = None
    neighbours: frozenset[str] = frozenset()
    keeps: bool = True

    def after(self, kind: PlanKind, response: ResponseAccumulator) -> LaneMemory:
        """What the lane remembers once a response on it is over.

        A lane that goes on keeps the new response and drops the one before. An error evicts what the request
        continued; a fork continued another lane's response and costs this lane nothing (OpenAI WebSocket-mode guide).

        Args:
            kind: How the request was planned.
            response: What came of it.
        """
        if response.status in ("completed", "incomplete"):
            return attrs.evolve(self, response_id=response.id, warm_for=None)
        return self if kind == "fork" else attrs.evolve(self, response_id=None, warm_for=None)


@attrs.frozen
class Plan:
    """What to send, and why.

    Attributes:
        kind: ``"incremental"`` carries what is new after the chain's head; ``"fork"`` does so on another lane than the
            head's; ``"warm"`` carries the whole conversation after a warm-up; ``"full"`` carries it and begins a new
            chain; ``"refuse"``: what would be sent is sure to be rejected.
        reason: Why. For ``"incremental"``, ``"head_cached"`` or ``"head_stored"``; for ``"fork"``,
            ``"head_on_other_lane"``; for ``"warm"``, ``"lane_warmed"``; for ``"full"``, ``"first_turn"``,
            ``"lane_changed"``, ``"nothing_kept"`` over HTTP, ``"connection_lost"``, ``"head_evicted"``, or ``"call_cut_off"`` when the head ends in a
            call that nobody can answer; for ``"refuse"``, ``"unanswered_calls"``, ``"too_large"`` or ``"not_json"``.
        previous_response_id: The response to continue, else None.
        items: The input items to send, in order; none when refused.
        barrier: For a fork, the response whose lane must not go on before the fork's ``response.in_progress``: until
            then it may be evicted. None if it is stored.
        unanswered: The ids of calls without an answer, when that is why it is refused.
        size: The bytes of the request, when a limit was given.
    """

    kind: PlanKind
    reason: PlanReason
    previous_response_id: str | None
    items: tuple[Item, ...]
    barrier: str | None = None
    unanswered: tuple[str, ...] = ()
    size: int | None = None


def plan_turn(
    history: Sequence[Item],
    head: ChainHead | None,
    memory: LaneMemory,
    fingerprint: str,
    *,
    head_lost: Literal["connection_lost", "head_evicted"] | None = None,
    max_bytes: int | None = None,
    other_bytes: int = 0,
) -> Plan:
    """Decide what the next request carries.

    Args:
        history: The whole conversation: every input item and every output item, in order.
        head: The head of the run's chain, None when there is none or the server is known to have dropped it.
        memory: What the lane in hand caches.
        fingerprint: The agent's fingerprint, compared with that of a warm-up.
        head_lost: Why `head` is None although the run had one.
        max_bytes: How large a request may be. OpenAI closes the connection with 1009 above 16 MiB.
        other_bytes: The bytes of the request without its input.
    """
    plan = _choose(history, head, memory, fingerprint, head_lost)
    return plan if max_bytes is None or plan.kind == "refuse" else _measure(plan, max_bytes, other_bytes)


def _choose(
    history: Sequence[Item],
    head: ChainHead | None,
    memory: LaneMemory,
    fingerprint: str,
    head_lost: Literal["connection_lost", "head_evicted"] | None,
) -> Plan:
    reason: PlanReason = head_lost or "first_turn"
    if head is not None:
        reason = "lane_changed" if memory.keeps else "nothing_kept"
        way = _way_to_continue(head, memory)
        if way is not None:
            latest = _latest_output(history, head.length)
            if not any(is_for_client(item) and is_cut_off(item) for item in latest):
                new = history[head.length :]
                if unanswered := unanswered_calls(latest, [*latest, *new]):
                    return Plan("refuse", "unanswered_calls", None, (), unanswered=unanswered)
                barrier = head.response_id if way == "head_on_other_lane" and not head.stored else None
                kind: PlanKind = "fork" if way == "head_on_other_lane" else "incremental"
                return Plan(kind, way, head.response_id, tuple(tidy(new)), barrier)
            reason = "call_cut_off"
    items = replay_input(history)
    if unanswered := unanswered_calls(items, items):
        return Plan("refuse", "unanswered_calls", None, (), unanswered=unanswered)
    if memory.response_id is not None and memory.warm_for == fingerprint:
        return Plan("warm", "lane_warmed", memory.response_id, tuple(items))
    return Plan("full", reason, None, tuple(items))


def _way_to_continue(head: ChainHead, memory: LaneMemory) -> PlanReason | None:
    if memory.connection == head.connection:
        if memory.response_id == head.response_id:
            return "head_cached"
        if head.response_id in memory.neighbours:
            return "head_on_other_lane"
    return "head_stored" if head.stored else None


def _latest_output(history: Sequence[Item], length: int) -> Sequence[Item]:
    """The output of the response that the first `length` items end with, and what steers put after it."""
    begin = min(length, len(history))
    while begin and not is_from_model(history[begin - 1]):
        begin -= 1
    while begin and is_from_model(history[begin - 1]):
        begin -= 1
    return history[begin:length]


def _measure(plan: Plan, max_bytes: int, other_bytes: int) -> Plan:
    from triplane.protocol import EncodeError, ResponseCreate, encode  # noqa: PLC0415  # made when first used

    try:
        size = other_bytes + len(encode(ResponseCreate(input=plan.items)))
    except EncodeError:
        return Plan("refuse", "not_json", None, ())
    if size > max_bytes:
        return Plan("refuse", "too_large", None, (), size=size)
    return attrs.evolve(plan, size=size)
