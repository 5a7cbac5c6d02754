"""Scripts as YAML files: what they say, and where they are wrong."""

from __future__ import annotations

import re

import pytest
from server_client import create

from triplane.server import Expect, Refused, Script, Text, Wait, steps
from triplane.server.conversation import Conversation
from triplane.server.model import ModelRequest

script_file = pytest.importorskip("triplane.testing.script_file", exc_type=ImportError)


def request(text="hi", new=(), **fields):
    items = [{"type": "message", "role": "user", "content": text}, *new]
    return ModelRequest("m", None, [], Conversation().extended(items), new or items, **fields)


def parse(text):
    return script_file.parse_script(text, source="my.yaml")


def says(text):
    """The steps of a turn that `text` says."""
    return list(parse(f"turns:\n- {text}").respond(request()))


FULL = """
name: survey
turns:
  - expect: What is at x?
    says:
      - reasoning: [Let me see.]
      - function_call: {name: look, arguments: {at: x}}
  - expect:
      outputs: {look: {search: "^re"}}
      previous_response_id: true
      settings: {store: false}
    name: the answer
    says: [It is , red.]
"""


async def test_a_script_from_a_file(connect, tmp_path):
    path = tmp_path / "survey.yaml"
    path.write_text(FULL)
    script = script_file.load_script(path)
    client = await connect(model=script)

    calls = await client.ask("What is at x?", model="any")
    turn = await client.ask(calls.outputs("red"), previous_response_id=calls.id, model="survey")

    assert calls.response["output"][0]["summary"] == [{"type": "summary_text", "text": "Let me see."}]
    assert calls.calls[0]["arguments"] == '{"at":"x"}'
    assert turn.text == "It isred."
    script.assert_done()
    assert script.name == "survey"


async def test_several_conversations_from_a_file(connect):
    text = """
    conversations:
      - match: I am a
        turns: [hello a, bye a]
      - match: {instructions: {search: brief}}
        name: the brief one
        turns:
          - {says: b, times: 2}
    """
    client = await connect(model=parse(text))

    one = await client.ask("I am a", model="m")
    two = await client.ask("and", model="m", instructions="Be brief.")
    three = await client.ask("bye", model="m", previous_response_id=one.id, store=True)
    await client.send(create("who", model="m"))

    assert (one.text, two.text) == ("hello a", "b")
    assert three.error["code"] == "previous_response_not_found"
    assert "not of the brief one" in (await client.turn()).error["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", [Text("hello")]),
        ("[a, b]", [Text("a"), Text("b")]),
        ("{says: a}", [Text("a")]),
        ("says: no", [Text("no")]),
        ("[{wait: 1.5}]", [Wait(1.5)]),
        ("[{incomplete: }]", [steps.Incomplete()]),
        ("[{incomplete: max_output_tokens}]", [steps.Incomplete("max_output_tokens")]),
        ("[{shell_call: [ls, -l]}]", [steps.ShellCall(["ls", "-l"])]),
        ("[{function_call: {name: a, arguments: {on: off}}}]", [steps.FunctionCall("a", '{"on":"off"}')]),
        (
            "[{function_call: {name: a, arguments: {a: 010, b: true, c: null, d: [1.5, 1e3]}}}]",
            [steps.FunctionCall("a", '{"a":10,"b":true,"c":null,"d":[1.5,1000.0]}')],
        ),
        ("[{function_call: {name: a, async: true}}]", [steps.FunctionCall("a", asynchronous=True)]),
        ("[{any_item: {item: {type: program_output}}}]", [steps.AnyItem({"type": "program_output"})]),
        ("[]", []),
    ],
)
def test_what_a_turn_can_say(text, said):
    assert says(text) == said


@pytest.mark.parametrize(
    ("expect", "same"),
    [
        ("hi", Expect(text="hi")),
        ("{search: h.}", Expect(text=re.compile("h."))),
        ("{text: hi, model: m}", Expect(text="hi", model="m")),
        ("{first_text: ~}", Expect(first_text=None)),
        ("{tools: [a, b]}", Expect(tools=["a", "b"])),
        ("{outputs: []}", Expect(outputs=[])),
        ("{outputs: [a, {search: b}]}", Expect(outputs=["a", re.compile("b")])),
        ("{outputs: {a: ~}}", Expect(outputs={"a": None})),
        ("{settings: {tool_choice: required}}", Expect(settings={"tool_choice": "required"})),
    ],
)
def test_what_a_turn_can_expect(expect, same):
    script = parse(f"turns: [{{says: x, expect: {expect}}}]")

    assert script._threads[0]._turns[0].expect == same


def test_an_unexpected_request_is_refused_like_one_of_a_script_in_python():
    script = parse("turns: [{says: x, expect: ho}]")

    with pytest.raises(Refused, match="expected 'ho', came 'hi'"):
        script.respond(request())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.yaml: it is empty"),
        ("turns: [", "my.yaml:1: "),
        ("- a", "my.yaml:1: a script must be a mapping"),
        ("name: a", "my.yaml:1: a script has turns or conversations"),
        ("turns: []\nturn: []", "my.yaml:2: a script has no turn; it has name, turns, conversations"),
        ("turns: []\nturns: []", "my.yaml:2: turns is there twice"),
        ("turns: a", "my.yaml:1: turns must be a list"),
        ("turns:\n- a\n- {expect: b}", "my.yaml:3: a turn needs says"),
        ("turns:\n- {says: a, times: b}", "my.yaml:2: times must be a whole number"),
        ("turns:\n- {says: a, times: 0}", "my.yaml:2: 'times' must be >= 1: 0"),
        ("turns:\n- {says: 3}", "my.yaml:2: a step must be a text"),
        ("turns:\n- [{text: a, wait: 1}]", "my.yaml:2: a step is a text, or one name with its value"),
        ("turns:\n-\n  - dance: 3", "my.yaml:3: no step 'dance'; there are any_event, "),
        ("turns:\n-\n  - text:\n      txt: a", "my.yaml:4: text has no field 'txt'; it has text, logprobs"),
        ("turns:\n-\n  - function_call:", "my.yaml:3: function_call needs a value for 'name'"),
        ("turns:\n-\n  - wait: -1", "my.yaml:3: wait: 'seconds' must be >= 0: -1"),
        ("turns:\n- says: a\n  expect: {txt: b}", "my.yaml:3: expect has no txt; it has text, first_text, "),
        ("turns:\n- says: a\n  expect: {text: {search: '('}}", "my.yaml:3: no regular expression"),
        (
            "turns:\n- says: a\n  expect: {text: {find: b}}",
            "my.yaml:3: what is expected has no find; it has search",
        ),
        ("turns:\n- says: a\n  expect: {text: {}}", "my.yaml:3: what is expected needs search"),
        ("conversations:\n- {turns: [a]}", "my.yaml:2: a conversation needs match"),
        ("conversations:\n- {match: a}", "my.yaml:2: a conversation needs turns"),
        ("turns:\n- [{any_item: &a {item: {b: *a}}}]", "my.yaml:2: it contains itself"),
        ("turns:\n- [{text: !!python/name:os.system a}]", "my.yaml:2: no value of the tag"),
        ("turns:\n- [{text: 2020-01-01x}, {wait: !!timestamp 2020-01-01}]", "my.yaml:2: no value of the tag"),
        ("turns:\n- {? [a] : b}", "my.yaml:2: a key must be a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text, message):
    with pytest.raises(script_file.ScriptFileError) as caught:
        parse(text)

    assert str(caught.value).startswith(message)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="no.yaml"):
        script_file.load_script(tmp_path / "no.yaml")


def test_a_loaded_script_is_a_script():
    assert isinstance(parse("turns: [a]"), Script)
