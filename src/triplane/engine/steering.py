"""Another instruction for a response that is being made: when it goes out at once, when it waits, and who sends it.

A steer is recorded in the task that asks for it and sent by the run's own task, which puts its reading off for that
long. So one task alone speaks on the run's lane, and nobody who is cancelled can leave half a steer behind: cancelled
before the record, nothing has happened; after it, the run sees the steer through.

What becomes of a steer is for the server to say, see `TurnAccumulator`. Whatever comes to nothing is input for the
next request; that is the reducer's work. What is left to do here is to know where steering is of no use, and for how
long to wait for an answer.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal, final

import attrs

from triplane.core.errors import ConnectionLost, ServerError, Stalled
from triplane.core.records import InputAdded, SteerSent
from triplane.core.remembered import Remembered
from triplane.core.retry import VERDICTS
from triplane.protocol import ResponseSteer, encode, to_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import trio

    from triplane.core.errors import StallPhase, TriplaneError
    from triplane.core.options import EngineOptions
    from triplane.core.records import Body, Item
    from triplane.core.reducer import RunReducer
    from triplane.core.store import ClaimedLog
    from triplane.net.endpoint import Endpoint
    from triplane.net.lane import Lane

    from .agent import Agent

QueuedReason = Literal["", "no_response", "not_supported", "not_user_messages", "too_large"]


@attrs.frozen
class Steered:
    """What became of `Run.steer` at once; what becomes of the steer later comes as events.

    Attributes:
        how: ``"steered"``: it goes to the response that is being made. ``"queued"``: the next request carries it.
        reason: Why it was queued: ``"no_response"`` was being made that has an id; ``"not_supported"`` by the endpoint,
            the model or the agent's settings, as far as is known; ``"not_user_messages"``, which is all that a steer
            may hold; ``"too_large"`` for one message. Else empty.
    """

    how: Literal["steered", "queued"]
    reason: QueuedReason = ""


@attrs.define
class _Found:
    is_of_no_use: bool = False


@final
class SteeringSupport:
    """Where steering was found to be of no use. One for an engine: what one run learns, the others need not."""

    def __init__(self) -> None:
        # By endpoint and model, None for all models of it.
        self._found: Remembered[tuple[Endpoint, str | None], _Found] = Remembered(lambda _key: _Found())

    def may_steer(self, endpoint: Endpoint, model: str) -> bool:
        """Whether it is worth trying."""
        found = (self._found[endpoint, None], self._found[endpoint, model])
        return endpoint.steering == "auto" and not any(each.is_of_no_use for each in found)

    def rule_out(self, endpoint: Endpoint, model: str | None = None) -> None:
        """Try no more at this endpoint, or only with this model of it."""
        self._found[endpoint, model].is_of_no_use = True


@final
class Steering:
    """The steers of one run.

    Args:
        reducer: The run's state.
        record: Appends to the run's log and folds.
        log: The run's log.
        options: The engine's options.
        support: What the engine has learned.
        endpoint: Where the run is.
        agent: Who answers.
    """

    def __init__(
        self,
        reducer: RunReducer,
        record: Callable[[Body], None],
        log: ClaimedLog,
        options: EngineOptions,
        *,
        support: SteeringSupport,
        endpoint: Endpoint,
        agent: Agent,
    ) -> None:
        self._reducer = reducer
        self._record = record
        self._log = log
        self._options = options
        self._support = support
        self._endpoint = endpoint
        self._agent = agent
        self._lane: Lane | None = None
        self._outgoing: deque[str] = deque()
        self._reading: trio.CancelScope | None = None

    # For whoever steers.

    def steer(self, items: tuple[Item, ...]) -> Steered:
        """Record an instruction, and have it sent if it can be. Not a checkpoint."""
        text = ""
        reason = self._why_not(items)
        target = self._reducer.response.id
        if not reason and target is not None:
            text = encode(ResponseSteer(previous_response_id=target, input=items)).decode()
            if len(text.encode()) > self._options.max_request_size:
                reason = "too_large"
        if reason or target is None:
            self._record(InputAdded(items))
            return Steered("queued", reason)
        self._record(SteerSent(target, items))
        self._outgoing.append(text)
        if self._reading is not None:
            self._reading.cancel(reason="a steer is to be sent")
        return Steered("steered")

    def _why_not(self, items: tuple[Item, ...]) -> QueuedReason:
        response = self._reducer.response
        lane = self._lane
        if lane is None or not lane.is_usable or response.id is None or response.is_over:
            return "no_response"
        if not lane.is_duplex or not self._support.may_steer(self._endpoint, self._agent.model):
            return "not_supported"
        if any(to_wire(self._agent.settings).get(name) for name in _RULE_STEERING_OUT):
            return "not_supported"
        return "" if all(map(_is_user_message, items)) else "not_user_messages"

    # For the run's own task.

    @contextmanager
    def on(self, lane: Lane) -> Iterator[None]:
        """For the length of a block, what is to be sent goes to this lane."""
        self._lane = lane
        try:
            yield
        finally:
            self._lane = self._reading = None
            # What has not gone out will not: the turn is over, or its lane is lost.
            self._outgoing.clear()

    def reads_in(self, scope: trio.CancelScope) -> None:
        """Cancel this scope, in which the run reads, when there is something to send."""
        self._reading = scope

    async def send_waiting(self, lane: Lane) -> bool:
        """Send what waits, once the log has it for good, and tell whether there was anything.

        Raises:
            ConnectionLost: The connection is over.
            Stalled: The peer does not read.
        """
        if not self._outgoing:
            return False
        while self._outgoing:
            await self._log.durable()
            await lane.send(self._outgoing.popleft())
        return True

    def patience(self) -> tuple[StallPhase, float] | None:
        """For what the run is waiting, and how long it may take, if that is another response; else None."""
        turn = self._reducer.turn
        if not turn.steers or not turn.response.is_over:
            return None
        if self.is_unanswered:
            return "steer", self._options.steer_timeout
        return "first_event", self._options.first_event_timeout

    @property
    def is_unanswered(self) -> bool:
        """Whether the server has not said anything yet about some steer."""
        return any(steer.state == "sent" for steer in self._reducer.turn.steers)

    @property
    def unsettled(self) -> int:
        """How many steers may yet have an effect on the lane."""
        return sum(steer.state in ("sent", "accepted") for steer in self._reducer.turn.steers)

    def learn_from_answers(self) -> None:
        """Note where steering is not supported, after something has come for this turn."""
        for steer in self._reducer.turn.steers:
            if steer.state == "refused":
                self._support.rule_out(self._endpoint)
            elif steer.error is not None and steer.error.code == "steering_not_supported":
                self._support.rule_out(self._endpoint, self._agent.model)

    def learn_from_fault(self, fault: TriplaneError) -> bool:
        """Whether a steer is likely to have brought this fault about; then steering is not tried any more.

        Servers that do not know steers have been seen to ignore messages that they do not know, and to close. Steers
        are all that there is to lose by being wrong.
        """
        if not self.is_unanswered:
            return False
        match fault:
            case Stalled():
                is_likely = fault.phase == "steer"
            case ConnectionLost():
                is_likely = fault.close.by == "peer" and fault.close.code in _CLOSES_ON_UNKNOWN
            case ServerError():
                is_likely = fault.code not in VERDICTS
            case _:
                is_likely = False
        if is_likely:
            self._support.rule_out(self._endpoint)
        return is_likely


# With what servers close on a message that they do not know: protocol error, data not taken, policy.
_CLOSES_ON_UNKNOWN: Final = frozenset({1002, 1003, 1008})
# Settings whose responses cannot be steered, whatever the model (OpenAI steering guide).
_RULE_STEERING_OUT: Final = ("context_management", "conversation", "multi_agent")
_MESSAGE_FIELDS: Final = frozenset({"type", "role", "content"})


def _is_user_message(item: Item) -> bool:
    """Whether an item is of the only kind that a steer may hold (OpenAI steering guide)."""
    return (
        item.get("type", "message") == "message"
        and item.get("role") == "user"
        and item.keys() <= _MESSAGE_FIELDS
    )
