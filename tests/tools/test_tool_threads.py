from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest
import trio
from tool_bench import run_one, until

from triplane.tools import thread_statistics, tool
from triplane.tools.threads import MAX_THREADS, ThreadStatistics, run_in_thread

PATIENCE = 10


async def eventually(abandoned: int, discarded: int) -> None:
    await until(lambda: thread_statistics() == ThreadStatistics(abandoned, discarded))


def gained(before: ThreadStatistics) -> tuple[int, int]:
    now = thread_statistics()
    return now.abandoned - before.abandoned, now.discarded - before.discarded


async def test_it_runs_in_a_thread() -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("set")

    thread, name, value = await run_in_thread(
        lambda: (threading.current_thread(), threading.current_thread().name, variable.get()), name="a name"
    )

    assert thread is not threading.current_thread()
    assert name == "a name"
    assert value == "set"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, StopIteration])
async def test_what_it_raises_is_raised(kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind("x")

    with pytest.raises((kind, RuntimeError)) as caught:
        await run_in_thread(fail, name="fail")

    assert caught.type is (RuntimeError if kind is StopIteration else kind)


async def test_it_checkpoints() -> None:
    with trio.testing.assert_checkpoints():
        await run_in_thread(lambda: None, name="nothing")


@pytest.mark.parametrize("fails", [False, True])
async def test_a_late_result_is_discarded_and_counted(fails: Any) -> None:
    before = thread_statistics()
    release, entered = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hang() -> str:
        token.run_sync_soon(entered.set)
        release.wait(PATIENCE)
        if fails:
            raise ValueError("late")
        return "late"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run_in_thread(hang, name="hang"))
        await entered.wait()
        nursery.cancel_scope.cancel()

    assert gained(before) == (1, 0)
    release.set()
    await eventually(before.abandoned, before.discarded + 1)


async def test_a_sync_tool_times_out() -> None:
    release = threading.Event()

    @tool(timeout=0.02)
    def hang() -> None:
        release.wait(PATIENCE)

    outcome = await run_one(hang)
    release.set()

    assert outcome.kind == "timed_out"
    assert outcome.output == "The tool timed out after 0.02 s. Part of its work may have been done."
    await until(lambda: thread_statistics().abandoned == 0)


async def test_a_thread_can_see_that_it_was_left() -> None:
    before = thread_statistics()
    seen = threading.Event()
    entered = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def poll() -> None:
        token.run_sync_soon(entered.set)
        while True:
            try:
                trio.from_thread.check_cancelled()
            except trio.Cancelled:
                seen.set()
                raise
            seen.wait(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run_in_thread(poll, name="poll"))
        await entered.wait()
        nursery.cancel_scope.cancel()

    await eventually(before.abandoned, before.discarded + 1)
    assert seen.is_set()


async def test_cancelled_while_it_waits_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was never started is neither run later nor counted."""
    before = thread_statistics()
    release = threading.Event()
    ran: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_THREADS):
            nursery.start_soon(lambda: run_in_thread(lambda: release.wait(PATIENCE), name="busy"))
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.01) as scope:
            await run_in_thread(lambda: ran.append("ran"), name="one too many")
        assert scope.cancelled_caught
        # The rest of the program still has its threads.
        with trio.fail_after(PATIENCE / 2):
            assert await trio.to_thread.run_sync(lambda: "fine") == "fine"
        release.set()

    assert ran == []
    assert gained(before) == (0, 0)


async def test_cancelled_before_the_thread_got_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has started, but not the function: it never will."""
    before = thread_statistics()
    ran: list[str] = []

    async def never(work: object, **options: object) -> None:
        monkeypatch.undo()
        monkeypatch.setattr("test_tool_threads.late", work, raising=False)
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", never)
    with trio.move_on_after(0.01):
        await run_in_thread(lambda: ran.append("ran"), name="late")
    with pytest.raises(RuntimeError, match="cancelled before it started"):
        late()  # type: ignore[name-defined] # noqa: F821  (the thread gets to it now)

    assert ran == []
    assert gained(before) == (0, 0)


async def test_finished_but_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread was done, but the task was cancelled before it heard."""
    before = thread_statistics()

    async def deaf(work: object, **options: object) -> None:
        work()  # type: ignore[operator]
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", deaf)
    with trio.move_on_after(0.01) as scope:
        await run_in_thread(lambda: "result", name="unheard")

    assert scope.cancelled_caught
    assert gained(before) == (0, 1)
