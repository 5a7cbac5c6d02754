"""Scripts: what is answered, what is objected to, and what is told at the end."""

from __future__ import annotations

import re

import pytest
import trio
from server_client import create

from triplane.server import Expect, FunctionCall, ModelRequest, Refused, Script, ScriptError, Text, Turn, Wait
from triplane.server.conversation import Conversation


def request(text="hi", *, before=(), new=(), tools=(), **fields):
    items = [*before, *([{"type": "message", "role": "user", "content": text}] if text else []), *new]
    conversation = Conversation().extended(items)
    return ModelRequest(
        fields.pop("model", "m"),
        fields.pop("instructions", None),
        tools,
        conversation,
        items[-1:] or (),
        **fields,
    )


def said(script, *args, **fields):
    return list(script.respond(request(*args, **fields)))


# In Python, over the wire.


async def test_a_script_is_followed_turn_by_turn(connect):
    script = Script(
        [
            Turn(FunctionCall("look", {"at": "x"}), expect="What is at x?"),
            Turn(["It is ", "red."], expect={"outputs": {"look": "red"}, "previous_response_id": True}),
        ]
    )
    client = await connect(model=script)

    calls = await client.ask("What is at x?", model="gpt-6-astra")
    turn = await client.ask(calls.outputs("red"), previous_response_id=calls.id, model="gpt-6-astra")

    assert calls.calls[0]["arguments"] == '{"at":"x"}'
    assert turn.text == "It is red."
    assert [event["delta"] for event in turn.events if "delta" in event] == ["It is ", "red."]
    script.assert_done()


async def test_an_unexpected_request_is_refused_and_remembered(connect):
    script = Script([Turn("one", expect="first"), Turn("two")])
    client = await connect(model=script)

    refused = await client.ask("second", model="m")
    assert refused.types == ["error"]
    message = "The script 'script': turn 1 does not expect it: text: expected 'first', came 'second'."
    assert refused.error == {
        "type": "invalid_request_error",
        "code": "script_mismatch",
        "message": message,
        "param": None,
        "status": 400,
    }
    # The turn is still due.
    first = await client.ask("first", model="m")
    assert first.text == "one"
    with pytest.raises(ScriptError) as caught:
        script.assert_done()
    assert str(caught.value).splitlines()[1:] == [message, "turn 2 was not used"]
    assert (script.mismatches, script.unused()) == ([message], ["turn 2 was not used"])
    # A refused continuation evicts what it continues, like any other.
    assert (await client.ask("two", model="m")).text == "two"
    refused = await client.ask("one too many", model="m")
    assert refused.error["message"] == "The script 'script': no turn is left; there were 2."


async def test_a_warm_up_uses_no_turn(connect):
    script = Script(["hello"])
    client = await connect(model=script)

    warm = await client.ask([], generate=False, model="m")
    turn = await client.ask("hi", previous_response_id=warm.id, model="m")

    assert turn.text == "hello"
    script.assert_done()


async def test_conversations_at_once(connect, autojump_clock):
    script = Script()
    for name in "ab":
        script.conversation([Turn([Wait(1), f"{name}1"]), f"{name}2"], match=f"I am {name}", name=name)
    clients = {name: await connect(**({"model": script} if name == "a" else {})) for name in "ab"}
    texts = []

    async def converse(name, client):
        first = await client.ask(f"I am {name}", model="m")
        second = await client.ask("and?", previous_response_id=first.id, model="m")
        texts.append((first.text, second.text))

    async with trio.open_nursery() as nursery:
        for name, client in clients.items():
            nursery.start_soon(converse, name, client)

    assert sorted(texts) == [("a1", "a2"), ("b1", "b2")]
    script.assert_done()
    await clients["a"].send(create("I am c", model="m"))
    error = (await clients["a"].turn()).error
    assert error["message"] == (
        "The script 'script': the request belongs to no conversation; "
        "not of a, first_text: expected 'I am a', came 'I am c'; "
        "not of b, first_text: expected 'I am b', came 'I am c'."
    )


# What can be expected.

OUTPUTS = {
    "before": [
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": ""},
        {"type": "shell_call", "call_id": "c2", "action": {}},
    ],
}


def with_outputs():
    outputs = [
        {"type": "shell_call_output", "call_id": "c2", "output": [{"stdout": "a", "text": "out"}]},
        {"type": "function_call_output", "call_id": "c1", "output": "red"},
    ]
    conversation = Conversation().extended([*OUTPUTS["before"], *outputs])
    return ModelRequest("m", None, [], conversation, outputs)


FUNCTION = {"type": "function", "name": "look"}


@pytest.mark.parametrize(
    ("expect", "accepted", "difference"),
    [
        (Expect(), request(), None),
        ("hi", request("hi"), None),
        ("hi", request("ho"), "text: expected 'hi', came 'ho'"),
        (re.compile("^h"), request("ho"), None),
        (re.compile("^i"), request("ho"), "text: expected to find '^i', came 'ho'"),
        (Expect(text=str.isupper), request("ho"), "text: isupper did not accept 'ho'"),
        (Expect(text="x"), request("y" * 999), f"text: expected 'x', came '{'y' * 199}…"),
        (Expect(text=""), request(""), None),
        (Expect(first_text="hi"), request("ho"), "first_text: expected 'hi', came 'ho'"),
        (Expect(model="n"), request(), "model: expected 'n', came 'm'"),
        (Expect(instructions=""), request(), None),
        (Expect(instructions="Be brief."), request(), "instructions: expected 'Be brief.', came ''"),
        (Expect(tools=["look"]), request(tools=[FUNCTION, {"type": "shell"}]), None),
        (Expect(tools=["shell"]), request(tools=[FUNCTION, {"type": "shell"}]), None),
        (Expect(tools=["sit"]), request(tools=[FUNCTION]), "tools: expected sit among them, came look"),
        (Expect(tools=["sit"]), request(), "tools: expected sit among them, came none"),
        (Expect(outputs=[]), request(), None),
        (Expect(outputs=["a"]), request(), "outputs: expected 1, came 0"),
        (Expect(outputs={"look": "red", "shell_call": None}), with_outputs(), None),
        (Expect(outputs=["out", "red"]), with_outputs(), None),
        (Expect(outputs=[None, "blue"]), with_outputs(), "outputs[1]: expected 'blue', came 'red'"),
        (
            Expect(outputs={"look": "blue", "shell_call": "out"}),
            with_outputs(),
            "outputs[look]: expected 'blue', came 'red'",
        ),
        (
            Expect(outputs={"look": "red"}),
            with_outputs(),
            "outputs: expected those of look, came those of shell_call, look",
        ),
        (Expect(previous_response_id=False), request(), None),
        (Expect(previous_response_id=True), request(), "previous_response_id: expected one, came None"),
        (Expect(previous_response_id="r"), request(previous_response_id="r"), None),
        (
            Expect(previous_response_id=False),
            request(previous_response_id="r"),
            "previous_response_id: expected none, came r",
        ),
        (Expect(settings={"store": True}), request(settings={"store": True}), None),
        (
            Expect(settings={"store": True}),
            request(settings={"store": False}),
            "store: expected True, came False",
        ),
        (lambda each: each.model == "m", request(), None),
        (Expect(where=callable), request(), "where: callable did not accept it"),
    ],
)
def test_what_can_be_expected(expect, accepted, difference):
    script = Script([Turn("yes", expect)])

    if difference is None:
        assert list(script.respond(accepted)) == [Text("yes")]
    else:
        with pytest.raises(Refused, match=re.escape(difference)):
            script.respond(accepted)


def test_all_differences_are_told():
    script = Script([Turn("yes", Expect(text="a", model="b"), name="greeting")])

    with pytest.raises(Refused) as caught:
        said(script)

    assert caught.value.message == (
        "The script 'script': turn 1 (greeting) does not expect it: text: expected 'a', came 'hi'; "
        "model: expected 'b', came 'm'."
    )


# Turns.


def test_a_turn_can_be_used_several_times():
    script = Script([Turn("again", times=3), "then"])

    assert [said(script)[0].text for _ in range(2)] == ["again", "again"]
    assert script.unused() == ["turn 1 was used 2 times and not 3", "turn 2 was not used"]
    assert [said(script)[0].text for _ in range(2)] == ["again", "then"]
    script.assert_done()


def test_no_turn_is_left():
    script = Script(["only"], name="mine")
    said(script)

    with pytest.raises(Refused, match="The script 'mine': no turn is left; there were 1."):
        said(script)


def test_steps_can_be_made_of_the_request():
    def shout(asked):
        yield Text(asked.text.upper())

    assert said(Script([shout])) == [Text("HI")]
    assert said(Script([Turn(shout, times=2)])) == [Text("HI")]


def test_an_empty_answer():
    script = Script([[]])

    assert said(script) == []
    script.assert_done()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Script([3]),
        lambda: Script([[3]]),
        lambda: Turn("x", 3),
        lambda: Turn("x", times=0),
        lambda: Turn("x", {"txt": "a"}),
    ],
)
def test_a_script_that_cannot_be(make):
    with pytest.raises((TypeError, ValueError)):
        make()
