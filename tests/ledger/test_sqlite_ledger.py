"""The ledger on disk beyond what every store must do: processes, claims, groups, memory, what it says when it fails."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import sharing
import trio
import trio.testing

import triplane
from descriptors import open_descriptors
from triplane.core.errors import ConfigError, LedgerFailed
from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    ApprovalGiven,
    FramesReceived,
    InputAdded,
    LateResultDropped,
    RunEnded,
    RunParked,
    RunResumed,
    RunStarted,
    ToolFinished,
    ToolProgress,
    ToolQueued,
    ToolStarted,
)
from triplane.ledger import owner, sqlite_log, sqlite_writer, upkeep
from triplane.ledger.export import as_atif, as_input, as_line
from triplane.ledger.sqlite_trouble import transaction

STARTED = RunStarted("run_1", "agent", "model", "f", ({"role": "user", "content": "hello"},))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def test_processes_share_a_file(path: Path) -> None:
    """A sample; `nox -s sweep -- sharing` has eight of them for half a minute."""
    total, wrong = sharing.share(path, 2, 0.3)

    assert [] == wrong
    assert total > 2 * sharing.RUNS


async def test_an_engine_opens_the_file_that_it_is_given(bench, path: Path) -> None:
    async with bench(ledger=path) as b:
        state = await b.engine.run(triplane.Agent("m"), "SAY 3 a")
    async with triplane.open_ledger(path) as ledger:
        (run_id,) = await ledger.run_ids()
        records = await (await ledger.open(run_id)).read(-1)
        (summary,) = await upkeep.summaries(ledger)
        # The engine has given the claim back.
        assert 2 == (await ledger.claim(run_id)).token

    assert state.run_id == run_id
    assert RunEnded("completed") == records[-1].body
    assert ("completed", 1, 0, len(records)) == (
        summary.status,
        summary.requests,
        summary.tool_calls,
        summary.records,
    )


CLAIM = """
import sys, trio, triplane
from triplane.core.records import InputAdded
async def main():
    async with triplane.open_ledger(sys.argv[1]) as ledger:
        log = ledger.create("run_1")
        log.append(InputAdded(({"n": 1},)))
        await log.durable()
        print("there", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_the_claim_of_a_process_that_was_killed_counts_for_nothing(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CLAIM, str(path)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert b"there\n" == await trio.to_thread.run_sync(process.stdout.readline)
        async with triplane.open_ledger(path) as ledger:
            with pytest.raises(LedgerFailed, match="driven by another engine"):
                await ledger.claim("run_1")
            process.send_signal(signal.SIGKILL)
            await trio.to_thread.run_sync(process.wait)
            log = await ledger.claim("run_1")
            assert [InputAdded(({"n": 1},))] == [record.body for record in await log.read(-1)]


COUNT = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(*[records for (records,) in connection.execute("SELECT records FROM runs")])
connection.close()
"""


async def test_a_process_that_leaves_takes_nothing_along(path: Path) -> None:
    """It deletes the `-wal` file if nobody has a lock, as after a descriptor of the file was closed beside SQLite."""

    async def elsewhere() -> list[str]:
        command = [sys.executable, "-c", COUNT, str(path)]
        done = await trio.run_process(command, capture_stdout=True)
        return done.stdout.decode().split()

    async with triplane.open_ledger(path) as ledger, triplane.open_ledger(path) as second:
        log = ledger.create("run_1")
        log.append(STARTED)
        await log.durable()
        await ledger.run_ids()
        await second.run_ids()
        assert ["1"] == await elsewhere()
        log.append(RunEnded("completed"))
        await log.durable()
        assert ["2"] == await elsewhere()


async def test_a_claim_ends_with_its_deadline_and_who_lost_it_cannot_write(path: Path) -> None:
    """As if one of them had been stopped, or were on another machine."""
    now = [1_000.0]
    async with (
        triplane.open_ledger(path, clock=lambda: now[0], claim_seconds=60) as first,
        triplane.open_ledger(path, clock=lambda: now[0], claim_seconds=60) as second,
    ):
        log = first.create("run_1")
        log.append(STARTED)
        await log.durable()
        now[0] += 59
        with pytest.raises(LedgerFailed, match=r"1 s from now"):
            await second.claim("run_1")
        now[0] += 2
        taken = await second.claim("run_1")
        assert 2 == taken.token
        taken.append(InputAdded(({"by": "second"},)))
        await taken.durable()
        log.append(InputAdded(({"by": "first"},)))
        for _ in range(2):
            with pytest.raises(LedgerFailed, match="taken over") as caught:
                await log.durable()
            assert "claim_lost" == caught.value.reason
        with pytest.raises(LedgerFailed):
            log.append(RunEnded("failed"))
        taken.append(RunEnded("completed"))
        await taken.durable()
        bodies = [record.body for record in await (await second.open("run_1")).read(-1)]

    assert [STARTED, InputAdded(({"by": "second"},)), RunEnded("completed")] == bodies


def test_who_is_dead_is_known_of_this_machine_alone() -> None:
    me = owner.new_owner()
    machine, pid, started, _ = me.split("/")[0], *me.split("/")[1:]

    assert not owner.is_dead(me)
    assert owner.is_dead(f"{machine}/{pid}/1{started}/1")
    assert not owner.is_dead(f"elsewhere/{pid}/1{started}/1")
    for odd in ("", "x", f"{machine}/x/y/z", f"{machine}/{pid}//1"):
        assert not owner.is_dead(odd)


async def test_a_fork_cannot_use_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        with monkeypatch.context() as patch:
            patch.setattr(owner, "_generation", owner.generation() + 1)
            with pytest.raises(LedgerFailed, match="fork") as caught:
                log.append(STARTED)
        assert "forked" == caught.value.reason
        assert 0 == log.append(STARTED).sequence


FORK = """
import os, runpy, sys
generation = runpy.run_path(sys.argv[1])["generation"]
before = generation()
pid = os.fork()
os._exit(generation() == before) if not pid else None
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or generation() != before)
"""


def test_a_fork_is_another_generation() -> None:
    """In a process of its own, since this one may run threads."""
    assert owner.__file__ is not None
    assert 0 == subprocess.run([sys.executable, "-c", FORK, owner.__file__], check=False).returncode


async def test_after_it_was_left_it_says_so(path: Path) -> None:
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        log.append(STARTED)
    for attempt in (lambda: log.append(STARTED), lambda: ledger.create("run_2")):
        with pytest.raises(LedgerFailed, match="was left"):
            attempt()
    for step in (lambda: ledger.open("run_2"), ledger.run_ids, lambda: ledger.claim("run_2")):
        with pytest.raises(LedgerFailed, match="was left"):
            await step()
    log.release()


async def test_leaving_writes_what_nobody_waited_for(path: Path) -> None:
    with trio.CancelScope() as scope:
        async with triplane.open_ledger(path) as ledger:
            ledger.create("run_1").append(STARTED)
            scope.cancel()
            await trio.sleep(1)
    async with triplane.open_ledger(path) as ledger:
        assert [STARTED] == [record.body for record in await (await ledger.open("run_1")).read(-1)]


async def test_other_processes_that_hold_the_file_are_waited_for_and_then_named(path: Path) -> None:
    async with triplane.open_ledger(path, busy_timeout=0.05) as ledger:
        log = ledger.create("run_1")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        log.append(STARTED)
        with pytest.raises(LedgerFailed, match="busy_timeout") as caught:
            await log.durable()
        assert "locked" == caught.value.reason
        other.execute("COMMIT")
        other.close()
        # Nothing is lost meanwhile.
        log.append(RunEnded("completed"))
        await log.durable()
        assert 2 == len(await log.read(-1))


@pytest.mark.parametrize("begun", [False, True])
async def test_a_commit_that_fails_and_is_there_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch, begun
) -> None:
    """As when the flush fails, the last thing that it does: whoever opens the file anew finds the records."""

    @contextmanager
    def failing(connection, kind):
        with transaction(connection, kind):
            yield
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        if begun:
            log.append(STARTED)
            await log.durable()
        with monkeypatch.context() as patch:
            patch.setattr(sqlite_writer, "transaction", failing)
            log.append(InputAdded(({"n": 1},)))
            with pytest.raises(LedgerFailed) as caught:
                await log.durable()
            assert "io" == caught.value.reason
        log.append(RunEnded("completed"))
        await log.durable()
        log.release()
        await log.durable()
    async with triplane.open_ledger(path) as ledger:
        assert [] == await upkeep.check(ledger)
        bodies = [record.body for record in await (await ledger.open("run_1")).read(-1)]

    assert [STARTED] * begun + [InputAdded(({"n": 1},)), RunEnded("completed")] == bodies


async def test_a_file_that_is_moved_away_is_missed_and_written_once_it_is_back(path: Path) -> None:
    elsewhere = path.with_name("elsewhere.db")
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        log.append(STARTED)
        await log.durable()
        path.rename(elsewhere)
        log.append(InputAdded(({"n": 1},)))
        with pytest.raises(LedgerFailed, match="removed, renamed or replaced"):
            await log.durable()
        # Nor is another file begun in its place.
        assert not path.exists()
        elsewhere.rename(path)
        log.append(RunEnded("completed"))
        await log.durable()
    async with triplane.open_ledger(path) as ledger:
        assert [] == await upkeep.check(ledger)
        bodies = [record.body for record in await (await ledger.open("run_1")).read(-1)]

    assert [STARTED, InputAdded(({"n": 1},)), RunEnded("completed")] == bodies


async def test_a_file_that_is_replaced_gets_nothing_of_what_was_in_the_one_before(path: Path) -> None:
    other = path.with_name("other.db")
    async with triplane.open_ledger(other):
        pass
    with pytest.raises(LedgerFailed, match="removed, renamed or replaced") as caught:
        async with triplane.open_ledger(path) as ledger:
            other.rename(path)
            log = ledger.create("run_1")
            log.append(STARTED)
            with pytest.raises(LedgerFailed, match="removed, renamed or replaced"):
                await log.durable()
    async with triplane.open_ledger(path) as ledger:
        assert () == await ledger.run_ids()

    assert "io" == caught.value.reason


async def test_a_log_that_is_written_leaves_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "_TAIL", 10_000)
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        for number in range(200):
            log.append(FramesReceived("c1", (f'{{"type":"x","n":{number}}}' + " " * 1_000,)))
            if number % 20 == 0:
                await log.durable()
        await log.durable()
        assert len(log._tail) < 40
        # What is not there any more comes from the file, and it is the same.
        records = await log.read(-1)
        assert [*range(200)] == [record.sequence for record in records]
        assert records[-20:] == await log.read(179)


async def test_what_is_redacted_reaches_no_reader_and_no_file(path: Path) -> None:
    def redact(body):
        if isinstance(body, InputAdded):
            return InputAdded(({"content": "[removed]"},))
        return body

    async with triplane.open_ledger(path, redact=redact) as ledger:
        log = ledger.create("run_1")
        log.append(STARTED)
        given = log.append(InputAdded(({"content": "canary-4711"},)))
        await log.durable()
        read = [record.body for record in await log.read(0)]
        assert b"canary-4711" not in path.read_bytes() + Path(f"{path}-wal").read_bytes()

    assert InputAdded(({"content": "canary-4711"},)) == given.body
    assert [InputAdded(({"content": "[removed]"},))] == read


async def test_what_is_redacted_stays_of_its_class(path: Path) -> None:
    """Anything else would make another state of the log than the run's."""
    async with triplane.open_ledger(path, redact=lambda _: RunEnded("completed")) as ledger:
        log = ledger.create("run_1")
        with pytest.raises(ConfigError, match=r"given a RunStarted and returned a RunEnded"):
            log.append(STARTED)
        log.append(RunEnded("failed"))
        await log.durable()
        assert 1 == len(await log.read(-1))


@pytest.mark.parametrize(
    "arguments", [{"sync": "maybe"}, {"busy_timeout": 0}, {"claim_seconds": float("nan")}]
)
async def test_arguments_that_cannot_be(path: Path, arguments) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        async with triplane.open_ledger(path, **arguments):
            pass


@pytest.mark.parametrize("wrong", [5, None, b"runs.db", object()])
async def test_what_cannot_be_a_path(wrong) -> None:
    with pytest.raises(ConfigError, match="give its path as text or a Path, not"):
        async with triplane.open_ledger(wrong):
            pytest.fail("it was entered")


@pytest.mark.parametrize("sync", ["off", "normal", "full"])
async def test_every_mode_writes(path: Path, sync) -> None:
    async with triplane.open_ledger(path, sync=sync) as ledger:
        log = ledger.create("run_1")
        log.append(STARTED)
        await log.durable()
    async with triplane.open_ledger(path) as ledger:
        assert ("run_1",) == await ledger.run_ids()


async def test_runs_are_pruned_by_age_and_size_and_never_while_they_run(path: Path) -> None:
    now = [1_000.0]
    async with triplane.open_ledger(path, clock=lambda: now[0]) as ledger:
        for number in range(4):
            log = ledger.create(f"run_{number}")
            log.append(InputAdded(({"x": "y" * 50_000},)))
            await log.durable()
            if number:
                log.release()
                await log.durable()
            now[0] += 1
        assert ["run_1"] == [run.run_id for run in await upkeep.prune(ledger, older_than=2.5)]
        assert ["run_2"] == [run.run_id for run in await upkeep.prune(ledger, max_size=120_000)]
        assert ("run_0", "run_3") == await ledger.run_ids()
        assert [] == await upkeep.check(ledger)
        with pytest.raises(LedgerFailed, match="driven"):
            await ledger.remove("run_0")


async def test_what_an_unfinished_call_drives_stays_as_long_as_its_run(path: Path) -> None:
    call = ToolStarted("call_1", "child", "{}", "idempotent", "k")
    now = [1_000.0]
    async with triplane.open_ledger(path, clock=lambda: now[0]) as ledger:
        for run_id, bodies in (
            (call.child_run_id, [RunParked(("call_9",))]),
            ("run_of_call", [call, RunParked(("call_9",))]),
            ("run_ended", [call, ToolFinished("call_1", "child", ToolOutcome("ok", ""))]),
        ):
            log = ledger.create(run_id)
            for body in bodies:
                log.append(body)
            log.release()
            await log.durable()
            now[0] += 1
        # The child is the oldest, and what made it is not old enough.
        assert [] == await upkeep.prune(ledger, older_than=2.5)
        now[0] += 1
        assert ["run_of_call", call.child_run_id] == [
            run.run_id for run in await upkeep.prune(ledger, older_than=2.5)
        ]
        assert ("run_ended",) == await ledger.run_ids()


PARKED = (RunParked(("call_1", "call_2")), ApprovalGiven("call_1", approved=True), InputAdded(()))
ASYNC_CALL = (
    ToolQueued("call_3", "order"),
    ToolStarted("call_3", "order", "{}", "read", "key"),
    ToolProgress("call_3", "order", 3),
    ToolFinished("call_3", "order", ToolOutcome("ok", "done")),
    LateResultDropped("call_4", "order", 1.0),
)
LAST = ApprovalGiven("call_2", approved=False)


@pytest.mark.parametrize(
    ("bodies", "status"),
    [
        (PARKED, "parked"),
        ((*PARKED, *ASYNC_CALL), "parked"),
        ((*PARKED, LAST, *ASYNC_CALL), "interrupted"),
        ((*PARKED, RunResumed("agent", "model", "f")), "interrupted"),
        ((*PARKED, RunEnded("cancelled")), "cancelled"),
        ((*PARKED, LAST, *PARKED), "parked"),
    ],
)
async def test_a_run_is_listed_as_parked_until_it_goes_on(path: Path, bodies, status) -> None:
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        for body in (STARTED, *bodies):
            log.append(body)
        log.release()
        await log.durable()
        (summary,) = await upkeep.summaries(ledger)

    assert status == summary.status


async def test_a_run_that_was_left_a_moment_ago_can_be_removed(path: Path) -> None:
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        log.append(STARTED)
        await log.durable()
        log.release()
        await ledger.remove("run_1")
        assert () == await ledger.run_ids()


async def test_a_removal_that_is_cancelled_leaves_no_artifacts(path: Path) -> None:
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        log.append(STARTED)
        log.release()
        await log.durable()
        artifact = ledger.artifacts.create("run_1", "artifact_1")
        artifact.write(b"long")
        artifact.close()
        busy = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.ask, lambda _connection: busy.wait(10), "write")
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_when_blocked, scope)
                await ledger.remove("run_1")
            busy.set()
        # Whatever was asked before has been done.
        await ledger.ask(lambda _connection: None, "write")

        assert ((), None) == (await ledger.run_ids(), ledger.artifacts.find("run_1", "artifact_1"))


async def cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_run_in_the_formats_of_others(bench, path: Path) -> None:
    @triplane.tool(effect="read")
    async def look(path: str) -> str:
        """Look.

        Args:
            path: Where.
        """
        return f"seen {path}"

    async with bench(ledger=path) as b:
        state = await b.engine.run(triplane.Agent("m", tools=[look]), 'CALL look {"path": "x"}\nSAY 1 fine')
        log = await b.engine.ledger.open(state.run_id)
        records = await log.read(-1)

    kinds = [item["type"] for item in as_input(records)]
    assert ["message", "function_call", "function_call_output"] == kinds[:3]
    made = as_atif(records)
    assert ["user", "agent", "agent"] == [step["source"] for step in made["steps"]]
    assert [1, 2, 3] == [step["step_id"] for step in made["steps"]]
    (call,) = made["steps"][1]["tool_calls"]
    assert ("look", {"path": "x"}) == (call["function_name"], call["arguments"])
    (result,) = made["steps"][1]["observation"]["results"]
    assert (call["tool_call_id"], "seen x") == (result["source_call_id"], result["content"])
    assert state.usage.input_tokens == made["final_metrics"]["total_prompt_tokens"]
    assert state.usage.input_tokens == sum(step["metrics"]["prompt_tokens"] for step in made["steps"][1:])
    assert len(records) == len([as_line("r", record) for record in records])


async def test_from_before_the_first_record_what_the_file_does_not_know_yet_is_read_too(path: Path) -> None:
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        record = log.append(STARTED)
        viewer = await ledger.open("run_1")

        assert [[record]] * 2 == [await log.read(-7), await viewer.read(-7)]


async def test_a_change_that_was_there_before_is_not_waited_for(path: Path) -> None:
    """A viewer reads first, and waits for what has changed since."""
    async with triplane.open_ledger(path) as ledger:
        readers = ledger.readers
        before = readers.changed
        before.set()
        with trio.testing.assert_checkpoints():
            await readers.until(before)

        assert before is readers.changed, "nobody else was woken"


async def test_who_still_reads_when_the_ledger_is_left_leaves_nothing_open(path: Path) -> None:
    at_work, may_end = threading.Event(), threading.Event()

    def read(connection: sqlite3.Connection, _path: str) -> None:
        connection.execute("SELECT * FROM runs").fetchall()
        at_work.set()
        may_end.wait(10)

    async with trio.open_nursery() as nursery:
        async with triplane.open_ledger(path) as ledger:
            log = ledger.create("run_1")
            log.append(InputAdded(()))
            await log.durable()
            log.release()
            await log.durable()
            viewer = await ledger.open("run_1")
            nursery.start_soon(ledger.readers.look, read)
            nursery.start_soon(_until_it_is_left, viewer)
            await trio.to_thread.run_sync(at_work.wait)
        may_end.set()

    assert [] == [each for each in open_descriptors() if each[1].startswith(str(path))]


async def _until_it_is_left(viewer: triplane.RunLog) -> None:
    with pytest.raises(LedgerFailed, match="was left"):
        await viewer.wait(7)
