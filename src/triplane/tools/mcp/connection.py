"""One session with an MCP server: opened, used and closed in one task, whoever calls and whatever becomes of it.

The SDK's sessions and transports are anyio task groups, whose cancel scopes have to be left in the task that entered
them. So each session has a task. A call is another one, in a nursery of that session; its caller waits for it, and may stop
waiting at any moment, while the server is still being told.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

import attrs
import mcp_types
import trio
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from triplane.core.errors import McpFailed, Receipt

from .errors import McpToolError
from .http import REFUSED, UNREACHABLE, open_http
from .servers import Server, Stdio, concealed, concealing
from .stdio import open_stdio
from .wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp.client.session import IncomingMessage

    from triplane.core.errors import McpMoment

    from . import Mode

T = TypeVar("T")

MAX_PAGES = 100
_MAX_WORDS = 1_000
_MAX_STDERR = 2_000
# What starting a program fails with when it, or its folder, is not there or not to be used.
_NOT_THERE = (FileNotFoundError, NotADirectoryError, PermissionError)

_logger = logging.getLogger("triplane.tools.mcp")


@attrs.frozen(kw_only=True)
class Settings:
    """What all sessions with a server have in common.

    Attributes:
        name: What the server is called.
        server: How it is reached.
        start_timeout: Seconds until it must have said which tools it has.
        close_timeout: Seconds that it gets to end.
        on_tools: Told its tools, at the beginning and whenever it says that they have changed.
    """

    name: str
    server: Server
    start_timeout: float
    close_timeout: float
    on_tools: Callable[[list[mcp_types.Tool]], object]


@final
class Connection:
    """One session. `run` is awaited once, by the task that is the session's own.

    Attributes:
        settings: As given.
        mode: As given.
        ready: Set when it can be used, or when it is over.
        over: Set when it is over, and everything of it is gone.
        failure: Why it is over; None before that, and if it was closed.
        instructions: What the server says about how to use it.
    """

    def __init__(self, settings: Settings, mode: Mode) -> None:
        self.settings = settings
        self.mode = mode
        self.ready = trio.Event()
        self.over = trio.Event()
        self.failure: McpFailed | None = None
        self.instructions = ""
        secrets = concealing(settings.server)
        self._wire = Wire(0, functools.partial(concealed, secrets=secrets))
        self._scope = trio.CancelScope(shield=True)
        self._session: tuple[Client, trio.Nursery] | None = None
        self._was_ready = self._is_wanted_closed = False
        # Whether it was given up for what it said, and not because it ended.
        self._is_at_odds = False
        self._changed = trio.Event()

    @property
    def is_usable(self) -> bool:
        """Whether calls can be made."""
        return self._session is not None and not self._wire.ended.is_set()

    @property
    def ended_early(self) -> bool:
        """Whether the server went away before it was ready, and was not merely slow."""
        return self._wire.ended.is_set() and not self._was_ready

    @property
    def stderr(self) -> str:
        """What the server's process wrote to stderr last."""
        told = concealed(self._wire.stderr.decode(errors="replace"), concealing(self.settings.server))
        return told.strip()[-_MAX_STDERR:]

    async def run(self) -> None:
        """Open, serve and close it. Raises nothing but bugs of ours: whatever ends it is its `failure`.

        Cancellation: it is shielded; see `close`. Opening takes `start_timeout` at most.
        """
        error: Exception | None = None
        self._scope.deadline = trio.current_time() + self.settings.start_timeout
        try:
            with self._scope:
                await self._live()
        except Exception as caught:  # noqa: BLE001  (the SDK's, or the network's: it is told to whoever calls)
            error = caught
        finally:
            self._session = None
            if not self._is_wanted_closed:
                self.failure = self._failure(error)
            self.ready.set()
            self.over.set()

    def close(self) -> None:
        """Let it end, within about `close_timeout`. Calls that are under way are given up. Not a checkpoint."""
        self._is_wanted_closed = True
        if self._session is None:
            self._scope.cancel(reason="the MCP server is closed")
        else:
            self._wire.grace = self.settings.close_timeout
            self._scope.deadline = trio.current_time() + self.settings.close_timeout
            self._wire.end()

    async def perform(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do something with the session, in a task of its own, and return what comes of it.

        Raises:
            McpFailed: The session ended before that, or the server was not reached.
            McpToolError: The server answered with an error, or with what is no answer.
            trio.ClosedResourceError: It was closed.

        Cancellation: returns at once; the server is told in the background. Checkpoints: always.
        """
        job = _Job(work)
        if self._session is not None:
            client, nursery = self._session
            nursery.start_soon(job.run, client, name=f"MCP call of {self.settings.name}")
            try:
                await job.done.wait()
            finally:
                job.scope.cancel(reason="nobody waits for this call")
        else:
            await trio.lowlevel.checkpoint()
        if job.result is not None:
            return job.result[0]
        if self._wire.ended.is_set() or job.error is None:
            await self.over.wait()
            raise self.lost()
        # Without its cause, which may hold what was given as a secret.
        raise self._translated(job.error)

    def lost(self) -> Exception:
        """What somebody is told who wanted something of a session that is over."""
        if self.failure is None:
            return closed(self.settings.name)
        return self.failure.again()

    async def list_tools(self, client: Client) -> list[mcp_types.Tool]:
        """All tools, page by page."""
        tools: list[mcp_types.Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise McpToolError(f"its list of tools has more than {MAX_PAGES} pages")

    async def _live(self) -> None:
        settings, wire = self.settings, self._wire
        transport = (
            open_stdio(settings.server, wire)
            if isinstance(settings.server, Stdio)
            else open_http(settings.server, wire)
        )
        async with transport:
            client = Client(
                nullcontext(wire.streams),
                mode=self.mode,
                cache=None,
                message_handler=self._hear,
                client_info=mcp_types.Implementation(name="triplane", version=_version()),
            )
            try:
                async with client:
                    tools = await self.list_tools(client)
                    self.instructions = client.instructions or ""
                    async with trio.open_nursery() as nursery:
                        self._scope.deadline = float("inf")
                        self._session = client, nursery
                        self._was_ready = True
                        settings.on_tools(tools)
                        self.ready.set()
                        nursery.start_soon(self._follow_changes, client, name="MCP list of tools")
                        nursery.start_soon(self._listen, client, name="MCP subscription")
                        try:
                            await wire.ended.wait()
                        finally:
                            # Whatever ended it: the server may not answer that it was left.
                            most = trio.current_time() + settings.close_timeout
                            self._scope.deadline = min(self._scope.deadline, most)
                            self._session = None
                        nursery.cancel_scope.cancel(reason="the session is over")
            except Exception:
                # Leaving the transport ends it in any case; whoever reads of it wants to know what was wrong before.
                self._is_at_odds = not wire.ended.is_set()
                raise

    async def _hear(self, message: IncomingMessage) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self._changed.set()
        await trio.lowlevel.checkpoint()

    async def _listen(self, client: Client) -> None:
        """Ask to be told when the list of tools changes; older servers do so unasked."""
        offered = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (offered and offered.list_changed):
            return
        try:
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    self._changed.set()
        except Exception as error:  # noqa: BLE001  (a convenience; the calls go on without it)
            _logger.debug(
                "the MCP server %r does not tell of changes: %s", self.settings.name, type(error).__name__
            )

    async def _follow_changes(self, client: Client) -> None:
        while True:
            await self._changed.wait()
            # Whatever changes while the list is read is told again.
            self._changed = trio.Event()
            try:
                self.settings.on_tools(await self.list_tools(client))
            except Exception as error:  # noqa: BLE001  (the list stays as it was)
                words = concealed(str(error), concealing(self.settings.server))[:_MAX_WORDS]
                _logger.warning(
                    "the tools of the MCP server %r could not be read: %s", self.settings.name, words
                )

    def _failure(self, error: Exception | None) -> McpFailed:
        """Why a session is over that nobody wanted to end."""
        wire = self._wire
        if wire.ended.is_set() and not self._is_at_odds:
            cause = wire.reason or "ended"
        elif error is not None:
            # What does not fit is told thing by thing, and there may be thousands.
            told = concealed(_words(error), concealing(self.settings.server))[:_MAX_WORDS]
            cause = f"could not be {'used' if self._was_ready else 'opened'}: {told}"
        else:
            cause = f"did not answer within {self.settings.start_timeout:g} s"
        if self._was_ready:
            return self._failed("call", cause)
        in_vain = wire.is_refused or isinstance(_first(error), _NOT_THERE)
        return self._failed("open", cause, Receipt(next="change" if in_vain else "retry"))

    def _failed(self, moment: McpMoment, cause: str, receipt: Receipt | None = None) -> McpFailed:
        wire = self._wire
        told = [f"the MCP server {self.settings.name!r} {cause}"]
        # Of one that was made to end it says nothing.
        exit_status = (
            wire.exit_status if wire.ended.is_set() and not wire.reason and not self._is_at_odds else None
        )
        if exit_status is not None and exit_status >= 0:
            told[0] += f" (exit status {exit_status})"
        if wire.remark:
            told.append(wire.remark)
        stderr = self.stderr
        if stderr:
            last = "\n".join(stderr.splitlines()[-10:])[-_MAX_WORDS:]
            told.append(f"the last that it wrote to stderr:\n{last}")
        return McpFailed(
            concealed("; ".join(told), concealing(self.settings.server)),
            server=self.settings.name,
            moment=moment,
            exit_status=exit_status,
            stderr=stderr,
            receipt=receipt or Receipt(),
        )

    def _translated(self, error: Exception) -> Exception:
        words = concealed(_words(error), concealing(self.settings.server))[:_MAX_WORDS]
        if isinstance(error, MCPError):
            if error.data == REFUSED:
                # The session stands; but whoever asks again with the same credentials is told the same.
                return self._failed("call", f"refused the call: {words}", Receipt(next="change"))
            if error.data == UNREACHABLE:
                return self._failed("call", f"could not be reached: {words}")
            if error.code == mcp_types.CONNECTION_CLOSED and error.message.startswith("SSE stream"):
                return self._failed("call", f"broke its answer off: {words}")
            return McpToolError(words, error.code)
        if isinstance(error, McpToolError):
            return error
        return McpToolError(f"its answer cannot be used: {words}")


@final
class _Job(Generic[T]):
    """Something that is done with a session for somebody who waits."""

    def __init__(self, work: Callable[[Client], Awaitable[T]]) -> None:
        self._work = work
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.result: tuple[T] | None = None
        self.error: Exception | None = None

    async def run(self, client: Client) -> None:
        try:
            with self.scope:
                self.result = (await self._work(client),)
        except Exception as error:  # noqa: BLE001  (its caller's)
            self.error = error
        finally:
            self.done.set()


def closed(name: str) -> trio.ClosedResourceError:
    """What is raised where a server is used after its block."""
    return trio.ClosedResourceError(
        f"the MCP server {name!r} is closed; run its tools within `async with open_mcp(…)`"
    )


def _version() -> str:
    try:
        return importlib.metadata.version("triplane")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _first(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    """What is wrong: of a group the first that says something."""
    first = _first(error)
    if isinstance(first, MCPError):
        return first.message
    told: Any = str(first)
    return f"{type(first).__name__}: {told}" if told else type(first).__name__
