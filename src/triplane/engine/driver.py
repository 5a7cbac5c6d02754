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

from triplane.core.errors import (
    ConnectFailed,
    ConnectionLost,
    EngineClosed,
    LimitReached,
    ProtocolViolation,
    Receipt,
    ServerError,
    Stalled,
    TriplaneError,
)
from triplane.core.options import EngineOptions
from triplane.core.records import (
    ConnectionDropped,
    FramesReceived,
    InputAdded,
    RequestSent,
    ResponseRetracted,
    RunEnded,
    RunStarted,
    SteersRequeued,
    TransportChanged,
)
from triplane.core.reducer import RunReducer
from triplane.core.retry import BOUNDARIES, Boundary, moment_of, safe_next
from triplane.core.transport import is_too_large
from triplane.net.pool import Pool
from triplane.tools import AgentRunner, Workbench

from .exchange import exchange
from .fork import NO_ORIGIN, Forking, Hold, Origin
from .recovery import RETRACT_REASONS, Interrupted, Recovery
from .remarks import check_whole, differences_in, silence_on
from .request import prepare, too_large
from .steering import Steering, SteeringSupport
from .tool_calls import ToolCalls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.records import Body, Item
    from triplane.core.reducer import RunState
    from triplane.net.endpoint import Endpoint
    from triplane.net.lane import Lane

    from .agent import Agent
    from .feed import Feed
    from .recovery import Fault
    from .request import TurnRequest
    from .routing import RoutedLease


@attrs.frozen
class Surroundings:
    """What a driver needs of its engine."""

    pool: Pool
    options: EngineOptions
    rng: random.Random
    runner: AgentRunner
    workbench: Workbench
    support: SteeringSupport


@final
class Driver:
    """Drives one run. `drive` is called once.

    Args:
        run_id: The run.
        agent: Who answers.
        first_input: The first input items, as wire data; of a fork, its whole conversation.
        feed: The run's log and its readers.
        lease: Holds no lane yet.
        surroundings: The engine's parts.
        origin: What a fork has of the run that it is a fork of.
    """

    def __init__(
        self,
        run_id: str,
        agent: Agent,
        first_input: tuple[Item, ...],
        feed: Feed,
        lease: RoutedLease,
        surroundings: Surroundings,
        origin: Origin = NO_ORIGIN,
    ) -> None:
        self._run_id = run_id
        self._agent = agent
        self._first_input = first_input
        self._feed = feed
        self._lease = lease
        self._pool = surroundings.pool
        self._options = surroundings.options
        self._rng = surroundings.rng
        self._reducer = RunReducer()
        self._sending_began = False
        self._continues = False
        self._last_lane: Lane | None = None
        self._kept_head: str | None = None
        self._ends_after_turn = False
        self.tool_calls = ToolCalls(
            agent, self._reducer, self._record, feed.log, surroundings.runner, surroundings.workbench
        )
        self.forking = Forking(run_id, self._reducer, origin)
        self.steering = Steering(
            self._reducer,
            self._record,
            feed.log,
            self._options,
            support=surroundings.support,
            endpoint=lease.endpoint,
            agent=agent,
        )

    @property
    def agent(self) -> Agent:
        """Who answers."""
        return self._agent

    @property
    def is_over(self) -> bool:
        """Whether the run has ended: its log takes nothing any more."""
        return self._reducer.is_over

    def state(self) -> RunState:
        """The run now."""
        return self._reducer.snapshot()

    def add_input(self, items: tuple[Item, ...]) -> None:
        """Have the next request carry these items. Not a checkpoint."""
        self._record(InputAdded(items))

    def end_after_turn(self) -> bool:
        """Begin no other request and no other tool; tell whether there is nothing to wait for until then."""
        self._ends_after_turn = True
        return self._reducer.status in ("new", "waiting")

    def hold(self) -> Hold | None:
        """See `Forking.hold`."""
        return self.forking.hold(self._last_lane)

    def leave(self, agent: Agent, endpoint: Endpoint, hold: Hold | None) -> Origin:
        """What a fork of this run begins with. Not a checkpoint.

        Args:
            agent: Who answers there.
            endpoint: Where it is.
            hold: What it has on this run's lane.
        """
        is_alike = endpoint == self._lease.endpoint and agent.fingerprint == self._agent.fingerprint
        return self.forking.leave(hold, continues=is_alike)

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
                self._run_id,
                self._agent.name,
                self._agent.model,
                self._agent.fingerprint,
                self._first_input,
                self.forking.forked_from,
            )
        )
        failure: TriplaneError | None = None
        try:
            try:
                async with self.tool_calls.open():
                    end = await self._loop()
            finally:
                self.forking.begin()
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
            self.forking.changed()
        await self._feed.log.durable()
        if failure is not None:
            raise failure
        return self._reducer.snapshot()

    async def _loop(self) -> RunEnded:
        limits = self._agent.limits
        while not self._ends_after_turn:
            if self._reducer.turns >= limits.max_turns:
                raise self._limit("max_turns", limits.max_turns)
            await self._take_turn()
            calls = self.tool_calls.claim()
            if not calls and not self._reducer.has_unanswered_input:
                response = self._reducer.response
                if response.status == "incomplete":
                    return RunEnded("incomplete", response.incomplete_reason)
                return RunEnded("completed")
            if len(self._reducer.outcomes) + len(self._reducer.pending) > limits.max_tool_calls:
                raise self._limit("max_tool_calls", limits.max_tool_calls)
            if calls and not self._ends_after_turn:
                self._lease.reserve()
                await self.tool_calls.run(calls)
                self.forking.changed()
        return RunEnded("cancelled")

    def _limit(self, which: str, limit: int) -> LimitReached:
        return LimitReached(
            f"the run reached {which}={limit}; raise it in the agent's limits if the task needs more",
            which=which,
            limit=limit,
            receipt=Receipt(sent="finished", effects=self._reducer.effects, next="resume"),
        )

    async def _take_turn(self) -> None:
        """Send one request and fold its answer, again if need be, until the turn has its response."""
        turn = self._reducer.turns + 1
        recovery = Recovery(self._agent, self._options)
        over_http = False
        while True:
            # Not with the lane in hand: it is lent out, and what it caches can be continued on another one.
            await self.forking.wait(self._options.fork_timeout)
            lane = await self._acquire(recovery, over_http=over_http)
            request = prepare(self._agent, self._reducer, lane, is_late=self.forking.is_late)
            if not self._lease.fits(request.size):
                if not self._lease.is_open:
                    raise too_large(request.size, self._options.max_request_size, self._reducer.effects)
                over_http = True
                continue
            self._note_transport(lane)
            fault = await self._attempt(lane, request, turn, recovery.attempt)
            if fault is None:
                return
            at = self._interrupted(fault)
            if at.was_too_large:
                self._lease.note_refused(request.size)
                over_http = True
            verdict = recovery.decide(at)
            if verdict == "give_up":
                if recovery.needs_new_connection(at):
                    # Nobody else's request is answered there either, and the rest of this one's answer may be.
                    self._lease.abandon(fault)
                raise recovery.explain(at, self._run_id)
            # A successor that may still come would be taken for the answer to the next request.
            is_unsafe = isinstance(fault, ServerError) and self.steering.unsettled > 0
            self._retract(turn, at)
            if is_unsafe or recovery.needs_new_connection(at):
                self._lose(lane, fault)
            if self._reducer.turn.is_over or self._reducer.pending:
                # What stands of the turn is whole: next are its tools, or what the steers said.
                return
            if verdict != "resend_full":
                self._lease.release()
                await trio.sleep(recovery.delay(at, verdict, self._rng.random()))

    def _retract(self, turn: int, at: Interrupted) -> None:
        reason = RETRACT_REASONS[type(at.fault)]
        ambiguous = at.boundary.ambiguous
        if self._reducer.response.status in ("completed", "incomplete"):
            # The response stands. What is lost is what was to come of its steers.
            self._record(SteersRequeued(turn, reason, self.steering.unsettled, ambiguous))
        else:
            self._record(ResponseRetracted(turn, reason, at.shown, ambiguous))

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
            was_too_large=(
                isinstance(fault, ConnectionLost)
                and is_too_large(fault)
                and self._lease.is_open
                and turn.response.status == "awaited"
            ),
            of_a_steer=self.steering.learn_from_fault(fault),
        )

    async def _acquire(self, recovery: Recovery, *, over_http: bool) -> Lane:
        before = self._last_lane
        if before is not None and not before.is_usable and self._reducer.head is not None:
            # It died while the tools ran.
            close = before.close_info()
            self._record(ConnectionDropped(before.connection_name, close.code, close.reason))
        head = self._reducer.head
        try:
            head_id = head.response_id if head else None
            lane = await self._lease.acquire(
                head=head_id,
                fingerprint=self._agent.fingerprint,
                # A head before the first turn is a fork's.
                near=head_id if self._reducer.turns == 0 else None,
                too_large=over_http,
            )
        except (ConnectFailed, LimitReached, EngineClosed) as error:
            # Beginning again would repeat what the run has done; its log knows how to go on.
            begun = self._reducer.turns > 0
            advice = "resume" if begun else error.receipt.next
            effects = self._reducer.effects
            error.receipt = recovery.so_far(effects) or Receipt(sent="nothing", effects=effects, next=advice)
            raise
        self._last_lane = lane
        return lane

    def _note_transport(self, lane: Lane) -> None:
        before = self._reducer.transport if self._reducer.turns else self._lease.usual
        if lane.transport != before:
            self._record(TransportChanged(lane.transport, self._lease.reason))

    async def _attempt(self, lane: Lane, request: TurnRequest, turn: int, attempt: int) -> Fault | None:
        """Send the turn's request and fold what comes. What went wrong is a value, None if nothing did."""
        try:
            await self._try(lane, request, turn, attempt)
        except (ConnectionLost, Stalled, ProtocolViolation) as fault:
            return fault
        except ConnectFailed as fault:
            if not fault.is_transient:
                raise
            return fault
        detail = self._reducer.response.error
        return None if detail is None else ServerError.from_detail(detail)

    async def _try(self, lane: Lane, request: TurnRequest, turn: int, attempt: int) -> None:
        plan = request.plan
        if plan.kind != "fork":
            self.forking.begin()
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
                request.size,
                self._agent.store,
                self._agent.conversation,
                lane.transport,
            )
        )
        await self._feed.log.durable()
        # Looked at without a checkpoint before the send: a connection that is gone by now gets no byte.
        self._sending_began = lane.is_usable
        try:
            with self.steering.on(lane):
                await exchange(
                    lane,
                    request.text,
                    options=self._options,
                    take=lambda frames: self._take(lane, frames),
                    make_room=self._make_room(lane),
                    on_silence=lambda silence: self._record(silence_on(lane, turn, silence, self._options)),
                    steering=self.steering,
                )
        except (ConnectionLost, Stalled, ProtocolViolation) as fault:
            self._lose(lane, fault)
            raise
        except ConnectFailed as refusal:
            if refusal.is_transient:
                # Over HTTP, where a connection comes and goes between requests: not a byte of this one has left.
                self._sending_began = False
                self._lose(lane, refusal)
                raise
            # Let in and put out at once: the same key would meet the same.
            refusal.receipt = Receipt(self._boundary.sent, effects=self._reducer.effects, next="change")
            raise
        except LimitReached as limit:
            # More was waiting on a shared connection than may wait; the lane is gone.
            shown = self._reducer.response.shown
            limit.receipt = attrs.evolve(limit.receipt, shown=shown, effects=self._reducer.effects)
            raise

    def _take(self, lane: Lane, frames: tuple[str, ...]) -> bool:
        received = FramesReceived(lane.connection_name, frames)
        self._record(received)
        response = self._reducer.response
        if self._reducer.turn.steers:
            self.steering.learn_from_answers()
        self.forking.note(received)
        if response.undecodable is not None:
            raise ProtocolViolation(
                f"the server sent a frame that is not an event ({response.undecodable.reason})",
                excerpt=response.undecodable.excerpt,
            )
        # After the end of a response that was steered another one may follow.
        if not self._reducer.turn.is_over:
            self.tool_calls.note(received)
            return False
        for each in self._reducer.turn.responses:
            if (difference := differences_in(each, self._reducer.turns)) is not None:
                self._record(difference)
            check_whole(each, strict=self._options.strict)
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

    def _lose(self, lane: Lane, fault: Fault) -> None:
        """Give up the connection under the run, and with it what the server remembers there."""
        self._lease.abandon(fault)
        self._last_lane = None
        self._keep_head(None)
        close = lane.close_info()
        self._record(ConnectionDropped(lane.connection_name, close.code, close.reason or str(fault)))

    def _give_lane_back(self) -> None:
        self._keep_head(None)
        if self._reducer.turn.is_over and self.steering.unsettled:
            # Nobody knows what more of them will come on it.
            self._lease.abandon(ConnectionLost("a response ended with steers on their way"))
        self._lease.release()

    def _record(self, body: Body) -> None:
        self._reducer.apply(self._feed.append(body))
