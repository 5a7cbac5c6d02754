"""Tools that are commands: a function says which, and its output is what the model gets."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

import attrs

from triplane.core.errors import ConfigError

from .kinds import is_generator
from .options import ToolOptions, checked
from .process import Stderr, supervise
from .sink import Sink
from .tool import FunctionTool, Tool, check_name, described

if TYPE_CHECKING:
    from .kinds import Production

P = ParamSpec("P")
R = TypeVar("R", bound="str | Sequence[str] | Command")


@attrs.frozen
class Command:
    """What a process tool runs.

    Attributes:
        line: A program and its arguments (a sequence), or a line for ``/bin/sh`` (a str): into that no argument of the
            model's may go unquoted.
        cwd: Where; default: the current directory.
        env: Its environment; default: this process's own, with every key that is in it.
        stdin: What it can read; default: nothing.
    """

    line: str | Sequence[str]
    cwd: str | os.PathLike[str] | None = attrs.field(default=None, kw_only=True)
    env: Mapping[str, str] | None = attrs.field(default=None, kw_only=True, repr=False)
    stdin: bytes | None = attrs.field(default=None, kw_only=True, repr=False)


class ExitStatusError(Exception):
    """A command ended with another status than 0, and its tool was declared with ``check=True``."""


@overload
def process_tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    stderr: Stderr = "merge",
    check: bool = False,
    **options: Unpack[ToolOptions],
) -> FunctionTool[P, R]: ...


@overload
def process_tool(
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    stderr: Stderr = "merge",
    check: bool = False,
    **options: Unpack[ToolOptions],
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def process_tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    stderr: Stderr = "merge",
    check: bool = False,
    **options: Unpack[ToolOptions],
) -> Any:
    """Make a tool that runs a command of a function that returns the command.

    ::

        @process_tool(timeout=10, effect="read")
        def count_lines(path: str) -> list[str]:
            '''Count the lines of a file.'''
            return ["wc", "-l", "--", path]

    The function gets the model's arguments and returns a sequence of a program and its arguments, a line for
    ``/bin/sh``, or a `Command`. It is called in Trio's thread (it may be async), so it must be quick.

    The command runs in a process group of its own; see `run_process` for what becomes of that. At the deadline the
    group gets SIGTERM, half a second later SIGKILL; cancelled otherwise, it is killed at once. The output is taken
    as it comes. Unless the command ended with status 0, a last line says with which: ``[exit status 3]``, negative for a
    signal. That is an output and no failure, since many a program says something by it.

    Args:
        function: Says which command.
        name: As for `tool`, like the two that follow.
        description: See there.
        parameters: See there.
        stderr: ``"merge"``: one text, in the order in which it was written; ``"apart"``: stderr comes after stdout,
            below a line that says ``[stderr]``, at most `max_output` bytes of it.
        check: Whether another exit status than 0 is a failure.
        options: See `ToolOptions`.

    Raises:
        ConfigError: As `tool` does.
    """
    if function is None:
        return functools.partial(
            process_tool,
            name=name,
            description=description,
            parameters=parameters,
            stderr=stderr,
            check=check,
            **options,
        )
    if isinstance(function, Tool) or not callable(function):
        raise ConfigError(f"process_tool(...) takes a function that returns a command, not {function!r}")
    name = check_name(getattr(function, "__name__", "") if name is None else name)
    if stderr not in ("merge", "apart"):
        raise ConfigError(f"stderr of tool {name!r} is {stderr!r}; use 'merge' or 'apart'")
    if is_generator(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"tool {name!r} is a generator; return the command")
    settings = checked(name, options)
    doc = inspect.getdoc(function)
    return FunctionTool(
        **described(function, name, doc=doc, description=description, parameters=parameters),
        producer=Running(function, stderr, check),
        function=function,
        **settings,
    )


@attrs.frozen
class Running:
    """Runs the command that a function returns."""

    function: Callable[..., Any]
    stderr: Stderr
    check: bool

    async def __call__(self, arguments: dict[str, Any], production: Production) -> None:
        """See `Producer`."""
        command = self.function(**arguments)
        if inspect.isawaitable(command):
            command = await command
        if not isinstance(command, Command):
            command = Command(command)
        output = production.output
        output.write("")
        errors = Sink(output.max_output) if self.stderr == "apart" else None
        status = await supervise(
            _line(command),
            [output] if errors is None else [output, errors],
            cwd=command.cwd,
            env=command.env,
            stdin=command.stdin,
        )
        if errors is not None and errors.bytes_produced:
            output.write(f"{output.line_break()}[stderr]\n")
            output.write(errors.text())
        if status and self.check:
            raise ExitStatusError(f"exit status {status}")
        if status:
            output.write(f"{output.line_break()}[exit status {status}]")


def _line(command: Command) -> str | Sequence[str]:
    line = command.line
    if isinstance(line, str):
        return line
    if isinstance(line, Sequence) and line and all(isinstance(word, str) for word in line):
        return list(line)
    raise TypeError("a process tool's function returns a sequence of words, a shell line or a Command")
