"""One response: how it begins and ends, what wins over what, and that nothing in any order raises."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from core_wire import (
    added,
    arguments_delta,
    arguments_done,
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
    reasoning,
    text_delta,
    text_done,
)

from triplane.core.accumulator import ResponseAccumulator, ResponseSnapshot, ResponseStatus
from triplane.core.outcome import ToolCall
from triplane.core.records import UndecodableFrame
from triplane.protocol import ResponseOutputTextDelta, UnknownEvent


def test_before_the_first_event() -> None:
    response = ResponseAccumulator()

    assert response.snapshot() == ResponseSnapshot(None, "awaited", "", (), None)
    assert not response.is_over
    assert not response.has_output
    assert response.shown == 0
    assert response.calls() == []


@pytest.mark.parametrize(
    ("event", "status", "is_over"),
    [
        (created(), "in_progress", False),
        (lifecycle("queued"), "in_progress", False),
        (lifecycle("in_progress"), "in_progress", False),
        (text_delta("a"), "in_progress", False),
        (event("response.audio.delta", delta="UklG"), "in_progress", False),
        (event("keepalive"), "awaited", False),
        (event("response.steer.accepted", steer={"previous_response_id": "resp_0"}), "awaited", False),
        (UndecodableFrame("invalid_json", "{"), "error", True),
        (completed([]), "completed", True),
        (incomplete("max_output_tokens"), "incomplete", True),
        (failed(), "failed", True),
        (error(), "error", True),
        (event("response.error", error={"code": "c"}), "error", True),
        (event("response.done"), "awaited", False),
    ],
    ids=lambda value: getattr(value, "type", value),
)
def test_what_an_event_makes_of_a_response(event, status, is_over) -> None:
    response = fold(event)

    assert response.status == status
    assert response.is_over is is_over


def test_every_status_is_reached_above() -> None:
    assert set(get_args(ResponseStatus)) == {
        "awaited", "in_progress", "completed", "incomplete", "failed", "error",
    }  # fmt: skip


def test_a_whole_response() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    response = fold(
        created(),
        lifecycle("in_progress"),
        added(message("", status="in_progress", content=[])),
        text_delta("Hel"),
        text_delta("lo"),
        text_done("Hello"),
        done(message("Hello")),
        completed([message("Hello")], usage=usage),
    )

    assert response.snapshot() == ResponseSnapshot("resp_1", "completed", "Hello", (message("Hello"),), usage)
    assert response.shown == 5


def test_an_id_is_kept_once_known_and_need_not_be_a_string() -> None:
    assert fold(created(), completed([])).id == "resp_1"
    assert fold(created(None), completed([])).id == "resp_1"
    assert fold(created(None), completed([], None)).id is None
    assert fold(lifecycle("created", None, id=7)).id is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [({"total_tokens": 1}, {"total_tokens": 1}), (None, None), ("many", None), ([1], None)],
)
def test_usage_is_an_object_or_nothing(usage, expected) -> None:
    assert fold(completed([], usage=usage)).usage == expected


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "content_filter"}, "content_filter"),
        ({"reason": None}, "unknown"),
        ({}, "unknown"),
        (None, "unknown"),
        ("cut", "unknown"),
    ],
)
def test_why_a_response_is_incomplete(details, reason) -> None:
    response = fold(lifecycle("incomplete", incomplete_details=details))

    assert response.incomplete_reason == reason
    assert response.snapshot().incomplete_reason == reason
    assert response.error is None


def test_a_failed_response_says_why() -> None:
    response = fold(created(), failed("vector_store_timeout"))

    assert response.error is not None
    assert response.error.code == "vector_store_timeout"
    assert response.snapshot().error is response.error


def test_an_error_ends_the_response_and_keeps_what_had_come() -> None:
    response = fold(created(), text_delta("Hel"), error("rate_limit_exceeded", 429))

    assert response.error is not None
    assert (response.error.code, response.error.status) == ("rate_limit_exceeded", 429)
    assert response.snapshot() == ResponseSnapshot(
        "resp_1", "error", "Hel", tuple(response.output()), None, error=response.error
    )


def test_a_response_ends_at_the_first_frame_that_is_no_event() -> None:
    first, second = UndecodableFrame("invalid_json", "{"), UndecodableFrame("too_deep", "[")
    response = fold(created(), first, second, text_delta("a"), completed([message("a")]))

    assert response.undecodable is first
    assert ("error", None, "") == (response.status, response.error, response.text())


@pytest.mark.parametrize("end", [completed([message("Hello")]), incomplete("x"), failed(), error()])
@pytest.mark.parametrize(
    "late",
    [
        text_delta("more"),
        done(call()),
        created(),
        created("resp_2"),
        completed([message("other")]),
        failed(),
        error(),
        UndecodableFrame("invalid_json", "{"),
        event("response.done"),
    ],
    ids=lambda late: late.type,
)
def test_what_comes_after_the_end_changes_nothing(end, late) -> None:
    response = fold(created(), text_delta("Hello"), end)
    before = response.canonical()
    response.apply(late)

    assert response.canonical() == before


# Events of other responses.


@pytest.mark.parametrize("kind", ["queued", "in_progress", "completed", "incomplete", "failed"])
def test_an_event_of_another_response_does_not_touch_this_one(kind: str) -> None:
    response = fold(created(), text_delta("a"), lifecycle(kind, "resp_2", output=[message("b")]))

    assert (response.id, response.status, response.text()) == ("resp_1", "in_progress", "a")
    (irregularity,) = response.irregularities
    assert (irregularity.kind, irregularity.type) == ("foreign", f"response.{kind}")
    assert (irregularity.expected, irregularity.found) == ("resp_1", "resp_2")


def test_a_response_in_the_middle_of_which_another_begins_ends_there() -> None:
    response = fold(created(), text_delta("a"), created("resp_2"), text_delta("b"), done(call()))

    assert (response.id, response.status, response.text(), response.is_over) == ("resp_1", "error", "a", True)
    assert (response.displaced_by, response.error, response.calls()) == ("resp_2", None, [])
    assert [irregularity.kind for irregularity in response.irregularities] == ["foreign"]


@pytest.mark.parametrize(
    ("asked", "said", "reported"),
    [
        (None, {}, []),
        (None, {"previous_response_id": None}, []),
        ("resp_0", {}, []),
        # Many servers do not repeat it.
        ("resp_0", {"previous_response_id": None}, []),
        ("resp_0", {"previous_response_id": "resp_0"}, []),
        ("resp_0", {"previous_response_id": "resp_9"}, [("resp_0", "resp_9")]),
        (None, {"previous_response_id": "resp_9"}, [("", "resp_9")]),
    ],
)
def test_a_response_that_continues_another_one_than_asked_for_is_reported(asked, said, reported) -> None:
    response = ResponseAccumulator(asked)
    response.apply(created())
    response.apply(completed([message("a")], **said))

    assert [
        (each.expected, each.found) for each in response.irregularities if each.kind == "other_chain"
    ] == reported
    assert response.text() == "a"


@pytest.mark.parametrize(
    ("asked", "said", "reported"),
    [
        (None, {"id": "conv_9"}, 0),
        ("conv_1", None, 0),
        ("conv_1", {"id": "conv_1"}, 0),
        ("conv_1", "conv_1", 0),
        ("conv_1", {"id": "conv_9"}, 1),
        ("conv_1", "conv_9", 1),
    ],
)
def test_a_response_of_another_conversation_than_asked_for_is_reported(asked, said, reported) -> None:
    response = ResponseAccumulator(conversation=asked)
    response.apply(completed([message("a")], conversation=said))

    assert reported == len(response.irregularities)


def test_a_trailing_event_of_the_response_before_is_not_this_ones_end() -> None:
    response = ResponseAccumulator("resp_0")
    response.apply(completed([message("stale")], "resp_0"))

    assert (response.status, response.text()) == ("awaited", "")
    assert [irregularity.found for irregularity in response.irregularities] == ["resp_0"]

    response.apply(created("resp_1"))
    response.apply(completed([message("fresh")], "resp_1"))

    assert (response.status, response.text()) == ("completed", "fresh")


def test_a_server_that_uses_one_id_for_all_responses_is_understood() -> None:
    response = ResponseAccumulator("resp")
    for each in (created("resp"), text_delta("a"), completed([message("a")], "resp")):
        response.apply(each)

    assert (response.status, response.text(), response.irregularities) == ("completed", "a", ())


def test_an_event_without_an_id_is_this_responses_own() -> None:
    response = fold(created(), lifecycle("completed", None, output=[message("a")]))

    assert (response.id, response.status, response.text()) == ("resp_1", "completed", "a")


# What the terminal event's output list replaces.

STREAMED = (created(), added(message("", content=[])), text_delta("Hello"), done(message("Hello")))


@pytest.mark.parametrize("output", [..., None, {}, "Hello"], ids=repr)
def test_an_absent_or_null_list_replaces_nothing(output) -> None:
    response = fold(*STREAMED, completed(output))

    assert response.output() == [message("Hello")]
    assert response.differences == ()


def test_a_list_without_items_replaces_nothing_that_was_done() -> None:
    response = fold(
        *STREAMED, added(message("", "msg_2", content=[]), 1), text_delta("cut", 1), completed([])
    )

    assert response.output() == [message("Hello")]
    assert [each.kept for each in response.differences] == ["before", "after"]


@pytest.mark.parametrize("output", [[message("Bye")], [message("Bye"), reasoning()]], ids=len)
def test_a_list_replaces_everything(output) -> None:
    response = fold(*STREAMED, completed(output))

    assert response.output() == output
    assert response.text() == "Bye"
    assert response.differences
    assert response.shown == 5, "what was shown was shown"


def test_what_is_no_item_is_no_item() -> None:
    assert fold(completed([None, "item", message("a"), 3])).output() == [message("a")]


def test_what_is_no_part_has_no_text() -> None:
    parts = [
        None,
        "x",
        {"type": "output_text", "text": "a"},
        {"type": "output_text", "text": 3},
        {"type": "newer"},
    ]

    assert (
        fold(completed([message("", content=parts), message("b", content="b"), {"content": parts}])).text()
        == "aa"
    )


def test_a_finished_call_wins_over_the_list() -> None:
    streamed, later = call(arguments='{"a":1}'), call(arguments='{"a":2}')
    response = fold(created(), done(streamed), completed([later]))

    assert response.output() == [streamed]
    assert response.calls() == [ToolCall("call_1", "look", '{"a":1}')]
    (difference,) = response.differences
    assert (difference.field, difference.before, difference.after) == ("arguments", '{"a":1}', '{"a":2}')
    assert difference.kept == "before"


def test_a_finished_call_that_the_list_lacks_stays_in_its_place() -> None:
    first, second = call("call_1", identity="fc_1"), call("call_2", identity="fc_2")
    response = fold(
        created(), done(first, 0), done(message("Hello"), 1), done(second, 2), completed([message("Hello")])
    )

    assert response.output() == [first, message("Hello"), second]
    assert [each.call_id for each in response.calls()] == ["call_1", "call_2"]
    assert [difference.kept for difference in response.differences] == ["before", "before"]


def test_a_kept_call_keeps_the_reasoning_that_led_to_it() -> None:
    """One without the other is rejected when it is sent back."""
    leading, idle = reasoning("rs_1"), reasoning("rs_2")
    response = fold(created(), done(leading, 0), done(call(), 1), done(idle, 2), completed([message("b")]))

    assert response.output() == [leading, message("b"), call()]
    assert [(difference.item_id, difference.kept) for difference in response.differences[1:]] == [
        ("rs_1", "before"),
        ("fc_1", "before"),
        ("rs_2", "after"),
    ]


@pytest.mark.parametrize(
    "unfinished",
    [
        (added(call(arguments="", status="in_progress")), arguments_delta('{"a')),
        (done(call(arguments='{"a', status="incomplete")),),
        (done({"type": "function_call", "name": "look", "arguments": "{}"}),),
        (done({"type": "web_search_call", "id": "ws_1", "call_id": "call_1"}),),
    ],
    ids=["growing", "cut off", "without a call id", "the server's"],
)
def test_what_is_not_a_finished_call_of_ours_does_not_win(unfinished) -> None:
    assert fold(created(), *unfinished, completed([message("b")])).output() == [message("b")]


# Which calls are finished.


def test_a_call_is_finished_when_its_item_is_done() -> None:
    response = fold(created(), added(call(arguments="", status="in_progress")), arguments_delta("{}"))

    assert response.calls() == []

    response.apply(done(call()))

    assert response.calls() == [ToolCall("call_1", "look", "{}")]


def test_a_call_without_a_status_is_not_finished_while_it_grows() -> None:
    skeleton = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": ""}
    response = fold(created(), added(skeleton), arguments_delta('{"a'))

    assert response.calls() == []


def test_a_call_is_finished_when_its_arguments_are() -> None:
    response = fold(created(), added(call(arguments="", status="in_progress")), arguments_done('{"a":1}'))

    assert response.calls() == [ToolCall("call_1", "look", '{"a":1}')]
    assert response.output() == [call(arguments='{"a":1}')]


def test_a_completed_response_has_no_unfinished_calls() -> None:
    response = fold(
        created(), added(call(arguments="", status="in_progress")), arguments_delta("{}"), completed()
    )

    assert response.calls() == [ToolCall("call_1", "look", "{}")]


@pytest.mark.parametrize("end", [incomplete("max_output_tokens"), failed(), error()])
@pytest.mark.parametrize(
    "skeleton", [call(arguments="", status="in_progress"), {**call(arguments=""), "status": None}]
)
def test_a_call_that_was_cut_off_is_never_finished(end, skeleton) -> None:
    response = fold(created(), added(skeleton), arguments_delta('{"a'), end)

    assert response.calls() == []
    assert response.output() == [call(arguments='{"a', status="incomplete")]


def test_each_call_id_once() -> None:
    response = fold(
        created(), done(call(arguments="1"), 0), done(call(arguments="2", identity="fc_2"), 1), completed()
    )

    assert response.calls() == [ToolCall("call_1", "look", "1")]
    assert len(response.output()) == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"call_id": None},
        {"call_id": 3},
        {"name": None},
        {"arguments": {"a": 1}},
        {"status": "incomplete"},
        {"type": "mcp_call"},
    ],
)
def test_what_a_function_cannot_answer_is_no_call(broken) -> None:
    assert fold(completed([{**call(), **broken}])).calls() == []


def test_a_custom_tool_call_has_an_input() -> None:
    item = {"type": "custom_tool_call", "id": "ct_1", "call_id": "call_1", "name": "sql", "input": "select 1"}

    assert fold(done(item)).calls() == [ToolCall("call_1", "sql", "select 1", "custom_tool_call")]


# What was shown.


def test_shown_counts_what_was_seen_however_it_came() -> None:
    assert fold(text_delta("Hello")).shown == 5
    assert fold(text_done("Hello")).shown == 5
    assert fold(done(message("Hello"))).shown == 5
    assert (
        fold(event("response.refusal.delta", item_id="m", output_index=0, content_index=0, delta="No")).shown
        == 2
    )
    assert fold(arguments_delta("{}")).shown == 0
    assert fold(text_delta("Hello"), text_done("Hi")).shown == 5
    assert fold(text_delta("Hello"), done(message("Hi"))).shown == 5
    assert fold(text_delta("Hi"), done(message("Hello"))).shown == 5


# Totality against what people build by hand.


def test_an_unknown_event_that_bears_a_known_name_is_unknown() -> None:
    for kind in ("response.output_text.delta", "response.completed", "error", "response.created"):
        response = fold(UnknownEvent(kind, extra={"delta": 3}))

        assert (response.status, response.output()) == ("awaited", [])


def test_a_subclass_of_an_event_is_that_event() -> None:
    class MyDelta(ResponseOutputTextDelta):
        """A user's own."""

    assert fold(MyDelta(item_id="m", output_index=0, content_index=0, delta="a")).text() == "a"


def test_the_canonical_form_is_json_with_sorted_keys() -> None:
    form = fold(*STREAMED, completed([message("Hello")])).canonical()

    assert form == json.dumps(json.loads(form), sort_keys=True, separators=(",", ":")).encode()


def test_states_that_differ_have_different_canonical_forms() -> None:
    """Also where only the future can tell them apart."""
    states = [
        fold(),
        fold(created()),
        fold(created(), text_delta("a")),
        fold(created(), text_delta("a", output_index=1)),
        fold(created(), text_done("a")),
        fold(created(), done(message("a"))),
        fold(created(), done(message("a")), completed()),
        fold(created(), event("response.mcp_list_tools.completed", item_id="i", output_index=0)),
        fold(created(), event("response.mcp_list_tools.failed", item_id="i", output_index=0)),
        fold(event("keepalive", sequence_number=4)),
        fold(event("keepalive", sequence_number=4), event("keepalive", sequence_number=2)),
        ResponseAccumulator("resp_0"),
    ]

    assert len({state.canonical() for state in states}) == len(states)
