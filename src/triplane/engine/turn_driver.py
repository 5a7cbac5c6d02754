"""One turn of a run: a request and its answer, sent again if need be, until the turn has its response.

It belongs to the run's driver and works in that one's task. Everything that happens is recorded; what is done when an
attempt goes wrong is decided by `recovery`, and carried out here.
"""

from __future__ import annotations

from functools import partial
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
)
from triplane.core.records import (
    ConnectionDropped,
    FramesReceived,
    RequestSent,
    ResponseRetracted,
    RetryScheduled,
    SteersRequeued,
    TransportChanged,
)
from triplane.core.retry import BOUNDARIES, Boundary, moment_of, safe_next
from triplane.core.transport import is_too_large

from .exchange import exchange
from .masked_frames import MaskedFrames
from .recovery import RETRACT_REASONS, Interrupted, Recovery
from .remarks import check_whole, differences_in, silence_on
from .request import prepare, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.records import Body
    from triplane.core.reducer import RunReducer
    from triplane.net.lane import Lane
    from triplane.tools import Vault

    from .agent import Agent
    from .feed import Feed
    from .fork import Forking
    from .recovery import Fault
    from .request import TurnRequest
    from .steering import Steering
    from .surroundings import Surroundings
    from .tool_calls import ToolCalls
    from .transports import RoutedLease


@final
class TurnDriver:
    """Takes the turns of one run, one after the other, and knows the lane that it takes them on.

    Args:
        run_id: The run.
        agent: Who answers.
        reducer: The run's state.
        record: Appends to the run's log and folds.
        feed: The run's log and its readers.
        lease: Holds no lane yet.
        surroundings: The engine's parts.
        forking: What the run has to do with its forks.
        steering: What it has to do with steers.
        calls: Its tool calls, some of which start before their response ends.
        vault: Where secrets go that the model writes.

    Attributes:
        last_lane: The lane of the last request, which caches what the run can continue; None if there was none, or it
            is lost.
    """

    def __init__(
        self,
        run_id: str,
        agent: Agent,
        reducer: RunReducer,
        record: Callable[[Body], None],
        feed: Feed,
        lease: RoutedLease,
        surroundings: Surroundings,
        *,
        forking: Forking,
        steering: Steering,
        calls: ToolCalls,
        vault: Vault,
    ) -> None:
        self.last_lane: Lane | None = None
        self._run_id = run_id
        self._agent = agent
        self._reducer = reducer
        self._record = record
        self._feed = feed
        self._lease = lease
        self._pool = surroundings.pool
        self._options = surroundings.options
        self._rng = surroundings.rng
        self._forking = forking
        self._steering = steering
        self._calls = calls
        tools = agent.tools_by_name
        has_secrets = any(each.secrets for each in tools.values())
        self._masked = MaskedFrames(tools, vault) if has_secrets else None
        self._sending_began = False
        self._continues = False
        self._kept_head: str | None = None

    def receipt(self) -> Receipt:
        """What is known to have happened so far."""
        if self._reducer.turns == 0:
            return Receipt()
        effects = self._reducer.calls.effects
        return Receipt(
            sent=self._boundary.sent,
            shown=self._reducer.response.shown,
            effects=effects,
            next=safe_next(self._boundary, server_effects=self._agent.has_server_effects, effects=effects),
        )

    async def take(self) -> None:
        """Take the next turn. A checkpoint.

        Raises:
            TriplaneError: The run cannot go on; its receipt says what happened.
        """
        turn, attempt = self._reducer.next_attempt
        recovery = Recovery(self._agent, self._options, attempt)
        over_http = False
        while True:
            # Not with the lane in hand: it is lent out, and what it caches can be continued on another one.
            await self._forking.wait(self._options.fork_timeout)
            lane = await self._acquire(recovery, over_http=over_http)
            request = prepare(self._agent, self._reducer, lane, is_late=self._forking.is_late)
            if not self._lease.fits(request.size):
                if not self._lease.is_open:
                    raise too_large(request.size, self._options.max_request_size, self._reducer.calls.effects)
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
            is_unsafe = isinstance(fault, ServerError) and self._steering.unsettled > 0
            self._retract(turn, at)
            if is_unsafe or recovery.needs_new_connection(at):
                self._lose(lane, fault)
            if self._reducer.turn.is_over or self._reducer.owes_answers:
                # What stands of the turn is whole: next are its tools, or what the steers said.
                return
            if verdict != "resend_full":
                self._lease.release()
                delay = recovery.delay(at, verdict, self._rng.random())
                if delay:
                    self._record(RetryScheduled(turn, recovery.attempt, delay, recovery.is_asked(at)))
                await trio.sleep(delay)

    def _retract(self, turn: int, at: Interrupted) -> None:
        reason = RETRACT_REASONS[type(at.fault)]
        ambiguous = at.boundary.ambiguous
        if self._reducer.response.status in ("completed", "incomplete"):
            # The response stands. What is lost is what was to come of its steers.
            self._record(SteersRequeued(turn, reason, self._steering.unsettled, ambiguous))
        else:
            self._record(ResponseRetracted(turn, reason, at.shown, ambiguous))

    def _interrupted(self, fault: Fault) -> Interrupted:
        turn = self._reducer.turn
        return Interrupted(
            fault,
            self._boundary,
            turn.response.shown,
            self._reducer.calls.effects,
            continued=self._continues,
            progressed=any(each.status in ("completed", "incomplete") for each in turn.responses),
            failure=turn.response.error if turn.response.status == "failed" else None,
            was_too_large=(
                isinstance(fault, ConnectionLost)
                and is_too_large(fault)
                and self._lease.is_open
                and turn.response.status == "awaited"
            ),
            of_a_steer=self._steering.learn_from_fault(fault),
        )

    async def _acquire(self, recovery: Recovery, *, over_http: bool) -> Lane:
        before = self.last_lane
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
            effects = self._reducer.calls.effects
            error.receipt = recovery.so_far(effects) or Receipt(sent="nothing", effects=effects, next=advice)
            raise
        self.last_lane = lane
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
            self._forking.begin()
        self._continues = plan.previous_response_id is not None
        self._sending_began = False
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
            with self._steering.on(lane):
                await exchange(
                    lane,
                    request.text,
                    options=self._options,
                    take=lambda frames: self._fold(lane, frames),
                    mask=None if self._masked is None else self._masked.take,
                    make_room=self._make_room(lane),
                    on_silence=lambda silence: self._record(silence_on(lane, turn, silence, self._options)),
                    steering=self._steering,
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
            refusal.receipt = Receipt(self._boundary.sent, effects=self._reducer.calls.effects, next="change")
            raise
        except LimitReached as limit:
            # More was waiting on a shared connection than may wait; the lane is gone.
            shown = self._reducer.response.shown
            limit.receipt = attrs.evolve(limit.receipt, shown=shown, effects=self._reducer.calls.effects)
            raise

    def _fold(self, lane: Lane, frames: tuple[str, ...]) -> bool:
        received = FramesReceived(lane.connection_name, frames)
        self._record(received)
        response = self._reducer.response
        if self._reducer.turn.steers:
            self._steering.learn_from_answers()
        self._forking.note(received)
        if response.undecodable is not None:
            raise ProtocolViolation(
                f"the server sent a frame that is not an event ({response.undecodable.reason})",
                excerpt=response.undecodable.excerpt,
            )
        # After the end of a response that was steered another one may follow.
        if not self._reducer.turn.is_over:
            self._calls.note(received)
            return False
        for each in self._reducer.turn.responses:
            if (difference := differences_in(each, self._reducer.turns)) is not None:
                self._record(difference)
            check_whole(each, strict=self._options.strict)
        head = self._reducer.head
        ended = [response.id for response in self._reducer.turn.responses]
        lane.remember(head.response_id if head else None, ended=ended)
        self._keep_head(head.response_id if head else None)
        return True

    def _make_room(self, lane: Lane) -> Callable[[], Awaitable[None]] | None:
        """What may delay reading. Not a slow reader of the run where that would not hold up the server: the log has it."""
        spills = lane.is_shared and self._options.slow_lane == "spill"
        return None if spills else partial(self._feed.make_room, self._lease)

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
        self.last_lane = None
        self._keep_head(None)
        close = lane.close_info()
        self._record(ConnectionDropped(lane.connection_name, close.code, close.reason or str(fault)))

    def give_lane_back(self) -> None:
        """No turn comes any more. Not a checkpoint."""
        self._keep_head(None)
        self.rest()

    def rest(self) -> None:
        """Nobody knows when the next turn comes: hold no lane until then. Not a checkpoint."""
        if self._reducer.turn.is_over and self._steering.unsettled:
            # Nobody knows what more of them will come on it.
            self._lease.abandon(ConnectionLost("a response ended with steers on their way"))
        self._lease.release()
