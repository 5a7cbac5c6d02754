"""Shell calls, as their commands are written, and the output of those that the server runs.

The command events have no ``item_id``: the call is told by ``output_index`` (openai-python 3.52.0).
"""

from typing import ClassVar

import attrs

from triplane.protocol._wire import Wire
from triplane.protocol.items.shell import ShellOutput

from ._base import ServerEvent
from ._shapes import ItemEvent


@attrs.frozen(eq=False, repr=False)
class ShellCommandEvent(ServerEvent):
    """An event about one command of a shell call."""

    output_index: int
    command_index: int


@attrs.frozen(eq=False, repr=False)
class ResponseShellCallCommandAdded(ShellCommandEvent):
    """A command begins."""

    type: ClassVar[str] = "response.shell_call_command.added"
    command: str


@attrs.frozen(eq=False, repr=False)
class ResponseShellCallCommandDelta(ShellCommandEvent):
    """The next piece of a command. ``obfuscation`` is random padding."""

    type: ClassVar[str] = "response.shell_call_command.delta"
    delta: str
    obfuscation: str | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseShellCallCommandDone(ShellCommandEvent):
    """The whole command."""

    type: ClassVar[str] = "response.shell_call_command.done"
    command: str


@attrs.frozen(eq=False, repr=False)
class ShellOutputDelta(Wire):
    """The next piece of a command's output, on either stream."""

    tagged: ClassVar[bool] = False
    stdout: str | None = None
    stderr: str | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseShellCallOutputContentDelta(ItemEvent):
    """A command on the server wrote something. Commands may report out of order."""

    type: ClassVar[str] = "response.shell_call_output_content.delta"
    command_index: int
    delta: ShellOutputDelta


@attrs.frozen(eq=False, repr=False)
class ResponseShellCallOutputContentDone(ItemEvent):
    """A command on the server ended; its whole output."""

    type: ClassVar[str] = "response.shell_call_output_content.done"
    command_index: int
    output: tuple[ShellOutput, ...]
