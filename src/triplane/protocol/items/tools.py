"""Tools that join a conversation while it runs."""

from typing import Any, ClassVar

import attrs

from triplane.protocol.tool_definitions import ToolDefinition

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class ToolSearchCall(Item):
    """A search for more tools. The client answers if ``execution`` is ``client``, else the server has."""

    type: ClassVar[str] = "tool_search_call"
    arguments: Any
    call_id: str | None = None
    execution: str | None = None
    status: str | None = None
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class ToolSearchOutput(Item):
    """The tools that a search found."""

    type: ClassVar[str] = "tool_search_output"
    tools: tuple[ToolDefinition, ...]
    call_id: str | None = None
    execution: str | None = None
    status: str | None = None
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class AdditionalTools(Item):
    """More tools from here on, added without touching the cached beginning of the prompt.

    ``role`` is developer on input.
    """

    type: ClassVar[str] = "additional_tools"
    role: str
    tools: tuple[ToolDefinition, ...]
