"""A run's state: the conversation in its order, the head of its chain, the calls, and what is counted."""

from __future__ import annotations

import json

import attrs
import pytest
from core_log import OUTCOME, frame, got, ran, reduce, response, sent, started, whole
from core_wire import answer, call, message, reasoning, user

from triplane.core.continuation import ChainHead
from triplane.core.errors import Effect
from triplane.core.outcome import ToolCall, ToolOutcome
from triplane.core.records import (
    ConnectionDropped,
    ForkedFrom,
    InputAdded,
    Record,
    ResponseRetracted,
    RunEnded,
    SteerSent,
    SteersRequeued,
    ToolFinished,
    ToolStarted,
)
from triplane.core.reducer import RunReducer
from triplane.core.run_state import FinishedCall, RunState, RunUsage

USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 15,
}
RETRACTED = ResponseRetracted(1, "connection_lost", 0, ambiguous=True)
DROPPED = ConnectionDropped("c1", 1006, "")
ANSWERED = answer(output="done")


def test_a_new_run() -> None:
    assert RunReducer().snapshot() == RunState(
        "", "new", 0, (), (), "", RunUsage(), 0, 0, 0, 0, None, None, ""
    )


def test_a_run_from_its_beginning_to_its_end() -> None:
    log = [
        started(user("Hi")),
        sent(),
        whole(call(), usage=USAGE),
        *ran(),
        sent(2, plan="incremental", previous="resp_1"),
        whole(message("Hello"), response_id="resp_2", usage=USAGE),
        RunEnded("completed"),
    ]
    statuses = [reduce(*log[: length + 1]).status for length in range(len(log))]
    run = reduce(*log)

    assert statuses == ["waiting", "model", "tools", "tools", "waiting", "model", "model", "completed"]
    assert run.history == [user("Hi"), call(), ANSWERED, message("Hello")]
    assert run.snapshot() == RunState(
        run_id="run_1",
        status="completed",
        turns=2,
        tool_calls=(FinishedCall(ToolCall("call_1", "look", "{}"), OUTCOME),),
        running_tools=(),
        text="Hello",
        usage=RunUsage(20, 8, 10, 4, 30),
        bytes_up=200,
        bytes_down=sum(len(text) for body in log for text in getattr(body, "frames", ())),
        reconnects=0,
        replays=0,
        connection="c1",
        response_id="resp_2",
        reason="",
    )
    assert run.snapshot().tool_seconds == 0.5


@pytest.mark.parametrize(
    ("status", "reason"),
    [("completed", ""), ("incomplete", "max_output_tokens"), ("failed", "Stalled"), ("cancelled", "")],
)
def test_how_a_run_ends(status, reason) -> None:
    run = reduce(started(), sent(), RunEnded(status, reason))

    assert run.is_over
    assert (run.snapshot().status, run.snapshot().reason) == (status, reason)


def test_after_its_end_nothing_changes() -> None:
    log = [started(user("Hi")), sent(), got(response("created", [])), RunEnded("cancelled")]
    late = [
        whole(call()),
        *ran(),
        sent(2),
        InputAdded((user("x"),)),
        RETRACTED,
        DROPPED,
        RunEnded("completed"),
        started(),
    ]

    assert reduce(*log, *late).canonical() == reduce(*log).canonical()


# The conversation.


def test_the_outputs_join_in_the_order_of_the_calls_once_all_are_there() -> None:
    calls = [call(f"call_{n}", identity=f"fc_{n}") for n in range(3)]
    finished = [body for n in (2, 0, 1) for body in ran(f"call_{n}", ToolOutcome("ok", str(n)))]
    log = [started(user("Hi")), sent(), whole(*calls), *finished]

    assert reduce(*log[:-1]).history == [user("Hi"), *calls]
    assert [each.call_id for each in reduce(*log[:-1]).calls.pending] == ["call_1"]
    assert reduce(*log).history == [user("Hi"), *calls, *(answer(f"call_{n}", str(n)) for n in range(3))]
    assert [each.call.call_id for each in reduce(*log).snapshot().tool_calls] == [
        "call_2",
        "call_0",
        "call_1",
    ]


def test_a_custom_tool_gets_its_own_kind_of_output() -> None:
    item = {"type": "custom_tool_call", "id": "i", "call_id": "call_1", "name": "sql", "input": "select 1"}
    run = reduce(started(), sent(), whole(item), *ran())

    assert run.history[-1] == {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"}


def test_an_output_goes_back_to_who_called_and_to_the_namespace() -> None:
    caller = {"type": "program", "caller_id": "prog_1"}
    calls = [
        call(caller=caller, namespace="files"),
        {
            "type": "custom_tool_call",
            "call_id": "call_2",
            "name": "x",
            "input": "",
            "caller": caller,
            "namespace": "files",
        },
        call("call_3", identity="fc_3", caller=None, namespace=3),
    ]
    run = reduce(started(), sent(), whole(*calls), *ran("call_1"), *ran("call_2"), *ran("call_3"))

    assert run.history[3:] == [
        {**ANSWERED, "caller": caller, "namespace": "files"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done", "caller": caller},
        answer("call_3", "done"),
    ]
    assert len({*run.turn.calls()}) == 3, "calls can be keys"


def test_a_call_has_one_outcome() -> None:
    first, second = ToolOutcome("timed_out", "too late"), ToolOutcome("ok", "done")
    run = reduce(
        started(), sent(), whole(call()), *ran(outcome=first), ToolFinished("call_1", "look", second)
    )

    assert run.calls.outcomes == {"call_1": first}
    assert run.history == [call(), answer(output="too late")]


def test_a_call_that_comes_again_is_answered_from_the_log() -> None:
    run = reduce(started(), sent(), whole(call()), *ran(), sent(2), whole(call(), response_id="resp_2"))

    assert run.calls.pending == []
    assert run.status == "waiting"
    assert run.history == [call(), ANSWERED, call(), ANSWERED]


def test_a_tool_may_finish_before_its_response() -> None:
    early = [frame("response.output_item.done", item=call(), output_index=0)]
    run = reduce(started(), sent(), got(*early), *ran(), got(response("completed", [call()])))

    assert run.calls.pending == []
    assert run.history == [call(), ANSWERED]
    assert run.snapshot().tool_calls == (FinishedCall(ToolCall("call_1", "look", "{}"), OUTCOME),)


def test_outcomes_of_calls_that_nobody_made_are_kept_and_otherwise_passed_over() -> None:
    run = reduce(started(), *ran("call_9"), sent(), whole(call()), *ran("call_8"), *ran())

    assert run.history == [call(), ANSWERED]
    assert [each.call.call_id for each in run.snapshot().tool_calls] == ["call_1"]
    assert set(run.calls.outcomes) == {"call_9", "call_8", "call_1"}


@pytest.mark.parametrize("kind", ["incomplete", "failed"])
def test_only_the_calls_of_a_completed_response_are_run(kind) -> None:
    run = reduce(started(), sent(), got(response(kind, [call()])))

    assert run.calls.pending == []
    assert run.status == "model"


def test_what_a_failed_response_said_is_no_part_of_the_conversation() -> None:
    run = reduce(started(user("Hi")), sent(), got(response("failed", [message("He")], usage=USAGE)))

    assert run.history == [user("Hi")]
    assert run.usage.total_tokens == 15, "it was paid for all the same"


def test_a_retracted_response_leaves_nothing_behind() -> None:
    delta = frame("response.output_text.delta", item_id="m", output_index=0, content_index=0, delta="Hel")
    log = [started(user("Hi")), sent(), got(response("created", []), delta)]
    assert reduce(*log).text() == "Hel"

    run = reduce(*log, DROPPED, RETRACTED)
    assert (run.status, run.text(), run.history) == ("waiting", "", [user("Hi")])

    run = reduce(
        *log, DROPPED, RETRACTED, sent(1, 2, connection="c2"), whole(message("Hello"), response_id="resp_2")
    )
    assert run.history == [user("Hi"), message("Hello")]
    assert (run.turns, run.replays, run.reconnects) == (1, 1, 1)


# Input from outside.

LATER = InputAdded((user("And this."),))


def test_input_between_turns_joins_at_once() -> None:
    assert reduce(LATER, started(user("Hi"))).history == [user("And this."), user("Hi")]
    assert reduce(started(user("Hi")), LATER).history == [user("Hi"), user("And this.")]


def test_input_during_a_response_comes_after_it_and_is_not_taken_for_sent() -> None:
    run = reduce(started(user("Hi")), sent(), LATER, whole(message("Hello")))

    assert run.history == [user("Hi"), message("Hello"), user("And this.")]
    assert run.head == ChainHead("resp_1", "c1", 2), "the next request carries what came in between"


def test_input_while_tools_run_comes_after_their_outputs() -> None:
    run = reduce(started(), sent(), LATER, whole(call()), LATER, *ran(), LATER)

    assert run.history == [call(), ANSWERED, *[user("And this.")] * 3]
    assert run.head == ChainHead("resp_1", "c1", 1)


@pytest.mark.parametrize(
    "end", [response("incomplete"), response("failed"), frame("error", error={"code": "c"})]
)
def test_input_survives_whatever_becomes_of_the_response(end) -> None:
    assert reduce(started(), sent(), LATER, got(end)).history == [user("And this.")]
    assert reduce(started(), sent(), LATER, RETRACTED).history == [user("And this.")]


@pytest.mark.parametrize(
    "end", [response("incomplete"), response("failed"), frame("error", error={"code": "c"})]
)
def test_input_after_a_turn_that_ended_otherwise_joins_at_once(end) -> None:
    assert reduce(started(), sent(), got(end), LATER).history == [user("And this.")]


# The head of the chain.


def test_a_response_is_the_head_of_the_chain() -> None:
    run = reduce(started(user("Hi")), sent(stored=True), whole(reasoning(), message("Hello")))

    assert run.head == ChainHead("resp_1", "c1", 3, stored=True)
    assert run.head_lost is None


def test_an_incomplete_response_can_be_continued() -> None:
    run = reduce(started(user("Hi")), sent(), got(response("incomplete", [message("He")])))

    assert run.head == ChainHead("resp_1", "c1", 2)


@pytest.mark.parametrize(
    "end", [response("failed", [], "resp_2"), frame("error", status=400, error={"code": "c"})]
)
def test_an_error_evicts_the_head(end) -> None:
    run = reduce(started(), sent(), whole(call()), *ran(), sent(2, previous="resp_1"), got(end))

    assert run.head is None
    assert run.head_lost == "head_evicted"


@pytest.mark.parametrize("end", [response("failed", []), frame("error", status=500, error={"code": "c"})])
def test_a_head_that_never_was_cannot_be_evicted(end) -> None:
    run = reduce(started(), sent(), got(end))

    assert (run.head, run.head_lost) == (None, None)


def test_an_error_on_another_lane_keeps_the_head() -> None:
    fork = sent(2, plan="fork", previous="resp_1")
    run = reduce(
        started(), sent(), whole(call()), *ran(), fork, got(frame("error", status=400, error={"code": "c"}))
    )

    assert run.head == ChainHead("resp_1", "c1", 1)


def test_a_lost_connection_loses_the_head_unless_it_is_stored() -> None:
    run = reduce(started(), sent(), whole(call()), DROPPED)
    assert (run.head, run.head_lost) == (None, "connection_lost")

    run = reduce(started(), sent(stored=True), whole(call()), DROPPED)
    assert run.head == ChainHead("resp_1", "c1", 1, stored=True)
    assert run.head_lost is None

    run = reduce(started(), DROPPED)
    assert (run.head, run.head_lost, run.reconnects) == (None, None, 1)


def test_a_new_response_forgets_that_the_head_was_lost() -> None:
    run = reduce(
        started(), sent(), whole(call()), DROPPED, *ran(), sent(2), whole(message("a"), response_id="resp_2")
    )

    assert (run.head, run.head_lost) == (ChainHead("resp_2", "c1", 3), None)


def test_frames_before_any_request_make_no_head() -> None:
    run = reduce(started(), whole(message("a")))

    assert run.history == [message("a")]
    assert run.head is None
    assert run.snapshot().connection is None


def test_a_trailing_frame_of_the_response_before_is_not_the_answer() -> None:
    run = reduce(
        started(), sent(), whole(call()), *ran(),
        sent(2, plan="incremental", previous="resp_1"), got(response("completed", [call()], "resp_1")),
    )  # fmt: skip

    assert run.status == "model"
    assert not run.turn.is_over


# Tools.


def test_what_is_running_and_what_is_known_of_each_effect() -> None:
    calls = [call(f"call_{n}", identity=f"fc_{n}") for n in (1, 2)]
    run = reduce(
        started(),
        sent(),
        whole(*calls),
        *ran("call_1", name="a"),
        ToolStarted("call_2", "b", "{}", "write", "k"),
    )

    assert run.calls.effects == (Effect("call_1", "a", "ok"), Effect("call_2", "b", "unknown"))
    assert run.snapshot().running_tools == ("b",)


# Steers.

STEER = SteerSent("resp_1", (user("Only the summary."),))
ACCEPTED = frame("response.steer.accepted", steer={"id": "steer_1", "previous_response_id": "resp_1"})
PENDING = frame(
    "response.steer.pending",
    steer={"id": "steer_1", "previous_response_id": "resp_1"},
    reason="waiting_for_required_input",
    required_input=[{"type": "function_call_output", "call_id": "call_1"}],
)
REFUSED = frame(
    "response.steer.failed",
    steer={"id": "steer_1", "previous_response_id": "resp_1"},
    error={"code": "invalid_input"},
)
STEERED = response("incomplete", [message("He")], incomplete_details={"reason": "steered"}, usage=USAGE)
SUCCESSOR = whole(message("Sum", "msg_2"), response_id="resp_2", usage=USAGE)


def test_a_steered_turn_is_one_turn_of_two_responses() -> None:
    run = reduce(started(user("Hi")), sent(), got(response("created")), STEER, got(ACCEPTED), got(STEERED))
    assert not run.turn.is_over
    assert run.history == [user("Hi"), message("He")]

    run = reduce(
        started(user("Hi")), sent(), got(response("created")), STEER, got(ACCEPTED, STEERED), SUCCESSOR
    )
    assert run.turn.is_over
    assert run.response.id == "resp_2"
    assert run.history == [user("Hi"), message("He"), *STEER.items, message("Sum", "msg_2")]
    assert run.head == ChainHead("resp_2", "c1", 4)
    assert run.usage.total_tokens == 30
    assert run.turns == 1


def test_a_steer_that_waits_for_outputs_is_not_sent_again() -> None:
    """The server puts it before the outputs by itself."""
    log = [
        started(),
        sent(),
        got(response("created")),
        STEER,
        got(ACCEPTED, response("completed", [call()]), PENDING),
    ]
    run = reduce(*log, *ran())

    assert run.history == [call(), *STEER.items, ANSWERED]
    assert run.head == ChainHead("resp_1", "c1", 2), "the next request carries the output alone"
    assert run.status == "waiting"


def test_a_steer_that_failed_was_never_said() -> None:
    run = reduce(
        started(),
        sent(),
        got(response("created")),
        STEER,
        got(ACCEPTED, response("completed", [call()]), REFUSED),
    )

    assert run.history == [call()]
    assert run.status == "tools"


def test_a_finished_call_of_a_steered_response_is_answered() -> None:
    done = frame("response.output_item.done", item=call(), output_index=0)
    steered = response("incomplete", [call()], incomplete_details={"reason": "steered"})
    run = reduce(started(), sent(), got(response("created"), done), STEER, got(ACCEPTED, steered), SUCCESSOR)

    assert [each.call_id for each in run.calls.pending] == ["call_1"]


@pytest.mark.parametrize(
    "heard", [[], [got(ACCEPTED)], [got(ACCEPTED, STEERED)]], ids=["sent", "accepted", "steered"]
)
@pytest.mark.parametrize("stored", [False, True])
def test_what_a_steer_said_is_not_lost_with_the_connection(heard, stored) -> None:
    log = [
        started(user("Hi")),
        sent(stored=stored),
        got(response("created")),
        STEER,
        *heard,
        DROPPED,
        RETRACTED,
    ]
    run = reduce(*log)
    said = [user("Hi"), message("He")] if len(heard) == 1 and "incomplete" in str(heard) else [user("Hi")]

    assert run.history == [*said, *STEER.items]
    assert (run.head is not None) is (stored and len(said) == 2)
    if run.head is not None:
        assert run.head.length == 2, "the next request carries what the steer said"


@pytest.mark.parametrize("lost", ["successor", "outputs"])
def test_a_stored_response_that_was_steered_in_vain_is_continued_with_what_was_said(lost) -> None:
    if lost == "successor":
        log = [got(ACCEPTED, STEERED), got(response("created", [], "resp_2")), DROPPED, RETRACTED]
    else:
        log = [got(ACCEPTED, response("completed", [call()]), PENDING), DROPPED]
    run = reduce(started(), sent(stored=True), got(response("created")), STEER, *log)

    assert run.head == ChainHead("resp_1", "c1", 1, stored=True)
    assert run.history[run.head.length :] == list(STEER.items)


def test_a_successor_that_is_retracted_leaves_its_steer_to_be_said_again() -> None:
    log = [got(ACCEPTED, STEERED), got(response("created", [], "resp_2"))]
    run = reduce(started(), sent(), got(response("created")), STEER, *log)
    assert run.head == ChainHead("resp_1", "c1", 2)

    run.apply(Record(9, 0.0, RETRACTED))
    assert run.head == ChainHead("resp_1", "c1", 1)
    assert run.history == [message("He"), *STEER.items]


def test_a_steer_that_was_sent_too_late_is_input_for_the_next_request() -> None:
    run = reduce(started(), sent(), whole(message("Hello")), STEER)

    assert run.turn.is_over
    assert run.turn.steers == []

    run = reduce(started(), sent(), whole(call()), STEER, *ran())
    assert run.history == [call(), ANSWERED, *STEER.items]


def test_two_steers_are_two_messages() -> None:
    second = SteerSent("resp_1", (user("In French."),))
    also = frame("response.steer.accepted", steer={"id": "steer_2", "previous_response_id": "resp_1"})
    run = reduce(
        started(), sent(), got(response("created")), STEER, second, got(ACCEPTED, also, STEERED), SUCCESSOR
    )

    assert run.history == [message("He"), *STEER.items, *second.items, message("Sum", "msg_2")]
    assert run.head == ChainHead("resp_2", "c1", 4)


REQUEUED = SteersRequeued(1, "connection_lost", 1, ambiguous=True)


@pytest.mark.parametrize("how", ["failed", "refused", "lost"])
def test_what_a_steer_said_that_came_to_nothing_is_input_for_the_next_request(how) -> None:
    last = {
        "failed": got(REFUSED),
        "refused": got(frame("error", status=400, error={"code": "invalid_value"})),
        "lost": REQUEUED,
    }[how]
    log = [started(user("Hi")), sent(), got(response("created")), STEER]
    run = reduce(*log, got(response("completed", [message("Hello")])), last)

    assert run.turn.is_over
    assert run.has_unanswered_input
    assert run.history == [user("Hi"), message("Hello"), *STEER.items]
    assert run.head == ChainHead("resp_1", "c1", 2), "the next request carries what it said"


def test_it_comes_after_the_outputs_of_calls() -> None:
    log = [
        started(),
        sent(),
        got(response("created")),
        STEER,
        got(ACCEPTED),
        got(response("completed", [call()])),
    ]
    run = reduce(*log, DROPPED, REQUEUED)
    assert [each.call_id for each in run.calls.pending] == ["call_1"]
    assert run.status == "tools"

    run = reduce(*log, DROPPED, REQUEUED, *ran())
    assert run.history == [call(), ANSWERED, *STEER.items]


def test_a_steer_that_fails_after_it_waited_for_outputs_is_not_taken_for_said() -> None:
    second = SteerSent("resp_1", (user("In French."),))
    also = frame("response.steer.accepted", steer={"id": "steer_2", "previous_response_id": "resp_1"})
    done = response("completed", [call()])
    refused = json.loads(REFUSED)
    late = frame(
        **{
            **refused,
            "kind": refused.pop("type"),
            "steer": {"id": "steer_1", "previous_response_id": "resp_1"},
        }
    )
    waits = frame(
        "response.steer.pending",
        steer={"id": "steer_2", "previous_response_id": "resp_1"},
        reason="waiting_for_required_input",
        required_input=[],
    )
    log = [
        started(),
        sent(),
        got(response("created")),
        STEER,
        second,
        got(ACCEPTED, also, done, PENDING, late, waits),
    ]
    run = reduce(*log, *ran())

    assert run.history == [call(), *second.items, ANSWERED, *STEER.items]
    assert run.head == ChainHead("resp_1", "c1", 2)


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_a_run_that_has_been_answered_has_nothing_to_go_on_for(kind) -> None:
    ended = response(kind, [message("Hello")], incomplete_details={"reason": "max_output_tokens"})
    run = reduce(started(user("Hi")), sent(), got(ended))
    assert not run.has_unanswered_input

    for late in (InputAdded((user("More"),)), STEER):
        assert reduce(started(user("Hi")), sent(), got(ended), late).has_unanswered_input
    assert reduce(started(user("Hi")), sent(), InputAdded((user("More"),)), got(ended)).has_unanswered_input


def test_calls_of_a_response_that_stopped_early_are_run_only_if_the_run_goes_on() -> None:
    done = frame("response.output_item.done", item=call(), output_index=0)
    ended = response("incomplete", [call()], incomplete_details={"reason": "max_output_tokens"})
    assert reduce(started(), sent(), got(done, ended)).calls.pending == []

    run = reduce(started(), sent(), InputAdded((user("More"),)), got(done, ended))
    assert [each.call_id for each in run.calls.pending] == ["call_1"]


def test_calls_before_a_successor_that_was_lost_are_answered() -> None:
    done = frame("response.output_item.done", item=call(), output_index=0)
    steered = response("incomplete", [call()], incomplete_details={"reason": "steered"})
    log = [started(), sent(), got(response("created"), done), STEER, got(ACCEPTED, steered)]
    run = reduce(*log, got(response("created", [], "resp_2")), DROPPED, RETRACTED)

    assert (run.status, [each.call_id for each in run.calls.pending]) == ("tools", ["call_1"])


# Forks.


def test_a_fork_begins_with_the_conversation_and_the_head_of_its_source() -> None:
    origin = ForkedFrom("run_1", "resp_1", "c1", 2)
    body = attrs.evolve(started(user("Hi"), message("Hello"), user("More")), forked_from=origin)
    run = reduce(body)

    assert run.head == ChainHead("resp_1", "c1", 2)
    assert run.history == [user("Hi"), message("Hello"), user("More")]
    assert run.has_unanswered_input
    assert reduce(attrs.evolve(body, forked_from=ForkedFrom("run_1"))).head is None


def test_where_a_fork_leaves_a_run() -> None:
    nothing: list[object] = []
    log = [
        (started(user("Hi")), [user("Hi")], None),
        (sent(), [user("Hi")], None),
        (got(response("created")), [user("Hi")], None),
        (got(response("completed", [call()])), [user("Hi")], None),
        (ran()[0], [user("Hi")], None),
        (ran()[1], [user("Hi"), call(), ANSWERED], ChainHead("resp_1", "c1", 2)),
        (
            sent(2, plan="incremental", previous="resp_1"),
            [user("Hi"), call(), ANSWERED],
            ChainHead("resp_1", "c1", 2),
        ),
        (InputAdded((user("More"),)), [user("Hi"), call(), ANSWERED], ChainHead("resp_1", "c1", 2)),
    ]
    for body, items, head in log:
        nothing.append(body)
        assert reduce(*nothing).settled() == (tuple(items), head)


def test_a_fork_while_its_source_is_steered_is_told_what_the_steer_said() -> None:
    log = [started(user("Hi")), sent(), got(response("created")), STEER, got(ACCEPTED, STEERED)]
    run = reduce(*log, got(response("created", [], "resp_2")))

    assert run.head == ChainHead("resp_1", "c1", 3)
    assert run.settled() == ((user("Hi"), message("He"), *STEER.items), ChainHead("resp_1", "c1", 2))


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        ({"code": "server_error"}, True),
        ({"code": "previous_response_not_found"}, False),
        ({"code": None, "param": "input"}, False),
    ],
)
def test_an_error_on_another_lane_costs_the_head_only_if_it_is_about_the_head(error, is_kept) -> None:
    origin = ForkedFrom("run_1", "resp_1", "c1", 1)
    body = attrs.evolve(started(message("Hello"), user("More")), forked_from=origin)
    run = reduce(body, sent(plan="fork", previous="resp_1"), got(frame("error", status=400, error=error)))

    assert (run.head is not None) is is_kept


# Counting.


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({}, RunUsage()),
        (USAGE, RunUsage(10, 4, 5, 2, 15)),
        ({"input_tokens": "3", "total_tokens": None, "output_tokens": 1.5}, RunUsage()),
        ({"input_tokens_details": None, "output_tokens_details": [1]}, RunUsage()),
        ({"output_tokens_details": {}}, RunUsage()),
    ],
)
def test_usage_counts_what_is_there(wire, usage) -> None:
    assert RunUsage().plus(wire) == usage
    assert RunUsage(1, 1, 1, 1, 1).plus(wire) == RunUsage(*(1 + count for count in attrs.astuple(usage)))


# As a whole.


def test_a_record_of_a_kind_that_is_not_known_changes_nothing() -> None:
    @attrs.frozen
    class FromTheFuture:
        """A body that a later version writes."""

        type = "triplane.from_the_future"

    run = reduce(started(user("Hi")))
    before = run.canonical()
    run.apply(Record(1, 0.0, FromTheFuture()))  # type: ignore[arg-type]

    assert run.canonical() == before


def test_the_canonical_form_is_json_with_sorted_keys() -> None:
    form = reduce(started(user("Hi")), sent(), whole(call()), *ran()).canonical()

    assert form == json.dumps(json.loads(form), sort_keys=True, separators=(",", ":")).encode()
