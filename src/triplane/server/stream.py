"""From a model's steps to the events of one response, in the order in which the Responses API sends them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import attrs
import orjson

from .model import FunctionCall, Model, ModelRequest, NewMessage, Step, Text, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .ids import Ids
    from .state import Resolved

__all__ = ["Event", "ResponseStream"]

Event: TypeAlias = bytes
"""One event as JSON, ready for a frame (or, one day, for a `data:` line)."""

_ARGUMENTS_DELTA: Final = 24

logger = logging.getLogger("triplane.server")


@attrs.define
class _OpenMessage:
    item_id: str
    output_index: int
    phase: str
    deltas: list[str] = attrs.Factory(list)


@final
class ResponseStream:
    """One response being made. No I/O: time and ids come from what is passed in.

    Args:
        resolved: the request and its conversation.
        model: who answers; with `generate: false` it is not asked.
        ids: where the ids of the response, its items and calls come from.
        now: the time in whole seconds since the epoch.
        delta_delay: seconds to wait before each text or arguments delta.

    Attributes:
        id: the response's id.
        output: the items finished so far.
        status: as in the latest event that carried the response.
        response: the response object of that event.
    """

    def __init__(
        self, resolved: Resolved, model: Model, *, ids: Ids, now: Callable[[], int], delta_delay: float = 0
    ) -> None:
        self.id = ids.new("resp")
        self.output: list[dict[str, Any]] = []
        self.output_bytes = 0
        self.status = "in_progress"
        self.response: Mapping[str, Any] = {}
        self._resolved = resolved
        self._model = model
        self._ids = ids
        self._now = now
        self._created_at = now()
        self._delta_delay = Wait(delta_delay)
        self._sequence_number = 0
        self._message: _OpenMessage | None = None

    def play(self) -> Iterator[Event | Wait]:
        """Yield the response's events and, between them, the waits the model asked for.

        To be drawn to its end, or dropped. An exception of the model ends the response as `response.failed` and is
        logged.
        """
        yield self._lifecycle("response.created")
        if not self._resolved.create.generate:
            yield self._completed()
            return
        yield self._lifecycle("response.in_progress")
        steps = self._steps()
        while True:
            try:
                step = next(steps, None)
            except Exception as exc:
                logger.exception("The model %r failed.", self._model.name)
                yield self._failed(f"The model failed: {type(exc).__name__}.")
                return
            if step is None:
                break
            yield from self._perform(step)
        yield from self._close_message()
        yield self._completed()

    def _steps(self) -> Iterator[Step]:
        # A generator, so that even the call of `respond` happens inside `next`.
        create = self._resolved.create
        request = ModelRequest(
            model=create.model,
            instructions=create.instructions,
            tools=create.tools,
            conversation=self._resolved.conversation,
            new_items=create.items,
            parallel_tool_calls=create.parallel_tool_calls,
        )
        for step in self._model.respond(request):
            if not isinstance(step, Step):
                raise TypeError(f"not a step: {step!r}")
            yield step

    def _perform(self, step: Step) -> Iterator[Event | Wait]:
        match step:
            case Text(text):
                if self._message is None:
                    yield from self._open_message("final_answer")
                yield from self._delta(text)
            case NewMessage(phase):
                yield from self._close_message()
                yield from self._open_message(phase)
            case FunctionCall():
                yield from self._close_message()
                yield from self._function_call(step)
            case Wait():
                yield step

    def _open_message(self, phase: str) -> Iterator[Event]:
        message = self._message = _OpenMessage(self._ids.new("msg"), len(self.output), phase)
        item = _message_item(message, "in_progress", [])
        yield self._event("response.output_item.added", output_index=message.output_index, item=item)
        yield self._part("response.content_part.added", message, "")

    def _delta(self, text: str) -> Iterator[Event | Wait]:
        message = self._message
        assert message is not None
        message.deltas.append(text)
        if self._delta_delay.seconds:
            yield self._delta_delay
        yield self._event(
            "response.output_text.delta",
            item_id=message.item_id,
            output_index=message.output_index,
            content_index=0,
            delta=text,
            logprobs=[],
        )

    def _close_message(self) -> Iterator[Event]:
        message, self._message = self._message, None
        if message is None:
            return
        text = "".join(message.deltas)
        yield self._event(
            "response.output_text.done",
            item_id=message.item_id,
            output_index=message.output_index,
            content_index=0,
            text=text,
            logprobs=[],
        )
        yield self._part("response.content_part.done", message, text)
        yield self._item_done(_message_item(message, "completed", [_text_part(text)]), len(text.encode()))

    def _part(self, kind: str, message: _OpenMessage, text: str) -> Event:
        return self._event(
            kind,
            item_id=message.item_id,
            output_index=message.output_index,
            content_index=0,
            part=_text_part(text),
        )

    def _function_call(self, call: FunctionCall) -> Iterator[Event | Wait]:
        item_id, output_index = self._ids.new("fc"), len(self.output)
        item = {
            "id": item_id,
            "type": "function_call",
            "status": "in_progress",
            "call_id": self._ids.new("call"),
            "name": call.name,
            "arguments": "",
        }
        yield self._event("response.output_item.added", output_index=output_index, item=item)
        for start in range(0, len(call.arguments), _ARGUMENTS_DELTA):
            if self._delta_delay.seconds:
                yield self._delta_delay
            yield self._event(
                "response.function_call_arguments.delta",
                item_id=item_id,
                output_index=output_index,
                delta=call.arguments[start : start + _ARGUMENTS_DELTA],
            )
        yield self._event(
            "response.function_call_arguments.done",
            item_id=item_id,
            output_index=output_index,
            arguments=call.arguments,
        )
        done = {**item, "status": "completed", "arguments": call.arguments}
        yield self._item_done(done, len((call.name + call.arguments).encode()))

    def _item_done(self, item: dict[str, Any], size: int) -> Event:
        event = self._event("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
        self.output_bytes += size
        return event

    def _completed(self) -> Event:
        self.status = "completed"
        usage = _usage(self._resolved, self.output_bytes)
        return self._lifecycle("response.completed", completed_at=self._now(), usage=usage)

    def _failed(self, message: str) -> Event:
        self.status = "failed"
        return self._lifecycle("response.failed", error={"code": "server_error", "message": message})

    def _lifecycle(
        self,
        kind: str,
        *,
        completed_at: int | None = None,
        usage: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> Event:
        create = self._resolved.create
        self.response = {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": completed_at,
            "status": self.status,
            "background": False,
            "error": error,
            "incomplete_details": None,
            "model": create.model,
            "output": list(self.output),
            "previous_response_id": create.previous_response_id,
            **create.settings,
            "usage": usage,
        }
        return self._event(kind, response=self.response)

    def _event(self, kind: str, **fields: Any) -> Event:
        number = self._sequence_number
        self._sequence_number += 1
        return orjson.dumps({"type": kind, "sequence_number": number, **fields})


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message_item(message: _OpenMessage, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": message.item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "phase": message.phase,
        "content": content,
    }


def _tokens(size: int) -> int:
    """Four bytes to a token, which is about right for English and exact enough to test sums with."""
    return -(-size // 4)


def _usage(resolved: Resolved, output_bytes: int) -> dict[str, Any]:
    input_tokens = _tokens(resolved.create.settings_bytes + resolved.conversation.size)
    output_tokens = _tokens(output_bytes)
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": _tokens(resolved.cached_bytes), "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }
