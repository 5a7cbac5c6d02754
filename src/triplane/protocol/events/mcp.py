"""MCP servers that the model's server talks to: calls and lists of tools."""

from typing import ClassVar

import attrs

from ._shapes import ItemDelta, ItemEvent


class ResponseMcpCallArgumentsDelta(ItemDelta):
    """The next piece of an MCP call's arguments."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_call_arguments.delta"


@attrs.frozen(eq=False, repr=False)
class ResponseMcpCallArgumentsDone(ItemEvent):
    """The whole arguments of an MCP call."""

    type: ClassVar[str] = "response.mcp_call_arguments.done"
    arguments: str


class ResponseMcpCallInProgress(ItemEvent):
    """The MCP server was asked."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_call.in_progress"


class ResponseMcpCallCompleted(ItemEvent):
    """The MCP server answered."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_call.completed"


class ResponseMcpCallFailed(ItemEvent):
    """The MCP call failed; the item says why."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_call.failed"


class ResponseMcpListToolsInProgress(ItemEvent):
    """The MCP server was asked for its tools."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_list_tools.in_progress"


class ResponseMcpListToolsCompleted(ItemEvent):
    """The MCP server's tools are known."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_list_tools.completed"


class ResponseMcpListToolsFailed(ItemEvent):
    """The MCP server did not tell its tools; the item says why."""

    __slots__ = ()
    type: ClassVar[str] = "response.mcp_list_tools.failed"
