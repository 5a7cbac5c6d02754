"""Tools of MCP servers: `open_mcp` starts or reaches one, and keeps a session with it for as long as its block lasts.

The official SDK does the talking, and comes with the extra ``triplane[mcp]``; it is imported when a server is opened.
"""

from __future__ import annotations

import importlib
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Unpack

import trio

from triplane.core.errors import ConfigError
from triplane.tools.background import open_background

from .errors import McpToolError as McpToolError
from .servers import Http as Http
from .servers import Stdio as Stdio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping
    from types import ModuleType

    from triplane.tools.options import ToolOptions

    from .mcp_server import McpServer as McpServer


Mode = Literal["auto", "legacy"]


@asynccontextmanager
async def open_mcp(
    server: Stdio | Http,
    *,
    name: str | None = None,
    prefix: str = "",
    allow: Collection[str] | None = None,
    deny: Collection[str] = (),
    overrides: Mapping[str, ToolOptions] | None = None,
    mode: Mode = "auto",
    start_timeout: float = 30.0,
    close_timeout: float = 2.0,
    restarts: int = 3,
    **options: Unpack[ToolOptions],
) -> AsyncIterator[McpServer]:
    """Open a server, and yield it with its tools.

    For instance::

        async with mcp.open_mcp(mcp.Stdio(["uvx", "mcp-server-git"]), prefix="git_") as git:
            agent = triplane.Agent("gpt-5.5", tools=[*git.tools])

    The session has a task of its own, so calls may come from any task, and may be cancelled; nothing that befalls it is raised
    anywhere but in the calls that it concerns. A server that went away is started again by the next call.

    The effect of a tool is what the server hints at: ``readOnlyHint`` makes it ``"read"``, ``idempotentHint``
    ``"idempotent"``, and without either it is ``"write"``. A server that is not trusted may say anything; `effect` and
    `overrides` count for more.

    Args:
        server: How it is reached.
        name: What it is called in messages. Default: its program, or its URL.
        prefix: Stands before the names of its tools, so that they are no other server's.
        allow: Which of its tools there are to be, by the server's names for them, or patterns of such (``"read_*"``).
            Default: all.
        deny: Which of those there are not to be.
        overrides: Options for the tools whose names match a pattern: ``{"delete_*": {"needs_approval": True}}``.
        mode: How a version of the protocol is agreed on: ``"auto"`` asks for the newest, and falls back on the handshake of
            older ones; ``"legacy"`` begins with that, for servers that take long over what they do not know.
        start_timeout: Seconds until it must have told its tools, at each start; above 0.
        close_timeout: Seconds that it gets to end when the block is left. A process is then sent SIGTERM, half a second later
            its group is killed, and at most one more second is waited.
        restarts: How many times in a row it is started again without having answered a call.
        options: For all of its tools, see `ToolOptions`.

    Raises:
        ConfigError: The extra ``triplane[mcp]`` is not installed, an option does not make sense, or a pattern matches no
            tool.
        McpFailed: The server could not be started or reached, or did not answer in time.

    Cancellation: the server is closed all the same, within `close_timeout` and a second and a half. Checkpoints: entering and
    leaving.
    """
    _check(start_timeout, close_timeout, restarts)
    if mode not in ("auto", "legacy"):
        raise ConfigError(f"mode of an MCP server is {mode!r}; use 'auto' or 'legacy'")
    if not isinstance(server, Stdio | Http):
        raise ConfigError(f"open_mcp takes mcp.Stdio(…) or mcp.Http(…), not {type(server).__name__}")
    # The SDK takes more than a second to import. In a thread, for others may have sockets to answer meanwhile.
    await trio.to_thread.run_sync(_load)
    from .listing import Choice  # noqa: PLC0415  (they import the SDK)
    from .mcp_server import McpServer  # noqa: PLC0415

    choice = Choice(prefix=prefix, allow=allow, deny=deny, options=options, overrides=overrides or {})
    async with open_background() as nursery:
        opened = McpServer(
            server,
            server.shown if name is None else name,
            choice,
            nursery,
            mode=mode,
            start_timeout=start_timeout,
            close_timeout=close_timeout,
            restarts=restarts,
        )
        try:
            await opened.open()
            yield opened
        finally:
            opened.close()


def _check(start_timeout: float, close_timeout: float, restarts: int) -> None:
    def fits(value: Any, *kinds: type) -> bool:
        return type(value) in kinds and 0 <= value < math.inf

    if not fits(start_timeout, int, float) or not start_timeout:
        raise ConfigError(f"start_timeout of an MCP server is {start_timeout!r}; give seconds above 0")
    if not fits(close_timeout, int, float):
        raise ConfigError(f"close_timeout of an MCP server is {close_timeout!r}; give seconds, at least 0")
    if not fits(restarts, int):
        raise ConfigError(f"restarts of an MCP server is {restarts!r}; give a number of starts, at least 0")


def _load() -> ModuleType:
    """Import what needs the SDK.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(".mcp_server", __name__)
    except ImportError as error:
        raise ConfigError(
            "an MCP server needs an extra: python -m pip install 'triplane[mcp]', which brings the SDK, mcp 2.3 or newer"
        ) from error
