"""Values of request options.

Requests take these classes or plain mappings; responses and items give the classes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from ._families import Family
from ._wire import JSON, Wire


@attrs.frozen(eq=False, repr=False)
class ReasoningOptions(Wire):
    """How to think.

    ``effort`` is none, minimal, low, medium, high, xhigh or max; ``summary`` auto, concise or detailed;
    ``mode`` standard or pro; ``context`` auto, current_turn or all_turns. ``generate_summary`` is the old
    name of ``summary``.
    """

    tagged: ClassVar[bool] = False
    effort: str | None = None
    summary: str | None = None
    mode: str | None = None
    context: str | None = None
    generate_summary: str | None = None


@attrs.frozen(eq=False, repr=False)
class TextFormat(Wire):
    """The form of the answer. Base of the format classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "text": "options:PlainTextFormat",
            "json_schema": "options:JsonSchemaFormat",
            "json_object": "options:JsonObjectFormat",
        },
        "options:UnknownTextFormat",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownTextFormat(TextFormat):
    """A format of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


class PlainTextFormat(TextFormat):
    """Text."""

    __slots__ = ()
    type: ClassVar[str] = "text"


@attrs.frozen(eq=False, repr=False)
class JsonSchemaFormat(TextFormat):
    """JSON that fits a schema."""

    type: ClassVar[str] = "json_schema"
    name: str
    schema: JSON
    description: str | None = None
    strict: bool | None = None


class JsonObjectFormat(TextFormat):
    """Some JSON object: the older way, without a schema."""

    __slots__ = ()
    type: ClassVar[str] = "json_object"


@attrs.frozen(eq=False, repr=False)
class TextOptions(Wire):
    """How to write: the form of the answer, and ``verbosity`` low, medium or high."""

    tagged: ClassVar[bool] = False
    format: TextFormat | None = None
    verbosity: str | None = None


@attrs.frozen(eq=False, repr=False)
class ToolChoice(Wire):
    """Which tool to call, where none, auto and required do not say enough. Base of the choice classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "allowed_tools": "options:AllowedToolsChoice",
            "function": "options:FunctionChoice",
            "custom": "options:CustomToolChoice",
            "mcp": "options:McpChoice",
        },
        "options:HostedToolChoice",
    )


@attrs.frozen(eq=False, repr=False)
class HostedToolChoice(ToolChoice):
    """Call the one tool of this type, such as file_search, image_generation, shell or apply_patch."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class AllowedToolsChoice(ToolChoice):
    """Choose among some of the tools; ``mode`` is auto or required."""

    type: ClassVar[str] = "allowed_tools"
    mode: str
    tools: tuple[JSON, ...]


@attrs.frozen(eq=False, repr=False)
class FunctionChoice(ToolChoice):
    """Call this function."""

    type: ClassVar[str] = "function"
    name: str


@attrs.frozen(eq=False, repr=False)
class CustomToolChoice(ToolChoice):
    """Call this custom tool."""

    type: ClassVar[str] = "custom"
    name: str


@attrs.frozen(eq=False, repr=False)
class McpChoice(ToolChoice):
    """Call a tool of this MCP server."""

    type: ClassVar[str] = "mcp"
    server_label: str
    name: str | None = None


@attrs.frozen(eq=False, repr=False)
class Prompt(Wire):
    """A prompt that is stored on the server, with values for its variables: text, or content parts."""

    tagged: ClassVar[bool] = False
    id: str
    version: str | None = None
    variables: Mapping[str, Any] | None = None


@attrs.frozen(eq=False, repr=False)
class PromptCacheOptions(Wire):
    """How to use the prompt cache.

    ``mode`` is implicit or explicit, ``ttl`` 30m or 12h. ``prewarm`` fills the cache and generates nothing.
    """

    tagged: ClassVar[bool] = False
    mode: str | None = None
    ttl: str | None = None
    prewarm: bool | None = None
    comparison_response_id: str | None = None


@attrs.frozen(eq=False, repr=False)
class Conversation(Wire):
    """A conversation that the server keeps. It cannot be combined with ``previous_response_id``."""

    tagged: ClassVar[bool] = False
    id: str


@attrs.frozen(eq=False, repr=False)
class ContextManagement(Wire):
    """A rule by which the server keeps the context small: ``type`` is ``compaction``."""

    tagged: ClassVar[bool] = False
    type: str
    compact_threshold: int | None = None


@attrs.frozen(eq=False, repr=False)
class ModerationMode(Wire):
    """Score, or block."""

    tagged: ClassVar[bool] = False
    mode: str


@attrs.frozen(eq=False, repr=False)
class ModerationPolicy(Wire):
    """What moderation does with input and output."""

    tagged: ClassVar[bool] = False
    input: ModerationMode | None = None
    output: ModerationMode | None = None


@attrs.frozen(eq=False, repr=False)
class ModerationOptions(Wire):
    """Have input and output moderated by this model."""

    tagged: ClassVar[bool] = False
    model: str
    policy: ModerationPolicy | None = None


@attrs.frozen(eq=False, repr=False)
class ImageOptions(Wire):
    """How images in the context are kept: ``context_compression`` auto, enabled or disabled."""

    tagged: ClassVar[bool] = False
    context_compression: str | None = None


@attrs.frozen(eq=False, repr=False)
class AccessPrograms(Wire):
    """Programs for vetted users: ``cyber`` is standard, daybreak_blue or daybreak_red."""

    tagged: ClassVar[bool] = False
    cyber: str | None = None


@attrs.frozen(eq=False, repr=False)
class StreamOptions(Wire):
    """``include_obfuscation`` pads deltas so that their sizes tell nothing."""

    tagged: ClassVar[bool] = False
    include_obfuscation: bool | None = None


@attrs.frozen(eq=False, repr=False)
class MultiAgentOptions(Wire):
    """Let the model run agents of its own (multi-agent beta)."""

    tagged: ClassVar[bool] = False
    enabled: bool
    max_concurrent_subagents: int | None = None
