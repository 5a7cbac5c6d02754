"""Turns: one response without steers, several with them, and when nothing more can come."""

from __future__ import annotations

import itertools
import json

import pytest
from core_wire import (
    call,
    completed,
    created,
    done,
    error,
    event,
    failed,
    fold,
    incomplete,
    lifecycle,
    message,
    text_delta,
    user,
)

from triplane.core.records import UndecodableFrame
from triplane.core.turn import Steer, TurnAccumulator

STEER = (user("Only the summary."),)


def accepted(steer_id: str = "steer_1", parent: str = "resp_1"):
    return event("response.steer.accepted", steer={"id": steer_id, "previous_response_id": parent})


def pending(steer_id: str = "steer_1", parent: str = "resp_1"):
    return event(
        "response.steer.pending",
        steer={"id": steer_id, "previous_response_id": parent},
        reason="waiting_for_required_input",
        required_input=[{"type": "function_call_output", "call_id": "call_1", "name": "look"}],
    )


def rejected(steer_id: str | None = None, parent: str = "resp_1", code: str = "response_not_active"):
    return event(
        "response.steer.failed",
        steer={"id": steer_id, "previous_response_id": parent, "input": "Only the summary."},
        error={"code": code, "message": "no", "type": "invalid_request_error"},
    )


def take(*events, steers: int = 0) -> TurnAccumulator:
    turn = TurnAccumulator()
    for _ in range(steers):
        turn.note_steer("resp_1", STEER)
    for each in events:
        turn.apply(each)
    return turn


def states(turn: TurnAccumulator) -> list[str]:
    return [steer.state for steer in turn.steers]


# Without steers.


@pytest.mark.parametrize("end", [completed([]), incomplete("max_output_tokens"), failed(), error()])
def test_without_steers_a_turn_is_its_response(end) -> None:
    stream = [
        created(),
        lifecycle("in_progress"),
        text_delta("a"),
        done(call(), 1),
        end,
        text_delta("b"),
        created("resp_2"),
    ]
    turn = TurnAccumulator()
    ends = [turn.apply(each) for each in stream]
    response = fold(*stream)

    assert ends == [False, False, False, False, True, False, False]
    assert len(turn.responses) == 1
    assert turn.response.canonical() == response.canonical()
    assert turn.is_over
    assert not turn.awaits_successor
    assert turn.calls() == response.calls()


def test_a_turn_is_not_over_before_its_response() -> None:
    assert not take().is_over
    assert not take(created(), text_delta("a")).is_over


def test_a_frame_that_is_no_event_belongs_to_the_response() -> None:
    frame = UndecodableFrame("invalid_json", "{")

    assert take(created(), frame).response.undecodable is frame
    assert take(created(), completed([]), frame).response.undecodable is None


def test_a_trailing_event_of_the_response_before_belongs_to_nobody() -> None:
    turn = TurnAccumulator("resp_0")
    turn.apply(completed([message("stale")], "resp_0"))

    assert not turn.is_over
    assert turn.response.status == "awaited"


# The four ways of a steer.


def test_a_response_that_stops_early_is_followed_by_its_successor() -> None:
    turn = take(created(), text_delta("Hel"), steers=1)
    assert states(turn) == ["sent"]

    assert turn.apply(accepted())
    assert turn.steers == [Steer("accepted", STEER, "resp_1", "steer_1")]
    assert not turn.is_over

    assert turn.apply(incomplete("steered", output=[message("Hel")]))
    assert turn.awaits_successor
    assert not turn.is_over

    assert turn.apply(created("resp_2"))
    assert states(turn) == ["committed"]
    assert not turn.is_over

    turn.apply(text_delta("Sum"))
    assert turn.apply(completed([message("Sum")], "resp_2"))
    assert turn.is_over
    assert [(each.id, each.status, each.text()) for each in turn.responses] == [
        ("resp_1", "incomplete", "Hel"),
        ("resp_2", "completed", "Sum"),
    ]


def test_a_response_that_ends_first_is_followed_by_its_successor() -> None:
    turn = take(created(), accepted(), completed([message("All.")]), steers=1)
    assert turn.awaits_successor

    turn.apply(created("resp_2"))
    turn.apply(completed([message("Sum.")], "resp_2"))

    assert turn.is_over
    assert states(turn) == ["committed"]


def test_a_steer_that_waits_for_outputs_lets_the_turn_end() -> None:
    turn = take(created(), accepted(), completed([call()]), steers=1)
    assert not turn.is_over

    assert turn.apply(pending())
    assert turn.is_over
    assert turn.steers == [
        Steer(
            "pending", STEER, "resp_1", "steer_1",
            required_input=({"type": "function_call_output", "call_id": "call_1", "name": "look"},),
        )
    ]  # fmt: skip
    assert [each.call_id for each in turn.calls()] == ["call_1"]


@pytest.mark.parametrize("was_accepted", [False, True])
def test_a_steer_that_fails_lets_the_turn_end(was_accepted: bool) -> None:  # noqa: FBT001
    turn = take(created(), *[accepted()] * was_accepted, completed([]), steers=1)
    assert not turn.is_over, "a steer that was sent may have been in time"

    assert turn.apply(rejected("steer_1" if was_accepted else None))
    assert turn.is_over
    (steer,) = turn.steers
    assert steer.state == "failed"
    assert steer.input == STEER
    assert steer.error is not None
    assert steer.error.code == "response_not_active"


def test_a_steer_that_waits_may_still_fail() -> None:
    turn = take(created(), accepted(), completed([call()]), pending("steer_1"), steers=2)
    assert states(turn) == ["pending", "sent"]
    assert not turn.is_over

    turn.apply(rejected("steer_1"))
    turn.apply(rejected())
    assert states(turn) == ["failed", "failed"]
    assert turn.is_over


def test_a_successor_that_could_not_be_made_lets_the_turn_end() -> None:
    turn = take(created(), accepted(), incomplete("steered"), steers=1)
    assert turn.awaits_successor

    turn.apply(rejected("steer_1", code="successor_creation_failed"))
    assert turn.is_over


@pytest.mark.parametrize("late", [accepted(), pending(), rejected("steer_1")], ids=lambda late: late.type)
def test_what_has_come_of_a_steer_is_not_taken_back(late) -> None:
    ways = [
        [completed([call()]), pending()],
        [rejected("steer_1")],
        [incomplete("steered"), created("resp_2")],
    ]
    for events in ways:
        turn = take(created(), accepted(), *events, steers=1)
        before = list(turn.steers)
        turn.apply(late)

        assert turn.steers == before


def test_a_steer_is_told_by_its_id_first() -> None:
    turn = take(created(), accepted("steer_1"), steers=1)
    turn.note_steer("resp_1", STEER)
    turn.apply(accepted("steer_1"))

    assert [(steer.id, steer.state) for steer in turn.steers] == [("steer_1", "accepted"), (None, "sent")]

    turn.steers.reverse()
    turn.apply(rejected("steer_1"))

    assert [(steer.id, steer.state) for steer in turn.steers] == [(None, "sent"), ("steer_1", "failed")]


def test_what_is_said_of_steers_is_numbered_with_the_response() -> None:
    steer = {"steer": {"id": "steer_1", "previous_response_id": "resp_1"}}
    turn = take(
        event("response.created", response={"id": "resp_1"}, sequence_number=0),
        event("response.steer.accepted", **steer, sequence_number=1),
        event("response.steer.pending", **steer, reason="r", required_input=[], sequence_number=2),
        event("response.steer.failed", **steer, error={}, sequence_number=3),
        text_delta("a", sequence_number=4),
    )

    assert turn.response.irregularities == ()


def test_a_turn_that_is_over_stays_over() -> None:
    turn = take(created(), completed([]))
    before = turn.canonical()

    for late in (
        accepted(),
        pending(),
        rejected("s"),
        created("resp_2"),
        error(),
        UndecodableFrame("x", "{"),
    ):
        assert not turn.apply(late)
        assert turn.canonical() == before


# Several steers, and steers of others.


def test_all_queued_steers_are_committed_at_once() -> None:
    turn = take(
        created(),
        accepted("steer_1"),
        accepted("steer_2"),
        incomplete("steered"),
        created("resp_2"),
        steers=2,
    )

    assert states(turn) == ["committed", "committed"]
    assert [steer.id for steer in turn.steers] == ["steer_1", "steer_2"]


def test_one_steer_may_fail_and_another_succeed() -> None:
    turn = take(
        created(), accepted("steer_1"), rejected(), incomplete("steered"), created("resp_2"), steers=2
    )

    assert states(turn) == ["committed", "failed"]


def test_a_successor_can_be_steered() -> None:
    turn = take(created(), accepted(), incomplete("steered"), created("resp_2"), steers=1)
    turn.note_steer("resp_2", STEER)
    for each in (
        accepted("steer_2", "resp_2"), completed([], "resp_2"), created("resp_3"), completed([], "resp_3"),
    ):  # fmt: skip
        turn.apply(each)

    assert turn.is_over
    assert [response.id for response in turn.responses] == ["resp_1", "resp_2", "resp_3"]
    assert states(turn) == ["committed", "committed"]


def test_a_steer_that_somebody_else_sent_is_noticed() -> None:
    turn = take(created(), accepted())

    assert turn.steers == [Steer("accepted", None, "resp_1", "steer_1")]


def test_a_steer_of_another_response_is_another_steer() -> None:
    turn = take(created(), accepted("steer_9", "resp_9"), steers=1)

    assert states(turn) == ["sent", "accepted"]


def test_a_steered_end_is_followed_by_a_successor_whoever_steered() -> None:
    assert take(created(), incomplete("steered")).awaits_successor


# Ends that leave nothing to wait for.


@pytest.mark.parametrize("end", [failed(), error()])
def test_after_a_failure_no_successor_comes(end) -> None:
    turn = take(created(), accepted(), end, steers=1)

    assert turn.is_over
    assert not turn.apply(created("resp_2"))
    assert len(turn.responses) == 1


@pytest.mark.parametrize(
    "fault", [error("websocket_connection_limit_reached", 400), UndecodableFrame("x", "{")]
)
def test_a_failure_while_a_successor_is_awaited_is_the_successors(fault) -> None:
    turn = take(created(), accepted(), completed([message("a")]), steers=1)
    turn.apply(fault)

    first, second = turn.responses
    assert first.status == "completed"
    assert second.error is not None or second.undecodable is fault
    assert turn.is_over


# What begins a successor, and what does not.


@pytest.mark.parametrize(
    "other",
    [
        completed([], "resp_1"),
        lifecycle("in_progress", "resp_1"),
        text_delta("late"),
        event("keepalive"),
        accepted("steer_2"),
    ],
    ids=lambda other: other.type,
)
def test_what_does_not_begin_a_successor(other) -> None:
    turn = take(created(), accepted(), completed([message("a")]), other, steers=1)

    assert len(turn.responses) == 1
    assert turn.awaits_successor


def test_a_successor_whose_beginning_was_left_out() -> None:
    turn = take(created(), accepted(), incomplete("steered"), lifecycle("in_progress", "resp_2"), steers=1)

    assert turn.response.id == "resp_2"
    assert states(turn) == ["committed"]


def test_a_successor_takes_the_place_of_a_response_whose_end_was_left_out() -> None:
    turn = take(created(), text_delta("Hel"), accepted(), steers=1)
    assert turn.apply(created("resp_2"))

    first, second = turn.responses
    assert (first.status, first.incomplete_reason, first.text()) == ("incomplete", "steered", "Hel")
    assert (second.id, second.status) == ("resp_2", "in_progress")


def test_without_a_steer_another_response_takes_nobodys_place() -> None:
    turn = take(created(), text_delta("a"), created("resp_2"))

    assert len(turn.responses) == 1
    assert [each.kind for each in turn.response.irregularities] == ["foreign"]


def test_calls_of_all_responses_count_each_once() -> None:
    turn = take(
        created(), done(call("call_1")), accepted(), incomplete("steered"),
        created("resp_2"), completed([call("call_1"), call("call_2", identity="fc_2")], "resp_2"), steers=1,
    )  # fmt: skip

    assert [each.call_id for each in turn.calls()] == ["call_1", "call_2"]


# As a whole.


def test_no_order_of_events_raises_and_two_folds_are_equal() -> None:
    events = [created(), accepted(), completed([call()]), created("resp_2"), pending()]
    for order in itertools.permutations(events):
        turn, again = take(*order, steers=1), take(*order, steers=1)

        assert turn.canonical() == again.canonical()
        assert json.loads(turn.canonical())


# Servers that do not know steers.


REFUSALS = [
    {"status": 400, "error": {"code": "invalid_value"}},
    {"status": 404, "error": {"message": "unknown"}},
    {"code": "unknown_event_type"},
    {"error": {"message": "no", "param": "type"}},
    {"status": 409, "error": {"code": "concurrent_request"}},
]


@pytest.mark.parametrize("fields", REFUSALS)
@pytest.mark.parametrize("late", [False, True])
def test_an_error_about_a_steer_leaves_the_response_alone(fields, late) -> None:
    refusal, end = event("error", **fields), completed([message("All.")])
    turn = take(created(), *([end, refusal] if late else [refusal, end]), steers=1)

    assert states(turn) == ["refused"]
    assert turn.steers[0].error is not None
    assert (turn.is_over, turn.response.status, len(turn.responses)) == (True, "completed", 1)


@pytest.mark.parametrize(
    ("before", "steers", "fields"),
    [
        # Nothing is on its way that could be turned down but the request itself.
        ([created()], 0, REFUSALS[0]),
        ([], 1, REFUSALS[0]),
        ([created(), accepted()], 1, REFUSALS[0]),
        # One of the response's own events.
        ([created()], 1, {"sequence_number": 1, **REFUSALS[0]}),
        # What is said of responses and connections, whatever else is on its way.
        ([created()], 1, {"status": 400, "error": {"code": "websocket_connection_limit_reached"}}),
        ([created()], 1, {"status": 400, "error": {"code": "misalignment_policy_violation"}}),
        ([created()], 1, {"status": 500, "error": {"code": "server_error"}}),
        ([created()], 1, {"error": {"message": "boom"}}),
    ],
)
def test_any_other_error_is_the_responses(before, steers, fields) -> None:
    turn = take(*before[:1], steers=steers)
    for each in [*before[1:], event("error", **fields)]:
        turn.apply(each)

    assert turn.response.status == "error"
    assert "refused" not in states(turn)


def test_one_error_answers_one_steer() -> None:
    turn = take(created(), event("error", **REFUSALS[0]), steers=2)

    assert states(turn) == ["refused", "sent"]


@pytest.mark.parametrize("ends", [[completed([])], [incomplete("steered")]], ids=["completed", "steered"])
def test_steers_can_be_given_up(ends) -> None:
    turn = take(created(), accepted(), *ends, steers=2)
    assert not turn.is_over

    turn.give_up_steers()

    assert turn.is_over
    assert states(turn) == ["lost", "lost"]


def test_a_response_that_somebody_else_steered_can_be_given_up() -> None:
    turn = take(created(), incomplete("steered"))
    assert not turn.is_over

    turn.give_up_steers()

    assert turn.is_over
