"""One run over a lane: what goes up, what comes back, what the log holds."""

from __future__ import annotations

import orjson
import pytest
import trio

import triplane
from triplane.core.continuation import LaneMemory, plan_turn
from triplane.core.records import FramesReceived, RequestSent
from triplane.core.reducer import RunReducer
from triplane.protocol import ResponseOutputTextDelta


@triplane.tool(effect="read")
async def add(a: int, b: int) -> str:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return str(a + b)


@triplane.tool(effect="read", max_output=200)
async def flood() -> str:
    """Return more than the cap."""
    return "x" * 10_000


@triplane.tool(effect="read", timeout=5)
async def sleep_long() -> str:
    """Exceed the deadline."""
    await trio.sleep(3600)
    return "late"


@triplane.tool(effect="read")
async def fail() -> str:
    """Raise."""
    raise ValueError("no such thing")


AGENT = triplane.Agent("gpt-5.5", "Be terse.", [add, flood, sleep_long, fail])


def requests_of(run_log: triplane.RunLog) -> list[RequestSent]:
    return [record.body for record in run_log.records if isinstance(record.body, RequestSent)]


async def test_a_run_without_tools_ends_with_its_text(bench, autojump_clock) -> None:
    async with bench() as b:
        result = await b.engine.run(AGENT, "SAY 3 hello ")

    assert ("completed", "hello hello hello ", 1) == (result.status, result.text, result.turns)
    assert result.usage.total_tokens > 0


async def test_parallel_calls_are_answered_in_call_order(bench, autojump_clock) -> None:
    async with bench() as b:
        result = await b.engine.run(AGENT, 'CALL add {"a":1,"b":2}\nCALL add {"a":30,"b":4}')

    assert 'RESULT: "3"; "34"' == result.text
    assert 2 == len(result.tool_calls)


async def test_each_turn_sends_only_what_is_new(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, 'REPEAT 3 CALL add {"a":1,"b":2}') as run:
        await run.wait()
        sent = requests_of(run.log)

    assert ["full", "incremental", "incremental", "incremental"] == [request.plan for request in sent]
    assert [1, 1, 1, 1] == [request.items for request in sent]
    assert None is sent[0].previous_response_id
    assert all(request.previous_response_id for request in sent[1:])


def test_the_request_carries_instructions_and_tools_every_time_and_no_null() -> None:
    plan = plan_turn([{"role": "user", "content": "hi"}], None, LaneMemory("c1"), "f")
    body = orjson.loads(AGENT.request(plan))

    assert "Be terse." == body["instructions"]
    assert ["add", "flood", "sleep_long", "fail"] == [tool["name"] for tool in body["tools"]]
    assert body["store"] is False
    assert None not in body.values()
    assert "previous_response_id" not in body


@pytest.mark.parametrize(
    ("call", "kind", "reason", "words"),
    [
        ("CALL nothing {}", "failed", "unknown_tool", "nothing"),
        ('CALL add {"a":1', "failed", "invalid_arguments", "JSON"),
        ('CALL add {"a":1,"b":"x"}', "failed", "invalid_arguments", "b"),
        ("CALL fail {}", "failed", "exception", "no such thing"),
        ("CALL sleep_long {}", "timed_out", None, "5"),
        ("CALL flood {}", "truncated", None, "bytes"),
    ],
)
async def test_what_goes_wrong_in_a_tool_is_told_to_the_model(
    bench, autojump_clock, call, kind, reason, words
) -> None:
    async with bench() as b:
        result = await b.engine.run(AGENT, call)

    (finished,) = result.tool_calls
    assert (kind, reason) == (finished.outcome.kind, finished.outcome.reason)
    assert words in finished.outcome.output
    assert "completed" == result.status
    assert words in result.text


async def test_the_log_folds_to_the_live_state_at_every_prefix(bench, autojump_clock) -> None:
    states = []
    async with bench() as b, b.engine.open_run(AGENT, 'REPEAT 2 CALL add {"a":1,"b":2}') as run:
        async for _event in run:
            pass
        records = run.log.records
        final = run.result
    reducer = RunReducer()
    for record in records:
        reducer.apply(record)
        states.append(reducer.snapshot())

    assert final == states[-1]
    assert list(range(len(records))) == [record.sequence for record in records]


async def test_events_are_recorded_before_they_are_delivered(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "SAY 20 word ") as run:
        async for event in run:
            recorded = [
                each
                for record in run.log.records
                for each in (
                    record.body.events if isinstance(record.body, FramesReceived) else (record.body,)
                )
            ]
            assert event in recorded


async def test_many_readers_each_get_everything(bench, autojump_clock) -> None:
    seen: dict[int, str] = {}

    async def follow(number: int, run: triplane.Run) -> None:
        pieces = [event.delta async for event in run if isinstance(event, ResponseOutputTextDelta)]
        seen[number] = "".join(pieces)

    async with bench() as b, b.engine.open_run(AGENT, "SAY 50 w") as run, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(follow, number, run)

    assert dict.fromkeys(range(5), "w" * 50) == seen


async def test_a_reader_that_comes_late_reads_from_the_beginning(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "SAY 5 w") as run:
        first = [event async for event in run]
        second = [event async for event in run]

    assert first == second
    assert isinstance(first[0], triplane.RunStarted)
    assert triplane.RunEnded("completed") == first[-1]


async def test_leaving_early_cancels_the_run(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(AGENT, "CALL sleep_long {}") as run:
            async for event in run:
                if isinstance(event, triplane.ToolStarted):
                    break
        assert "cancelled" == run.state.status
        assert ["cancelled"] == [finished.outcome.kind for finished in run.state.tool_calls]
        assert 0 == b.engine.statistics().runs_active
        # The lane was lent out while the tool ran, so it is whole and serves the next run.
        assert "echo: hi" == (await b.engine.run(AGENT, "hi")).text
        assert 1 == b.engine.statistics().opened


async def test_an_error_in_the_block_comes_out_bare_and_cancels_the_run(bench, autojump_clock) -> None:
    async with bench() as b:
        with pytest.raises(KeyError, match="mine"):
            async with b.engine.open_run(AGENT, "CALL sleep_long {}") as run:
                raise KeyError("mine")

        assert "cancelled" == run.state.status


async def test_a_result_before_the_end_is_a_clear_error(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "hi") as run:
        with pytest.raises(triplane.RunFailed, match=r"no result yet; iterate it to its end"):
            _ = run.result


async def test_limits_of_turns_and_calls(bench, autojump_clock) -> None:
    short = triplane.Agent("m", "", [add], limits=triplane.RunLimits(max_turns=2))
    few = triplane.Agent("m", "", [add], limits=triplane.RunLimits(max_tool_calls=1))
    async with bench() as b:
        with pytest.raises(triplane.LimitReached, match="max_turns=2") as turns:
            await b.engine.run(short, 'REPEAT 5 CALL add {"a":1,"b":2}')
        with pytest.raises(triplane.LimitReached, match="max_tool_calls=1") as calls:
            await b.engine.run(few, 'CALL add {"a":1,"b":2}\nCALL add {"a":1,"b":2}')

    assert ("max_turns", 2) == (turns.value.which, turns.value.limit)
    assert ["add", "add"] == [effect.tool for effect in turns.value.receipt.effects]
    assert () == calls.value.receipt.effects


@pytest.mark.parametrize("wrong", [None, 5, [], [5], b"hi", [{}, 5]])
async def test_an_input_that_is_none_is_refused_at_once(bench, autojump_clock, wrong) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="run's input is"):
            await b.engine.run(AGENT, wrong)

        assert 0 == b.engine.statistics().opened


@pytest.mark.parametrize("wrong", ["lone \ud800", {"role": "user", "content": object()}])
async def test_an_input_that_json_cannot_hold_is_refused_at_once(bench, autojump_clock, wrong) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="what JSON can hold"):
            await b.engine.run(AGENT, wrong)

        assert 0 == b.engine.statistics().opened


async def test_what_is_recorded_stays_as_it_was(bench, autojump_clock) -> None:
    item = {"role": "user", "content": "before"}
    async with bench() as b, b.engine.open_run(AGENT, [item]) as run:
        item["content"] = "after"
        await run.wait()

    assert "echo: before" == run.result.text
    assert ({"role": "user", "content": "before"},) == run.log.records[0].body.input


async def test_input_items_pass_through(bench, autojump_clock) -> None:
    async with bench() as b:
        one = await b.engine.run(AGENT, {"role": "user", "content": "one"})
        two = await b.engine.run(
            AGENT, [{"role": "user", "content": "a"}, {"role": "user", "content": "two"}]
        )

    assert ("echo: one", "echo: two") == (one.text, two.text)


async def test_after_the_engine_everything_says_so(bench, autojump_clock) -> None:
    async with bench() as b:
        pass

    with pytest.raises(triplane.EngineClosed):
        await b.engine.run(AGENT, "hi")
    with pytest.raises(triplane.EngineClosed):
        b.engine.open_run(AGENT, "hi")
    with pytest.raises(triplane.EngineClosed):
        b.engine.fan_out(AGENT, ["hi"])
    with pytest.raises(triplane.EngineClosed):
        await b.engine.warm_up(AGENT)
    with pytest.raises(triplane.EngineClosed):
        async with b.engine.lane():
            pass


async def test_an_agent_as_a_tool_never_starves_on_one_connection(bench, autojump_clock) -> None:
    leaf = triplane.Agent("m", "", [add], name="leaf")
    middle = triplane.Agent("m", "", [leaf.as_tool()], name="middle")
    top = triplane.Agent("m", "", [middle.as_tool()], name="top")
    inner = orjson.dumps({"question": 'CALL add {"a":1,"b":2}'}).decode()
    outer = orjson.dumps({"question": f"CALL leaf {inner}"}).decode()
    async with bench(options=triplane.EngineOptions(max_connections=1)) as b:
        result = await b.engine.run(top, f"CALL middle {outer}")

    assert 'RESULT: "RESULT: \\"RESULT: \\\\\\"3\\\\\\"\\""' == result.text
    assert 1 == b.engine.statistics().opened == b.engine.statistics().closed
