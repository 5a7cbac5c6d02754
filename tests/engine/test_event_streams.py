"""Streams of events that are not what they should be: what counts, what is reported, and what ends a turn."""

from __future__ import annotations

import pytest
from played_server import call, message

import triplane
from triplane import DifferencesFound, FramesReceived, RequestSent, ResponseRetracted
from triplane.server import (
    CloseSocket,
    Duplicate,
    ErrorEvent,
    Insert,
    Malformed,
    Omit,
    SpoilOutput,
    Stall,
    Swap,
)

AGENT = triplane.Agent("m")


def bodies(run: triplane.Run, kind: type) -> list:
    return [record.body for record in run.log.records if isinstance(record.body, kind)]


def make_agent() -> tuple[triplane.Agent, list[int]]:
    executed: list[int] = []

    @triplane.tool
    async def note(number: int) -> str:
        """Do something that must happen once."""
        executed.append(number)
        return f"noted {number}"

    return triplane.Agent("m", "Remember.", [note]), executed


# What is no event.

DEEP = b'{"type":"response.x","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"[1]",
        b"7",
        b"",
        b"{",
        b'{"type":"response.x","a":NaN}',
        b'{"type":"response.x","a":"\\ud800"}',
        b'{"no":"type"}',
        b'{"type":7}',
        b'{"type":"response.output_item.done"}',
        DEEP,
    ],
    ids=[
        "half",
        "list",
        "number",
        "empty",
        "cut",
        "nan",
        "lone surrogate",
        "no type",
        "type",
        "no item",
        "deep",
    ],
)
async def test_a_frame_that_is_no_event_costs_one_attempt(bench, autojump_clock, data) -> None:
    agent, executed = make_agent()
    async with bench(faults=[Malformed(3, nth=2, data=data)]) as b:
        async with b.engine.open_run(agent, 'CALL note {"number": 1}') as run:
            result = await run.wait()
        (retracted,) = bodies(run, ResponseRetracted)

    assert ('RESULT: "noted 1"', [1]) == (result.text, executed)
    assert "undecodable_frame" == retracted.reason


async def test_a_frame_that_is_no_event_is_shown_in_part_and_without_secrets(bench, autojump_clock) -> None:
    data = b'{"api_key":"sk-canary-0123456789","x":"' + b"y" * 10_000
    options = triplane.EngineOptions(replay_attempts=0)
    async with bench(options=options, faults=[Malformed(3, data=data)]) as b:
        with pytest.raises(triplane.ProtocolViolation) as caught:
            await b.engine.run(AGENT, "hello")

    assert 0 < len(caught.value.excerpt.encode()) <= 200
    assert "canary" not in caught.value.excerpt
    assert ("accepted", "resume") == (caught.value.receipt.sent, caught.value.receipt.next)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.unheard_of", "detail": {"a": 1}},
        {"type": "keepalive"},
        {
            "type": "response.output_item.added",
            "output_index": 7,
            "item": {"type": "crystal_ball", "id": "x"},
        },
        {
            "type": "response.output_text.delta",
            "output_index": 9,
            "content_index": 0,
            "item_id": "",
            "delta": "",
            "x": 1,
        },
    ],
    ids=["event", "keepalive", "item", "field"],
)
async def test_what_is_not_known_is_passed_through(bench, autojump_clock, event) -> None:
    async with bench(faults=[Insert(3, event=event)]) as b, b.engine.open_run(AGENT, "SAY 2 word ") as run:
        seen = [each async for each in run]

    assert ("word word ", 0) == (run.result.text, run.result.replays)
    assert event["type"] in [each.type for each in seen]


# Numbers.


async def test_an_event_that_comes_twice_counts_once(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    faults = [Duplicate(after, nth=nth) for after in range(9) for nth in (1, 2)]
    async with bench(faults=faults) as b, b.engine.open_run(agent, 'CALL note {"number": 1}') as run:
        result = await run.wait()

    assert ('RESULT: "noted 1"', [1], 0) == (result.text, executed, result.replays)
    # The terminal event's double may come with the next response, which it does not belong to.
    remarks = [each for found in bodies(run, DifferencesFound) for each in found.irregularities]
    assert {"foreign"} >= {each["kind"] for each in remarks}


async def test_numbers_may_be_absent(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.answer("resp_1", message("hello"))

    async with stage(play, strict=True) as s, s.engine.open_run(AGENT, "x") as run:
        assert "hello" == (await run.wait()).text
        assert [] == bodies(run, DifferencesFound)


@pytest.mark.parametrize(("fault", "kind"), [(Omit(4), "gap"), (Swap(4), "backwards")])
async def test_numbers_that_do_not_add_up_are_reported(bench, autojump_clock, fault, kind) -> None:
    async with bench(faults=[fault]) as b, b.engine.open_run(AGENT, "SAY 4 word ") as run:
        result = await run.wait()
        (found,) = bodies(run, DifferencesFound)

    assert ("word " * 4, 1) == (result.text, result.turns)
    assert kind in [each["kind"] for each in found.irregularities]
    assert (1, result.response_id) == (found.turn, found.response_id)


@pytest.mark.parametrize("fault", [Omit(4), Swap(4)])
async def test_numbers_that_do_not_add_up_are_an_error_if_asked_for(bench, autojump_clock, fault) -> None:
    options = triplane.EngineOptions(strict=True)
    async with bench(options=options, faults=[fault]) as b:
        with pytest.raises(triplane.ProtocolViolation, match="option strict.*gap") as caught:
            await b.engine.run(AGENT, "SAY 4 word ")
        assert 1 == b.engine.statistics().opened

    assert ("finished", "resume") == (caught.value.receipt.sent, caught.value.receipt.next)


# What the end of a response says.


@pytest.mark.parametrize("types", [("response.output_item.done",), ("response.output_text.delta",)])
async def test_what_was_not_streamed_is_taken_from_the_end(bench, autojump_clock, types) -> None:
    agent, executed = make_agent()
    async with bench(faults=[Omit(count=None, types=types)]) as b:
        result = await b.engine.run(agent, 'CALL note {"number": 1}')

    assert ('RESULT: "noted 1"', [1]) == (result.text, executed)


@pytest.mark.parametrize("output", ["null", "empty", "missing"])
async def test_an_end_without_output_leaves_what_was_streamed(bench, autojump_clock, output) -> None:
    agent, executed = make_agent()
    async with bench(faults=[SpoilOutput(output=output)]) as b, b.engine.open_run(agent, "x") as run:
        assert "echo: x" == (await run.wait()).text
    async with bench(faults=[SpoilOutput(output=output)]) as b:
        assert 'RESULT: "noted 1"' == (await b.engine.run(agent, 'CALL note {"number": 1}')).text

    assert [1] == executed
    assert (output == "empty") is bool(bodies(run, DifferencesFound))


async def test_a_finished_call_wins_over_the_end_and_the_difference_is_reported(
    stage, autojump_clock
) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.created("resp_1")
        await peer.done(call("note", '{"number": 1}'))
        await peer.completed("resp_1", call("note", '{"number": 2}'))
        await peer.request()
        await peer.answer("resp_2", message("done"))

    agent, executed = make_agent()
    async with stage(play) as s, s.engine.open_run(agent, "x") as run:
        assert "done" == (await run.wait()).text
        (found,) = bodies(run, DifferencesFound)

    assert [1] == executed
    (difference,) = found.differences
    assert ("arguments", '{"number": 1}', '{"number": 2}', "before") == (
        difference["field"],
        difference["before"],
        difference["after"],
        difference["kept"],
    )


async def test_arguments_count_as_they_were_done_and_not_as_the_deltas_add_up(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.created("resp_1")
        await peer.say(
            "response.output_item.added",
            output_index=0,
            item={**call("note", ""), "status": "in_progress"},
        )
        place = {"item_id": "fc_1", "output_index": 0}
        await peer.say("response.function_call_arguments.delta", delta='{"number": 9', **place)
        await peer.say("response.function_call_arguments.done", arguments='{"number": 1}', **place)
        await peer.done(call("note", '{"number": 1}'))
        await peer.completed("resp_1", call("note", '{"number": 1}'))
        await peer.request()
        await peer.answer("resp_2", message("done"))

    agent, executed = make_agent()
    async with stage(play) as s, s.engine.open_run(agent, "x") as run:
        assert "done" == (await run.wait()).text
        (found,) = bodies(run, DifferencesFound)

    assert [1] == executed
    assert [("arguments", '{"number": 9', '{"number": 1}')] == [
        (each["field"], each["before"], each["after"]) for each in found.differences
    ]


# Whose events they are.


async def test_a_response_in_the_middle_of_which_another_begins_is_asked_for_again(
    stage, autojump_clock
) -> None:
    """The terminal event is missing, and the next response's events follow."""

    async def play(peer) -> None:
        request = await peer.request()
        if peer.number == 1:
            await peer.created("resp_1")
            await peer.done(message("mine"))
            await peer.created("resp_9")
            await peer.done(call("note", '{"number": 9}'))
            await peer.completed("resp_9", call("note", '{"number": 9}'))
        else:
            assert "previous_response_id" not in request
            await peer.answer("resp_2", message("whole"))

    agent, executed = make_agent()
    async with stage(play) as s, s.engine.open_run(agent, "x") as run:
        result = await run.wait()
        (retracted,) = bodies(run, ResponseRetracted)

    assert ("whole", [], 1) == (result.text, executed, result.reconnects)
    assert "undecodable_frame" == retracted.reason


async def test_a_bare_lane_says_that_another_response_has_begun(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.created("resp_1")
        await peer.created("resp_9")

    async with stage(play) as s, s.engine.lane() as lane:
        turn = await lane.create(triplane.protocol.ResponseCreate(model="m", input="x"))
        with pytest.raises(triplane.ProtocolViolation, match="resp_9") as caught:
            await turn.wait()

    assert ("accepted", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)


async def test_what_trails_behind_a_response_does_not_enter_the_next(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.answer("resp_1", call("note", '{"number": 1}'))
        await peer.say("response.done", response={"id": "resp_1"})
        await peer.request()
        # As if it had been on its way when the request was sent.
        await peer.completed("resp_1", message("stale"))
        await peer.answer("resp_2", message("fresh"))

    agent, executed = make_agent()
    async with stage(play) as s, s.engine.open_run(agent, "x") as run:
        result = await run.wait()
        received = "".join(frame for each in bodies(run, FramesReceived) for frame in each.frames)

    assert ("fresh", [1], 0) == (result.text, executed, result.reconnects)
    # Whether the server said it before or after the request had gone out makes no difference to the log.
    assert "stale" not in received


@pytest.mark.parametrize("strict", [False, True])
async def test_an_answer_to_another_request_is_reported_and_an_error_if_asked_for(
    stage, autojump_clock, strict
) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.answer("resp_1", message("hello"), previous_response_id="resp_of_somebody_else")

    async with stage(play, strict=strict) as s, s.engine.open_run(AGENT, "x") as run:
        if strict:
            with pytest.raises(triplane.ProtocolViolation, match="resp_of_somebody_else"):
                await run.wait()
        else:
            assert "hello" == (await run.wait()).text
        (found,) = bodies(run, DifferencesFound)

    (irregularity,) = found.irregularities
    assert ("other_chain", "resp_of_somebody_else") == (irregularity["kind"], irregularity["found"])


async def test_an_answer_of_another_conversation_is_an_error_if_asked_for(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        assert "conv_1" == (await peer.request())["conversation"]
        await peer.answer("resp_1", message("hello"), conversation={"id": "conv_2"})

    agent = triplane.Agent("m", settings=triplane.ModelSettings(extra={"conversation": "conv_1"}))
    async with stage(play, strict=True) as s:
        with pytest.raises(triplane.ProtocolViolation, match="conv_2"):
            await s.engine.run(agent, "x")


# How a response ends.


@pytest.mark.parametrize("closes", [False, True])
async def test_a_response_that_failed_for_good_ends_the_run_at_once(bench, autojump_clock, closes) -> None:
    faults = [CloseSocket(6, before="response.failed", code=1000)] if closes else []
    async with bench(faults=faults) as b:
        with pytest.raises(triplane.RunFailed, match="not allowed") as caught:
            await b.engine.run(AGENT, "FAIL invalid_prompt not allowed")
        assert 1 == b.engine.statistics().opened

    error = caught.value
    assert ("invalid_prompt", 1, "finished", "change") == (
        error.code,
        error.attempts,
        error.receipt.sent,
        error.receipt.next,
    )


async def test_a_response_that_failed_in_passing_is_tried_again_and_its_text_counts_once(
    bench, autojump_clock
) -> None:
    """One message in the conversation, and not the failed one beside it."""
    agent, executed = make_agent()
    fault = ErrorEvent(6, shape="failed", code="server_error", nth=1)
    async with bench(faults=[fault]) as b:
        async with b.engine.open_run(agent, 'SAY 3 word \nCALL note {"number": 1}') as run:
            events = [event async for event in run]
        (retracted,) = [event for event in events if isinstance(event, ResponseRetracted)]
        sent = bodies(run, RequestSent)

    assert ("server_error", True) == (retracted.reason, retracted.ambiguous)
    assert 0 < retracted.shown
    assert ["full", "full", "incremental"] == [request.plan for request in sent]
    # The question alone, both times: nothing of the failed response.
    assert [1, 1] == [request.items for request in sent[:2]]
    assert ('RESULT: "noted 1"', [1]) == (run.result.text, executed)


async def test_a_response_that_fails_again_and_again_ends_the_run(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(replay_attempts=2)
    async with bench(options=options) as b:
        with pytest.raises(triplane.RunFailed, match="tried 3 times") as caught:
            await b.engine.run(AGENT, "FAIL server_error it broke")

    assert ("server_error", 3, "resume") == (
        caught.value.code,
        caught.value.attempts,
        caught.value.receipt.next,
    )


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_a_response_that_is_incomplete_is_a_result(bench, autojump_clock, reason) -> None:
    async with bench() as b:
        result = await b.engine.run(AGENT, f"SAY 2 word \nINCOMPLETE {reason}")

    assert ("incomplete", reason, "word word ", 0) == (
        result.status,
        result.reason,
        result.text,
        result.replays,
    )


@pytest.mark.parametrize(
    "shape", ["envelope", "no_status", "flat", "status_code", "headers", "response_error"]
)
async def test_a_passing_error_before_the_response_is_tried_again(bench, autojump_clock, shape) -> None:
    fault = ErrorEvent(0, shape=shape, code="server_is_overloaded", status=503, nth=1)
    async with bench(faults=[fault]) as b, b.engine.open_run(AGENT, "hello") as run:
        result = await run.wait()
        (retracted,) = bodies(run, ResponseRetracted)

    assert ("echo: hello", 1) == (result.text, result.replays)
    # The server said no, so the model has not run.
    assert ("server_error", False) == (retracted.reason, retracted.ambiguous)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("insufficient_quota", 429, "insufficient_quota"),
        ("invalid_type", 400, "invalid_request_error"),
        (None, 401, "authentication_error"),
    ],
)
async def test_any_other_error_before_the_response_ends_the_run(
    bench, autojump_clock, code, status, kind
) -> None:
    fault = ErrorEvent(0, code=code, status=status, error_type=kind)
    async with bench(faults=[fault]) as b:
        with pytest.raises(triplane.ServerError) as caught:
            await b.engine.run(AGENT, "hello")
        assert 1 == b.server.statistics().requests

    assert (code, status, "finished", "change") == (
        caught.value.code,
        caught.value.status,
        caught.value.receipt.sent,
        caught.value.receipt.next,
    )


async def test_an_error_in_the_middle_of_a_response_evicts_what_it_continued(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    fault = ErrorEvent(4, shape="no_status", code=None, nth=2)
    async with (
        bench(faults=[fault]) as b,
        b.engine.open_run(agent, 'CALL note {"number": 1}') as run,
    ):
        result = await run.wait()
        sent = bodies(run, RequestSent)

    assert ('RESULT: "noted 1"', [1], 0) == (result.text, executed, result.reconnects)
    assert [("full", "first_turn"), ("incremental", "head_cached"), ("full", "head_evicted")] == [
        (request.plan, request.reason) for request in sent
    ]
    assert sent[2].previous_response_id is None


# Calls.


async def test_a_call_that_comes_twice_in_a_response_is_run_once(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        twice = [call("note", '{"number": 1}', identity=f"fc_{place}") for place in (1, 2)]
        await peer.answer("resp_1", *twice)
        outputs = (await peer.request())["input"]
        assert [("function_call_output", "call_1")] == [(each["type"], each["call_id"]) for each in outputs]
        await peer.answer("resp_2", message("done"))

    agent, executed = make_agent()
    async with stage(play) as s:
        assert "done" == (await s.engine.run(agent, "x")).text

    assert [1] == executed


async def test_a_call_that_a_later_response_repeats_is_answered_from_the_log(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.answer("resp_1", call("note", '{"number": 1}'))
        await peer.request()
        await peer.answer("resp_2", call("note", '{"number": 1}', identity="fc_2"))
        (output,) = (await peer.request())["input"]
        assert ("call_1", "noted 1") == (output["call_id"], output["output"])
        await peer.answer("resp_3", message("done"))

    agent, executed = make_agent()
    async with stage(play) as s:
        result = await s.engine.run(agent, "x")

    assert ("done", 3, [1]) == (result.text, result.turns, executed)


async def test_a_repeated_call_stands_once_in_a_full_replay(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        request = await peer.request()
        if peer.number == 2:
            pairs = [(each["type"], each.get("call_id")) for each in request["input"]]
            assert [
                ("message", None),
                ("function_call", "call_1"),
                ("function_call_output", "call_1"),
            ] == pairs
            await peer.answer("resp_4", message("done"))
            return
        await peer.answer("resp_1", call("note", '{"number": 1}'))
        await peer.request()
        await peer.answer("resp_2", call("note", '{"number": 1}', identity="fc_2"))
        await peer.request()
        await peer.close(1001)

    agent, executed = make_agent()
    async with stage(play) as s:
        assert "done" == (await s.engine.run(agent, "x")).text

    assert [1] == executed


async def test_a_call_whose_end_comes_twice_is_run_once(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        await peer.request()
        await peer.created("resp_1")
        for _ in range(3):
            await peer.done(call("note", '{"number": 1}'))
        await peer.completed("resp_1", call("note", '{"number": 1}'))
        await peer.request()
        await peer.answer("resp_2", message("done"))

    agent, executed = make_agent()
    async with stage(play) as s:
        assert "done" == (await s.engine.run(agent, "x")).text

    assert [1] == executed


@pytest.mark.parametrize("parallel", [None, False])
async def test_two_hundred_calls_of_one_response_are_each_answered_once(
    stage, autojump_clock, parallel
) -> None:
    """A third of them are for a tool that is not there; the server does not care for `parallel_tool_calls`."""
    numbers = range(200)

    async def play(peer) -> None:
        await peer.request()
        calls = [
            call(
                "note" if number % 3 else "nothing",
                f'{{"number": {number}}}',
                f"call_{number}",
                f"fc_{number}",
            )
            for number in numbers
        ]
        await peer.answer("resp_1", *calls)
        outputs = (await peer.request())["input"]
        assert [f"call_{number}" for number in numbers] == [each["call_id"] for each in outputs]
        assert all(
            ("noted" in each["output"]) == bool(number % 3)
            for number, each in zip(numbers, outputs, strict=True)
        )
        await peer.answer("resp_2", message("done"))

    agent, executed = make_agent()
    settings = triplane.ModelSettings(parallel_tool_calls=parallel)
    agent = triplane.Agent("m", tools=agent.tools, settings=settings)
    async with stage(play) as s:
        result = await s.engine.run(agent, "x")

    assert ("done", 200) == (result.text, len(result.tool_calls))
    assert [number for number in numbers if number % 3] == sorted(executed)


async def test_a_stalled_response_is_told_from_a_dead_peer(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(replay_attempts=0, idle_timeout=35)
    async with bench(options=options, faults=[Stall(3)]) as b:
        with pytest.raises(triplane.Stalled) as caught:
            await b.engine.run(AGENT, "hello")

    assert ("between_events", 35) == (caught.value.phase, caught.value.silence)
