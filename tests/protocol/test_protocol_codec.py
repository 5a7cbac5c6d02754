"""Frames in, frames out, and what happens to the odd ones."""

import copy
import json
import pickle
import weakref
from types import MappingProxyType
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_samples import SAMPLES, walk

import triplane.protocol as tp

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abctypeid_", max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
KNOWN_ITEM_TYPES = sorted({s.data["type"] for s in SAMPLES if s.kind.endswith("item") and "type" in s.data})
KNOWN_EVENT_TYPES = sorted({s.data["type"] for s in SAMPLES if s.kind == "server_event"})
KNOWN_KEYS = sorted({key for s in SAMPLES for key in s.data} | {"author", "text", "annotations"})

DELTA = {
    "type": "response.output_text.delta",
    "sequence_number": 4,
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "Hel",
    "logprobs": [],
}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "read", "arguments": "{}"}


def frame(data: Any) -> str:
    return json.dumps(data)


def read(data: str | bytes, limits: tp.Limits = tp.DEFAULT_LIMITS) -> tp.ServerEvent | str:
    """The event, or the reason why there is none."""
    try:
        return tp.decode_event(data, limits=limits)
    except tp.DecodeError as exc:
        return exc.reason


def reason_of(data: str | bytes, **limits: int) -> str:
    with pytest.raises(tp.DecodeError) as caught:
        tp.decode_event(data, limits=tp.Limits(**limits))
    assert len(caught.value.excerpt.encode()) <= 200
    return caught.value.reason


# --- what is decoded


def test_delta_is_typed() -> None:
    event = tp.decode_event(frame(DELTA))

    assert event == tp.ResponseOutputTextDelta(
        item_id="msg_1", output_index=0, content_index=0, delta="Hel", logprobs=(), sequence_number=4
    )
    assert ("response.output_text.delta", 4, None) == (event.type, event.sequence_number, event.stream_id)
    assert event.extra == {}


@pytest.mark.parametrize("data", [frame(DELTA), frame(DELTA).encode()])
def test_text_and_bytes_are_the_same(data: str | bytes) -> None:
    assert tp.decode_event(data) == tp.decode_event(frame(DELTA))


def test_events_match_by_class() -> None:
    found = []
    done = {"type": "response.output_item.done", "output_index": 3, "item": CALL}
    for event in map(tp.decode_event, (frame(DELTA), frame(done), '{"type":"x.y"}')):
        match event:
            case tp.ResponseOutputTextDelta(delta=text):
                found.append(text)
            case tp.ResponseOutputItemDone(tp.FunctionCall(call_id=call_id, name=name), index):
                found.append((call_id, name, index))
            case tp.UnknownEvent(type=kind):
                found.append(kind)

    assert ["Hel", ("call_1", "read", 3), "x.y"] == found


def test_match_positions_of_payload_events_are_their_public_names() -> None:
    part = {"type": "output_text", "text": "x"}
    at = {"item_id": "i", "output_index": 0}
    match tp.decode_event(
        frame({"type": "response.content_part.done", **at, "content_index": 1, "part": part})
    ):
        case tp.ResponseContentPartDone("i", 0, 1, tp.OutputText("x")):
            pass
        case other:
            pytest.fail(repr(other))
    match tp.decode_event(
        frame({"type": "response.reasoning_summary_part.added", **at, "summary_index": 1, "part": part})
    ):
        case tp.ResponseReasoningSummaryPartAdded("i", 0, 1, tp.OutputText("x")):
            pass
        case other:
            pytest.fail(repr(other))
    match tp.decode_event('{"type":"response.created","response":{"id":"resp_1"}}'):
        case tp.ResponseCreated(tp.Response("resp_1")):
            pass
        case other:
            pytest.fail(repr(other))


def test_raw_payload_is_what_came_and_the_typed_one_is_kept() -> None:
    event = tp.decode_event(frame({"type": "response.output_item.done", "output_index": 0, "item": CALL}))
    assert isinstance(event, tp.ResponseOutputItemDone)

    assert event.raw_item == CALL
    assert event.raw_item is event.raw_item
    assert event.item is event.item
    assert event.item == tp.FunctionCall(id="fc_1", call_id="call_1", name="read", arguments="{}")


def test_raw_payload_of_a_built_event() -> None:
    item = tp.FunctionCall(id="fc_1", call_id="call_1", name="read", arguments="{}")
    event = tp.ResponseOutputItemDone(item, 0)

    assert CALL == event.raw_item
    assert event == tp.ResponseOutputItemDone(CALL, 0)
    assert event != tp.ResponseOutputItemDone({**CALL, "name": "write"}, 0)
    assert event.item is item
    assert tp.ResponseCompleted(tp.Response("r")).raw_response == {"id": "r"}
    assert tp.ResponseContentPartDone("i", 0, 0, tp.Refusal("no")).raw_part["refusal"] == "no"
    assert tp.ResponseReasoningSummaryPartDone("i", 0, 0, tp.SummaryText("s")).raw_part["text"] == "s"


@pytest.mark.parametrize("wrong", [tp.OutputText("x"), 5, None])
def test_payload_of_another_class_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected Item or a mapping"):
        tp.ResponseOutputItemDone(wrong, 0)
    with pytest.raises(TypeError, match="expected Response or a mapping"):
        tp.ResponseCompleted(wrong)


def test_payload_is_no_other_thing() -> None:
    event = tp.ResponseOutputItemDone(CALL, 0)

    assert event._item != "something else"


def test_response_is_structured() -> None:
    event = tp.decode_event(
        frame(
            {
                "type": "response.completed",
                "response": {
                    "id": "resp_1",
                    "status": "completed",
                    "output": [
                        CALL,
                        {
                            "type": "message",
                            "role": "assistant",
                            "content": [
                                {"type": "output_text", "text": "Hello, "},
                                {"type": "output_text", "text": "world"},
                                {"type": "refusal", "refusal": "no"},
                            ],
                        },
                    ],
                    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
                },
            }
        )
    )
    assert isinstance(event, tp.ResponseCompleted)

    assert event.response.usage == tp.Usage(3, 2, 5)
    assert event.response.output_text == "Hello, world"
    assert event.response.output is not None
    assert [tp.FunctionCall, tp.OutputMessage] == [type(item) for item in event.response.output]
    assert tp.Response("r").output_text == ""


def test_agent_of_an_event() -> None:
    assert tp.decode_event(frame({**DELTA, "agent": {"agent_name": "/root"}})).agent_name == "/root"
    for agent in (None, "x", {"agent_name": 5}, {}):
        assert tp.decode_event(frame({**DELTA, "agent": agent})).agent_name is None


# --- what is kept


def test_unknown_event_is_kept() -> None:
    data = {
        "type": "codex.rate_limits",
        "sequence_number": 1,
        "stream_id": "a",
        "limits": {"x": [1]},
        "n": None,
    }
    event = tp.decode_event(frame(data))

    assert event == tp.UnknownEvent(
        "codex.rate_limits", sequence_number=1, stream_id="a", extra={"limits": {"x": [1]}, "n": None}
    )
    assert data == tp.to_wire(event)


@pytest.mark.parametrize("odd", [{"sequence_number": "x"}, {"sequence_number": True}, {"stream_id": 5}, {}])
def test_unknown_event_with_odd_routing_is_kept(odd: dict[str, Any]) -> None:
    event = tp.decode_event(frame({"type": "keepalive", **odd}))

    assert (None, None) == (event.sequence_number, event.stream_id)
    assert odd == event.extra
    assert {"type": "keepalive", **odd} == tp.to_wire(event)


def test_empty_type_is_kept() -> None:
    data = {"type": "", "sequence_number": 1, "": None}
    event = tp.decode_event(frame(data))

    assert isinstance(event, tp.UnknownEvent)
    assert data == tp.to_wire(event)
    assert event == tp.decode_event(tp.encode(event))


def test_unknown_types_are_not_remembered() -> None:
    """A peer that invents types must not make us grow."""
    from triplane.protocol.codec import _READERS

    before = len(_READERS)
    for n in range(50):
        tp.decode_event(frame({"type": f"invented.{n}"}))

    assert before == len(_READERS)


def test_null_absent_and_set_are_three_things() -> None:
    absent, null, full = (
        tp.item_from_wire({**CALL, **more}) for more in ({}, {"status": None}, {"status": "completed"})
    )
    assert isinstance(null, tp.FunctionCall)

    assert [None, None, "completed"] == [getattr(item, "status") for item in (absent, null, full)]  # noqa: B009
    assert [{}, {"status": None}, {}] == [item.extra for item in (absent, null, full)]
    assert tp.to_wire(attrs.evolve(null, status="completed")) == tp.to_wire(full)


@pytest.mark.parametrize(
    ("metadata", "extra"),
    [
        ({"a": "b"}, {}),
        ({}, {}),
        ({"a": 5}, {"metadata": {"a": 5}}),
        ({"a": None}, {"metadata": {"a": None}}),
    ],
)
def test_objects_hold_what_they_should_or_are_kept_in_extra(metadata: Any, extra: dict[str, Any]) -> None:
    """Metadata are text, and a reader of them may rely on it."""
    request = tp.request_from_wire({"type": "response.create", "metadata": metadata})
    assert isinstance(request, tp.ResponseCreate)

    assert (None if extra else metadata) == request.metadata
    assert extra == request.extra


@pytest.mark.parametrize("lane", [{}, {"stream_id": "a"}, {"stream_id": None}, {"stream_id": 5}])
@pytest.mark.parametrize(
    "more", [{}, {"obfuscation": "x"}, {"logprobs": None}, {"sequence_number": "4", "x": {}}]
)
def test_what_no_field_takes_is_in_extra(lane: dict[str, Any], more: dict[str, Any]) -> None:
    data = {**DELTA, **lane, **more}
    event = tp.decode_event(frame(data))
    fits = {"stream_id": "a", "sequence_number": 4, "logprobs": []}
    extra = {key: value for key, value in {**lane, **more}.items() if fits.get(key) != value}

    assert extra == event.extra
    assert "a" == event.stream_id or lane != {"stream_id": "a"}
    assert data == tp.to_wire(event)


def test_misfitting_option_is_kept_in_extra() -> None:
    item = tp.item_from_wire({**CALL, "status": 5, "caller": "me", "async": "yes"})
    assert isinstance(item, tp.FunctionCall)

    assert (None, None, None) == (item.status, item.caller, item.async_)
    assert item.extra == {"status": 5, "caller": "me", "async": "yes"}


@pytest.mark.parametrize(
    "data",
    [
        {"type": "function_call", "name": "x"},
        {"type": "function_call", "call_id": 5, "name": "x", "arguments": "{}"},
        {"type": "reasoning", "summary": "text"},
        {"type": "reasoning", "summary": ["text"]},
        {"type": "message", "role": "user", "content": 5},
        {"type": "mcp_approval_response", "approval_request_id": "x", "approve": "yes"},
        {"type": "local_shell_call", "call_id": "c", "action": {"type": "exec", "command": [], "env": 5}},
        {"type": "shell_call", "call_id": "c", "action": 5},
        {"type": "message/assistant"},
        {"type": ""},
        {"type": None},
        {"type": ["function_call"]},
        {"type": {}},
        {},
    ],
)
def test_item_that_does_not_fit_is_unknown(data: dict[str, Any]) -> None:
    item = tp.item_from_wire(data)

    assert isinstance(item, tp.UnknownItem)
    assert data == tp.to_wire(item)
    assert data == json.loads(tp.encode(item))


@pytest.mark.parametrize("odd", [{"type": "output_text"}, {"type": "output_text", "text": 5}])
def test_misfit_inside_stays_inside(odd: dict[str, Any]) -> None:
    """A part that does not fit spoils neither its message nor its neighbours."""
    data = {"type": "message", "role": "assistant", "content": [odd, {"type": "output_text", "text": "ok"}]}
    item = tp.item_from_wire(data)
    assert isinstance(item, tp.OutputMessage)

    assert isinstance(item.content[0], tp.UnknownPart)
    assert item.text == "ok"
    assert data == tp.to_wire(item)


def test_untyped_items() -> None:
    assert tp.item_from_wire({"role": "user", "content": "hi"}) == tp.EasyInputMessage("user", "hi")
    assert tp.item_from_wire({"id": "x"}) == tp.UntypedItemReference(id="x")
    assert tp.item_from_wire({"id": "x", "more": 1}) == tp.UnknownItem("", extra={"id": "x", "more": 1})
    assert tp.to_wire(tp.EasyInputMessage("user", "hi")) == {"role": "user", "content": "hi"}


def test_choice_of_a_hosted_tool_is_known_by_its_type_alone() -> None:
    request = tp.request_from_wire({"type": "response.create", "tool_choice": {"type": "shell"}})
    assert isinstance(request, tp.ResponseCreate)

    assert tp.HostedToolChoice("shell") == request.tool_choice


@given(
    st.sampled_from(KNOWN_ITEM_TYPES) | JSON_VALUES, st.dictionaries(st.sampled_from(KNOWN_KEYS), JSON_VALUES)
)
def test_any_object_round_trips_as_an_item(kind: Any, rest: dict[str, Any]) -> None:
    """Whatever its type and its keys hold, nothing is lost and nothing raises."""
    data = {**rest, "type": kind}
    item = tp.item_from_wire(data)

    assert data == tp.to_wire(item)
    assert data == json.loads(tp.encode(item))
    assert tp.item_from_wire(tp.to_wire(item)) == item


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_samples_round_trip(sample: Any, data: st.DataObject) -> None:
    """A known object with some values replaced by others, anywhere in it."""
    damaged = {key: damage(value, data) for key, value in sample.data.items()}
    read = tp.request_from_wire if sample.kind == "client_event" else tp.item_from_wire

    assert damaged == tp.to_wire(read(damaged))


def damage(value: Any, data: st.DataObject) -> Any:
    if data.draw(st.integers(0, 15)) == 0:
        return data.draw(JSON_VALUES)
    if isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: damage(value[key], data)} if key != "type" else value
    if isinstance(value, list):
        return [damage(v, data) for v in value]
    return value


@given(st.sampled_from(KNOWN_EVENT_TYPES), st.dictionaries(st.sampled_from(KNOWN_KEYS), JSON_VALUES))
def test_any_event_round_trips_or_is_refused(kind: str, rest: dict[str, Any]) -> None:
    data = {**rest, "type": kind}
    event = read(orjson.dumps(data))

    if isinstance(event, str):
        assert event in {"missing_field", "wrong_type"}
    else:
        assert data == tp.to_wire(event)
        assert list(walk(event))


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_noise_is_refused(data: str | bytes) -> None:
    event = read(data)

    if isinstance(event, str):
        assert event in {"invalid_json", "invalid_unicode", "not_an_object", "missing_type"}
    else:
        # By a rare chance it is none.
        assert isinstance(orjson.loads(data)["type"], str)


# --- what is refused


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ('{"type":"x"} {"type":"y"}', "invalid_json"),
        ('{"type":"x","n":NaN}', "invalid_json"),
        ('{"type":"x","n":Infinity}', "invalid_json"),
        ('{"type":"x","n":"\\ud800"}', "invalid_json"),
        ('{"type":"x","n":"\ud800"}', "invalid_unicode"),
        (b'{"type":"x","n":"\xff"}', "invalid_unicode"),
        ("[" * 2000 + "]" * 2000, "invalid_json"),
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ('"type"', "not_an_object"),
        ("5", "not_an_object"),
        ("{}", "missing_type"),
        ('{"type":null}', "missing_type"),
        ('{"type":5}', "missing_type"),
        ('{"type":["error"]}', "missing_type"),
        ('{"type":{},"error":{}}', "missing_type"),
        ('{"error":null}', "missing_type"),
        (frame({**DELTA, "delta": 5}), "wrong_type"),
        (frame({**DELTA, "delta": None}), "wrong_type"),
        (frame({**DELTA, "output_index": True}), "wrong_type"),
        (frame({**DELTA, "output_index": 1.0}), "wrong_type"),
        (frame({k: v for k, v in DELTA.items() if k != "delta"}), "missing_field"),
        ('{"type":"response.created"}', "missing_field"),
        ('{"type":"response.created","response":null}', "wrong_type"),
        ('{"type":"response.created","response":{}}', "missing_field"),
        ('{"type":"response.created","response":{"id":5}}', "wrong_type"),
        ('{"type":"response.completed","response":{"id":"r","output":{}}}', "wrong_type"),
        ('{"type":"response.completed","response":{"id":"r","output":["x"]}}', "wrong_type"),
        ('{"type":"response.output_item.done","output_index":0,"item":[]}', "wrong_type"),
        (
            frame({"type": "response.output_item.done", "output_index": 0, "item": {**CALL, "call_id": 5}}),
            "wrong_type",
        ),
        (
            '{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call"}}',
            "missing_field",
        ),
        ('{"type":"response.steer.accepted","steer":{"id":"x"}}', "missing_field"),
        ('{"type":"response.steer.accepted","steer":5}', "wrong_type"),
    ],
)
def test_frame_is_refused(data: str | bytes, reason: str) -> None:
    assert reason == reason_of(data)


@pytest.mark.parametrize("kind", ["added", "done"])
def test_item_without_a_usable_type_is_not_fatal(kind: str) -> None:
    for item in ({}, {"type": 5}, {"type": ["function_call"]}, {"type": "new_thing"}):
        event = tp.decode_event(
            frame({"type": f"response.output_item.{kind}", "output_index": 0, "item": item})
        )
        assert isinstance(event, tp.ResponseOutputItemDone | tp.ResponseOutputItemAdded)

        assert isinstance(event.item, tp.UnknownItem)
        assert item == tp.to_wire(event.item)


def test_skeleton_of_a_call_is_not_checked() -> None:
    """Only a finished call must have its arguments."""
    item = {"type": "function_call", "call_id": "c", "name": "n"}

    tp.decode_event(frame({"type": "response.output_item.added", "output_index": 0, "item": item}))


def test_integers_beyond_64_bits_are_not_ours() -> None:
    assert reason_of(frame({**DELTA, "output_index": 2**70})) == "wrong_type"


def test_error_names_the_place() -> None:
    with pytest.raises(tp.DecodeError, match=r"response\.created has no 'response' \(missing_field\): \{"):
        tp.decode_event('{"type":"response.created"}')
    with pytest.raises(tp.DecodeError, match="expected a string, found an integer in 'delta'"):
        tp.decode_event(frame({**DELTA, "delta": 5}))
    with pytest.raises(tp.DecodeError, match="expected an object, found null in 'response'"):
        tp.decode_event('{"type":"response.created","response":null}')
    done = {"type": "response.output_item.done", "output_index": 0}
    with pytest.raises(tp.DecodeError, match="expected a string, found null in 'call_id'"):
        tp.decode_event(frame({**done, "item": {**CALL, "call_id": None}}))
    assert str(tp.DecodeError("a_reason", "the message")) == "the message (a_reason)"


def test_error_is_a_value_error_and_pickles() -> None:
    error = tp.DecodeError("wrong_type", "m", "e")
    again = pickle.loads(pickle.dumps(error))

    assert isinstance(error, ValueError)
    assert ("wrong_type", "m", "e") == (again.reason, again.message, again.excerpt)


def test_any_mapping_is_read() -> None:
    assert tp.response_from_wire(MappingProxyType({"id": "r"})) == tp.Response("r")
    assert tp.item_from_wire(MappingProxyType(CALL)) == tp.item_from_wire(CALL)


def test_response_from_wire() -> None:
    assert tp.response_from_wire({"id": "r"}) == tp.Response("r")
    with pytest.raises(tp.DecodeError, match="Response has no 'id'"):
        tp.response_from_wire({})
    with pytest.raises(tp.DecodeError, match="expected a string, found null"):
        tp.response_from_wire({"id": None})
    with pytest.raises(tp.DecodeError, match="expected an object, found an array"):
        tp.response_from_wire([])  # type: ignore[arg-type]
    with pytest.raises(tp.DecodeError, match="expected an object, found an array"):
        tp.item_from_wire([])  # type: ignore[arg-type]


# --- limits


def test_size_counts_bytes_whatever_the_type() -> None:
    text = frame({"type": "x", "t": "a" * 100}).replace("a" * 100, "é" * 100)
    size = len(text.encode())

    for data in (text, text.encode()):
        tp.decode_event(data, limits=tp.Limits(max_bytes=size))
        assert reason_of(data, max_bytes=size - 1) == "too_large"
    assert reason_of('{"type":"' + "\ud800" * 100 + '"}', max_bytes=250) == "too_large"
    assert reason_of(text, max_bytes=len(text)) == "too_large"


@pytest.mark.parametrize("as_type", [str, str.encode])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth(as_type: Any, opening: str, closing: str) -> None:
    def nested(depth: int) -> Any:
        inner = opening * (depth - 1) + "1" + closing * (depth - 1)
        return as_type('{"type":"x","a":' + inner + "}")

    tp.decode_event(nested(50), limits=tp.Limits(max_depth=50))
    assert reason_of(nested(51), max_depth=50) == "too_deep"


def test_default_depth_can_be_written_again() -> None:
    depth = tp.DEFAULT_LIMITS.max_depth
    data = '{"type":"x","a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"

    assert data.encode() == tp.encode(tp.decode_event(data))


def test_many_brackets_are_not_deep() -> None:
    tp.decode_event(frame({"type": "x", "a": [[], {}] * 100, "b": "[" * 100}), limits=tp.Limits(max_depth=3))


def test_items() -> None:
    limits = tp.Limits(max_items=10)
    for make in (list, str):
        tp.decode_event(
            frame({"type": "x", "a": {"b": [1] * 10}, "c": make(",,,,,,,,,,,,")[0]}), limits=limits
        )
    tp.decode_event(frame({"type": "x", "a": "," * 100}), limits=limits)

    assert reason_of(frame({"type": "x", "a": {"b": [1] * 11}}), max_items=10) == "too_many_items"


def test_many_keys_are_not_items() -> None:
    tp.decode_event(frame({"type": "x", "a": {str(n): n for n in range(50)}}), limits=tp.Limits(max_items=10))


def test_default_limits_are_the_documented_ones() -> None:
    assert tp.DEFAULT_LIMITS == tp.Limits(max_bytes=64 * 1024 * 1024, max_depth=200, max_items=100_000)


@pytest.mark.parametrize("name", ["max_bytes", "max_depth", "max_items"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        tp.Limits(**{name: 0})


@given(st.integers(1, 400), st.integers(1, 30), st.integers(1, 30), JSON_VALUES)
def test_limits_agree_with_a_plain_count(max_bytes: int, max_depth: int, max_items: int, value: Any) -> None:
    """The short cuts that most frames take never change the verdict."""
    data = frame({"type": "x", "value": value})

    def depth(v: Any) -> int:
        inner = v.values() if isinstance(v, dict) else v if isinstance(v, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    def longest(v: Any) -> int:
        if isinstance(v, dict):
            return max(map(longest, v.values()), default=0)
        return max([len(v), *map(longest, v)]) if isinstance(v, list) else 0

    whole = json.loads(data)
    fits = len(data) <= max_bytes and depth(whole) <= max_depth and longest(whole) <= max_items
    verdict = read(data, tp.Limits(max_bytes=max_bytes, max_depth=max_depth, max_items=max_items))

    assert fits == (verdict not in {"too_large", "too_deep", "too_many_items"})


# --- writing


def test_encode_leaves_out_what_is_unset() -> None:
    assert tp.encode(tp.ResponseCreate(model="m")) == b'{"type":"response.create","model":"m"}'


def test_fields_win_over_extra_and_the_type_over_both() -> None:
    item = tp.FunctionCall("c", "n", "{}", extra={"name": "other", "type": "other", "more": 1})

    assert tp.to_wire(item) == {
        "type": "function_call",
        "call_id": "c",
        "name": "n",
        "arguments": "{}",
        "more": 1,
    }


def test_wire_form_of_something_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]

    for write in (tp.to_wire, tp.encode):
        with pytest.raises(tp.EncodeError):
            write(tp.UnknownItem("x", extra={"x": deep}))


def test_tools_too_deep_to_be_structured_are_kept() -> None:
    tool: dict[str, Any] = {"type": "function", "name": "f"}
    for _ in range(2000):
        tool = {"type": "namespace", "name": "n", "description": "d", "tools": [tool]}

    assert isinstance(
        tp.item_from_wire({"type": "additional_tools", "role": "developer", "tools": [tool]}), tp.Item
    )


def test_mappings_of_any_kind_are_written() -> None:
    settings = tp.ModelSettings(
        text=MappingProxyType({"verbosity": "low"}), extra=MappingProxyType({"n": [1]})
    )

    assert tp.to_wire(settings) == {"text": {"verbosity": "low"}, "n": [1]}
    assert json.loads(tp.encode(settings)) == tp.to_wire(settings)


def test_wire_form_is_a_copy() -> None:
    schema = {"type": "object", "properties": {}}
    wire = tp.to_wire(tp.FunctionTool("f", schema))
    wire["parameters"]["properties"]["x"] = 1

    assert schema == {"type": "object", "properties": {}}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object(), {1}, b"x"])
def test_what_json_cannot_say_is_refused(bad: Any) -> None:
    for obj in (tp.ModelSettings(temperature=bad), tp.UnknownItem("x", extra={"x": bad})):
        with pytest.raises(tp.EncodeError, match="has no JSON form"):
            tp.encode(obj)
        with pytest.raises(tp.EncodeError, match="has no JSON form"):
            tp.to_wire(obj)


@pytest.mark.parametrize("bad", ["\ud800", 2**64, {1: 2}])
def test_what_orjson_cannot_write_is_refused(bad: Any) -> None:
    with pytest.raises(tp.EncodeError):
        tp.encode(tp.UnknownItem("x", extra={"x": bad}))


# --- the objects


def test_lists_become_tuples() -> None:
    message = tp.OutputMessage([tp.OutputText("x", annotations=[])])  # type: ignore[arg-type]
    tool = tp.FunctionTool("f", ["left", "alone"], allowed_callers=["direct"])  # type: ignore[arg-type]

    assert message == tp.OutputMessage((tp.OutputText("x", annotations=()),))
    assert (["left", "alone"], ("direct",)) == (tool.parameters, tool.allowed_callers)


def test_objects_are_frozen_and_slotted() -> None:
    for event in (tp.decode_event(frame(DELTA)), tp.ResponseMcpCallFailed("i", 0), tp.CompactionTrigger()):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.extra = {}  # type: ignore[misc]
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            del event.extra
        assert not hasattr(event, "__dict__")
        assert weakref.ref(event)() is event


@pytest.mark.parametrize(
    "data",
    [
        DELTA,
        {"type": "response.output_item.done", "output_index": 0, "item": CALL},
        {"type": "x", "more": [1]},
    ],
)
def test_objects_copy_and_pickle(data: dict[str, Any]) -> None:
    event = tp.decode_event(frame(data))

    for twin in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert event == twin
        assert type(event) is type(twin)


def test_nothing_extra_is_shared_and_cannot_be_written() -> None:
    event = tp.decode_event(frame(DELTA))

    assert event.extra is tp.FunctionCall("c", "n", "{}").extra
    assert (0, [], {}, "{}") == (len(event.extra), list(event.extra), dict(event.extra), repr(event.extra))
    with pytest.raises(KeyError):
        event.extra["x"]
    with pytest.raises(TypeError):
        event.extra["x"] = 1  # type: ignore[index]


def test_objects_of_different_classes_are_not_equal() -> None:
    assert tp.SummaryText("x") != tp.ReasoningText("x")
    assert tp.SummaryText("x") != "x"


def test_repr_shows_what_is_set() -> None:
    event = tp.decode_event(frame({**DELTA, "stream_id": "a", "more": 1}))

    assert repr(event) == (
        "ResponseOutputTextDelta(item_id='msg_1', output_index=0, content_index=0, delta='Hel', logprobs=(), "
        "sequence_number=4, stream_id='a', extra={'more': 1})"
    )
    assert repr(tp.ResponseCreated({"id": "r"})) == "ResponseCreated(response=Response(id='r'))"
    assert repr(tp.UnknownItem("x")) == "UnknownItem(type='x')"


def test_repr_keeps_credentials_of_tools() -> None:
    tool = tp.McpTool("label", authorization="topsecret", headers={"X-Key": "topsecret"})
    secret = tp.DomainSecret("a.example", "TOKEN", "topsecret")

    assert "topsecret" not in repr((tool, secret))
    assert tp.to_wire(tool)["authorization"] == tp.to_wire(secret)["value"] == "topsecret"


def test_repr_keeps_credentials_that_do_not_fit() -> None:
    data = {
        "type": "mcp",
        "server_label": "s",
        "authorization": ["topsecret"],
        "headers": {"authorization": ["topsecret"]},
        "more": 1,
    }
    (tool,) = tp.item_from_wire({"type": "additional_tools", "role": "developer", "tools": [data]}).tools  # type: ignore[attr-defined]

    assert data == tp.to_wire(tool)
    assert "McpTool(server_label='s', extra={'more': 1})" == repr(tool)
