"""The agent loop: what drives one run from its input to its end.

One task drives a run. Everything that happens is appended to the run's log and folded by the reducer; the driver
reads the reducer and never keeps state of its own about the conversation. How a turn is taken is the business of
`turn_driver`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.errors import ApprovalRequired, LedgerFailed, LimitReached, Receipt, TriplaneError
from triplane.core.records import FramesReceived, InputAdded, RunEnded, RunParked, RunStarted
from triplane.core.reducer import RunReducer
from triplane.tools import Vault

from .approvals import ApprovalGate, Decisions, required
from .fork import NO_ORIGIN, Forking, Hold, Origin
from .steering import Steering
from .tool_calls import ToolCalls
from .turn_driver import TurnDriver

if TYPE_CHECKING:
    from triplane.core.outcome import ToolCall
    from triplane.core.records import Body, Item
    from triplane.core.run_state import RunState
    from triplane.net.endpoint import Endpoint

    from .agent import Agent
    from .feed import Feed
    from .resumption import Resumption
    from .surroundings import Surroundings
    from .transports import RoutedLease


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
        resumption: Where a run stands that another driver has begun, None for a new one.
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
        resumption: Resumption | None = None,
    ) -> None:
        self._run_id = run_id
        self._agent = agent
        self._first_input = first_input
        self._feed = feed
        self._lease = lease
        self._resumption = resumption
        self._reducer = RunReducer() if resumption is None else resumption.reducer
        self._ends_after_turn = False
        self._is_cancelled = False
        self._waits_for_decisions = False
        self._vaults = surroundings.vaults
        kept = origin.vault if resumption is None else self._vaults.take(run_id)
        self._vault = Vault(run_id, feed.log.token) if kept is None else kept
        self._calls = ToolCalls(
            agent,
            self._reducer,
            self._record,
            feed.log,
            surroundings.runner,
            surroundings.workbench,
            self._vault,
        )
        self._approvals = ApprovalGate(agent, self._reducer, self._record, self._calls.is_begun, self._vault)
        self.forking = Forking(run_id, self._reducer, origin)
        self.steering = Steering(
            self._reducer,
            self._record,
            feed.log,
            surroundings.options,
            support=surroundings.support,
            endpoint=lease.endpoint,
            agent=agent,
        )
        self._turns = TurnDriver(
            run_id,
            agent,
            self._reducer,
            self._record,
            feed,
            lease,
            surroundings,
            forking=self.forking,
            steering=self.steering,
            calls=self._calls,
            vault=self._vault,
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
        return self._reducer.status in ("new", "waiting", "parked")

    def note_cancelled(self) -> None:
        """Take note that somebody wants the run ended as cancelled, even if it is parked. Not a checkpoint."""
        self._is_cancelled = True

    def decide(self, decisions: Decisions) -> None:
        """See `ApprovalGate.decide`."""
        self._approvals.decide(decisions)

    def approval_required(self) -> ApprovalRequired | None:
        """The error that says what a parked run waits for; None if it is not parked."""
        return required(self._reducer) if self._reducer.status == "parked" else None

    def hold(self) -> Hold | None:
        """See `Forking.hold`."""
        return self.forking.hold(self._turns.last_lane)

    def leave(self, agent: Agent, endpoint: Endpoint, hold: Hold | None) -> Origin:
        """What a fork of this run begins with. Not a checkpoint.

        Args:
            agent: Who answers there.
            endpoint: Where it is.
            hold: What it has on this run's lane.
        """
        is_alike = endpoint == self._lease.endpoint and agent.fingerprint == self._agent.fingerprint
        return attrs.evolve(self.forking.leave(hold, continues=is_alike), vault=self._vault)

    def receipt(self) -> Receipt:
        """What is known to have happened so far."""
        return self._turns.receipt()

    async def drive(self, *, waits_for_decisions: bool = False) -> RunState:
        """Run the loop to its end, return the final state, and give the claim to the log back.

        The log is durable before this returns or raises a `TriplaneError`. Cancelling it ends the run as
        ``"cancelled"``; its lane goes back to the pool, which reads off what is still on its way. A run that is parked
        stays so in its log, unless it is to be cancelled, see `note_cancelled`.

        Args:
            waits_for_decisions: Whether there is somebody who can decide while this waits. If not, a run that is parked
                is left so.

        Raises:
            ApprovalRequired: The run is parked.
            TriplaneError: The run cannot go on; its receipt says what happened.
        """
        self._waits_for_decisions = waits_for_decisions
        try:
            return await self._drive()
        except ApprovalRequired as error:
            parked = error
        finally:
            if self._reducer.status not in ("completed", "incomplete"):
                self._vaults.keep(self._run_id, self._vault)
            self._feed.leave()
            self._feed.log.release()
        # Whoever hears of it may go on at once, in another process too.
        with suppress(LedgerFailed):
            await self._feed.log.durable()
        raise parked

    async def _drive(self) -> RunState:
        if self._resumption is None:
            self._record(self._start())
        elif self._resumption.has_result:
            await trio.lowlevel.checkpoint()
            return self._reducer.snapshot()
        else:
            self._resumption.settle(self._record)
        failure: TriplaneError | None = None
        try:
            try:
                async with self._calls.open():
                    end = await self._loop()
            finally:
                self.forking.begin()
                self._turns.give_lane_back()
            self._record(end)
        except LedgerFailed as error:
            failure = self._without_ledger(error)
        except ApprovalRequired as parked:
            failure = parked
        except TriplaneError as error:
            self._record(RunEnded("failed", type(error).__name__, str(error)))
            failure = error
        except Exception as error:
            self._record(RunEnded("failed", type(error).__name__))
            raise
        finally:
            # What arrives here without an end is a cancellation or another BaseException, perhaps in a group.
            is_parked = self._reducer.status == "parked" and not self._is_cancelled
            if not self._reducer.is_over and not is_parked:
                # Who has lost the claim has no say in how the run ends.
                with suppress(LedgerFailed):
                    self._record(RunEnded("cancelled"))
            self.forking.changed()
        try:
            await self._feed.log.durable()
        except LedgerFailed as error:
            # Whoever waits for the result must not take it for recorded.
            failure = failure or self._without_ledger(error)
        if failure is not None:
            raise failure
        return self._reducer.snapshot()

    def _start(self) -> RunStarted:
        agent = self._agent
        return RunStarted(
            self._run_id,
            agent.name,
            agent.model,
            agent.fingerprint,
            self._first_input,
            self.forking.forked_from,
            dict(agent.parts),
        )

    def _without_ledger(self, error: LedgerFailed) -> LedgerFailed:
        """End the run here: nothing happens that is not recorded. Its log can be continued from what is durable."""
        error.receipt = attrs.evolve(self.receipt(), next="resume")
        if not self._reducer.is_over:
            with suppress(LedgerFailed):
                self._record(RunEnded("failed", type(error).__name__, str(error)))
        return error

    async def _loop(self) -> RunEnded:
        limits = self._agent.limits
        book = self._reducer.calls
        if book.outstanding and not self._ends_after_turn:
            # The log of a run that was resumed has calls that the model does not wait for: nor do they for the model.
            self._check_number_of_calls()
            self._calls.refuse_unasked()
            self._calls.start_async()
        while not self._ends_after_turn:
            self._calls.check()
            # Only of a run that was resumed is it ever not the model's turn here: its log may end after a response; and
            # of one that waits for calls that its model did not wait for.
            if self._reducer.needs_request:
                if self._reducer.next_attempt[0] > limits.max_turns:
                    raise self._limit("max_turns", limits.max_turns)
                await self._turns.take()
                self._calls.check()
            calls = self._calls.take_up()
            is_idle = not calls and not self._reducer.owes_answers and not self._reducer.has_unanswered_input
            if is_idle and not book.outstanding:
                response = self._reducer.response
                if response.status == "incomplete":
                    return RunEnded("incomplete", response.incomplete_reason)
                return RunEnded("completed")
            self._check_number_of_calls()
            if not self._ends_after_turn:
                self._calls.start_async()
                await self._see_to(calls)
        await self._calls.drain()
        return RunEnded("cancelled")

    async def _see_to(self, calls: tuple[ToolCall, ...]) -> None:
        """Run those of a turn's calls that may run now; if there are none, wait for what is to be decided."""
        runnable = self._approvals.sort(calls)
        if runnable:
            if any(self._reducer.approvals.supports(call.call_id) for call in runnable):
                # Nothing happens on the strength of a decision that might be forgotten.
                await self._feed.log.durable()
            self._lease.reserve()
            await self._calls.run(runnable)
            self.forking.changed()
        elif self._reducer.approvals.open:
            await self._park()
        elif self._reducer.calls.outstanding and not self._reducer.needs_request:
            self._lease.reserve()
            await self._calls.delivery(self._has_news)
            self.forking.changed()
        else:
            # Calls that were denied have their outcomes now.
            await trio.lowlevel.checkpoint()
            if not calls and not self._reducer.needs_request:
                raise AssertionError("the run waits for something that nobody sees to: a bug in Triplane")

    async def _park(self) -> None:
        """Wait until everything is decided, without a lane. A checkpoint.

        Raises:
            ApprovalRequired: Nobody could decide while this waits.
        """
        self._turns.rest()
        self._record(RunParked(tuple(asked.call_id for asked in self._reducer.approvals.open)))
        self.forking.changed()
        await self._feed.log.durable()
        if not self._waits_for_decisions:
            # What the model does not wait for finishes first, as did what it waits for.
            await self._calls.drain()
            self._calls.check()
            if (error := self.approval_required()) is not None:
                raise error
        # A call that the model does not wait for may end the run, whatever would be decided.
        await self._calls.delivery(self._is_decided)
        self._calls.check()

    def _is_decided(self) -> bool:
        return not self._reducer.approvals.open

    def _has_news(self) -> bool:
        return self._reducer.has_unanswered_input

    def _check_number_of_calls(self) -> None:
        book, limit = self._reducer.calls, self._agent.limits.max_tool_calls
        if len(book.outcomes) + len(book.pending) + len(book.outstanding) > limit:
            raise self._limit("max_tool_calls", limit)

    def _limit(self, which: str, limit: int) -> LimitReached:
        return LimitReached(
            f"the run reached {which}={limit}; raise it in the agent's limits if the task needs more",
            which=which,
            limit=limit,
            receipt=Receipt(sent="finished", effects=self._reducer.calls.effects, next="resume"),
        )

    def _record(self, body: Body) -> None:
        record = self._feed.append(body)
        events = self._feed.events_of(record, body) if isinstance(body, FramesReceived) else None
        self._reducer.apply(record, events)
        self._calls.wake()
