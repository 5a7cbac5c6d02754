"""Content parts: what messages, tool outputs and reasoning are made of.

Field names are those of openai-python 3.52.0 (``openai.types.responses``).
"""

from typing import ClassVar

import attrs

from ._families import Family
from ._wire import Wire


@attrs.frozen(eq=False, repr=False)
class Annotation(Wire):
    """A source that output text refers to. Base of the annotation classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "file_citation": "content:FileCitation",
            "url_citation": "content:UrlCitation",
            "container_file_citation": "content:ContainerFileCitation",
            "file_path": "content:FilePath",
        },
        "content:UnknownAnnotation",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownAnnotation(Annotation):
    """An annotation of a type that this version does not know, or that does not fit its class."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class FileCitation(Annotation):
    """A citation of a file that was searched; ``index`` is the character offset of the citation."""

    type: ClassVar[str] = "file_citation"
    file_id: str
    filename: str
    index: int


@attrs.frozen(eq=False, repr=False)
class UrlCitation(Annotation):
    """A citation of a web page for the characters ``start_index`` to ``end_index``."""

    type: ClassVar[str] = "url_citation"
    url: str
    title: str
    start_index: int
    end_index: int


@attrs.frozen(eq=False, repr=False)
class ContainerFileCitation(Annotation):
    """A citation of a file in a code interpreter's container."""

    type: ClassVar[str] = "container_file_citation"
    container_id: str
    file_id: str
    filename: str
    start_index: int
    end_index: int


@attrs.frozen(eq=False, repr=False)
class FilePath(Annotation):
    """The path of a file that the model made; ``index`` is its character offset."""

    type: ClassVar[str] = "file_path"
    file_id: str
    index: int


@attrs.frozen(eq=False, repr=False)
class TopLogprob(Wire):
    """One alternative token and its log probability."""

    tagged: ClassVar[bool] = False
    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class Logprob(TopLogprob):
    """A token of the output, its log probability, and the likeliest alternatives to it."""

    top_logprobs: tuple[TopLogprob, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class PromptCacheBreakpoint(Wire):
    """Marks the end of a prefix that the prompt cache should keep.

    ``mode`` is ``explicit``, ``ttl`` 30m or 12h.
    """

    tagged: ClassVar[bool] = False
    mode: str
    ttl: str | None = None


@attrs.frozen(eq=False, repr=False)
class ContentPart(Wire):
    """One part of a message, of a tool's output or of reasoning. Base of the part classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "input_text": "content:InputText",
            "input_image": "content:InputImage",
            "input_file": "content:InputFile",
            "output_text": "content:OutputText",
            "refusal": "content:Refusal",
            "reasoning_text": "content:ReasoningText",
            "summary_text": "content:SummaryText",
            "text": "content:PlainText",
            "computer_screenshot": "content:ComputerScreenshot",
            "encrypted_content": "content:EncryptedContent",
        },
        "content:UnknownPart",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownPart(ContentPart):
    """A part of a type that this version does not know, or that does not fit its class."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class InputText(ContentPart):
    """Text for the model."""

    type: ClassVar[str] = "input_text"
    text: str
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


@attrs.frozen(eq=False, repr=False)
class InputImage(ContentPart):
    """An image for the model: ``image_url`` or ``file_id``; ``detail`` is low, high, auto or original."""

    type: ClassVar[str] = "input_image"
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


@attrs.frozen(eq=False, repr=False)
class InputFile(ContentPart):
    """A file for the model: a ``file_id``, a ``file_url``, or ``file_data`` with a ``filename``."""

    type: ClassVar[str] = "input_file"
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


@attrs.frozen(eq=False, repr=False)
class OutputText(ContentPart):
    """Text that the model wrote, with its citations and, if asked for, its log probabilities."""

    type: ClassVar[str] = "output_text"
    text: str
    annotations: tuple[Annotation, ...] | None = None
    logprobs: tuple[Logprob, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class Refusal(ContentPart):
    """The model's explanation of why it will not answer."""

    type: ClassVar[str] = "refusal"
    refusal: str


@attrs.frozen(eq=False, repr=False)
class ReasoningText(ContentPart):
    """Raw reasoning, from models that show it."""

    type: ClassVar[str] = "reasoning_text"
    text: str


@attrs.frozen(eq=False, repr=False)
class SummaryText(ContentPart):
    """One paragraph of a summary of the model's reasoning."""

    type: ClassVar[str] = "summary_text"
    text: str


@attrs.frozen(eq=False, repr=False)
class PlainText(ContentPart):
    """Text in a message between agents (multi-agent beta)."""

    type: ClassVar[str] = "text"
    text: str


@attrs.frozen(eq=False, repr=False)
class ComputerScreenshot(ContentPart):
    """A picture of a computer's screen, by URL or file."""

    type: ClassVar[str] = "computer_screenshot"
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


@attrs.frozen(eq=False, repr=False)
class EncryptedContent(ContentPart):
    """A part that only the server can read (multi-agent beta); goes back unchanged."""

    type: ClassVar[str] = "encrypted_content"
    encrypted_content: str
