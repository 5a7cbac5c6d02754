"""MCP servers that the model's server talks to: their tools, calls of them, and approvals of calls."""

from typing import Any, ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class McpError(Wire):
    """Why an MCP call failed. Base of the error classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "mcp_protocol_error": "items.mcp:McpProtocolError",
            "mcp_tool_execution_error": "items.mcp:McpToolExecutionError",
            "http_error": "items.mcp:McpHttpError",
        },
        "items.mcp:UnknownMcpError",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownMcpError(McpError):
    """An error of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class McpProtocolError(McpError):
    """The MCP server answered with a JSON-RPC error."""

    type: ClassVar[str] = "mcp_protocol_error"
    code: int
    message: str


@attrs.frozen(eq=False, repr=False)
class McpToolExecutionError(McpError):
    """The tool ran and failed; ``content`` is what it says."""

    type: ClassVar[str] = "mcp_tool_execution_error"
    content: Any


@attrs.frozen(eq=False, repr=False)
class McpHttpError(McpError):
    """The MCP server answered with an HTTP error."""

    type: ClassVar[str] = "http_error"
    code: int
    message: str


@attrs.frozen(eq=False, repr=False)
class McpCall(Item):
    """A call of an MCP server's tool, by the model's server. ``arguments`` is JSON text."""

    type: ClassVar[str] = "mcp_call"
    server_label: str
    name: str
    arguments: str
    output: str | None = None
    error: McpError | str | None = None
    status: str | None = None
    approval_request_id: str | None = None


@attrs.frozen(eq=False, repr=False)
class McpToolInfo(Wire):
    """A tool as its MCP server describes it."""

    tagged: ClassVar[bool] = False
    name: str
    input_schema: Any
    description: str | None = None
    annotations: Any = None


@attrs.frozen(eq=False, repr=False)
class McpListTools(Item):
    """The tools of an MCP server."""

    type: ClassVar[str] = "mcp_list_tools"
    server_label: str
    tools: tuple[McpToolInfo, ...] | None = None
    error: Any = None


@attrs.frozen(eq=False, repr=False)
class McpApprovalRequest(Item):
    """May this MCP call be made? Its ``id`` goes into the answer."""

    type: ClassVar[str] = "mcp_approval_request"
    server_label: str
    name: str
    arguments: str


@attrs.frozen(eq=False, repr=False)
class McpApprovalResponse(Item):
    """Yes or no to an MCP call."""

    type: ClassVar[str] = "mcp_approval_response"
    approval_request_id: str
    approve: bool
    reason: str | None = None
