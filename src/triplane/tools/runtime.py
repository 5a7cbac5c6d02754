"""Runs the tool calls of one response, each under its own deadline and within its own budget."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Protocol

import trio

from triplane.core.outcome import ToolOutcome

from . import results
from .arguments import InvalidArgumentsError
from .context import ToolContext
from .threads import run_in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triplane.core.outcome import ToolCall

    from .context import AgentRunner
    from .tool import Tool


class Observer(Protocol):
    """Whoever keeps the record of what the calls do."""

    async def starting(self, call: ToolCall, tool: Tool, idempotency_key: str) -> None:
        """Awaited before the tool's code starts; not called for unknown tools and unfit arguments.

        If it raises, the tool does not start, and the other calls are cancelled.
        """
        ...

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Called exactly once for each call, as soon as its outcome is known.

        There is no checkpoint between the end of the tool's code and this.
        """
        ...


def idempotency_key(run_id: str, call_id: str) -> str:
    """32 hexadecimal digits: the same for every attempt at a call, in any process; for no other call."""
    ids = f"{len(run_id)}:{run_id}:{call_id}".encode(errors="surrogatepass")
    return hashlib.blake2b(ids, digest_size=16).hexdigest()


async def run_calls(
    calls: Sequence[ToolCall],
    tools: Mapping[str, Tool],
    *,
    run_id: str,
    engine: AgentRunner,
    observer: Observer,
) -> tuple[ToolOutcome, ...]:
    """Run `calls`, all at once, and return their outcomes in the same order.

    Each call runs under its tool's timeout and its output is capped at its tool's `max_output`. Whatever goes wrong
    with one call is its outcome, a sentence for the model, and does not disturb the others: an unknown tool,
    arguments that do not fit, an `Exception` (or a group of nothing else), a result that is not text or JSON, a
    timeout. A call whose deadline has passed is timed out even if its tool swallowed the cancellation and returned
    something.

    Args:
        calls: The calls of one response.
        tools: The tools there are, by name.
        run_id: The run, for the context and the idempotency keys.
        engine: What a tool's context runs other agents on.
        observer: Told what starts and what ended.

    Raises:
        Exception: What `observer` raised: as it is, or, if it raised more than once, in a group.
        BaseException: What a tool raised that is not an `Exception`, such as `SystemExit`; in a group if there are
            several calls. The other calls are cancelled.

    Cancellation: cancels every call that has not ended; the observer is told of each before `trio.Cancelled`
    is raised. An outcome that the observer was told is final. Checkpoints: always.
    """
    runs = [_Run(call, tools.get(call.name), run_id, engine, observer) for call in calls]
    if not runs:
        await trio.lowlevel.checkpoint()
        return ()
    if len(runs) == 1:
        return (await runs[0].run(tools),)
    outcomes: dict[int, ToolOutcome] = {}

    async def run_one(position: int) -> None:
        outcomes[position] = await runs[position].run(tools)

    lone: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            for position, call in enumerate(calls):
                nursery.start_soon(run_one, position, name=f"tool {call.name[:64]}")
    except ExceptionGroup as group:  # never with a Cancelled inside; only an observer raises Exceptions
        lone, *others = group.exceptions
        if others:
            raise
    if lone is not None:  # out here, where the group does not become its context
        raise lone
    return tuple(outcomes[position] for position in range(len(calls)))


class _Run:
    """One call on its way to its outcome."""

    __slots__ = ("call", "engine", "observer", "run_id", "started", "tool")

    def __init__(
        self, call: ToolCall, tool: Tool | None, run_id: str, engine: AgentRunner, observer: Observer
    ) -> None:
        self.call = call
        self.tool = tool
        self.run_id = run_id
        self.engine = engine
        self.observer = observer
        self.started: float | None = None

    async def run(self, tools: Mapping[str, Tool]) -> ToolOutcome:
        try:
            # Whoever is cancelled already starts nothing.
            await trio.lowlevel.checkpoint()
            outcome = await self._outcome(tools)
        except BaseException as error:
            self.observer.finished(self.call, self._unfinished(error))
            raise
        self.observer.finished(self.call, outcome)
        return outcome

    async def _outcome(self, tools: Mapping[str, Tool]) -> ToolOutcome:
        tool = self.tool
        if tool is None:
            return ToolOutcome("failed", results.unknown_tool(self.call.name, tools), "unknown_tool")
        try:
            arguments = tool.arguments.structure(self.call.arguments)
        except InvalidArgumentsError as error:
            return ToolOutcome("failed", results.invalid_arguments(error.lines), "invalid_arguments")
        key = idempotency_key(self.run_id, self.call.call_id)
        await self.observer.starting(self.call, tool, key)
        return await self._execute(tool, arguments, key)

    async def _execute(self, tool: Tool, arguments: dict[str, Any], key: str) -> ToolOutcome:
        self.started = trio.current_time()
        failure: BaseException | None = None
        value: Any = None
        scope = trio.CancelScope(relative_deadline=tool.timeout)
        try:
            with scope:
                if tool.arguments.context is not None:
                    arguments[tool.arguments.context] = ToolContext(
                        run_id=self.run_id,
                        call_id=self.call.call_id,
                        tool=tool.name,
                        idempotency_key=key,
                        deadline=scope.deadline,
                        engine=self.engine,
                    )
                value = await _attempt(tool, arguments)
        except Exception as error:  # noqa: BLE001  (data for the model)
            failure = error
        except BaseExceptionGroup as group:
            # A nursery in the tool was cancelled from outside (or saw a SystemExit) and had other errors besides:
            # those are the tool's, and would be an ordinary failure, so only the rest goes on.
            errors, rest = group.split(Exception)
            if errors is None:
                raise
            if rest is not None:
                raise rest from group
            failure = group  # of a class of its own, and nothing but Exceptions in it
        ended = trio.current_time()
        seconds = ended - self.started
        # Not `cancelled_caught`: a tool may have swallowed the cancellation, or never met a checkpoint. The deadline
        # is ours alone, so a TooSlowError of the tool's own making is not mistaken for this.
        if ended >= scope.deadline:
            text = results.timed_out(tool.timeout, harmless=tool.effect == "read")
            return ToolOutcome("timed_out", text, seconds=seconds)
        if failure is not None:
            text = f"The tool failed. {results.describe_error(failure)}"
            return ToolOutcome("failed", text, "exception", seconds)
        try:
            rendered = results.render(value, tool.max_output)
        except results.InvalidResultError as error:
            text = f"The tool ran, but {results.cap(str(error))}"
            return ToolOutcome("failed", text, "invalid_result", seconds)
        produced, kept = rendered.bytes_produced, rendered.bytes_kept
        return ToolOutcome(
            "ok" if kept == produced else "truncated", rendered.text, None, seconds, produced, kept
        )

    def _unfinished(self, error: BaseException) -> ToolOutcome:
        """The outcome of a call that ended by something that goes on: a cancellation, or what stops programs."""
        seconds = 0.0 if self.started is None else trio.current_time() - self.started
        if self.started is None:
            return ToolOutcome("cancelled", "The call was cancelled before it started.")
        if _is_cancellation(error):
            return ToolOutcome("cancelled", "The call was cancelled before it ended.", seconds=seconds)
        text = f"The tool stopped the program. {results.describe_error(error)}"
        return ToolOutcome("failed", text, "exception", seconds)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


async def _attempt(tool: Tool, arguments: dict[str, Any]) -> Any:
    for left in reversed(range(tool.retries + 1)):
        try:
            if tool.is_async:
                return await tool.function(**arguments)
            return await run_in_thread(
                functools.partial(tool.function, **arguments), name=f"tool {tool.name}"
            )
        except Exception:
            if not left:
                raise
        # A whole one: deadlines are looked at by the scheduler only.
        await trio.lowlevel.checkpoint()
    raise AssertionError
