"""Steering a response that is being made, and input for the next one: every way that it can go."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from scripted_peer import Peer, ScriptedNetwork, accepted, called, created, delta, ended, open_scripted, said
from steering_bench import (
    AGENT,
    CALL,
    PLAN,
    TOOLED,
    Listener,
    check_log,
    events_of,
    requests_of,
    texts_of,
    types_of,
    user,
    when,
)

import triplane
from triplane.core.records import RequestSent
from triplane.protocol import ResponseOutputTextDelta
from triplane.server import FunctionCall, Text, Wait, serve

# The four ways.


async def test_a_response_stops_for_a_steer_and_its_successor_ends_the_run(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, PLAN) as run:
        await when(run, ResponseOutputTextDelta)
        assert triplane.Steered("steered") == await run.steer("SAY 2 new")
        assert "sent" == run.state.steers[0].state
        result = await run.wait()

    assert ("completed", "newnew", 1) == (result.status, result.text, result.turns)
    assert [
        "run_started",
        "request_sent",
        "created",
        "steer_sent",
        "steer.accepted",
        "incomplete",
        "created",
        "completed",
        "run_ended",
    ] == types_of(run)
    assert ["committed"] == [steer.state for steer in result.steers]
    assert 1 == b.engine.statistics().opened
    check_log(run)


async def test_a_response_that_completes_first_has_a_successor_all_the_same(bench, autojump_clock) -> None:
    model = Listener([Text("one"), Wait(5)], [Text("two")])
    async with bench(model=model) as b, b.engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        await run.steer("more")
        result = await run.wait()

    assert "two" == result.text
    assert [["hi"], ["hi", "more"]] == model.heard
    assert ["created", "steer_sent", "steer.accepted", "completed", "created", "completed"] == types_of(run)[
        2:-1
    ]


async def test_a_steer_that_waits_for_outputs_is_answered_with_them_and_no_tool_runs_twice(
    bench, autojump_clock
) -> None:
    model = Listener([FunctionCall("look", {}), FunctionCall("look", {}), Wait(5)], [Text("done")])
    async with bench(model=model) as b, b.engine.open_run(TOOLED, "hi") as run:
        await when(run, "response.output_item.done")
        await run.steer("first")
        await run.steer("second")
        result = await run.wait()

    assert ("completed", "done", 2) == (result.status, result.text, result.turns)
    assert [["hi"], ["hi", "first", "second"]] == model.heard
    assert [(1, "full", 1), (2, "incremental", 2)] == [
        (each.turn, each.plan, each.items) for each in requests_of(run)
    ]
    assert 2 == types_of(run).count("steer.pending")
    assert 2 == len(result.tool_calls)
    check_log(run)


@pytest.mark.parametrize("code", ["steering_not_supported", "too_many_pending_steers"])
async def test_a_steer_that_fails_is_input_for_the_next_request(bench, autojump_clock, code) -> None:
    options = (
        {"steering_models": ["gpt-6*"]} if code == "steering_not_supported" else {"max_pending_steers": 1}
    )
    model = Listener([Text("one"), Wait(5)], [Text("two"), Wait(5)])
    async with bench(model=model, **options) as b, b.engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        count = 1 if code == "steering_not_supported" else 2
        for number in range(count):
            await run.steer(f"more {number}")
        result = await run.wait()

    assert ("completed", "two") == (result.status, result.text)
    assert ["hi", *(f"more {number}" for number in range(count))] == model.heard[-1]
    (failed,) = [each for each in events_of(run) if each.type == "response.steer.failed"]
    assert code == failed.error["code"]
    assert ["full", "incremental"] == [each.plan for each in requests_of(run)]
    check_log(run)


# When it is said.


async def test_before_a_response_has_begun_and_while_tools_run_what_is_steered_waits(
    bench, autojump_clock
) -> None:
    queued = triplane.Steered("queued", "no_response")
    model = Listener([Wait(5), FunctionCall("look", {})], [Text("done")])
    async with bench(model=model, latency=5) as b, b.engine.open_run(TOOLED, "hi") as run:
        await when(run, RequestSent)
        assert queued == await run.steer("before")
        await when(run, triplane.ToolStarted)
        assert queued == await run.steer("during")
        result = await run.wait()

    assert ("completed", "done", 2) == (result.status, result.text, result.turns)
    assert [["hi"], ["hi", "before", "during"]] == model.heard
    assert ["full", "incremental"] == [each.plan for each in requests_of(run)]
    check_log(run)


async def test_while_a_run_waits_for_its_lane_input_joins_the_first_request(bench, autojump_clock) -> None:
    model = Listener([Text("done")])
    options = triplane.EngineOptions(max_connections=1)
    async with bench(model=model, options=options) as b:
        async with b.engine.lane():
            holding = b.engine.open_run(AGENT, "hi")
            run = await holding.__aenter__()
            await trio.testing.wait_all_tasks_blocked()
            await run.send("more")
            assert triplane.Steered("queued", "no_response") == await run.steer("and more")
        result = await run.wait()
        await holding.__aexit__(None, None, None)

    assert ([["hi", "more", "and more"]], 1) == (model.heard, result.turns)


async def test_a_steer_in_the_last_moment_is_handed_back(autojump_clock) -> None:
    """It crosses the end of its response on the way."""

    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.say(created("resp_1"), delta("He"))
        steer = await peer.receive()
        failed = {"previous_response_id": "resp_1", "input": steer["input"]}
        await peer.say(
            ended("resp_1", said("Hello")),
            {
                "type": "response.steer.failed",
                "steer": failed,
                "error": {"code": "response_already_completed"},
            },
        )
        await peer.receive()
        await peer.say(created("resp_2"), ended("resp_2", said("done", "msg_2")))

    async with open_scripted(script) as (engine, network), engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        await run.steer("more")
        result = await run.wait()

    assert ("done", 2, 0) == (result.text, result.turns, result.replays)
    assert [user("more")] == network.peers[0].received[-1]["input"]
    assert "resp_1" == network.peers[0].received[-1]["previous_response_id"]


async def test_a_successor_can_be_steered_and_limits_hold_for_the_turn(bench, autojump_clock) -> None:
    model = Listener([Text("one"), Wait(5), Text("x")], [Text("two"), Wait(5), Text("x")], [Text("three")])
    agent = triplane.Agent("m", limits=triplane.RunLimits(max_turns=1))
    async with bench(model=model) as b, b.engine.open_run(agent, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        await run.steer("first")
        await when(run, ResponseOutputTextDelta, 2)
        await run.steer("second")
        result = await run.wait()

    assert ("completed", "three", 1) == (result.status, result.text, result.turns)
    assert ["hi", "first", "second"] == model.heard[-1]
    assert 3 == types_of(run).count("created")
    check_log(run)


async def test_input_that_waits_does_not_lift_limits(bench, autojump_clock) -> None:
    agent = triplane.Agent("m", limits=triplane.RunLimits(max_turns=1))
    async with bench() as b, b.engine.open_run(agent, PLAN) as run:
        await when(run, ResponseOutputTextDelta)
        await run.send("more")
        with pytest.raises(triplane.LimitReached) as caught:
            await run.wait()

    assert "max_turns" == caught.value.which


async def test_calls_of_a_steered_response_are_answered_after_its_successor(autojump_clock) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.say(created("resp_1"), CALL)
        steer = await peer.receive()
        await peer.say(
            accepted(steer),
            ended("resp_1", called("call_1"), steered=True),
            created("resp_2"),
            ended("resp_2", called("call_2")),
        )
        await peer.receive()
        await peer.say(created("resp_3"), ended("resp_3", said("done")))

    async with open_scripted(script) as (engine, network), engine.open_run(TOOLED, "hi") as run:
        await when(run, "response.output_item.done")
        await run.steer("more")
        result = await run.wait()

    assert ["call_1", "call_2"] == [each["call_id"] for each in network.peers[0].received[-1]["input"]]
    assert ("resp_2", 2) == (network.peers[0].received[-1]["previous_response_id"], len(result.tool_calls))


async def test_calls_of_a_response_whose_successor_cannot_be_made_are_run(autojump_clock) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.say(created("resp_1"), CALL)
        steer = await peer.receive()
        await peer.say(
            accepted(steer),
            ended("resp_1", called("call_1"), steered=True),
            {
                "type": "response.steer.failed",
                "steer": {"id": "steer_1", "previous_response_id": "resp_1", "input": steer["input"]},
                "error": {"code": "successor_creation_failed"},
            },
        )
        await peer.receive()
        await peer.say(created("resp_2"), ended("resp_2", said("done")))

    async with open_scripted(script) as (engine, network), engine.open_run(TOOLED, "hi") as run:
        await when(run, "response.output_item.done")
        await run.steer("more")
        assert "completed" == (await run.wait()).status

    assert ["function_call_output", "more"] == texts_of(network.peers[0].received[-1])


# Who says it.


async def test_a_caller_that_is_cancelled_first_has_said_nothing(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.open_run(AGENT, PLAN) as run:
        await when(run, ResponseOutputTextDelta)
        for say in (run.steer, run.send):
            with trio.CancelScope() as scope:
                scope.cancel()
                await say("new")
            assert scope.cancelled_caught
        result = await run.wait()

    assert ("aaabbb", 1) == (result.text, result.turns)


async def test_many_tasks_may_steer_at_once(bench, autojump_clock) -> None:
    model = Listener([Text("one"), Wait(5)], [Text("two")])
    async with bench(model=model) as b, b.engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(run.steer, f"{number}")
        await run.wait()

    assert ["0", "1", "2", "3", "4", "5", "6", "7", "hi"] == sorted(model.heard[-1])
    sent = [record.body.items for record in run.log.records if isinstance(record.body, triplane.SteerSent)]
    assert ["hi", *(items[0]["content"] for items in sent)] == model.heard[-1]


async def test_a_run_that_is_cancelled_with_a_steer_under_way_closes_its_lane(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(AGENT, PLAN) as run:
            await when(run, ResponseOutputTextDelta)
            await run.steer("new")
        assert "cancelled" == run.state.status
        check_log(run)
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text
        assert 2 == b.engine.statistics().opened


@pytest.mark.parametrize("say", ["steer", "send"])
@pytest.mark.parametrize("end", ["completed", "cancelled", "failed"])
async def test_after_the_end_an_error_says_what_to_do(bench, autojump_clock, say, end) -> None:
    said = {"completed": "hi", "cancelled": "WAIT 1000", "failed": "FAIL invalid_prompt no"}
    async with bench() as b:
        async with b.engine.open_run(AGENT, said[end]) as run:
            if end == "cancelled":
                run.cancel()
            with suppress(triplane.TriplaneError):
                await run.wait()
            with pytest.raises(triplane.RunFailed, match=rf"ended \({end}\).*fork") as caught:
                await getattr(run, say)("more")

    assert ("run_ended", "nothing") == (caught.value.code, caught.value.receipt.sent)
    check_log(run)


@pytest.mark.parametrize("wrong", [None, 5, [], b"hi"])
async def test_what_is_no_input_is_refused(bench, autojump_clock, wrong) -> None:
    async with bench() as b, b.engine.open_run(AGENT, "hi") as run:
        for say in (run.steer, run.send):
            with pytest.raises(triplane.ConfigError, match="run's input is"):
                await say(wrong)
        await run.wait()


class SlowLog:
    """A log that takes a second to be durable, and notes how much of it was."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.durable_to = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def durable(self) -> None:
        last = self._log.records[-1].sequence
        await trio.sleep(1)
        self.durable_to = last


class SlowLedger(triplane.MemoryLedger):
    """A ledger of such logs."""

    def create(self, run_id: str) -> Any:
        self.log = SlowLog(super().create(run_id))
        return self.log


async def test_a_steer_and_input_are_durable_before_they_go_out(autojump_clock) -> None:
    ledger = SlowLedger()
    durable: list[list[str]] = []

    async def script(peer: Peer) -> None:
        while True:
            message = await peer.receive()
            durable.append([record.body.type for record in ledger.log.records[: ledger.log.durable_to + 1]])
            if message["type"] == "response.create":
                await peer.say(created(f"resp_{len(durable)}"), delta("He"))
                if len(durable) > 1:
                    await peer.say(ended(f"resp_{len(durable)}", said("done", "msg_2")))
            else:
                failed = {"previous_response_id": "resp_1", "input": message["input"]}
                error = {"code": "response_not_active"}
                await peer.say(
                    {"type": "response.steer.failed", "steer": failed, "error": error},
                    ended("resp_1", said("Hello")),
                )

    async with trio.open_nursery() as nursery:
        network = ScriptedNetwork(nursery, script)
        async with (
            triplane.open_engine(
                triplane.Endpoint("ws://memory/v1"), network=network, ledger=ledger
            ) as engine,
            engine.open_run(AGENT, "hi") as run,
        ):
            await when(run, ResponseOutputTextDelta)
            await run.steer("more")
            await run.send("and more")
            await run.wait()
        nursery.cancel_scope.cancel()

    assert "triplane.steer_sent" in durable[1]
    assert "triplane.input_added" in durable[2]
    assert [user("and more"), user("more")] == network.peers[0].received[-1]["input"]


async def test_a_steer_goes_out_while_the_run_waits_for_a_slow_reader(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_unread=2_000)
    model = Listener([Text("word " * 2000), Wait(5), Text("x")], [Text("done")])
    async with bench(model=model, options=options) as b, b.engine.open_run(AGENT, "hi") as run:
        reader = run.__aiter__()
        for _ in range(5):
            await reader.__anext__()
        await trio.testing.wait_all_tasks_blocked()
        await run.steer("more")
        await trio.testing.wait_all_tasks_blocked()
        # The run has not read on, and has sent all the same.
        assert ("model", "sent") == (run.state.status, run.state.steers[0].state)
        assert ["response.create", "response.steer"] == [each.kind for each in b.server.requests]
        reader.close()
        assert "done" == (await run.wait()).text
    assert ["hi", "more"] == model.heard[-1]


async def test_steering_and_forks_on_real_sockets(nursery) -> None:
    model = Listener([Text("one"), Wait(0.05), Text("x")], [Text("two")])
    server = await nursery.start(partial(serve, model=model))
    async with (
        triplane.open_engine(triplane.Endpoint(server.url)) as engine,
        engine.open_run(AGENT, "hi") as run,
    ):
        await when(run, ResponseOutputTextDelta)
        await run.steer("more")
        await run.send("and more")
        result = await run.wait()
        async with run.fork("fork") as fork:
            await fork.wait()
    nursery.cancel_scope.cancel()

    assert ("completed", "two", 2) == (result.status, result.text, result.turns)
    assert [
        ["hi"],
        ["hi", "more"],
        ["hi", "more", "and more"],
        ["hi", "more", "and more", "fork"],
    ] == model.heard
    check_log(fork)
