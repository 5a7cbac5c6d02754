"""Runs a command so that nothing of it outlives the call."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Literal, Protocol, final

import attrs
import trio

from .context import call_deadline
from .sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_PRODUCED = 64 * 1024 * 1024
# From SIGTERM to SIGKILL, for a command that the deadline of its call has caught.
GRACE = 0.5
# How long the pipe may stay open, and the leader unreaped, after the group was killed: both are over at once unless
# somebody left the group with the pipe in hand, or hangs in the kernel.
AFTER_KILL = 1.0
_CHUNK = 64 * 1024

Stderr = Literal["merge", "apart"]


@attrs.frozen
class ProcessResult:
    """How a command ended.

    Attributes:
        exit_status: The exit status of the command itself; negative for the signal that ended it.
        output: What it wrote to stdout, and to stderr unless that was kept apart, as the sink kept it.
        bytes_produced: How many bytes it wrote.
        bytes_kept: How many of them are in `output`.
        stopped: Whether it was killed because it wrote more than `max_produced`.
        errors: What it wrote to stderr, if that was kept apart; it has a sink of the same size.
    """

    exit_status: int
    output: str
    bytes_produced: int
    bytes_kept: int
    stopped: bool = False
    errors: str = ""


class TakesBytes(Protocol):
    """Where the output of a command goes. False stops the command; any other value does not."""

    def write(self, data: bytes, /) -> object:
        """Take a piece. Not a checkpoint."""
        ...


async def run_process(
    command: str | Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    stderr: Stderr = "merge",
    sink: Sink | None = None,
    max_produced: int = MAX_PRODUCED,
) -> ProcessResult:
    """Run `command` to its end and return its exit status and output.

    The command gets a session and process group of its own. When it ends, whatever it left running in its group is
    killed. A process that leaves the group (`setsid`) is not followed; it cannot hold up the return for more than a
    second.

    Args:
        command: A shell line (a str), or a program and its arguments (a sequence).
        cwd: Where to run it. Default: the current directory.
        env: Its environment. Default: this process's own.
        stdin: What it can read. Default: nothing.
        stderr: Whether stderr is one with stdout (``"merge"``, in the order in which it was written) or kept ``"apart"``.
        sink: Takes the output. Default: a new one of 65,536 bytes.
        max_produced: How many bytes it may write before it is killed; default 64 MiB.

    Raises:
        OSError: It could not be started.

    Cancellation: at the deadline of the tool call that runs it, the whole group gets SIGTERM and, half a second
    later, SIGKILL; cancelled otherwise, the group is killed at once. Then at most a second is waited for the end of the
    command, and `trio.Cancelled` is raised. Checkpoints: always.
    """
    sink = Sink() if sink is None else sink
    errors = Sink() if stderr == "apart" else None
    allowance = _Allowance(max_produced)
    sinks: list[TakesBytes] = [allowance.of(each) for each in (sink, errors) if each is not None]
    exit_status = await supervise(command, sinks, cwd=cwd, env=env, stdin=stdin)
    output = sink.text()
    return ProcessResult(
        exit_status,
        output,
        sink.bytes_produced + (0 if errors is None else errors.bytes_produced),
        sink.bytes_kept,
        allowance.is_used_up,
        "" if errors is None else errors.text(),
    )


@final
class _Allowance:
    """How much a command may still write, to all its sinks together."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    @property
    def is_used_up(self) -> bool:
        return self._left < 0

    def of(self, sink: TakesBytes) -> TakesBytes:
        return _Counted(self, sink)

    def take(self, count: int) -> bool:
        self._left -= count
        return not self.is_used_up


@attrs.frozen
class _Counted:
    allowance: _Allowance
    sink: TakesBytes

    def write(self, data: bytes) -> bool:
        self.sink.write(data)
        return self.allowance.take(len(data))


async def supervise(
    command: str | Sequence[str],
    sinks: Sequence[TakesBytes],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> int:
    """Run `command` to its end, as `run_process` says, and return its exit status.

    Args:
        command: See `run_process`.
        sinks: One for stdout and stderr, or one for each.
        cwd: See `run_process`.
        env: See `run_process`.
        stdin: See `run_process`.

    Raises:
        OSError: It could not be started.
    """
    process = await trio.lowlevel.open_process(
        command,
        shell=isinstance(command, str),
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if len(sinks) == 1 else subprocess.PIPE,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    pumps = [_Pump(process, stream, sink) for stream, sink in zip(streams, sinks, strict=True)]
    has_exited = False
    try:
        async with trio.open_nursery() as nursery:
            for pump in pumps:
                nursery.start_soon(pump.run)
            if process.stdin is not None and stdin is not None:
                nursery.start_soon(_feed, process.stdin, stdin)
            await wait_exited(process)
            has_exited = True
            # What the command left running holds the pipe open, and nobody would ever stop it.
            kill_group(process)
            nursery.cancel_scope.deadline = trio.current_time() + AFTER_KILL
    finally:
        if not has_exited and trio.current_time() >= call_deadline.get():
            with trio.CancelScope(shield=True, relative_deadline=GRACE):
                await _ask_to_end(process, pumps)
        # The group goes before its leader is reaped: as long as the leader is there, if only as a zombie, the
        # group's number cannot belong to anybody else.
        kill_group(process)
        with trio.CancelScope(shield=True, relative_deadline=AFTER_KILL):
            for pipe in (process.stdin, *streams):
                if pipe is not None:
                    await pipe.aclose()
            await process.wait()
    exit_status = process.returncode
    assert exit_status is not None
    return exit_status


@attrs.frozen(eq=False)
class _Pump:
    """Moves what a command writes to a sink."""

    process: trio.Process
    stream: trio.abc.ReceiveStream
    sink: TakesBytes

    async def run(self) -> None:
        """Until the pipe is closed. What comes after the sink said that it is enough is read and dropped."""
        is_enough = False
        while chunk := await self.stream.receive_some(_CHUNK):
            if not is_enough and self.sink.write(bytes(chunk)) is False:
                is_enough = True
                kill_group(self.process)


async def _feed(pipe: trio.abc.SendStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        async with pipe:
            await pipe.send_all(data)


async def _ask_to_end(process: trio.Process, pumps: Sequence[_Pump]) -> None:
    """Ask the whole group to end, and wait for the leader to do so; it may have something to say before."""
    signal_group(process, signal.SIGTERM)
    async with trio.open_nursery() as nursery:
        for pump in pumps:
            nursery.start_soon(pump.run)
        await wait_exited(process)
        # What it said last is still in the pipe, which closes once nobody else holds it open.
        kill_group(process)
        nursery.cancel_scope.deadline = trio.current_time() + AFTER_KILL


async def wait_exited(process: trio.Process) -> None:
    """Wait until the leader has exited, without reaping it."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or out of file descriptors
        # This one reaps. In the instant until the group is killed its number is free, should the group be empty.
        await process.wait()
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)


def kill_group(process: trio.Process) -> None:
    """Kill whoever is left of the group that `process` leads. Not a checkpoint."""
    signal_group(process, signal.SIGKILL)


def signal_group(process: trio.Process, number: signal.Signals) -> None:
    """Send a signal to the group that `process` leads. The leader must not have been reaped. Not a checkpoint."""
    # PermissionError: macOS says so of a group of zombies, and Linux of one that is somebody else's (sudo).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
