"""Server events as they come over the wire, for tests: every one is decoded from its JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from triplane import protocol
from triplane.core.accumulator import ResponseAccumulator
from triplane.protocol import decode_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triplane.protocol import ServerEvent

Item = dict[str, Any]


def event(kind: str, **fields: Any) -> ServerEvent:
    """An event of a type; what is not given is absent."""
    return decode_event(json.dumps({"type": kind, **fields}))


def fold(*events: ServerEvent) -> ResponseAccumulator:
    """A response that had these events."""
    response = ResponseAccumulator()
    for each in events:
        response.apply(each)
    return response


def numbered(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Frames with the numbers that a server would give them."""
    return [{**frame, "sequence_number": number} for number, frame in enumerate(events)]


def lifecycle(kind: str, response_id: str | None = "resp_1", **response: Any) -> ServerEvent:
    """One of the six events that carry the whole response. Made without the codec, which lets less pass."""
    identity = {} if response_id is None else {"id": response_id}
    name = "".join(word.title() for word in kind.split("_"))
    made: ServerEvent = getattr(protocol, f"Response{name}")({**identity, **response})
    return made


def created(response_id: str | None = "resp_1") -> ServerEvent:
    return lifecycle("created", response_id, status="in_progress", output=[])


def completed(output: Any = ..., response_id: str | None = "resp_1", **response: Any) -> ServerEvent:
    given = {} if output is ... else {"output": output}
    return lifecycle("completed", response_id, status="completed", **given, **response)


def incomplete(reason: str | None = None, response_id: str = "resp_1", **response: Any) -> ServerEvent:
    details = None if reason is None else {"reason": reason}
    return lifecycle("incomplete", response_id, status="incomplete", incomplete_details=details, **response)


def failed(code: str = "server_error", response_id: str = "resp_1") -> ServerEvent:
    return lifecycle("failed", response_id, status="failed", error={"code": code, "message": "it broke"})


def error(code: str | None = "server_error", status: int | None = 500, **fields: Any) -> ServerEvent:
    return event("error", status=status, error={"code": code, "message": "it broke"}, **fields)


def added(item: Item, output_index: int = 0, **fields: Any) -> ServerEvent:
    return event("response.output_item.added", item=item, output_index=output_index, **fields)


def done(item: Item, output_index: int = 0, **fields: Any) -> ServerEvent:
    """An item's end. Made without the codec, which lets less pass."""
    return protocol.ResponseOutputItemDone(item, output_index, **fields)


def text_delta(delta: str, output_index: int = 0, content_index: int = 0, **fields: Any) -> ServerEvent:
    fields = {"item_id": "msg_1", **fields}
    return event(
        "response.output_text.delta",
        delta=delta,
        output_index=output_index,
        content_index=content_index,
        **fields,
    )


def text_done(text: str, output_index: int = 0, content_index: int = 0, **fields: Any) -> ServerEvent:
    fields = {"item_id": "msg_1", **fields}
    return event(
        "response.output_text.done",
        text=text,
        output_index=output_index,
        content_index=content_index,
        **fields,
    )


def arguments_delta(delta: str, output_index: int = 0, **fields: Any) -> ServerEvent:
    fields = {"item_id": "fc_1", **fields}
    return event("response.function_call_arguments.delta", delta=delta, output_index=output_index, **fields)


def arguments_done(arguments: str, output_index: int = 0, **fields: Any) -> ServerEvent:
    fields = {"item_id": "fc_1", **fields}
    return event(
        "response.function_call_arguments.done", arguments=arguments, output_index=output_index, **fields
    )


def message(text: str, identity: str = "msg_1", **fields: Any) -> Item:
    return {
        "type": "message",
        "id": identity,
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
        **fields,
    }


def call(call_id: str = "call_1", arguments: str = "{}", *, identity: str = "fc_1", **fields: Any) -> Item:
    return {
        "type": "function_call",
        "id": identity,
        "call_id": call_id,
        "name": "look",
        "arguments": arguments,
        "status": "completed",
        **fields,
    }


def reasoning(identity: str = "rs_1", **fields: Any) -> Item:
    return {"type": "reasoning", "id": identity, "summary": [], "encrypted_content": "gAAAA", **fields}


def user(text: str, **fields: Any) -> Item:
    return {"type": "message", "role": "user", "content": text, **fields}


def answer(call_id: str = "call_1", output: str = "ok") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": output}
