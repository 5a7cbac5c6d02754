"""What is sent."""

import json
from typing import Any

import attrs
import pytest
from openai.types import beta

import triplane.protocol as tp

ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "status": None}


def test_typed_and_raw_items_mix() -> None:
    """An item that came over the wire goes back as it was, nulls included."""
    request = tp.ResponseCreate(
        model="m",
        stream_id="lane",
        generate=False,
        previous_response_id="resp_1",
        input=[ITEM, tp.FunctionCallOutput(call_id="c", output="42"), tp.EasyInputMessage("user", "hi")],
        tools=[tp.FunctionTool("f", {"type": "object"}, async_=True), {"type": "custom", "name": "g"}],
    )

    assert json.loads(tp.encode(request)) == {
        "type": "response.create",
        "model": "m",
        "stream_id": "lane",
        "generate": False,
        "previous_response_id": "resp_1",
        "input": [
            ITEM,
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"role": "user", "content": "hi"},
        ],
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}, "async": True},
            {"type": "custom", "name": "g"},
        ],
    }
    assert json.loads(tp.encode(request)) == tp.to_wire(request)
    assert isinstance(request.input, tuple)


def test_steer_and_inject() -> None:
    steer = tp.ResponseSteer("resp_1", "Only the summary.")
    inject = tp.ResponseInject("resp_1", [tp.FunctionCallOutput(call_id="c", output="x")])

    assert tp.to_wire(steer) == {
        "type": "response.steer",
        "previous_response_id": "resp_1",
        "input": "Only the summary.",
    }
    assert tp.to_wire(inject) == {
        "type": "response.inject",
        "response_id": "resp_1",
        "input": [{"type": "function_call_output", "call_id": "c", "output": "x"}],
    }


def test_null_is_sent_only_on_purpose() -> None:
    assert b"null" not in tp.encode(tp.ResponseCreate(model="m", reasoning=tp.ReasoningOptions(effort="low")))
    assert tp.to_wire(tp.ResponseCreate(extra={"previous_response_id": None}))["previous_response_id"] is None


def test_every_field_of_openai_is_there() -> None:
    theirs = {
        f.alias or name
        for model in (beta.beta_responses_client_event.ResponseCreate,)
        for name, f in model.model_fields.items()
    }
    ours = {a.alias for a in attrs.fields(tp.ResponseCreate)}

    assert theirs == ours - {"extra"} | {"type"}


@pytest.mark.parametrize(
    "data", [{"type": "session.update", "x": 1}, {"type": "response.steer"}, {"x": 1}, {"type": 5}]
)
def test_unknown_request_is_kept(data: dict[str, Any]) -> None:
    request = tp.request_from_wire(data)

    assert isinstance(request, tp.UnknownRequest)
    assert data == tp.to_wire(request)


def test_request_is_read() -> None:
    data = {"type": "response.create", "model": "m", "input": [ITEM, 5], "conversation": {"id": "c"}}
    request = tp.request_from_wire(data)
    assert isinstance(request, tp.ResponseCreate)

    assert request.conversation == tp.Conversation("c")
    assert request.input is None, "an element that is no object makes the whole of it misfit"
    assert data == tp.to_wire(request)


def test_options_go_by_name() -> None:
    """Their order means nothing; only what a request is about may be given by position."""
    own = ("model", "input", "instructions", "tools", "previous_response_id", "conversation", "stream_id")

    assert tp.ModelSettings.__match_args__ == ()
    assert tp.ResponseCreate.__match_args__ == (*own, "generate", "stream", "background")


# --- settings


def test_settings_fill_what_the_request_leaves_open() -> None:
    settings = tp.ModelSettings(
        temperature=0.5, reasoning={"effort": "low"}, extra={"new": 1, "both": "settings"}
    )
    request = tp.ResponseCreate(model="m", temperature=0.0, extra={"both": "request"})

    assert tp.to_wire(settings.apply_to(request)) == {
        "type": "response.create",
        "model": "m",
        "temperature": 0.0,
        "reasoning": {"effort": "low"},
        "new": 1,
        "both": "request",
    }


def test_null_of_a_request_is_its_own() -> None:
    request = tp.ResponseCreate(model="m", extra={"temperature": None})

    assert tp.to_wire(tp.ModelSettings(temperature=1.0).apply_to(request))["temperature"] is None


@pytest.mark.parametrize("given", [["a", "b"], ("a", "b"), None])
def test_arrays_of_requests_are_frozen(given: Any) -> None:
    expected = None if given is None else ("a", "b")
    request = tp.ResponseCreate(input=given, tools=given, include=given, context_management=given)

    assert [expected] * 4 == [request.input, request.tools, request.include, request.context_management]
    if given is not None:
        assert (expected, expected) == (
            tp.ResponseSteer("r", given).input,
            tp.ResponseInject("r", given).input,
        )


def test_settings_without_options_change_nothing() -> None:
    request = tp.ResponseCreate(model="m")

    assert tp.ModelSettings().apply_to(request) is request


def test_all_options_of_settings_reach_the_request() -> None:
    names = {a.name for a in attrs.fields(tp.RequestOptions)} - {"extra"}
    values: dict[str, Any] = {
        name: ("x",) if name in {"include", "context_management"} else {"x": name} for name in names
    }
    request = tp.ModelSettings(**values).apply_to(tp.ResponseCreate())

    assert values == {name: getattr(request, name) for name in names}
    assert {a.name for a in attrs.fields(tp.ModelSettings)} == names | {"extra"}


def test_settings_are_a_value() -> None:
    one, two = (tp.ModelSettings(temperature=0.5, include=["a"]) for _ in range(2))

    assert one == two
    assert hash(one) == hash(two)
    assert one.include == ("a",)
    assert tp.to_wire(one) == {"temperature": 0.5, "include": ["a"]}
