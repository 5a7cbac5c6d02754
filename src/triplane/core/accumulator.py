"""What one response amounts to so far: its events folded.

The fold is total: no event in any order raises. It is deterministic, and linear in the length of the response. Four
rules settle what the events leave open, the first three as in OpenAI's own helper (openai-python 3.52.0,
``lib/responses_websocket``):

1. What was not announced is built on demand.
2. ``*.done`` replaces the deltas before it, and ``output_item.done`` the item.
3. The terminal event's ``output`` list replaces everything, except that tool calls that had finished win over it: they
   may have been run. An absent or null list replaces nothing, and one without items nothing that was done.
4. Only an identical event with the same sequence number is a repetition, and is dropped.

What does not agree is reported as `Difference`, what should not be there as `Irregularity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from triplane.protocol import ErrorDetail, normalise_error

from .by_class import ByClass
from .call_items import call_of
from .canonical import canonical_json
from .differences import Difference
from .folds import FOLDS, Fold
from .item_builder import PartialImage
from .items import text_of
from .numbering import Irregularity
from .output_builder import OutputBuilder
from .records import Item, UndecodableFrame

if TYPE_CHECKING:
    from triplane.protocol import (
        ErrorEvent,
        ResponseCompleted,
        ResponseCreated,
        ResponseFailed,
        ResponseIncomplete,
        ResponseInProgress,
        ResponseQueued,
        ServerEvent,
    )

    from .outcome import ToolCall

    TerminalEvent = ResponseCompleted | ResponseIncomplete | ResponseFailed
    LifecycleEvent = ResponseCreated | ResponseQueued | ResponseInProgress | TerminalEvent

ResponseStatus = Literal["awaited", "in_progress", "completed", "incomplete", "failed", "error"]


@attrs.frozen
class ResponseSnapshot:
    """One response as far as it is known. Wire data in it is shared: do not change it.

    Attributes:
        id: The response's id, None before ``response.created``.
        status: ``"awaited"`` before the first event; ``"in_progress"``; ``"completed"``, ``"incomplete"`` or
            ``"failed"`` by the terminal event; ``"error"`` when an ``error`` event ended it.
        text: All visible text of the message items, refusals included, in output order.
        output: The output items as wire data.
        usage: The terminal event's usage as wire data, else None.
        incomplete_reason: Why it is incomplete, in the server's word; else empty.
        partial_images: The previews of images that are being generated, in output order.
        audio: The pieces of spoken audio, each in base64.
        transcript: What the audio says.
        differences: Where a later event said something else than those before it, in the order of discovery.
        irregularities: What should not have been in the stream, in order.
        error: Why it failed, else None.
    """

    id: str | None
    status: ResponseStatus
    text: str
    output: tuple[Item, ...]
    usage: dict[str, Any] | None
    incomplete_reason: str = ""
    partial_images: tuple[PartialImage, ...] = ()
    audio: tuple[str, ...] = ()
    transcript: str = ""
    differences: tuple[Difference, ...] = ()
    irregularities: tuple[Irregularity, ...] = ()
    error: ErrorDetail | None = None


class ResponseAccumulator:
    """Folds the events of one response. `apply` is the only way in.

    Args:
        previous_response_id: The response that this one continues. A trailing event of it, on the same lane, is not
            taken for this response's own.
        conversation: The server's conversation that it was asked to belong to.

    Attributes:
        id: The response's id, None before it is known.
        is_over: Whether nothing more of this response can come. What comes all the same is ignored.
        usage: The terminal event's usage as wire data, else None.
        error: Why it failed, else None.
        incomplete_reason: Why it is incomplete, else empty.
        undecodable: The frame in it that was not an event, else None. It ended there, as ``"error"`` without an `error`.
        displaced_by: The response that the server began in the middle of this one, else None. It ended there likewise:
            what comes after it cannot be told apart.
        built: Its output. For the turn, which folds the events of the output itself.
    """

    def __init__(self, previous_response_id: str | None = None, *, conversation: str | None = None) -> None:
        self.id: str | None = None
        self.is_over = False
        self.usage: dict[str, Any] | None = None
        self.error: ErrorDetail | None = None
        self.incomplete_reason = ""
        self.undecodable: UndecodableFrame | None = None
        self.displaced_by: str | None = None
        self._previous = previous_response_id
        self._conversation = conversation
        self.built = OutputBuilder()
        self._begun = False
        self._ended: ResponseStatus | None = None

    def apply(self, event: ServerEvent | UndecodableFrame) -> None:
        """Fold one event. Never raises; events that are not known change nothing."""
        if self.is_over:
            return
        cls = event.__class__
        fold = OUTPUT_FOLDS[cls]
        if fold is not None:
            fold(self.built, event)
        else:
            _HANDLERS[cls](self, event)

    @property
    def status(self) -> ResponseStatus:
        """See `ResponseSnapshot`."""
        if self._ended is not None:
            return self._ended
        return "in_progress" if self._begun or self.has_output else "awaited"

    @property
    def has_output(self) -> bool:
        """Whether anything of the output has come, if only the beginning of an item."""
        return not self.built.is_empty

    @property
    def shown(self) -> int:
        """How many characters of visible text readers can have seen, those included that were replaced since.

        Costs the length of the response.
        """
        return len(self.text()) + self.built.overwritten

    @property
    def differences(self) -> tuple[Difference, ...]:
        """See `ResponseSnapshot`."""
        return tuple(self.built.differences)

    @property
    def irregularities(self) -> tuple[Irregularity, ...]:
        """See `ResponseSnapshot`."""
        return tuple(self.built.numbering.irregularities)

    def output(self) -> list[Item]:
        """The output items so far, as wire data in output order. Costs the length of the response."""
        return self.built.output()

    def calls(self) -> list[ToolCall]:
        """The finished calls of the client's tools, in output order, each call id once."""
        found: dict[str, ToolCall] = {}
        for item in self.built.finished():
            call = call_of(item)
            if call is not None:
                found.setdefault(call.call_id, call)
        return list(found.values())

    def text(self) -> str:
        """The visible text of the message items, refusals included. Costs the length of the response."""
        return text_of(self.output())

    def snapshot(self) -> ResponseSnapshot:
        """The response as far as it is known. Costs the length of the response."""
        output = self.output()
        return ResponseSnapshot(
            self.id,
            self.status,
            text_of(output),
            tuple(output),
            self.usage,
            incomplete_reason=self.incomplete_reason,
            partial_images=self.built.partial_images(),
            audio=tuple(self.built.audio),
            transcript="".join(self.built.transcript),
            differences=self.differences,
            irregularities=self.irregularities,
            error=self.error,
        )

    def state(self) -> Mapping[str, Any]:
        """Everything observable, and what the folding of later events depends on.

        Only the events that a repetition would be known by are not in it.
        """
        return {
            "snapshot": self.snapshot(),
            "shown": self.shown,
            "undecodable": self.undecodable,
            "displaced_by": self.displaced_by,
            "previous": self._previous,
            "conversation": self._conversation,
            "numbering": self.built.numbering.state(),
            "output": self.built.state(),
        }

    def canonical(self) -> bytes:
        """The state as bytes that are equal for equal states. Costs the length of the response."""
        return canonical_json(self.state())

    def cut_off(self, reason: str) -> None:
        """End it as incomplete: the server went on without telling of its end."""
        self.incomplete_reason = reason
        self._end("incomplete", {})

    def _going_on(self, event: ResponseCreated | ResponseQueued | ResponseInProgress) -> None:
        if self._is_foreign(event):
            if event.type == "response.created":
                self.displaced_by = event.raw_response.get("id")
                self._end("error", {})
        elif not self.built.numbering.repeats(event, event):
            self._begun = True
            self._identify(event.raw_response)

    def _terminal(self, event: TerminalEvent) -> None:
        if self._is_foreign(event):
            return
        response = event.raw_response
        self._identify(response)
        self._compare_chain(event)
        usage = response.get("usage")
        self.usage = usage if isinstance(usage, dict) else None
        if event.type == "response.completed":
            self._end("completed", response)
        elif event.type == "response.incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            self.incomplete_reason = reason if isinstance(reason, str) else "unknown"
            self._end("incomplete", response)
        else:
            self.error = normalise_error(event)
            self._end("failed", response)

    def _error(self, event: ErrorEvent) -> None:
        self.error = normalise_error(event)
        self._end("error", {})

    def _undecodable(self, frame: UndecodableFrame) -> None:
        # It ends here: what stood in that frame is not known, so neither is what the later ones come to. They may have
        # come in the same batch, or not; that must make no difference.
        self.undecodable = frame
        self._end("error", {})

    def _unknown(self, event: ServerEvent) -> None:
        # It may be one of the response's events all the same, with a number of its own.
        self.built.numbering.repeats(event, event)

    def _end(self, status: ResponseStatus, response: Mapping[str, Any]) -> None:
        self._ended = status
        self.is_over = True
        self.built.settle(response.get("output"), whole=status == "completed")
        self.built.numbering.forget()

    def _identify(self, response: Mapping[str, Any]) -> None:
        identity = response.get("id")
        if self.id is None and isinstance(identity, str):
            self.id = identity

    def _compare_chain(self, event: TerminalEvent) -> None:
        """Report a response to another request than ours; a server that says nothing about that says nothing wrong."""
        previous = event.raw_response.get("previous_response_id")
        conversation = event.raw_response.get("conversation")
        if isinstance(conversation, dict):
            conversation = conversation.get("id")
        for asked, said in (
            (self._previous, previous),
            (self._conversation, conversation if self._conversation is not None else None),
        ):
            if isinstance(said, str) and said != asked:
                self.built.numbering.irregularities.append(
                    Irregularity("other_chain", event.type, asked or "", said)
                )

    def _is_foreign(self, event: LifecycleEvent) -> bool:
        """Whether an event is one of another response; only these events say whose they are."""
        identity = event.raw_response.get("id")
        own = self.id
        if own is None:
            # A server that uses an id again says so by beginning with it.
            is_foreign = (
                identity is not None and identity == self._previous and event.type != "response.created"
            )
        else:
            is_foreign = isinstance(identity, str) and identity != own
        if is_foreign:
            self.built.numbering.irregularities.append(
                Irregularity("foreign", event.type, own or "", str(identity))
            )
        return is_foreign


OUTPUT_FOLDS: Final = ByClass[Fold | None](FOLDS, None)
# What says nothing about the output. The table stands after the class whose methods it names.
_HANDLERS: Final = ByClass[Callable[[ResponseAccumulator, Any], None]](
    {
        "response.created": ResponseAccumulator._going_on,  # noqa: SLF001
        "response.queued": ResponseAccumulator._going_on,  # noqa: SLF001
        "response.in_progress": ResponseAccumulator._going_on,  # noqa: SLF001
        "response.completed": ResponseAccumulator._terminal,  # noqa: SLF001
        "response.incomplete": ResponseAccumulator._terminal,  # noqa: SLF001
        "response.failed": ResponseAccumulator._terminal,  # noqa: SLF001
        "error": ResponseAccumulator._error,  # noqa: SLF001
        "response.error": ResponseAccumulator._error,  # noqa: SLF001
        UndecodableFrame.type: ResponseAccumulator._undecodable,  # noqa: SLF001
    },
    ResponseAccumulator._unknown,  # noqa: SLF001
)
