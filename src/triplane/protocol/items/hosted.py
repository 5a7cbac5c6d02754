"""Calls of tools that the server runs itself: searches, the code interpreter, images.

The client never executes these.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class WebSearchAction(Wire):
    """What a web search did. Base of the action classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "search": "items.hosted:SearchAction",
            "open_page": "items.hosted:OpenPageAction",
            "find_in_page": "items.hosted:FindInPageAction",
        },
        "items.hosted:UnknownWebSearchAction",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownWebSearchAction(WebSearchAction):
    """An action of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class SearchSource(Wire):
    """A page that a search used. ``type`` is ``url``."""

    tagged: ClassVar[bool] = False
    type: str
    url: str


@attrs.frozen(eq=False, repr=False)
class SearchAction(WebSearchAction):
    """It asked a search engine."""

    type: ClassVar[str] = "search"
    query: str | None = None
    queries: tuple[str, ...] | None = None
    sources: tuple[SearchSource, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class OpenPageAction(WebSearchAction):
    """It opened a page."""

    type: ClassVar[str] = "open_page"
    url: str | None = None


@attrs.frozen(eq=False, repr=False)
class FindInPageAction(WebSearchAction):
    """It looked for a pattern in a page."""

    type: ClassVar[str] = "find_in_page"
    url: str
    pattern: str


@attrs.frozen(eq=False, repr=False)
class WebSearchCall(Item):
    """A web search. Its ``action`` may be absent while the search begins."""

    type: ClassVar[str] = "web_search_call"
    action: WebSearchAction | None = None
    status: str | None = None


@attrs.frozen(eq=False, repr=False)
class FileSearchResult(Wire):
    """A passage that a search in files found."""

    tagged: ClassVar[bool] = False
    file_id: str | None = None
    filename: str | None = None
    score: float | None = None
    text: str | None = None
    attributes: Mapping[str, Any] | None = None


@attrs.frozen(eq=False, repr=False)
class FileSearchCall(Item):
    """A search in files. ``results`` come only if the request includes ``file_search_call.results``."""

    type: ClassVar[str] = "file_search_call"
    queries: tuple[str, ...] | None = None
    results: tuple[FileSearchResult, ...] | None = None
    status: str | None = None


@attrs.frozen(eq=False, repr=False)
class CodeInterpreterOutput(Wire):
    """Something that code produced. Base of the output classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"logs": "items.hosted:CodeInterpreterLogs", "image": "items.hosted:CodeInterpreterImage"},
        "items.hosted:UnknownCodeInterpreterOutput",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownCodeInterpreterOutput(CodeInterpreterOutput):
    """An output of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class CodeInterpreterLogs(CodeInterpreterOutput):
    """What the code printed."""

    type: ClassVar[str] = "logs"
    logs: str


@attrs.frozen(eq=False, repr=False)
class CodeInterpreterImage(CodeInterpreterOutput):
    """A picture that the code drew."""

    type: ClassVar[str] = "image"
    url: str


@attrs.frozen(eq=False, repr=False)
class CodeInterpreterCall(Item):
    """Code that the server runs in a container. ``outputs`` come only if the request includes them."""

    type: ClassVar[str] = "code_interpreter_call"
    container_id: str | None = None
    code: str | None = None
    outputs: tuple[CodeInterpreterOutput, ...] | None = None
    status: str | None = None


@attrs.frozen(eq=False, repr=False)
class ImageModerationDetails(Wire):
    """Why an image was stopped, and at which stage: input, output or unknown."""

    tagged: ClassVar[bool] = False
    categories: tuple[str, ...]
    moderation_stage: str


@attrs.frozen(eq=False, repr=False)
class ImageGenerationError(Wire):
    """Why an image could not be made."""

    tagged: ClassVar[bool] = False
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    moderation_details: ImageModerationDetails | None = None


@attrs.frozen(eq=False, repr=False)
class SvgUsage(Wire):
    """What drawing an SVG cost."""

    tagged: ClassVar[bool] = False
    model: str
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int


@attrs.frozen(eq=False, repr=False)
class ImageGenerationCall(Item):
    """An image that the server makes; ``result`` is the image in base64."""

    type: ClassVar[str] = "image_generation_call"
    result: str | None = attrs.field(default=None, repr=False)
    status: str | None = None
    action: str | None = None
    background: str | None = None
    error: ImageGenerationError | None = None
    output_format: str | None = None
    quality: str | None = None
    revised_prompt: str | None = None
    size: str | None = None
    svg_usage: SvgUsage | None = None
