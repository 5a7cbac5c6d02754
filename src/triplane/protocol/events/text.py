"""Text that the model writes for the reader: answers, their citations, refusals."""

from typing import ClassVar

import attrs

from triplane.protocol.content import Annotation, Logprob

from ._shapes import ContentDelta, ContentEvent


@attrs.frozen(eq=False, repr=False)
class ResponseOutputTextDelta(ContentDelta):
    """The next piece of an answer's text."""

    type: ClassVar[str] = "response.output_text.delta"
    logprobs: tuple[Logprob, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseOutputTextDone(ContentEvent):
    """A part's whole text; it replaces the sum of the deltas."""

    type: ClassVar[str] = "response.output_text.done"
    text: str
    logprobs: tuple[Logprob, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseOutputTextAnnotationAdded(ContentEvent):
    """A citation was added to a part. It may come before the part itself."""

    type: ClassVar[str] = "response.output_text.annotation.added"
    annotation_index: int
    annotation: Annotation | None = None


class ResponseRefusalDelta(ContentDelta):
    """The next piece of a refusal."""

    __slots__ = ()
    type: ClassVar[str] = "response.refusal.delta"


@attrs.frozen(eq=False, repr=False)
class ResponseRefusalDone(ContentEvent):
    """The whole refusal."""

    type: ClassVar[str] = "response.refusal.done"
    refusal: str
