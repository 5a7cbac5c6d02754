"""What type checkers make of the protocol's classes. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

from triplane import protocol
from triplane.protocol import (
    ContentPart,
    DecodeError,
    ErrorDetail,
    ErrorEvent,
    FunctionCall,
    FunctionCallOutput,
    FunctionTool,
    Item,
    Logprob,
    ModelSettings,
    OutputMessage,
    OutputText,
    ReasoningOptions,
    Refusal,
    Response,
    ResponseCompleted,
    ResponseCreate,
    ResponseFunctionCallArgumentsDelta,
    ResponseOutputItemDone,
    ResponseOutputTextDelta,
    ResponseRefusalDelta,
    ResponseSteer,
    ServerEvent,
    TextOptions,
    ToolChoice,
    ToolDefinition,
    UnknownEvent,
    UnknownItem,
    Usage,
    Wire,
    decode_event,
    encode,
    item_from_wire,
    normalise_error,
    request_from_wire,
    response_from_wire,
    to_wire,
)


def events_are_told_apart_by_class(event: ServerEvent) -> None:
    """A match narrows, and binds fields by position and by name."""
    assert_type(event.type, str)
    assert_type(event.sequence_number, int | None)
    assert_type(event.stream_id, str | None)
    assert_type(event.agent_name, str | None)
    match event:
        case ResponseOutputTextDelta(delta=text, logprobs=logprobs):
            assert_type(text, str)
            assert_type(logprobs, tuple[Logprob, ...] | None)
            assert_type(event.content_index, int)
        case ResponseRefusalDelta(item_id, output_index):
            assert_type(event, ResponseRefusalDelta)
            assert_type(item_id, str)
            assert_type(output_index, int)
        case ResponseFunctionCallArgumentsDelta():
            assert_type(event.delta, str)
        case ResponseOutputItemDone(FunctionCall() as call):
            assert_type(call.call_id, str)
            assert_type(call.arguments, str)
            assert_type(event.raw_item, Mapping[str, Any])
        case ResponseOutputItemDone(item=item):
            items_are_told_apart_by_class(item)
        case ResponseCompleted():
            assert_type(event.response, Response)
            assert_type(event.response.output, tuple[Item, ...] | None)
            assert_type(event.response.usage, Usage | None)
            assert_type(event.response.output_text, str)
        case ErrorEvent():
            assert_type(event.detail, ErrorDetail)
        case UnknownEvent(type=kind, extra=extra):
            assert_type(kind, str)
            assert_type(extra, Mapping[str, Any])
        case _:
            assert_type(event, ServerEvent)


def items_are_told_apart_by_class(item: Item) -> None:
    """Parts of messages as well."""
    match item:
        case OutputMessage():
            assert_type(item.text, str)
            assert_type(item.content, tuple[ContentPart, ...])
            for part in item.content:
                match part:
                    case OutputText(text):
                        assert_type(text, str)
                    case Refusal():
                        assert_type(part.refusal, str)
                    case _:
                        assert_type(part, ContentPart)
        case UnknownItem():
            assert_type(item.type, str)
        case _:
            assert_type(item, Item)


def names_that_are_loaded_late_are_known() -> None:
    """From the package as well as by import."""
    assert_type(protocol.ResponseCompleted, type[ResponseCompleted])
    assert_type(protocol.FunctionCall("c", "n", "{}"), FunctionCall)


def the_codec() -> None:
    """Text to events and back."""
    try:
        assert_type(decode_event("{}"), ServerEvent)
        assert_type(decode_event(b"{}", limits=protocol.Limits(max_depth=5)), ServerEvent)
        assert_type(response_from_wire({"id": "r"}), Response)
    except DecodeError as error:
        assert_type(error.reason, str)
        assert_type(error.excerpt, str)
    assert_type(item_from_wire({}), Item)
    assert_type(request_from_wire({}), protocol.ClientEvent)
    assert_type(encode(ResponseCreate(model="m")), bytes)
    assert_type(to_wire(ResponseCreate(model="m")), dict[str, Any])
    assert_type(normalise_error({}), ErrorDetail)


def constructors() -> None:
    """What they take: typed objects, or the JSON objects that they stand for."""
    call = FunctionCall("call_1", "look", "{}", id="fc_1", status="completed", extra={"more": 1})
    create = ResponseCreate(
        model="m",
        input=[call, FunctionCallOutput("call_1", "ok"), {"role": "user", "content": "Hi"}],
        tools=[FunctionTool("look", {"type": "object"}), {"type": "web_search"}],
        reasoning={"effort": "low"},
        store=False,
    )
    assert_type(create.input, str | tuple[Item | Mapping[str, Any], ...] | None)
    assert_type(create.tools, tuple[ToolDefinition | Mapping[str, Any], ...] | None)
    assert_type(ResponseSteer("resp_1", "Stop.").previous_response_id, str)
    assert_type(ResponseOutputItemDone(call, 0).item, Item)
    assert_type(ResponseOutputItemDone({"type": "message"}, 0, stream_id="a").item, Item)
    FunctionCall("call_1", "look", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FunctionCall("call_1", "look")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    call.status = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    _: Wire = create


def settings() -> None:
    """Every option has its type."""
    made = ModelSettings(
        temperature=0.5,
        reasoning=ReasoningOptions(effort="low"),
        text={"verbosity": "low"},
        include=["reasoning.encrypted_content"],
        metadata={"a": "b"},
        tool_choice="required",
    )
    assert_type(made.temperature, float | None)
    assert_type(made.reasoning, ReasoningOptions | Mapping[str, Any] | None)
    assert_type(made.text, TextOptions | Mapping[str, Any] | None)
    assert_type(made.tool_choice, str | ToolChoice | Mapping[str, Any] | None)
    assert_type(made.include, tuple[str, ...] | None)
    assert_type(made.apply_to(ResponseCreate()), ResponseCreate)
    ModelSettings(temperature="warm")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ModelSettings(temprature=0.5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
