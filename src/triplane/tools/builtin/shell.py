"""The tools ``shell`` and ``local_shell``: the model's commands, run by a workspace or by a handler."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Unpack, final

import attrs

from triplane.core.answers import shell_entry
from triplane.core.errors import ConfigError
from triplane.tools.kinds import WrongPieceError
from triplane.tools.workspace.commands import CommandLimits, Commands
from triplane.tools.workspace.files import Files
from triplane.tools.workspace.scan.confined import Confined

from .commands import Budget, RunsLocalShell, RunsShell
from .declare import ACTION, ReadsAction, checked_handler, declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from triplane.protocol import LocalShellAction, ShellAction
    from triplane.tools.context import ToolContext
    from triplane.tools.kinds import Producer, Production
    from triplane.tools.options import ToolOptions
    from triplane.tools.sink import Sink
    from triplane.tools.tool import Tool


# On Windows an exit status has 32 bits.
_LARGEST_STATUS = 2**32


@attrs.frozen
class CommandOutput:
    """What one command of a shell call did.

    Attributes:
        stdout: What it wrote there.
        stderr: And there.
        exit_code: How it ended; None if it ran out of time.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = 0


class ShellHandler(Protocol):
    """Runs the commands of a shell call somewhere else, in a container say."""

    async def __call__(self, action: ShellAction, context: ToolContext, /) -> Sequence[CommandOutput]:
        """Run ``action.commands`` and return what each of them did, in order.

        A command for which nothing is returned is told to be not run.

        Raises:
            Exception: None of them could be run.
        """
        ...


class LocalShellHandler(Protocol):
    """Runs the command of a local shell call somewhere else."""

    async def __call__(self, action: LocalShellAction, context: ToolContext, /) -> CommandOutput:
        """Run ``action.command``, a list of words, and return what it did.

        Raises:
            Exception: It could not be run.
        """
        ...


def shell_tool(
    path: str | os.PathLike[str] | None = None,
    *,
    commands: bool | Iterable[str] = True,
    limits: CommandLimits | None = None,
    environment: Mapping[str, str] | None = None,
    handler: ShellHandler | None = None,
    **options: Unpack[ToolOptions],
) -> Tool:
    """The API's ``shell`` tool, run here: several commands in a call, each with an exit status, stdout and stderr.

    The commands run one after the other in the directory `path`, like those of a workspace's ``run_command``, which says
    what is protected and what is not: the directory is where they begin, and not where they end. What the model says of
    time (``timeout_ms``, for all commands of a call) and of output (``max_output_length``, in characters, for each) can
    make the tool's own limits narrower and not wider. A command that runs out of time has the outcome ``timeout``; those
    after it are not run.

    Args:
        path: An existing directory.
        commands: What the model may run: True for any line of a shell; a list of commands, such as
            ``["pytest", "git diff"]``, for those that begin with the same words, without a shell.
        limits: What a command may use; default: `CommandLimits()`.
        environment: Variables for the commands, besides the few that are passed on.
        handler: Runs the commands instead, and nothing else is to be given then but options.
        options: See `ToolOptions`. The default of `timeout` is that of `limits`.

    Raises:
        ConfigError: Neither a directory nor a handler is given, or both are; or a command is not there.
    """
    producer: Producer
    if handler is not None:
        _refuse_others("shell", path, limits, environment, commands=commands)
        producer = HandlesShell(checked_handler("shell", handler))
    else:
        limits = CommandLimits() if limits is None else limits
        options.setdefault("timeout", limits.timeout)
        producer = RunsShell(_commands("shell", path, commands, limits, environment))
    reads = ReadsAction(
        "shell_call",
        "action",
        '{"commands": [a text, …]}',
        lambda item: item.action if item.action.commands else None,
    )
    return declared(
        "shell_call", "shell", {"type": "shell", "environment": {"type": "local"}}, reads, producer, options
    )


def local_shell_tool(
    path: str | os.PathLike[str] | None = None,
    *,
    commands: bool | Iterable[str] = True,
    limits: CommandLimits | None = None,
    environment: Mapping[str, str] | None = None,
    handler: LocalShellHandler | None = None,
    **options: Unpack[ToolOptions],
) -> Tool:
    """The API's older tool ``local_shell``, run here: one command, as a list of words, in a call.

    Like `shell_tool`. Besides, the model may say where in the directory a command begins (``working_directory``) and
    which variables it has (``env``). With a list of `commands` no variables are taken, since many a program does as they
    say; and no other user than this process's own is.

    Args:
        path: As for `shell_tool`, like all that follows.
        commands: See there; True: any words.
        limits: See there.
        environment: See there.
        handler: See there.
        options: See there.

    Raises:
        ConfigError: As `shell_tool` does.
    """
    producer: Producer
    if handler is not None:
        _refuse_others("local_shell", path, limits, environment, commands=commands)
        producer = HandlesLocalShell(checked_handler("local_shell", handler))
    else:
        limits = CommandLimits() if limits is None else limits
        options.setdefault("timeout", limits.timeout)
        found = _commands("local_shell", path, commands, limits, environment)
        producer = RunsLocalShell(found, Files(Confined(found.root, os.path.abspath(path or "."))))  # noqa: PTH100  # as in `workspace`
    reads = ReadsAction(
        "local_shell_call",
        "action",
        '{"type": "exec", "command": [a text, …], "env": {}}',
        lambda item: item.action if item.action.type == "exec" and item.action.command else None,
    )
    return declared("local_shell_call", "local_shell", {"type": "local_shell"}, reads, producer, options)


def _commands(
    name: str,
    path: str | os.PathLike[str] | None,
    commands: bool | Iterable[str],  # noqa: FBT001  # as the caller was given it
    limits: CommandLimits,
    environment: Mapping[str, str] | None,
) -> Commands:
    if path is None:
        raise ConfigError(f"the tool {name!r} needs a directory to run commands in, or a handler=")
    root = os.path.realpath(path)
    if not Path(root).is_dir():
        raise ConfigError(f"the directory {os.fspath(path)!r} of the tool {name!r} is not a directory")
    if commands is False:
        raise ConfigError(f"the tool {name!r} runs commands; commands= takes True or a list of them")
    return Commands.of(root, None if commands is True else commands, limits, environment or {})


def _refuse_others(name: str, *others: object, commands: object) -> None:
    if commands is not True or any(each is not None for each in others):
        raise ConfigError(
            f"the tool {name!r} has a handler=, which runs the commands; give nothing about how they are run"
        )


@final
@attrs.frozen
class HandlesShell:
    """Has a handler run the commands of a ``shell_call``."""

    handler: ShellHandler

    async def __call__(self, arguments: dict[str, Any], production: Production) -> None:
        """See `Producer`."""
        action: ShellAction = arguments[ACTION]
        results: object = await self.handler(action, production.context)
        if isinstance(results, str | bytes) or not isinstance(results, Sequence):
            raise WrongPieceError(f"it returned a {type(results).__name__}; return a list of CommandOutput")
        _take(results[: len(action.commands)], production, action.max_output_length)


@final
@attrs.frozen
class HandlesLocalShell:
    """Has a handler run the command of a ``local_shell_call``."""

    handler: LocalShellHandler

    async def __call__(self, arguments: dict[str, Any], production: Production) -> None:
        """See `Producer`."""
        _take([await self.handler(arguments[ACTION], production.context)], production, None)


def _take(results: Sequence[Any], production: Production, limit: int | None) -> None:
    """Put what commands did into the answer to their call, within its limits."""
    for result in results:  # before any is taken: those behind the wrong one would be told to be not run
        if not isinstance(result, CommandOutput):
            raise WrongPieceError(f"it returned a {type(result).__name__}; return a CommandOutput")
        _check(result)
    budget, output = Budget.of(production, limit), production.output
    output.write("")
    for place, result in enumerate(results):
        sinks = budget.sinks(len(results) - place)
        for sink, text in zip(sinks, (result.stdout, result.stderr), strict=True):
            output.write(text)
            _fill(sink, text)
        texts = budget.cut(*(sink.text(output.where()) for sink in sinks))
        production.content.append(shell_entry(*texts, result.exit_code))
        budget = budget.after(*sinks)


def _check(result: Any) -> None:
    for name in ("stdout", "stderr"):
        if not isinstance(text := getattr(result, name), str):
            raise WrongPieceError(
                f"it returned a CommandOutput whose {name} is of type {type(text).__name__}; give it as str"
            )
    status = result.exit_code
    if status is not None and (type(status) is not int or abs(status) > _LARGEST_STATUS):
        raise WrongPieceError(
            "it returned a CommandOutput whose exit_code is not an exit status; give an int or None"
        )


def _fill(sink: Sink, text: str) -> None:
    sink.write(text.encode(errors="replace"))
