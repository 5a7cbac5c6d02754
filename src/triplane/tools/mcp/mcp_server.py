"""An MCP server that is open: its tools, the session that they go through, and the next one when that was lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import attrs
import trio

from triplane.core.errors import ConfigError, McpFailed
from triplane.tools.context import Progress

from .connection import Connection, Settings, closed
from .content import text_of, value_of
from .errors import McpToolError
from .listing import Choice, build_tools

if TYPE_CHECKING:
    import mcp_types
    from mcp import Client

    from triplane.tools.kinds import Production
    from triplane.tools.tool import Tool

    from . import Mode
    from .servers import Server


@final
class McpServer:
    """What `open_mcp` yields.

    Attributes:
        name: What it is called in messages.
    """

    def __init__(
        self,
        server: Server,
        name: str,
        choice: Choice,
        nursery: trio.Nursery,
        *,
        mode: Mode,
        start_timeout: float,
        close_timeout: float,
        restarts: int,
    ) -> None:
        self.name = name
        self._choice = choice
        self._nursery = nursery
        self._settings = Settings(
            name=name,
            server=server,
            start_timeout=start_timeout,
            close_timeout=close_timeout,
            on_tools=self._take,
        )
        self._restarts = self._restarts_left = restarts
        self._mode: Mode = mode
        self._connection: Connection | None = None
        self._is_closed = False
        self._known: dict[str, tuple[mcp_types.Tool, Tool]] | None = None
        self._misfit: ConfigError | None = None

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self.tools)} tools"
        return f"<McpServer {self.name}: {state}>"

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Its tools now, in the server's order. A tool that has not changed is the same object.

        When the server says that they have changed they are read again. An agent that was made before keeps those that it was
        made with, and so do its runs.
        """
        return tuple(made for _, made in (self._known or {}).values())

    @property
    def instructions(self) -> str:
        """What the server says about how to use it; may be empty."""
        return "" if self._connection is None else self._connection.instructions

    @property
    def stderr(self) -> str:
        """What its process wrote to stderr last, at most 2,000 characters without what looks like a secret."""
        return "" if self._connection is None else self._connection.stderr

    async def refresh(self) -> tuple[Tool, ...]:
        """Ask the server for its tools again, and return them.

        Raises:
            McpFailed: It is not there.
            McpToolError: It answered with an error.
            trio.ClosedResourceError: It is closed.

        Cancellation: nothing has changed then. Checkpoints: always.
        """
        connection = await self._connected()
        self._take(await connection.perform(connection.list_tools))
        return self.tools

    async def open(self) -> None:
        """Start the first session.

        Raises:
            McpFailed: It could not be.
            ConfigError: The tools are not what was asked for.
        """
        connection = self._connection = self._start()
        await connection.ready.wait()
        if connection.ended_early and self._mode == "auto":
            # Servers are known that end when what they hear first is not the handshake of their time.
            self._mode = "legacy"
            connection = self._connection = self._start()
            await connection.ready.wait()
        if self._misfit is not None:
            raise self._misfit
        if not connection.is_usable:
            await connection.over.wait()
            raise connection.lost()

    def close(self) -> None:
        """Let its session end, within `close_timeout` and about a second. Not a checkpoint."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    async def call(self, name: str, arguments: dict[str, Any], production: Production) -> Any:
        """Call a tool and return what it returned; see `Producer`.

        Raises:
            McpToolError: The call failed.
            McpFailed: The server is not there, or went away.
            trio.ClosedResourceError: It is closed.

        Cancellation: returns at once, and the server is told. Checkpoints: always.
        """
        latest = -math.inf

        async def report(progress: float, total: float | None, message: str | None) -> None:
            # Each comes in a task of its own, so they may overtake each other.
            nonlocal latest
            if progress > latest:
                latest = progress
                production.context.report(Progress(message or "", progress, total))
            await trio.lowlevel.checkpoint()

        async def work(client: Client) -> mcp_types.CallToolResult:
            return await client.call_tool(name, arguments, progress_callback=report)

        connection = await self._connected()
        result = await connection.perform(work)
        self._restarts_left = self._restarts
        if result.is_error:
            # The words are the tool's, so they have the room of an output; but too many of them must not stop a call that
            # has failed already.
            output = production.output
            output.write(text_of(result).encode(errors="replace")[: output.enough])
            raise McpToolError("the server says that the call failed")
        return value_of(result)

    async def _connected(self) -> Connection:
        """The session, which may have to be started again."""
        connection = self._connection
        assert connection is not None
        if connection.ready.is_set() and not connection.is_usable:
            await connection.over.wait()
            # Whoever is closed starts nothing; and somebody else may have been here first.
            if self._is_closed:
                raise closed(self.name)
            if connection is self._connection:
                if not self._restarts_left:
                    raise self._given_up(connection)
                self._restarts_left -= 1
                self._connection = self._start()
            connection = self._connection or connection
        await connection.ready.wait()
        if not connection.is_usable:
            await connection.over.wait()
            raise closed(self.name) if self._is_closed else connection.lost()
        return connection

    def _start(self) -> Connection:
        connection = Connection(self._settings, self._mode)
        self._nursery.start_soon(connection.run, name=f"MCP server {self.name}")
        return connection

    def _given_up(self, connection: Connection) -> Exception:
        error = connection.lost()
        if isinstance(error, McpFailed):
            error.message = (
                f"{error.message}\nIt has been started again {self._restarts} times, which is enough."
            )
        return error

    def _take(self, listed: list[mcp_types.Tool]) -> None:
        is_first = self._known is None
        try:
            made = build_tools(
                listed, self._choice, lambda name: Calling(self, name), is_first=is_first, server=self.name
            )
        except ConfigError as error:
            self._misfit = error
            return
        described = {tool.name: tool for tool in reversed(listed)}
        known = self._known or {}
        self._known = {
            name: known[name]
            if name in known and known[name][0] == described[name] and known[name][1].name == tool.name
            else (described[name], tool)
            for name, tool in made.items()
        }


@attrs.frozen
class Calling:
    """Calls a tool of an MCP server."""

    server: McpServer
    name: str

    async def __call__(self, arguments: dict[str, Any], production: Production) -> Any:
        """See `Producer`."""
        return await self.server.call(self.name, arguments, production)
