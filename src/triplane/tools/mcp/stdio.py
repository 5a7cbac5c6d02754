"""Speaks with an MCP server over the stdin and stdout of its process.

The SDK has such a transport, which is not used: it does not say which process it started, so nobody could kill its group;
it keeps a line of any length; and closing it takes as long as it likes, under a shield of its own.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import anyio
import trio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from triplane.tools import process as processes
from triplane.tools.process import kill_group, signal_group, wait_exited

from .wire import LOOKED_AT, MAX_MESSAGE, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from .servers import Stdio

# What servers print to stdout by mistake is skipped; whatever prints so much in a row is no server.
_MAX_STRAYS = 1_000
_SHOWN = 200
_MAX_STDERR = 4_096
# How long it is heard after its end, should somebody else still hold its stderr.
_LAST_WORDS = 0.2
# So many messages may wait for a server that does not read. The session must not wait in its place: it does so under a
# shield when a call is cancelled.
_MAX_WAITING = 1_000


@asynccontextmanager
async def open_stdio(server: Stdio, wire: Wire) -> AsyncIterator[None]:
    """Start the process, and give `wire` its streams. On leaving, the process is asked to end, and its group killed.

    Leaving takes `wire.grace` seconds, half a second and a second at most.

    Raises:
        OSError: It could not be started.
    """
    process = await trio.lowlevel.open_process(
        server.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=server.cwd,
        env={**get_default_environment(), **server.env},
        start_new_session=True,
    )
    pipes = _Pipes(process, wire)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipes.read, name="MCP stdout")
            nursery.start_soon(pipes.write, name="MCP stdin")
            nursery.start_soon(pipes.hear, name="MCP stderr")
            nursery.start_soon(pipes.watch, name="MCP process")
            try:
                yield
            finally:
                most = wire.grace + processes.GRACE + processes.AFTER_KILL
                with trio.CancelScope(shield=True, relative_deadline=most):
                    await pipes.stop()
                nursery.cancel_scope.cancel()
    finally:
        # Until here the leader was not reaped, so its group's number was nobody else's.
        kill_group(process)
        pipes.close()
        with trio.CancelScope(shield=True, relative_deadline=processes.AFTER_KILL):
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await pipe.aclose()
            wire.exit_status = await process.wait()


@final
class _Pipes:
    """Moves messages between the pipes of a process and a session."""

    def __init__(self, process: trio.Process, wire: Wire) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._wire = wire
        self._exited = trio.Event()
        self._silent = trio.Event()
        self._has_said_all = trio.Event()
        self._strays = 0
        self._to_session: MemoryObjectSendStream[SessionMessage | Exception]
        self._from_session: MemoryObjectReceiveStream[SessionMessage]
        self._to_session, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        said, self._from_session = anyio.create_memory_object_stream[SessionMessage](_MAX_WAITING)
        wire.streams = (heard, said)

    async def read(self) -> None:
        """Take messages off stdout, until it ends or is given up."""
        try:
            await self._read_lines()
            self._wire.end()
        finally:
            self._to_session.close()
            self._silent.set()

    async def _read_lines(self) -> None:
        rest = bytearray()
        try:
            async for chunk in self._stdout:
                *lines, last = chunk.split(b"\n")
                for line in lines:
                    rest += line
                    message, rest = bytes(rest), bytearray()
                    if not await self._take(message):
                        return
                rest += last
                if len(rest) > MAX_MESSAGE:
                    self._wire.end(f"sent a message of more than {MAX_MESSAGE:,} bytes")
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _take(self, line: bytes) -> bool:
        """Pass one line on, if it is a message, and tell whether more is wanted."""
        if not line.strip():
            return True
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._strays += 1
            words = self._wire.conceal(line[:LOOKED_AT].decode(errors="replace"))[:_SHOWN].strip()
            self._wire.remark = f"what it wrote to stdout was no message: {words!r}"
            if self._strays >= _MAX_STRAYS:
                self._wire.end(f"wrote {_MAX_STRAYS:,} lines to stdout that are no messages")
            return self._strays < _MAX_STRAYS
        self._strays = 0
        try:
            await self._to_session.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return False  # the session is over
        return True

    async def write(self) -> None:
        """Write what the session says to stdin, until one of them is over."""
        try:
            async for message in self._from_session:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await self._stdin.send_all(text.encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # It reads no more. If it has not ended, it is of no use, and there is an end of waiting for it.
            with trio.move_on_after(processes.AFTER_KILL):
                await self._exited.wait()
            self._wire.end("closed its stdin")
        finally:
            self._from_session.close()

    async def hear(self) -> None:
        """Keep what it wrote to stderr last."""
        tail = self._wire.stderr
        try:
            async for chunk in self._stderr:
                tail += chunk
                del tail[:-_MAX_STDERR]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._has_said_all.set()

    async def watch(self) -> None:
        """End the session when the process has ended, whoever still holds its pipes."""
        await wait_exited(self._process)
        kill_group(self._process)
        self._exited.set()
        with trio.move_on_after(processes.AFTER_KILL):
            await self._silent.wait()
        self._wire.end()
        self._to_session.close()

    async def stop(self) -> None:
        """Ask it to end: by the end of its input, then by SIGTERM. Then it is killed, and what it said last is heard."""
        self.close()
        # Not by the task that watches: that may have been cancelled.
        for grace, how in ((self._wire.grace, self._stdin.aclose), (processes.GRACE, self._ask)):
            with trio.CancelScope(shield=True, relative_deadline=grace) as scope:
                await how()
                await wait_exited(self._process)
            if not scope.cancelled_caught:
                break
        kill_group(self._process)
        with trio.CancelScope(shield=True, relative_deadline=_LAST_WORDS):
            await self._has_said_all.wait()

    async def _ask(self) -> None:
        signal_group(self._process, signal.SIGTERM)
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """The session hears the end. Idempotent."""
        self._to_session.close()
        self._from_session.close()
