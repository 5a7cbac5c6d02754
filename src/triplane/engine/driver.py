"""The agent loop: what drives one run from its input to its end.

One task drives a run. Everything that happens is appended to the run's log and folded by the reducer; the driver
reads the reducer and never keeps state of its own about the conversation. What it does when a turn goes wrong is
decided by `recovery`.
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
    DifferencesFound,
    FramesReceived,
    RequestSent,
    ResponseRetracted,
    RunEnded,
    RunStarted,
    StillWaiting,
    ToolFinished,
    ToolStarted,
)
from triplane.core.reducer import RunReducer
from triplane.core.retry import BOUNDARIES, Boundary, moment_of, safe_next
from triplane.net.pool import Pool
from triplane.tools import AgentRunner, run_calls

from .exchange import exchange, overdue_after
from .recovery import RETRACT_REASONS, Interrupted, Recovery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.accumulator import ResponseAccumulator
    from triplane.core.outcome import ToolCall, ToolOutcome
    from triplane.core.records import Body, Item
    from triplane.core.reducer import RunState
    from triplane.net.lane import Lane, Lease
    from triplane.tools import Progress, Tool

    from .agent import Agent
    from .feed import Feed
    from .recovery import Fault


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
        if self._reducer.turns == 0:
            return Receipt()
        effects = self._reducer.effects
        return Receipt(
            sent=self._boundary.sent,
            shown=self._reducer.response.shown,
            effects=effects,
            next=safe_next(self._boundary, server_effects=self._agent.has_server_effects, effects=effects),
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

    def queued(self, call: ToolCall, tool: Tool) -> None:
        """Record that a call was taken up."""

    def progress(self, call: ToolCall, progress: Progress, bytes_produced: int, skipped: int) -> None:
        """Record how far a call is."""

    def dropped(self, call: ToolCall, seconds: float) -> None:
        """Record that a thread has ended that nobody waited for."""

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Record a call's outcome."""
        self._record(ToolFinished(call.call_id, call.name, outcome))

    async def _take_turn(self) -> None:
        """Send one request and fold its answer, again if need be, until the turn has its response."""
        turn = self._reducer.turns + 1
        recovery = Recovery(self._agent, self._options)
        while True:
            lane = await self._acquire()
            fault = await self._attempt(lane, turn, recovery.attempt)
            if fault is None:
                return
            at = self._interrupted(fault)
            verdict = recovery.decide(at)
            if verdict == "give_up":
                if recovery.needs_new_connection(at):
                    # Nobody else's request is answered there either, and the rest of this one's answer may be.
                    self._lease.abandon(fault)
                raise recovery.explain(at, self._run_id)
            self._record(
                ResponseRetracted(
                    turn, RETRACT_REASONS[type(fault)], at.shown, ambiguous=at.boundary.ambiguous
                )
            )
            if recovery.needs_new_connection(at):
                self._lose(lane, fault)
            if verdict != "resend_full":
                self._lease.release()
                await trio.sleep(recovery.delay(at, verdict, self._rng.random()))

    def _interrupted(self, fault: Fault) -> Interrupted:
        turn = self._reducer.turn
        return Interrupted(
            fault,
            self._boundary,
            turn.response.shown,
            self._reducer.effects,
            continued=self._continues,
            progressed=any(each.status in ("completed", "incomplete") for each in turn.responses),
            failure=turn.response.error if turn.response.status == "failed" else None,
        )

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

    async def _attempt(self, lane: Lane, turn: int, attempt: int) -> Fault | None:
        """Send the turn's request and fold what comes. What went wrong is a value, None if nothing did."""
        try:
            await self._try(lane, turn, attempt)
        except (ConnectionLost, Stalled, ProtocolViolation) as fault:
            return fault
        detail = self._reducer.response.error
        return None if detail is None else ServerError.from_detail(detail)

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
                self._agent.conversation,
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
                on_silence=lambda silence: self._tell_of_silence(lane, turn, silence),
            )
        except (ConnectionLost, Stalled, ProtocolViolation) as fault:
            self._lose(lane, fault)
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
        self._report_differences(response)
        head = self._reducer.head
        lane.remember(head.response_id if head else None)
        self._keep_head(head.response_id if head else None)
        return True

    def _make_room(self, lane: Lane) -> Callable[[], Awaitable[None]] | None:
        """What may delay reading. Not a slow reader of the run where that would not hold up the server: the log has it."""
        spills = lane.is_shared and self._options.slow_lane == "spill"
        return None if spills else self._feed.make_room

    def _report_differences(self, response: ResponseAccumulator) -> None:
        differences, irregularities = response.differences, response.irregularities
        if differences or irregularities:
            self._record(
                DifferencesFound(
                    self._reducer.turns,
                    response.id,
                    tuple(attrs.asdict(each) for each in differences),
                    tuple(attrs.asdict(each) for each in irregularities),
                )
            )
        if response.displaced_by is not None:
            raise ProtocolViolation(
                f"the server began the response {response.displaced_by} in the middle of {response.id}"
            )
        if irregularities and self._options.strict:
            first = irregularities[0]
            raise ProtocolViolation(
                f"the events of response {response.id} are not all its own (option strict): {first.kind} at"
                f" {first.type}, {first.expected!r} was due and {first.found!r} came"
            )

    def _tell_of_silence(self, lane: Lane, turn: int, silence: float) -> None:
        pulse = lane.pulse()
        late = self._options.heartbeat_interval + overdue_after(self._options)
        is_silent = pulse.silence is not None and pulse.silence >= late
        self._record(
            StillWaiting(
                turn,
                lane.connection_name,
                "socket_silent" if is_silent else "model_thinking",
                silence,
                pulse.silence,
                pulse.round_trip,
            )
        )

    def _keep_head(self, head: str | None) -> None:
        self._pool.keep_head(self._kept_head, head)
        self._kept_head = head

    @property
    def _boundary(self) -> Boundary:
        """What may be done about the request in hand."""
        return BOUNDARIES[moment_of(self._reducer.turn, sending_began=self._sending_began)]

    def _lose(self, lane: Lane, fault: Fault) -> None:
        """Give up the connection under the run, and with it what the server remembers there."""
        self._lease.abandon(fault)
        self._last_lane = None
        self._keep_head(None)
        close = lane.close_info()
        self._record(ConnectionDropped(lane.connection_name, close.code, close.reason or str(fault)))

    def _give_lane_back(self) -> None:
        self._keep_head(None)
        self._lease.release()

    def _record(self, body: Body) -> None:
        self._reducer.apply(self._feed.append(body))
