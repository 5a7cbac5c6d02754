"""Runs a command so that nothing of it outlives the call."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import attrs
import trio

from .sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_PRODUCED = 64 * 1024 * 1024
# How long the pipe may stay open, and the leader unreaped, after the group was killed: both are over at once unless
# somebody left the group with the pipe in hand, or hangs in the kernel.
_AFTER_KILL = 1.0
_CHUNK = 64 * 1024


@attrs.frozen
class ProcessResult:
    """How a command ended.

    Attributes:
        exit_status: The exit status of the command itself; negative for the signal that ended it.
        output: What it wrote to stdout and stderr, as the sink kept it.
        bytes_produced: How many bytes it wrote.
        bytes_kept: How many of them are in `output`.
        stopped: Whether it was killed because it wrote more than `max_produced`.
    """

    exit_status: int
    output: str
    bytes_produced: int
    bytes_kept: int
    stopped: bool = False


async def run_process(
    command: str | Sequence[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    sink: Sink | None = None,
    max_produced: int = MAX_PRODUCED,
) -> ProcessResult:
    """Run `command` to its end and return its exit status and output.

    The command gets a session and process group of its own, an empty stdin, and one pipe for stdout and stderr.
    When it ends, whatever it left running in its group is killed. A process that leaves the group (`setsid`) is not
    followed; it cannot hold up the return for more than a second.

    Args:
        command: A shell line (a str), or a program and its arguments (a sequence).
        cwd: Where to run it. Default: the current directory.
        env: Its environment. Default: this process's own.
        sink: Takes the output. Default: a new one of 65,536 bytes.
        max_produced: How many bytes it may write before it is killed; default 64 MiB.

    Raises:
        OSError: It could not be started.

    Cancellation: kills the whole group at once (SIGKILL), waits at most a second for the end of the command, then
    raises `trio.Cancelled`. Checkpoints: always.
    """
    sink = Sink() if sink is None else sink
    process = await trio.lowlevel.open_process(
        command,
        shell=isinstance(command, str),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    assert process.stdout is not None
    stdout = process.stdout
    stopped = False

    async def drain() -> None:
        nonlocal stopped
        written = 0
        while chunk := await stdout.receive_some(_CHUNK):
            sink.write(chunk)
            written += len(chunk)
            if written > max_produced and not stopped:
                stopped = True
                _kill_group(process)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain)
            await _wait_exited(process)
            # What the command left running holds the pipe open, and nobody would ever stop it.
            _kill_group(process)
            nursery.cancel_scope.deadline = trio.current_time() + _AFTER_KILL
    finally:
        # The group goes before its leader is reaped: as long as the leader is there, if only as a zombie, the
        # group's number cannot belong to anybody else.
        _kill_group(process)
        with trio.CancelScope(shield=True, relative_deadline=_AFTER_KILL):
            await stdout.aclose()
            await process.wait()
    exit_status = process.returncode
    assert exit_status is not None
    return ProcessResult(exit_status, sink.text(), sink.bytes_produced, sink.bytes_kept, stopped)


async def _wait_exited(process: trio.Process) -> None:
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


def _kill_group(process: trio.Process) -> None:
    # PermissionError: macOS says so of a group of zombies, and Linux of one that is somebody else's (sudo).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
