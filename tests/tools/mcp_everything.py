"""An MCP server of the official SDK with a tool of each sort, over stdio or HTTP.

The SDK's own reference server does not come with its package; this one does what that does, as far as tools go.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.mcpserver import Audio, Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

app = MCPServer("everything", instructions="Ask for anything.", log_level="ERROR")
# What was cancelled, in the process of the server.
cancelled: list[str] = []


class Point(BaseModel):
    x: int
    y: int


@app.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@app.tool()
async def wait(name: str, ctx: Context) -> str:
    """Wait, until it is cancelled."""
    try:
        await ctx.report_progress(1, 2, "waiting")
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        cancelled.append(name)
        raise
    return "waited"


@app.tool()
def was_cancelled(name: str) -> bool:
    """Whether a call was cancelled."""
    return name in cancelled


@app.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("out of paper")


@app.tool()
def point() -> Point:
    """A point."""
    return Point(x=1, y=2)


@app.tool()
def structured() -> CallToolResult:
    """Structured content alone."""
    return CallToolResult(content=[], structured_content={"x": 1})


@app.tool(structured_output=False)
def media() -> list[Any]:
    """All sorts of content."""
    return [
        "a text",
        Image(data=b"png", format="png"),
        Image(data=b"tiff", format="tiff"),
        Audio(data=b"wav", format="wav"),
        ResourceLink(type="resource_link", name="notes", uri="file:///notes.txt", mime_type="text/plain"),
        EmbeddedResource(
            resource=TextResourceContents(uri="file:///a.txt", text="in it", mime_type="text/plain")
        ),
        EmbeddedResource(
            resource=BlobResourceContents(uri="file:///b%20c.pdf", blob="cGRm", mime_type="application/pdf")
        ),
        TextContent(text="the end"),
    ]


@app.tool()
async def ask(ctx: Context) -> str:
    """Ask the user, which nobody here can."""
    answer = await ctx.elicit("Really?", Point)
    return answer.action


@app.tool()
async def grow(ctx: Context) -> str:
    """Get another tool."""
    app.add_tool(add, name="add_again")
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "grown"


@contextmanager
def served() -> Iterator[str]:
    """Serve it over HTTP, in a thread with an event loop of its own. Yields the URL."""
    import socket

    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app.streamable_http_app(), log_level="error", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="MCP server")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


if __name__ == "__main__":
    app.run("stdio")
