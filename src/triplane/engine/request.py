"""What one turn asks for on the lane in hand: the plan of `core.continuation`, written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from triplane.core.continuation import Plan, plan_turn
from triplane.core.errors import LimitReached, Receipt, RunFailed
from triplane.tools import read_artifact_tool

if TYPE_CHECKING:
    from triplane.core.errors import Effect
    from triplane.core.reducer import RunReducer
    from triplane.net.lane import Lane

    from .agent import Agent


@attrs.frozen
class TurnRequest:
    """A request that can be sent.

    Attributes:
        plan: What it carries, and why.
        text: The text of the ``response.create``.
        size: Its bytes.
    """

    plan: Plan
    text: str
    size: int


def prepare(agent: Agent, run: RunReducer, lane: Lane, *, is_late: bool = False) -> TurnRequest:
    """The request for a run's next turn, on the lane in hand.

    Args:
        agent: Who answers.
        run: The run.
        lane: The lane in hand.
        is_late: Whether what the run could continue is gone: it is a fork whose source did not wait any longer.

    Raises:
        RunFailed: The server is sure to refuse it.
    """
    plan = plan_turn(
        run.history,
        None if is_late else run.head,
        lane.memory,
        agent.fingerprint,
        head_lost="head_evicted" if is_late else run.head_lost,
    )
    if plan.kind == "refuse":
        raise RunFailed(
            f"the conversation holds calls that nobody has answered ({', '.join(plan.unanswered)}), which the"
            " server would refuse; answer them in the run's input",
            run_id=run.run_id,
            code=plan.reason,
            receipt=Receipt(sent="nothing", effects=run.calls.effects, next="change"),
        )
    # Offered once there is something to read: until then it would cost tokens in every request.
    extra = (read_artifact_tool(),) if run.calls.has_artifacts else ()
    text = agent.request(plan, lane.stream_id, extra)
    return TurnRequest(plan, text, len(text.encode()))


def too_large(size: int, limit: int, effects: tuple[Effect, ...]) -> LimitReached:
    """The error for a request that no WebSocket takes."""
    return LimitReached(
        f"the request has {size:,} bytes and the server takes {limit:,} (option max_request_size); shorten the"
        ' conversation, cap the tools\' outputs, or let it go over HTTP (transport="auto")',
        which="max_request_size",
        limit=limit,
        receipt=Receipt(effects=effects, next="change"),
    )
