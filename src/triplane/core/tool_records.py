"""What a run's log tells of its tool calls."""

from __future__ import annotations

from typing import ClassVar

import attrs

from .entry import LogEntry
from .outcome import EffectClass, ToolOutcome


def child_run_id(idempotency_key: str) -> str:
    """The id of the run that a call of an agent that is a tool drives: every attempt at the call goes on with it."""
    return f"run_{idempotency_key}"


@attrs.frozen(repr=False)
class ToolQueued(LogEntry):
    """A call was taken up. It starts as soon as its tool's limits and the engine's let it.

    Attributes:
        call_id: The call.
        name: The tool.
        early: Whether it starts before its response has ended.
    """

    type: ClassVar[str] = "triplane.tool_queued"
    call_id: str
    name: str
    early: bool = False


@attrs.frozen(repr=False)
class ToolStarted(LogEntry):
    """A tool's code is about to run: from here on its effect may have happened.

    Attributes:
        call_id: The call.
        name: The tool.
        arguments: The arguments as the model wrote them.
        effect: The tool's effect class.
        idempotency_key: The same for every execution of this call.
    """

    type: ClassVar[str] = "triplane.tool_started"
    call_id: str
    name: str
    arguments: str
    effect: EffectClass
    idempotency_key: str

    @property
    def child_run_id(self) -> str:
        """The id of the run that the call drives, if its tool is an agent."""
        return child_run_id(self.idempotency_key)


@attrs.frozen(repr=False)
class ToolProgress(LogEntry):
    """How far a running call is. It changes nothing, and there are only a few of them a second.

    Attributes:
        call_id: The call.
        name: The tool.
        bytes_produced: Bytes of output so far.
        message: What the tool says of it, at most 500 characters; may be empty.
        done: How much is done, in the tool's own unit; None if it does not say.
        total: How much there is to do, in the same unit; None if it does not say.
        skipped: How many reports there were since the one before, which came too fast to be recorded.
    """

    type: ClassVar[str] = "triplane.tool_progress"
    call_id: str
    name: str
    bytes_produced: int
    message: str = ""
    done: float | None = None
    total: float | None = None
    skipped: int = 0


@attrs.frozen(repr=False)
class ToolFinished(LogEntry):
    """A tool call has its one outcome.

    Attributes:
        call_id: The call.
        name: The tool.
        outcome: What became of it.
        reused_from: The call, of a response that was retracted, which had the same name and arguments and whose
            outcome this is; None if this call ran itself.
    """

    type: ClassVar[str] = "triplane.tool_finished"
    call_id: str
    name: str
    outcome: ToolOutcome
    reused_from: str | None = None


@attrs.frozen(repr=False)
class LateResultDropped(LogEntry):
    """The thread of a call that was cancelled or had timed out has ended; what it returned was dropped.

    Attributes:
        call_id: The call.
        name: The tool.
        seconds: How long after its outcome.
    """

    type: ClassVar[str] = "triplane.late_result_dropped"
    call_id: str
    name: str
    seconds: float
