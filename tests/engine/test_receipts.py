"""Receipts are true: what an error says about a turn, held against what the server and the tools saw."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import triplane
from triplane import FramesReceived, RequestSent, ResponseRetracted
from triplane.protocol import ResponseOutputTextDelta
from triplane.server import (
    CloseSocket,
    CutAtByte,
    Drop,
    ErrorEvent,
    HalfOpen,
    Malformed,
    RefuseUpgrade,
    Reset,
    Stall,
    Truncate,
)

PROGRAM = 'SAY 3 word \nREPEAT 2 CALL note {"number": 1}\nSAY 2 end '


class ActingAgent(triplane.Agent):
    has_server_effects = True


places = st.integers(0, 12)
numbers = st.integers(1, 7)
codes = st.sampled_from(
    [None, "server_error", "rate_limit_exceeded", "invalid_prompt", "previous_response_not_found"]
)
faults = st.one_of(
    st.builds(Drop, places, nth=numbers),
    st.builds(Reset, places, nth=numbers),
    st.builds(Stall, places, nth=numbers),
    st.builds(HalfOpen, places, nth=numbers),
    st.builds(Truncate, places, nth=numbers),
    st.builds(Malformed, places, nth=numbers),
    st.builds(CloseSocket, places, code=st.sampled_from([1000, 1001, 1008, 1011, 1012, 4000]), nth=numbers),
    st.builds(
        ErrorEvent,
        places,
        shape=st.sampled_from(["envelope", "no_status", "failed"]),
        status=st.sampled_from([400, 429, 500]),
        code=codes,
        nth=numbers,
    ),
    st.builds(CutAtByte, st.integers(0, 4_000), then=st.sampled_from(["drop", "half_open"]), nth=numbers),
    st.builds(RefuseUpgrade, st.sampled_from([401, 503]), nth=numbers),
)


@attrs.frozen
class Story:
    """What happened, by everybody who saw a part of it.

    Attributes:
        error: What ended the run, None if nothing did.
        log: The bodies of its records.
        asked: How many requests reached the server.
        answered: What it sent after the last of them.
        astray: Whether it sent an error behind the end of a response. If the next request was on its way by then,
            nobody can tell that this is no answer to it.
        executed: The calls whose tools ran.
        state: The run's, at the end.
    """

    error: triplane.TriplaneError | None
    log: list
    asked: int
    answered: list[str]
    astray: bool
    executed: list[str]
    state: triplane.RunState


def act(bench, drawn, *, policy="replay_if_harmless", server_acts=False, attempts=2) -> Story:
    executed: list[str] = []

    @triplane.tool
    async def note(number: int, context: triplane.ToolContext) -> str:
        """Do something that must happen once."""
        executed.append(context.call_id)
        return f"noted {number}"

    agent = triplane.Agent("m", "Remember.", [note])
    if server_acts:
        # What a server's own tools do is not for this test; that the engine believes in them is.
        agent = ActingAgent("m", "Remember.", [note])
    options = triplane.EngineOptions(
        replay_attempts=attempts, ambiguous_sends=policy, first_event_timeout=60, idle_timeout=60
    )

    async def main() -> Story:
        async with bench(options=options, faults=drawn) as b:
            error = None
            async with b.engine.open_run(agent, PROGRAM) as run:
                try:
                    await run.wait()
                except triplane.TriplaneError as failure:
                    error = failure
            messages = [entry for entry in b.server.journal.entries if entry.kind == "message"]
            asked = [place for place, entry in enumerate(messages) if entry.direction == "in"]
            # What went out in answer to the last request, whole and in JSON.
            last = messages[asked[-1] + 1 :] if asked else []
            answered = [entry.json["type"] for entry in last if isinstance(entry.json, dict)]
            sent = [
                each.direction == "out" and isinstance(each.json, dict) and each.json["type"]
                for each in messages
            ]
            astray = any(
                each == "error" and before in ("response.completed", "response.failed")
                for before, each in pairwise(sent)
            )
            log = [record.body for record in run.log.records]
            return Story(error, log, len(asked), answered, astray, executed, run.state)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def since_last_request(log: list) -> list:
    """The server's events after the last request, as a reader got them."""
    last = max((place for place, body in enumerate(log) if isinstance(body, RequestSent)), default=len(log))
    return [event for body in log[last:] if isinstance(body, FramesReceived) for event in body.events]


def check(story: Story) -> None:
    sent = [body for body in story.log if isinstance(body, RequestSent)]
    assert len(set(story.executed)) == len(story.executed)
    if story.error is None:
        assert ("end end ", 2) == (story.state.text, len(story.executed))
        return
    receipt = story.error.receipt
    events = since_last_request(story.log)
    if receipt.sent == "nothing":
        # Whatever reached the server was answered, or is told of in the log as lost.
        assert isinstance(story.error, triplane.ConnectFailed) or story.asked < len(sent)
        assert 0 == receipt.shown
    elif receipt.sent == "ambiguous":
        assert [] == [event for event in events if event.type.startswith("response.")]
        assert 0 == receipt.shown
    elif receipt.sent == "accepted":
        assert any(kind.startswith("response.") for kind in story.answered)
    else:
        assert story.astray or {"response.completed", "response.failed", "error"} & set(story.answered)
    if receipt.sent != "nothing":
        shown = sum(len(event.delta) for event in events if isinstance(event, ResponseOutputTextDelta))
        assert shown == receipt.shown
    assert story.executed == [effect.call_id for effect in receipt.effects]
    assert {"ok"} >= {effect.outcome for effect in receipt.effects}
    if receipt.next == "retry":
        assert (0, "nothing") == (len(receipt.effects), receipt.sent)


GIVEN = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@GIVEN
@given(st.lists(faults, max_size=6))
def test_a_receipt_says_what_happened(bench, drawn) -> None:
    check(act(bench, drawn))


@GIVEN
@given(
    st.lists(faults, min_size=1, max_size=4),
    st.sampled_from(["replay_if_harmless", "replay", "raise"]),
    st.booleans(),
)
def test_nothing_ambiguous_is_repeated_that_may_not_be(bench, drawn, policy, server_acts) -> None:
    story = act(bench, drawn, policy=policy, server_acts=server_acts)
    check(story)

    allowed = policy == "replay" or (policy == "replay_if_harmless" and not server_acts)
    retracted = [body for body in story.log if isinstance(body, ResponseRetracted)]
    assert allowed or not any(body.ambiguous for body in retracted)
    if story.error is not None and server_acts and story.error.receipt.sent in ("ambiguous", "accepted"):
        assert "inspect" == story.error.receipt.next


@pytest.mark.parametrize(
    ("when", "safe"), [("before", "retry"), ("in the tool", "inspect"), ("after", "resume")]
)
async def test_a_cancelled_run_knows_what_is_safe(bench, autojump_clock, when, safe) -> None:
    @triplane.tool(timeout=1_000)
    async def pay() -> str:
        """Take time."""
        await trio.sleep(10)
        return "paid"

    async with bench(model="directive", latency=5.0) as b:
        async with b.engine.open_run(triplane.Agent("m", tools=[pay]), "CALL pay {}") as run:
            await trio.sleep({"before": 0, "in the tool": 8, "after": 17}[when])
        with pytest.raises(triplane.RunFailed) as caught:
            _ = run.result

    assert safe == caught.value.receipt.next
    outcomes = {"before": [], "in the tool": ["cancelled"], "after": ["ok"]}
    assert outcomes[when] == [effect.outcome for effect in caught.value.receipt.effects]


async def test_what_was_turned_down_and_could_not_be_sent_again_was_sent(bench, autojump_clock) -> None:
    limit = ErrorEvent(0, code="websocket_connection_limit_reached", status=400)
    async with bench(faults=[limit, RefuseUpgrade(404, nth=2)]) as b:
        with pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(triplane.Agent("m"), "hello")

    # It left this process, so not "nothing"; the model did not run for it.
    assert ("finished", "resume") == (caught.value.receipt.sent, caught.value.receipt.next)
