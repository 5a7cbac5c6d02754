"""Runs the commands of shell calls in a workspace, and tells of each what it wrote and how it ended."""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.answers import NOT_RUN, shell_entry
from triplane.tools.context import call_deadline
from triplane.tools.output import CallOutput
from triplane.tools.process import supervise
from triplane.tools.sink import Sink
from triplane.tools.threads import run_in_thread
from triplane.tools.workspace.commands import Commands
from triplane.tools.workspace.files import Files

from .declare import ACTION

if TYPE_CHECKING:
    from typing import Any

    from triplane.protocol import LocalShellAction, ShellAction
    from triplane.tools.kinds import Production

# What a line about what was cut takes at most.
_MARKER = 160
_KILLED = 128 + 9


@final
@attrs.frozen
class Budget:
    """How much of a call's output the model gets: `max_output` bytes for all, and no more characters than it asked for.

    What one command leaves over is for those after it.
    """

    left: int
    limit: int | None

    @classmethod
    def of(cls, production: Production, limit: int | None) -> Budget:
        """The whole of a call's."""
        return cls(production.output.max_output, limit)

    def sinks(self, commands_left: int) -> tuple[Sink, Sink]:
        """What the next command may write to: three quarters are for its stdout."""
        share = self.left // commands_left
        if self.limit is not None:
            share = min(share, max(self.limit - 2 * _MARKER, self.limit // 2))
        errors = share // 4
        return Sink(max(1, share - errors)), Sink(max(1, errors))

    def cut(self, stdout: str, stderr: str) -> tuple[str, str]:
        """Both within what the model asked for, the lines about cuts included."""
        if self.limit is None:
            return stdout, stderr
        stderr = stderr[: self.limit]
        return stdout[: self.limit - len(stderr)], stderr

    def after(self, *sinks: Sink) -> Budget:
        """What is left behind a command."""
        return attrs.evolve(self, left=max(0, self.left - sum(sink.bytes_kept for sink in sinks)))


@final
@attrs.frozen
class _Both:
    """Writes to what the model gets of a stream, and to what is kept of the call."""

    sink: Sink
    output: CallOutput

    def write(self, data: bytes) -> bool:
        self.sink.write(data)
        return self.output.write(data)


@final
@attrs.frozen
class RunsShell:
    """Runs the commands of a ``shell_call``, one after the other, each in a shell of its own."""

    commands: Commands

    async def __call__(self, arguments: dict[str, Any], production: Production) -> None:
        """See `Producer`."""
        action: ShellAction = arguments[ACTION]
        output = production.output
        output.write("")
        budget = Budget.of(production, action.max_output_length)
        deadline = _deadline(action.timeout_ms)
        for place, command in enumerate(action.commands):
            if trio.current_time() >= deadline:
                break
            if len(action.commands) > 1:
                output.write(f"{output.line_break()}$ {command}\n")
            sinks = budget.sinks(len(action.commands) - place)
            try:
                line = self.commands.line(command)
            except (PermissionError, ValueError) as error:
                await trio.lowlevel.checkpoint()
                _refuse(production, str(error))
                continue
            environment = self.commands.environment_with({})
            one = _OneCommand(line, self.commands.root, environment, deadline)
            await one.run(production, *sinks, budget)
            budget = budget.after(*sinks)
        await trio.lowlevel.checkpoint()


@final
@attrs.frozen
class RunsLocalShell:
    """Runs the command of a ``local_shell_call``."""

    commands: Commands
    files: Files

    async def __call__(self, arguments: dict[str, Any], production: Production) -> None:
        """See `Producer`.

        Raises:
            PermissionError: The user, or the environment, is not what the command may have.
        """
        action: LocalShellAction = arguments[ACTION]
        production.output.write("")
        if action.user is not None and action.user != pwd.getpwuid(os.getuid()).pw_name:
            raise PermissionError(
                f"no command can be run as the user {action.user!r} here; leave the user out"
            )
        where = self.commands.root
        if action.working_directory is not None:
            inside = functools.partial(self.files.inside, action.working_directory)
            where = os.path.join(where, await run_in_thread(inside, name="local_shell"))  # noqa: PTH118  # as text, like the root
        budget = Budget.of(production, None)
        one = _OneCommand(
            self.commands.words(action.command),
            where,
            self.commands.environment_with(action.env),
            _deadline(action.timeout_ms),
        )
        await one.run(production, *budget.sinks(1), budget)


@final
@attrs.frozen
class _OneCommand:
    """One command on its way to its entry in the answer, which it gets however it ends."""

    line: Sequence[str]
    where: str
    environment: Mapping[str, str] = attrs.field(repr=False)
    deadline: float

    async def run(self, production: Production, stdout: Sink, stderr: Sink, budget: Budget) -> None:
        output = production.output
        status: int | None = None
        refusal = ""
        scope = trio.CancelScope(deadline=self.deadline)
        try:
            with scope:
                # The group is asked to end at whichever deadline is the first.
                token = call_deadline.set(min(self.deadline, call_deadline.get()))
                try:
                    status = await supervise(
                        self.line,
                        [_Both(stdout, output), _Both(stderr, output)],
                        cwd=self.where,
                        env=self.environment,
                    )
                except (OSError, ValueError) as error:
                    refusal = f"it could not be started: {error}"
                finally:
                    call_deadline.reset(token)
        finally:
            # Started and without a status, it was killed: for its time, what it wrote, or as nobody wants the call.
            note = ""
            exit_code: int | None
            if status is not None:
                exit_code = status if status >= 0 else 128 - status
            elif refusal:
                exit_code, note = NOT_RUN, refusal
            elif trio.current_time() >= min(self.deadline, production.context.deadline):
                exit_code, note = None, "[timed out]"
            else:
                exit_code, note = _KILLED, "[killed: the call was cancelled]"
            if output.is_full and not refusal:
                exit_code, note = _KILLED, f"[killed: more than {output.enough:,} bytes of output]"
            words = note or (f"[exit status {exit_code}]" if exit_code else "")
            if words and not output.is_full:
                output.write(f"{output.line_break()}{words}\n")
            if note:
                stderr.write(f"{'' if stderr.ends_line() else chr(10)}{note}\n".encode())
            where = output.where()
            texts = budget.cut(stdout.text(where), stderr.text(where))
            production.content.append(shell_entry(*texts, exit_code))


def _refuse(production: Production, why: str) -> None:
    output = production.output
    output.write(f"{output.line_break()}{why}\n")
    production.content.append(shell_entry("", why, NOT_RUN))


def _deadline(timeout_ms: int | None) -> float:
    """By when all commands of a call are to have ended, as the model wishes. What is no time is no wish."""
    if timeout_ms is None or timeout_ms <= 0:
        return float("inf")
    return trio.current_time() + timeout_ms / 1000
