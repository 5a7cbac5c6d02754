"""Tools that the client runs, and those that help the model to find and combine tools."""

from typing import Any, ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import JSON, Wire
from triplane.protocol.environments import Environment

from ._base import ToolDefinition


@attrs.frozen(eq=False, repr=False)
class FunctionTool(ToolDefinition):
    """A function of the client. ``parameters`` is the JSON schema of its arguments."""

    type: ClassVar[str] = "function"
    name: str
    parameters: Any = None
    strict: bool | None = None
    description: str | None = None
    async_: bool | None = None
    """The model goes on without waiting for the output."""
    defer_loading: bool | None = None
    output_schema: JSON | None = None
    allowed_callers: tuple[str, ...] | None = None
    """direct, programmatic, or both."""


@attrs.frozen(eq=False, repr=False)
class CustomFormat(Wire):
    """What a custom tool's input looks like. Base of the format classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "text": "tool_definitions.client:TextInputFormat",
            "grammar": "tool_definitions.client:GrammarFormat",
        },
        "tool_definitions.client:UnknownCustomFormat",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownCustomFormat(CustomFormat):
    """A format of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


class TextInputFormat(CustomFormat):
    """Any text."""

    __slots__ = ()
    type: ClassVar[str] = "text"


@attrs.frozen(eq=False, repr=False)
class GrammarFormat(CustomFormat):
    """Text of a grammar; ``syntax`` is lark or regex."""

    type: ClassVar[str] = "grammar"
    syntax: str
    definition: str


@attrs.frozen(eq=False, repr=False)
class CustomTool(ToolDefinition):
    """A tool of the client that takes free text."""

    type: ClassVar[str] = "custom"
    name: str
    description: str | None = None
    format: CustomFormat | None = None
    async_: bool | None = None
    """The model goes on without waiting for the output."""
    defer_loading: bool | None = None
    allowed_callers: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class NamespaceTool(ToolDefinition):
    """Functions and custom tools under a common name."""

    type: ClassVar[str] = "namespace"
    name: str
    description: str
    tools: tuple[ToolDefinition, ...]


@attrs.frozen(eq=False, repr=False)
class ToolSearchTool(ToolDefinition):
    """Lets the model look for tools that are not loaded yet; ``execution`` is server or client."""

    type: ClassVar[str] = "tool_search"
    description: str | None = None
    execution: str | None = None
    parameters: Any = None


class ProgrammaticToolCallingTool(ToolDefinition):
    """Lets the model write programs that call tools."""

    __slots__ = ()
    type: ClassVar[str] = "programmatic_tool_calling"


@attrs.frozen(eq=False, repr=False)
class ShellTool(ToolDefinition):
    """A shell, on the client or in a container."""

    type: ClassVar[str] = "shell"
    environment: Environment | None = None
    allowed_callers: tuple[str, ...] | None = None


class LocalShellTool(ToolDefinition):
    """A shell on the client: the older form of `ShellTool`."""

    __slots__ = ()
    type: ClassVar[str] = "local_shell"


@attrs.frozen(eq=False, repr=False)
class ApplyPatchTool(ToolDefinition):
    """Lets the model change the client's files with patches."""

    type: ClassVar[str] = "apply_patch"
    allowed_callers: tuple[str, ...] | None = None


class ComputerTool(ToolDefinition):
    """A computer with screen, keyboard and mouse."""

    __slots__ = ()
    type: ClassVar[str] = "computer"


@attrs.frozen(eq=False, repr=False)
class ComputerUsePreviewTool(ToolDefinition):
    """A computer, in the preview's form; ``environment`` is windows, mac, linux, ubuntu or browser."""

    type: ClassVar[str] = "computer_use_preview"
    display_width: int
    display_height: int
    environment: str
