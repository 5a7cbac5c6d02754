"""One run in the hands of a program: its events by cursor, its state, its result."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, final

import trio

from triplane.core.errors import ConfigError, Receipt, RunFailed, TriplaneError
from triplane.tools.background import open_background

from .approvals import Decisions
from .run_input import as_items

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from triplane.core.records import ApprovalAsked, Item
    from triplane.core.run_state import RunState
    from triplane.core.store import RunLog

    from .agent import Agent
    from .driver import Driver
    from .feed import Feed, Reader, RunEvent
    from .fork import Hold
    from .run_input import RunInput
    from .steering import Steered

    ForkOf = Callable[[Driver, Hold | None, Agent, tuple[Item, ...]], "Run"]


@final
class Run:
    """A run that is being driven in the background of `Engine.open_run`.

    Iterating it yields typed events, each recorded before it is delivered: the server's events, and the records of
    what the engine did (`RunStarted`, `RequestSent`, `ToolStarted`, `ToolFinished`, …). Each ``async for`` is a
    cursor of its own from the run's first event on. A cursor that sleeps delays nobody; one that falls
    `EngineOptions.max_unread` bytes behind makes the run stop reading its socket until it catches up, is closed, is
    left with ``break``, or somebody else waits for the run's lane.
    """

    def __init__(
        self,
        driver: Driver,
        feed: Feed,
        count: Callable[[int], None],
        fork: ForkOf,
        check_open: Callable[[], None],
    ) -> None:
        self._driver = driver
        self._check_open = check_open
        self._count = count
        self._fork = fork
        self._scope = trio.CancelScope()
        self._over = trio.Event()
        self._feed = feed
        self._final: RunState | None = None
        self._failure: TriplaneError | None = None
        self._failure_shown = False

    def __repr__(self) -> str:
        now = self.state
        return f"<Run {self.run_id}: {now.status}, {now.turns} turns, {len(now.tool_calls)} tool calls>"

    @property
    def run_id(self) -> str:
        """The run's id, under which the ledger keeps its log."""
        return self._feed.log.run_id

    @property
    def log(self) -> RunLog:
        """The run's log, for reading."""
        return self._feed.log

    @property
    def state(self) -> RunState:
        """The run now. Costs the length of the last response and the number of calls."""
        return self._driver.state()

    @property
    def result(self) -> RunState:
        """The final state.

        Raises:
            ApprovalRequired: The run is parked.
            RunFailed: The run has not ended yet, or was cancelled.
            TriplaneError: The run failed; this is why.
        """
        if self._failure is not None:
            self._failure_shown = True
            raise self._failure.again()
        if self._final is None:
            if (parked := self._driver.approval_required()) is not None:
                raise parked
            if self._over.is_set():
                words = "the run has no result: it was cancelled; its log says how far it had come"
            else:
                words = "the run has no result yet; iterate it to its end, or await run.wait()"
            raise RunFailed(words, run_id=self.run_id, receipt=self._driver.receipt())
        return self._final

    async def wait(self) -> RunState:
        """Return the final state once the run has ended. A checkpoint.

        While the run is parked this waits as well, so somebody else has to decide.
        Not in the middle of a loop over this run: once that is `EngineOptions.max_unread` bytes behind, the run waits for
        it to go on.

        Raises:
            ApprovalRequired: The run was left parked.
            RunFailed: The run was cancelled; `state` says how far it had come.
            TriplaneError: The run failed; this is why.
        """
        await self._over.wait()
        return self.result

    def __aiter__(self) -> RunEvents:
        return RunEvents(self, self._feed.reader())

    @property
    def approvals(self) -> tuple[ApprovalAsked, ...]:
        """The calls that wait for a decision, in the order in which they were asked about."""
        return self._driver.state().approvals

    def approve(self, call_id: str) -> None:
        """Let a call run that waits for a person. Not a checkpoint.

        It runs once everything that was asked about its response is decided, and the other calls of the response have
        finished. The decision is in the log when this returns, as an `ApprovalGiven`, and durable before the call starts.

        Args:
            call_id: See `ApprovalAsked`.

        Raises:
            ConfigError: That call waits for no decision, or no more; the message says what does.
            EngineClosed: The engine was left. The run is still parked, and can be resumed.
            ApprovalRequired: The run was left parked, and can be resumed.
            RunFailed: The run has ended (`code` is ``"run_ended"``).
        """
        _check_one(call_id, "approve")
        self._decide(Decisions.of([call_id], ()))

    def deny(self, call_id: str, reason: str = "") -> None:
        """Have the model told that a call was not approved, which is then never run. Otherwise as `approve`.

        Args:
            call_id: See `ApprovalAsked`.
            reason: For the model: why not.
        """
        _check_one(call_id, "deny")
        self._decide(Decisions.of((), {call_id: reason}))

    def _decide(self, decisions: Decisions) -> None:
        self._check_open()
        self._check_going_on()
        self._driver.decide(decisions)

    async def send(self, run_input: RunInput) -> None:
        """Have the next request carry more input. A checkpoint, before anything has happened.

        The model sees it after the response that is being made, and after the outputs of tools that are running. A run
        that would have ended goes on with another turn. The input is in the log when this returns, as an `InputAdded`,
        and durable before the request goes up.

        Args:
            run_input: A user message as text, one input item, or several.

        Raises:
            ConfigError: The input is not that.
            ApprovalRequired: The run was left parked; nothing was recorded.
            RunFailed: The run has ended (`code` is ``"run_ended"``); nothing was recorded.
        """
        items = as_items(run_input)
        await trio.lowlevel.checkpoint()
        self._check_going_on()
        self._driver.add_input(items)

    async def steer(self, run_input: RunInput) -> Steered:
        """Give the response that is being made another instruction. A checkpoint, before anything has happened.

        Where the endpoint and the model support it the response stops at its next safe boundary, and another follows
        that knows the instruction (OpenAI steering guide, GPT-6 family). What becomes of it comes as events:
        `SteerSent`; ``response.steer.accepted``, ``.pending`` or ``.failed``; and the ``response.created`` of the
        response that follows, from which on it counts. `RunState.steers` tells the same.

        Whatever keeps the instruction from being heard, it is not lost and not said twice: the next request carries
        it, as if it had been given to `send`.

        Args:
            run_input: A user message as text, one user message, or several.

        Returns:
            Whether it is on its way to the response or waits for the next request. Once this has returned it goes out
            whatever happens to the caller.

        Raises:
            ConfigError: The input is not that.
            ApprovalRequired: The run was left parked; nothing was recorded.
            RunFailed: The run has ended (`code` is ``"run_ended"``); nothing was recorded.
        """
        items = as_items(run_input)
        await trio.lowlevel.checkpoint()
        self._check_going_on()
        return self._driver.steering.steer(items)

    def fork(
        self, run_input: RunInput | None = None, *, agent: Agent | None = None
    ) -> AbstractAsyncContextManager[Run]:
        """Drive another run, which goes on from where this one is, in the background of a block.

        It begins with the conversation of this run as it is between two turns: what a response that is being made has
        brought so far is no part of it, nor is input that waits for the next turn. It has a log of its own, which
        needs this run's no more. What this run does afterwards does not concern it, nor the other way round; this run
        may have ended. On a connection with several lanes it continues this run's latest response on another lane, and
        this run's next request waits until the server has begun with it, at most `EngineOptions.fork_timeout`;
        everywhere else it sends the whole conversation.

        Entering waits for tools of this run that are running, and is a checkpoint; so is leaving. It does not wait for a
        person: a fork of a parked run begins before the response whose calls wait. Leaving before the
        end cancels the fork. A failure of the fork that the block has not seen is raised when the block is left.

        Args:
            run_input: What to add to the conversation, a user message as text, one input item, or several; by default
                nothing.
            agent: Who answers, by default this run's agent. Another one gets the whole conversation.

        Raises:
            ConfigError: The input or the agent is not that.
            EngineClosed: The engine was left.
        """
        items = () if run_input is None else as_items(run_input)
        return _forked(self._fork, self._driver, self._driver.agent if agent is None else agent, items)

    def cancel(self, when: Literal["now", "after_turn"] = "now") -> None:
        """End the run as ``"cancelled"``. Idempotent. Not a checkpoint; `wait` tells when it has ended.

        Cancelling the scope around the run does the same as ``"now"``, and is the usual way; only that a parked run is
        left parked then, while this ends it.

        Args:
            when: ``"now"``: at once; an answer that is still on its way is read off in the background, as that of a
                cancelled `Engine.run`. ``"after_turn"``: the response in hand is read to its end, and tools that are
                running finish; no other request and no other tool begins.

        Raises:
            ConfigError: `when` is neither.
        """
        if when not in ("now", "after_turn"):
            raise ConfigError(f'when must be "now" or "after_turn", not {when!r}')
        if when == "now" or self._driver.end_after_turn():
            self._driver.note_cancelled()
            self._scope.cancel(reason="Run.cancel was called")

    def _check_going_on(self) -> None:
        if self._over.is_set() and (parked := self._driver.approval_required()) is not None:
            raise parked
        if self._driver.is_over:
            raise RunFailed(
                f"the run has ended ({self.state.status}) and takes no input; run.fork(…) goes on from where it ended",
                run_id=self.run_id,
                code="run_ended",
                receipt=Receipt(sent="nothing", effects=self._driver.receipt().effects, next="change"),
            )

    async def _drive(self, *, waits_for_decisions: bool = False) -> None:
        """Drive to the end, or until the run is parked and nobody could decide while this waits.

        A failure is a value here: nothing but bugs raises into a nursery.
        """
        self._count(1)
        try:
            with self._scope:
                final = await self._driver.drive(waits_for_decisions=waits_for_decisions)
                self._final = None if final.status == "cancelled" else final
        except TriplaneError as failure:
            self._failure = failure
        finally:
            self._count(-1)
            self._over.set()

    def _take_failure(self) -> TriplaneError | None:
        self._failure_shown = True
        return self._failure

    def _show_failure(self) -> None:
        if self._failure is not None and not self._failure_shown:
            self._failure_shown = True
            raise self._failure.again()


@final
class RunEvents:
    """The events of a run by a cursor of its own. Ends with the run; raises what made it fail."""

    def __init__(self, run: Run, reader: Reader) -> None:
        self._run = run
        self._reader = reader

    def __aiter__(self) -> RunEvents:
        return self

    async def __anext__(self) -> RunEvent:
        """The next event. A checkpoint; cancelling it loses nothing.

        Raises:
            StopAsyncIteration: The run has ended and everything was read.
            TriplaneError: The run failed and everything was read. The first cursor to get there raises it.
        """
        try:
            return await self._reader.__anext__()
        except StopAsyncIteration:
            pass
        # The log ends a moment before the driver does, which still makes it durable.
        await self._run._over.wait()  # noqa: SLF001  # one thing in two classes
        self._run._show_failure()  # noqa: SLF001
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop following. Idempotent. Not a checkpoint."""
        self._reader.close()


def _check_one(call_id: object, decision: str) -> None:
    if not isinstance(call_id, str):
        raise ConfigError(
            f"run.{decision} takes the id of one call, as text, not {call_id!r:.80}; call it once for each"
        )


@asynccontextmanager
async def driven(run: Run) -> AsyncIterator[Run]:
    """Drive a run in a nursery of its own for as long as the block lasts; leaving early cancels it.

    A run that is parked stays so. The body's own error comes out as it was raised. A failure of the run that nobody has seen comes out at the end.
    """
    async with open_background() as background:
        drive = partial(run._drive, waits_for_decisions=True)  # noqa: SLF001  # made for this
        background.start_soon(drive, name=f"run {run.run_id}")
        try:
            yield run
        finally:
            background.cancel_scope.cancel(reason="open_run was left")
    run._show_failure()  # noqa: SLF001


@asynccontextmanager
async def _forked(fork: ForkOf, source: Driver, agent: Agent, items: tuple[Item, ...]) -> AsyncIterator[Run]:
    # Before it waits: once the tools have finished the source would go on at once.
    hold = source.hold()
    try:
        await source.forking.outputs()
        async with driven(fork(source, hold, agent, items)) as run:
            yield run
    finally:
        if hold is not None:
            hold.lift()
