"""A consumer that sleeps: nobody waits for it, nothing is lost, and what is kept for it is bounded."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio

import triplane
from triplane.protocol import ResponseOutputTextDelta


async def test_a_consumer_that_sleeps_for_a_minute(bench, autojump_clock) -> None:
    """Hundreds of events unread: pings are answered, tools finish, nothing is lost."""
    finished_at = 0.0

    @triplane.tool(effect="read")
    async def work() -> str:
        """Work for ten seconds."""
        nonlocal finished_at
        await trio.sleep(10)
        finished_at = trio.current_time()
        return "done"

    agent = triplane.Agent("m", "", [work])
    text = "CALL work {}"
    options = triplane.EngineOptions(heartbeat_interval=5, heartbeat_timeout=5)
    async with bench(options=options) as b:
        async with b.engine.open_run(agent, [{"role": "user", "content": text}]) as run:
            async for _event in run:
                break
            await trio.sleep(60)
            (connection,) = b.engine.statistics().pool.connections
            # The peer answered the pings that went out meanwhile, so it never looked dead.
            assert connection.round_trip is not None
            assert connection.silence < 10
            assert "completed" == run.state.status
        async with b.engine.open_run(agent, "SAY 800 word ") as run:
            pieces: list[str] = []
            async for event in run:
                if isinstance(event, ResponseOutputTextDelta):
                    if len(pieces) == 100:
                        await trio.sleep(60)
                    pieces.append(event.delta)

    assert 10 == finished_at
    assert "word " * 800 == "".join(pieces) == run.result.text
    assert 0 == run.result.reconnects
    assert 1 == b.engine.statistics().opened


async def test_a_reader_too_far_behind_stops_the_socket_and_not_the_others(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_unread=20_000, idle_timeout=30)
    agent = triplane.Agent("m")
    async with bench(options=options) as b, b.engine.open_run(agent, "SAY 2000 word ") as slow:
        events = aiter(slow)
        await anext(events)
        await trio.sleep(120)
        behind = slow.state.bytes_down
        # Far less than the response has, and not much more than allowed.
        assert 15_000 < behind < 60_000
        assert "model" == slow.state.status
        # Others go on.
        assert "echo: quick" == (await b.engine.run(agent, "quick")).text
        rest = [event async for event in events]

    assert "word " * 2000 == slow.result.text
    assert slow.result.bytes_down > 100_000
    # 120 s of our own slowness is no stall of the server's, whose idle_timeout was 30.
    assert 0 == slow.result.reconnects
    assert triplane.RunEnded("completed") == rest[-1]


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_who_waits_for_a_lane_does_not_wait_for_somebody_elses_reader(
    bench, autojump_clock, transport
) -> None:
    options = triplane.EngineOptions(max_unread=20_000, max_connections=1)
    agent = triplane.Agent("m")
    async with (
        bench(options=options, endpoint=triplane.Endpoint("ws://memory/v1", transport=transport)) as b,
        b.engine.open_run(agent, "SAY 2000 word ") as slow,
    ):
        events = aiter(slow)
        await anext(events)
        await trio.sleep(10)
        assert "model" == slow.state.status
        began = trio.current_time()
        with trio.fail_after(600):
            assert "echo: quick" == (await b.engine.run(agent, "quick")).text
        assert 5 > trio.current_time() - began
        assert "completed" == slow.state.status
        rest = [event async for event in events]

    assert triplane.RunEnded("completed") == rest[-1]
    deltas = [event.delta for event in rest if isinstance(event, ResponseOutputTextDelta)]
    assert "word " * 2000 == "".join(deltas)


async def test_a_reader_that_waits_for_a_fork_of_the_run_it_reads(bench, autojump_clock) -> None:
    """On one connection the fork needs the lane that its source holds, and the source waits for this reader."""
    options = triplane.EngineOptions(max_unread=20_000, max_connections=1)
    async with bench(options=options) as b, b.engine.open_run(triplane.Agent("m"), "SAY 2000 word ") as run:
        with trio.fail_after(60):
            async for event in run:
                if isinstance(event, ResponseOutputTextDelta):
                    break
            events = aiter(run)
            await anext(events)
            async with run.fork("and this") as fork:
                assert "completed" == (await fork.wait()).status
            assert 0 < len([event async for event in events])


async def test_once_nobody_waits_for_its_lane_a_slow_reader_is_waited_for_again(
    bench, autojump_clock
) -> None:
    options = triplane.EngineOptions(max_unread=20_000, max_connections=1, acquire_timeout=0.05)
    agent = triplane.Agent("m")
    async with (
        bench(options=options, delta_delay=0.01) as b,
        b.engine.open_run(agent, "SAY 2000 word ") as slow,
    ):
        events = aiter(slow)
        await anext(events)
        await trio.sleep(10)
        before = slow.state.bytes_down
        with pytest.raises(triplane.LimitReached):
            await b.engine.run(agent, "quick")
        # What had come by then, and no more.
        assert before < (taken := slow.state.bytes_down)
        await trio.sleep(60)
        assert taken <= slow.state.bytes_down < taken + 1_000
        assert "model" == slow.state.status


async def test_a_closed_cursor_no_longer_holds_the_run_back(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_unread=20_000)
    async with bench(options=options) as b, b.engine.open_run(triplane.Agent("m"), "SAY 2000 word ") as run:
        events = aiter(run)
        await anext(events)
        await trio.sleep(60)
        assert "model" == run.state.status
        events.close()
        await trio.sleep(1)
        assert "completed" == run.state.status


async def test_a_closed_cursor_that_is_read_on_does_not_hold_the_run_back_either(
    bench, autojump_clock
) -> None:
    options = triplane.EngineOptions(max_unread=20_000)
    async with bench(options=options) as b, b.engine.open_run(triplane.Agent("m"), "SAY 2000 word ") as run:
        events = aiter(run)
        await anext(events)
        events.close()
        await anext(events)
        await trio.sleep(60)
        assert "completed" == run.state.status


async def test_a_cursor_that_the_garbage_collector_finds_in_another_thread_holds_nobody_back(
    bench, autojump_clock
) -> None:
    """As after a failed consumer whose traceback is part of a cycle, while a tool runs in a thread."""
    options = triplane.EngineOptions(max_unread=20_000)
    async with bench(options=options) as b, b.engine.open_run(triplane.Agent("m"), "SAY 2000 word ") as run:
        gc.disable()
        try:
            events: Any = aiter(run)
            await anext(events)
            await trio.sleep(60)
            assert "model" == run.state.status
            cycle = [events]
            cycle.append(cycle)
            del events, cycle
            await trio.to_thread.run_sync(gc.collect)
        finally:
            gc.enable()
        with trio.fail_after(600):
            assert "completed" == (await run.wait()).status
