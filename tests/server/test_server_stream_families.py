"""What each step becomes: which events, in which order, and which items."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import orjson
import pytest
from openai.types.responses import Response, ResponseOutputItem
from pydantic import TypeAdapter
from server_client import event_models, tokens, validate

from triplane import server
from triplane.server import steps
from triplane.server.conversation import Conversation
from triplane.server.ids import Ids
from triplane.server.requests import parse_create
from triplane.server.stream import ResponseStream
from triplane.server.websocket.state import Resolved

ITEM = TypeAdapter(ResponseOutputItem)


@attrs.frozen
class Says:
    """A model that says always the same."""

    steps: Iterable[steps.Step]
    name: str = "says"

    def respond(self, request):
        return self.steps


def stream_of(*said, stream_id=None, pace=None, **fields):
    create = parse_create({"type": "response.create", "model": "m", "input": "hello", **fields})
    resolved = Resolved(create, Conversation().extended(create.items, create.items_bytes), 0)
    return ResponseStream(resolved, Says(said), ids=Ids(""), now=lambda: 5, stream_id=stream_id, pace=pace)


def play(*said, **options):
    """All events, each validated against openai's own model of it."""
    events = [orjson.loads(event) for event in stream_of(*said, **options).play() if isinstance(event, bytes)]
    for event in events:
        validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def short(event_type):
    return event_type.removeprefix("response.")


ADDED, DONE = "output_item.added", "output_item.done"
PART_ADDED, PART_DONE = "content_part.added", "content_part.done"
LONG = "x" * 30  # two deltas

# Each family: what is said, the events of it, and the types of the items.
FAMILIES = {
    "text": (
        [steps.Text("a"), steps.Text("b")],
        f"{ADDED} {PART_ADDED} output_text.delta output_text.delta output_text.done {PART_DONE} {DONE}",
        "message",
    ),
    "empty message": (
        [steps.NewMessage()],
        f"{ADDED} {PART_ADDED} output_text.done {PART_DONE} {DONE}",
        "message",
    ),
    "logprobs": (
        [steps.Text("a", [steps.Logprob("a", -0.5, [steps.Logprob("a", -0.5), steps.Logprob("b", -3)])])],
        f"{ADDED} {PART_ADDED} output_text.delta output_text.done {PART_DONE} {DONE}",
        "message",
    ),
    "annotations": (
        [
            steps.Text("see there"),
            steps.UrlCitation("https://a.example", "A", 0, 3),
            steps.FileCitation("file_1", "a.txt", 2),
            steps.ContainerFileCitation("cntr_1", "file_1", "a.txt", 0, 3),
            steps.FilePath("file_1", 4),
        ],
        f"{ADDED} {PART_ADDED} output_text.delta"
        + " output_text.annotation.added" * 4
        + f" output_text.done {PART_DONE} {DONE}",
        "message",
    ),
    "refusal": (
        [steps.Refusal("I "), steps.Refusal("can't")],
        f"{ADDED} {PART_ADDED} refusal.delta refusal.delta refusal.done {PART_DONE} {DONE}",
        "message",
    ),
    "text and refusal": (
        [steps.Text("well"), steps.Refusal("no")],
        (
            f"{ADDED} {PART_ADDED} output_text.delta output_text.done {PART_DONE}"
            f" {PART_ADDED} refusal.delta refusal.done {PART_DONE} {DONE}"
        ),
        "message",
    ),
    "reasoning summary": (
        [steps.Reasoning([LONG, "two"])],
        (
            f"{ADDED} reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.delta"
            " reasoning_summary_text.done reasoning_summary_part.done reasoning_summary_part.added"
            f" reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done {DONE}"
        ),
        "reasoning",
    ),
    "reasoning text": (
        [steps.Reasoning(text="hm")],
        f"{ADDED} {PART_ADDED} reasoning_text.delta reasoning_text.done {PART_DONE} {DONE}",
        "reasoning",
    ),
    "hidden reasoning": ([steps.Reasoning()], f"{ADDED} {DONE}", "reasoning"),
    "function call": (
        [steps.FunctionCall("look", LONG)],
        f"{ADDED} function_call_arguments.delta function_call_arguments.delta function_call_arguments.done {DONE}",
        "function_call",
    ),
    "custom tool call": (
        [steps.CustomToolCall("look", "free text")],
        f"{ADDED} custom_tool_call_input.delta custom_tool_call_input.done {DONE}",
        "custom_tool_call",
    ),
    "tool search of the client": (
        [steps.ToolSearchCall({"query": "x"})],
        f"{ADDED} {DONE}",
        "tool_search_call",
    ),
    "tool search of the service": (
        [steps.ToolSearchCall({"query": "x"}, tools=[])],
        f"{ADDED} {DONE} {ADDED} {DONE}",
        "tool_search_call tool_search_output",
    ),
    "shell call": (
        [steps.ShellCall(["ls", LONG], timeout_ms=5, max_output_length=10)],
        (
            f"{ADDED} shell_call_command.added shell_call_command.delta shell_call_command.done"
            " shell_call_command.added shell_call_command.delta shell_call_command.delta shell_call_command.done"
            f" {DONE}"
        ),
        "shell_call",
    ),
    "hosted shell": (
        [
            steps.HostedShellCall(
                ["ls", "sleep 99"], [steps.ShellResult("a\n", "oh"), steps.ShellResult(exit_code=None)]
            )
        ],
        f"{ADDED}"
        + " shell_call_command.added shell_call_command.delta shell_call_command.done" * 2
        + f" {DONE} {ADDED} shell_call_output_content.delta shell_call_output_content.delta"
        f" shell_call_output_content.done shell_call_output_content.done {DONE}",
        "shell_call shell_call_output",
    ),
    "local shell": (
        [steps.LocalShellCall(["ls", "-l"], env={"A": "1"}, working_directory="/")],
        f"{ADDED} {DONE}",
        "local_shell_call",
    ),
    "apply patch": (
        [steps.ApplyPatchCall("create_file", "a.txt", "+a")],
        f"{ADDED} {DONE}",
        "apply_patch_call",
    ),
    "apply patch, deletion": (
        [steps.ApplyPatchCall("delete_file", "a.txt")],
        f"{ADDED} {DONE}",
        "apply_patch_call",
    ),
    "computer": (
        [steps.ComputerCall([{"type": "screenshot"}], [{"id": "check_1"}])],
        f"{ADDED} {DONE}",
        "computer_call",
    ),
    "web search": (
        [steps.WebSearch("weather", ["https://a.example"])],
        f"{ADDED} web_search_call.in_progress web_search_call.searching web_search_call.completed {DONE}",
        "web_search_call",
    ),
    "web search, page": (
        [steps.WebSearch(action={"type": "open_page", "url": "https://a.example"})],
        f"{ADDED} web_search_call.in_progress web_search_call.searching web_search_call.completed {DONE}",
        "web_search_call",
    ),
    "web search, failed": (
        [steps.WebSearch("weather", status="failed")],
        f"{ADDED} web_search_call.in_progress web_search_call.searching {DONE}",
        "web_search_call",
    ),
    "file search": (
        [
            steps.FileSearch(
                ["a"], results=[{"file_id": "file_1", "filename": "a", "score": 0.5, "text": "t"}]
            )
        ],
        f"{ADDED} file_search_call.in_progress file_search_call.searching file_search_call.completed {DONE}",
        "file_search_call",
    ),
    "code interpreter": (
        [steps.CodeInterpreter("print(1)", [{"type": "logs", "logs": "1\n"}])],
        (
            f"{ADDED} code_interpreter_call.in_progress code_interpreter_call_code.delta code_interpreter_call_code.done"
            f" code_interpreter_call.interpreting code_interpreter_call.completed {DONE}"
        ),
        "code_interpreter_call",
    ),
    "image": (
        [steps.ImageGeneration(partials=["AAAA", "BBBB"])],
        (
            f"{ADDED} image_generation_call.in_progress image_generation_call.generating"
            " image_generation_call.partial_image image_generation_call.partial_image"
            f" image_generation_call.completed {DONE}"
        ),
        "image_generation_call",
    ),
    "image, failed": (
        [steps.ImageGeneration(error={"type": "image_generation_user_error", "message": "no"})],
        f"{ADDED} image_generation_call.in_progress image_generation_call.generating {DONE}",
        "image_generation_call",
    ),
    "audio": (
        [steps.Audio("AAAA", "hello")],
        "audio.delta audio.transcript.delta audio.done audio.transcript.done",
        "",
    ),
    "mcp tools": (
        [steps.McpListTools("dice", [{"name": "roll", "input_schema": {"type": "object"}}])],
        f"{ADDED} mcp_list_tools.in_progress mcp_list_tools.completed {DONE}",
        "mcp_list_tools",
    ),
    "mcp tools, failed": (
        [steps.McpListTools("dice", error="gone")],
        f"{ADDED} mcp_list_tools.in_progress mcp_list_tools.failed {DONE}",
        "mcp_list_tools",
    ),
    "mcp call": (
        [steps.McpCall("dice", "roll", '{"n":2}', output="7")],
        f"{ADDED} mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.completed {DONE}",
        "mcp_call",
    ),
    "mcp call, failed": (
        [steps.McpCall("dice", "roll", error={"type": "http_error", "code": 500, "message": "no"})],
        f"{ADDED} mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.failed {DONE}",
        "mcp_call",
    ),
    "mcp approval": ([steps.McpApprovalRequest("dice", "roll")], f"{ADDED} {DONE}", "mcp_approval_request"),
    "compaction": ([steps.Compaction()], f"{ADDED} compaction.compacting {DONE}", "compaction"),
    "program": (
        [steps.Program("x()", result="1")],
        f"{ADDED} {DONE} {ADDED} {DONE}",
        "program program_output",
    ),
    "late result of a program": ([steps.ProgramOutput("call_1", "1")], f"{ADDED} {DONE}", "program_output"),
    "any item": (
        [steps.AnyItem({"type": "additional_tools", "role": "developer", "tools": []})],
        f"{ADDED} {DONE}",
        "additional_tools",
    ),
    "any event": ([steps.AnyEvent("response.queued", {"response": {}})], "queued", ""),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_events_of_each_family(family):
    said, types, item_types = FAMILIES[family]
    stream = stream_of(*said)

    events = [orjson.loads(event) for event in stream.play()]

    if family != "any event":
        for event in events:
            validate(event)
    assert [short(event["type"]) for event in events] == [
        "created",
        "in_progress",
        *types.split(),
        "completed",
    ]
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == item_types.split()
    for item in output:
        ITEM.validate_python(item, strict=True)
    Response.model_validate(events[-1]["response"], strict=True)
    done = [event for event in events if short(event["type"]) == DONE]
    assert [event["item"] for event in done] == output
    assert [event["output_index"] for event in done] == list(range(len(output)))
    for event in events:
        if "item_id" in event:
            assert event["item_id"] == output[event["output_index"]]["id"]
    assert len({item["id"] for item in output}) == len(output)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "any event"])
def test_every_event_and_item_of_a_lane_and_an_agent_names_them(family):
    said = FAMILIES[family][0]
    create = parse_create(
        {"type": "response.create", "model": "m", "input": "x", "multi_agent": {"enabled": True}}
    )
    resolved = Resolved(create, Conversation().extended(create.items), 0)
    model = Says(said)
    stream = ResponseStream(resolved, model, ids=Ids(""), now=lambda: 5, stream_id="a.b", injection_wait=1)

    events = [orjson.loads(event) for event in stream.play() if isinstance(event, bytes)]

    assert {event["stream_id"] for event in events} == {"a.b"}
    agent = {"agent_name": "/root"}
    assert all(("agent" in event) != ("response" in event) for event in events)
    assert all(event["item"]["agent"] == agent for event in events if "item" in event)


# What no step becomes, and why.
ELSEWHERE = {
    "response.inject.created": "the multi-agent beta; not one of the 62",
    "response.inject.failed": "the multi-agent beta; not one of the 62",
    "response.steer.accepted": "steering",
    "response.steer.pending": "steering",
    "response.steer.failed": "steering",
    "response.queued": "background responses, of which this server has none; `AnyEvent` says it",
}


def test_every_event_type_is_produced():
    produced = {f"response.{short}" for _, types, _ in FAMILIES.values() for short in types.split()}
    produced -= {"response.queued"}
    endings = [steps.Incomplete(), steps.Fail(), steps.StreamError(), steps.Wait(0)]
    produced |= {event["type"] for ending in endings for event in play(ending)}

    assert len(produced | set(ELSEWHERE)) == 62 + 2
    assert set(event_models()) <= produced | set(ELSEWHERE)
    assert not produced & set(ELSEWHERE)


def test_every_step_is_in_the_table():
    said = {type(step) for said, _, _ in FAMILIES.values() for step in said}
    said |= {steps.Incomplete, steps.Fail, steps.StreamError, steps.Wait, steps.Strike}

    assert {getattr(steps, name) for name in steps.__all__} - said == {
        steps.Step,
        steps.Annotation,
        steps.Logprob,
        steps.ShellResult,
    }


def items_of(*said, **fields):
    return play(*said, **fields)[-1]["response"]["output"]


def test_calls_say_only_what_they_were_told_to():
    plain, full = items_of(
        steps.FunctionCall("a"),
        steps.FunctionCall(
            "b",
            call_id="call_b",
            namespace="n",
            asynchronous=True,
            caller={"type": "program", "caller_id": "call_p"},
        ),
    )

    assert not {"namespace", "async", "caller"} & set(plain)
    assert full["call_id"] == "call_b"
    assert (full["namespace"], full["async"], full["caller"]["caller_id"]) == ("n", True, "call_p")


def test_encrypted_reasoning_is_sent_when_the_item_is_done():
    one, two, again, given = (
        play(step)
        for step in (
            steps.Reasoning(["a"]),
            steps.Reasoning(["b"]),
            steps.Reasoning(["a"]),
            steps.Reasoning(["a"], encrypted_content="gAAA"),
        )
    )

    def encrypted(events):
        (added,) = [event["item"] for event in events if short(event["type"]) == ADDED]
        assert "encrypted_content" not in added
        return events[-1]["response"]["output"][0]["encrypted_content"]

    assert encrypted(one) == encrypted(again) != encrypted(two)
    assert encrypted(given) == "gAAA"


def test_what_a_hosted_shell_wrote():
    call, output = items_of(*FAMILIES["hosted shell"][0])

    assert call["environment"] == {"type": "container_reference", "container_id": "cntr_local"}
    assert output["call_id"] == call["call_id"]
    assert output["output"] == [
        {"stdout": "a\n", "stderr": "oh", "outcome": {"type": "exit", "exit_code": 0}},
        {"stdout": "", "stderr": "", "outcome": {"type": "timeout"}},
    ]


def test_each_part_of_a_message_has_its_index():
    events = play(steps.Text("a"), steps.Refusal("no"), steps.Text("b"))

    indexes = [event["content_index"] for event in events if "content_index" in event]
    assert indexes == sorted(indexes)
    assert set(indexes) == {0, 1, 2}


def test_annotations_and_logprobs_stay_with_their_part():
    (message,) = items_of(
        steps.Text("a", [steps.Logprob("a", -1)]),
        steps.UrlCitation("https://a.example"),
        steps.Refusal("no"),
        steps.Text("b"),
        steps.FilePath("file_1"),
    )

    first, refusal, second = message["content"]
    assert ([each["type"] for each in first["annotations"]], len(first["logprobs"])) == (["url_citation"], 1)
    assert refusal == {"type": "refusal", "refusal": "no"}
    assert ([each["type"] for each in second["annotations"]], second["logprobs"]) == (["file_path"], [])


# Endings.


def test_incomplete_cuts_the_message_off():
    events = play(steps.Text("I was about"), steps.Incomplete("content_filter"), steps.Text("never"))

    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "content_filter"},
    )
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "I was about"
    assert response["usage"]["output_tokens"] == 3


def test_failed_says_why_and_has_no_usage():
    events = play(steps.Text("I was"), steps.Fail("rate_limit_exceeded", "Slow down."))

    response = events[-1]["response"]
    assert events[-1]["type"] == "response.failed"
    assert response["error"] == {"code": "rate_limit_exceeded", "message": "Slow down."}
    assert response["usage"] is None


def test_after_an_error_no_event_follows():
    events = play(steps.Text("I was"), steps.StreamError("server_is_overloaded", "Too much."), stream_id="a")

    assert [short(event["type"]) for event in events[-2:]] == ["output_text.delta", "error"]
    assert events[-1] == {
        "type": "error",
        "sequence_number": len(events) - 1,
        "stream_id": "a",
        "error": {
            "type": "server_error",
            "code": "server_is_overloaded",
            "message": "Too much.",
            "param": None,
        },
    }


# How much a model may write.


def ended(events):
    response = events[-1]["response"]
    return short(events[-1]["type"]), (response["incomplete_details"] or {}).get("reason")


CUT = ("incomplete", "max_output_tokens")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([steps.Text("x" * 17)], "incomplete"),
        ([steps.Text("x" * 10), steps.Text("x" * 10)], "incomplete"),
        ([steps.Refusal("x" * 20)], "incomplete"),
        ([steps.FunctionCall("call", "x" * 13)], "incomplete"),
        ([steps.CustomToolCall("call", "x" * 13)], "incomplete"),
        ([steps.ShellCall(["x" * 10, "x" * 10, "x"])], "incomplete"),
        ([steps.Reasoning(["x" * 10, "x" * 10, "x"], "never")], "incomplete"),
        ([steps.Reasoning(["x" * 10], "x" * 7)], "incomplete"),
        ([steps.CodeInterpreter("x" * 20)], "incomplete"),
        ([steps.McpCall("dice", "roll", "x" * 20)], "incomplete"),
        ([steps.Text("x" * 16), steps.FunctionCall("never")], "incomplete"),
        ([steps.WebSearch("x" * 10), steps.WebSearch("x" * 10)], "completed"),
    ],
)
def test_no_more_is_written_than_may_be(said, status):
    events = play(*said, max_output_tokens=4)

    response = events[-1]["response"]
    assert ended(events) == CUT
    assert response["output"][-1]["status"] == status
    assert len(response["output"]) == 1
    assert response["usage"]["output_tokens"] <= 4
    assert "never" not in str(events)


def test_what_is_cut_is_cut_between_characters():
    (message,) = items_of(steps.Text("ééé"), max_output_tokens=1)

    assert message["content"][0]["text"] == "éé"


@pytest.mark.parametrize("after", [[], [steps.Wait(0)], [steps.UrlCitation("https://a.example")]])
def test_all_that_may_be_written_is_no_reason_to_end(after):
    assert ended(play(steps.Text("x" * 16), *after, max_output_tokens=4)) == ("completed", None)


def test_a_response_that_may_write_nothing():
    events = play(steps.Text("x"), max_output_tokens=0)

    assert ended(events) == CUT
    assert events[-1]["response"]["output"] == []


# What it costs.


def test_usage_counts_what_the_model_wrote_and_thought():
    said = [steps.Reasoning(["12345678"], "1234"), steps.FunctionCall("name", "1234"), steps.Text("éé")]

    usage = play(*said)[-1]["response"]["usage"]

    assert usage["output_tokens"] == (12 + 8 + 4) // 4
    assert usage["output_tokens_details"]["reasoning_tokens"] == 12 // 4
    assert usage["input_tokens"] == tokens([{"type": "message", "role": "user", "content": "hello"}])
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


# Steps that cannot be.


@pytest.mark.parametrize(
    "make",
    [
        lambda: steps.Text(3),
        lambda: steps.Text("\ud800"),
        lambda: steps.NewMessage("loud"),
        lambda: steps.Wait(-1),
        lambda: steps.Wait("1"),
        lambda: steps.FunctionCall("a", []),
        lambda: steps.FunctionCall("a", caller="me"),
        lambda: steps.FunctionCall("a", asynchronous=1),
        lambda: steps.ShellCall("ls"),
        lambda: steps.ShellCall([1]),
        lambda: steps.ShellCall([], timeout_ms=-1),
        lambda: steps.LocalShellCall(["ls"], env={"A": 1}),
        lambda: steps.ApplyPatchCall("rename", "a"),
        lambda: steps.ComputerCall({"type": "screenshot"}),
        lambda: steps.ComputerCall([{"type": {1}}]),
        lambda: steps.ToolSearchCall({}, tools=["a"]),
        lambda: steps.HostedShellCall(["ls"], [steps.ShellResult(), steps.ShellResult()]),
        lambda: steps.WebSearch("a", status="lost"),
        lambda: steps.UrlCitation(""),
        lambda: steps.UrlCitation("https://a.example", start_index=-1),
        lambda: steps.McpCall("", "roll"),
        lambda: steps.Incomplete("steered"),
        lambda: steps.AnyItem([]),
        lambda: steps.AnyEvent(""),
    ],
)
def test_a_step_that_cannot_be_is_refused_where_it_is_made(make):
    with pytest.raises((TypeError, ValueError)):
        make()


def test_every_step_can_be_had_from_the_server():
    assert [getattr(steps, name) for name in steps.__all__] == [
        getattr(server, name) for name in steps.__all__
    ]
