from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from tool_bench import until

from descriptors import none_left_open
from triplane.tools import ProcessResult, Sink, process, run_process

PATIENCE = 10


def members(group: int) -> list[str]:
    """The living processes of a process group: what zombies there are only wait for somebody to look at them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            state, _, pgrp = stat.rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(stat)
    return found


async def nobody_left(group: int) -> None:
    """Killed is not dead: a process needs a moment to go."""
    await until(lambda: not members(group))


async def written(path: Path) -> str:
    """What is in the file, as soon as there is a whole line."""

    def read() -> str:
        return path.read_text() if path.exists() else ""

    await until(lambda: read().endswith("\n"))
    return read().strip()


@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        ("echo out; echo err >&2; exit 3", 3, "out\nerr\n"),
        (("printf", "%s", "a b"), 0, "a b"),
        ([sys.executable, "-c", "print('x')"], 0, "x\n"),
        ("kill -9 $$", -9, ""),
        ("cat; echo end", 0, "end\n"),  # stdin is empty
        ("printf '\\377'", 0, "\ufffd"),
        ("true", 0, ""),
    ],
)
async def test_a_command(command: Any, status: int, output: str) -> None:
    result = await run_process(command)

    size = len(output.encode())
    assert result == ProcessResult(status, output, size, size)


async def test_where_and_with_what(tmp_path: Path) -> None:
    result = await run_process('pwd; echo "$A$HOME"', cwd=tmp_path, env={"A": "1"})

    assert result.output == f"{tmp_path}\n1\n"


async def test_stdin_is_not_ours() -> None:
    reader, writer = os.pipe()
    ours = os.dup(0)
    os.dup2(reader, 0)
    try:
        with trio.fail_after(PATIENCE):
            assert (await run_process("cat")).output == ""
    finally:
        os.dup2(ours, 0)
        for descriptor in (ours, reader, writer):
            os.close(descriptor)


async def test_it_has_a_session_of_its_own() -> None:
    result = await run_process("ps -o pid=,pgid=,sid= -p $$ 2>/dev/null || cut -d' ' -f1,5,6 /proc/$$/stat")

    pid, pgid, sid = result.output.split()
    assert pid == pgid == sid != str(os.getsid(0))


async def test_into_a_sink() -> None:
    sink = Sink(100)
    sink.write(b"before ")

    result = await run_process("yes | head -c 1000", sink=sink)

    assert result.output == sink.text()
    assert result.output.startswith("before y\n")
    assert (result.bytes_produced, result.bytes_kept) == (1007, 100)


@pytest.mark.parametrize(
    ("command", "kind"),
    [(["/does/not/exist"], FileNotFoundError), (["/"], PermissionError), ("a\0b", ValueError)],
)
async def test_what_cannot_be_started(command: Any, kind: type[Exception]) -> None:
    with none_left_open(), pytest.raises(kind):
        await run_process(command)


async def test_it_checkpoints_and_leaks_nothing() -> None:
    await run_process("true")
    with none_left_open(), trio.testing.assert_checkpoints():
        await run_process("true")


@pytest.mark.parametrize(
    "command",
    [
        "echo $$ > pid; sleep 60 | cat",
        "echo $$ > pid; sleep 60",
        "(sleep 60 &) ; (sleep 60 | sleep 60) & echo $$ > pid; wait",
        "trap '' TERM INT HUP; echo $$ > pid; while :; do sleep 60; done",
        # Busy writing: the pipe is full at all times.
        "echo $$ > pid; yes",
    ],
)
async def test_cancelled_it_leaves_nobody(command: str, tmp_path: Path) -> None:
    with none_left_open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_process, command, cwd=tmp_path))
            group = int(await written(tmp_path / "pid"))
            assert members(group)
            nursery.cancel_scope.cancel()

        await nobody_left(group)


async def test_cancelled_before_it_starts(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await run_process("touch started", cwd=tmp_path)

    assert scope.cancelled_caught
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fallback", [False, True])
async def test_what_it_leaves_in_the_background_is_killed(
    fallback: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "AFTER_KILL", 60)
    if fallback:
        monkeypatch.delattr(os, "pidfd_open")
    with trio.fail_after(PATIENCE):
        result = await run_process("sleep 60 & sleep 60 & echo $$")

    assert result.exit_status == 0
    await nobody_left(int(result.output))


async def test_cancelled_when_only_the_group_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The leader has exited, but before that is noticed the call is cancelled."""

    async def never(process: trio.Process) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(process, "wait_exited", never)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_process, "sleep 60 & echo $$ > pid", cwd=tmp_path))
        group = int(await written(tmp_path / "pid"))
        await until(lambda: len(members(group)) == 1)
        nursery.cancel_scope.cancel()

    await nobody_left(group)


async def test_who_leaves_the_group_does_not_hold_it_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It keeps the pipe open, and runs on."""
    monkeypatch.setattr(process, "AFTER_KILL", 0.05)
    escape = "import os, time; os.setsid(); print('x', file=open('pid', 'w')); time.sleep(60)"
    with trio.fail_after(PATIENCE):
        result = await run_process(
            f'{sys.executable} -S -c "{escape}" & echo $!; while ! test -s pid; do :; done', cwd=tmp_path
        )

    escaped = int(result.output)
    assert members(escaped)
    os.kill(escaped, signal.SIGKILL)
    await nobody_left(escaped)


async def test_a_leader_that_does_not_go_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it hung in the kernel: the cancellation goes on all the same."""
    monkeypatch.setattr(process, "AFTER_KILL", 0.05)
    kill = process.kill_group
    monkeypatch.setattr(process, "kill_group", lambda process: None)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            leader: list[trio.Process] = []
            open_process = trio.lowlevel.open_process

            async def opened(*args: Any, **options: Any) -> trio.Process:
                leader.append(await open_process(*args, **options))
                return leader[0]

            monkeypatch.setattr(trio.lowlevel, "open_process", opened)
            nursery.start_soon(run_process, "exec sleep 60")
            await until(lambda: leader)
            nursery.cancel_scope.cancel()

    assert leader[0].returncode is None
    assert leader[0].stdout is not None
    with pytest.raises(trio.ClosedResourceError):
        await leader[0].stdout.receive_some()
    kill(leader[0])
    await leader[0].wait()


async def test_a_flood_is_stopped() -> None:
    with trio.fail_after(PATIENCE):
        result = await run_process("yes", max_produced=1_000_000)

    assert result.stopped
    assert result.exit_status == -signal.SIGKILL
    assert 1_000_000 < result.bytes_produced < 2_000_000
    assert result.bytes_kept == 65_536


async def test_output_before_the_end_is_not_lost() -> None:
    """The leader is gone, the pipe is still full."""
    for _ in range(5):
        result = await run_process("head -c 60000 /dev/zero | tr '\\0' x; sleep 60 &", sink=Sink(60_000))
        assert result.output == "x" * 60_000


async def test_many_at_once() -> None:
    results: list[str] = []

    async def one(number: int) -> None:
        results.append((await run_process(f"echo {number}")).output)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)

    assert sorted(map(int, results)) == list(range(20))
