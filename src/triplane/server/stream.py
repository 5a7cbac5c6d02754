"""From a model's steps to the events of one response, in the order in which the Responses API sends them."""

from __future__ import annotations

import logging
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, final, get_args

import attrs
import orjson

from .errors import Refused, error_body
from .events import ITEMS, Event, EventWriter, MessageWriter, OutOfTokens
from .model import Model, ModelRequest
from .steps import (
    Annotation,
    AnyEvent,
    Audio,
    ContainerFileCitation,
    Fail,
    FileCitation,
    FilePath,
    Incomplete,
    NewMessage,
    Refusal,
    Step,
    StreamError,
    Strike,
    Text,
    UrlCitation,
    Wait,
)
from .usage import usage
from .websocket.required import required_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .conversation import Conversation, Item
    from .ids import Ids
    from .physics import Pace
    from .websocket.state import Resolved

__all__ = ["Event", "ResponseStream"]

_ROOT_AGENT: Final = "/root"


class _End(Enum):
    """What comes after a model's last step; None would be what a model said by mistake."""

    END = "end"


# What can be drawn from a model.
_DRAWN: Final = frozenset((*get_args(Step), _End))

# What a model may still say when it has used up its tokens.
_FREE: Final = frozenset((Wait, Strike, *get_args(Annotation), Incomplete, Fail, StreamError, AnyEvent))

logger = logging.getLogger("triplane.server")


@final
class ResponseStream:
    """One response being made. No I/O: time and ids come from what is passed in.

    Args:
        resolved: the request and its conversation.
        model: who answers; with `generate: false` it is not asked.
        ids: where the ids of the response, its items and calls come from.
        now: the time in whole seconds since the epoch.
        pace: how long the model takes; None for no time at all.
        stream_id: the lane that its events name; None for the default one, which has no name.
        injection_wait: seconds that a response of the multi-agent beta waits for the outputs of its calls before it
            completes without them.

    Raises:
        Refused: the model turns the request down.

    Attributes:
        id: the response's id.
        output: the items finished so far.
        status: as in the latest event that carried the response; "failed" after an `error` event.
        response: the response object of that event.
        stream_id: the lane.
    """

    def __init__(
        self,
        resolved: Resolved,
        model: Model,
        *,
        ids: Ids,
        now: Callable[[], int],
        pace: Pace | None = None,
        stream_id: str | None = None,
        injection_wait: float = 0,
    ) -> None:
        create = resolved.create
        self.id = ids.new("resp")
        self.status = "in_progress"
        self.response: Mapping[str, Any] = {}
        self.stream_id = stream_id
        self._resolved = resolved
        self._model = model
        self._now = now
        self._created_at = now()
        self._pace = pace
        self._injection_wait = injection_wait if create.multi_agent else 0
        self._injected: list[Item] = []
        self._awaits_injection = False
        # How much of the output the conversation holds already.
        self._read_back = 0
        self._stopping = False
        self._writer = EventWriter(
            ids,
            stream_id=stream_id,
            pace=pace,
            max_output_tokens=create.max_output_tokens,
            agent=_ROOT_AGENT if self._injection_wait else None,
        )
        self._message = MessageWriter(self._writer)
        self.output = self._writer.output
        self._steps: Iterator[Step] = iter(())
        if create.generate:
            self._steps = self._begin()

    @property
    def continuable(self) -> bool:
        """Whether it has ended, and so that it can be continued."""
        return self.status in ("completed", "incomplete")

    def steer(self) -> None:
        """Have the response stop before the next step of its model, as `response.incomplete`.

        If there is none it completes, and so does a response that has called a client's tool, since a call cannot be
        taken back. A wait that has begun is not cut short: more steers can come meanwhile.
        """
        self._stopping = True

    def inject(self, items: Sequence[Item]) -> bool:
        """Give a response that waits for the outputs of its calls some of them.

        Returns:
            Whether it was waiting for them and need not any longer.
        """
        self._injected += items
        return self._awaits_injection and not self.missing

    @property
    def missing(self) -> list[dict[str, Any]]:
        """The calls of a response of the multi-agent beta that have no output yet, as stubs of those outputs."""
        if not self._injection_wait:
            return []
        given = {item.get("call_id") for item in self._injected}
        calls = required_input(self.output[self._read_back :])
        return [stub for stub in calls if stub.get("call_id") not in given]

    @property
    def conversation(self) -> Conversation:
        """Everything up to and including the output so far."""
        items = [*self.output[self._read_back :], *self._injected]
        size = len(orjson.dumps(items))
        return self._resolved.conversation.extended(items, size, checked=False)

    def control(self, kind: str, **fields: Any) -> Event:
        """Return an event about this response that is not one of its own; to be sent before any that is made later."""
        return self._writer.event(kind, **fields)

    def play(self) -> Iterator[Event | Wait | Strike]:
        """Yield the response's events and, between them, the waits that the model and its pace ask for.

        To be drawn to its end, or dropped. An exception of the model ends the response as `response.failed` and is
        logged.
        """
        yield self._lifecycle("response.created")
        if not self._resolved.create.generate:
            yield self._completed()
            return
        yield self._lifecycle("response.in_progress")
        writer, message = self._writer, self._message
        if self._pace is not None and (seconds := self._pace.first()):
            yield Wait(seconds)
        while True:
            try:
                step = next(self._steps, _End.END)
                if type(step) not in _DRAWN:
                    raise TypeError(f"not a step: {step!r}")
            except Exception as exc:
                logger.exception("The model %r failed.", self._model.name)
                yield from self._end(Fail("server_error", f"The model failed: {type(exc).__name__}."))
                return
            if step is _End.END:
                yield from message.close()
                if self.missing:
                    self._awaits_injection = True
                    yield Wait(self._injection_wait)
                    self._awaits_injection = False
                if not self._injected or self.missing:
                    break
                self._read_injected()
                self._steps = self._go_on()
                continue
            if self._stopping and not required_input(self.output):
                yield from self._incomplete("steered")
                return
            if writer.full and type(step) not in _FREE:
                yield from self._incomplete("max_output_tokens")
                return
            if type(step) is Text and message.takes_text and self._pace is None:
                # Most of what is said comes this way, so it is a short one.
                yield message.delta(step)
            elif isinstance(step, (Incomplete, Fail, StreamError)):
                yield from self._end(step)
                return
            else:
                try:
                    yield from self._perform(step)
                except OutOfTokens:
                    writer.cut = True
            if writer.cut:
                yield from self._incomplete("max_output_tokens")
                return
        yield self._completed()

    def _begin(self) -> Iterator[Step]:
        """Ask the model and draw its first step, since only before it can the request be turned down."""
        steps: Iterator[Step]
        try:
            steps = iter(self._ask())
            first = next(steps, _End.END)
        except Refused:
            raise
        except Exception as exc:  # noqa: BLE001 - raised again where it ends the response
            return _raising(exc)
        return steps if first is _End.END else chain((first,), steps)

    def _go_on(self) -> Iterator[Step]:
        """Ask the model again, inside `next`."""
        yield from self._ask()

    def _ask(self) -> Iterable[Step]:
        create = self._resolved.create
        request = ModelRequest(
            model=create.model,
            instructions=create.instructions,
            tools=create.tools,
            conversation=self._resolved.conversation,
            new_items=create.items,
            parallel_tool_calls=create.parallel_tool_calls,
            previous_response_id=create.previous_response_id,
            settings=create.settings,
        )
        return self._model.respond(request)

    def _read_injected(self) -> None:
        """Let the model go on from the outputs that were injected."""
        create = attrs.evolve(self._resolved.create, items=self._injected)
        self._resolved = attrs.evolve(self._resolved, create=create, conversation=self.conversation)
        self._injected, self._read_back = [], len(self.output)

    def _perform(self, step: Step) -> Iterator[Event | Wait | Strike]:
        match step:
            case Text():
                yield from self._message.text(step)
            case NewMessage():
                yield from self._message.new(step)
            case Refusal():
                yield from self._message.refusal(step)
            case UrlCitation() | FileCitation() | ContainerFileCitation() | FilePath():
                yield from self._message.annotate(step)
            case Wait() | Strike():
                yield step
            case AnyEvent(kind, payload):
                yield self._writer.event(kind, **payload)
            case Audio():
                # Speech goes along with a message.
                yield from ITEMS[Audio](step, self._writer)
            case _:
                yield from self._message.close()
                yield from ITEMS[type(step)](step, self._writer)

    def _end(self, ending: Incomplete | Fail | StreamError) -> Iterator[Event | Wait]:
        """End otherwise than by completing."""
        match ending:
            case Incomplete(reason):
                yield from self._incomplete(reason)
            case Fail(code, message):
                yield from self._message.close("incomplete")
                self.status = "failed"
                yield self._lifecycle("response.failed", error={"code": code, "message": message})
            case StreamError():
                self.status = "failed"
                error = error_body(
                    code=ending.code, message=ending.message, param=ending.param, error_type=ending.error_type
                )
                yield self._writer.event("error", error=error)

    def _incomplete(self, reason: str) -> Iterator[Event | Wait]:
        """End in the middle; what is open is cut off."""
        yield from self._message.close("incomplete")
        self.status = "incomplete"
        yield self._lifecycle(
            "response.incomplete", incomplete_details={"reason": reason}, usage=self._usage()
        )

    def _completed(self) -> Event:
        self.status = "completed"
        return self._lifecycle("response.completed", completed_at=self._now(), usage=self._usage())

    def _usage(self) -> dict[str, Any]:
        return usage(self._resolved, self._writer.written, self._writer.reasoned)

    def _lifecycle(
        self,
        kind: str,
        *,
        completed_at: int | None = None,
        usage: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        incomplete_details: dict[str, Any] | None = None,
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
            "incomplete_details": incomplete_details,
            "model": create.model,
            "output": list(self.output),
            "previous_response_id": create.previous_response_id,
            **create.settings,
            "usage": usage,
        }
        return self._writer.lifecycle(kind, self.response)


def _raising(exc: Exception) -> Iterator[Step]:
    yield from ()
    raise exc
