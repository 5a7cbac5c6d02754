"""A run whose connection dies: the conversation goes on from the log, and no tool runs twice."""

from __future__ import annotations

import pytest
import trio

import triplane
from triplane.protocol import ResponseCreate
from triplane.server import CloseSocket, Drop, RefuseUpgrade, Stall

LIMITS = triplane.EngineOptions(first_event_timeout=30, idle_timeout=30)


def make_agent() -> tuple[triplane.Agent, list[int]]:
    executed: list[int] = []

    @triplane.tool
    async def note(number: int) -> str:
        """Do something that must happen once."""
        executed.append(number)
        return f"noted {number}"

    return triplane.Agent("m", "Remember.", [note]), executed


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("after_events", range(8))
@pytest.mark.parametrize("fault", [Drop, CloseSocket, Stall])
async def test_a_turn_survives_a_loss_after_any_event(
    bench, autojump_clock, fault, after_events, nth
) -> None:
    agent, executed = make_agent()
    async with bench(options=LIMITS, faults=[fault(after_events, nth=nth)]) as b:
        result = await b.engine.run(agent, 'CALL note {"number": 1}')

    assert 'RESULT: "noted 1"' == result.text
    assert [1] == executed
    assert "completed" == result.status
    assert result.reconnects <= 1


@pytest.mark.parametrize("after_events", [4, 6])
async def test_what_was_shown_is_retracted(bench, autojump_clock, after_events) -> None:
    agent, _executed = make_agent()
    async with bench(faults=[Drop(after_events, nth=1)]) as b, b.engine.open_run(agent, "SAY 9 word ") as run:
        events = [event async for event in run]

    (retracted,) = [event for event in events if isinstance(event, triplane.ResponseRetracted)]
    assert "connection_lost" == retracted.reason
    assert retracted.ambiguous
    assert "word " * 9 == run.result.text
    position = events.index(retracted)
    shown = sum(len(getattr(event, "delta", "")) for event in events[:position])
    assert shown == retracted.shown


async def test_the_replay_carries_the_whole_conversation(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    async with (
        bench(faults=[Drop(3, nth=3)]) as b,
        b.engine.open_run(agent, 'REPEAT 4 CALL note {"number": 1}') as run,
    ):
        events = [event async for event in run]

    sent = [event for event in events if isinstance(event, triplane.RequestSent)]
    plans = [(request.turn, request.attempt, request.plan, request.reason) for request in sent]
    assert (3, 1, "incremental", "head_cached") == plans[2]
    assert (3, 2, "full", "connection_lost") == plans[3]
    # The question, then a call and its output for each of the two turns that were over.
    assert 5 == sent[3].items
    assert [1, 1, 1, 1] == executed
    assert 1 == run.result.replays


async def test_a_connection_that_dies_while_tools_run_costs_one_full_turn(bench, autojump_clock) -> None:
    @triplane.tool(effect="read")
    async def cut() -> str:
        """Cut the network from inside a tool."""
        await b.network.streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        return "cut"

    agent = triplane.Agent("m", "", [cut])
    async with bench() as b, b.engine.open_run(agent, "CALL cut {}") as run:
        result = await run.wait()
        sent = [record.body for record in run.log.records if isinstance(record.body, triplane.RequestSent)]

    assert ["full", "full"] == [request.plan for request in sent]
    assert (1, 0) == (result.reconnects, result.replays)
    assert 'RESULT: "cut"' == result.text


async def test_recovery_gives_up_after_its_budget(bench, autojump_clock) -> None:
    agent, _executed = make_agent()
    options = triplane.EngineOptions(replay_attempts=2)
    async with bench(options=options, faults=[Drop(2)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(agent, "hello")

    assert 3 == b.engine.statistics().opened
    assert ("accepted", "resume") == (caught.value.receipt.sent, caught.value.receipt.next)
    assert "network" == caught.value.close.by


async def test_a_stall_is_named_by_its_phase(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(replay_attempts=0, first_event_timeout=20, idle_timeout=40)
    agent, _executed = make_agent()
    for after_events, phase, silence in [(0, "first_event", 20), (3, "between_events", 40)]:
        async with bench(options=options, faults=[Stall(after_events)]) as b:
            with pytest.raises(triplane.Stalled) as caught:
                await b.engine.run(agent, "SAY 3 x")

        assert (phase, silence) == (caught.value.phase, caught.value.silence)


@pytest.mark.parametrize("code", [1008, 1009])
async def test_a_close_that_would_come_again_is_not_tried_again(bench, autojump_clock, code) -> None:
    agent, _executed = make_agent()
    async with bench(faults=[CloseSocket(0, code=code, nth=2)]) as b:
        await b.engine.run(agent, "hello")
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(agent, "hello")

    assert (code, "peer") == (caught.value.close.code, caught.value.close.by)
    assert 1 == b.engine.statistics().opened


async def test_an_unknown_model_is_one_clear_error(bench, autojump_clock) -> None:
    async with bench(model={"known": "directive"}) as b:
        with pytest.raises(triplane.ServerError, match="unknown") as caught:
            await b.engine.run(triplane.Agent("unknown"), "hello")
        assert "echo: hello" == (await b.engine.run(triplane.Agent("known"), "hello")).text
        # The lane survived: the error belonged to the request, not to the connection.
        assert 1 == b.engine.statistics().opened

    error = caught.value
    assert ("model_not_found", 400, "model") == (error.code, error.status, error.param)
    assert "change" == error.receipt.next


async def test_a_forgotten_response_costs_one_full_turn(bench, autojump_clock) -> None:
    """The server does not know the id any more, though the lane was thought to cache it."""

    @triplane.tool(effect="read")
    async def forget() -> str:
        """Put another response into the lane's cache behind the engine's back."""
        (lane,) = b.engine._pool.lanes()
        head = lane.memory.response_id
        async with b.engine.lane() as other:
            turn = await other.create(ResponseCreate(model="m", input="x", store=False))
            await turn.wait()
        lane.remember(head)
        return "forgotten"

    agent = triplane.Agent("m", "", [forget])
    async with bench(options=triplane.EngineOptions(max_connections=1)) as b:
        async with b.engine.open_run(agent, "CALL forget {}") as run:
            result = await run.wait()
            sent = [
                record.body for record in run.log.records if isinstance(record.body, triplane.RequestSent)
            ]

    assert 'RESULT: "forgotten"' == result.text
    assert ["full", "incremental", "full"] == [request.plan for request in sent]
    assert [None, "head_evicted"] == [sent[2].previous_response_id, sent[2].reason]
    # The lane went to somebody else meanwhile, so its connection was never lost.
    assert (1, 0) == (b.engine.statistics().opened, result.reconnects)


@pytest.mark.parametrize(
    ("status", "attempts", "transient"),
    [(401, 1, False), (403, 1, False), (404, 1, False), (426, 1, False), (429, 3, True), (503, 3, True)],
)
async def test_a_refused_upgrade_is_one_clear_error(
    bench, autojump_clock, status, attempts, transient
) -> None:
    agent, _executed = make_agent()
    async with bench(faults=[RefuseUpgrade(status, headers={"Retry-After": "7"})]) as b:
        before = trio.current_time()
        with pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(agent, "hello")
        waited = trio.current_time() - before

    error = caught.value
    assert ("upgrade", status, attempts, 7.0) == (
        error.stage,
        error.status,
        error.attempts,
        error.retry_after,
    )
    assert transient is error.is_transient
    assert str(status) in str(error)
    assert 7 * (attempts - 1) <= waited < 7 * attempts
    assert "nothing" == error.receipt.sent
    assert attempts == b.network.opened
    assert (0, 0, attempts) == (
        b.engine.statistics().opened,
        b.engine.statistics().closed,
        b.engine.statistics().pool.dial_failures,
    )


async def test_a_refusal_that_passes_is_not_noticed(bench, autojump_clock) -> None:
    agent, _executed = make_agent()
    async with bench(faults=[RefuseUpgrade(503, nth=1), RefuseUpgrade(429, nth=2)]) as b:
        assert "echo: hello" == (await b.engine.run(agent, "hello")).text


async def test_everybody_who_waits_hears_of_a_hopeless_refusal(bench, autojump_clock) -> None:
    agent, _executed = make_agent()
    async with (
        bench(faults=[RefuseUpgrade(401)]) as b,
        b.engine.fan_out(agent, ["x"] * 50, max_runs=50) as results,
    ):
        errors = [result.error async for result in results]

    assert {401} == {error.status for error in errors}
    assert 50 == len({id(error) for error in errors})
    # The key is wrong for everybody: the server is not asked fifty times.
    assert b.network.opened <= 4


async def test_the_key_is_in_no_error_and_no_repr(bench, autojump_clock) -> None:
    secret = "sk-canary-1234567890"
    endpoint = triplane.Endpoint("ws://memory/v1", api_key=secret, headers={"X-Secret": secret})
    async with bench(api_key="another") as b:
        with pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(triplane.Agent("m", endpoint=endpoint), "hello")

    assert 401 == caught.value.status
    for text in (repr(endpoint), repr(caught.value), str(caught.value), repr(b.engine), caught.value.body):
        assert secret not in text


@pytest.mark.parametrize("after_events", [0, 2])
async def test_what_the_server_does_itself_is_not_asked_for_twice(
    after_events, bench, autojump_clock
) -> None:
    hosted = triplane.ModelSettings(extra={"tools": [{"type": "mcp", "server_label": "tracker"}]})
    async with bench(faults=[Drop(after_events, nth=1)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(triplane.Agent("m", settings=hosted), "hello")
        assert 1 == b.engine.statistics().opened
        assert "echo: hello" == (await b.engine.run(triplane.Agent("m"), "hello")).text

    sent = "ambiguous" if after_events == 0 else "accepted"
    # What the server did is for somebody to find out, before it is asked again.
    assert (sent, "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)
