"""Servers that cannot be steered, and what is learned of them."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from scripted_peer import Peer, created, delta, ended, open_scripted, said
from steering_bench import (
    AGENT,
    PLAN,
    check_log,
    requests_of,
    types_of,
    user,
    when,
)

import triplane
from triplane.engine.steering import SteeringSupport
from triplane.protocol import ResponseOutputTextDelta


@pytest.mark.parametrize("mode", ["azure", "spec", "rejecting"])
async def test_a_server_that_does_not_know_steers_goes_on_and_is_asked_once(
    bench, autojump_clock, mode
) -> None:
    async with bench(mode=mode) as b:
        for nth in (1, 2):
            async with b.engine.open_run(AGENT, PLAN) as run:
                await when(run, ResponseOutputTextDelta)
                steered = await run.steer("new")
                result = await run.wait()
            assert ("completed", "echo: new", 0) == (result.status, result.text, result.replays)
            expected = (
                triplane.Steered("steered") if nth == 1 else triplane.Steered("queued", "not_supported")
            )
            assert expected == steered
            # The response that was not steered was read to its end.
            assert ["request_sent", "created", "completed", "request_sent", "created", "completed"] == [
                kind for kind in types_of(run) if kind.startswith(("request", "created", "completed"))
            ]
            assert ["full", "incremental"] == [each.plan for each in requests_of(run)]
            check_log(run)
        assert 1 == b.engine.statistics().opened


async def test_a_model_that_cannot_be_steered_is_asked_once_and_others_are_asked(
    bench, autojump_clock
) -> None:
    how = []
    async with bench(steering_models=["gpt-6*"]) as b:
        for model in ("old", "old", "gpt-6"):
            async with b.engine.open_run(triplane.Agent(model), PLAN) as run:
                await when(run, ResponseOutputTextDelta)
                how.append(await run.steer("new"))
                assert "echo: new" == (await run.wait()).text

    assert ["steered", "queued", "steered"] == [each.how for each in how]


async def test_an_endpoint_may_say_that_it_cannot_be_steered(bench, autojump_clock) -> None:
    endpoint = triplane.Endpoint("ws://memory/v1", steering="none")
    async with bench(endpoint=endpoint) as b, b.engine.open_run(AGENT, PLAN) as run:
        await when(run, ResponseOutputTextDelta)
        assert triplane.Steered("queued", "not_supported") == await run.steer("new")
        result = await run.wait()

    assert ("echo: new", 2) == (result.text, result.turns)
    assert "none" == triplane.Endpoint.azure("x", api_key="k").steering
    assert "none" == triplane.Endpoint.xai("k").steering
    with pytest.raises(triplane.ConfigError, match="steering"):
        triplane.Endpoint("ws://host", steering="always")


async def test_over_http_nothing_can_be_steered_and_nothing_is_learned_from_that(
    bench, autojump_clock
) -> None:
    endpoint = triplane.Endpoint("ws://memory/v1", transport="http")
    async with bench(endpoint=endpoint) as b:
        async with b.engine.open_run(AGENT, PLAN) as run:
            await when(run, ResponseOutputTextDelta)
            assert triplane.Steered("queued", "not_supported") == await run.steer("new")
            assert ("echo: new", 2) == ((await run.wait()).text, run.state.turns)
            async with run.fork("other") as fork:
                assert "echo: other" == (await fork.wait()).text
        async with b.engine.open_run(triplane.Agent("m", transport="websocket"), PLAN) as run:
            await when(run, ResponseOutputTextDelta)
            assert triplane.Steered("steered") == await run.steer("new")
            await run.wait()


@pytest.mark.parametrize(
    "settings",
    [{"context_management": [{"type": "compaction"}]}, {"extra": {"conversation": "conv_1"}}],
    ids=["compaction", "conversation"],
)
async def test_settings_that_exclude_steering_are_known(bench, autojump_clock, settings) -> None:
    agent = triplane.Agent("m", settings=triplane.ModelSettings(**settings))
    async with bench() as b, b.engine.open_run(agent, PLAN) as run:
        await when(run, ResponseOutputTextDelta)
        assert triplane.Steered("queued", "not_supported") == await run.steer("new")
        run.cancel()


async def test_what_is_no_user_message_or_too_large_for_a_steer_waits(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_request_size=2_000)
    async with bench(options=options) as b, b.engine.open_run(AGENT, PLAN) as run:
        await when(run, ResponseOutputTextDelta)
        developer = {"role": "developer", "content": "Be brief."}
        assert triplane.Steered("queued", "not_user_messages") == await run.steer(developer)
        assert triplane.Steered("queued", "too_large") == await run.steer("x" * 2_000)
        run.cancel()


UNKNOWN = {
    "as an envelope": {"status": 400, "error": {"type": "invalid_request_error", "code": "invalid_value"}},
    "flat": {"code": "unknown_event_type", "message": "no such type"},
    "by its parameter": {"error": {"message": "no", "param": "type"}},
    "with another status": {"status_code": 404, "error": {"detail": "unknown"}},
    "as busy": {"status": 409, "error": {"code": "concurrent_request"}},
}


@pytest.mark.parametrize("error", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the response"])
async def test_an_error_about_a_steer_is_not_taken_for_the_end_of_the_response(
    autojump_clock, error, late
) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.say(created("resp_1"), delta("whole"))
        await peer.receive()
        refusal = {"type": "error", **error}
        await peer.say(
            *(
                [ended("resp_1", said("whole")), refusal]
                if late
                else [refusal, ended("resp_1", said("whole"))]
            )
        )
        await peer.receive()
        await peer.say(created("resp_2"), ended("resp_2", said("done", "msg_2")))

    async with open_scripted(script) as (engine, network), engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        await run.steer("more")
        result = await run.wait()

    (peer,) = network.peers
    assert ("completed", "done", 0) == (result.status, result.text, result.replays)
    assert ["response.create", "response.steer", "response.create"] == [
        each["type"] for each in peer.received
    ]
    assert [user("more")] == peer.received[2]["input"]
    assert "resp_1" == peer.received[2]["previous_response_id"]


NOT_OF_THE_STEER = {
    "numbered": {"sequence_number": 2, "error": {"type": "server_error", "code": None}},
    "no status and no code": {"error": {"message": "boom"}},
    "overload": {"status": 503, "error": {"code": "server_is_overloaded"}},
    "age": {"status": 400, "error": {"code": "websocket_connection_limit_reached"}},
    "rate": {"status": 429, "error": {"code": "rate_limit_exceeded"}},
}


@pytest.mark.parametrize("error", NOT_OF_THE_STEER.values(), ids=NOT_OF_THE_STEER)
async def test_an_error_that_may_be_about_the_response_ends_it_and_nothing_is_lost_or_said_twice(
    autojump_clock, error
) -> None:
    async def script(peer: Peer) -> None:
        if not peer.number - 1:
            await peer.receive()
            await peer.say(created("resp_1"), delta("whole"))
            await peer.receive()
            await peer.say({"type": "error", **error})
            return
        await peer.receive()
        await peer.say(created("resp_2"), ended("resp_2", said("done", "msg_2")))

    async with open_scripted(script) as (engine, network), engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        await run.steer("more")
        result = await run.wait()

    assert ("completed", "done", 1) == (result.status, result.text, result.replays)
    # Not on the old connection: the steer might still come to something there.
    assert [user("hi"), user("more")] == network.peers[1].received[0]["input"]
    check_log(run)


async def test_a_server_that_says_nothing_about_a_steer_costs_its_connection_once(autojump_clock) -> None:
    async def silent(peer: Peer) -> None:
        while True:
            message = await peer.receive()
            if message["type"] == "response.create":
                text = message["input"][-1]["content"]
                response_id = f"resp_{peer.number}_{len(peer.received)}"
                await peer.say(created(response_id), delta(text))
                await trio.sleep(1)
                await peer.say(ended(response_id, said(text, f"msg_{response_id}")))

    async with open_scripted(silent) as (engine, network):
        async with engine.open_run(AGENT, "hi") as run:
            await when(run, ResponseOutputTextDelta)
            await run.steer("more")
            result = await run.wait()
        assert ("completed", "more", 2) == (result.status, result.text, result.turns)
        assert 1 + 10 + 1 == trio.current_time()
        (requeued,) = [
            each.body for each in run.log.records if isinstance(each.body, triplane.SteersRequeued)
        ]
        assert triplane.SteersRequeued(1, "stalled", 1, ambiguous=True) == requeued
        assert [user("hi"), said("hi", "msg_resp_1_1"), user("more")] == network.peers[1].received[0]["input"]
        check_log(run)

        async with engine.open_run(AGENT, "again") as run:
            await when(run, ResponseOutputTextDelta)
            assert triplane.Steered("queued", "not_supported") == await run.steer("more")
            assert "more" == (await run.wait()).text
        assert 2 == len(network.peers)


async def test_a_server_that_closes_on_a_steer_is_not_steered_again(autojump_clock) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        await peer.say(created("resp_1"), delta("He"))
        if peer.number == 1:
            await peer.receive()
            await peer.close(1003)
            return
        await trio.sleep(1)
        await peer.say(ended("resp_1", said("Hello")))

    async with open_scripted(script) as (engine, network), engine.open_run(AGENT, "hi") as run:
        await when(run, ResponseOutputTextDelta)
        await run.steer("more")
        await when(run, ResponseOutputTextDelta, 2)
        assert triplane.Steered("queued", "not_supported") == await run.steer("again")
        run.cancel()

    assert [user("hi"), user("more")] == network.peers[1].received[0]["input"]


def test_what_is_learned_does_not_grow_for_ever() -> None:
    support = SteeringSupport()
    endpoints = [triplane.Endpoint("ws://host/v1", api_key=f"key of hour {hour}") for hour in range(300)]
    for endpoint in endpoints:
        support.rule_out(endpoint, "m")
        support.rule_out(endpoint)

    assert not support.may_steer(endpoints[-1], "m")
    assert 256 == len(support._found)
