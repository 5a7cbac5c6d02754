"""The base of tool definitions."""

from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._catalogue import MODULES


@attrs.frozen(eq=False, repr=False)
class ToolDefinition(Wire):
    """A tool that the model may call. Base of the definition classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            kind: f"tool_definitions.{module}:{name}"
            for module, kinds in MODULES.items()
            for kind, name in kinds.items()
        },
        "tool_definitions:UnknownTool",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownTool(ToolDefinition):
    """A tool of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
