"""Every family of items: built from deltas with and without setup events, replaced by what is done."""

from __future__ import annotations

import pytest
from core_wire import (
    added,
    arguments_delta,
    arguments_done,
    call,
    completed,
    created,
    done,
    event,
    fold,
    incomplete,
    message,
    reasoning,
    text_delta,
    text_done,
)

from triplane.core.accumulator import _HANDLERS
from triplane.core.folds import FOLDS
from triplane.core.item_builder import PartialImage
from triplane.protocol.events._catalogue import CLASS_OF_TYPE


def at(kind: str, item_id: str = "i", output_index: int = 0, **fields):
    return event(f"response.{kind}", item_id=item_id, output_index=output_index, **fields)


def test_every_event_is_folded_or_known_to_say_nothing_about_the_output() -> None:
    silent = {
        "response.audio.done",
        "response.audio.transcript.done",
        "response.steer.accepted",
        "response.steer.pending",
        "response.steer.failed",
        "response.inject.created",
        "response.inject.failed",
    }

    assert {*FOLDS, *_HANDLERS._table} - {"triplane.undecodable_frame"} == set(CLASS_OF_TYPE) - silent


# Built from nothing but deltas: what a server that leaves the setup events out gives.

BARE = {
    "text": (
        [text_delta("Hel"), text_delta("lo")],
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
        },
    ),
    "text in two parts": (
        [text_delta("b", content_index=1), text_delta("a", content_index=0)],
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "a", "annotations": []},
                {"type": "output_text", "text": "b", "annotations": []},
            ],
        },
    ),
    "refusal": (
        [at("refusal.delta", content_index=0, delta="N"), at("refusal.delta", content_index=0, delta="o")],
        {
            "type": "message",
            "id": "i",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No"}],
        },
    ),
    "reasoning text": (
        [
            at("reasoning_text.delta", content_index=0, delta="Hm"),
            at("reasoning_text.delta", content_index=0, delta="m"),
        ],
        {
            "type": "reasoning",
            "id": "i",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hmm"}],
        },
    ),
    "reasoning summary": (
        [
            at("reasoning_summary_text.delta", summary_index=1, delta="Then."),
            at("reasoning_summary_text.delta", summary_index=0, delta="Fir"),
            at("reasoning_summary_text.delta", summary_index=0, delta="st."),
        ],
        {
            "type": "reasoning",
            "id": "i",
            "summary": [
                {"type": "summary_text", "text": "First."},
                {"type": "summary_text", "text": "Then."},
            ],
        },
    ),
    "function call": (
        [arguments_delta('{"a"'), arguments_delta(":1}")],
        {"type": "function_call", "id": "fc_1", "arguments": '{"a":1}'},
    ),
    "function call with its name at the end": (
        [arguments_done("{}", name="look")],
        {"type": "function_call", "id": "fc_1", "name": "look", "arguments": "{}"},
    ),
    "custom tool call": (
        [at("custom_tool_call_input.delta", delta="select "), at("custom_tool_call_input.delta", delta="1")],
        {"type": "custom_tool_call", "id": "i", "input": "select 1"},
    ),
    "MCP call": (
        [at("mcp_call.in_progress"), at("mcp_call_arguments.delta", delta="{}")],
        {"type": "mcp_call", "id": "i", "status": "in_progress", "arguments": "{}"},
    ),
    "MCP call that failed": (
        [at("mcp_call_arguments.done", arguments="{}"), at("mcp_call.failed")],
        {"type": "mcp_call", "id": "i", "status": "failed", "arguments": "{}"},
    ),
    "MCP tools": (
        [at("mcp_list_tools.in_progress"), at("mcp_list_tools.completed")],
        {"type": "mcp_list_tools", "id": "i"},
    ),
    "MCP tools that failed": ([at("mcp_list_tools.failed")], {"type": "mcp_list_tools", "id": "i"}),
    "web search": (
        [at("web_search_call.in_progress"), at("web_search_call.searching"), at("web_search_call.completed")],
        {"type": "web_search_call", "id": "i", "status": "completed"},
    ),
    "file search": (
        [at("file_search_call.searching")],
        {"type": "file_search_call", "id": "i", "status": "searching"},
    ),
    "code interpreter": (
        [
            at("code_interpreter_call.in_progress"),
            at("code_interpreter_call_code.delta", delta="1+"),
            at("code_interpreter_call_code.delta", delta="1"),
            at("code_interpreter_call.interpreting"),
        ],
        {"type": "code_interpreter_call", "id": "i", "status": "interpreting", "code": "1+1"},
    ),
    "image": (
        [at("image_generation_call.in_progress"), at("image_generation_call.generating")],
        {"type": "image_generation_call", "id": "i", "status": "generating"},
    ),
    "compaction": ([at("compaction.compacting")], {"type": "compaction", "id": "i"}),
    "shell call": (
        [
            event("response.shell_call_command.added", output_index=0, command_index=0, command="l"),
            event("response.shell_call_command.delta", output_index=0, command_index=0, delta="s"),
            event("response.shell_call_command.delta", output_index=0, command_index=1, delta="pwd"),
        ],
        {"type": "shell_call", "action": {"commands": ["ls", "pwd"]}},
    ),
    "shell output": (
        [
            at("shell_call_output_content.delta", command_index=1, delta={"stdout": "b"}),
            at("shell_call_output_content.delta", command_index=0, delta={"stdout": "a", "stderr": "x"}),
            at("shell_call_output_content.delta", command_index=0, delta={"stdout": "a"}),
        ],
        {
            "type": "shell_call_output",
            "id": "i",
            "output": [{"stdout": "aa", "stderr": "x"}, {"stdout": "b", "stderr": ""}],
        },
    ),
    "shell output that is whole": (
        [
            at("shell_call_output_content.delta", command_index=0, delta={"stdout": "a"}),
            at(
                "shell_call_output_content.done",
                command_index=0,
                output=[{"stdout": "ab", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
            ),
        ],
        {
            "type": "shell_call_output",
            "id": "i",
            "output": [{"stdout": "ab", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
    ),
}


@pytest.mark.parametrize("family", BARE)
def test_an_item_is_built_on_demand(family: str) -> None:
    events, item = BARE[family]

    assert fold(*events).output() == [item]


@pytest.mark.parametrize("family", BARE)
def test_the_item_that_is_done_replaces_what_was_built(family: str) -> None:
    events, built = BARE[family]
    final = {"id": "i", **built, "status": "completed", "a": "vendor's key"}
    response = fold(*events, done(final), *events)

    assert response.output() == [final]


@pytest.mark.parametrize("family", BARE)
def test_a_skeleton_may_come_first_or_late_or_twice(family: str) -> None:
    events, built = BARE[family]
    begun = {key: value for key, value in built.items() if key in ("type", "role", "name")}
    empty = {"summary": []} if built["type"] == "reasoning" else {}
    skeleton = added({"id": built.get("id", "i"), **begun, **empty, "a": "vendor's key"})
    late = [*events[:1], skeleton, *events[1:]]
    twice = [skeleton, *events, skeleton]

    (first,) = fold(skeleton, *events).output()
    assert first["a"] == "vendor's key"
    assert {**built, **first} == first, "everything that the deltas said is there"
    assert fold(*late).output() == [first]
    assert fold(*twice).output() == [first]


# Items that only begin and end.


@pytest.mark.parametrize(
    "kind",
    [
        "local_shell_call",
        "apply_patch_call",
        "computer_call",
        "tool_search_call",
        "tool_search_output",
        "program",
        "program_output",
        "mcp_approval_request",
        "additional_tools",
        "multi_agent_call",
        "multi_agent_call_output",
        "agent_message",
        "something_newer",
    ],
)
def test_other_items_come_whole(kind: str) -> None:
    item = {"type": kind, "id": "i", "call_id": "call_1", "secret": {"kept": ["as", "it", "is"]}}
    response = fold(created(), added({"type": kind, "id": "i"}), done(item))

    assert response.output() == [item]
    assert fold(created(), added(item)).output() == [item]


def test_an_item_of_a_newer_type_may_have_any_events() -> None:
    response = fold(added({"type": "agent_message", "id": "i"}), text_delta("Hi", item_id="i"))

    assert response.output() == [
        {
            "type": "agent_message",
            "id": "i",
            "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
        }
    ]


def test_items_come_in_the_order_of_their_indices_whatever_order_they_came_in() -> None:
    response = fold(done(message("c"), 20), done(call(), 7), done(reasoning(), -1))

    assert [item["type"] for item in response.output()] == ["reasoning", "function_call", "message"]


# Parts.


def test_a_part_is_announced_grows_and_is_done() -> None:
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    response = fold(
        added(message("", content=[])),
        at("content_part.added", "msg_1", content_index=0, part=part),
        text_delta("Hel"),
    )
    assert response.output()[0]["content"] == [{**part, "text": "Hel"}]

    response.apply(text_done("Hello"))
    assert response.output()[0]["content"] == [{**part, "text": "Hello"}]

    final = {**part, "text": "Hello", "annotations": [{"type": "file_path"}]}
    response.apply(at("content_part.done", "msg_1", content_index=0, part=final))
    assert response.output()[0]["content"] == [final]

    response.apply(text_delta("!"))
    response.apply(text_done("Bye"))
    response.apply(at("content_part.added", "msg_1", content_index=0, part=part))
    assert response.output()[0]["content"] == [final], "nothing replaces what is done but what is done again"


@pytest.mark.parametrize("kind", ["output_text", "refusal", "reasoning_text"])
def test_a_part_may_begin_with_text(kind: str) -> None:
    key = "refusal" if kind == "refusal" else "text"
    stem = {"output_text": "output_text", "refusal": "refusal", "reasoning_text": "reasoning_text"}[kind]
    response = fold(
        at("content_part.added", content_index=0, part={"type": kind, key: "Hel"}),
        at(f"{stem}.delta", content_index=0, delta="lo"),
    )

    (item,) = response.output()
    assert item["type"] == ("reasoning" if kind == "reasoning_text" else "message")
    assert item["content"][0][key] == "Hello"


def test_a_summary_part_is_announced_grows_and_is_done() -> None:
    part = {"type": "summary_text", "text": "Fir"}
    response = fold(
        at("reasoning_summary_part.added", summary_index=0, part=part),
        at("reasoning_summary_text.delta", summary_index=0, delta="st."),
    )
    assert response.output()[0]["summary"] == [{"type": "summary_text", "text": "First."}]

    response.apply(at("reasoning_summary_text.done", summary_index=0, text="First!"))
    assert response.output()[0]["summary"] == [{"type": "summary_text", "text": "First!"}]

    final = {"type": "summary_text", "text": "First!", "vendor": 1}
    response.apply(at("reasoning_summary_part.done", summary_index=0, part=final))
    assert response.output()[0]["summary"] == [final]


def test_a_part_that_is_done_needs_no_beginning() -> None:
    part = {"type": "output_text", "text": "Hello", "annotations": []}
    response = fold(at("content_part.done", content_index=0, part=part))

    assert response.output()[0]["content"] == [part]
    assert response.text() == "Hello"
    assert response.differences == ()


def test_another_kind_of_part_takes_the_place_of_one_that_is_not_done() -> None:
    response = fold(
        text_delta("Sure"),
        at("refusal.delta", "msg_1", content_index=0, delta="No"),
        text_delta("!"),
        at("refusal.delta", "msg_1", content_index=0, delta="Never"),
    )

    assert response.output()[0]["content"] == [{"type": "refusal", "refusal": "Never"}]


def test_a_part_of_another_kind_that_is_announced_takes_the_place_of_one_that_is_not_done() -> None:
    refusal = {"type": "refusal", "refusal": ""}
    response = fold(text_delta("Sure"), at("content_part.added", "msg_1", content_index=0, part=refusal))

    assert response.output()[0]["content"] == [refusal]


def test_a_skeleton_may_already_have_contents() -> None:
    skeleton = message("Hel", content=[None, {"type": "output_text", "text": "Hel"}], status="in_progress")
    response = fold(added(skeleton), text_delta("lo", content_index=1))
    assert response.text() == "Hello"

    response = fold(added(reasoning(summary=[{"type": "summary_text", "text": "Fir"}])))
    response.apply(at("reasoning_summary_text.delta", "rs_1", summary_index=0, delta="st"))
    assert response.output()[0]["summary"][0]["text"] == "First"

    response = fold(added(call(arguments='{"a"')), arguments_delta(":1}"))
    assert response.output()[0]["arguments"] == '{"a":1}'

    shell = {"type": "shell_call", "id": "i", "action": {"commands": ["l", 3], "timeout_ms": 5}}
    response = fold(
        added(shell), event("response.shell_call_command.delta", output_index=0, command_index=0, delta="s")
    )
    assert response.output()[0]["action"] == {"commands": ["ls", ""], "timeout_ms": 5}


@pytest.mark.parametrize("content", [None, "text", 3, [None, 3, "x"], {}], ids=repr)
def test_a_skeleton_with_strange_contents_is_left_alone(content) -> None:
    skeleton = {"type": "message", "id": "i", "content": content, "summary": content, "action": content}

    assert fold(added(skeleton)).output() == [skeleton]
    assert fold(added(skeleton), text_delta("a")).text() == "a"


# Citations and log probabilities.

CITATION = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1}


def test_citations_are_kept_by_their_index() -> None:
    response = fold(
        text_delta("a"),
        at(
            "output_text.annotation.added",
            "msg_1",
            content_index=0,
            annotation_index=1,
            annotation={"type": "newer", "x": 1},
        ),
        at("output_text.annotation.added", "msg_1", content_index=0, annotation_index=0, annotation=CITATION),
        at("output_text.annotation.added", "msg_1", content_index=0, annotation_index=2),
    )

    assert response.output()[0]["content"][0]["annotations"] == [CITATION, {"type": "newer", "x": 1}, None]


def test_a_citation_may_come_before_its_part() -> None:
    response = fold(
        at("output_text.annotation.added", "msg_1", content_index=0, annotation_index=0, annotation=CITATION),
        text_delta("a"),
    )

    assert response.output()[0]["content"] == [
        {"type": "output_text", "text": "a", "annotations": [CITATION]}
    ]


def test_citations_join_those_that_were_announced() -> None:
    part = {"type": "output_text", "text": "", "annotations": [CITATION]}
    response = fold(
        at("content_part.added", "msg_1", content_index=0, part=part),
        at(
            "output_text.annotation.added",
            "msg_1",
            content_index=0,
            annotation_index=1,
            annotation={"type": "newer"},
        ),
    )

    assert response.output()[0]["content"][0]["annotations"] == [CITATION, {"type": "newer"}]


def logprob(token: str) -> dict[str, object]:
    return {
        "token": token,
        "logprob": -0.5,
        "bytes": [1],
        "top_logprobs": [{"token": token, "logprob": -0.5}],
    }


def test_log_probabilities_of_deltas_add_up() -> None:
    response = fold(
        text_delta("a", logprobs=[logprob("a")]), text_delta("b", logprobs=[logprob("b")]), text_delta("c")
    )

    assert response.output()[0]["content"][0]["logprobs"] == [logprob("a"), logprob("b")]


@pytest.mark.parametrize(
    ("given", "kept"), [([logprob("x")], [logprob("x")]), ([], []), (..., [logprob("a")])]
)
def test_the_log_probabilities_of_the_whole_text_replace_them(given, kept) -> None:
    fields = {} if given is ... else {"logprobs": given}
    response = fold(text_delta("a", logprobs=[logprob("a")]), text_done("a", **fields))
    assert response.output()[0]["content"][0]["logprobs"] == kept

    response.apply(text_delta("b", logprobs=[logprob("b")]))
    assert response.output()[0]["content"][0]["logprobs"] == kept, "a late delta has no place"


def test_nothing_of_a_text_that_is_done_goes_into_an_item_that_is_done() -> None:
    response = fold(
        done(message("a")), text_delta("b", logprobs=[logprob("b")]), text_done("c", logprobs=[logprob("c")])
    )

    assert response.output() == [message("a")]


# Images and sound.


def image(index: int, data: str, **fields):
    return at(
        "image_generation_call.partial_image", partial_image_index=index, partial_image_b64=data, **fields
    )


def test_previews_of_images_are_kept_the_latest_of_each_number() -> None:
    response = fold(image(1, "BBBB"), image(0, "AAAA", output_format="webp"), image(1, "CCCC"))

    assert response.snapshot().partial_images == (
        PartialImage(0, "i", 0, "AAAA", "webp"),
        PartialImage(0, "i", 1, "CCCC", None),
    )
    assert response.output() == [{"type": "image_generation_call", "id": "i"}]


def test_no_preview_comes_after_the_image() -> None:
    final = {"type": "image_generation_call", "id": "i", "status": "completed", "result": "ZZZZ"}
    response = fold(image(0, "AAAA"), done(final), image(1, "BBBB"))

    assert [preview.data for preview in response.snapshot().partial_images] == ["AAAA"]
    assert response.output() == [final]


def test_sound_and_what_it_says() -> None:
    response = fold(
        event("response.audio.delta", delta="UklG"),
        event("response.audio.transcript.delta", delta="Hel"),
        event("response.audio.delta", delta="Rg=="),
        event("response.audio.transcript.delta", delta="lo"),
        event("response.audio.done"),
        event("response.audio.transcript.done"),
    )

    assert response.snapshot().audio == ("UklG", "Rg=="), "each piece is base64 by itself"
    assert response.snapshot().transcript == "Hello"
    assert response.has_output


# Indices that are used again, ids that change, and events that come late.


def test_an_item_that_is_done_takes_no_more() -> None:
    response = fold(
        done(call()),
        arguments_delta("x"),
        arguments_done("y"),
        added(call(arguments="")),
        at("content_part.added", "fc_1", content_index=0, part={"type": "output_text", "text": "x"}),
        at("content_part.done", "fc_1", content_index=0, part={"type": "output_text", "text": "x"}),
        at(
            "reasoning_summary_part.added",
            "fc_1",
            summary_index=0,
            part={"type": "summary_text", "text": "x"},
        ),
        at(
            "reasoning_summary_part.done", "fc_1", summary_index=0, part={"type": "summary_text", "text": "x"}
        ),
        at("reasoning_summary_text.delta", "fc_1", summary_index=0, delta="x"),
        at("output_text.annotation.added", "fc_1", content_index=0, annotation_index=0),
        at("shell_call_output_content.delta", "fc_1", command_index=0, delta={}),
        at("shell_call_output_content.done", "fc_1", command_index=0, output=[]),
        at("web_search_call.searching", "fc_1"),
        event("response.shell_call_command.added", output_index=0, command_index=0, command="ls"),
        event("response.shell_call_command.delta", output_index=0, command_index=0, delta="ls"),
        event("response.shell_call_command.done", output_index=0, command_index=0, command="ls"),
    )

    assert response.output() == [call()]


def test_an_index_that_is_used_again_has_both_items() -> None:
    """Some servers put every item at index 0."""
    response = fold(
        done(message("a", "msg_1")), text_delta("b", item_id="msg_2"), done(message("b", "msg_2")),
        added(call(arguments="")), arguments_delta("{}"), done(call()),
    )  # fmt: skip

    assert response.output() == [message("a", "msg_1"), message("b", "msg_2"), call()]


def test_an_index_that_is_used_again_by_an_item_that_is_done_at_once() -> None:
    response = fold(done(message("a", "msg_1")), done(message("b", "msg_2")), done(reasoning("msg_2")))

    assert response.output() == [message("a", "msg_1"), message("b", "msg_2"), reasoning("msg_2")]


def test_deltas_of_another_kind_of_item_begin_another_item() -> None:
    response = fold(text_delta("a"), arguments_delta("{}"), text_delta("b"))

    assert [item["type"] for item in response.output()] == ["message", "function_call", "message"]
    assert response.text() == "ab"


def test_a_skeleton_that_nothing_followed_gives_way() -> None:
    response = fold(
        added(message("", "msg_1", content=[])), added(message("", "msg_2", content=[])), text_delta("a")
    )

    assert [item["id"] for item in response.output()] == ["msg_2"]


def test_a_skeleton_that_something_followed_stays() -> None:
    response = fold(
        added(message("", "msg_1", content=[])), text_delta("a"), added(message("", "msg_2", content=[]))
    )

    assert [item["id"] for item in response.output()] == ["msg_1", "msg_2"]


def test_a_server_may_make_up_an_id_for_each_event() -> None:
    response = fold(
        added(message("", "x1", content=[])), text_delta("a", item_id="x2"), text_delta("b", item_id="x3"),
        text_done("ab", item_id="x4"), done(message("ab", "x5")),
    )  # fmt: skip

    assert response.output() == [message("ab", "x5")]
    assert response.differences == ()


def test_an_item_that_is_done_again_is_the_later_one() -> None:
    response = fold(done(message("a")), done(message("b")))

    assert response.output() == [message("b")]
    assert response.shown == 1


def test_a_call_that_is_done_again_is_the_first_one() -> None:
    response = fold(done(call(arguments="1")), done(call(arguments="2")))

    assert response.output() == [call(arguments="1")]
    (difference,) = response.differences
    assert (difference.by, difference.before, difference.after, difference.kept) == (
        "item",
        "1",
        "2",
        "before",
    )


def test_items_without_ids_are_told_by_their_index() -> None:
    bare = {"type": "message", "role": "assistant", "content": []}
    response = fold(
        added(bare),
        text_delta("a", item_id=""),
        done({**bare, "content": [{"type": "refusal", "refusal": "a"}]}),
    )

    assert response.output() == [{**bare, "content": [{"type": "refusal", "refusal": "a"}]}]
    assert response.text() == "a"


# What the end makes of items that were not done.


@pytest.mark.parametrize(
    ("status", "after"), [("in_progress", "completed"), ("incomplete", "incomplete"), (None, None)]
)
def test_a_completed_response_completes_its_items(status, after) -> None:
    skeleton = message("", content=[], status=status)
    response = fold(added(skeleton), text_delta("a"), completed())

    assert response.output()[0]["status"] == after


def test_no_status_is_made_up() -> None:
    assert "status" not in fold(text_delta("a"), completed()).output()[0]
    for hosted in ("mcp_list_tools.in_progress", "compaction.compacting"):
        assert "status" not in fold(at(hosted), incomplete("x")).output()[0]


@pytest.mark.parametrize("kind", ["message", "reasoning", "function_call", "custom_tool_call"])
def test_what_a_response_ends_in_the_middle_of_is_incomplete(kind) -> None:
    (item,) = fold(added({"type": kind, "id": "i"}), incomplete("max_output_tokens")).output()

    assert item["status"] == "incomplete"
