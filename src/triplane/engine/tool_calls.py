"""The tool calls of one run: which are run, which had started before their response ended, and what is recorded."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import attrs

from triplane.core.errors import LimitReached, Receipt, RunFailed
from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    ApprovalGiven,
    LateResultDropped,
    ToolFinished,
    ToolProgress,
    ToolQueued,
    ToolStarted,
)
from triplane.core.retry import BOUNDARIES, safe_next
from triplane.tools import (
    CallRun,
    FailurePolicy,
    Setting,
    ToolFailedError,
    read_artifact_tool,
    results,
    run_calls,
    tool_for,
)
from triplane.tools.approval import asks_first
from triplane.tools.background import open_background

from .async_calls import AsyncCalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    import trio

    from triplane.core.outcome import ToolCall
    from triplane.core.records import ApprovalAsked, Body, FramesReceived
    from triplane.core.reducer import RunReducer
    from triplane.core.store import ClaimedLog
    from triplane.tools import AgentRunner, Progress, Tool, Vault, Workbench

    from .agent import Agent

_ID_USED = "The tool was not run: this call has the id of another one, which was run for a response that was given up."

_NOBODY_ASKED = "A person would have to approve it first, and nobody is asked about a call that is async."
_CALL_DONE = "response.output_item.done"


@final
class ToolCalls:
    """Runs a run's calls and records what becomes of them.

    A call of a tool that is ``early`` starts as soon as it is complete, while its response goes on. Should the response
    be retracted, it runs on: the same call (the same tool with the same arguments) in the response that replaces it
    gets its outcome, and otherwise it is cancelled, or its outcome is dropped. No call id is run twice.

    Args:
        agent: Whose tools.
        run: The run, which `record` folds into.
        record: Appends to the run's log. Not a checkpoint.
        log: That log.
        runner: What tools run agents on.
        workbench: What the calls share with those of other runs.
        vault: What the masks in their arguments stand for.
    """

    def __init__(
        self,
        agent: Agent,
        run: RunReducer,
        record: Callable[[Body], None],
        log: ClaimedLog,
        runner: AgentRunner,
        workbench: Workbench,
        vault: Vault,
    ) -> None:
        self._agent = agent
        self._run = run
        self._record = record
        self._log = log
        self._setting = Setting(
            run_id=log.run_id,
            engine=runner,
            observer=self,
            workbench=workbench,
            ask=self.ask,
            vault=vault,
        )
        # The calls of agents whose runs are parked, until they have ended without an outcome.
        self._parked: set[str] = set()
        self._policy = FailurePolicy(agent.on_error, agent.siblings)
        self._nursery: trio.Nursery | None = None
        self._async = AsyncCalls(run, self._setting, self._policy)
        # What started early and has not been taken up with its response, or with the one in its place.
        self._begun: dict[str, CallRun] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The scope of the calls that start early or are async. Those that still run when it is left are cancelled.

        Only if the agent has such tools is entering or leaving a checkpoint.
        """
        if not any(each.early or each.async_ for each in self._agent.tools):
            yield
            return
        async with open_background() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                nursery.cancel_scope.cancel(reason="the run is over")

    def note(self, received: FramesReceived) -> None:
        """Start what has become complete and may start early. Not a checkpoint."""
        # A look at the text: decoding it is somebody else's business.
        if self._nursery is None or all(_CALL_DONE not in frame for frame in received.frames):
            return
        for call in self._run.turn.calls():
            if self._may_start(call):
                begun = self._begun[call.call_id] = CallRun(call, self._tools(), self._setting)
                self._record(ToolQueued(call.call_id, call.full_name, early=True))
                self._nursery.start_soon(begun.run, name=f"early tool {call.full_name[:64]}")

    def take_up(self) -> tuple[ToolCall, ...]:
        """The calls of the turn that has ended which are to be run, or have started early. Not a checkpoint.

        Calls that started early, and that neither this turn's response nor its likes ask for, are cancelled.
        """
        self.refuse_unasked()
        pending, retracted = self._run.calls.pending, self._run.calls.retracted
        waiting = {call.call_id for call in pending}
        # What started early may have its outcome by now; what a failure does to the others is yet to be seen to.
        ended = [
            begun.call
            for call_id, begun in self._begun.items()
            if call_id not in waiting and call_id not in retracted
        ]
        # What a server calls async whose tool is not has no nursery to run in.
        outstanding = [
            call
            for call in self._run.calls.outstanding
            if self._nursery is None and call.call_id not in waiting
        ]
        calls = (*pending, *ended, *outstanding)
        wanted = {(call.full_name, call.arguments) for call in (*calls, *self._run.calls.outstanding)}
        for call_id, begun in tuple(self._begun.items()):
            if call_id in retracted and (begun.call.full_name, begun.call.arguments) not in wanted:
                begun.cancel("Its response was given up.")
                del self._begun[call_id]
        return calls

    def refuse_unasked(self) -> None:
        """No call runs unasked because the server says that its model does not wait for it: nobody could be asked.

        To be called before `start_async`; `take_up` does. Not a checkpoint.
        """
        for call in self._run.calls.outstanding:
            tool = tool_for(call, self._agent.tools_by_name)
            if tool is None or self._async.has_begun(call) or call.call_id in self._run.calls.retracted:
                continue
            if asks_first(tool, call, self._setting.vault) is not None:
                outcome = ToolOutcome("denied", results.denied(_NOBODY_ASKED))
                self._record(ToolFinished(call.call_id, call.full_name, outcome))

    def is_begun(self, call: ToolCall) -> bool:
        """Whether a call that `take_up` gave has started, or gets what another call brings.

        That is one of a response that was retracted, or of an earlier one whose id it has and that still runs.
        """
        retracted = self._run.calls.retracted
        return (
            call.call_id in self._begun
            or call.call_id in retracted
            or self._runs_async(call)
            or self._find(call) is not None
        )

    def start_async(self) -> None:
        """Start the calls that the model does not wait for. Not a checkpoint.

        What was started early for a response that was retracted is not run again for them either.
        """
        if self._nursery is None:
            return
        for call in self._run.calls.outstanding:
            if self._async.has_begun(call):
                continue
            if (earlier := self._take_over(call)) is not None:
                self._async.take_over(self._nursery, call, earlier, self._finish)
            elif call.call_id in self._run.calls.retracted:
                self._refuse_id(call)
        self._async.start(self._nursery, self._tools())

    def wake(self) -> None:
        """Something has happened, perhaps what somebody waits for in `delivery`. Not a checkpoint."""
        self._async.wake()

    async def delivery(self, is_enough: Callable[[], bool]) -> None:
        """See `AsyncCalls.delivery`."""
        await self._async.delivery(is_enough)

    async def drain(self) -> None:
        """See `AsyncCalls.drain`."""
        await self._async.drain()

    def check(self) -> None:
        """Raise what calls that the model does not wait for have brought. Not a checkpoint.

        Raises:
            TriplaneError: As `run` does.
        """
        try:
            has_ended = self._async.check()
        except ToolFailedError as failure:
            raise self._failed(failure) from failure.__cause__
        if has_ended:
            self._check_repetitions()

    async def run(self, calls: Iterable[ToolCall]) -> None:
        """Run what `take_up` gave, and wait until each of them has its outcome.

        Raises:
            RunFailed: A tool failed that says ``on_error="raise"``.
            LimitReached: The same call has failed too often in a row.
        """
        own: list[ToolCall] = []
        taken_over: list[tuple[ToolCall, CallRun]] = []
        others: list[ToolCall] = []
        begun: dict[str, CallRun] = {}
        retracted = self._run.calls.retracted
        for call in calls:
            if call.call_id in self._begun and call.call_id not in retracted:
                begun[call.call_id] = self._begun.pop(call.call_id)
                own.append(call)
            elif self._runs_async(call):
                others.append(call)
            elif (earlier := self._take_over(call)) is not None:
                taken_over.append((call, earlier))
                begun[call.call_id] = earlier
                own.append(call)
            elif call.call_id in retracted:
                self._refuse_id(call)
            else:
                own.append(call)
        failure: ToolFailedError | None = None
        try:
            await run_calls(own, self._tools(), self._setting, policy=self._policy, begun=begun)
        except ToolFailedError as error:
            failure = error
        for call, earlier in taken_over:
            assert earlier.outcome is not None
            self._finish(call, earlier.outcome, earlier.call.call_id)
        if failure is not None:
            raise self._failed(failure) from failure.__cause__
        if others:
            await self._async.delivery(
                lambda: all(self._run.calls.outcome_of(each.call_id) for each in others)
            )
            self.check()
        self._cancel_those_who_wait(own)
        self._check_repetitions()

    def _cancel_those_who_wait(self, ran: Iterable[ToolCall]) -> None:
        """What the failure of a call does to calls of its response that wait for approval."""
        tools, calls = self._agent.tools_by_name, self._run.calls
        started = {effect.call_id for effect in calls.effects}
        for call in ran:
            tool = tool_for(call, tools)
            if tool is None or (tool.siblings or self._agent.siblings) != "cancel":
                continue
            outcome = calls.outcomes.get(call.call_id)
            if call.call_id in started and outcome is not None and outcome.kind in ("failed", "timed_out"):
                for other in calls.pending:
                    self.finished(other, ToolOutcome("cancelled", results.sibling_failed(call.full_name)))

    def queued(self, call: ToolCall, tool: Tool) -> None:
        """See `Observer`."""
        del tool
        if call.call_id not in self._begun:
            self._record(ToolQueued(call.call_id, call.full_name))

    async def starting(self, call: ToolCall, tool: Tool, idempotency_key: str) -> None:
        """Record that a tool's effect may happen from here on; durable before it returns."""
        self._record(ToolStarted(call.call_id, call.full_name, call.arguments, tool.effect, idempotency_key))
        if tool.effect != "read":
            await self._log.durable()

    def progress(self, call: ToolCall, progress: Progress, bytes_produced: int, skipped: int) -> None:
        """See `Observer`."""
        self._record(
            ToolProgress(
                call.call_id,
                call.full_name,
                bytes_produced,
                progress.message,
                progress.done,
                progress.total,
                skipped,
            )
        )

    def ask(self, call: ToolCall, questions: Sequence[ApprovalAsked]) -> Sequence[ApprovalGiven] | None:
        """Ask a person what the run of another agent asks, for a call that runs it. Not a checkpoint.

        Returns:
            What was decided; None if something is open. Then the call is over without an outcome, and is made again
            once that is decided.
        """
        if call.is_async:
            # The run would not wait with it, so nothing would be asked before it ended.
            return [ApprovalGiven(each.call_id, approved=False, reason=_NOBODY_ASKED) for each in questions]
        book = self._run.approvals
        for question in questions:
            if question.call_id not in book.asked:
                self._record(attrs.evolve(question, in_call=call.call_id))
        decisions = [given for question in questions if (given := book.decision(question)) is not None]
        if len(decisions) == len(questions):
            return decisions
        self._parked.add(call.call_id)
        return None

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Record a call's outcome, if it has one."""
        if call.call_id in self._parked:
            self._parked.discard(call.call_id)
            # Where nothing was asked for it, all that its agent asks has the ids of what others have asked.
            if any(asked.in_call == call.call_id for asked in self._run.approvals.asked.values()):
                return
        self._record(ToolFinished(call.call_id, call.full_name, outcome))

    def dropped(self, call: ToolCall, seconds: float) -> None:
        """See `Observer`. What comes after the run is counted in `thread_statistics` alone."""
        if not self._run.is_over:
            self._record(LateResultDropped(call.call_id, call.full_name, seconds))

    def _tools(self) -> Mapping[str, Tool]:
        tools = self._agent.tools_by_name
        if not self._run.calls.has_artifacts:
            return tools
        reader = read_artifact_tool()
        return {reader.name: reader, **tools}

    def _may_start(self, call: ToolCall) -> bool:
        tool = tool_for(call, self._agent.tools_by_name)
        if tool is None or not tool.early or call.is_async:
            return False
        outcomes = self._run.calls.outcomes
        if (
            call.call_id in self._begun
            or call.call_id in outcomes
            or call.call_id in self._run.calls.retracted
            or self._runs_async(call)
        ):
            return False
        if self._find(call) is not None:
            return False
        running = sum(call_id not in outcomes for call_id in self._begun)
        outstanding = len(self._run.calls.outstanding)
        if len(outcomes) + running + outstanding >= self._agent.limits.max_tool_calls:
            return False
        return asks_first(tool, call, self._setting.vault) is None

    def _runs_async(self, call: ToolCall) -> bool:
        """Whether a call that the model does not wait for has this one's id, and no outcome yet."""
        if self._nursery is None:
            return False
        return any(each.call_id == call.call_id for each in self._run.calls.outstanding)

    def _find(self, call: ToolCall) -> CallRun | None:
        """The same call of a response that was retracted."""
        wanted = (call.full_name, call.arguments)
        for call_id, begun in self._begun.items():
            if (
                call_id in self._run.calls.retracted
                and (begun.call.full_name, begun.call.arguments) == wanted
            ):
                return begun
        return None

    def _take_over(self, call: ToolCall) -> CallRun | None:
        found = self._find(call)
        if found is not None:
            del self._begun[found.call.call_id]
        return found

    def _refuse_id(self, call: ToolCall) -> None:
        self._finish(call, ToolOutcome("failed", _ID_USED, "invalid_arguments"), call.call_id)

    def _finish(self, call: ToolCall, outcome: ToolOutcome, reused_from: str) -> None:
        self._record(ToolFinished(call.call_id, call.full_name, outcome, reused_from))

    def _failed(self, failure: ToolFailedError) -> RunFailed:
        effects = self._run.calls.effects
        return RunFailed(
            f'{failure}; its tool, or the agent, says on_error="raise"',
            run_id=self._run.run_id,
            code="tool_failed",
            receipt=Receipt(
                sent="finished",
                effects=effects,
                next=safe_next(BOUNDARIES["finished"], server_effects=False, effects=effects),
            ),
        )

    def _check_repetitions(self) -> None:
        limit = self._agent.limits.repeated_failure
        name, count = self._run.calls.repeated_failures
        if count >= limit:
            raise LimitReached(
                f"the tool {name} failed {count} times in a row for the same arguments; raise repeated_failure in the"
                " agent's limits if that may help the task",
                which="repeated_failure",
                limit=limit,
                receipt=Receipt(sent="finished", effects=self._run.calls.effects, next="resume"),
            )
