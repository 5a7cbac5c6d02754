"""The same runs by either transport: what a run promises does not depend on what carries it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triplane
from cancel_steps import cancelled_at
from triplane.core.records import FramesReceived, RequestSent
from triplane.core.reducer import RunReducer
from triplane.protocol import ResponseCreate
from triplane.server import CloseSocket, Drop, ErrorEvent, KeepAlive, PingStorm, Stall, Truncate

LIMITS = triplane.EngineOptions(first_event_timeout=30, idle_timeout=30)


@pytest.fixture(params=["websocket", "http"])
def over(request) -> triplane.Endpoint:
    return triplane.Endpoint("ws://memory/v1", transport=request.param)


def make_agent(**settings) -> tuple[triplane.Agent, list[int]]:
    executed: list[int] = []

    @triplane.tool
    async def note(number: int) -> str:
        """Do something that must happen once."""
        executed.append(number)
        return f"noted {number}"

    return triplane.Agent("m", "Remember.", [note], **settings), executed


def requests_of(run_log: triplane.RunLog) -> list[RequestSent]:
    return [record.body for record in run_log.records if isinstance(record.body, RequestSent)]


async def test_tool_turns_and_parallel_calls(bench, autojump_clock, over) -> None:
    agent, executed = make_agent()
    prompt = 'CALL note {"number": 1}\nCALL note {"number": 2}\nSAY 2 done '
    async with bench(endpoint=over) as b, b.engine.open_run(agent, prompt) as run:
        events = [event async for event in run]
        now = b.engine.statistics().pool.connections[0]

    assert ("completed", 2, over.transport) == (run.result.status, run.result.turns, run.result.transport)
    assert "done done " == run.result.text
    assert [1, 2] == sorted(executed)
    assert [over.transport] * 2 == [request.transport for request in requests_of(run.log)]
    # It is what the endpoint says, so nothing has changed.
    assert not any(isinstance(event, triplane.TransportChanged) for event in events)
    assert (2, True, True) == (now.requests, now.bytes_up > run.result.bytes_up, now.bytes_down > 1_000)


async def test_the_events_are_the_same(bench, autojump_clock) -> None:
    """All but what says which transport it was, and the server's ids and times."""
    seen = []
    for transport in ("websocket", "http"):
        endpoint = triplane.Endpoint("ws://memory/v1", transport=transport)
        agent, _executed = make_agent()
        async with bench(endpoint=endpoint) as b:
            async with b.engine.open_run(agent, 'REASON why\nCALL note {"number": 1}\nSAY 3 x ') as run:
                seen.append([event.type async for event in run])

    assert seen[0] == seen[1]


async def test_a_log_folds_to_the_state_of_the_live_run(bench, autojump_clock, over) -> None:
    agent, _executed = make_agent()
    async with bench(endpoint=over) as b, b.engine.open_run(agent, 'CALL note {"number": 1}') as run:
        state = await run.wait()
        replayed = RunReducer()
        for record in run.log.records:
            replayed.apply(record)

    assert state == replayed.snapshot()


async def test_over_http_nothing_is_kept_but_what_is_stored(bench, autojump_clock) -> None:
    plans = {}
    for store in (False, True):
        endpoint = triplane.Endpoint("ws://memory/v1", transport="http")
        agent, _executed = make_agent(store=store)
        async with bench(endpoint=endpoint) as b:
            async with b.engine.open_run(agent, 'REPEAT 2 CALL note {"number": 1}') as run:
                await run.wait()
            plans[store] = [(sent.plan, sent.reason, sent.items) for sent in requests_of(run.log)]

    assert [("full", "first_turn", 1), ("full", "nothing_kept", 3), ("full", "nothing_kept", 5)] == plans[
        False
    ]
    assert [
        ("full", "first_turn", 1),
        ("incremental", "head_stored", 1),
        ("incremental", "head_stored", 1),
    ] == (plans[True])


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("after_events", range(8))
@pytest.mark.parametrize("fault", [Drop, CloseSocket, Stall, Truncate])
async def test_a_turn_survives_a_loss_after_any_event(
    bench, autojump_clock, fault, after_events, nth
) -> None:
    """As over a WebSocket, where the same is tested elsewhere: the tool's effect happens once."""
    agent, executed = make_agent()
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")
    async with bench(endpoint=endpoint, options=LIMITS, faults=[fault(after_events, nth=nth)]) as b:
        result = await b.engine.run(agent, 'CALL note {"number": 1}')

    assert 'RESULT: "noted 1"' == result.text
    assert [1] == executed
    assert "completed" == result.status
    # The seventh event of the first response is its last one.
    assert (after_events < 7 or nth == 2) == result.replays


async def test_what_was_shown_is_retracted(bench, autojump_clock, over) -> None:
    agent, _executed = make_agent()
    async with (
        bench(endpoint=over, faults=[Drop(6, nth=1)]) as b,
        b.engine.open_run(agent, "SAY 9 word ") as run,
    ):
        events = [event async for event in run]

    (retracted,) = [event for event in events if isinstance(event, triplane.ResponseRetracted)]
    assert ("connection_lost", True) == (retracted.reason, retracted.ambiguous)
    assert "word " * 9 == run.result.text


async def test_recovery_gives_up_after_its_budget(bench, autojump_clock, over) -> None:
    agent, _executed = make_agent()
    options = triplane.EngineOptions(replay_attempts=2)
    async with bench(endpoint=over, options=options, faults=[Drop(2)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(agent, "hello")

    assert ("accepted", "resume") == (caught.value.receipt.sent, caught.value.receipt.next)


async def test_stalls_are_named_by_their_phase(bench, autojump_clock, over) -> None:
    options = triplane.EngineOptions(replay_attempts=0, first_event_timeout=20, idle_timeout=40)
    agent, _executed = make_agent()
    for after_events, phase, silence in [(0, "first_event", 20), (3, "between_events", 40)]:
        async with bench(endpoint=over, options=options, faults=[Stall(after_events)]) as b:
            with pytest.raises(triplane.Stalled) as caught:
                await b.engine.run(agent, "SAY 3 x")

        assert (phase, silence) == (caught.value.phase, caught.value.silence)


async def test_over_http_silence_says_nothing_about_the_peer(bench, autojump_clock) -> None:
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")
    async with bench(endpoint=endpoint) as b:
        async with b.engine.open_run(triplane.Agent("m"), "WAIT 60000") as run:
            waiting = [event async for event in run if isinstance(event, triplane.StillWaiting)]

    assert waiting
    assert {("model_thinking", None, None)} == {
        (event.phase, event.peer_silence, event.round_trip) for event in waiting
    }


async def test_what_keeps_a_connection_alive_is_no_event(bench, autojump_clock, over) -> None:
    agent, _executed = make_agent()
    async with bench(endpoint=over, faults=[PingStorm(2, pings=50), KeepAlive(3)]) as b:
        assert "x x x " == (await b.engine.run(agent, "SAY 3 x ")).text


@pytest.mark.parametrize(("status", "waited"), [(429, 7), (503, 7)])
async def test_the_server_is_given_the_time_that_it_asks_for(
    bench, autojump_clock, over, status, waited
) -> None:
    agent, _executed = make_agent()
    busy = ErrorEvent(status=status, code=None, headers={"retry-after": "7"}, nth=1)
    async with bench(endpoint=over, faults=[busy]) as b:
        before = trio.current_time()
        result = await b.engine.run(agent, "hello")

    assert ("echo: hello", 1) == (result.text, result.replays)
    assert waited <= trio.current_time() - before < waited + 2


@pytest.mark.parametrize(
    ("status", "code", "replays"),
    [(400, "invalid_prompt", 0), (403, None, 0), (404, None, 0), (413, None, 0)],
)
async def test_an_error_that_would_come_again_is_not_tried_again(
    bench, autojump_clock, over, status, code, replays
) -> None:
    agent, _executed = make_agent()
    async with bench(endpoint=over, faults=[ErrorEvent(status=status, code=code)]) as b:
        with pytest.raises(triplane.ServerError) as caught:
            await b.engine.run(agent, "hello")
        requests = [request for request in b.server.requests if request.kind == "response.create"]

    assert (status, code, "change") == (caught.value.status, caught.value.code, caught.value.receipt.next)
    assert replays + 1 == len(requests)


async def test_an_error_in_the_middle_of_a_response_is_tried_again(bench, autojump_clock, over) -> None:
    agent, executed = make_agent()
    async with bench(endpoint=over, faults=[ErrorEvent(4, status=500, nth=1)]) as b:
        result = await b.engine.run(agent, 'CALL note {"number": 1}')

    assert (1, [1]) == (result.replays, executed)


async def test_failed_and_incomplete_responses(bench, autojump_clock, over) -> None:
    agent, _executed = make_agent()
    async with bench(endpoint=over) as b:
        result = await b.engine.run(agent, "SAY 2 x\nINCOMPLETE max_output_tokens")
        with pytest.raises(triplane.RunFailed) as caught:
            await b.engine.run(agent, "FAIL server_error It broke.")
        assert "echo: after" == (await b.engine.run(agent, "after")).text

    assert ("incomplete", "max_output_tokens") == (result.status, result.reason)
    assert "server_error" == caught.value.code


async def test_an_unknown_model_is_one_clear_error(bench, autojump_clock, over) -> None:
    async with bench(endpoint=over, model={"known": "directive"}) as b:
        with pytest.raises(triplane.ServerError, match="unknown") as caught:
            await b.engine.run(triplane.Agent("unknown"), "hello")
        assert "echo: hello" == (await b.engine.run(triplane.Agent("known"), "hello")).text
        assert 1 == b.engine.statistics().opened

    status = 400 if over.transport == "websocket" else 404
    assert ("model_not_found", status, "model") == (
        caught.value.code,
        caught.value.status,
        caught.value.param,
    )


async def test_a_run_that_is_cancelled_in_mid_response_takes_nothing_with_it(
    bench, autojump_clock, over
) -> None:
    agent, _executed = make_agent()
    async with bench(endpoint=over, options=triplane.EngineOptions(max_connections=2)) as b:
        async with b.engine.open_run(agent, "SAY 3 x\nWAIT 100000\nSAY 3 y") as slow:
            async with b.engine.open_run(agent, "SAY 3 x\nWAIT 1000000\nSAY 3 y") as cancelled:
                async for event in cancelled:
                    if event.type == "response.output_text.delta":
                        break
            assert "cancelled" == cancelled.state.status
            assert "x" * 3 + "y" * 3 == (await slow.wait()).text
            assert "echo: after" == (await b.engine.run(agent, "after")).text
        await trio.testing.wait_all_tasks_blocked()
        now = b.engine.statistics().pool
        assert (0, 0) == (now.leased, now.reserved)
        # The neighbour's stayed as it was, and what was in its midst is gone.
        assert (2, 1) == (now.opened, now.closed)
        assert 1 == sum(stream.send_stream._outgoing._closed for stream in b.network.streams)


async def test_a_slow_reader_holds_up_the_server(bench, autojump_clock, over) -> None:
    agent, _executed = make_agent()
    options = triplane.EngineOptions(max_unread=4_096)
    async with (
        bench(endpoint=over, options=options) as b,
        b.engine.open_run(agent, f"SAY 400 {'x' * 500} ") as run,
    ):
        async for _event in run:
            await trio.sleep(60)
            break
        seen = sum(record.size for record in run.log.records if isinstance(record.body, FramesReceived))
        assert "completed" == (await run.wait()).status

    assert seen < 200_000


async def test_many_runs_over_few_connections(bench, autojump_clock, over) -> None:
    agent, executed = make_agent()
    options = triplane.EngineOptions(max_connections=2)
    async with bench(endpoint=over, options=options) as b:
        inputs = [f'CALL note {{"number": {number}}}' for number in range(20)]
        async with b.engine.fan_out(agent, inputs, max_runs=20) as results:
            texts = {result.index: result.result.text async for result in results}

    assert {number: f'RESULT: "noted {number}"' for number in range(20)} == texts
    assert list(range(20)) == sorted(executed)
    assert 2 == b.engine.statistics().opened == b.network.opened


async def test_a_bare_lane(bench, autojump_clock, over) -> None:
    async with bench(endpoint=over) as b, b.engine.lane() as lane:
        for number in range(3):
            turn = await lane.create(
                ResponseCreate(model="m", input=f"SAY 3 {number}", store=False, stream_id=None)
            )
            with trio.move_on_after(0) as scope:
                await anext(turn)
            assert scope.cancelled_caught
            # What was cancelled has lost nothing.
            assert "response.created" == (await anext(turn)).type
            assert str(number) * 3 == (await turn.wait()).text
        with pytest.raises(triplane.ServerError) as caught:
            await (await lane.create(ResponseCreate(model="m", input="REJECT 400 bad No."))).wait()
        assert ("bad", 400) == (caught.value.code, caught.value.status)
        assert 1 == b.network.opened


async def test_a_bare_lane_never_replays(bench, autojump_clock, over) -> None:
    async with bench(endpoint=over, faults=[Drop(2, nth=1)]) as b, b.engine.lane() as lane:
        turn = await lane.create(ResponseCreate(model="m", input="SAY 3 x"))
        with pytest.raises(triplane.ConnectionLost) as caught:
            await turn.wait()

    assert ("accepted", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)
    assert 1 == len(b.server.requests)


async def test_warming_up_over_http_opens_connections_and_asks_nothing(bench, autojump_clock) -> None:
    agent, _executed = make_agent(transport="http")
    async with bench() as b:
        assert 0 == await b.engine.warm_up(agent, lanes=2)
        assert (2, []) == (b.engine.statistics().opened, b.server.requests)
        assert "echo: x" == (await b.engine.run(agent, "x")).text


async def test_the_agent_has_the_last_word(bench, autojump_clock, over) -> None:
    other = "http" if over.transport == "websocket" else "websocket"
    async with bench(endpoint=over) as b:
        result = await b.engine.run(triplane.Agent("m", transport=other), "hello")
        (asked,) = b.server.requests

    assert (other, other) == (result.transport, asked.transport)


async def test_what_the_server_does_itself_is_not_asked_for_twice(bench, autojump_clock, over) -> None:
    hosted = triplane.ModelSettings(extra={"tools": [{"type": "mcp", "server_label": "tracker"}]})
    async with bench(endpoint=over, faults=[Drop(0, nth=1)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(triplane.Agent("m", settings=hosted), "hello")

    assert "ambiguous" == caught.value.receipt.sent
    assert 1 == len(b.server.requests)


async def test_a_key_that_is_refused_is_in_no_error(bench, autojump_clock, over) -> None:
    secret = "sk-canary-1234567890"
    endpoint = triplane.Endpoint(
        "ws://memory/v1", api_key=secret, headers={"X-Secret": secret}, transport=over.transport
    )
    async with bench(endpoint=endpoint, api_key="another") as b:
        with pytest.raises(triplane.TriplaneError) as caught:
            async with b.engine.open_run(triplane.Agent("m"), "hello") as run:
                await run.wait()

    assert 401 == caught.value.status
    for shown in (caught.value, str(caught.value), b.engine, list(run.log.records)):
        assert secret not in repr(shown)


async def test_a_connection_that_went_away_between_turns_is_opened_anew(bench, autojump_clock) -> None:
    """Over HTTP that is nothing: it is no loss that anybody has to hear of."""
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")

    @triplane.tool
    async def fell() -> str:
        """Cut the network and let the answer's end be forgotten."""
        (lane,) = b.engine._pool.lanes()
        await lane.lanes.connection._network._streams[0].aclose()
        return "felled"

    async with bench(endpoint=endpoint) as b:
        result = await b.engine.run(triplane.Agent("m", "", [fell]), "CALL fell {}")

    assert ('RESULT: "felled"', 2) == (result.text, b.network.opened)
    assert (0, 0) == (result.reconnects, result.replays)


async def test_a_connection_that_cannot_be_opened_anew_at_once_costs_an_attempt(
    bench, autojump_clock
) -> None:
    """Not a byte was sent, so nothing is ambiguous; the pool tries again as it does at first."""
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")
    outages = [2]

    @triplane.tool
    async def fell() -> str:
        """Cut the network for a while."""
        (lane,) = b.engine._pool.lanes()
        await lane.lanes.connection._network._streams[0].aclose()
        connect = b.network.connect

        async def out_of_order(host: str, port: int) -> trio.abc.Stream:
            if outages[0]:
                outages[0] -= 1
                raise ConnectionRefusedError("refused")
            return await connect(host, port)

        b.network.connect = out_of_order
        return "felled"

    async with bench(endpoint=endpoint) as b:
        agent = triplane.Agent("m", "", [fell])
        async with b.engine.open_run(agent, "CALL fell {}") as run:
            events = [event async for event in run]

    (retracted,) = [event for event in events if isinstance(event, triplane.ResponseRetracted)]
    assert ("connection_lost", False) == (retracted.reason, retracted.ambiguous)
    assert ('RESULT: "felled"', 1) == (run.result.text, run.result.replays)


async def test_a_connection_that_cannot_be_opened_anew_at_all_is_one_clear_error(
    bench, autojump_clock
) -> None:
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")

    @triplane.tool
    async def fell() -> str:
        """Cut the network for good."""
        (lane,) = b.engine._pool.lanes()
        await lane.lanes.connection._network._streams[0].aclose()

        async def out_of_order(host: str, port: int) -> trio.abc.Stream:
            raise ConnectionRefusedError("refused")

        b.network.connect = out_of_order
        return "felled"

    async with bench(endpoint=endpoint) as b:
        with pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(triplane.Agent("m", "", [fell]), "CALL fell {}")

    error = caught.value
    assert ("tcp", "nothing", ["fell"]) == (
        error.stage,
        error.receipt.sent,
        [effect.tool for effect in error.receipt.effects],
    )


async def test_cancelled_at_any_step_nothing_is_left_behind(bench, autojump_clock) -> None:
    agent, _executed = make_agent()
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")
    options = triplane.EngineOptions(max_connections=2)
    async with bench(endpoint=endpoint, options=options) as b:

        async def run() -> None:
            await b.engine.run(agent, 'CALL note {"number": 1}')

        step = 0
        while True:
            step += 5
            cancelled, _ = await cancelled_at(step, run)
            if not cancelled:
                break
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        now = b.engine.statistics()
        assert (0, 0, 0, 0) == (now.pool.leased, now.pool.reserved, now.pool.waiting, now.runs_active)
        # Streams that no connection knows would have leaked.
        open_streams = sum(not stream.send_stream._outgoing._closed for stream in b.network.streams)
        assert open_streams <= now.opened - now.closed <= 2
        assert "echo: after" == (await b.engine.run(agent, "after")).text
    assert step > 50
