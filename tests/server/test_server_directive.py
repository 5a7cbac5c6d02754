"""The directive model, asked directly: its language, and that it decides from the conversation alone."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triplane.server import FunctionCall, ModelRequest, NewMessage, Refused, Text, Wait, steps
from triplane.server.conversation import Conversation
from triplane.server.models import Directive


def ask(items, *, parallel=True):
    conversation = Conversation().extended(items)
    request = ModelRequest("m", None, [], conversation, items[-1:], parallel)
    return list(Directive().respond(request))


def user(text):
    return {"type": "message", "role": "user", "content": text}


def text_of(steps):
    return "".join(step.text for step in steps if isinstance(step, Text))


def calls_of(steps):
    return [(step.name, step.arguments) for step in steps if isinstance(step, FunctionCall)]


def items_of(steps, numbers):
    """The items that a server would make of these steps."""
    items = []
    for step in steps:
        if isinstance(step, NewMessage):
            items.append({"type": "message", "role": "assistant", "content": []})
        elif isinstance(step, FunctionCall):
            call_id = f"call_{next(numbers)}"
            items.append(
                {"type": "function_call", "call_id": call_id, "name": step.name, "arguments": step.arguments}
            )
    return items


def output(call, value="out"):
    return {"type": "function_call_output", "call_id": call["call_id"], "output": value}


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("CALL t {}", [("t", "{}")]),
        ("CALL t", [("t", "")]),
        ("CALL t ", [("t", "")]),
        ('CALL t {"a": 1}  ', [("t", '{"a": 1}  ')]),
        ("CALL t {}\r\n", [("t", "{}")]),
        ("  CALL t {}", [("t", "{}")]),
        ("CALL t {broken", [("t", "{broken")]),
        ('CALL t {"a":"\u2028\x0b\x85"}', [("t", '{"a":"\u2028\x0b\x85"}')]),
        ("hello\nCALL a 1\nand\nCALL b 2", [("a", "1"), ("b", "2")]),
        ("REPEAT 3 CALL t x y", [("t", "x y")]),
        ("REPEAT 1 CALL t", [("t", "")]),
        ("CALL a\nREPEAT 2 CALL b", [("a", "")]),
        ("REPEAT 0 CALL a\nCALL b", [("b", "")]),
        ("call t {}", []),
        ("CALL", []),
        ("CALLING t", []),
        ("REPEAT x CALL t", []),
        ("REPEAT 9999999999 CALL t", []),
        ("REPEAT 2 t", []),
    ],
)
def test_calls(text, calls):
    assert calls_of(ask([user(text)])) == calls


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("SAY 2 hm", [NewMessage(), Text("hm"), Text("hm")]),
        ("SAY 0 hm", [NewMessage()]),
        ("SAY 1", [NewMessage(), Text("")]),
        ("SAY 1  two spaces ", [NewMessage(), Text(" two spaces ")]),
        ("SAY 1 a\nSAY 1 b", [NewMessage(), Text("a"), NewMessage(), Text("b")]),
        ("WAIT 1500\nSAY 1 a", [Wait(1.5), NewMessage(), Text("a")]),
        ("WAIT 10\nWAIT 20\nhi", [Wait(0.01), Wait(0.02), NewMessage(), Text("echo: WAIT 10\nWAIT 20\nhi")]),
        ("SAY 1 a\nCALL t", [NewMessage("commentary"), Text("a"), FunctionCall("t", "")]),
        ("CALL t\nSAY 1 a", [FunctionCall("t", "")]),
        ("CALL a\nWAIT 1\nCALL b", [FunctionCall("a", ""), Wait(0.001), FunctionCall("b", "")]),
        ("SAY 1 a\nREPEAT 2 CALL t", [NewMessage("commentary"), Text("a"), FunctionCall("t", "")]),
    ],
)
def test_steps(text, steps):
    assert ask([user(text)]) == steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('ASYNC f {"n":1}', [steps.FunctionCall("f", '{"n":1}', asynchronous=True)]),
        ("CUSTOM grep a b ", [steps.CustomToolCall("grep", "a b ")]),
        ("SHELL ls -l", [steps.ShellCall(["ls -l"])]),
        ('APPROVE dice roll {"n":1}', [steps.McpApprovalRequest("dice", "roll", '{"n":1}')]),
        ("APPROVE dice roll", [steps.McpApprovalRequest("dice", "roll", "{}")]),
        ("REFUSE I can't.", [steps.Refusal("I can't.")]),
        ("REFUSE", [steps.Refusal("")]),
        ("REASON why\nTHINK how", [steps.Reasoning(["why"]), steps.Reasoning(text="how")]),
        ("STEP compaction", [steps.Compaction()]),
        ('STEP web_search "rivers"', [steps.WebSearch("rivers")]),
        ('STEP shell_call {"commands":["a"],"timeout_ms":5}', [steps.ShellCall(["a"], timeout_ms=5)]),
        (
            'STEP function_call {"name":"a","arguments":{"b":1},"async":true}',
            [steps.FunctionCall("a", '{"b":1}', asynchronous=True)],
        ),
        ("REASON why\nCALL a", [steps.Reasoning(["why"]), FunctionCall("a", "")]),
        ("CALL a\nREASON why", [FunctionCall("a", "")]),
        (
            "CALL a\nSHELL b\nCUSTOM c",
            [FunctionCall("a", ""), steps.ShellCall(["b"]), steps.CustomToolCall("c", "")],
        ),
        ("CALL a\nSTEP web_search", [FunctionCall("a", "")]),
        (
            'STEP tool_search_call {"arguments":{},"tools":[]}\nSAY 0',
            [steps.ToolSearchCall({}, tools=[]), NewMessage()],
        ),
        ("INCOMPLETE", [steps.Incomplete("content_filter")]),
        ("INCOMPLETE max_output_tokens", [steps.Incomplete("max_output_tokens")]),
        (
            "SAY 1 a\nFAIL server_error all is lost",
            [NewMessage(), Text("a"), steps.Fail("server_error", "all is lost")],
        ),
        ("CALL a\nERROR null oh\nCALL b", [FunctionCall("a", ""), steps.StreamError(None, "oh")]),
        ("WAIT 5\nERROR slow_down oh", [Wait(0.005), steps.StreamError("slow_down", "oh")]),
        ("REFUSED", [NewMessage(), Text("echo: REFUSED")]),
        ("FAIL", [NewMessage(), Text("echo: FAIL")]),
        ("STEP", [NewMessage(), Text("echo: STEP")]),
    ],
)
def test_everything_else_that_can_be_said(text, said):
    assert ask([user(text)]) == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("STEP dance", "no step 'dance'"),
        ("STEP text {broken", "unexpected"),
        ('STEP text {"txt":"a"}', "text has no field 'txt'; it has text, logprobs"),
        ("STEP function_call", "function_call needs a value for 'name'"),
        ("STEP text 3", "text: text must be a str, not int"),
        ("INCOMPLETE tired", "must be in"),
    ],
)
def test_a_step_that_cannot_be_is_refused(text, message):
    with pytest.raises(Refused, match=message) as caught:
        ask([user(text)])

    assert (caught.value.status, caught.value.param) == (400, "input")


def test_a_request_can_be_turned_down():
    text = "CALL a\nSAY 0\nREJECT 429 rate_limit_exceeded Try again in 1s."
    call = {"type": "function_call", "call_id": "c", "name": "a", "arguments": ""}

    assert ask([user(text)]) == [FunctionCall("a", "")]
    with pytest.raises(Refused) as caught:
        ask([user(text), call, output(call)])

    assert (caught.value.status, caught.value.code, caught.value.message) == (
        429,
        "rate_limit_exceeded",
        "Try again in 1s.",
    )


def test_calls_that_the_service_answers_do_not_count():
    hosted = {"type": "shell_call", "call_id": "s", "environment": {"type": "container_reference"}}

    assert calls_of(ask([user("CALL a\nCALL b"), hosted])) == [("a", ""), ("b", "")]


def test_nothing_to_do_is_an_echo():
    assert text_of(ask([user("x" * 30 + "y" * 60)])) == "echo: " + "y" * 60
    assert text_of(ask([{"type": "message", "role": "developer", "content": "CALL t"}])) == "echo: "


def test_only_the_last_user_message_counts():
    assert calls_of(ask([user("CALL a"), user("CALL b")])) == [("b", "")]
    assert text_of(ask([user("CALL a"), user("hi")])) == "echo: hi"


def test_parts_are_lines():
    parts = [
        {"type": "input_text", "text": "CALL a"},
        {"type": "input_image"},
        {"type": "input_text", "text": "CALL b"},
    ]

    assert calls_of(ask([user(parts)])) == [("a", ""), ("b", "")]


def test_a_wait_at_the_end_delays_the_answer():
    call = {"type": "function_call", "call_id": "c", "name": "t", "arguments": ""}
    conversation = [user("CALL t\nWAIT 50"), call, output(call)]

    assert ask(conversation) == [Wait(0.05), NewMessage(), Text('RESULT: "out"')]


@pytest.mark.parametrize("interleaved", [False, True])
def test_the_result_is_of_the_last_turn(interleaved):
    calls = [{"type": "function_call", "call_id": f"c{n}", "name": "t", "arguments": ""} for n in range(3)]
    outputs = [output(call, f"é{n}") for n, call in enumerate(calls)]
    last_turn = [calls[1], outputs[1], calls[2], outputs[2]] if interleaved else [*calls[1:], *outputs[1:]]
    conversation = [user("REPEAT 1 CALL t\nSAY 1 now\nCALL t\nCALL t"), calls[0], outputs[0], *last_turn]

    assert text_of(ask(conversation)) == 'RESULT: "é1"; "é2"'


def test_outputs_of_all_kinds_count():
    calls = [
        {"type": "shell_call", "call_id": "s"},
        {"type": "local_shell_call", "call_id": "l", "id": "lsh_1"},
        {"type": "apply_patch_call", "call_id": "p"},
        {"type": "mcp_approval_request", "id": "mcpr_1"},
        {"type": "tool_search_call", "call_id": "t", "execution": "client"},
    ]
    outputs = [
        {"type": "shell_call_output", "call_id": "s", "output": [{"stdout": "a"}]},
        {"type": "local_shell_call_output", "id": "lsh_1", "output": "b"},
        {"type": "apply_patch_call_output", "call_id": "p", "status": "failed"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
        {"type": "tool_search_output", "call_id": "t", "execution": "client", "tools": []},
    ]

    assert text_of(ask([user("hi"), *calls, *outputs])) == (
        'RESULT: [{"stdout":"a"}]; "b"; {"status":"failed"}; {"approve":true}; {"execution":"client","tools":[]}'
    )


def test_an_answered_message_is_not_answered_again():
    said = {"type": "message", "role": "assistant", "content": []}

    assert text_of(ask([user("SAY 1 once"), said])) == "echo: SAY 1 once"


word = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5)
rest = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=20)
call_line = st.tuples(st.just("CALL"), word, rest)
repeat_line = st.tuples(st.just("REPEAT"), st.integers(0, 3), word, rest)
say_line = st.tuples(st.just("SAY"), st.integers(0, 3), rest)
wait_line = st.tuples(st.just("WAIT"), st.integers(0, 99))
noise = st.tuples(
    st.just("NOISE"),
    rest.filter(lambda line: not line.lstrip().startswith(("CALL", "REPEAT", "SAY", "WAIT"))),
)
program = st.lists(st.one_of(call_line, repeat_line, say_line, wait_line, noise), max_size=8)


def write(lines):
    written = []
    for line in lines:
        match line:
            case "CALL", tool, arguments:
                written.append(f"CALL {tool} {arguments}")
            case "REPEAT", count, tool, arguments:
                written.append(f"REPEAT {count} CALL {tool} {arguments}")
            case "SAY", count, text:
                written.append(f"SAY {count} {text}")
            case "WAIT", milliseconds:
                written.append(f"WAIT {milliseconds}")
            case "NOISE", text:
                written.append(text)
    return "\n".join(written)


def expected(lines):
    """All that the program says and calls, turn by turn, by another route than the model's."""
    turns, turn = [], []
    for line in lines:
        called = any(kind == "CALL" for kind, _ in turn)
        match line:
            case "CALL", tool, arguments:
                turn.append(("CALL", (tool, arguments)))
            case "REPEAT", count, tool, arguments:
                for _ in range(count):
                    if called:
                        turns.append(turn)
                        turn = []
                    turn.append(("CALL", (tool, arguments)))
                    called = True
                if count:
                    turns.append(turn)
                    turn = []
            case "SAY", count, text:
                if called:
                    turns.append(turn)
                    turn = []
                turn.append(("SAY", text * count))
    return [*turns, turn] if turn else turns


@settings(deadline=None)
@given(program, st.booleans(), st.booleans())
def test_programs_run_to_their_end(lines, interleaved, parallel):
    """Whatever the program, its turns are all made, in order, then one answer; however the client keeps history."""
    text = write(lines)
    history = [user(text)]
    numbers = iter(range(1000))
    said, turns = [], []
    for _ in range(60):
        steps = ask(history, parallel=parallel)
        assert steps == ask(list(history), parallel=parallel)
        said.append(text_of(steps))
        if not (calls := calls_of(steps)):
            break
        turns.append(calls)
        items = items_of(steps, numbers)
        made = [item for item in items if item["type"] == "function_call"]
        if interleaved:
            for item in items:
                history += [item, output(item)] if item in made else [item]
        else:
            history += [*items, *map(output, made)]

    wanted = expected(lines)
    wanted_calls = [[what for kind, what in turn if kind == "CALL"] for turn in wanted]
    wanted_calls = [calls for calls in wanted_calls if calls]
    if not parallel:
        wanted_calls = [[call] for calls in wanted_calls for call in calls]
    assert turns == wanted_calls
    if wanted and all(kind == "SAY" for kind, _ in wanted[-1]):
        assert said[-1] == "".join(what for _, what in wanted[-1])
    elif turns:
        assert said[-1] == "RESULT: " + "; ".join(['"out"'] * len(turns[-1]))
    else:
        assert said[-1] == "echo: " + text[-60:]
    if parallel:
        everything = "".join(what for turn in wanted for kind, what in turn if kind == "SAY")
        assert "".join(said).startswith(everything)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_answered(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # JSON cannot hold it

    for step in ask([user(text)]):
        if isinstance(step, FunctionCall):
            orjson.dumps([step.name, step.arguments])
        if isinstance(step, Text):
            orjson.dumps(step.text)
            break  # there may be 999,999,999 of them
