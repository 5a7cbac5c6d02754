"""Errors and events say what happened and what to do, in the words of those who can do it."""

from __future__ import annotations

import pytest
import trio

import triplane
from triplane import ConnectFailed, Endpoint, EngineOptions
from triplane.server import Drop, ErrorEvent, RefuseUpgrade

AGENT = triplane.Agent("m")


class ActingAgent(triplane.Agent):
    has_server_effects = True


@pytest.mark.parametrize(
    ("agent", "policy", "words"),
    [
        (AGENT, "raise", '(option ambiguous_sends="raise")'),
        (
            ActingAgent("m"),
            "replay_if_harmless",
            'and the server may act for it (option ambiguous_sends="replay_if_harmless")',
        ),
    ],
)
async def test_who_forbids_a_repetition_is_named(bench, autojump_clock, agent, policy, words) -> None:
    options = EngineOptions(ambiguous_sends=policy)
    async with bench(options=options, faults=[Drop(0)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(agent, "hello")

    assert "the request was not sent again, since the model may have run for it" in str(caught.value)
    assert str(caught.value).endswith(words)


async def test_who_may_repeat_hears_nothing_of_the_option(bench, autojump_clock) -> None:
    async with bench(options=EngineOptions(replay_attempts=1), faults=[Drop(0)]) as b:
        with pytest.raises(triplane.ConnectionLost) as caught:
            await b.engine.run(AGENT, "hello")

    assert "ambiguous_sends" not in str(caught.value)


async def test_a_refusal_quotes_the_server_without_our_key(bench, autojump_clock) -> None:
    endpoint = Endpoint("ws://memory/v1", api_key="our-own-secret-key")
    body = b'{"error": {"message": "the key our-own-secret-key\\n is of no use"}}'
    async with bench(endpoint=endpoint, faults=[RefuseUpgrade(403, body=body)]) as b:
        with pytest.raises(ConnectFailed) as caught:
            await b.engine.run(AGENT, "hello")

    assert str(caught.value).endswith("; it says: the key *** is of no use")
    assert "our-own-secret-key" not in repr(caught.value)


async def test_a_refusal_quotes_no_whole_page(bench, autojump_clock) -> None:
    body = b"<html>" + b"very long " * 1_000
    async with bench(faults=[RefuseUpgrade(404, body=body)]) as b:
        with pytest.raises(ConnectFailed, match="very long") as caught:
            await b.engine.run(AGENT, "hello")

    assert len(str(caught.value)) < 600
    assert 'Endpoint(transport="auto")' in str(caught.value)


async def test_a_refusal_says_for_how_long(bench, autojump_clock) -> None:
    options = EngineOptions(dial_attempts=1)
    async with bench(options=options, faults=[RefuseUpgrade(503, {"Retry-After": "7"})]) as b:
        with pytest.raises(ConnectFailed, match=r"it asks to wait 7 s \(Retry-After\)"):
            await b.engine.run(AGENT, "hello")


@pytest.mark.parametrize("transport", ["websocket", "http"])
async def test_a_key_that_is_refused_is_worth_a_look(bench, autojump_clock, transport) -> None:
    endpoint = Endpoint("ws://memory/v1", api_key="another", transport=transport)
    async with bench(endpoint=endpoint, api_key="the-key") as b:
        with pytest.raises(triplane.TriplaneError, match="check the API key") as caught:
            await b.engine.run(AGENT, "hello")

    assert 401 == caught.value.status  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", [None, 3])
async def test_a_pause_before_another_attempt_is_an_event(bench, autojump_clock, asked) -> None:
    headers = {} if asked is None else {"retry-after": str(asked)}
    faults = [ErrorEvent(0, nth=1, status=503, code="server_is_overloaded", headers=headers)]
    async with bench(faults=faults) as b, b.engine.open_run(AGENT, "hello") as run:
        began = trio.current_time()
        events = [event async for event in run]

    (pause,) = [event for event in events if isinstance(event, triplane.RetryScheduled)]
    sent = [event for event in events if isinstance(event, triplane.RequestSent)]
    assert (1, 2, asked is not None) == (pause.turn, pause.attempt, pause.asked)
    assert 2 == len(sent)
    assert 0 < pause.seconds == pytest.approx(trio.current_time() - began)
    assert pause.seconds >= (asked or 0)
    assert events.index(sent[0]) < events.index(pause) < events.index(sent[1])


async def test_an_attempt_without_a_pause_is_none(bench, autojump_clock) -> None:
    async with bench(faults=[Drop(0, nth=1)]) as b, b.engine.open_run(AGENT, "hello") as run:
        assert not [event async for event in run if isinstance(event, triplane.RetryScheduled)]


async def test_a_connection_that_was_replaced_says_why(bench, autojump_clock) -> None:
    @triplane.tool
    async def work() -> str:
        await trio.sleep(55)
        return "done"

    endpoint = Endpoint("ws://memory/v1", max_age=50)
    agent = triplane.Agent("m", tools=[work])
    async with bench(endpoint=endpoint) as b, b.engine.open_run(agent, "CALL work {}") as run:
        events = [event async for event in run]

    (dropped,) = [event for event in events if isinstance(event, triplane.ConnectionDropped)]
    assert "it made way for a younger connection" == dropped.reason


async def test_a_lane_says_where_it_is(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.lane() as lane:
            assert "<BareLane c1: free for a turn>" == repr(lane)
            turn = await lane.create(triplane.protocol.ResponseCreate(model="m", input="hello"))
            assert "<BareLane c1: in the middle of a turn>" == repr(lane)
            _ = [event async for event in turn]
            assert "<BareLane c1: free for a turn>" == repr(lane)
        assert "<BareLane: given back>" == repr(lane)


async def test_endpoints_that_nobody_uses_any_more_are_forgotten(bench, autojump_clock) -> None:
    """A key for each request, for instance: what is known of the endpoint before is of no use."""
    options = EngineOptions(spare_connections=1)
    async with bench(options=options, max_age=30) as b:
        pool = b.engine._pool
        remembered = (pool._places, pool._dialler._approaches, b.engine._routes._memories)
        for each in remembered:
            each._most = 4
        for number in range(20):
            endpoint = Endpoint("ws://memory/v1", api_key=f"key of user {number}")
            async with b.engine.lane(endpoint) as lane:
                _ = [
                    event
                    async for event in await lane.create(
                        triplane.protocol.ResponseCreate(model="m", input="hello")
                    )
                ]
                lane._lease.abandon(triplane.ConnectionLost("not needed any more"))
            await trio.sleep(60)
        # What is in use, or was used lately, stays.
        assert all(len(each) <= 20 for each in remembered)
        assert 4 >= len(remembered[1])
        assert 4 >= len(remembered[2])
