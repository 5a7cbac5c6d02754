"""What may be tried again, and when: the replay boundary as two tables, and what each fault means as two more.

A request passes the moments below in order. When its connection dies or the server gives up, the moment decides what
may be done. A bare lane never replays. A run replays only from its log and with full input, and says so there. What
a reader was shown of a response that is replayed is retracted first, never spliced.

Where the boundary leaves it open, the fault decides: `judge_close` by a WebSocket's close code, `judge_server_error` by
an error's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from .errors import SafeNext, Sent
from .turn import TurnAccumulator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .accumulator import ResponseAccumulator
    from .errors import CloseInfo, Effect
    from .options import AmbiguousSends

Moment = Literal[
    "unsent", "ambiguous", "rejected", "accepted", "shown", "call_finished", "failed", "finished"
]


@attrs.frozen
class Boundary:
    """What may be done when a request is cut off at a moment.

    Attributes:
        replay: Whether the request may be sent again without asking anybody.
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


# For a run: its log has the whole conversation and every effect, so it can begin a turn again.
BOUNDARIES: Final[dict[Moment, Boundary]] = {
    # No byte of the request was handed to the socket.
    "unsent": Boundary(replay=True, retract=False, ambiguous=False, sent="nothing", next="retry"),
    # Sending began and nothing came back: the model may have run, though no effect of ours happened.
    "ambiguous": Boundary(replay=True, retract=False, ambiguous=True, sent="ambiguous", next="resume"),
    # An error instead of a response: the model did not run. Whether to try again is for the error's code to say, see
    # `judge_server_error`; where that gives up, the safe next is to change something.
    "rejected": Boundary(replay=True, retract=False, ambiguous=False, sent="finished", next="resume"),
    # response.created, and nothing that a reader could have seen.
    "accepted": Boundary(replay=True, retract=False, ambiguous=True, sent="accepted", next="resume"),
    # Output was shown. It cannot be spliced with another attempt's output.
    "shown": Boundary(replay=True, retract=True, ambiguous=True, sent="accepted", next="resume"),
    # A tool call had finished arriving, and its tool had not started: tools start after the terminal event. The call
    # is discarded with the response, so it can never run beside its replayed twin.
    "call_finished": Boundary(replay=True, retract=True, ambiguous=True, sent="accepted", next="resume"),
    # The model ran, and the server says that it failed. Its calls are discarded, so nothing of ours has happened; as
    # with "rejected", the error's code says whether to try again.
    "failed": Boundary(replay=True, retract=True, ambiguous=True, sent="finished", next="resume"),
    # The terminal event was seen: there is nothing to replay. The next turn stands on the log.
    "finished": Boundary(replay=False, retract=False, ambiguous=False, sent="finished", next="resume"),
}

# For a bare lane: it has no log, and does not know what its caller did with the events. So it never replays, and
# whatever the server may have seen is for the caller to look into.
LANE_BOUNDARIES: Final[dict[Moment, Boundary]] = {
    "unsent": Boundary(replay=False, retract=False, ambiguous=False, sent="nothing", next="retry"),
    "ambiguous": Boundary(replay=False, retract=False, ambiguous=True, sent="ambiguous", next="inspect"),
    "rejected": Boundary(replay=False, retract=False, ambiguous=False, sent="finished", next="retry"),
    "accepted": Boundary(replay=False, retract=False, ambiguous=True, sent="accepted", next="inspect"),
    "shown": Boundary(replay=False, retract=False, ambiguous=True, sent="accepted", next="inspect"),
    "call_finished": Boundary(replay=False, retract=False, ambiguous=True, sent="accepted", next="inspect"),
    "failed": Boundary(replay=False, retract=False, ambiguous=True, sent="finished", next="inspect"),
    "finished": Boundary(replay=False, retract=False, ambiguous=False, sent="finished", next="inspect"),
}


def moment_of(response: ResponseAccumulator | TurnAccumulator, *, sending_began: bool) -> Moment:
    """How far the request in hand got.

    Of a turn that was steered, it is how far its latest response got; one that has yet to begin was asked for.
    """
    if isinstance(response, TurnAccumulator):
        if response.awaits_successor:
            return "ambiguous"
        response = response.response
    if response.status == "failed":
        return "failed"
    if response.status in ("completed", "incomplete"):
        return "finished"
    if response.status == "awaited":
        return "ambiguous" if sending_began else "unsent"
    if response.calls():
        return "call_finished"
    if response.has_output:
        return "shown"
    if response.status == "error" and response.id is None:
        # A frame that could not be read may have said anything.
        return "rejected" if response.undecodable is None else "ambiguous"
    return "accepted"


# Tools that act on nothing outside the response, by the beginning of their type: those that the client runs, and
# searching and making images, which leave nothing behind.
_HARMLESS_TOOLS: Final = (
    "function",
    "custom",
    "local_shell",
    "apply_patch",
    "computer",
    "tool_search",
    "web_search",
    "file_search",
    "image_generation",
)


def has_server_effects(request: Mapping[str, object]) -> bool:
    """Whether sending a request twice may make something happen twice on the server's side.

    That is so if the server may call MCP servers or run code for it, and if it adds to a stored conversation. A tool
    of a type that is not known here may act as well. A stored response that nobody refers to changes nothing.

    Args:
        request: The ``response.create`` as wire data.
    """
    return request.get("conversation") is not None or _may_act(request.get("tools"))


def _may_act(tools: object) -> bool:
    if not isinstance(tools, (list, tuple)):
        return False
    for tool in tools:
        if isinstance(tool, dict):
            kind = tool.get("type")
            if kind == "namespace":
                if _may_act(tool.get("tools")):
                    return True
            elif kind == "shell" and _is_local(tool.get("environment")):
                continue
            elif not (isinstance(kind, str) and kind.startswith(_HARMLESS_TOOLS)):
                return True
    return False


def _is_local(environment: object) -> bool:
    """Whether a shell is the client's own."""
    return isinstance(environment, dict) and environment.get("type") == "local"


def may_replay(
    boundary: Boundary, *, server_effects: bool, ambiguous_sends: AmbiguousSends = "replay_if_harmless"
) -> bool:
    """Whether a request may be sent again.

    Args:
        boundary: Where it was cut off.
        server_effects: See `has_server_effects`. What the model may have made happen there must not happen again.
        ambiguous_sends: What the caller allows where the model may have run; see `EngineOptions`.
    """
    if not boundary.replay or not boundary.ambiguous:
        return boundary.replay
    return ambiguous_sends == "replay" or (ambiguous_sends == "replay_if_harmless" and not server_effects)


# Outcomes after which nobody knows whether the effect happened.
_UNKNOWN: Final = frozenset({"unknown", "cancelled", "interrupted"})


def safe_next(boundary: Boundary, *, server_effects: bool, effects: Iterable[Effect] = ()) -> SafeNext:
    """What a run's receipt says is safe, when the request in hand was cut off at a boundary.

    Whatever may have happened without our knowledge, in a tool or on the server, is to be looked into first. A run whose
    tools have run is not to be begun again, though nothing of its latest request was sent.
    """
    outcomes = [effect.outcome for effect in effects]
    if (boundary.ambiguous and server_effects) or any(outcome in _UNKNOWN for outcome in outcomes):
        return "inspect"
    return "resume" if outcomes and boundary.next == "retry" else boundary.next


# resend_full: at once, on the same lane and without continuing anything. new_connection: on another connection; the
# first time at once. back_off: after a while, also the first time.
Verdict = Literal["resend_full", "new_connection", "back_off", "give_up"]

# By the code of a close frame, or of the lack of one (RFC 6455, 7.4.1). Servers end connections in good order, with
# 1000 or 1001, in the middle of a response as well: at a greatest age, for a deployment.
CLOSES: Final[dict[int, Verdict]] = {
    1000: "new_connection",
    1001: "new_connection",
    1005: "new_connection",
    1006: "new_connection",
    1011: "new_connection",
    1014: "new_connection",
    1015: "new_connection",
    # The server restarts, or asks to come again later.
    1012: "back_off",
    1013: "back_off",
    # The same bytes would meet the same: no WebSocket as the server knows it, a kind of data that it does not take, no
    # UTF-8, against its policy, too big, or an extension that it wants.
    1002: "give_up",
    1003: "give_up",
    1007: "give_up",
    1008: "give_up",
    1009: "give_up",
    1010: "give_up",
}


def judge_close(close: CloseInfo) -> Verdict:
    """What a run does when a WebSocket was closed under a request.

    A code of the server's own making (3000 to 4999) says something that is not for us to guess, such as that the key is
    not accepted. What we close for, the other end's bytes, need not come again, save for a message that was too big.
    """
    if close.by != "peer" and close.code != 1009:
        return "new_connection"
    return CLOSES.get(close.code, "give_up")


# By the server's code, whatever the status: OpenAI's own, those in ``response.failed`` (openai-python 3.52.0), and
# those that Codex and other servers are known to use.
VERDICTS: Final[dict[str, Verdict]] = {
    # The server does not know the response that the request continues. The same id never works again.
    "previous_response_not_found": "resend_full",
    "websocket_connection_limit_reached": "new_connection",
    "websocket_stream_limit_reached": "new_connection",
    "rate_limit_exceeded": "back_off",
    "too_many_requests": "back_off",
    "websocket_queue_full": "back_off",
    "concurrent_request": "back_off",
    "response_already_in_flight": "back_off",
    "server_is_overloaded": "back_off",
    "slow_down": "back_off",
    "server_error": "back_off",
    "vector_store_timeout": "back_off",
    # Money, and what a person has to decide.
    "insufficient_quota": "give_up",
    "usage_limit_reached": "give_up",
    "usage_not_included": "give_up",
    "billing_hard_limit_reached": "give_up",
    "invalid_prompt": "give_up",
    "bio_policy": "give_up",
    "cyber_policy": "give_up",
    "misalignment_policy_violation": "give_up",
    # The same again would be as wrong.
    "context_length_exceeded": "give_up",
    "data_residency_mismatch": "give_up",
    "invalid_stream_id": "give_up",
}
_PASSING_STATUSES: Final = frozenset({408, 409, 425, 429})


def judge_server_error(
    code: str | None,
    status: int | None,
    kind: str | None,
    *,
    param: str | None = None,
    continues: bool = False,
) -> Verdict:
    """What a run does about an ``error`` event, by its facts.

    Args:
        code: The server's code.
        status: Its HTTP-like status.
        kind: Its type, such as ``"server_error"``.
        param: The request field that it complains about.
        continues: Whether the request continued a response. Then a complaint about its input may be about what the
            server remembers, such as a call without an output, and full input settles that.
    """
    if code is not None and code in VERDICTS:
        return VERDICTS[code]
    if status is not None and (status in _PASSING_STATUSES or status >= 500):
        return "back_off"
    if status is None and (kind == "server_error" or (code is None and kind is None)):
        # A stream that broke off half-way has no status, and often no code.
        return "back_off"
    if continues and code is None and param in ("input", "previous_response_id"):
        return "resend_full"
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
        asked: What the server asked for, which is a lower bound, up to `limit`.
    """
    wait = 0.0 if attempt <= 1 else min(base * 2.0 ** min(attempt - 2, 60), limit) * (0.75 + 0.25 * jitter)
    return max(wait, min(asked or 0.0, limit))
