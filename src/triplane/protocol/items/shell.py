"""Shell calls, the client's and the server's, and their outputs."""

from collections.abc import Mapping
from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire
from triplane.protocol.environments import Environment

from ._base import Item
from .calls import Caller


@attrs.frozen(eq=False, repr=False)
class ShellOutcome(Wire):
    """How a command ended. Base of the outcome classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"exit": "items.shell:ShellExit", "timeout": "items.shell:ShellTimeout"},
        "items.shell:UnknownShellOutcome",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownShellOutcome(ShellOutcome):
    """An outcome of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class ShellExit(ShellOutcome):
    """The command exited."""

    type: ClassVar[str] = "exit"
    exit_code: int


class ShellTimeout(ShellOutcome):
    """The command ran out of time."""

    __slots__ = ()
    type: ClassVar[str] = "timeout"


@attrs.frozen(eq=False, repr=False)
class ShellOutput(Wire):
    """What one command wrote and how it ended."""

    tagged: ClassVar[bool] = False
    stdout: str
    stderr: str
    outcome: ShellOutcome
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class ShellAction(Wire):
    """The commands of a shell call, with the limits that the model wishes for."""

    tagged: ClassVar[bool] = False
    commands: tuple[str, ...]
    timeout_ms: int | None = None
    max_output_length: int | None = None


@attrs.frozen(eq=False, repr=False)
class ShellCall(Item):
    """Run these commands. The client does, unless ``environment`` is a container: then the server has."""

    type: ClassVar[str] = "shell_call"
    call_id: str
    action: ShellAction
    environment: Environment | None = None
    status: str | None = None
    caller: Caller | None = None
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class ShellCallOutput(Item):
    """What the commands of a shell call did: one output for each."""

    type: ClassVar[str] = "shell_call_output"
    call_id: str
    output: tuple[ShellOutput, ...]
    max_output_length: int | None = None
    status: str | None = None
    caller: Caller | None = None
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class LocalShellAction(Wire):
    """The command of a local shell call. ``type`` is ``exec``."""

    tagged: ClassVar[bool] = False
    type: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    timeout_ms: int | None = None
    user: str | None = None
    working_directory: str | None = None


@attrs.frozen(eq=False, repr=False)
class LocalShellCall(Item):
    """Run this command on the client's machine: the older form of `ShellCall`."""

    type: ClassVar[str] = "local_shell_call"
    call_id: str
    action: LocalShellAction
    status: str | None = None


@attrs.frozen(eq=False, repr=False)
class LocalShellCallOutput(Item):
    """What a local shell call did. It has the ``id`` of the call."""

    type: ClassVar[str] = "local_shell_call_output"
    output: str
    status: str | None = None
