"""What a person was asked and decided, as a log tells it: a decision counts for one call, and once."""

from __future__ import annotations

from typing import Any

import attrs
from core_log import OUTCOME, ran, reduce, sent, started, whole
from core_wire import call, message, user

from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    ApprovalAsked,
    ApprovalGiven,
    InputAdded,
    RunEnded,
    RunParked,
    RunResumed,
    ToolFinished,
)

ASKED = ApprovalAsked("call_1", "look", "{}")
YES = ApprovalGiven("call_1", approved=True)
NO = ApprovalGiven("call_1", approved=False, reason="Rather not.")
PARKED = RunParked(("call_1",))
RESUMED = RunResumed("agent", "gpt", "fingerprint")
LOOK = call(arguments="{}")


def request(identity: Any = "mcpr_1", arguments: str = "{}") -> dict[str, Any]:
    return {
        "type": "mcp_approval_request",
        "id": identity,
        "name": "roll",
        "arguments": arguments,
        "server_label": "dice",
    }


def response(identity: str = "mcpr_1", *, approve: bool = True, **more: str) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": identity, "approve": approve, **more}


ROLL = ApprovalAsked("mcpr_1", "roll", "{}", "dice")
BEGINNING = (started(user("Go.")), sent())


def test_a_run_is_parked_until_the_last_decision() -> None:
    two = (*BEGINNING, whole(LOOK, call("call_2", identity="fc_2", arguments="{}")))
    other = ApprovalAsked("call_2", "look", "{}")
    assert "tools" == reduce(*two, ASKED, other).status

    parked = reduce(*two, ASKED, other, PARKED)
    assert ("parked", (ASKED, other)) == (parked.status, parked.snapshot().approvals)
    half = reduce(*two, ASKED, other, PARKED, NO)
    assert ("parked", (other,)) == (half.status, half.snapshot().approvals)
    whole_way = reduce(*two, ASKED, other, PARKED, NO, ApprovalGiven("call_2", approved=True))
    assert ("tools", ()) == (whole_way.status, whole_way.snapshot().approvals)
    assert not whole_way.needs_request


def test_only_the_first_question_and_the_first_decision_count() -> None:
    log = (*BEGINNING, whole(LOOK))
    assert not reduce(*log, NO, ASKED).approvals.given
    run = reduce(*log, ASKED, ApprovalAsked("call_1", "pay", "{}"), NO, YES)
    assert (ASKED, NO) == (run.approvals.asked["call_1"], run.approvals.given["call_1"])


def test_a_decision_counts_for_the_call_that_was_asked_about() -> None:
    book = reduce(*BEGINNING, whole(LOOK), ASKED, YES).approvals

    assert YES == book.decision(ASKED)
    for other in (
        ApprovalAsked("call_1", "pay", "{}"),
        ApprovalAsked("call_1", "look", '{"at": "x"}'),
        ApprovalAsked("call_1", "look", "{}", "dice"),
    ):
        decision = book.decision(other)
        assert decision is not None
        assert not decision.approved
    # What it is about does not depend on why it was asked.
    assert YES == book.decision(ApprovalAsked("call_1", "look", "{}", note="so"))
    assert book.decision(ApprovalAsked("call_9", "look", "{}")) is None


def test_a_call_that_has_its_outcome_waits_for_nobody() -> None:
    cancelled = ToolFinished("call_1", "look", ToolOutcome("cancelled", "no"))
    run = reduce(*BEGINNING, whole(LOOK), ASKED, cancelled)

    assert () == run.approvals.open
    assert "waiting" == run.status


def test_what_is_asked_during_a_call_holds_that_call() -> None:
    of_child = ApprovalAsked("call_9", "pay", "{}", in_call="call_1")
    of_childs_server = ApprovalAsked("mcpr_9", "roll", "{}", "dice", in_call="call_1")
    log = (*BEGINNING, whole(LOOK), of_child, of_childs_server)
    book = reduce(*log).approvals
    assert {"call_1"} == book.held
    assert not book.supports("call_1")

    given = ApprovalGiven("call_9", approved=True)
    half = reduce(*log, RunParked(("call_9", "mcpr_9")), given)
    assert ("parked", {"call_1"}) == (half.status, half.approvals.held)
    done = reduce(*log, RunParked(("call_9", "mcpr_9")), given, ApprovalGiven("mcpr_9", approved=False))
    assert ("tools", set()) == (done.status, done.approvals.held)
    assert done.approvals.supports("call_1")
    assert done.approvals.supports("call_9")
    # Whatever becomes of the call, nobody is asked about what happened during it any more.
    assert () == reduce(*log, *ran()).approvals.open


def test_the_server_is_answered_after_the_outputs_and_before_what_was_added() -> None:
    log = (*BEGINNING, whole(request(), LOOK))
    run = reduce(*log, ROLL, InputAdded((user("More."),)), *ran())
    assert run.owes_answers
    assert not run.needs_request
    assert [request(), LOOK] == run.history[1:]

    run = reduce(*log, ROLL, InputAdded((user("More."),)), *ran(), ApprovalGiven("mcpr_1", approved=True))
    assert [
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
        response(),
        user("More."),
    ] == run.history[3:]
    assert ("waiting", True) == (run.status, run.needs_request)


def test_the_order_of_decision_and_output_does_not_matter() -> None:
    log = (*BEGINNING, whole(request(), LOOK), ROLL)
    given = ApprovalGiven("mcpr_1", approved=False, reason="No games.")
    one, other = reduce(*log, *ran(), given), reduce(*log, given, *ran())

    assert one.history == other.history
    assert response(approve=False, reason="No games.") == one.history[-1]


def test_a_request_with_the_id_of_another_call_is_denied() -> None:
    """Whether it is the id of a request that was approved, or of a call."""
    first = (*BEGINNING, whole(request()), ROLL, ApprovalGiven("mcpr_1", approved=True))
    again = (*first, sent(2), whole(request(arguments='{"n": 2}'), response_id="resp_2"))
    assert not reduce(*again).owes_answers
    answer = reduce(*again).history[-1]
    assert (False, "Its id is that of another call, which a person was asked about before.") == (
        answer["approve"],
        answer["reason"],
    )

    of_a_call = (
        *BEGINNING,
        whole(LOOK),
        ASKED,
        YES,
        *ran(),
        sent(2),
        whole(request("call_1"), response_id="resp_2"),
    )
    assert not reduce(*of_a_call).history[-1]["approve"]
    # The very same request once more has its answer already.
    repeated = reduce(*first, sent(2), whole(request(), response_id="resp_2"))
    assert response() == repeated.history[-1]


def test_an_outcome_is_no_answer_to_the_server() -> None:
    """Not even if a call has the id of the request."""
    run = reduce(
        *BEGINNING,
        whole(request("call_1")),
        ApprovalAsked("call_1", "roll", "{}", "dice"),
        ToolFinished("call_1", "look", OUTCOME),
    )
    assert 1 == len(run.approvals.open)
    assert run.owes_answers


def test_a_request_without_an_id_cannot_be_answered() -> None:
    run = reduce(*BEGINNING, whole({**request(), "id": 1}))
    assert not run.owes_answers


def test_a_fork_begins_before_what_waits_for_a_person() -> None:
    run = reduce(*BEGINNING, whole(request()), ROLL, RunParked(("mcpr_1",)))
    assert ((user("Go."),), None) == run.settled()


def test_what_was_open_is_open_when_the_run_goes_on() -> None:
    for end in ((), (RunEnded("failed", "ConnectionLost"),), (RunEnded("cancelled"),)):
        run = reduce(
            *BEGINNING, whole(request(), LOOK), ASKED, ROLL, *ran(), RunParked(("mcpr_1",)), *end, RESUMED
        )
        assert ("tools", (ROLL,)) == (run.status, run.approvals.open)
        assert run.owes_answers


def test_nothing_to_wait_for_is_no_reason_to_be_parked() -> None:
    assert "waiting" == reduce(started(user("Go.")), PARKED).status
    assert "tools" == reduce(*BEGINNING, whole(LOOK), PARKED).status
    assert "completed" == reduce(*BEGINNING, whole(message("x")), RunEnded("completed"), PARKED).status


def test_what_is_asked_again_after_its_call_has_ended_is_open_again() -> None:
    """The server waits for the answer, whoever was asked before and needed none."""
    during = attrs.evolve(ROLL, in_call="call_1")
    cancelled = ToolFinished("call_1", "look", ToolOutcome("cancelled", "no"))
    log = (*BEGINNING, whole(LOOK), during, cancelled, sent(2), whole(request(), response_id="resp_2"))
    book = reduce(*log).approvals
    assert ((), [ROLL]) == (book.open, book.unanswered)

    again = reduce(*log, ROLL)
    assert ((ROLL,), set()) == (again.approvals.open, again.approvals.held)
    assert "parked" == reduce(*log, ROLL, PARKED).status
    run = reduce(*log, ROLL, PARKED, ApprovalGiven("mcpr_1", approved=True))
    assert (response(), "waiting") == (run.history[-1], run.status)
    # Another question than that before is none: it is answered already.
    other = reduce(*log, attrs.evolve(ROLL, arguments='{"n": 2}'))
    assert () == other.approvals.open
