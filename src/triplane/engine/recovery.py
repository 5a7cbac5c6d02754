"""What a run does when a turn goes wrong: whether it is tried again, when, and what the caller is told if it is not.

It decides by the tables of `core.retry` and does no I/O; the driver carries it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import attrs

from triplane.core.errors import (
    ConnectFailed,
    ConnectionLost,
    Effect,
    ProtocolViolation,
    Receipt,
    RunFailed,
    ServerError,
    Stalled,
)
from triplane.core.retry import (
    Boundary,
    Verdict,
    delay_before,
    judge_close,
    judge_server_error,
    may_replay,
    safe_next,
)
from triplane.protocol import ErrorDetail

if TYPE_CHECKING:
    from triplane.core.options import AmbiguousSends, EngineOptions
    from triplane.core.records import RetractReason

    from .agent import Agent

Fault = ConnectFailed | ConnectionLost | Stalled | ProtocolViolation | ServerError

RETRACT_REASONS: Final[dict[type[Fault], RetractReason]] = {
    ConnectFailed: "connection_lost",
    ConnectionLost: "connection_lost",
    Stalled: "stalled",
    ProtocolViolation: "undecodable_frame",
    ServerError: "server_error",
}


@attrs.frozen
class Interrupted:
    """A turn at the moment at which it went wrong.

    Attributes:
        fault: Why.
        boundary: What may be done about the request in hand.
        shown: Characters of its response's text that readers had been given.
        effects: The tool calls of the run that started.
        continued: Whether the request continued a response.
        progressed: Whether a response of the turn has come to its end, as one that was steered does.
        failure: What the response said of itself, by ``response.failed``; else None.
        was_too_large: Whether the server closed a WebSocket for the size of the request, which can go over HTTP instead.
        of_a_steer: Whether it is rather a steer that the server would not take, and that is not sent again.
    """

    fault: Fault
    boundary: Boundary
    shown: int
    effects: tuple[Effect, ...]
    continued: bool
    progressed: bool
    failure: ErrorDetail | None = None
    was_too_large: bool = False
    of_a_steer: bool = False


@final
class Recovery:
    """The attempts at one turn.

    Args:
        agent: Whose turn it is.
        options: `replay_attempts`, `ambiguous_sends`, `backoff_base`, `backoff_limit`.
        attempt: Which one is next: more than 1 for a turn that an engine before this one has tried.

    Attributes:
        attempt: Which one is in hand, from 1.
    """

    def __init__(self, agent: Agent, options: EngineOptions, attempt: int = 1) -> None:
        self.attempt = attempt
        self._options = options
        self._server_effects = agent.has_server_effects
        self._ambiguous_sends: AmbiguousSends = agent.ambiguous_sends or options.ambiguous_sends
        self._spent = 0
        self._resent_full = False
        # What an error tells of when nothing of the attempt in hand was sent: of one for which the model may have run
        # rather than of one that was only turned down.
        self._told: Interrupted | None = None
        self._forbidden = False

    def decide(self, at: Interrupted) -> Verdict:
        """What to do, and count it. After ``"give_up"`` there is `explain`."""
        # A connection that could be opened, or a response that began, is no progress: a server that lets everybody in
        # and drops them would be tried for ever.
        if at.progressed:
            self._spent = 0
        if at.boundary.ambiguous or (at.boundary.sent != "nothing" and self._told is None):
            self._told = at
        verdict = self._judge(at)
        if verdict == "resend_full":
            # Full input continues nothing, so there is nothing left that the server could have forgotten.
            if self._resent_full:
                return "give_up"
            self._resent_full = True
        if verdict == "give_up" or self._spent >= self._options.replay_attempts:
            return "give_up"
        # What was too large was not taken, so nothing can have been done for it.
        self._forbidden = not at.was_too_large and not may_replay(
            at.boundary, server_effects=self._server_effects, ambiguous_sends=self._ambiguous_sends
        )
        if self._forbidden:
            return "give_up"
        self._spent += 1
        self.attempt += 1
        return verdict

    def needs_new_connection(self, at: Interrupted) -> bool:
        """Whether the server has said that nothing begins any more on a connection that is still open."""
        return isinstance(at.fault, ServerError) and self._judge(at) == "new_connection"

    def delay(self, at: Interrupted, verdict: Verdict, jitter: float) -> float:
        """Seconds to wait before the attempt that `decide` has just counted.

        Args:
            at: What went wrong.
            verdict: What `decide` said.
            jitter: A random number from 0 to 1.
        """
        if verdict == "resend_full":
            return 0.0
        return delay_before(
            # A lost connection is replaced at once; a server that says it is busy is given time.
            self._spent + (verdict == "back_off"),
            base=self._options.backoff_base,
            limit=self._options.backoff_limit,
            jitter=jitter,
            asked=at.fault.retry_after if isinstance(at.fault, ServerError) else None,
        )

    def is_asked(self, at: Interrupted) -> bool:
        """Whether the server asked for that delay."""
        return isinstance(at.fault, ServerError) and bool(at.fault.retry_after)

    def explain(self, at: Interrupted, run_id: str) -> Fault | RunFailed:
        """The error for the caller, with what is known to have happened."""
        fault = at.fault
        unsent = at.boundary.sent == "nothing"
        receipt = (unsent and self.so_far(at.effects)) or self._receipt(at, at.effects)
        if receipt.next == "resume" and self._judge(at) == "give_up" and isinstance(fault, ServerError):
            receipt = attrs.evolve(receipt, next="change")
        if at.failure is not None:
            words = at.failure.message or "the server gave no message"
            return RunFailed(
                f"the model's response failed ({at.failure.code or 'no code'}): {words}{self._tries()}{self._policy()}",
                run_id=run_id,
                code=at.failure.code,
                attempts=self.attempt,
                receipt=receipt,
            )
        fault.message += self._tries() + self._policy()
        fault.receipt = receipt
        return fault

    def so_far(self, effects: tuple[Effect, ...]) -> Receipt | None:
        """What the attempts before have done, for when nothing of the one in hand was sent.

        None if nothing was sent by any of them either.

        Args:
            effects: The tool calls of the run that started.
        """
        return None if self._told is None else self._receipt(self._told, effects)

    def _receipt(self, at: Interrupted, effects: tuple[Effect, ...]) -> Receipt:
        return Receipt(
            sent=at.boundary.sent,
            shown=at.shown,
            effects=effects,
            next=safe_next(at.boundary, server_effects=self._server_effects, effects=effects),
        )

    def _tries(self) -> str:
        return f" (the turn was tried {self.attempt} times)" if self.attempt > 1 else ""

    def _policy(self) -> str:
        if not self._forbidden:
            return ""
        acts = " and the server may act for it" if self._ambiguous_sends != "raise" else ""
        return (
            f"; the request was not sent again, since the model may have run for it{acts}"
            f' (option ambiguous_sends="{self._ambiguous_sends}")'
        )

    def _judge(self, at: Interrupted) -> Verdict:
        fault = at.fault
        if at.of_a_steer:
            return "new_connection"
        if isinstance(fault, ServerError):
            return judge_server_error(
                fault.code, fault.status, fault.type, param=fault.param, continues=at.continued
            )
        if isinstance(fault, ConnectionLost) and not at.was_too_large:
            return judge_close(fault.close)
        return "new_connection"
