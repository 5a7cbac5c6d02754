"""The tools of an MCP server, which is this file once more: a few lines with the SDK. Answered by the local server.

    python examples/mcp_tools.py

It needs triplane[mcp].
"""

from __future__ import annotations

import sys
from functools import partial

import trio
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

import triplane
from triplane.server import serve
from triplane.tools import mcp

library = MCPServer("library", log_level="ERROR")


@library.tool(annotations=ToolAnnotations(read_only_hint=True))
def find(title: str) -> str:
    """Say where a book stands."""
    return f"{title}: third shelf on the left"


async def main() -> None:
    """Let the model look for a book."""
    this_file = mcp.Stdio([sys.executable, __file__, "serve"])
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, model="directive"))
        async with (
            mcp.open_mcp(this_file, name="library", prefix="library_") as opened,
            triplane.open_engine(triplane.Endpoint(server.url)) as engine,
        ):
            agent = triplane.Agent(model="directive", tools=opened.tools)
            result = await engine.run(agent, 'CALL library_find {"title": "The Odyssey"}')
            print(result.text)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        library.run("stdio")
    else:
        trio.run(main)
