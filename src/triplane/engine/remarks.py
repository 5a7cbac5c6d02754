"""What a run remarks on while a response is made: events that do not agree, and silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from triplane.core.errors import ProtocolViolation
from triplane.core.records import DifferencesFound, StillWaiting

from .exchange import overdue_after

if TYPE_CHECKING:
    from triplane.core.accumulator import ResponseAccumulator
    from triplane.core.options import EngineOptions
    from triplane.net.lane import Lane


def differences_in(response: ResponseAccumulator, turn: int) -> DifferencesFound | None:
    """What in a response does not agree with the rest of it, None if everything does."""
    differences, irregularities = response.differences, response.irregularities
    if not differences and not irregularities:
        return None
    return DifferencesFound(
        turn,
        response.id,
        tuple(attrs.asdict(each) for each in differences),
        tuple(attrs.asdict(each) for each in irregularities),
    )


def check_whole(response: ResponseAccumulator, *, strict: bool) -> None:
    """Check that a response is one, and nothing but one.

    Args:
        response: The response, at its end.
        strict: Whether each of its events has to be its own.

    Raises:
        ProtocolViolation: It is not.
    """
    if response.displaced_by is not None:
        raise ProtocolViolation(
            f"the server began the response {response.displaced_by} in the middle of {response.id}"
        )
    if strict and (irregularities := response.irregularities):
        first = irregularities[0]
        raise ProtocolViolation(
            f"the events of response {response.id} are not all its own (option strict): {first.kind} at"
            f" {first.type}, {first.expected!r} was due and {first.found!r} came"
        )


def silence_on(lane: Lane, turn: int, silence: float, options: EngineOptions) -> StillWaiting:
    """What is known of a silence: whether it is the model that takes its time, or the peer that does not answer.

    Args:
        lane: Where nothing comes.
        turn: The turn.
        silence: For how many seconds.
        options: `heartbeat_interval` and `heartbeat_timeout`.
    """
    pulse = lane.pulse()
    late = options.heartbeat_interval + overdue_after(options)
    is_silent = pulse.silence is not None and pulse.silence >= late
    return StillWaiting(
        turn,
        lane.connection_name,
        "socket_silent" if is_silent else "model_thinking",
        silence,
        pulse.silence,
        pulse.round_trip,
    )
