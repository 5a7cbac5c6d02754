"""What a conversation goes through on its way: limits, forgotten responses, servers that restart or drop everybody."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from played_server import call, message

import triplane
from triplane import ConnectionDropped, RequestSent, ResponseRetracted
from triplane.server import CloseAtOnce, CloseSocket, Drop, ErrorEvent, RefuseUpgrade, Server

AGENT = triplane.Agent("m")
NOT_FOUND = {
    "code": "previous_response_not_found",
    "status": 400,
    "param": "previous_response_id",
    "error_type": "invalid_request_error",
}


def bodies(run: triplane.Run, kind: type) -> list:
    return [record.body for record in run.log.records if isinstance(record.body, kind)]


def make_agent(**more) -> tuple[triplane.Agent, list[int]]:
    executed: list[int] = []

    @triplane.tool
    async def note(number: int) -> str:
        """Do something that must happen once."""
        executed.append(number)
        return f"noted {number}"

    return triplane.Agent("m", "Remember.", [note], **more), executed


# The server's limit on a connection's age, in its three forms.

UNLIMITED = triplane.Endpoint("ws://memory/v1", max_age=None)


@pytest.mark.parametrize("close_code", [None, 1000, 1001])
@pytest.mark.parametrize("policy", ["announce", "cut", "next_create", "finish"])
@pytest.mark.parametrize(
    "program",
    [
        "WAIT 20000\nSAY 2 word ",
        "SAY 1 a\nWAIT 20000\nSAY 2 word ",
        'CALL note {"number": 1}\nWAIT 20000\nSAY 2 word ',
    ],
    ids=["before the response", "in its middle", "in the second turn"],
)
async def test_a_connection_at_its_limit_costs_a_turn_and_no_error(
    bench, autojump_clock, policy, close_code, program
) -> None:
    agent, executed = make_agent()
    async with bench(endpoint=UNLIMITED, max_age=10, on_max_age=policy, max_age_close_code=close_code) as b:
        if policy in ("announce", "cut"):
            # What takes longer than a connection may last ends by its attempts, however it is told.
            with pytest.raises((triplane.ServerError, triplane.ConnectionLost), match="tried 5 times"):
                await b.engine.run(agent, program)
        else:
            assert (await b.engine.run(agent, program)).text.endswith("word word ")
        # A second run meets the limit while the connection was idle.
        await trio.sleep(30)
        assert "echo: after" == (await b.engine.run(agent, "after")).text

    assert ([1] if "CALL" in program else []) == executed


async def test_a_limit_that_is_the_answer_to_a_request_costs_one_new_connection(
    bench, autojump_clock
) -> None:
    agent, executed = make_agent()
    async with bench(endpoint=UNLIMITED, max_age=10, on_max_age="next_create", max_age_close_code=None) as b:
        await b.engine.run(agent, "hello")
        await trio.sleep(20)
        before = trio.current_time()
        async with b.engine.open_run(agent, 'CALL note {"number": 1}') as run:
            result = await run.wait()
        # At once: it is nobody's fault.
        assert before == trio.current_time()
        (retracted,) = bodies(run, ResponseRetracted)
        (dropped,) = bodies(run, ConnectionDropped)

    assert ('RESULT: "noted 1"', [1], 1, 1) == (result.text, executed, result.replays, result.reconnects)
    assert ("server_error", 0, False) == (retracted.reason, retracted.shown, retracted.ambiguous)
    assert "websocket_connection_limit_reached" in dropped.reason
    assert 2 == b.engine.statistics().opened


async def test_a_limit_in_the_middle_of_a_response_retracts_and_goes_on_elsewhere(
    bench, autojump_clock
) -> None:
    fault = ErrorEvent(6, code="websocket_connection_limit_reached", status=400, nth=1)
    async with bench(faults=[fault]) as b, b.engine.open_run(AGENT, "SAY 5 word ") as run:
        before = trio.current_time()
        result = await run.wait()
        (retracted,) = bodies(run, ResponseRetracted)

    assert before == trio.current_time()
    assert ("word " * 5, 1, 2) == (result.text, result.replays, b.engine.statistics().opened)
    assert ("server_error", True) == (retracted.reason, retracted.ambiguous)
    assert 0 < retracted.shown


async def test_a_limit_that_comes_while_nothing_goes_on_disturbs_nobody(bench, autojump_clock) -> None:
    async with bench(endpoint=UNLIMITED, max_age=10, on_max_age="finish", max_age_close_code=None) as b:
        await b.engine.run(AGENT, "hello")
        await trio.sleep(20)
        assert [] == [each.state for each in b.engine.statistics().pool.connections]
        async with b.engine.open_run(AGENT, "again") as run:
            result = await run.wait()

    assert ("echo: again", 0, 0) == (result.text, result.replays, result.reconnects)


# Closes under a response.


@pytest.mark.parametrize("after_events", [0, 3, 6])
@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 1014])
async def test_a_close_in_the_middle_of_a_response_is_no_end_of_it(
    bench, autojump_clock, code, after_events
) -> None:
    agent, executed = make_agent()
    async with bench(faults=[CloseSocket(after_events, code=code, nth=2)]) as b:
        before = trio.current_time()
        result = await b.engine.run(agent, 'CALL note {"number": 1}\nSAY 3 word ')
        waited = trio.current_time() - before

    assert ("word " * 3, [1], 1) == (result.text, executed, result.replays)
    # One that restarts, or is busy, is given time; the others are replaced at once.
    assert (code in (1012, 1013)) is (waited > 0)


@pytest.mark.parametrize("code", [1003, 1008, 1009, 3000, 4401])
async def test_a_close_that_the_same_bytes_would_meet_again_ends_the_run(bench, autojump_clock, code) -> None:
    # Not the first request: a connection that is closed at once was never accepted.
    async with bench(faults=[CloseSocket(0, code=code, nth=2)]) as b:
        await b.engine.run(AGENT, "hello")
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(AGENT, "hello")
        assert 2 == b.server.statistics().requests

    assert (code, "peer", "ambiguous") == (
        caught.value.close.code,
        caught.value.close.by,
        caught.value.receipt.sent,
    )


# What the server forgets.


@pytest.mark.parametrize("nth", [2, 3])
async def test_a_response_that_was_forgotten_costs_one_full_turn(bench, autojump_clock, nth) -> None:
    agent, executed = make_agent()
    async with (
        bench(faults=[ErrorEvent(nth=nth, **NOT_FOUND)]) as b,
        b.engine.open_run(agent, 'REPEAT 3 CALL note {"number": 1}') as run,
    ):
        before = trio.current_time()
        result = await run.wait()
        sent = bodies(run, RequestSent)
        assert before == trio.current_time()

    assert ("completed", 1, 0, 1) == (result.status, result.replays, result.reconnects, b.network.opened)
    assert [1] * 3 == executed
    assert [("incremental", True), ("full", False)] == [
        (each.plan, each.previous_response_id is not None) for each in sent[nth - 1 : nth + 1]
    ]


async def test_a_response_that_is_forgotten_twice_in_a_turn_is_an_error(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    faults = [ErrorEvent(nth=nth, **NOT_FOUND) for nth in (2, 3)]
    async with bench(faults=faults) as b:
        with pytest.raises(triplane.ServerError, match="not_found") as caught:
            await b.engine.run(agent, 'CALL note {"number": 1}')

    assert [1] == executed
    assert ["note"] == [effect.tool for effect in caught.value.receipt.effects]


async def test_it_is_forgotten_twice_though_something_else_went_wrong_in_between(
    bench, autojump_clock
) -> None:
    agent, _executed = make_agent()
    faults = [ErrorEvent(nth=2, **NOT_FOUND), Drop(nth=3), ErrorEvent(nth=4, **NOT_FOUND)]
    async with bench(faults=faults) as b:
        with pytest.raises(triplane.ServerError, match="tried 3 times"):
            await b.engine.run(agent, 'CALL note {"number": 1}')


async def test_a_duplicate_that_the_server_remembers_is_settled_by_a_fresh_chain(
    stage, autojump_clock
) -> None:
    """Full input after a cached response would hold every item twice; and some servers look for that."""

    async def play(peer) -> None:
        await peer.request()
        await peer.answer("resp_1", call("note", '{"number": 1}'))
        await peer.request()
        error = {
            "type": "invalid_request_error",
            "param": "input",
            "message": "Duplicate item found with id fc_1.",
        }
        await peer.say("error", status=400, error=error)
        again = await peer.request()
        assert "previous_response_id" not in again
        ids = [each["id"] for each in again["input"] if "id" in each]
        calls = [(each["type"], each["call_id"]) for each in again["input"] if "call_id" in each]
        assert len(set(ids)) == len(ids)
        assert [("function_call", "call_1"), ("function_call_output", "call_1")] == calls
        await peer.answer("resp_2", message("done"))

    agent, executed = make_agent()
    async with stage(play) as s:
        result = await s.engine.run(agent, "x")

    assert ("done", [1], 1) == (result.text, executed, result.replays)


async def test_a_server_that_restarts_costs_one_full_turn(bench, autojump_clock) -> None:
    @triplane.tool(effect="read")
    async def restart() -> str:
        """Restart the server: it closes every socket and forgets all that it has not stored."""
        b.network._server = Server(model="directive", epoch=0.0)
        await b.network.streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        return "restarted"

    agent = triplane.Agent("m", tools=[restart])
    async with bench() as b, b.engine.open_run(agent, "CALL restart {}") as run:
        result = await run.wait()
        sent = bodies(run, RequestSent)

    assert ('RESULT: "restarted"', 0, 1) == (result.text, result.replays, result.reconnects)
    assert [("full", "first_turn"), ("full", "connection_lost")] == [
        (each.plan, each.reason) for each in sent
    ]


async def test_a_stored_response_that_is_gone_after_a_restart_costs_one_full_turn(
    bench, autojump_clock
) -> None:
    @triplane.tool(effect="read")
    async def restart() -> str:
        """Restart the server, and lose its store too."""
        b.network._server = Server(model="directive", epoch=0.0)
        await b.network.streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        return "restarted"

    agent = triplane.Agent("m", tools=[restart], store=True)
    async with bench() as b, b.engine.open_run(agent, "CALL restart {}") as run:
        result = await run.wait()
        sent = bodies(run, RequestSent)

    assert 'RESULT: "restarted"' == result.text
    assert [("full", "first_turn"), ("incremental", "head_stored"), ("full", "head_evicted")] == [
        (each.plan, each.reason) for each in sent
    ]


# Parents that are not what they were.


async def test_an_incomplete_response_can_be_continued(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(AGENT, "SAY 2 word \nINCOMPLETE max_output_tokens") as run:
            result = await run.wait()
            request = triplane.protocol.ResponseCreate(
                model="m", input="more", previous_response_id=result.response_id, store=False
            )
        async with b.engine.lane() as lane:
            turn = await lane.create(request)
            assert "echo: more" == (await turn.wait()).text


async def test_after_a_failed_response_nothing_is_continued(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    async with (
        bench(faults=[ErrorEvent(3, shape="failed", nth=2)]) as b,
        b.engine.open_run(agent, 'CALL note {"number": 1}') as run,
    ):
        assert 'RESULT: "noted 1"' == (await run.wait()).text
        sent = bodies(run, RequestSent)

    assert ["full", "incremental", "full"] == [each.plan for each in sent]
    assert (None, [1]) == (sent[2].previous_response_id, executed)


async def test_a_lost_warm_up_costs_one_full_turn(bench, autojump_clock) -> None:
    agent, executed = make_agent()
    # The fault's response is the run's first: a warm-up is one as well.
    async with bench(faults=[ErrorEvent(nth=2, **NOT_FOUND)]) as b:
        assert 1 == await b.engine.warm_up(agent)
        async with b.engine.open_run(agent, 'CALL note {"number": 1}') as run:
            assert 'RESULT: "noted 1"' == (await run.wait()).text
            sent = bodies(run, RequestSent)

    assert ["warm", "full", "incremental"] == [each.plan for each in sent]
    assert [1] == executed


async def test_a_warm_connection_that_dies_costs_nothing_but_the_warm_up(bench, autojump_clock) -> None:
    async with bench() as b:
        await b.engine.warm_up(AGENT)
        await b.network.streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        async with b.engine.open_run(AGENT, "hello") as run:
            result = await run.wait()
            (sent,) = bodies(run, RequestSent)

    assert ("full", "echo: hello", 0) == (sent.plan, result.text, result.reconnects)


async def test_runs_of_agents_that_differ_share_no_chain(bench, autojump_clock) -> None:
    """Instructions and tools are no part of what a chain remembers, and a warm-up is for one agent alone."""
    agent, _executed = make_agent()
    other = triplane.Agent("m", "Forget.", agent.tools)
    options = triplane.EngineOptions(max_connections=1)
    async with bench(options=options) as b:
        await b.engine.warm_up(agent)
        for each, plan in [(other, "full"), (agent, "full")]:
            async with b.engine.open_run(each, "hello") as run:
                await run.wait()
                assert [plan] == [sent.plan for sent in bodies(run, RequestSent)]
        creates = [entry.json for entry in b.server.journal.entries if entry.kind == "message"]
        asked = [
            create
            for create in creates
            if create and create.get("generate") is not False and "model" in create
        ]

    assert ["Forget.", "Remember."] == [create["instructions"] for create in asked]


# Loops and crowds.


@pytest.mark.parametrize("attempts", [0, 2, 4])
async def test_a_server_that_lets_everybody_in_and_drops_them_is_tried_so_often(
    bench, autojump_clock, attempts
) -> None:
    options = triplane.EngineOptions(replay_attempts=attempts)
    async with bench(options=options, faults=[Drop(0)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught, trio.fail_after(300):
            await b.engine.run(AGENT, "hello")
        assert attempts + 1 == b.engine.statistics().opened

    assert "ambiguous" == caught.value.receipt.sent


async def test_a_server_that_closes_whatever_it_opens_is_an_error_and_no_loop(bench, autojump_clock) -> None:
    async with bench(faults=[CloseAtOnce(1011)]) as b:
        with pytest.raises(triplane.TriplaneError), trio.fail_after(300):
            await b.engine.run(AGENT, "hello")
        assert b.network.opened <= 6


async def test_the_budget_is_a_turns_and_begins_anew_with_the_next(bench, autojump_clock) -> None:
    """Two losses in each of four turns, with a budget of two."""
    agent, executed = make_agent()
    options = triplane.EngineOptions(replay_attempts=2)
    faults = [Drop(4, nth=nth) for nth in range(1, 12) if nth % 3]
    async with bench(options=options, faults=faults) as b:
        result = await b.engine.run(agent, 'REPEAT 3 CALL note {"number": 1}')

    assert ("completed", 4, 8, 8) == (result.status, result.turns, result.replays, result.reconnects)
    assert [1] * 3 == executed


async def test_the_first_retry_is_immediate_and_the_later_ones_wait(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(replay_attempts=3, backoff_base=8, backoff_limit=10)
    async with bench(options=options, faults=[Drop(2, nth=nth) for nth in (1, 2, 3)]) as b:
        async with b.engine.open_run(AGENT, "hello") as run:
            await run.wait()
            times = [record.at for record in run.log.records if isinstance(record.body, RequestSent)]
        arrivals = [
            entry.time
            for entry in b.server.journal.entries
            if entry.kind == "message" and entry.direction == "in"
        ]

    assert 4 == len(times) == len(arrivals)
    waits = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    assert 0 == waits[0]
    assert 6 <= waits[1] <= 8
    assert 7.5 <= waits[2] <= 10


async def test_a_crowd_that_loses_its_connections_at_once_comes_back_through_the_pool(
    bench, autojump_clock
) -> None:
    options = triplane.EngineOptions(max_connections=8)
    async with bench(options=options, faults=[Drop(3, nth=nth) for nth in range(1, 9)]) as b:
        async with b.engine.fan_out(AGENT, ["WAIT 10\nSAY 2 x"] * 200, max_runs=200) as results:
            texts = [result.result.text async for result in results if result.error is None]
        statistics = b.engine.statistics()

    assert ["xx"] * 200 == texts
    assert 8 <= statistics.opened <= 16
    assert 0 == statistics.pool.waiting


async def test_those_who_wait_while_nothing_can_be_opened_are_counted_and_can_leave(
    bench, autojump_clock
) -> None:
    options = triplane.EngineOptions(max_connections=1, max_waiters=2, dial_attempts=100)
    refusals = [RefuseUpgrade(503, headers={"Retry-After": "10"}, nth=nth) for nth in range(1, 4)]
    async with bench(options=options, faults=refusals) as b, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            texts: list[str] = []

            async def run(text: str) -> None:
                texts.append((await b.engine.run(AGENT, text)).text)

            nursery.start_soon(run, "stays")
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as leaving:
                leaving.start_soon(run, "leaves")
                await trio.testing.wait_all_tasks_blocked()
                assert 2 == b.engine.statistics().pool.waiting
                with pytest.raises(triplane.LimitReached, match="max_waiters"):
                    await b.engine.run(AGENT, "too many")
                leaving.cancel_scope.cancel()
            assert 1 == b.engine.statistics().pool.waiting
        assert not scope.cancelled_caught

    assert ["echo: stays"] == texts


# Calls that were open when something happened.


@pytest.mark.parametrize("after_events", range(9))
async def test_calls_that_were_seen_and_not_begun_are_run_once(bench, autojump_clock, after_events) -> None:
    agent, executed = make_agent()
    program = "\n".join(f'CALL note {{"number": {number}}}' for number in (1, 2, 3))
    async with bench(faults=[Drop(after_events, nth=1)]) as b:
        result = await b.engine.run(agent, program)

    assert [1, 2, 3] == sorted(executed)
    assert 3 == len(result.tool_calls)


async def test_a_loss_while_one_of_two_tools_runs_leaves_each_with_one_output(stage, autojump_clock) -> None:
    async def play(peer) -> None:
        request = await peer.request()
        if peer.number == 1:
            await peer.answer(
                "resp_1", call("fast", call_id="call_1"), call("slow", call_id="call_2", identity="fc_2")
            )
            await trio.sleep(1)
            await peer.close(1001)
            return
        assert "previous_response_id" not in request
        outputs = [each for each in request["input"] if each["type"] == "function_call_output"]
        assert [("call_1", "fast"), ("call_2", "slow")] == [
            (each["call_id"], each["output"]) for each in outputs
        ]
        await peer.answer("resp_2", message("done"))

    executed: list[str] = []

    @triplane.tool
    async def fast() -> str:
        """Be fast."""
        executed.append("fast")
        return "fast"

    @triplane.tool
    async def slow() -> str:
        """Be slow."""
        await trio.sleep(5)
        executed.append("slow")
        return "slow"

    async with stage(play) as s:
        result = await s.engine.run(triplane.Agent("m", tools=[fast, slow]), "x")

    assert ("done", ["fast", "slow"], 0, 1) == (
        result.text,
        executed,
        result.replays,
        result.reconnects,
    )


@pytest.mark.parametrize("after_events", range(4))
async def test_outputs_whose_delivery_is_in_doubt_are_sent_again_and_the_tool_is_not_run_again(
    bench, autojump_clock, after_events
) -> None:
    agent, executed = make_agent()
    async with (
        bench(faults=[Drop(after_events, nth=2)]) as b,
        b.engine.open_run(agent, 'CALL note {"number": 1}') as run,
    ):
        assert 'RESULT: "noted 1"' == (await run.wait()).text
        requests = [
            entry.json
            for entry in b.server.journal.entries
            if entry.kind == "message" and entry.direction == "in"
        ]

    assert [1] == executed
    outputs = [
        [item["output"] for item in request["input"] if item["type"] == "function_call_output"]
        for request in requests
    ]
    assert [[], ["noted 1"], ["noted 1"]] == outputs
