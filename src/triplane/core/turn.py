"""What one request brings: one response, or several if it was steered.

A steer is another instruction for a response that runs (OpenAI steering guide). The server first accepts it; then the
response stops early or comes to its end, and a successor begins by itself, which is the moment from which the steer
counts. Or the response needs the client's outputs first, and the steer waits for the request that brings them. So a
terminal event is not always the end of what a request brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from triplane.protocol import ErrorDetail, normalise_error, to_wire

from .accumulator import OUTPUT_FOLDS, ResponseAccumulator
from .by_class import ByClass
from .canonical import canonical_json
from .records import Item, UndecodableFrame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.protocol import (
        ErrorEvent,
        ResponseSteerAccepted,
        ResponseSteerFailed,
        ResponseSteerPending,
        ServerEvent,
    )

    from .accumulator import LifecycleEvent
    from .outcome import ToolCall

    SteerEvent = ResponseSteerAccepted | ResponseSteerPending | ResponseSteerFailed

SteerState = Literal["sent", "accepted", "pending", "committed", "failed", "refused", "lost"]
_ORDER: Final[dict[SteerState, int]] = {
    "sent": 0,
    "accepted": 1,
    "pending": 2,
    "committed": 3,
    "failed": 3,
    "refused": 3,
    "lost": 3,
}

# An ``error`` with a status and no sequence number turns a request down (OpenAI WebSocket-mode guide); these are the
# statuses with which servers turn down a kind of request that they do not know, or one that comes while they are busy.
_REFUSAL_STATUSES: Final = frozenset({400, 404, 405, 409, 422, 501})
# What servers are known to call a message of a kind that they do not know, whatever status they give.
_REFUSAL_CODES: Final = frozenset(
    {
        "concurrent_request",
        "invalid_message_type",
        "invalid_value",
        "response_already_in_flight",
        "unknown_event_type",
        "unsupported_event_type",
    }
)
# What is said of the response in hand, or of its connection, with the same statuses.
_NEVER_OF_A_STEER: Final = frozenset(
    {
        "bio_policy",
        "context_length_exceeded",
        "cyber_policy",
        "invalid_prompt",
        "misalignment_policy_violation",
        "previous_response_not_found",
        "websocket_connection_limit_reached",
        "websocket_stream_limit_reached",
    }
)


@attrs.frozen
class Steer:
    """A steer at one moment.

    Attributes:
        state: ``"sent"``; ``"accepted"``: in the server's queue, and lost with the connection; ``"pending"``: waits for
            the request that brings `required_input`; ``"committed"``: its successor has begun; ``"failed"``;
            ``"refused"``: the server does not know of steers; ``"lost"``: what became of it is not known any more.
        input: What it says, None if it was sent by somebody who did not say so here.
        id: The server's name for it, None before it is accepted.
        previous_response_id: The response that it steers.
        required_input: Stubs of the items that the client owes before it can count, as wire data.
        error: Why it failed, else None.
    """

    state: SteerState
    input: tuple[Item, ...] | None
    previous_response_id: str
    id: str | None = None
    required_input: tuple[Item, ...] = ()
    error: ErrorDetail | None = None


class TurnAccumulator:
    """Folds the events that one request brings.

    Args:
        previous_response_id: The response that the request continues.
        conversation: The server's conversation that it belongs to.

    Attributes:
        responses: The responses, in order; at least one.
        response: The response in hand: the latest.
        steers: All steers, in the order in which they were sent.
    """

    def __init__(self, previous_response_id: str | None = None, *, conversation: str | None = None) -> None:
        self._conversation = conversation
        self.response = ResponseAccumulator(previous_response_id, conversation=conversation)
        self.responses = [self.response]
        self.steers: list[Steer] = []
        self._given_up = False

    @property
    def awaits_successor(self) -> bool:
        """Whether another response will begin by itself, or may."""
        response = self.response
        if self._given_up or not response.is_over or response.status in ("failed", "error"):
            return False
        # A steer that somebody else sent is known by its effect alone.
        was_steered = response.status == "incomplete" and response.incomplete_reason == "steered"
        if was_steered and all(steer.previous_response_id != response.id for steer in self.steers):
            return True
        return any(steer.state in ("sent", "accepted") for steer in self.steers)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come: the terminal event was seen, and no steer is on its way or in the queue."""
        return self.response.is_over and not self.awaits_successor

    def calls(self) -> list[ToolCall]:
        """The finished tool calls of all responses, in order, each call id once."""
        return self.calls_of(self.responses)

    @staticmethod
    def calls_of(responses: Iterable[ResponseAccumulator]) -> list[ToolCall]:
        """The finished tool calls of some responses, in order, each call id once."""
        found: dict[str, ToolCall] = {}
        for response in responses:
            for call in response.calls():
                found.setdefault(call.call_id, call)
        return list(found.values())

    def note_steer(self, previous_response_id: str, items: tuple[Item, ...]) -> None:
        """Note that a steer is on its way: the turn is not over before it is answered.

        Not for a turn that is over.
        """
        self.steers.append(Steer("sent", items, previous_response_id))

    def give_up_steers(self) -> None:
        """Wait no longer for what becomes of steers: those that are on their way or in the server's queue are lost."""
        self._given_up = True
        self.steers = [
            attrs.evolve(steer, state="lost") if steer.state in ("sent", "accepted") else steer
            for steer in self.steers
        ]

    def apply(self, event: ServerEvent | UndecodableFrame) -> bool:
        """Fold one event, and tell whether it changed more than the response in hand.

        It did if that response ended, if another one began, or if something is now known of a steer. Never raises.
        """
        response = self.response
        fold = OUTPUT_FOLDS[event.__class__]
        if fold is not None:
            # Nearly all events: what `ResponseAccumulator.apply` does with them, without another call.
            if not response.is_over:
                fold(response.built, event)
            return False
        handler = _HANDLERS[event.__class__]
        if handler is not None:
            return not self.is_over and handler(self, event)
        response.apply(event)
        return False

    def state(self) -> Mapping[str, Any]:
        """Everything observable, and everything that the folding of later events depends on."""
        return {
            "responses": [response.state() for response in self.responses],
            "steers": self.steers,
            "given_up": self._given_up,
        }

    def canonical(self) -> bytes:
        """The state as bytes that are equal for equal states. Costs the length of the turn."""
        return canonical_json(self.state())

    def _lifecycle(self, event: LifecycleEvent) -> bool:
        response = self.response
        identity = event.raw_response.get("id")
        is_another = all(identity != each.id for each in self.responses)
        if response.is_over:
            if is_another:
                self._begin_successor().apply(event)
            return is_another
        # A successor takes the place of a response whose end was not told.
        if is_another and response.id is not None and event.type == "response.created" and self._has_queued:
            response.cut_off("steered")
            self._begin_successor().apply(event)
            return True
        response.apply(event)
        return response.is_over

    def _failure(self, event: ErrorEvent | UndecodableFrame) -> bool:
        if not isinstance(event, UndecodableFrame) and (refused := self._refused_steer(event)) is not None:
            place, error = refused
            self.steers[place] = attrs.evolve(self.steers[place], state="refused", error=error)
            return True
        if self.response.is_over:
            # It happens to the response that was to come.
            self._begin_another()
        self.response.apply(event)
        # A frame that cannot be read says nothing of the conversation.
        return self.response.error is not None

    def _refused_steer(self, event: ErrorEvent) -> tuple[int, ErrorDetail] | None:
        """Which steer an error answers, if it answers one and is not about the response in hand.

        A server that does not know steers turns one down like any message that it does not know, and goes on with the
        response. Nothing in such an error says what it is about. But it is no event of the response, so it has no
        sequence number; and since the response has begun, its request has been answered, so that a steer is the only
        message that can still be turned down.
        """
        if event.sequence_number is not None or self.response.status == "awaited":
            return None
        place = next((place for place, steer in enumerate(self.steers) if steer.state == "sent"), None)
        if place is None:
            return None
        error = normalise_error(event)
        if error.code in _NEVER_OF_A_STEER:
            return None
        is_refusal = (
            error.status in _REFUSAL_STATUSES or error.code in _REFUSAL_CODES or error.param == "type"
        )
        return (place, error) if is_refusal else None

    @property
    def _has_queued(self) -> bool:
        return any(steer.state == "accepted" for steer in self.steers)

    def _begin_successor(self) -> ResponseAccumulator:
        self.steers = [
            attrs.evolve(steer, state="committed") if steer.state in ("accepted", "pending") else steer
            for steer in self.steers
        ]
        self._begin_another()
        return self.response

    def _begin_another(self) -> None:
        self.response = ResponseAccumulator(self.response.id, conversation=self._conversation)
        self.responses.append(self.response)

    def _accepted(self, event: ResponseSteerAccepted) -> bool:
        return self._update(event, "accepted", id=event.steer.id)

    def _pending(self, event: ResponseSteerPending) -> bool:
        required = tuple(to_wire(stub) for stub in event.required_input)
        return self._update(event, "pending", id=event.steer.id, required_input=required)

    def _failed(self, event: ResponseSteerFailed) -> bool:
        return self._update(event, "failed", error=normalise_error(event))

    def _update(self, event: SteerEvent, state: SteerState, **changes: Any) -> bool:
        """Change the steer that an event is about: by its id, else the first that has not been answered."""
        # Its number is one of the response's.
        self.response.apply(event)
        about = event.steer
        known = [
            place for place, steer in enumerate(self.steers) if about.id is not None and steer.id == about.id
        ]
        unanswered = [
            place
            for place, steer in enumerate(self.steers)
            if steer.state == "sent" and steer.previous_response_id == about.previous_response_id
        ]
        place = (known or unanswered or [len(self.steers)])[0]
        if place == len(self.steers):
            self.steers.append(Steer("sent", None, about.previous_response_id))
        steer = self.steers[place]
        # What has come of a steer is not taken back by an event that comes late or again.
        if _ORDER[state] <= _ORDER[steer.state]:
            return False
        self.steers[place] = attrs.evolve(steer, state=state, **changes)
        return True


_HANDLERS: Final = ByClass[Callable[[TurnAccumulator, Any], bool] | None](
    {
        **dict.fromkeys(
            (
                "response.created",
                "response.queued",
                "response.in_progress",
                "response.completed",
                "response.incomplete",
                "response.failed",
            ),
            TurnAccumulator._lifecycle,  # noqa: SLF001  # the table stands after the class whose methods it names
        ),
        "error": TurnAccumulator._failure,  # noqa: SLF001
        "response.error": TurnAccumulator._failure,  # noqa: SLF001
        UndecodableFrame.type: TurnAccumulator._failure,  # noqa: SLF001
        "response.steer.accepted": TurnAccumulator._accepted,  # noqa: SLF001
        "response.steer.pending": TurnAccumulator._pending,  # noqa: SLF001
        "response.steer.failed": TurnAccumulator._failed,  # noqa: SLF001
    },
    None,
)
