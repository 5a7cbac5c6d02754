"""Ctrl-C and its relatives: at once, in words, and nothing is left."""

from __future__ import annotations

import json
import random
import signal
import sys
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from cli_process import CLEAN, processes_with, triplane, wait_until

from triplane.server import FunctionCall, Text, Wait, serve

# A process is slow to start on a busy machine, but not to end.
AT_ONCE = 5.0


@pytest.fixture
def mark() -> str:
    """An argument for `sleep` that no other process has."""
    return f"600.{random.getrandbits(60)}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("a", "b", "c", "slow1", "slow2"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("x\n")
    return root


@attrs.frozen
class SlowInSlowFolders:
    """A model that is done at once with most folders, and never with those called slow."""

    name: str = "sloth"
    command: str | None = None

    def respond(self, request):
        if "slow" not in request.conversation.user_text:
            yield Text("files: 1\nlines: 1\n")
        elif self.command is None:
            yield Wait(600)
        else:
            yield FunctionCall("run_command", json.dumps({"command": self.command}))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupted_demo_says_what_had_finished(number, status, tree, tmp_path, nursery) -> None:
    handle = await nursery.start(partial(serve, model=SlowInSlowFolders()))
    with triplane(tmp_path / "p", "demo", str(tree), "--model", "sloth", "--url", handle.url) as process:
        await trio.to_thread.run_sync(process.wait_for, "3/5 ")
        ended, seconds = await trio.to_thread.run_sync(process.end, number)

        assert status == ended
        assert seconds < AT_ONCE
        assert (
            "interrupted: 3 of 5 runs had finished: a, b, c; nothing is left running"
            == process.err.splitlines()[-1]
        )
        assert "Traceback" not in process.err
        assert ["a", "b", "c"] == [line.split()[0] for line in process.out.splitlines()[2:5]]
    with trio.fail_after(5):
        while handle.statistics().connections_now:  # noqa: ASYNC110  # the server has no event for it
            await trio.sleep(0.01)


async def test_an_interrupted_demo_kills_its_commands(tree, mark, tmp_path, nursery) -> None:
    command = f"sleep {mark} & sleep {mark}"
    handle = await nursery.start(partial(serve, model=SlowInSlowFolders(command=command)))
    arguments = ("demo", str(tree), "--model", "sloth", "--url", handle.url, "--allow-commands")
    with triplane(tmp_path / "p", *arguments) as process:
        await trio.to_thread.run_sync(wait_until, lambda: len(processes_with(f"sleep\0{mark}")) == 4, "sleep")
        status, seconds = await trio.to_thread.run_sync(process.end)

        assert 130 == status
        assert seconds < AT_ONCE
        assert [] == processes_with(mark)


def test_the_local_demo_dies_in_the_middle_of_a_command_too(tree, mark, tmp_path) -> None:
    """The commands of the model on this machine are `find` and its friends: here is a `find` that never ends."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "find").write_text(f"#!/bin/sh\nsleep {mark}\n")
    (tools / "find").chmod(0o755)
    path = f"{tools}:{CLEAN['PATH']}"
    with triplane(tmp_path / "p", "demo", str(tree), "--latency", "0", PATH=path) as process:
        wait_until(lambda: len(processes_with(mark)) >= 5, "the commands of five runs")
        status, seconds = process.end()

        assert 130 == status
        assert seconds < AT_ONCE
        assert [] == processes_with(mark)
        assert (
            "interrupted: 0 of 5 runs had finished; nothing is left running" == process.err.splitlines()[-1]
        )
        assert "" == process.out


def test_an_interrupted_demo_still_writes_its_json(tree, tmp_path) -> None:
    with triplane(tmp_path / "p", "demo", str(tree), "--latency", "60", "--json") as process:
        process.wait_for("Surveying")
        # The line is written a moment before signals are handled by the command itself.
        wait_until(lambda: _catches_sigterm(process.popen.pid), "the handlers")
        status, seconds = process.end()

        assert 130 == status
        assert seconds < AT_ONCE
        result = json.loads(process.out)
        assert (True, [], 5) == (result["interrupted"], result["runs"], len(result["unfinished"]))


def _catches_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


async def test_an_interrupted_run_says_so_and_kills_its_command(mark, tmp_path, nursery) -> None:
    handle = await nursery.start(partial(serve, model="directive"))
    command = json.dumps({"command": f"sleep {mark}"})
    arguments = (
        "run",
        "--model",
        "m",
        "--url",
        handle.url,
        "--tools",
        f"workspace:{tmp_path}",
        "--allow-commands",
    )
    with triplane(tmp_path / "p", *arguments, f"CALL run_command {command}") as process:
        await trio.to_thread.run_sync(wait_until, lambda: len(processes_with(f"sleep\0{mark}")) >= 1, "sleep")
        status, seconds = await trio.to_thread.run_sync(process.end)

        assert 130 == status
        assert seconds < AT_ONCE
        assert [] == processes_with(f"sleep\0{mark}")
        assert "" == process.out
        assert "interrupted; nothing is left running" == process.err.splitlines()[-1]


async def test_a_paused_pager_does_not_hold_up_ctrl_c(tmp_path, nursery) -> None:
    """Standard output is a pipe that nobody reads, as with `| less` at its first page."""
    handle = await nursery.start(partial(serve, model="directive"))
    arguments = ["run", "--model", "m", "--url", handle.url, "--json", "SAY 4000 " + "x" * 100]
    async with trio.open_nursery() as inner:
        run = partial(
            trio.run_process,
            [sys.executable, "-m", "triplane", *arguments],
            stdout=-1,
            capture_stderr=True,
            check=False,
            env=CLEAN,
        )
        process: trio.Process = await inner.start(run)
        with trio.fail_after(20):
            # It stops reading its socket once the pipe is full and its reader has fallen far behind.
            sent = -1
            while sent != handle.statistics().events_sent or sent < 100:
                sent = handle.statistics().events_sent
                await trio.sleep(0.1)
            process.send_signal(signal.SIGINT)
        with trio.fail_after(AT_ONCE):
            status = await process.wait()

    assert 130 == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_at_once_and_well(number, tmp_path) -> None:
    with triplane(tmp_path / "p", "serve") as process:
        process.wait_for("ws://")
        status, seconds = process.end(number)

        assert 0 == status
        assert seconds < AT_ONCE
        assert 1 == process.out.count("\n")
        assert "" == process.err
