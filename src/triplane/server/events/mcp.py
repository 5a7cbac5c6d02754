"""The events of the tools of MCP servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.server.steps import McpApprovalRequest, McpCall, McpListTools, Wait

    from .writer import Event, EventWriter

__all__ = ["mcp_approval_request", "mcp_call", "mcp_list_tools"]


def mcp_list_tools(step: McpListTools, writer: EventWriter) -> Iterator[Event | Wait]:
    """The tools of a server, or why they could not be listed."""
    item: dict[str, Any] = {
        "id": writer.new_id("mcpl"),
        "type": "mcp_list_tools",
        "server_label": step.server_label,
        "tools": [],
        "error": None,
    }
    kind = "response.mcp_list_tools"
    yield writer.added(item)
    yield writer.of_item(f"{kind}.in_progress", item)
    if step.error is not None:
        yield writer.of_item(f"{kind}.failed", item)
        yield writer.done({**item, "error": step.error})
        return
    tools = [{"description": None, "annotations": None, **tool} for tool in step.tools]
    yield writer.of_item(f"{kind}.completed", item)
    yield writer.done({**item, "tools": tools})


def mcp_call(step: McpCall, writer: EventWriter) -> Iterator[Event | Wait]:
    """One call; its arguments are streamed."""
    writer.count(step.name)
    item: dict[str, Any] = {
        "id": writer.new_id("mcp"),
        "type": "mcp_call",
        "status": "in_progress",
        "server_label": step.server_label,
        "name": step.name,
        "arguments": "",
        "approval_request_id": step.approval_request_id,
        "output": None,
        "error": None,
    }
    yield writer.added(item)
    yield writer.of_item("response.mcp_call.in_progress", item)
    arguments = yield from writer.deltas(
        "response.mcp_call_arguments.delta", step.arguments, item_id=item["id"], output_index=writer.index
    )
    yield writer.of_item("response.mcp_call_arguments.done", item, arguments=arguments)
    if writer.cut:
        yield writer.done({**item, "status": "incomplete", "arguments": arguments})
        return
    status = "completed" if step.error is None else "failed"
    yield writer.of_item(f"response.mcp_call.{status}", item)
    outcome = {"status": status, "output": step.output, "error": step.error}
    yield writer.done({**item, "arguments": arguments, **outcome})


def mcp_approval_request(step: McpApprovalRequest, writer: EventWriter) -> Iterator[Event | Wait]:
    """A call that waits for the client's approval."""
    writer.count(step.name, step.arguments)
    item = {
        "id": writer.new_id("mcpr"),
        "type": "mcp_approval_request",
        "server_label": step.server_label,
        "name": step.name,
        "arguments": step.arguments,
    }
    yield writer.added(item)
    yield writer.done(item)
