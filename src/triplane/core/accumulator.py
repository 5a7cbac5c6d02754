"""What one response amounts to so far: its events folded into its output.

The fold is total: no event in any order raises. It is linear in the length of the response, since deltas are kept
as lists and joined when somebody looks. Three rules settle what the events leave open, as OpenAI's own helper does
(openai-python 3.52.0, ``lib/responses_websocket``): what was not announced is built on demand, ``*.done`` replaces
the deltas before it, and the terminal event's ``output`` list replaces everything, except that a tool call that had
already finished wins over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from triplane.protocol import (
    ErrorDetail,
    ErrorEvent,
    ResponseCompleted,
    ResponseCreated,
    ResponseFailed,
    ResponseFunctionCallArgumentsDelta,
    ResponseFunctionCallArgumentsDone,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseOutputItemAdded,
    ResponseOutputItemDone,
    ResponseOutputTextDelta,
    ResponseOutputTextDone,
    ResponseRefusalDelta,
    ResponseRefusalDone,
    normalise_error,
)

from .outcome import ToolCall
from .records import UndecodableFrame

if TYPE_CHECKING:
    from triplane.protocol import ServerEvent

    from .records import Item

ResponseStatus = Literal["awaited", "in_progress", "completed", "incomplete", "failed", "error"]
_CALLS = ("function_call", "custom_tool_call")


@attrs.frozen
class ResponseSnapshot:
    """One response as far as it is known.

    Attributes:
        id: The response's id, None before ``response.created``.
        status: ``"awaited"`` before the first event; ``"in_progress"``; ``"completed"``, ``"incomplete"`` or
            ``"failed"`` by the terminal event; ``"error"`` when an ``error`` event ended it.
        text: All visible text of the message items, refusals included, in output order.
        output: The output items as wire data.
        usage: The terminal event's usage as wire data, else None.
    """

    id: str | None
    status: ResponseStatus
    text: str
    output: tuple[Item, ...]
    usage: dict[str, Any] | None


@attrs.define
class _Growing:
    """An item that has not finished: what was announced, and the deltas since."""

    announced: Item
    parts: dict[int, list[str]] = attrs.Factory(dict)
    refusals: set[int] = attrs.Factory(set)
    arguments: list[str] | None = None

    def append(self, content_index: int, text: str) -> None:
        self.parts.setdefault(content_index, []).append(text)

    def item(self) -> Item:
        item = dict(self.announced)
        if self.arguments is not None:
            item["arguments"] = "".join(self.arguments)
        if self.parts:
            item["content"] = [
                {"type": "refusal", "refusal": "".join(self.parts[index])}
                if index in self.refusals
                else {"type": "output_text", "text": "".join(self.parts[index]), "annotations": []}
                for index in sorted(self.parts)
            ]
        return item


class ResponseAccumulator:
    """Folds the events of one response. `apply` is the only way in."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.status: ResponseStatus = "awaited"
        self.shown = 0
        self.usage: dict[str, Any] | None = None
        self.error: ErrorDetail | None = None
        self.incomplete_reason = ""
        self.undecodable: UndecodableFrame | None = None
        self._growing: dict[int, _Growing] = {}
        self._finished: dict[int, Item] = {}
        self._terminal: list[Item] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more of this response can come."""
        return self.status not in ("awaited", "in_progress")

    def apply(self, event: ServerEvent | UndecodableFrame) -> None:
        """Fold one event. Never raises; unknown events change nothing."""
        match event:
            case ResponseOutputTextDelta() | ResponseRefusalDelta():
                growing = self._grow(event.output_index, {"type": "message", "role": "assistant", "id": event.item_id})
                growing.append(event.content_index, event.delta)
                if isinstance(event, ResponseRefusalDelta):
                    growing.refusals.add(event.content_index)
                self.shown += len(event.delta)
            case ResponseFunctionCallArgumentsDelta():
                growing = self._grow(event.output_index, {"type": "function_call", "id": event.item_id})
                if growing.arguments is None:
                    growing.arguments = []
                growing.arguments.append(event.delta)
            case ResponseOutputTextDone():
                growing = self._grow(event.output_index, {"type": "message", "role": "assistant", "id": event.item_id})
                growing.parts[event.content_index] = [event.text]
            case ResponseRefusalDone():
                growing = self._grow(event.output_index, {"type": "message", "role": "assistant", "id": event.item_id})
                growing.parts[event.content_index] = [event.refusal]
                growing.refusals.add(event.content_index)
            case ResponseFunctionCallArgumentsDone():
                growing = self._grow(event.output_index, {"type": "function_call", "id": event.item_id})
                growing.arguments = [event.arguments]
            case ResponseOutputItemAdded():
                self._begin()
                if event.output_index not in self._finished:
                    self._growing[event.output_index] = _Growing(dict(event.raw_item))
            case ResponseOutputItemDone():
                self._begin()
                self._growing.pop(event.output_index, None)
                self._finished[event.output_index] = dict(event.raw_item)
            case ResponseCreated() | ResponseInProgress():
                self._begin()
                self._identify(event.raw_response)
            case ResponseCompleted():
                self._end("completed", event.raw_response)
            case ResponseIncomplete():
                details = event.raw_response.get("incomplete_details")
                reason = details.get("reason") if isinstance(details, dict) else None
                self.incomplete_reason = reason if isinstance(reason, str) else "unknown"
                self._end("incomplete", event.raw_response)
            case ResponseFailed():
                self.error = normalise_error(event)
                self._end("failed", event.raw_response)
            case ErrorEvent():
                self.error = normalise_error(event)
                self.status = "error"
            case UndecodableFrame():
                self.undecodable = self.undecodable or event
            case _:
                pass

    def _begin(self) -> None:
        if self.status == "awaited":
            self.status = "in_progress"

    def _identify(self, response: Item) -> None:
        identity = response.get("id")
        if self.id is None and isinstance(identity, str):
            self.id = identity

    def _grow(self, output_index: int, otherwise: Item) -> _Growing:
        self._begin()
        growing = self._growing.get(output_index)
        if growing is None:
            growing = self._growing[output_index] = _Growing(otherwise)
        return growing

    def _end(self, status: ResponseStatus, response: Item) -> None:
        self.status = status
        self._identify(response)
        usage = response.get("usage")
        self.usage = usage if isinstance(usage, dict) else None
        output = response.get("output")
        # An absent or null list replaces nothing; an empty one does.
        if isinstance(output, list):
            self._terminal = [item for item in output if isinstance(item, dict)]

    def output(self) -> list[Item]:
        """The output items so far, as wire data in output order."""
        if self._terminal is None:
            known = {index: growing.item() for index, growing in self._growing.items()} | self._finished
            return [known[index] for index in sorted(known)]
        calls = {
            item["call_id"]: item
            for item in self._finished.values()
            if item.get("type") in _CALLS and isinstance(item.get("call_id"), str)
        }
        output = [calls.pop(item.get("call_id", ""), item) for item in self._terminal]
        return output + list(calls.values())

    def calls(self) -> list[ToolCall]:
        """The finished tool calls, in output order, each call id once."""
        found: dict[str, ToolCall] = {}
        for item in self.output():
            kind = item.get("type")
            if kind not in _CALLS or item.get("status") in ("in_progress", "incomplete"):
                continue
            call_id, name = item.get("call_id"), item.get("name")
            arguments = item.get("arguments" if kind == "function_call" else "input")
            if isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str):
                found.setdefault(call_id, ToolCall(call_id, name, arguments, kind))
        return list(found.values())

    def text(self) -> str:
        """The visible text of the message items, refusals included."""
        return text_of(self.output())

    def snapshot(self) -> ResponseSnapshot:
        """The response as far as it is known. Costs the length of the response."""
        output = self.output()
        return ResponseSnapshot(self.id, self.status, text_of(output), tuple(output), self.usage)


def text_of(items: list[Item]) -> str:
    """The visible text of the message items among `items`."""
    pieces = []
    for item in items:
        content = item.get("content")
        if item.get("type", "message") != "message" or not isinstance(content, list):
            continue
        for part in content:
            if isinstance(part, dict):
                piece = part.get("text") if part.get("type") == "output_text" else part.get("refusal")
                if isinstance(piece, str):
                    pieces.append(piece)
    return "".join(pieces)
