"""A response that is silent: whoever watches is told at each heartbeat, and of whom it is that nothing comes."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triplane
from triplane import StillWaiting
from triplane.server import HalfOpen, Stall

AGENT = triplane.Agent("m")


def silences(run: triplane.Run) -> list[StillWaiting]:
    return [record.body for record in run.log.records if isinstance(record.body, StillWaiting)]


async def test_a_model_that_thinks_is_told_at_each_heartbeat(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(AGENT, "WAIT 45000\nSAY 1 word") as run:
            seen = [event async for event in run if isinstance(event, StillWaiting)]
        (connection,) = b.engine.statistics().pool.connections

    assert "word" == run.result.text
    assert [11, 21, 31, 41] == [each.silence for each in seen]
    assert {("model_thinking", 1, connection.name)} == {
        (each.phase, each.turn, each.connection) for each in seen
    }
    # The ping of a moment before was answered.
    assert all(each.round_trip == 0 and 0 <= each.peer_silence <= 1 for each in seen)


async def test_each_silence_is_told_for_itself(bench, autojump_clock) -> None:
    async with (
        bench() as b,
        b.engine.open_run(AGENT, "SAY 1 a\nWAIT 25000\nSAY 1 b\nWAIT 12000\nSAY 1 c") as run,
    ):
        assert "abc" == (await run.wait()).text

    assert [11, 21, 11] == [each.silence for each in silences(run)]


async def test_a_socket_that_is_silent_is_told_from_a_model_that_thinks(bench, autojump_clock) -> None:
    async with bench(faults=[HalfOpen(2, nth=1)]) as b, b.engine.open_run(AGENT, "hello") as run:
        assert "echo: hello" == (await run.wait()).text

    (silence,) = silences(run)
    assert ("socket_silent", 11) == (silence.phase, silence.silence)
    assert 11 <= silence.peer_silence


async def test_what_is_told_ends_with_the_stall(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(replay_attempts=0, idle_timeout=60)
    async with bench(options=options, faults=[Stall(3)]) as b:
        with pytest.raises(triplane.Stalled):
            async with b.engine.open_run(AGENT, "hello") as run:
                await run.wait()

    assert [11, 21, 31, 41, 51] == [each.silence for each in silences(run)]


@pytest.mark.parametrize(
    ("interval", "pong_within", "expected"), [(5, 1, [5.5, 10.5]), (20, 10, []), (1, 0.5, 11)]
)
async def test_how_often_it_is_told_is_the_heartbeats_business(
    bench, autojump_clock, interval, pong_within, expected
) -> None:
    options = triplane.EngineOptions(heartbeat_interval=interval, heartbeat_timeout=pong_within)
    async with bench(options=options) as b, b.engine.open_run(AGENT, "WAIT 12000\nSAY 1 word") as run:
        await run.wait()

    told = [each.silence for each in silences(run)]
    assert expected == (len(told) if isinstance(expected, int) else told)


async def test_a_response_that_flows_is_told_nothing_about(bench, autojump_clock) -> None:
    async with bench(delta_delay=9.0) as b, b.engine.open_run(AGENT, "SAY 20 word ") as run:
        await run.wait()

    assert [] == silences(run)


async def test_a_slow_reader_is_no_silence_of_the_model(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_unread=2_000)
    async with bench(options=options) as b, b.engine.open_run(AGENT, "SAY 100 word ") as run:
        async for event in run:
            if event.type == "response.output_text.delta":
                await trio.sleep(15)

    assert [] == silences(run)
    assert "word " * 100 == run.result.text


async def test_statistics_say_how_long_ago_the_latest_event_came(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "WAIT 45000\nSAY 1 word") as run:
        await trio.sleep(25)
        statistics = b.engine.statistics().pool
        (lane,), (connection,) = statistics.lanes, statistics.connections
        assert (25, 0) == (lane.since_event, connection.round_trip)
        assert connection.silence < 10
        await run.wait()
        assert 0 == b.engine.statistics().pool.lanes[0].since_event
