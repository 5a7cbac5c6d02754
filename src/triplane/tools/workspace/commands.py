"""Which commands may run in a workspace, with what environment, and with what limits."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from triplane.core.errors import ConfigError
from triplane.tools.process import MAX_PRODUCED, run_process
from triplane.tools.sink import Sink

from . import limited

# What programs need to find their way, and nobody keeps a secret in.
_PASSED = frozenset(
    {"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"}
)
_PASSED_PREFIX = "LC_"
_SHELL = "/bin/sh"
_OPERATORS = frozenset("();<>|&")


def _check(least: float) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None and (type(value) is not int or value < least):
            raise ConfigError(
                f"{attribute.name} must be None or a whole number of at least {least}, not {value!r}"
            )

    return check


def _check_seconds(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value <= 0:
        raise ConfigError(f"{attribute.name} must be seconds above 0, or math.inf, not {value!r}")


@attrs.frozen(kw_only=True)
class CommandLimits:
    """What one command of a workspace may use. None stands for what this process itself may use.

    The operating system holds each process of the command to them (setrlimit), not all of its processes together;
    `timeout` is for the whole.

    Attributes:
        timeout: Seconds until the command and all of its process group are killed; `math.inf` for never.
        cpu_seconds: Processor time (RLIMIT_CPU).
        memory: Bytes of address space (RLIMIT_AS). Some programs reserve far more than they use: give those None.
        file_size: Bytes of the largest file that it may write (RLIMIT_FSIZE).
        open_files: How many files may be open (RLIMIT_NOFILE).
        processes: How many processes and threads there may be (RLIMIT_NPROC), counting all that this user has on
            the machine, which is why there is no default.
    """

    timeout: float = attrs.field(default=60, validator=_check_seconds)
    cpu_seconds: int | None = attrs.field(default=60, validator=_check(1))
    memory: int | None = attrs.field(default=8 * 1024**3, validator=_check(1024**2))
    file_size: int | None = attrs.field(default=1024**3, validator=_check(0))
    open_files: int | None = attrs.field(default=1024, validator=_check(16))
    processes: int | None = attrs.field(default=None, validator=_check(1))

    def as_words(self) -> str:
        """As the program `limited` takes them. No command leaves a core dump."""
        limits = {
            "CORE": 0,
            "CPU": self.cpu_seconds,
            "AS": self.memory,
            "FSIZE": self.file_size,
            "NOFILE": self.open_files,
            "NPROC": self.processes,
        }
        return ",".join(f"{name}={value}" for name, value in limits.items() if value is not None)


@attrs.frozen
class Commands:
    """Runs commands.

    Attributes:
        root: Where.
        allowed: What a command may begin with, as words; the first one is the program's name, and comes with its path.
            None for any shell line.
        limits: What each may use.
        environment: Variables of the command besides those that are passed on.
    """

    root: str
    allowed: tuple[tuple[tuple[str, ...], str], ...] | None
    limits: CommandLimits
    environment: Mapping[str, str] = attrs.field(repr=False)

    @classmethod
    def of(
        cls,
        root: str,
        allowed: Iterable[str] | None,
        limits: CommandLimits,
        environment: Mapping[str, str],
    ) -> Commands:
        """Find the allowed programs now, so that nothing the model writes later can pass for one of them.

        Raises:
            ConfigError: There is no such program, or an entry cannot be one.
        """
        if isinstance(allowed, str):
            raise ConfigError(
                f"commands= takes True or a list of commands, not a text; did you mean [{allowed!r}]?"
            )
        if allowed is None:
            return cls(root, None, limits, environment)
        return cls(root, tuple(_entry(each) for each in allowed), limits, environment)

    def described(self) -> str:
        """What the model is told about it."""
        if self.allowed is None:
            return (
                "Run a shell command in the workspace; returns its output and its exit status. "
                "Nothing that the command starts keeps running after it."
            )
        listed = ", ".join(f"`{shlex.join(words)}`" for words, _ in self.allowed)
        return (
            "Run a command in the workspace; returns its output and its exit status. It must begin with one of: "
            f"{listed}. There is no shell: no pipes, redirections, variables or wildcards."
        )

    async def run(self, command: str) -> Sink:
        """Run one command line.

        Raises:
            PermissionError: It is not allowed.
            ValueError: It is no command line.
        """
        sink = Sink()
        result = await run_process(
            self.line(command), cwd=self.root, env=self.environment_with({}), sink=sink
        )
        end = "" if not result.output or result.output.endswith("\n") else "\n"
        if result.stopped:
            end += f"[stopped: more than {MAX_PRODUCED:,} bytes of output]\n"
        sink.write(f"{end}[exit status {result.exit_status}]".encode())
        return sink

    def line(self, command: str) -> list[str]:
        """The program to start for a command line, with its arguments.

        Raises:
            PermissionError: It is not allowed.
            ValueError: It is no command line.
        """
        if "\0" in command:
            raise ValueError("a command cannot contain NUL")
        return self.words([_SHELL, "-c", command] if self.allowed is None else _split(command))

    def words(self, words: Sequence[str]) -> list[str]:
        """The program to start for a command that is split into words already, with its arguments.

        Raises:
            PermissionError: It is not allowed.
            ValueError: It is no command.
        """
        if any("\0" in word for word in words):
            raise ValueError("a command cannot contain NUL")
        if self.allowed is not None:
            words = [self._allowed(words), *words[1:]]
        elif not words:
            raise ValueError("a command has at least one word")
        elif "/" not in words[0]:
            # Looked up in the environment that the command will have.
            words = [
                shutil.which(words[0], path=self.environment_with({}).get("PATH")) or words[0],
                *words[1:],
            ]
        return [sys.executable, "-I", "-S", limited.__file__, self.limits.as_words(), *words]

    def _allowed(self, words: Sequence[str]) -> str:
        assert self.allowed is not None
        for begin, program in self.allowed:
            if tuple(words[: len(begin)]) == begin:
                return program
        listed = ", ".join(shlex.join(begin) for begin, _ in self.allowed) or "nothing"
        raise PermissionError(
            f"{shlex.join(words)!r} is not allowed; a command must begin with one of: {listed}"
        )

    def environment_with(self, more: Mapping[str, str]) -> dict[str, str]:
        """What a command gets, with variables of the model's.

        Raises:
            PermissionError: Only some commands are allowed: with a variable many a program does something else.
        """
        if more and self.allowed is not None:
            raise PermissionError("a command has the environment that it is given here; leave env empty")
        passed = {
            name: value
            for name, value in os.environ.items()
            if name in _PASSED or name.startswith(_PASSED_PREFIX)
        }
        return {**passed, **self.environment, **more}


def _entry(allowed: object) -> tuple[tuple[str, ...], str]:
    try:
        words = tuple(shlex.split(allowed)) if isinstance(allowed, str) else ()
    except ValueError:
        words = ()
    if not words:
        raise ConfigError(
            f"commands= has {allowed!r}, which is no command; give a program, or how its command begins"
        )
    name = words[0]
    if "/" in name:
        program: str | None = name if Path(name).is_absolute() else None
    else:
        # A place that depends on where one is would be in the workspace.
        path = os.pathsep.join(filter(os.path.isabs, os.environ.get("PATH", os.defpath).split(os.pathsep)))
        program = shutil.which(name, path=path)
    if program is None or not os.access(program, os.X_OK):
        raise ConfigError(
            f"commands= has {allowed!r}, and there is no program {name!r}; give its absolute path"
        )
    return words, program


def _split(command: str) -> list[str]:
    """The words of a command line without a shell.

    Raises:
        ValueError: It is none, or needs a shell.
    """
    try:
        words = shlex.split(command)
        lexer = shlex.shlex(command, posix=False, punctuation_chars=True)
        lexer.whitespace_split = True
        lexer.commenters = ""
        operators = [token for token in lexer if token and set(token) <= _OPERATORS]
    except ValueError as error:
        raise ValueError(f"{command!r} cannot be split into words: {error}") from None
    if operators or "\n" in command.strip():
        what = repr(operators[0]) if operators else "a second line"
        raise ValueError(f"{command!r} has {what}, and there is no shell here; run one command at a time")
    return words
