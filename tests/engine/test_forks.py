"""Forks: what they inherit, whose way they stand in, and how a run is cancelled."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import triplane
from triplane.core.records import RequestSent
from triplane.core.reducer import RunReducer
from triplane.protocol import ResponseOutputTextDelta

AGENT = triplane.Agent("m")


@triplane.tool(effect="write")
async def look(seconds: float = 0) -> str:
    """Look around."""
    await trio.sleep(seconds)
    return "seen"


TOOLED = triplane.Agent("m", "", [look])


async def when(run: triplane.Run, kind: type) -> Any:
    async for event in run:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind}")


def requests_of(run: triplane.Run) -> list[RequestSent]:
    return [each.body for each in run.log.records if isinstance(each.body, RequestSent)]


def started(run: triplane.Run) -> triplane.RunStarted:
    body = run.log.records[0].body
    assert isinstance(body, triplane.RunStarted)
    return body


def texts_of(items: Any) -> list[str]:
    return [
        item["content"]
        if isinstance(item.get("content"), str)
        else item["content"][0]["text"]
        if "content" in item
        else item["type"]
        for item in items
    ]


async def test_a_fork_goes_on_from_where_its_source_ended(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "one") as run:
        await run.wait()
        async with run.fork("two") as fork:
            result = await fork.wait()
        assert 1 == b.engine.statistics().opened

    assert ("completed", "echo: two") == (result.status, result.text)
    assert ["one", "echo: one", "two"] == texts_of(started(fork).input)
    head = run.state.response_id
    assert triplane.ForkedFrom(run.run_id, head, "c1", 2) == started(fork).forked_from
    # The source's lane was free, so it goes on there.
    assert [("incremental", head, 1)] == [
        (each.plan, each.previous_response_id, each.items) for each in requests_of(fork)
    ]
    assert "echo: one" == run.state.text


async def test_its_log_needs_no_other(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(TOOLED, "CALL look {}\nSAY 1 x") as run:
        await run.wait()
        async with run.fork("two") as fork:
            await fork.wait()
    reducer = RunReducer()
    for record in fork.log.records:
        reducer.apply(record)

    assert fork.state == reducer.snapshot()
    assert ["message", "function_call", "function_call_output", "message", "message", "message"] == [
        item["type"] for item in reducer.history
    ]


async def test_forks_of_forks_and_several_at_once(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "one") as run:
        await run.wait()
        async with run.fork("two") as second, run.fork("three") as third:
            texts = [(await each.wait()).text for each in (second, third)]
            async with second.fork("four") as fourth:
                await fourth.wait()

    assert ["echo: two", "echo: three"] == texts
    assert ["one", "echo: one", "two", "echo: two", "four"] == texts_of(started(fourth).input)
    assert second.run_id == started(fourth).forked_from.run_id


async def test_of_a_turn_in_flight_a_fork_inherits_what_came_before(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(TOOLED, "CALL look {}\nWAIT 60000\nSAY 3 x") as run:
        while run.state.turns < 2:
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.01)
        async with run.fork("and now") as fork:
            assert "echo: and now" == (await fork.wait()).text
        assert "model" == run.state.status
        run.cancel()

    assert ["function_call_output", "message"] == [item["type"] for item in started(fork).input[-2:]]


async def test_while_tools_run_a_fork_waits_for_their_outputs(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(TOOLED, 'CALL look {"seconds": 60}\nSAY 1 x') as run:
        await when(run, triplane.ToolStarted)
        async with run.fork("other") as fork:
            assert 60 == trio.current_time()
            assert "echo: other" == (await fork.wait()).text
        result = await run.wait()

    assert ["message", "function_call", "function_call_output", "message"] == [
        item["type"] for item in started(fork).input
    ]
    assert ("completed", 1, 0) == (result.status, len(result.tool_calls), len(fork.state.tool_calls))


async def test_a_fork_that_waits_for_tools_goes_on_when_its_source_is_cancelled(
    bench, autojump_clock
) -> None:
    forks = []
    async with bench() as b, b.engine.open_run(TOOLED, 'CALL look {"seconds": 60}') as run:
        await when(run, triplane.ToolStarted)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def fork_it() -> None:
                async with run.fork("other") as fork:
                    assert "echo: other" == (await fork.wait()).text
                    forks.append(fork)

            await trio.sleep(5)
            run.cancel()
        assert 5 == trio.current_time()

    # The call has its output: that it was cancelled.
    assert ["message", "function_call", "function_call_output", "message"] == [
        item["type"] for item in started(forks[0]).input
    ]


async def test_a_fork_of_a_run_that_ended_with_calls_unanswered_begins_before_them(
    bench, autojump_clock
) -> None:
    async with bench() as b, b.engine.open_run(TOOLED, "SAY 1 x\nWAIT 5000\nCALL look {}") as run:
        await when(run, ResponseOutputTextDelta)
        run.cancel("after_turn")
        with pytest.raises(triplane.RunFailed):
            await run.wait()
        async with run.fork("other") as fork:
            assert "echo: other" == (await fork.wait()).text

    assert ["SAY 1 x\nWAIT 5000\nCALL look {}", "other"] == texts_of(started(fork).input)


async def test_a_fork_without_input_answers_the_same_again(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "WAIT 5000\nSAY 1 x") as run:
        await trio.sleep(1)
        async with run.fork() as fork:
            assert ("x", "x") == ((await fork.wait()).text, (await run.wait()).text)


async def test_another_agent_gets_the_whole_conversation(bench, autojump_clock) -> None:
    other = triplane.Agent("m", "Be brief.")
    async with bench() as b, b.engine.open_run(AGENT, "one") as run:
        await run.wait()
        async with run.fork("two", agent=other) as fork:
            await fork.wait()

    assert triplane.ForkedFrom(run.run_id) == started(fork).forked_from
    assert [("full", None, 3)] == [
        (each.plan, each.previous_response_id, each.items) for each in requests_of(fork)
    ]


async def test_leaving_a_fork_early_cancels_it_alone_and_a_failure_comes_out(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "WAIT 5000\nSAY 1 x") as run:
        async with run.fork("WAIT 100000") as fork:
            pass
        assert "cancelled" == fork.state.status
        with pytest.raises(triplane.RunFailed, match="no good"):
            async with run.fork("FAIL invalid_prompt no good"):
                await trio.sleep(1)
        assert "x" == (await run.wait()).text


async def test_what_cannot_be_forked_is_told(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "one") as run:
        await run.wait()
        with pytest.raises(triplane.ConfigError, match="run's input is"):
            run.fork(5)
        with pytest.raises(triplane.ConfigError, match="what runs is an Agent"):
            async with run.fork("two", agent="m"):
                pass
    with pytest.raises(triplane.EngineClosed):
        async with run.fork("two"):
            pass


# Cancelling.


async def test_a_run_can_be_cancelled_at_once(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(AGENT, "WAIT 100000\nSAY 1 x") as run:
            await trio.sleep(1)
            run.cancel()
            run.cancel()
            with pytest.raises(triplane.RunFailed, match="was cancelled"):
                await run.wait()
            assert [triplane.RunEnded("cancelled")] == [
                record.body for record in run.log.records if isinstance(record.body, triplane.RunEnded)
            ]
        assert 1 == trio.current_time()
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text


async def test_a_run_can_be_cancelled_before_it_begins(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "x") as run:
        run.cancel("after_turn")
        with pytest.raises(triplane.RunFailed, match="was cancelled"):
            await run.wait()
    assert 0 == b.engine.statistics().opened


async def test_after_the_turn_its_calls_are_not_run_and_the_lane_is_whole(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(TOOLED, "SAY 1 x\nWAIT 5000\nCALL look {}") as run:
            await when(run, ResponseOutputTextDelta)
            run.cancel("after_turn")
            with pytest.raises(triplane.RunFailed, match="was cancelled"):
                await run.wait()
        assert (5, 0, 1) == (trio.current_time(), len(run.state.tool_calls), run.state.turns)
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text
        assert 1 == b.engine.statistics().opened


async def test_after_the_turn_tools_that_run_finish(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(TOOLED, 'CALL look {"seconds": 9}') as run:
        await when(run, triplane.ToolStarted)
        run.cancel("after_turn")
        with pytest.raises(triplane.RunFailed, match="was cancelled"):
            await run.wait()

    assert ["ok"] == [each.outcome.kind for each in run.state.tool_calls]
    assert (9, 1) == (trio.current_time(), run.state.turns)


async def test_a_run_of_a_fan_out_can_be_cancelled_alone(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.fan_out(AGENT, ["WAIT 100000", "two"]) as results:
        first = await results.__anext__()
        results.runs[0].cancel()
        second = await results.__anext__()

    assert ("echo: two", "cancelled") == (first.result.text, second.run.state.status)


async def test_another_time_to_cancel_is_refused(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "x") as run:
        with pytest.raises(triplane.ConfigError, match="after_turn"):
            run.cancel("later")
        await run.wait()
