"""What did not agree is reported: which event said otherwise, about what, and which of them counts."""

from __future__ import annotations

import pytest
from core_wire import (
    added,
    arguments_delta,
    arguments_done,
    call,
    completed,
    done,
    event,
    fold,
    message,
    reasoning,
    text_delta,
    text_done,
)

from triplane.core.differences import Difference, texts_of


def test_a_stream_that_agrees_with_itself_has_no_differences() -> None:
    response = fold(
        added(reasoning(encrypted_content=None), 0),
        done(reasoning(), 0),
        added(message("", content=[], status="in_progress"), 1),
        text_delta("Hel", 1),
        text_delta("lo", 1),
        text_done("Hello", 1),
        event(
            "response.content_part.done",
            item_id="msg_1",
            output_index=1,
            content_index=0,
            part={"type": "output_text", "text": "Hello", "annotations": []},
        ),
        done(message("Hello"), 1),
        added(call(arguments=""), 2),
        arguments_delta("{}", 2),
        arguments_done("{}", 2),
        done(call(), 2),
        completed([reasoning(), message("Hello"), call()]),
    )

    assert response.differences == ()


PART = {"type": "output_text", "text": "Hello", "annotations": []}


@pytest.mark.parametrize(
    ("events", "field", "before", "after"),
    [
        ((text_delta("Hel"), text_done("Hello")), "content[0]", "Hel", "Hello"),
        ((text_delta("a", content_index=3), text_done("b", content_index=3)), "content[3]", "a", "b"),
        ((arguments_delta("{"), arguments_done("{}")), "arguments", "{", "{}"),
        (
            (
                event("response.custom_tool_call_input.delta", item_id="i", output_index=0, delta="a"),
                event("response.custom_tool_call_input.done", item_id="i", output_index=0, input="b"),
            ),
            "input", "a", "b",
        ),
        (
            (
                event("response.code_interpreter_call_code.delta", item_id="i", output_index=0, delta="a"),
                event("response.code_interpreter_call_code.done", item_id="i", output_index=0, code="b"),
            ),
            "code", "a", "b",
        ),
        (
            (
                event("response.reasoning_summary_text.delta", item_id="i", output_index=0, summary_index=1, delta="a"),
                event("response.reasoning_summary_text.done", item_id="i", output_index=0, summary_index=1, text="b"),
            ),
            "summary[1]", "a", "b",
        ),
        (
            (
                event("response.shell_call_command.delta", output_index=0, command_index=1, delta="a"),
                event("response.shell_call_command.done", output_index=0, command_index=1, command="b"),
            ),
            "action.commands[1]", "a", "b",
        ),
        (
            (
                text_done("Bye"),
                event("response.content_part.done", item_id="msg_1", output_index=0, content_index=0, part=PART),
            ),
            "content[0]", "Bye", "Hello",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_whole_text_that_differs_from_its_deltas(events, field, before, after) -> None:
    (difference,) = fold(*events).differences

    assert (difference.by, difference.field, difference.before, difference.after, difference.kept) == (
        "part", field, before, after, "after",
    )  # fmt: skip


def test_a_part_that_was_not_streamed_differs_from_nothing() -> None:
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = fold(
        event("response.content_part.added", **at, part={**PART, "text": ""}),
        event("response.content_part.done", **at, part=PART),
    )

    assert response.text() == "Hello"
    assert response.differences == ()


def test_a_done_item_that_differs_from_what_was_streamed() -> None:
    response = fold(text_delta("Hel", 4), done(message("Hello"), 4))

    assert response.differences == (Difference("item", 4, "msg_1", "content[0]", "Hel", "Hello"),)


def test_a_text_that_the_later_one_lacks() -> None:
    response = fold(text_delta("a"), text_delta("b", content_index=1), done(message("a")))

    assert response.differences == (Difference("item", 0, "msg_1", "content[1]", "b", None),)


def test_an_empty_text_that_the_later_one_lacks_is_no_difference() -> None:
    assert fold(text_delta(""), done(message("", content=[]))).differences == ()


def test_an_item_of_the_end_that_was_never_streamed() -> None:
    response = fold(completed([message("Hello")]))

    assert response.differences == (Difference("response", 0, "msg_1", "", None, message("Hello")),)


def test_an_item_that_the_end_lacks() -> None:
    response = fold(done(message("Hello"), 2), completed([]))

    assert response.differences == (
        Difference("response", 2, "msg_1", "", message("Hello"), None, kept="before"),
    )


def test_an_item_that_the_end_has_otherwise() -> None:
    response = fold(done(message("Hello", a=1)), completed([message("Bye", b=2)]))

    assert [(each.field, each.before, each.after, each.kept) for each in response.differences] == [
        ("a", 1, None, "after"),
        ("b", None, 2, "after"),
        ("content", message("Hello")["content"], message("Bye")["content"], "after"),
    ]


def test_an_item_that_was_not_done_is_compared_by_its_texts() -> None:
    """Its skeleton and its status were never meant to last."""
    skeleton = message("", content=[], status="in_progress", vendor="beginning")
    assert fold(added(skeleton), text_delta("Hello"), completed([message("Hello")])).differences == ()

    response = fold(added(skeleton), text_delta("Hel"), completed([message("Hello")]))
    assert response.differences == (Difference("response", 0, "msg_1", "content[0]", "Hel", "Hello"),)


def test_items_are_matched_by_id_whatever_their_place() -> None:
    response = fold(
        done(message("a", "msg_1"), 0), done(message("b", "msg_2"), 1),
        completed([message("b", "msg_2"), message("a", "msg_1")]),
    )  # fmt: skip

    assert response.differences == ()


def test_items_are_matched_by_call_id_where_ids_differ() -> None:
    response = fold(
        done(call("call_1", identity="fc_x"), 0), completed([reasoning(), call("call_1", identity="fc_y")])
    )

    assert [(each.field, each.before, each.after, each.kept) for each in response.differences] == [
        ("", None, reasoning(), "after"),
        ("id", "fc_x", "fc_y", "before"),
    ]


def test_items_are_matched_by_type_and_place_where_nothing_else_tells() -> None:
    response = fold(done(message("a", "msg_x")), completed([message("a", "msg_y")]))

    assert response.differences == (Difference("response", 0, "msg_x", "id", "msg_x", "msg_y"),)
    assert response.output() == [message("a", "msg_y")]


def test_two_items_of_the_end_with_one_id_are_two() -> None:
    response = fold(done(message("a")), completed([message("a"), message("a")]))

    assert response.differences == (Difference("response", 1, "msg_1", "", None, message("a")),)


@pytest.mark.parametrize(
    ("item", "texts"),
    [
        (message("a"), {"content[0]": "a"}),
        ({"content": [{"type": "refusal", "refusal": "no", "text": "x"}]}, {"content[0]": "no"}),
        (
            {"content": [{"type": "output_text"}, None, "x", {"type": "newer", "text": "a"}]},
            {"content[3]": "a"},
        ),
        ({"content": "a", "summary": None, "arguments": 3, "action": "x"}, {}),
        ({"summary": [{"type": "summary_text", "text": "a"}]}, {"summary[0]": "a"}),
        ({"arguments": "{}", "input": "x", "code": "y"}, {"arguments": "{}", "input": "x", "code": "y"}),
        (
            {"action": {"commands": ["ls", None, "pwd"]}},
            {"action.commands[0]": "ls", "action.commands[2]": "pwd"},
        ),
        ({"action": {"commands": "ls"}}, {}),
    ],
)
def test_the_texts_of_an_item(item, texts) -> None:
    assert texts_of(item) == texts
