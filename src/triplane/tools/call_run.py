"""One call on its way to its outcome: queued, run under its tool's limits, and reported once."""

from __future__ import annotations

import contextlib
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, final

import attrs
import trio

from triplane.core.artifacts import artifact_id
from triplane.core.outcome import ToolOutcome

from . import results
from .arguments import InvalidArgumentsError
from .content import masked_part
from .context import AgentRunner, AskFor, ToolContext, ask_nobody, call_deadline
from .kinds import Production, WrongPieceError
from .output import CallOutput, NotTextError
from .progress import ProgressMeter
from .secrets import UnknownSecretError, Vault, structured
from .tool import tool_for
from .workbench import Workbench, acquire, lent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triplane.core.artifacts import ArtifactStore, ArtifactWriter
    from triplane.core.outcome import FailureReason, OutcomeKind, ToolCall

    from .context import Progress
    from .options import FailurePolicy
    from .tool import Tool

_LONGEST_DELAY = 30.0
_no_scope = contextlib.suppress(*())  # catches nothing, as a scope that nobody cancels
_NEVER_STARTED = "The call was cancelled before it started."


class Observer(Protocol):
    """Whoever keeps the record of what the calls do. Of its methods only `starting` may wait."""

    def queued(self, call: ToolCall, tool: Tool) -> None:
        """Called when a call is taken up; not for unknown tools and unfit arguments."""
        ...

    async def starting(self, call: ToolCall, tool: Tool, idempotency_key: str) -> None:
        """Awaited before the tool's code starts, when its turn has come.

        If it raises, the tool does not start, and the other calls are cancelled.
        """
        ...

    def progress(self, call: ToolCall, progress: Progress, bytes_produced: int, skipped: int) -> None:
        """Called a few times a second at most, while the call runs."""
        ...

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Called exactly once for each call, as soon as its outcome is known.

        There is no checkpoint between the end of the tool's code and this.
        """
        ...

    def dropped(self, call: ToolCall, seconds: float) -> None:
        """Called when the thread of a call has ended so many seconds after the outcome; perhaps after the run."""
        ...


def idempotency_key(run_id: str, call_id: str) -> str:
    """32 hexadecimal digits: the same for every attempt at a call, in any process; for no other call."""
    ids = f"{len(run_id)}:{run_id}:{call_id}".encode(errors="surrogatepass")
    return hashlib.blake2b(ids, digest_size=16).hexdigest()


@attrs.frozen(kw_only=True)
class Setting:
    """What the calls of a run have in common.

    Attributes:
        run_id: The run, for the context and the idempotency keys.
        engine: What a tool's context runs other agents on.
        observer: Told what is queued, what starts and what ended.
        workbench: What they share with the calls of other runs. Default: nothing.
        ask: Asks a person what the run of another agent asks, on behalf of a call; see `ToolContext`.
        vault: What the masks in their arguments stand for. Default: nothing.
    """

    run_id: str
    engine: AgentRunner
    observer: Observer
    workbench: Workbench = attrs.field(factory=Workbench)
    ask: AskFor = ask_nobody
    vault: Vault = attrs.field(factory=Vault)

    @property
    def artifacts(self) -> ArtifactStore | None:
        """Where long outputs go."""
        return self.workbench.artifacts


@final
class CallRun:
    """One call. `run` is awaited once.

    Args:
        call: The call.
        tools: The tools there are, by name.
        setting: Where.
        is_alone: Whether nobody will `cancel` it: that saves a scope.

    Attributes:
        outcome: What became of it, None before that is known.
        error: The exception behind a failure, if there is one, and the tool has no secrets: its message and its
            traceback might show them.
        in_line: Set once it waits for its place, or does not need one.
        over: Set when `run` has ended, however.
        on_failure: Called once if the tool failed or was late; not for unknown tools and unfit arguments, which are the
            model's mistakes.
    """

    def __init__(
        self, call: ToolCall, tools: Mapping[str, Tool], setting: Setting, *, is_alone: bool = False
    ) -> None:
        self.call = call
        self.tool = tool_for(call, tools)
        self.outcome: ToolOutcome | None = None
        self.error: BaseException | None = None
        self.in_line = trio.Event()
        self.over = trio.Event()
        self.on_failure: Callable[[CallRun], object] | None = None
        self._tools = tools
        self._setting = setting
        self._scope = None if is_alone else trio.CancelScope()
        self._unwanted = ""
        self._queued: float | None = None
        self._started: float | None = None
        self._held: list[trio.CapacityLimiter] = []
        self._attempts = 0
        self._output: CallOutput | None = None
        self._content: list[Mapping[str, Any]] = []

    @property
    def needs_place(self) -> bool:
        """Whether it may have to wait for others."""
        return self.tool is not None and bool(self._setting.workbench.places(self.tool))

    @property
    def has_failed(self) -> bool:
        """Whether `on_failure` would have been called."""
        outcome = self.outcome
        if outcome is None or self._started is None:
            return False
        return outcome.kind in ("failed", "timed_out")

    def raises(self, policy: FailurePolicy) -> bool:
        """Whether it failed, and its tool or `policy` says that this ends the run."""
        return self.has_failed and ((self.tool and self.tool.on_error) or policy.on_error) == "raise"

    def cancel(self, why: str) -> None:
        """Nobody wants it any more. Its outcome is ``"cancelled"``, unless it ends before it hears. Not a checkpoint.

        Args:
            why: A sentence for the model.
        """
        assert self._scope is not None
        self._unwanted = why
        self._scope.cancel(reason=why)

    async def run(self) -> ToolOutcome:
        """Run it to its outcome.

        Raises:
            Exception: What the observer raised.
            BaseException: What the tool raised that is not an `Exception`.
        """
        try:
            with self._scope or _no_scope:
                # Whoever is cancelled already starts nothing.
                await trio.lowlevel.checkpoint()
                self.outcome = await self._outcome()
            if self.outcome is None:
                self.outcome = self._unfinished(None)
        except BaseException as error:
            self.outcome = self._unfinished(error)
            raise
        finally:
            assert self.outcome is not None
            if self._has_secrets:
                self.outcome = self._without_secrets(self.outcome)
                self.error = None
            try:
                self._setting.observer.finished(self.call, self.outcome)
                if self.on_failure is not None and self.has_failed:
                    self.on_failure(self)
            finally:
                # Only now: whoever gets the place may just have been told that nobody wants it any more.
                while self._held:
                    self._held.pop().release_on_behalf_of(self)
                self.in_line.set()
                self.over.set()
        return self.outcome

    async def _outcome(self) -> ToolOutcome:
        tool, call = self.tool, self.call
        if tool is None:
            name, other = call.full_name, self._tools.get(call.full_name)
            text = results.other_kind(name, other.kind) if other else results.unknown_tool(name, self._tools)
            return ToolOutcome("failed", text, "unknown_tool")
        try:
            arguments = structured(tool, call.arguments, self._setting.vault)
        except InvalidArgumentsError as error:
            return ToolOutcome("failed", results.invalid_arguments(error.lines), "invalid_arguments")
        except UnknownSecretError as error:
            return ToolOutcome("failed", results.unknown_secret(str(error)), "invalid_arguments")
        observer = self._setting.observer
        observer.queued(call, tool)
        self._queued = trio.current_time()
        # Whoever waits for this goes on once this task waits itself.
        self.in_line.set()
        places = self._setting.workbench.places(tool)
        for place in places:
            self._held.append(await acquire(place, self))
        key = idempotency_key(self._setting.run_id, call.call_id)
        await observer.starting(call, tool, key)
        with lent(places):
            return await self._execute(tool, arguments, key)

    async def _execute(self, tool: Tool, arguments: dict[str, Any], key: str) -> ToolOutcome:
        self._started = trio.current_time()
        scope = trio.CancelScope(relative_deadline=tool.timeout)
        # An artifact is written as it comes, before anybody knows what of it would have to be masked.
        has_place = self._setting.artifacts is not None and not self._has_secrets
        output = self._output = CallOutput(
            tool.max_output,
            tool.max_artifact,
            begin_artifact=self._begin_artifact if has_place else None,
            on_full=lambda: scope.cancel(reason="the output is full"),
        )
        meter = ProgressMeter(
            lambda *told: self._setting.observer.progress(self.call, *told), lambda: output.bytes_produced
        )
        output.on_growth = meter.grew
        failure: BaseException | None = None
        value: Any = None
        try:
            with scope:
                token = call_deadline.set(scope.deadline)
                try:
                    value = await self._attempt(tool, arguments, key, scope.deadline, meter)
                finally:
                    call_deadline.reset(token)
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
        finally:
            meter.end()
            output.close()
        # Not `cancelled_caught`: a tool may have swallowed the cancellation, or never met a checkpoint. The deadline
        # is ours alone, so a TooSlowError of the tool's own making is not mistaken for this.
        if trio.current_time() >= scope.deadline:
            text = results.timed_out(tool.timeout, harmless=tool.effect == "read")
            return self._ended("timed_out", results.with_output(text, output.text()))
        if output.is_full:
            text = (
                f"{output.text()}{output.line_break()}[stopped: more than {output.enough:,} bytes of output]"
            )
            return self._ended("truncated", text)
        if failure is not None:
            return self._failed(tool, failure, output)
        return self._succeeded(tool, value, output)

    async def _attempt(
        self, tool: Tool, arguments: dict[str, Any], key: str, deadline: float, meter: ProgressMeter
    ) -> Any:
        """Run the tool's code, again if need be. The arguments of each attempt are its own."""
        assert self._output is not None
        while True:
            self._attempts += 1
            context = ToolContext(
                run_id=self._setting.run_id,
                call_id=self.call.call_id,
                tool=tool.full_name,
                idempotency_key=key,
                deadline=deadline,
                engine=self._setting.engine,
                attempt=self._attempts,
                artifacts=self._setting.artifacts,
                report=self._reporter(meter),
                ask=partial(self._setting.ask, self.call),
            )
            given = arguments
            if tool.arguments.context is not None:
                given = arguments.copy()
                given[tool.arguments.context] = context
            self._content = []
            production = Production(
                context=context, output=self._output, on_late=self._dropped, content=self._content
            )
            try:
                return await tool.producer(given, production)
            except tool.retry_on:
                if self._attempts > tool.retries:
                    raise
            # Whole checkpoints: deadlines are looked at by the scheduler only.
            await trio.sleep(self._delay(tool, key))
            self._output.restart()
            arguments = structured(tool, self.call.arguments, self._setting.vault)

    @property
    def _has_secrets(self) -> bool:
        return self.tool is not None and bool(self.tool.secrets)

    def _masked(self, text: str) -> str:
        return self._setting.vault.masked(text, self.call.arguments) if self._has_secrets else text

    def _without_secrets(self, outcome: ToolOutcome) -> ToolOutcome:
        content = outcome.content and tuple(masked_part(part, self._masked) for part in outcome.content)
        return attrs.evolve(outcome, output=self._masked(outcome.output), content=content)

    def _reporter(self, meter: ProgressMeter) -> Callable[[Progress], object]:
        if not self._has_secrets:
            return meter.report
        masked, arguments = self._setting.vault.masked, self.call.arguments
        return lambda progress: meter.report(
            attrs.evolve(progress, message=masked(str(progress.message), arguments))
        )

    def _delay(self, tool: Tool, key: str) -> float:
        # Calls that failed together do not come back together: the factor is the call's own.
        jitter = 0.75 + int(key[:4], 16) / 0xFFFF / 4
        return min(_LONGEST_DELAY, tool.retry_delay * 2.0 ** (self._attempts - 1)) * jitter

    def _failed(self, tool: Tool, failure: BaseException, output: CallOutput) -> ToolOutcome:
        self.error = failure
        if isinstance(failure, NotTextError | WrongPieceError):
            text = results.with_output(f"The tool ran, but {results.cap(str(failure))}", output.text())
            return self._ended("failed", text, "invalid_result")
        hidden = tool.hide_errors if isinstance(tool.hide_errors, tuple) else (tool.hide_errors,)
        text = results.failed(failure, tool.error_text, hidden, self._masked)
        return self._ended("failed", results.with_output(text, output.text()), "exception")

    def _succeeded(self, tool: Tool, value: Any, output: CallOutput) -> ToolOutcome:
        if (flaw := results.flaw_of(self._content)) is not None:
            self.error = results.InvalidResultError(flaw)
            return self._ended("failed", f"The tool ran, but {flaw}", "invalid_result")
        if output.was_written:
            rendered = results.drain(output)
        else:
            try:
                rendered = results.render(value, tool.max_output, output)
            except results.InvalidResultError as error:
                self.error = error
                text = results.cap(results.clean(str(error), self._masked))
                return self._ended("failed", f"The tool ran, but {text}", "invalid_result")
            finally:
                output.close()
        produced, kept = rendered.bytes_produced, rendered.bytes_kept
        return self._ended("ok" if kept == produced else "truncated", rendered.text, None, rendered)

    def _ended(
        self,
        kind: OutcomeKind,
        text: str,
        reason: FailureReason | None = None,
        rendered: results.Rendered | None = None,
    ) -> ToolOutcome:
        """The outcome of a call whose code ran. What it produced is what was `rendered`, else what was written."""
        assert self._started is not None
        assert self._queued is not None
        output = self._output
        measured = rendered or output
        # An answer that cannot be written would be found out by the next request, and end the run.
        content = () if results.flaw_of(self._content) else tuple(self._content)
        return ToolOutcome(
            kind,
            text,
            reason,
            trio.current_time() - self._started,
            0 if measured is None else measured.bytes_produced,
            0 if measured is None else measured.bytes_kept,
            queue_seconds=self._started - self._queued,
            attempts=self._attempts,
            artifact=None if output is None else output.artifact_id,
            content=content or (None if rendered is None else rendered.content),
        )

    def _unfinished(self, error: BaseException | None) -> ToolOutcome:
        """The outcome of a call that ended by something that goes on: a cancellation, or what stops programs."""
        if self._started is None:
            queued = 0.0 if self._queued is None else trio.current_time() - self._queued
            return ToolOutcome("cancelled", self._unwanted or _NEVER_STARTED, queue_seconds=queued)
        assert self.tool is not None
        harmless = self.tool.effect == "read"
        if error is None or _is_cancellation(error):
            return self._ended("cancelled", results.cancelled(self._unwanted, harmless=harmless))
        return self._ended("failed", results.stopped(error, self._masked, harmless=harmless), "exception")

    def _begin_artifact(self) -> ArtifactWriter:
        store, run_id = self._setting.artifacts, self._setting.run_id
        assert store is not None
        return store.create(run_id, artifact_id(run_id, self.call.call_id))

    def _dropped(self) -> None:
        assert self._started is not None
        outcome = self.outcome
        ended = self._started + (0.0 if outcome is None else outcome.seconds)
        self._setting.observer.dropped(self.call, trio.current_time() - ended)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
