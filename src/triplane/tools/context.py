"""What a tool may know about the call that it serves."""

from __future__ import annotations

import contextvars
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from triplane.core.artifacts import ArtifactStore
from triplane.core.records import ApprovalAsked, ApprovalGiven

if TYPE_CHECKING:
    from triplane.core.outcome import ToolCall

# When the call that this task works for is cut off. For helpers that the call has not been handed to.
call_deadline: contextvars.ContextVar[float] = contextvars.ContextVar(
    "triplane call deadline", default=math.inf
)

_logger = logging.getLogger("triplane.tools")


class AgentRunner(Protocol):
    """Whatever can run an agent: in a program, the engine that runs the calling tool."""

    async def run(
        self, agent: Any, run_input: Any, /, *, run_id: str | None = None, allow_changes: bool = False
    ) -> Any:
        """Run `agent` on `run_input` to its end and return the result; go on with the run of that id if there is one."""
        ...

    async def resume(
        self,
        run_id: str,
        agent: Any,
        /,
        *,
        allow_changes: bool = False,
        approve: Iterable[str] = (),
        deny: Mapping[str, str] | Iterable[str] = (),
    ) -> Any:
        """Go on with a parked run, with what was decided."""
        ...


@attrs.frozen
class Progress:
    """How far a call is. An async iterator may yield one instead of output; others call `ToolContext.progress`.

    Attributes:
        message: In words, at most 500 characters of them are kept.
        done: How much is done, in a unit of the tool's own.
        total: How much there is to do, in the same unit.
    """

    message: str = ""
    done: float | None = None
    total: float | None = None


class Ask(Protocol):
    """Asks a person what the run of another agent asks."""

    def __call__(self, questions: Sequence[ApprovalAsked], /) -> Sequence[ApprovalGiven] | None:
        """What was decided, one decision for each question, or None if something is open.

        Then the tool returns at once: its call has no outcome yet, and is made again when that is decided.
        """
        ...


class AskFor(Protocol):
    """An `Ask` for any call."""

    def __call__(
        self, call: ToolCall, questions: Sequence[ApprovalAsked], /
    ) -> Sequence[ApprovalGiven] | None:
        """See `Ask`."""
        ...


def ask_nobody(call: object, questions: Sequence[ApprovalAsked], /) -> Sequence[ApprovalGiven]:
    """What is decided where nobody can be asked."""
    del call
    return [ApprovalGiven(question.call_id, approved=False) for question in questions]


def _unheard(_progress: Progress) -> None:
    """Where progress goes that nobody follows."""


@attrs.frozen(kw_only=True)
class ToolContext:
    """The facts of one call, for the tool that asks for them.

    A tool asks by annotating a parameter with `ToolContext`; the model never sees that parameter.

    Attributes:
        run_id: The run whose model made the call.
        call_id: The id that the model gave the call.
        tool: The tool's name.
        idempotency_key: The same for every attempt at this call, in this process or a later one, and for
            no other call: hand it to whatever refuses to do a thing twice.
        deadline: When the call is cut off, in seconds of Trio's clock; `math.inf` for never.
        engine: Runs another agent, as a child of this call: cancelling the call cancels it.
        attempt: 1 for the first; see `ToolOptions.retries`.
        artifacts: Where long outputs of the run are kept, None if the ledger has no place for them.
        ask: Asks a person what another agent's run asks. For tools that are agents, see `Agent.as_tool`.
    """

    run_id: str
    call_id: str
    tool: str
    idempotency_key: str
    deadline: float
    engine: AgentRunner
    attempt: int = 1
    artifacts: ArtifactStore | None = None
    ask: Ask = attrs.field(default=partial(ask_nobody, None), repr=False, eq=False)
    report: Callable[[Progress], object] = attrs.field(default=_unheard, repr=False, eq=False)

    def seconds_left(self) -> float:
        """How many seconds are left until the deadline: 0 when it has passed, `math.inf` without one.

        Callable from the tool's task and, in a sync tool, from its thread.

        Raises:
            trio.Cancelled: Nobody waits for this thread any longer.
        """
        try:
            now = trio.current_time()
        except RuntimeError:  # not in Trio's thread
            now = trio.from_thread.run_sync(trio.current_time)
        return max(0.0, self.deadline - now)

    def progress(self, message: str = "", *, done: float | None = None, total: float | None = None) -> None:
        """Tell those who follow the run how far the call is. Not a checkpoint.

        Cheap: what comes faster than a few times a second is counted and not recorded. Once the call is over
        nothing is. Callable from the tool's task and, in a sync tool, from its thread.

        Raises:
            trio.Cancelled: Nobody waits for this thread any longer.
        """
        progress = Progress(message, done, total)
        if trio.lowlevel.in_trio_run():
            self.report(progress)
        else:
            trio.from_thread.run_sync(self.report, progress)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger named ``triplane.tools`` whose records carry `run_id`, `call_id` and `tool`."""
        return logging.LoggerAdapter(
            _logger, {"run_id": self.run_id, "call_id": self.call_id, "tool": self.tool}
        )
