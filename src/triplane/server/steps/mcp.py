"""Tools of MCP servers, which the service calls, perhaps after the client's approval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import attrs
from attrs.validators import optional

from . import _checks as checks

__all__ = ["McpApprovalRequest", "McpCall", "McpListTools"]


@final
@attrs.frozen
class McpListTools:
    """The tools of a server.

    Attributes:
        server_label: the server's name in the request.
        tools: such as `{"name": "roll", "input_schema": {...}}`.
        error: why they could not be listed.
    """

    server_label: str = attrs.field(validator=checks.name)
    tools: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(), converter=checks.to_objects, validator=checks.json_objects
    )
    error: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))


@final
@attrs.frozen
class McpCall:
    """One call of a server's tool and what came of it.

    Attributes:
        server_label: the server's name in the request.
        name: of the tool.
        arguments: as JSON, or not; a mapping is encoded.
        output: what it returned.
        error: why it failed instead, such as `{"type": "mcp_tool_execution_error", "content": []}`.
        approval_request_id: of the request that the client approved.
    """

    server_label: str = attrs.field(validator=checks.name)
    name: str = attrs.field(validator=checks.name)
    arguments: str = attrs.field(default="{}", converter=checks.to_json_text, validator=checks.text)
    output: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    error: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )
    approval_request_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))


@final
@attrs.frozen
class McpApprovalRequest:
    """A call that the client has to approve first."""

    server_label: str = attrs.field(validator=checks.name)
    name: str = attrs.field(validator=checks.name)
    arguments: str = attrs.field(default="{}", converter=checks.to_json_text, validator=checks.text)
