"""MCP servers that the model's server talks to."""

from collections.abc import Mapping
from typing import ClassVar

import attrs

from triplane.protocol._wire import Wire

from ._base import ToolDefinition


@attrs.frozen(eq=False, repr=False)
class McpToolFilter(Wire):
    """Some tools of an MCP server: by name, or those marked as read-only."""

    tagged: ClassVar[bool] = False
    tool_names: tuple[str, ...] | None = None
    read_only: bool | None = None


@attrs.frozen(eq=False, repr=False)
class McpApprovalFilter(Wire):
    """Which tools of an MCP server always need approval, and which never."""

    tagged: ClassVar[bool] = False
    always: McpToolFilter | None = None
    never: McpToolFilter | None = None


@attrs.frozen(eq=False, repr=False)
class McpTool(ToolDefinition):
    """An MCP server that the model's server talks to. Its credentials are in no repr."""

    type: ClassVar[str] = "mcp"
    server_label: str
    server_url: str | None = None
    server_description: str | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    authorization: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    allowed_tools: tuple[str, ...] | McpToolFilter | None = None
    require_approval: str | McpApprovalFilter | None = None
    """always, never, or a filter."""
    defer_loading: bool | None = None
    allowed_callers: tuple[str, ...] | None = None
