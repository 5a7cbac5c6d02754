"""A run on the command line that is killed, and continued by another process from the file that has its log."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
import trio
from cli_process import CLEAN, wait_until

import triplane
from triplane.server import Stall, serve


def words(handle, ledger, *arguments: str) -> list[str]:
    """The command line."""
    command, *rest = arguments
    options = ["--model", "m", "--url", handle.url, "--ledger", str(ledger)]
    return [sys.executable, "-m", "triplane", command, *rest, *options]


async def finished(*arguments) -> subprocess.CompletedProcess[bytes]:
    """What such a process leaves."""
    return await trio.run_process(
        words(*arguments), capture_stdout=True, capture_stderr=True, check=False, env=CLEAN
    )


@pytest.fixture
async def killed(nursery, tmp_path):
    """A server, a ledger, and the id of a run that was killed in the middle of its second answer."""
    handle = await nursery.start(partial(serve, model="directive", faults=[Stall(3, nth=2)]))
    ledger = tmp_path / "runs.db"
    prompt = "CALL nothing {}\nSAY 3 word "
    process = await trio.lowlevel.open_process(
        words(handle, ledger, "run", prompt), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=CLEAN
    )
    told = b""
    async with process.stderr:
        async for chunk in process.stderr:
            told += chunk
            if b"turn 2:" in told:
                break
        # It is told before it is sent, and the server stalls at the second request that it sees.
        await trio.to_thread.run_sync(
            wait_until, lambda: handle.statistics().responses_created == 2, "the second request"
        )
        process.kill()
    await process.wait()
    async with triplane.open_ledger(ledger) as left:
        (run_id,) = await left.run_ids()
    return handle, ledger, run_id


async def test_what_was_killed_goes_on(killed) -> None:
    handle, ledger, run_id = killed

    refused = await finished(handle, ledger, "resume", run_id, "--instructions", "Be somebody else.")
    assert 1 == refused.returncode
    assert b"the instructions are new" in refused.stderr

    unknown = await finished(handle, ledger, "resume", "run_nonesuch")
    assert 1 == unknown.returncode
    assert b"there is no run run_nonesuch in " in unknown.stderr

    resumed = await finished(handle, ledger, "resume", run_id[:12])
    assert (0, b"word word word \n") == (resumed.returncode, resumed.stdout), resumed.stderr
    assert b"the run goes on\nturn 2 is tried again (resumed)" in resumed.stderr
    assert b"turn 2, attempt 2:" in resumed.stderr

    again = await finished(handle, ledger, "resume", "last")
    assert resumed.stdout == again.stdout
    assert b"turn 2" not in again.stderr


async def test_what_there_is_not(nursery, tmp_path) -> None:
    handle = await nursery.start(partial(serve, model="directive"))
    ended = await finished(handle, tmp_path / "none.db", "resume", "run_1")

    assert 2 == ended.returncode
    assert b"there is no ledger" in ended.stderr
    assert not list(tmp_path.iterdir())
