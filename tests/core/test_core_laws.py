"""Laws of folding: whatever a response says, however it is cut up, disturbed or made up."""

from __future__ import annotations

import json
from itertools import pairwise

from core_scripts import Nonsense, disturbed, responses, terminal
from core_wire import call, fold, message, reasoning, user
from hypothesis import given
from hypothesis import strategies as st

from triplane.core.accumulator import ResponseAccumulator
from triplane.core.items import text_of
from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    ApprovalAsked,
    ApprovalGiven,
    ConnectionDropped,
    DifferencesFound,
    ForkedFrom,
    FramesReceived,
    InputAdded,
    Record,
    RequestSent,
    ResponseRetracted,
    RetryScheduled,
    RunEnded,
    RunParked,
    RunResumed,
    RunStarted,
    SteerSent,
    SteersRequeued,
    StillWaiting,
    ToolFinished,
    ToolStarted,
    UndecodableFrame,
)
from triplane.core.reducer import RunReducer
from triplane.core.turn import TurnAccumulator
from triplane.ledger.encoding import decode, encode
from triplane.protocol import decode_event
from triplane.protocol.events._catalogue import CLASS_OF_TYPE


def decoded(frames):
    return [decode_event(json.dumps(frame)) for frame in frames]


# What a response says.


@given(responses(interleaved=True), st.data())
def test_the_stream_says_what_the_end_says(response, data) -> None:
    """However the texts are cut, whatever setup events are missing, and whatever comes twice."""
    output, frames = response
    stream = data.draw(disturbed(frames))
    told = fold(*decoded([*stream, terminal(None)]))
    confirmed = fold(*decoded([*stream, terminal(output)]))

    assert told.output() == output
    assert confirmed.output() == output
    assert told.differences == confirmed.differences == ()
    assert told.calls() == confirmed.calls()
    assert confirmed.text() == text_of(output)


@given(responses(interleaved=True), st.data())
def test_the_parts_say_what_the_items_say(response, data) -> None:
    """Without a single ``output_item.done``, and with the end saying nothing."""
    output, frames = response
    stream = [frame for frame in data.draw(disturbed(frames)) if frame["type"] != "response.output_item.done"]
    built = {item["id"]: item for item in fold(*decoded([*stream, terminal(None)])).output() if "id" in item}

    for item in output:
        if item["id"] in built:
            for key in ("content", "summary", "arguments", "input", "code"):
                assert built[item["id"]].get(key) in (item.get(key), None, [])


@given(responses(interleaved=True), st.data())
def test_the_deltas_say_what_the_texts_say(response, data) -> None:
    """With every event left out that is not a delta."""
    output, frames = response
    stream = [frame for frame in data.draw(disturbed(frames)) if frame["type"].endswith(".delta")]
    told = fold(*decoded(stream))

    assert sorted(told.text()) == sorted(text_of(output))
    assert told.differences == ()


@given(responses())
def test_the_text_only_grows(response) -> None:
    """As long as items come one after the other, what was shown stays shown."""
    output, frames = response
    told = ResponseAccumulator()
    shown = []
    for event in decoded([*frames, terminal(output)]):
        told.apply(event)
        shown.append(told.text())

    assert all(later.startswith(earlier) for earlier, later in pairwise(shown))
    assert shown[-1] == text_of(output)
    assert told.shown == len(shown[-1])


@given(responses(interleaved=True), st.data())
def test_every_prefix_is_a_response(response, data) -> None:
    output, frames = response
    told = ResponseAccumulator()
    for event in decoded([*data.draw(disturbed(frames)), terminal(output)]):
        assert not told.is_over
        told.apply(event)
        snapshot = told.snapshot()

        assert snapshot.text == text_of(snapshot.output) == told.text()
        assert json.loads(told.canonical())
        assert {each.call_id for each in told.calls()} <= {item.get("call_id") for item in output}
    assert told.is_over


@given(responses(interleaved=True), st.data())
def test_a_snapshot_does_not_change_afterwards(response, data) -> None:
    output, frames = response
    events = decoded([*frames, terminal(output)])
    cut = data.draw(st.integers(0, len(events)))
    told = fold(*events[:cut])
    snapshot = told.snapshot()
    before = json.dumps(snapshot.output)
    for event in events[cut:]:
        told.apply(event)

    assert json.dumps(snapshot.output) == before


# Anything at all.

KINDS = [*sorted(CLASS_OF_TYPE), "newer"]
SEEDS = st.integers(0, 2**64)


def salad(seed: int) -> FramesReceived:
    return FramesReceived("c1", Nonsense(seed).frames(KINDS, 15))


@given(SEEDS)
def test_nothing_raises_and_the_same_is_the_same(seed) -> None:
    one, other = ResponseAccumulator("resp_0"), ResponseAccumulator("resp_0")
    turn = TurnAccumulator("resp_0")
    for event in salad(seed).events:
        was_over = one.is_over
        before = one.canonical() if was_over else None
        one.apply(event)
        other.apply(event)
        turn.apply(event)

        assert one.canonical() == other.canonical()
        assert json.loads(turn.canonical())
        assert one.is_over >= was_over
        assert one.is_over is (one.status not in ("awaited", "in_progress"))
        assert one.shown >= len(one.text())
        assert before in (None, one.canonical())


def test_nonsense_does_get_through_the_codec() -> None:
    """Else the test above would show little."""
    events = FramesReceived("c1", Nonsense(1).frames(KINDS, 2_000)).events

    assert sum(not isinstance(event, UndecodableFrame) for event in events) >= len(events) // 2


# Runs.

BODIES = st.one_of(
    st.builds(RunStarted, st.just("run_1"), st.just("a"), st.just("m"), st.just("f"), st.just((user("Hi"),))),
    st.builds(
        RunStarted,
        st.just("run_2"),
        st.just("a"),
        st.just("m"),
        st.just("f"),
        st.just((user("Hi"), message("Hello"))),
        st.builds(
            ForkedFrom, st.just("run_1"), st.sampled_from([None, "resp_1"]), st.just("c1"), st.integers(0, 4)
        ),
    ),
    st.builds(InputAdded, st.just((user("More."),))),
    st.builds(
        RequestSent,
        st.integers(1, 3),
        st.integers(1, 2),
        st.sampled_from(["c1", "c2"]),
        st.sampled_from(["incremental", "warm", "fork", "full"]),
        st.just("first_turn"),
        st.sampled_from([None, "resp_1"]),
        st.just(1),
        st.integers(0, 9),
        st.booleans(),
    ),
    st.builds(SteerSent, st.sampled_from(["resp_1", "resp_2"]), st.just((user("Steer."),))),
    st.builds(SteersRequeued, st.just(1), st.just("stalled"), st.just(1), st.booleans()),
    st.builds(ResponseRetracted, st.just(1), st.just("stalled"), st.just(0), st.booleans()),
    st.builds(DifferencesFound, st.just(1), st.just("resp_1"), st.just(()), st.just(())),
    st.just(StillWaiting(1, "c1", "model_thinking", 11.0, 0.5, 0.01)),
    st.just(RetryScheduled(1, 2, 0.5, asked=True)),
    st.builds(ConnectionDropped, st.just("c1"), st.just(1006), st.just("")),
    st.builds(
        ToolStarted,
        st.sampled_from(["call_1", "call_2"]),
        st.just("t"),
        st.just(""),
        st.just("write"),
        st.just("k"),
    ),
    st.builds(
        ToolFinished,
        st.sampled_from(["call_1", "call_2"]),
        st.just("t"),
        st.builds(ToolOutcome, st.sampled_from(["ok", "failed"]), st.just("out")),
    ),
    st.builds(
        ApprovalAsked,
        st.sampled_from(["call_1", "mcpr_1"]),
        st.just("look"),
        st.sampled_from(["{}", ""]),
        st.sampled_from([None, "dice"]),
        st.just(""),
        st.sampled_from([None, None, "call_2"]),
    ),
    st.builds(ApprovalGiven, st.sampled_from(["call_1", "mcpr_1", "call_2"]), st.booleans()),
    st.just(RunParked(("call_1",))),
    st.builds(RunEnded, st.sampled_from(["completed", "failed"])),
    st.builds(RunResumed, st.just("a"), st.just("m"), st.just("g"), st.just({"model": "0"}), st.just(("x",))),
    st.builds(salad, SEEDS),
)
REQUEST = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "name": "look",
    "arguments": "{}",
    "server_label": "dice",
}
SENSIBLE = [
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.created", "response": {"id": "resp_2"}},
    {"type": "response.output_item.done", "output_index": 0, "item": call()},
    {"type": "response.output_item.done", "output_index": 1, "item": call("call_2", identity="fc_2")},
    {"type": "response.output_item.done", "output_index": 3, "item": REQUEST},
    {
        "type": "response.output_text.delta",
        "item_id": "m",
        "output_index": 2,
        "content_index": 0,
        "delta": "a",
    },
    {"type": "response.steer.accepted", "steer": {"id": "s1", "previous_response_id": "resp_1"}},
    {
        "type": "response.incomplete",
        "response": {"id": "resp_1", "incomplete_details": {"reason": "steered"}},
    },
    {"type": "response.completed", "response": {"id": "resp_1", "output": [reasoning(), call()]}},
    {"type": "response.completed", "response": {"id": "resp_2", "output": [message("b")]}},
    {"type": "error", "error": {"code": "x"}},
]
FRAMES = st.lists(st.sampled_from(SENSIBLE), min_size=1, max_size=4).map(
    lambda frames: FramesReceived("c1", tuple(map(json.dumps, frames)))
)
LOGS = st.lists(BODIES | FRAMES, max_size=14)


@given(LOGS)
def test_a_log_that_is_read_again_gives_the_state_there_was_at_every_record(bodies) -> None:
    log = [Record(sequence, 0.0, body) for sequence, body in enumerate(bodies)]
    live = RunReducer()
    for length, record in enumerate(log, 1):
        live.apply(record)
        replayed = RunReducer()
        for each in log[:length]:
            # As it is read from a file.
            replayed.apply(Record(each.sequence, each.at, decode(encode(each.body))))

        assert replayed.canonical() == live.canonical()
        assert live.head is None or live.head.length <= len(live.history)
        items, head = live.settled()
        assert list(items) == live.history[: len(items)]
        assert head is None or head.length <= len(items)


@given(LOGS, st.data())
def test_it_does_not_matter_how_frames_were_batched(bodies, data) -> None:
    together, apart = RunReducer(), RunReducer()
    for sequence, body in enumerate(bodies):
        together.apply(Record(sequence, 0.0, body))
        if isinstance(body, FramesReceived):
            for text in body.frames:
                apart.apply(Record(sequence, 0.0, FramesReceived(body.connection, (text,))))
        else:
            apart.apply(Record(sequence, 1.0, body))

    assert apart.canonical() == together.canonical()


@given(LOGS)
def test_a_server_is_answered_what_was_decided_about_what_it_asked(bodies) -> None:
    run = RunReducer()
    for sequence, body in enumerate(bodies):
        run.apply(Record(sequence, 0.0, body))
        book = run.approvals
        for place, item in enumerate(run.history):
            if item.get("type") == "mcp_approval_response":
                assert REQUEST in run.history[:place]
                assert item["approval_request_id"] in book.asked
                if item["approve"]:
                    asked = book.asked[item["approval_request_id"]]
                    assert ("look", "{}", "dice") == (asked.name, asked.arguments, asked.server_label)
                    assert book.given[asked.call_id].approved
        assert {asked.call_id for asked in book.open}.isdisjoint(book.given)
        assert "parked" != run.status or (book.open and run.owes_answers)


@given(LOGS)
def test_every_call_of_the_history_is_answered_once_and_after_it(bodies) -> None:
    """Once nothing is pending and no tool runs, the conversation can go on."""
    run = RunReducer()
    for sequence, body in enumerate(bodies):
        run.apply(Record(sequence, 0.0, body))
        answers = [item["call_id"] for item in run.history if item.get("type") == "function_call_output"]
        calls = [
            item["call_id"]
            for item in run.history
            if item.get("type") == "function_call" and "call_id" in item
        ]

        assert all(calls.count(call_id) >= answers.count(call_id) for call_id in answers)
