"""The agent loop and its recovery: what drives one run from its input to its end.

One task drives a run. Everything that happens is appended to the run's log and folded by the reducer; the driver
reads the reducer and never keeps state of its own about the conversation.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.continuation import plan_turn
from triplane.core.errors import (
    ConnectFailed,
    ConnectionLost,
    EngineClosed,
    LimitReached,
    ProtocolViolation,
    Receipt,
    RunFailed,
    ServerError,
    Stalled,
    TriplaneError,
)
from triplane.core.options import EngineOptions
from triplane.core.records import (
    ConnectionDropped,
    FramesReceived,
    RequestSent,
    ResponseRetracted,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from triplane.core.reducer import RunReducer
from triplane.core.retry import (
    BOUNDARIES,
    Boundary,
    ServerVerdict,
    delay_before,
    judge_server_error,
    may_replay,
    moment_of,
)
from triplane.net.pool import Pool
from triplane.tools import AgentRunner, run_calls

from .exchange import exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.outcome import ToolCall, ToolOutcome
    from triplane.core.records import Body, Item, RetractReason
    from triplane.core.reducer import RunState
    from triplane.net.lane import Lane, Lease
    from triplane.tools import Tool

    from .agent import Agent
    from .feed import Feed

Fault = ConnectionLost | Stalled | ProtocolViolation | ServerError


@attrs.frozen
class Surroundings:
    """What a driver needs of its engine."""

    pool: Pool
    options: EngineOptions
    rng: random.Random
    runner: AgentRunner


@final
class Driver:
    """Drives one run. `drive` is called once.

    Args:
        run_id: The run.
        agent: Who answers.
        first_input: The first input items, as wire data.
        feed: The run's log and its readers.
        lease: Holds no lane yet.
        surroundings: The engine's parts.
    """

    def __init__(
        self,
        run_id: str,
        agent: Agent,
        first_input: tuple[Item, ...],
        feed: Feed,
        lease: Lease,
        surroundings: Surroundings,
    ) -> None:
        self._run_id = run_id
        self._agent = agent
        self._first_input = first_input
        self._feed = feed
        self._lease = lease
        self._pool = surroundings.pool
        self._options = surroundings.options
        self._rng = surroundings.rng
        self._runner = surroundings.runner
        self._reducer = RunReducer()
        self._sending_began = False
        self._continues = False
        self._last_lane: Lane | None = None
        self._kept_head: str | None = None

    def state(self) -> RunState:
        """The run now."""
        return self._reducer.snapshot()

    def receipt(self) -> Receipt:
        """What is known to have happened so far."""
        response = self._reducer.response
        begun = self._reducer.turns > 0
        return Receipt(
            sent=self._boundary.sent if begun else "nothing",
            shown=response.shown,
            effects=self._reducer.effects,
            next="resume" if begun else "retry",
        )

    async def drive(self) -> RunState:
        """Run the loop to its end and return the final state.

        The log is durable before this returns or raises a `TriplaneError`. Cancelling it ends the run as
        ``"cancelled"``; its lane goes back to the pool, which reads off what is still on its way.

        Raises:
            TriplaneError: The run cannot go on; its receipt says what happened.
        """
        self._record(
            RunStarted(
                self._run_id, self._agent.name, self._agent.model, self._agent.fingerprint, self._first_input
            )
        )
        failure: TriplaneError | None = None
        try:
            try:
                end = await self._loop()
            finally:
                self._give_lane_back()
            self._record(end)
        except TriplaneError as error:
            self._record(RunEnded("failed", type(error).__name__, str(error)))
            failure = error
        except Exception as error:
            self._record(RunEnded("failed", type(error).__name__))
            raise
        finally:
            # What arrives here without an end is a cancellation or another BaseException, perhaps in a group.
            if not self._reducer.is_over:
                self._record(RunEnded("cancelled"))
        await self._feed.log.durable()
        if failure is not None:
            raise failure
        return self._reducer.snapshot()

    async def _loop(self) -> RunEnded:
        limits = self._agent.limits
        while True:
            if self._reducer.turns >= limits.max_turns:
                raise self._limit("max_turns", limits.max_turns)
            await self._take_turn()
            response = self._reducer.response
            if response.status == "incomplete":
                return RunEnded("incomplete", response.incomplete_reason)
            calls = tuple(self._reducer.pending)
            if not calls and not response.calls():
                return RunEnded("completed")
            if len(self._reducer.outcomes) + len(calls) > limits.max_tool_calls:
                raise self._limit("max_tool_calls", limits.max_tool_calls)
            if calls:
                self._lease.reserve()
                await run_calls(
                    calls, self._agent.tools_by_name, run_id=self._run_id, engine=self._runner, observer=self
                )

    def _limit(self, which: str, limit: int) -> LimitReached:
        return LimitReached(
            f"the run reached {which}={limit}; raise it in the agent's limits if the task needs more",
            which=which,
            limit=limit,
            receipt=Receipt(sent="finished", effects=self._reducer.effects, next="resume"),
        )

    async def starting(self, call: ToolCall, tool: Tool, idempotency_key: str) -> None:
        """Record that a tool's effect may happen from here on; durable before it returns."""
        self._record(ToolStarted(call.call_id, call.name, call.arguments, tool.effect, idempotency_key))
        if tool.effect != "read":
            await self._feed.log.durable()

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Record a call's outcome."""
        self._record(ToolFinished(call.call_id, call.name, outcome))

    async def _take_turn(self) -> None:
        """Send one request and fold its answer, again if need be, until the turn has its response."""
        turn = self._reducer.turns + 1
        attempt = 1
        resent_full = False
        while True:
            lane = await self._acquire()
            try:
                await self._try(lane, turn, attempt)
            except (ConnectionLost, Stalled, ProtocolViolation) as error:
                fault: Fault = error
            else:
                detail = self._reducer.response.error
                if detail is None:
                    return
                if self._reducer.response.status == "failed":
                    raise self._response_failed(attempt)
                fault = ServerError.from_detail(detail)
            verdict = self._verdict(fault)
            repeated = verdict == "resend_full" and resent_full
            if verdict == "give_up" or repeated or attempt > self._options.replay_attempts:
                raise self._explained(fault, attempt)
            resent_full = verdict == "resend_full"
            self._retract(turn, fault)
            if verdict != "resend_full":
                if verdict == "new_connection":
                    self._lease.abandon(fault)
                self._lease.release()
                await trio.sleep(self._delay(attempt, fault))
            attempt += 1

    async def _acquire(self) -> Lane:
        before = self._last_lane
        if before is not None and not before.is_usable and self._reducer.head is not None:
            # It died while the tools ran.
            close = before.close_info()
            self._record(ConnectionDropped(before.connection_name, close.code, close.reason))
        head = self._reducer.head
        try:
            lane = await self._lease.acquire(
                head=head.response_id if head else None, fingerprint=self._agent.fingerprint
            )
        except (ConnectFailed, LimitReached, EngineClosed) as error:
            # Beginning again would repeat what the run has done; its log knows how to go on.
            begun = self._reducer.turns > 0
            advice = "resume" if begun else error.receipt.next
            error.receipt = Receipt(sent="nothing", effects=self._reducer.effects, next=advice)
            raise
        self._last_lane = lane
        return lane

    async def _try(self, lane: Lane, turn: int, attempt: int) -> None:
        plan = plan_turn(
            self._reducer.history,
            self._reducer.head,
            lane.memory,
            self._agent.fingerprint,
            head_lost=self._reducer.head_lost,
        )
        if plan.kind == "refuse":
            raise RunFailed(
                f"the conversation holds calls that nobody has answered ({', '.join(plan.unanswered)}), which the"
                " server would refuse; answer them in the run's input",
                run_id=self._run_id,
                code=plan.reason,
                receipt=Receipt(sent="nothing", effects=self._reducer.effects, next="change"),
            )
        request = self._agent.request(plan, lane.stream_id)
        size = len(request.encode())
        if size > self._options.max_request_size:
            raise LimitReached(
                f"the request has {size:,} bytes and the server takes {self._options.max_request_size:,}"
                " (option max_request_size); shorten the conversation or cap the tools' outputs",
                which="max_request_size",
                limit=self._options.max_request_size,
                receipt=Receipt(effects=self._reducer.effects, next="change"),
            )
        self._continues = plan.previous_response_id is not None
        self._record(
            RequestSent(
                turn,
                attempt,
                lane.connection_name,
                plan.kind,
                plan.reason,
                plan.previous_response_id,
                len(plan.items),
                size,
                self._agent.store,
            )
        )
        await self._feed.log.durable()
        # Looked at without a checkpoint before the send: a connection that is gone by now gets no byte.
        self._sending_began = lane.is_usable
        try:
            await exchange(
                lane,
                request,
                options=self._options,
                take=lambda frames: self._take(lane, frames),
                make_room=self._make_room(lane),
            )
        except (ConnectionLost, Stalled, ProtocolViolation) as fault:
            self._lease.abandon(fault)
            self._last_lane = None
            self._keep_head(None)
            close = lane.close_info()
            self._record(ConnectionDropped(lane.connection_name, close.code, close.reason or str(fault)))
            raise
        except ConnectFailed as refusal:
            # Let in and put out at once: the same key would meet the same.
            refusal.receipt = Receipt(self._boundary.sent, effects=self._reducer.effects, next="change")
            raise
        except LimitReached as limit:
            # More was waiting on a shared connection than may wait; the lane is gone.
            shown = self._reducer.response.shown
            limit.receipt = attrs.evolve(limit.receipt, shown=shown, effects=self._reducer.effects)
            raise

    def _take(self, lane: Lane, frames: tuple[str, ...]) -> bool:
        self._record(FramesReceived(lane.connection_name, frames))
        response = self._reducer.response
        if response.undecodable is not None:
            raise ProtocolViolation(
                f"the server sent a frame that is not an event ({response.undecodable.reason})",
                excerpt=response.undecodable.excerpt,
            )
        if not response.is_over:
            return False
        head = self._reducer.head
        lane.remember(head.response_id if head else None)
        self._keep_head(head.response_id if head else None)
        return True

    def _make_room(self, lane: Lane) -> Callable[[], Awaitable[None]] | None:
        """What may delay reading. Not a slow reader of the run where that would not hold up the server: the log has it."""
        spills = lane.is_shared and self._options.slow_lane == "spill"
        return None if spills else self._feed.make_room

    def _keep_head(self, head: str | None) -> None:
        self._pool.keep_head(self._kept_head, head)
        self._kept_head = head

    @property
    def _boundary(self) -> Boundary:
        """What may be done about the request in hand."""
        return BOUNDARIES[moment_of(self._reducer.turn, sending_began=self._sending_began)]

    def _verdict(self, fault: Fault) -> ServerVerdict:
        verdict: ServerVerdict = "back_off"
        if isinstance(fault, ServerError):
            verdict = judge_server_error(
                fault.code, fault.status, fault.type, param=fault.param, continues=self._continues
            )
        elif isinstance(fault, ConnectionLost) and fault.close.code in _FATAL_CLOSES:
            verdict = "give_up"
        allowed = may_replay(self._boundary, server_effects=self._agent.has_server_effects)
        return verdict if allowed else "give_up"

    def _retract(self, turn: int, fault: Fault) -> None:
        self._record(
            ResponseRetracted(
                turn,
                _RETRACT_REASONS[type(fault)],
                self._reducer.response.shown,
                ambiguous=self._boundary.ambiguous,
            )
        )

    def _delay(self, attempt: int, fault: Fault) -> float:
        return delay_before(
            # A lost connection is replaced at once; a server that says it is busy is given time.
            attempt + 1 if isinstance(fault, ServerError) and fault.code != _AGE_LIMIT else attempt,
            base=self._options.backoff_base,
            limit=self._options.backoff_limit,
            jitter=self._rng.random(),
            asked=fault.retry_after if isinstance(fault, ServerError) else None,
        )

    def _explained(self, fault: Fault, attempts: int) -> Fault:
        """The fault with what is known to have happened."""
        if attempts > 1:
            fault.message = f"{fault.message} (the turn was tried {attempts} times)"
        boundary = self._boundary
        fault.receipt = Receipt(
            sent=boundary.sent,
            shown=self._reducer.response.shown,
            effects=self._reducer.effects,
            next="change" if isinstance(fault, ServerError) and not _is_passing(fault) else boundary.next,
        )
        return fault

    def _response_failed(self, attempt: int) -> RunFailed:
        detail = self._reducer.response.error
        code = detail.code if detail else None
        words = (detail.message if detail else None) or "the server gave no message"
        return RunFailed(
            f"the model's response failed ({code or 'no code'}): {words}",
            run_id=self._run_id,
            code=code,
            attempts=attempt,
            receipt=Receipt(
                sent="finished",
                shown=self._reducer.response.shown,
                effects=self._reducer.effects,
                next="resume",
            ),
        )

    def _give_lane_back(self) -> None:
        self._keep_head(None)
        self._lease.release()

    def _record(self, body: Body) -> None:
        self._reducer.apply(self._feed.append(body))


_AGE_LIMIT = "websocket_connection_limit_reached"
# Closes that the same request would meet again: a kind of data not taken, policy, a message too big.
_FATAL_CLOSES = frozenset({1003, 1008, 1009})
_RETRACT_REASONS: dict[type[TriplaneError], RetractReason] = {
    ConnectionLost: "connection_lost",
    Stalled: "stalled",
    ProtocolViolation: "undecodable_frame",
    ServerError: "server_error",
}


def _is_passing(fault: ServerError) -> bool:
    return judge_server_error(fault.code, fault.status, fault.type) != "give_up"
