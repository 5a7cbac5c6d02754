"""What becomes of steers whose connection is lost, or of which nothing is heard any more."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from scripted_peer import Peer, accepted, called, created, delta, ended, open_scripted, said
from steering_bench import (
    AGENT,
    CALL,
    TOOLED,
    check_log,
    texts_of,
    when,
)

import triplane
from triplane.protocol import ResponseOutputTextDelta


async def lost_at(
    moment: str, *, agent: triplane.Agent = AGENT, **options: Any
) -> tuple[triplane.Run, list[Peer]]:
    """Run "hi", steer it with "more", and lose the connection, or wait for nothing, at a moment of `BEFORE_LOSS`.

    The second connection answers everything.
    """
    before, after, is_silent = BEFORE_LOSS[moment]

    async def script(peer: Peer) -> None:
        await peer.receive()
        if peer.number > 1:
            await answer_all(peer)
        await peer.say(created("resp_1"), delta("He"), *before)
        steer = await peer.receive()
        await peer.say(*(accepted(steer) if event == "accepted" else event for event in after))
        if not is_silent:
            # Not before what was said has been read.
            await trio.sleep(0.1)
            await peer.drop()

    async with open_scripted(script, **options) as (engine, network), engine.open_run(agent, "hi") as run:
        await when(run, "response.output_item.done" if before else ResponseOutputTextDelta)
        await run.steer("more")
        with suppress(triplane.TriplaneError):
            await run.wait()
    check_log(run)
    return run, network.peers


async def answer_all(peer: Peer) -> None:
    while True:
        response_id = f"resp_{peer.number}_{len(peer.received)}"
        await peer.say(created(response_id), ended(response_id, said("done", f"msg_{response_id}")))
        await peer.receive()


PENDING = {
    "type": "response.steer.pending",
    "steer": {"id": "steer_1", "previous_response_id": "resp_1"},
    "reason": "waiting_for_required_input",
    "required_input": [{"type": "function_call_output", "call_id": "call_1", "name": "look"}],
}
# What is said before the steer and after it, and whether the server then is silent instead of gone.
BEFORE_LOSS: dict[str, tuple[list[Any], list[Any], bool]] = {
    "sent": ([], [], False),
    "accepted": ([], ["accepted"], False),
    "steered": ([], ["accepted", ended("resp_1", said("He"), steered=True)], False),
    "completed": ([], ["accepted", ended("resp_1", said("He"))], False),
    "successor": ([], ["accepted", ended("resp_1", said("He"), steered=True), created("resp_2")], False),
    "never committed": ([], ["accepted", ended("resp_1", said("He"))], True),
    "call": ([CALL], ["accepted", ended("resp_1", called("call_1"))], False),
    "call, never pending": ([CALL], ["accepted", ended("resp_1", called("call_1"))], True),
    "call, unanswered": ([CALL], [ended("resp_1", called("call_1"))], True),
    "call, pending": ([CALL], ["accepted", ended("resp_1", called("call_1")), PENDING], False),
    "call, steered": ([CALL], ["accepted", ended("resp_1", called("call_1"), steered=True)], False),
    "call, successor": (
        [CALL],
        ["accepted", ended("resp_1", called("call_1"), steered=True), created("resp_2")],
        False,
    ),
    "call, no event": ([CALL], ["accepted", ended("resp_1", called("call_1")), "no event"], True),
}


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("sent", ["hi", "more"]),
        ("accepted", ["hi", "more"]),
        ("steered", ["hi", "He", "more"]),
        ("completed", ["hi", "He", "more"]),
        ("successor", ["hi", "He", "more"]),
        ("never committed", ["hi", "He", "more"]),
        ("call", ["hi", "function_call", "function_call_output", "more"]),
        ("call, never pending", ["hi", "function_call", "function_call_output", "more"]),
        ("call, unanswered", ["hi", "function_call", "function_call_output", "more"]),
        ("call, pending", ["hi", "function_call", "more", "function_call_output"]),
        ("call, steered", ["hi", "function_call", "function_call_output", "more"]),
        ("call, successor", ["hi", "function_call", "more", "function_call_output"]),
        ("call, no event", ["hi", "function_call", "function_call_output", "more"]),
    ],
)
async def test_what_a_steer_said_is_said_once_more_on_another_connection_and_no_tool_runs_twice(
    autojump_clock, moment, expected
) -> None:
    run, (first, second) = await lost_at(moment, agent=TOOLED)

    assert ("completed", "done") == (run.result.status, run.result.text)
    assert ["response.create", "response.steer"] == [each["type"] for each in first.received]
    assert [expected] == [texts_of(each) for each in second.received]
    assert [None] == [each.get("previous_response_id") for each in second.received]
    assert ("call" in moment) == len(run.result.tool_calls)


@pytest.mark.parametrize(
    ("moment", "seconds"), [("never committed", 30), ("call, never pending", 30.5), ("call, unanswered", 7.5)]
)
async def test_the_wait_for_what_becomes_of_a_steer_has_an_end(autojump_clock, moment, seconds) -> None:
    run, _ = await lost_at(moment, agent=TOOLED, first_event_timeout=30, steer_timeout=7)

    assert seconds == trio.current_time()
    (requeued,) = [each.body for each in run.log.records if isinstance(each.body, triplane.SteersRequeued)]
    assert triplane.SteersRequeued(1, "stalled", 1, ambiguous=True) == requeued


async def test_a_successor_is_not_asked_for_again_where_the_server_may_have_acted(autojump_clock) -> None:
    tools = {"extra": {"tools": [{"type": "mcp", "server_label": "x"}]}}
    agent = triplane.Agent("m", settings=triplane.ModelSettings(**tools))
    run, _ = await lost_at("completed", agent=agent)
    with pytest.raises(triplane.ConnectionLost) as caught:
        _ = run.result

    assert ("ambiguous", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)


async def test_steering_does_not_make_a_silence_begin_anew(autojump_clock) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        if peer.number > 1:
            await answer_all(peer)
        await peer.say(created("resp_1"), delta("He"))

    async with (
        open_scripted(script, idle_timeout=10) as (engine, network),
        engine.open_run(AGENT, "hi") as run,
    ):
        await when(run, ResponseOutputTextDelta)
        for number in range(3):
            await trio.sleep(3)
            await run.steer(f"{number}")
        await run.wait()

    assert 10 == trio.current_time()
    assert ["hi", "0", "1", "2"] == texts_of(network.peers[1].received[0])


async def test_a_lane_on_which_a_steer_may_yet_have_an_effect_is_not_used_again(autojump_clock) -> None:
    async def script(peer: Peer) -> None:
        await peer.receive()
        if peer.number > 1:
            await answer_all(peer)
        await peer.say(created("resp_1"), delta("He"))
        failed = {"id": "resp_1", "status": "failed", "error": {"code": "invalid_prompt", "message": "no"}}
        await peer.say(accepted(await peer.receive()), {"type": "response.failed", "response": failed})
        await answer_all(peer)

    async with open_scripted(script) as (engine, network):
        async with engine.open_run(AGENT, "hi") as run:
            await when(run, ResponseOutputTextDelta)
            await run.steer("more")
            with pytest.raises(triplane.RunFailed, match="invalid_prompt"):
                await run.wait()
        assert "done" == (await engine.run(AGENT, "next")).text

    assert ["next"] == texts_of(network.peers[1].received[0])
