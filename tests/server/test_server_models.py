"""Models of one's own: what they are told, what they may say, and how they say no."""

from __future__ import annotations

import attrs
import pytest
from server_client import create

from triplane.server import FunctionCall, ModelRequest, Refused, Text, ToolOutput
from triplane.server.conversation import Conversation
from triplane.server.models import Echo, builtin_models
from triplane.server.steps import AnyItem
from triplane.server.steps.vocabulary import STEPS, step_of


@attrs.frozen
class Policy:
    """A model of a few lines."""

    decide: object
    name: str = "policy"

    def respond(self, request):
        return self.decide(request)


async def test_a_policy(connect):
    def decide(request):
        if not request.outputs:
            yield FunctionCall("add", {"a": 1, "b": 2})
        else:
            (output,) = request.outputs
            yield Text(f"{output.name} says {output.text}")

    client = await connect(model=Policy(decide))

    calls = await client.ask("add", model="any")
    turn = await client.ask(calls.outputs("3"), previous_response_id=calls.id, model="any")

    assert turn.text == "add says 3"


async def test_what_a_model_is_told(connect):
    told = []

    def decide(request):
        told.append(request)
        yield Text("ok")

    client = await connect(model=Policy(decide))
    first = await client.ask("one", model="any", instructions="Be brief.")
    await client.ask(
        "two",
        model="any",
        previous_response_id=first.id,
        tools=[
            {"type": "function", "name": "look"},
            {"type": "mcp", "server_label": "dice", "server_url": "https://a.example"},
            {"type": "web_search"},
        ],
        tool_choice="required",
        reasoning={"effort": "high"},
    )

    one, two = told
    assert (one.text, one.first_text, one.instructions, one.previous_response_id) == (
        "one",
        "one",
        "Be brief.",
        None,
    )
    assert (two.text, two.first_text, two.instructions, two.previous_response_id) == (
        "two",
        "one",
        None,
        first.id,
    )
    assert two.tool_names == ["look", "dice", "web_search"]
    assert two.setting("tool_choice") == "required"
    assert two.setting("reasoning") == {"effort": "high", "summary": None}
    assert (one.setting("tool_choice"), one.setting("no_such")) == ("auto", None)
    assert (one.outputs, one.tool_names) == ([], [])


def test_outputs_know_their_calls():
    items = [
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": ""},
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "roll", "server_label": "dice"},
        {"type": "local_shell_call", "call_id": "c2", "id": "lsh_1"},
    ]
    answers = [
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "a"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        {"type": "message", "role": "user", "content": "and"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "b"}]},
    ]
    conversation = Conversation().extended([*items, *answers])

    outputs = ModelRequest("m", None, [], conversation, answers).outputs

    assert outputs == [
        ToolOutput("local_shell_call", "lsh_1", "a", answers[0]),
        ToolOutput("roll", "mcpr_1", "", answers[1]),
        ToolOutput("look", "c1", "b", answers[3]),
    ]


# Saying no.


async def test_a_model_turns_a_request_down(connect):
    def decide(request):
        if "please" not in request.text:
            raise Refused("Say please.", code="impolite", status=422)
        yield Text("fine")

    client = await connect(model=Policy(decide))
    first = await client.ask("please", model="any")

    refused = await client.ask("now", model="any", previous_response_id=first.id)

    assert refused.types == ["error"]
    assert (refused.error["status"], refused.error["code"]) == (422, "impolite")
    assert client.server.statistics().requests_refused == 1
    assert client.server.statistics().responses_created == 1
    again = await client.ask("please", model="any", previous_response_id=first.id)
    assert again.error["code"] == "previous_response_not_found"


@pytest.mark.parametrize("late", [Refused("too late"), ValueError("a bug")])
async def test_any_other_exception_ends_the_response(connect, caplog, late):
    def decide(request):
        yield Text("so")
        raise late

    client = await connect(model=Policy(decide))

    turn = await client.ask("x", model="any")

    assert turn.types[-1] == "failed"
    assert turn.response["output"][0]["status"] == "incomplete"
    assert turn.response["error"]["code"] == "server_error"
    assert "The model 'policy' failed." in caplog.text


async def test_an_exception_before_the_first_step_ends_a_response_that_was_created(connect, caplog):
    client = await connect(model=Policy(lambda request: 1 / 0))

    turn = await client.ask("x", model="any")

    assert turn.types == ["created", "in_progress", "failed"]
    assert turn.response["error"]["message"] == "The model failed: ZeroDivisionError."


async def test_a_model_may_say_what_a_client_may_not(connect):
    item = {"type": "function_call_output", "call_id": "call_x", "output": "x", "status": "completed"}
    client = await connect(model=Policy(lambda request: [] if request.text else [AnyItem(item)]))

    turn = await client.ask([], model="any")

    assert turn.types[-1] == "completed"
    assert (await client.ask("x", model="any", previous_response_id=turn.id)).types[-1] == "completed"


@pytest.mark.parametrize("said", [["a text"], [None], [Text("a"), None], 3])
async def test_what_is_no_step_ends_the_response(connect, caplog, said):
    client = await connect(model=Policy(lambda request: said))

    assert (await client.ask("x", model="any")).types[-1] == "failed"


# Echo.


async def test_echo_says_what_the_user_said(connect):
    client = await connect()
    text = "all of it, " * 10

    turn = await client.ask(text, model="echo")

    assert turn.text == text
    assert list(builtin_models()) == ["directive", "surveyor", "mender", "echo"]
    assert Echo().name == "echo"


async def test_echo_of_nothing(connect):
    client = await connect()

    assert (await client.ask([], model="echo")).text == ""


# Which calls the client answers, over the wire.

CALLS = {
    "CALL a": ("function call", {"type": "function_call_output", "output": "x"}),
    "CUSTOM a b": ("custom tool call", {"type": "custom_tool_call_output", "output": "x"}),
    "SHELL ls": (
        "shell call",
        {
            "type": "shell_call_output",
            "output": [{"stdout": "", "stderr": "", "outcome": {"type": "timeout"}}],
        },
    ),
    'STEP local_shell_call ["ls"]': ("local shell call", {"type": "local_shell_call_output", "output": "x"}),
    'STEP apply_patch_call {"operation":"delete_file","path":"a"}': (
        "apply patch call",
        {"type": "apply_patch_call_output", "status": "completed"},
    ),
    'STEP computer_call [{"type":"screenshot"}]': (
        "computer call",
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "data:,"}},
    ),
    'STEP tool_search_call {"arguments":{}}': (
        "tool search call",
        {"type": "tool_search_output", "execution": "client", "tools": []},
    ),
    "APPROVE dice roll": ("MCP approval request", {"type": "mcp_approval_response", "approve": False}),
}


def answer_to(item, answer):
    key = "approval_request_id" if item["type"] == "mcp_approval_request" else "call_id"
    return {**answer, key: item["id" if key != "call_id" else "call_id"]}


@pytest.mark.parametrize("text", CALLS)
async def test_a_call_of_the_client_needs_its_answer(connect, text):
    words, answer = CALLS[text]
    client = await connect()
    turn = await client.ask(text, store=True)
    (item,) = turn.response["output"]
    name = item.get("call_id") or item["id"]

    missing = await client.ask("and?", previous_response_id=turn.id)
    answered = await client.ask([answer_to(item, answer)], previous_response_id=turn.id)
    alone = await client.ask([answer_to(item, answer)])

    assert missing.error["message"] == f"No tool output found for {words} {name}."
    assert (missing.error["status"], missing.error["param"]) == (400, "input")
    assert answered.text.startswith("RESULT: ")
    assert alone.error["message"].startswith(f"No tool call found for {words} output with ")
    assert alone.error["message"].endswith(f" {name}.")


@pytest.mark.parametrize(
    "text",
    [
        'STEP hosted_shell_call {"commands":["ls"],"results":[{"stdout":"a"}]}',
        'STEP tool_search_call {"arguments":{},"tools":[]}',
        'STEP function_call {"name":"a","async":true}',
        'STEP custom_tool_call {"name":"a","async":true}',
        "STEP web_search",
        'STEP program {"code":"x","result":"1"}',
    ],
)
async def test_other_calls_need_none(connect, text):
    client = await connect()
    turn = await client.ask(text)

    assert (await client.ask("and?", previous_response_id=turn.id)).text == "echo: and?"


def test_a_call_in_a_container_of_the_service_waits_for_nobody():
    hosted = {"type": "shell_call", "call_id": "s", "environment": {"type": "container_reference"}}
    output = {"type": "shell_call_output", "call_id": "s", "output": []}

    Conversation().extended([hosted]).check_answered()
    Conversation().extended([hosted, output]).check_answered()


async def test_an_async_call_may_be_answered_later(connect):
    client = await connect()
    turn = await client.ask('STEP function_call {"name":"a","async":true}')
    between = await client.ask("meanwhile", previous_response_id=turn.id)

    late = await client.ask(turn.outputs("done"), previous_response_id=between.id)

    assert late.text == 'RESULT: "done"'


async def test_an_answer_that_names_no_call(connect):
    client = await connect()
    await client.send(create([{"type": "mcp_approval_response", "approve": True}]))

    error = (await client.turn()).error

    assert (error["code"], error["param"]) == ("missing_required_parameter", "input[0].approval_request_id")


# Steps by their names.


def test_every_step_has_a_name():
    assert {"text", "function_call", "any_item", "strike", "mcp_list_tools"} <= set(STEPS)
    assert all(STEPS[name] for name in STEPS)


def test_a_fault_is_a_step_too():
    assert step_of("strike", {"fault": "drop"}).fault
    for value in ({"fault": "refuse_upgrade", "status": 500}, {"fault": "no such"}, None):
        with pytest.raises(ValueError, match="fault"):
            step_of("strike", value)
