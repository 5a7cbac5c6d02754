"""Runs the tool calls of one response, all at once, and says what a failed one does to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from . import results
from .call_run import CallRun
from .options import FailurePolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triplane.core.outcome import ToolCall, ToolOutcome

    from .call_run import Setting
    from .tool import Tool

_REPORTED = FailurePolicy()


class ToolFailedError(Exception):
    """A call failed whose tool, or agent, says ``on_error="raise"``. What the tool raised is the ``__cause__``.

    Attributes:
        call: The call.
        outcome: Its outcome.
    """

    def __init__(self, call: ToolCall, outcome: ToolOutcome) -> None:
        super().__init__(f"the tool {call.full_name} failed: {outcome.output}")
        self.call = call
        self.outcome = outcome


async def run_calls(
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool],
    setting: Setting,
    *,
    policy: FailurePolicy = _REPORTED,
    begun: Mapping[str, CallRun] | None = None,
) -> tuple[ToolOutcome, ...]:
    """Run `calls`, all at once, and return their outcomes in the same order.

    Each call waits for a place where its tool or the engine limits how many run at once, and then runs under its
    tool's timeout; its output is capped. Whatever goes wrong with one call is its outcome, a sentence for the model: an
    unknown tool, arguments that do not fit, an `Exception` (or a group of nothing else), a result that is not text
    or JSON, a timeout. It does not disturb the others unless its tool, or `policy`, says so. A call whose deadline has
    passed is timed out even if its tool swallowed the cancellation and returned something.

    Args:
        calls: The calls of one response.
        tools: The tools there are, by name.
        setting: What they have in common with the other calls of the run.
        policy: What a failed call does where its tool does not say.
        begun: What runs already, in tasks of somebody else's, by the ids of the calls that get its outcome. It is
            waited for.

    Raises:
        ToolFailedError: A call failed, and its tool or `policy` says ``on_error="raise"``. All calls have their
            outcomes.
        Exception: What the setting's observer raised: as it is, or, if it raised more than once, in a group.
        BaseException: What a tool raised that is not an `Exception`, such as `SystemExit`; in a group if there are
            several calls. The other calls are cancelled.

    Cancellation: cancels every call that has not ended; the observer is told of each before `trio.Cancelled`
    is raised. An outcome that the observer was told is final. Checkpoints: always.
    """
    begun = {} if begun is None else begun
    is_alone = len(calls) == 1
    runs = [begun.get(call.call_id) or CallRun(call, tools, setting, is_alone=is_alone) for call in calls]
    fresh = [run for call, run in zip(calls, runs, strict=True) if call.call_id not in begun]
    siblings = _Siblings(runs, policy)
    if not runs:
        await trio.lowlevel.checkpoint()
    elif is_alone and fresh:
        await runs[0].run()
    else:
        await _run_all(fresh)
        for run in runs:
            await run.over.wait()
    if siblings.raises is not None:
        assert siblings.raises.outcome is not None
        raise ToolFailedError(siblings.raises.call, siblings.raises.outcome) from siblings.raises.error
    return tuple(run.outcome for run in runs if run.outcome is not None)


async def _run_all(runs: Sequence[CallRun]) -> None:
    lone: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            for run in runs:
                nursery.start_soon(run.run, name=f"tool {run.call.full_name[:64]}")
                if run.needs_place:
                    # Tasks begin in any order; calls that have to wait do so in the model's.
                    await run.in_line.wait()
    except ExceptionGroup as group:  # never with a Cancelled inside; only an observer raises Exceptions
        lone, *others = group.exceptions
        if others:
            raise
    if lone is not None:  # out here, where the group does not become its context
        raise lone


@final
class _Siblings:
    """The calls of one response, and what the failure of one does to the others."""

    def __init__(self, runs: Sequence[CallRun], policy: FailurePolicy) -> None:
        self.raises: CallRun | None = None
        self._runs = runs
        self._policy = policy
        for run in runs:
            run.on_failure = self._failed
        for run in runs:
            if run.has_failed:  # one that had begun
                self._failed(run)

    def _failed(self, failed: CallRun) -> None:
        tool = failed.tool
        assert tool is not None
        if failed.raises(self._policy):
            self.raises = self.raises or failed
        if (tool.siblings or self._policy.siblings) == "cancel":
            for run in self._runs:
                if run is not failed and run.outcome is None:
                    run.cancel(results.sibling_failed(failed.call.full_name))
