"""What may be tried again, and when: the replay boundary as a table.

A request passes the moments below in order. When its connection dies or the server gives up, the moment decides what
a run may do. A bare lane never replays; a run replays only from its log and with full input, and says so there. What
a reader was shown of a response that is replayed is retracted first, never spliced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

if TYPE_CHECKING:
    from .accumulator import ResponseAccumulator
    from .errors import SafeNext, Sent

Moment = Literal["unsent", "ambiguous", "accepted", "shown", "call_finished", "finished"]


@attrs.frozen
class Boundary:
    """What may be done when a request is cut off at a moment.

    Attributes:
        replay: Whether a run may send the turn again.
        retract: Whether readers must be told that what they were shown no longer counts.
        ambiguous: Whether the model may have run, and been billed, for a request that is now repeated.
        sent: What a receipt says about the request.
        next: What a receipt says is safe for somebody who does not replay.
    """

    replay: bool
    retract: bool
    ambiguous: bool
    sent: Sent
    next: SafeNext


BOUNDARIES: Final[dict[Moment, Boundary]] = {
    # No byte of the request was handed to the socket.
    "unsent": Boundary(replay=True, retract=False, ambiguous=False, sent="nothing", next="retry"),
    # Sending began and nothing came back: the model may have run, though no effect of ours happened.
    "ambiguous": Boundary(replay=True, retract=False, ambiguous=True, sent="ambiguous", next="resume"),
    # response.created, and nothing that a reader could have seen.
    "accepted": Boundary(replay=True, retract=False, ambiguous=True, sent="accepted", next="resume"),
    # Text was shown. It cannot be spliced with another attempt's text.
    "shown": Boundary(replay=True, retract=True, ambiguous=True, sent="accepted", next="resume"),
    # A tool call had finished arriving, and its tool had not started: tools start after the terminal event. The call
    # is discarded with the response, so it can never run beside its replayed twin.
    "call_finished": Boundary(replay=True, retract=True, ambiguous=True, sent="accepted", next="resume"),
    # The terminal event was seen: there is nothing to replay. The next turn stands on the log.
    "finished": Boundary(replay=False, retract=False, ambiguous=False, sent="finished", next="resume"),
}


def moment_of(response: ResponseAccumulator, *, sending_began: bool) -> Moment:
    """How far the request in hand got."""
    if response.status in ("completed", "incomplete", "failed"):
        return "finished"
    if response.status == "awaited":
        return "ambiguous" if sending_began else "unsent"
    if response.calls():
        return "call_finished"
    return "shown" if response.shown else "accepted"


ServerVerdict = Literal["resend_full", "new_connection", "back_off", "give_up"]

_RESEND_FULL = {"previous_response_not_found"}
_NEW_CONNECTION = {"websocket_connection_limit_reached"}
_BACK_OFF_CODES = {"rate_limit_exceeded", "too_many_requests", "server_is_overloaded", "slow_down", "server_error"}
_GIVE_UP_CODES = {"insufficient_quota", "usage_limit_reached", "billing_hard_limit_reached"}


def judge_server_error(code: str | None, status: int | None, kind: str | None) -> ServerVerdict:
    """What a run does about an ``error`` event, by its code, status and type.

    Args:
        code: The server's code.
        status: Its HTTP-like status.
        kind: Its type, such as ``"server_error"``.
    """
    if code in _RESEND_FULL:
        return "resend_full"
    if code in _NEW_CONNECTION:
        return "new_connection"
    if code in _GIVE_UP_CODES:
        return "give_up"
    if code in _BACK_OFF_CODES or status == 429 or (status is not None and status >= 500):
        return "back_off"
    if status is None and (kind == "server_error" or code is None):
        return "back_off"
    return "give_up"


def delay_before(
    attempt: int, *, base: float, limit: float, jitter: float, asked: float | None = None
) -> float:
    """Seconds to wait before a try.

    Args:
        attempt: 1 for the first repetition, which is immediate.
        base: The second repetition's delay.
        limit: The longest delay.
        jitter: A random number from 0 to 1; the delay is multiplied by a factor from 0.75 to 1.
        asked: What the server asked for, which is a lower bound.
    """
    wait = 0.0 if attempt <= 1 else min(base * 2.0 ** min(attempt - 2, 60), limit) * (0.75 + 0.25 * jitter)
    return max(wait, min(asked or 0.0, limit))
