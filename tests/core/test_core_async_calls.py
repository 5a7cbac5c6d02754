"""Calls that the model does not wait for: whenever their outcomes come, each output joins the conversation once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core_log import OUTCOME, got, ran, reduce, response, sent, started, whole
from hypothesis import given
from hypothesis import strategies as st

from triplane.core.continuation import LaneMemory, plan_turn
from triplane.core.records import (
    ConnectionDropped,
    InputAdded,
    Record,
    ResponseRetracted,
    RunResumed,
    ToolFinished,
    ToolStarted,
)
from triplane.core.reducer import RunReducer
from triplane.core.replay_input import replay_input, unanswered_calls

if TYPE_CHECKING:
    from triplane.core.records import Body


def call(call_id: str, *, is_async: bool = False) -> dict[str, Any]:
    item = {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": "look",
        "arguments": "{}",
    }
    return {**item, "status": "completed", **({"async": True} if is_async else {})}


def outputs(run: RunReducer) -> list[str]:
    return [item["call_id"] for item in run.history if item["type"] == "function_call_output"]


def finished(call_id: str) -> ToolFinished:
    return ToolFinished(call_id, "look", OUTCOME)


def test_the_run_is_not_over_and_needs_no_request() -> None:
    run = reduce(started(), sent(), whole(call("a", is_async=True)))

    assert ["a"] == [each.call_id for each in run.calls.outstanding]
    assert ([], False, "tools") == (run.calls.pending, run.needs_request, run.status)


def test_the_others_are_answered_without_it() -> None:
    run = reduce(started(), sent(), whole(call("a", is_async=True), call("b")), *ran("b"))

    assert (["b"], True, "waiting") == (outputs(run), run.needs_request, run.status)
    assert () == unanswered_calls(run.history, run.history)


def test_an_outcome_while_the_others_run_waits_for_them() -> None:
    """Outputs of the turn stand before it: nothing may come between them."""
    bodies: list[Body] = [started(), sent(), whole(call("a", is_async=True), call("b")), *ran("a")]
    assert [] == outputs(reduce(*bodies))
    assert ["b", "a"] == outputs(reduce(*bodies, *ran("b")))


def test_an_outcome_is_that_of_a_later_call_of_its_id_as_well() -> None:
    bodies: list[Body] = [
        started(),
        sent(),
        whole(call("a", is_async=True)),
        ToolStarted("a", "look", "{}", "read", "key"),
        InputAdded(({"type": "message", "role": "user", "content": "Go on."},)),
        sent(2),
        whole(call("a"), response_id="resp_2"),
    ]
    run = reduce(*bodies)
    assert ["a"] == [each.call_id for each in run.calls.pending]
    assert ["a"] == [each.call_id for each in run.calls.in_doubt]

    run = reduce(*bodies, finished("a"))
    assert (["a", "a"], [], []) == (outputs(run), run.calls.pending, run.calls.outstanding)
    assert () == unanswered_calls(run.history, run.history)


def test_an_outcome_while_the_model_speaks_waits_for_its_end() -> None:
    bodies: list[Body] = [
        started(),
        sent(),
        whole(call("a", is_async=True)),
        InputAdded(({"type": "message", "role": "user"},)),
        sent(2),
    ]
    bodies += [got(response("created", [], "resp_2")), *ran("a")]
    assert [] == outputs(reduce(*bodies))

    run = reduce(*bodies, got(response("completed", [], "resp_2")))
    assert (["a"], True) == (outputs(run), run.needs_request)


def test_a_second_outcome_is_not_taken() -> None:
    run = reduce(started(), sent(), whole(call("a", is_async=True)), *ran("a"), *ran("a"))

    assert ["a"] == outputs(run)


def test_an_id_that_has_its_outcome_is_answered_from_the_log() -> None:
    run = reduce(
        started(),
        sent(),
        whole(call("a")),
        *ran("a"),
        sent(2),
        whole(call("a", is_async=True), response_id="r2"),
    )

    assert (["a", "a"], []) == (outputs(run), run.calls.outstanding)


def test_who_resumes_knows_of_it() -> None:
    start = ToolStarted("a", "look", "{}", "write", "k")
    run = reduce(
        started(),
        sent(),
        whole(call("a", is_async=True), call("b", is_async=True)),
        start,
        RunResumed("agent", "gpt", "fingerprint"),
    )

    assert (["a"], ["a", "b"], "tools") == (
        [each.call_id for each in run.calls.in_doubt],
        [each.call_id for each in run.calls.outstanding],
        run.status,
    )


@given(st.data())
def test_each_output_once_and_never_a_request_that_is_refused(data: st.DataObject) -> None:
    """Turns come, get lost and come again, and outcomes come whenever they like."""
    run = RunReducer()
    bodies: list[Body] = []

    def record(body: Body) -> None:
        run.apply(Record(len(bodies), 0.0, body))
        bodies.append(body)

    def some_finish() -> None:
        for each in run.calls.outstanding:
            if data.draw(st.booleans()):
                record(finished(each.call_id))

    record(started({"type": "message", "role": "user", "content": "Go."}))
    number = 0
    turns = data.draw(st.integers(1, 5))
    made: list[str] = []
    while True:
        if run.needs_request:
            head, memory = run.head, LaneMemory("c1", run.head and run.head.response_id)
            plan = plan_turn(run.history, head, memory, "fingerprint")
            assert plan.kind in ("full", "incremental")
            turn, attempt = run.next_attempt
            record(sent(turn, attempt, plan=plan.kind, previous=plan.previous_response_id))
            number += 1
            some_finish()
            if data.draw(st.integers(0, 4)) == 4:
                record(got(response("created", [], f"r{number}")))
                some_finish()
                record(ResponseRetracted(turn, "connection_lost", 0, ambiguous=False))
                record(ConnectionDropped("c1", 1006, ""))
                continue
            calls = data.draw(st.lists(st.booleans(), max_size=3)) if turn < turns else []
            items = [call(f"{number}_{place}", is_async=each) for place, each in enumerate(calls)]
            made += [item["call_id"] for item in items]
            record(whole(*items, response_id=f"r{number}"))
        for each in run.calls.pending:
            some_finish()
            record(finished(each.call_id))
        some_finish()
        if not run.needs_request:
            if not run.calls.outstanding:
                break
            record(finished(run.calls.outstanding[0].call_id))

    assert sorted(made) == sorted(outputs(run))
    places = {
        item["call_id"]: place for place, item in enumerate(run.history) if item["type"] == "function_call"
    }
    for place, item in enumerate(run.history):
        if item["type"] == "function_call_output":
            assert places[item["call_id"]] < place
    assert run.history == replay_input(run.history), "all of it can be sent again"
    assert reduce(*bodies).canonical() == run.canonical()
