"""Reasoning: summaries, if the request asks for them, and raw text from models that show it."""

from typing import ClassVar, Literal

import attrs

from triplane.protocol._wire import JSON, Payload
from triplane.protocol.content import ContentPart

from ._shapes import ContentDelta, ContentEvent, SummaryEvent


def _part(given: ContentPart | JSON | Payload[ContentPart]) -> Payload[ContentPart]:
    return Payload.of(ContentPart, given)


@attrs.frozen(eq=False, repr=False)
class SummaryPartEvent(SummaryEvent):
    """An event that carries a part of a reasoning summary."""

    __match_args__: ClassVar[  # pyright: ignore[reportIncompatibleVariableOverride]
        tuple[Literal["item_id"], Literal["output_index"], Literal["summary_index"], Literal["part"]]
    ] = ("item_id", "output_index", "summary_index", "part")

    _part: Payload[ContentPart] = attrs.field(alias="part", converter=_part)

    @property
    def part(self) -> ContentPart:
        """The part, structured on first access."""
        return self._part.value

    @property
    def raw_part(self) -> JSON:
        """The part as the JSON object that came over the wire. Shared: do not change it."""
        return self._part.raw


class ResponseReasoningSummaryPartAdded(SummaryPartEvent):
    """A part of the summary begins, still empty."""

    __slots__ = ()
    type: ClassVar[str] = "response.reasoning_summary_part.added"


@attrs.frozen(eq=False, repr=False)
class ResponseReasoningSummaryPartDone(SummaryPartEvent):
    """A part of the summary is final; ``status`` is ``incomplete`` if it was cut off."""

    type: ClassVar[str] = "response.reasoning_summary_part.done"
    status: str | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseReasoningSummaryTextDelta(SummaryEvent):
    """The next piece of a summary part."""

    type: ClassVar[str] = "response.reasoning_summary_text.delta"
    delta: str


@attrs.frozen(eq=False, repr=False)
class ResponseReasoningSummaryTextDone(SummaryEvent):
    """The whole text of a summary part."""

    type: ClassVar[str] = "response.reasoning_summary_text.done"
    text: str


class ResponseReasoningTextDelta(ContentDelta):
    """The next piece of raw reasoning."""

    __slots__ = ()
    type: ClassVar[str] = "response.reasoning_text.delta"


@attrs.frozen(eq=False, repr=False)
class ResponseReasoningTextDone(ContentEvent):
    """The whole text of a part of raw reasoning."""

    type: ClassVar[str] = "response.reasoning_text.done"
    text: str
