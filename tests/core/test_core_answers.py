"""Every kind of call has an answer of its own type, whatever became of it."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from openai.types.responses.response_input_item import ResponseInputItem
from pydantic import TypeAdapter

from triplane.core.answers import answers_of, shell_entry
from triplane.core.call_items import call_of
from triplane.core.items import CLIENT_CALLS, pair_of
from triplane.core.outcome import CallKind, ToolCall, ToolOutcome

ITEM = TypeAdapter[Any](ResponseInputItem)

CALLS: dict[str, dict[str, Any]] = {
    "function_call": {"name": "f", "arguments": "{}", "namespace": "n", "caller": {"type": "program", "caller_id": "p"}},
    "custom_tool_call": {"name": "f", "input": "text"},
    "shell_call": {"action": {"commands": ["ls", "pwd"], "max_output_length": 100, "timeout_ms": None}},
    "local_shell_call": {"action": {"type": "exec", "command": ["ls"], "env": {}}},
    "apply_patch_call": {"operation": {"type": "delete_file", "path": "a"}, "caller": {"type": "direct"}},
    "computer_call": {"actions": [{"type": "screenshot"}], "pending_safety_checks": []},
    "tool_search_call": {"execution": "client", "arguments": {"query": "x"}},
}  # fmt: skip
SCREEN = {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"}
CONTENT: dict[str, Any] = {
    "shell_call": (shell_entry("a", "", 0), shell_entry("", "b", 3)),
    "local_shell_call": (shell_entry("a", "", 0),),
    "computer_call": (SCREEN, {"id": "check_1", "code": "c", "message": "m"}),
    "tool_search_call": ({"type": "function", "name": "x", "parameters": {}, "strict": False, "defer_loading": True},),
}  # fmt: skip


def called(kind: str) -> ToolCall:
    call = call_of({"type": kind, "id": "item_1", "call_id": "call_1", "status": "completed", **CALLS[kind]})
    assert call is not None
    return call


def test_the_tables_are_whole() -> None:
    assert set(CLIENT_CALLS) == set(CALLS) == set(get_args(CallKind))


@pytest.mark.parametrize("outcome", ["ok", "failed", "timed_out", "denied", "cancelled", "interrupted"])
@pytest.mark.parametrize("kind", CALLS)
def test_each_answer_is_one(kind: str, outcome: Any) -> None:
    content = CONTENT.get(kind) if outcome == "ok" else None
    call = called(kind)
    answer, *remarks = answers_of([(call, ToolOutcome(outcome, "why", content=content))])

    assert CLIENT_CALLS[call.kind] == answer["type"]
    assert (kind, "call_1") == pair_of(answer), "the server joins it to the call"
    ITEM.validate_python(answer)
    if remarks:
        assert outcome != "ok"
        assert [("developer", f"The call call_1 of the tool {call.name} came to nothing. why")] == [
            (item["role"], item["content"]) for item in remarks
        ]
    else:
        assert outcome == "ok" or "why" in json.dumps(answer), "the model learns it"


def test_what_goes_back_with_an_answer() -> None:
    (answer,) = answers_of([(called("function_call"), ToolOutcome("ok", "fine"))])

    assert {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": "fine",
        "namespace": "n",
        "caller": {"type": "program", "caller_id": "p"},
    } == answer


@pytest.mark.parametrize(
    ("outcome", "output"),
    [
        (ToolOutcome("ok", "a b", content=CONTENT["shell_call"]), list(CONTENT["shell_call"])),
        # Nothing is known of any of them.
        (ToolOutcome("ok", "a"), [shell_entry("", "a", 126)] * 2),
        (ToolOutcome("interrupted", "perhaps"), [shell_entry("", "perhaps", 126)] * 2),
        (ToolOutcome("failed", "broken"), [shell_entry("", "broken", 126)] * 2),
        (ToolOutcome("timed_out", "late"), [shell_entry("", "late", None)] * 2),
        # A handler that returns an empty list.
        (ToolOutcome("ok", ""), [shell_entry("", "The command was not run: the call had ended before.", 126)] * 2),
        (
            ToolOutcome("timed_out", "late", content=(shell_entry("a", "", None),)),
            [
                shell_entry("a", "", None),
                shell_entry("", "The command was not run: the call had ended before.", None),
            ],
        ),
        (ToolOutcome("denied", "no"), [shell_entry("", "no", 126)] * 2),
    ],
)  # fmt: skip
def test_a_shell_call_has_an_entry_for_each_command(outcome: ToolOutcome, output: Any) -> None:
    (answer,) = answers_of([(called("shell_call"), outcome)])

    assert output == answer["output"]
    assert 100 == answer["max_output_length"], "the service wants it back"


def test_remarks_stand_behind_all_answers() -> None:
    failed = ToolOutcome("failed", "why")
    items = answers_of([(called("computer_call"), failed), (called("function_call"), failed)])

    assert ["computer_call_output", "function_call_output", "message"] == [item["type"] for item in items]
    assert "incomplete" == items[0]["status"]


def test_the_picture_where_there_is_none_is_one() -> None:
    (answer, _) = answers_of([(called("computer_call"), ToolOutcome("failed", "why"))])

    assert answer["output"]["image_url"].startswith("data:image/png;base64,iVBORw0KGgo")


def test_acknowledged_checks_go_back() -> None:
    (answer,) = answers_of(
        [(called("computer_call"), ToolOutcome("ok", "", content=CONTENT["computer_call"]))]
    )

    assert SCREEN == answer["output"]
    assert [{"id": "check_1", "code": "c", "message": "m"}] == answer["acknowledged_safety_checks"]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "shell_call", "call_id": "c", "environment": {"type": "container_reference", "container_id": "x"}},
        {"type": "tool_search_call", "call_id": "c", "execution": "server", "arguments": {}},
        {"type": "shell_call", "call_id": "c", "status": "incomplete", **CALLS["shell_call"]},
        {"type": "shell_call", **CALLS["shell_call"]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": None},
        {"type": "web_search_call", "call_id": "c"},
        {"type": ["shell_call"]},
    ],
)  # fmt: skip
def test_what_is_no_call_of_the_clients(item: Any) -> None:
    assert call_of(item) is None


@pytest.mark.parametrize("action", [None, 3, {}, {"commands": 3}])
def test_a_call_that_makes_no_sense_has_an_answer_too(action: Any) -> None:
    call = call_of({"type": "shell_call", "call_id": "c", "action": action})
    assert call is not None
    (answer,) = answers_of([(call, ToolOutcome("failed", "no sense", "invalid_arguments"))])

    assert [shell_entry("", "no sense", 126)] == answer["output"]


def test_names() -> None:
    assert "crm.find" == ToolCall("c", "find", "{}", namespace="crm").full_name
    assert "find" == ToolCall("c", "find", "{}", namespace="find").full_name, "loaded by a search"
    assert "find" == ToolCall("c", "find", "{}").full_name
