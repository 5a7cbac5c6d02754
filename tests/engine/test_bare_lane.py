"""The level below agents: what is sent is what was given, and nothing is replayed."""

from __future__ import annotations

import pytest
import trio

import triplane
from triplane.protocol import FunctionCallOutput, ResponseCompleted, ResponseCreate
from triplane.server import Drop, Malformed, Stall


def create(text: str, **more) -> ResponseCreate:
    return ResponseCreate(model="m", input=text, store=False, **more)


async def test_turns_one_after_another(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.lane() as lane:
        turn = await lane.create(create("SAY 3 x"))
        events = [event async for event in turn]
        second = await (await lane.create(create("again", previous_response_id=turn.response.id))).wait()

    assert isinstance(events[-1], ResponseCompleted)
    assert ("xxx", "completed") == (turn.response.text, turn.response.status)
    assert "echo: again" == second.text
    assert 1 == b.engine.statistics().opened


async def test_calls_are_the_callers_to_answer(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.lane() as lane:
        turn = await lane.create(create('CALL look {"at": 1}'))
        response = await turn.wait()
        (call,) = response.output
        output = FunctionCallOutput(call_id=call["call_id"], output="seen")
        request = ResponseCreate(model="m", input=[output], store=False, previous_response_id=response.id)
        answer = await (await lane.create(request)).wait()

    assert 'RESULT: "seen"' == answer.text


async def test_an_error_is_raised_and_the_lane_goes_on(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.lane() as lane:
        turn = await lane.create(create("x", previous_response_id="resp_nonesuch"))
        with pytest.raises(triplane.ServerError) as caught:
            await turn.wait()
        assert turn.is_over
        assert "echo: x" == (await (await lane.create(create("x"))).wait()).text

    assert ("previous_response_not_found", 400) == (caught.value.code, caught.value.status)
    assert ("finished", "change") == (caught.value.receipt.sent, caught.value.receipt.next)


async def test_a_second_request_before_the_end_is_misuse(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.lane() as lane:
        await lane.create(create("SAY 3 x"))
        with pytest.raises(trio.BusyResourceError, match="the turn before is not over"):
            await lane.create(create("x"))


async def test_what_is_no_request_or_no_endpoint_is_refused(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.lane() as lane:
            with pytest.raises(triplane.ConfigError, match="takes a triplane.protocol.ResponseCreate"):
                await lane.create({"model": "m"})
        with pytest.raises(triplane.ConfigError, match="takes an Endpoint"):
            async with b.engine.lane("ws://memory/v1"):
                pass


async def test_a_request_that_was_cancelled_before_it_began_costs_nothing(bench, autojump_clock) -> None:
    """On a shared connection it would cost the neighbours theirs."""
    async with bench() as b, b.engine.lane() as lane:
        with trio.CancelScope() as scope:
            scope.cancel()
            await lane.create(create("x"))
        assert "echo: hi" == (await (await lane.create(create("hi"))).wait()).text

    assert 1 == b.engine.statistics().opened


async def test_after_the_block_the_lane_is_closed(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.lane() as lane:
            turn = await lane.create(create("SAY 3 x"))
        with pytest.raises(trio.ClosedResourceError):
            await lane.create(create("x"))
        with pytest.raises(trio.ClosedResourceError):
            await turn.wait()
        # It was left in the middle of a response: the connection is closed and the next one is new.
        assert "echo: x" == (await b.engine.run(triplane.Agent("m"), "x")).text
        assert 2 == b.engine.statistics().opened


async def test_nothing_is_replayed(bench, autojump_clock) -> None:
    async with bench(faults=[Drop(2, nth=1)]) as b, b.engine.lane() as lane:
        turn = await lane.create(create("SAY 3 x"))
        with pytest.raises(triplane.ConnectionLost) as caught:
            await turn.wait()

    assert ("accepted", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)
    assert 1 == b.engine.statistics().opened


async def test_a_stall_has_its_phase_and_closes_the_connection(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(first_event_timeout=5, idle_timeout=7)
    async with bench(options=options, faults=[Stall(0, nth=1), Stall(3, nth=2)]) as b:
        for phase, silence in [("first_event", 5), ("between_events", 7)]:
            async with b.engine.lane() as lane:
                turn = await lane.create(create("SAY 3 x"))
                with pytest.raises(triplane.Stalled) as caught:
                    await turn.wait()
            assert (phase, silence) == (caught.value.phase, caught.value.silence)

    assert 2 == b.engine.statistics().opened == b.engine.statistics().closed


async def test_a_request_over_the_limit_is_not_sent(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_request_size=1000)
    async with bench(options=options) as b, b.engine.lane() as lane:
        with pytest.raises(triplane.LimitReached, match="max_request_size=1,000"):
            await lane.create(create("x" * 1000))
        assert "echo: x" == (await (await lane.create(create("x"))).wait()).text


@pytest.mark.parametrize(("after_events", "sent"), [(0, "ambiguous"), (3, "accepted")])
async def test_a_frame_that_is_no_event_ends_the_turn_and_the_connection(
    bench, autojump_clock, after_events, sent
) -> None:
    async with bench(faults=[Malformed(after_events, nth=1)]) as b:
        async with b.engine.lane() as lane:
            turn = await lane.create(create("SAY 3 x"))
            with pytest.raises(triplane.ProtocolViolation) as caught:
                await turn.wait()
            assert turn.is_over
        await b.engine.run(triplane.Agent("m"), "hello")
        assert 2 == b.engine.statistics().opened

    assert (sent, "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)
