"""Definitions of tools: the entries of a request's ``tools``.

A tool's own function is not here; these classes only say what the model is told. Types and fields follow
openai-python 3.52.0.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from ._families import Family
from ._wire import JSON, Wire
from .environments import Environment, NetworkPolicy
from .options import ReasoningOptions


@attrs.frozen(eq=False, repr=False)
class ToolDefinition(Wire):
    """A tool that the model may call. Base of the definition classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "function": "tool_definitions:FunctionTool",
            "custom": "tool_definitions:CustomTool",
            "namespace": "tool_definitions:NamespaceTool",
            "tool_search": "tool_definitions:ToolSearchTool",
            "programmatic_tool_calling": "tool_definitions:ProgrammaticToolCallingTool",
            "shell": "tool_definitions:ShellTool",
            "local_shell": "tool_definitions:LocalShellTool",
            "apply_patch": "tool_definitions:ApplyPatchTool",
            "computer": "tool_definitions:ComputerTool",
            "computer_use_preview": "tool_definitions:ComputerUsePreviewTool",
            "mcp": "tool_definitions:McpTool",
            "file_search": "tool_definitions:FileSearchTool",
            "web_search": "tool_definitions:WebSearchTool",
            "web_search_2025_08_26": "tool_definitions:WebSearchTool20250826",
            "web_search_preview": "tool_definitions:WebSearchPreviewTool",
            "web_search_preview_2025_03_11": "tool_definitions:WebSearchPreviewTool20250311",
            "code_interpreter": "tool_definitions:CodeInterpreterTool",
            "image_generation": "tool_definitions:ImageGenerationTool",
        },
        "tool_definitions:UnknownTool",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownTool(ToolDefinition):
    """A tool of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


# --- tools of the client


@attrs.frozen(eq=False, repr=False)
class FunctionTool(ToolDefinition):
    """A function of the client. ``parameters`` is the JSON schema of its arguments."""

    type: ClassVar[str] = "function"
    name: str
    parameters: Any = None
    strict: bool | None = None
    description: str | None = None
    async_: bool | None = None
    """The model goes on without waiting for the output."""
    defer_loading: bool | None = None
    output_schema: JSON | None = None
    allowed_callers: tuple[str, ...] | None = None
    """direct, programmatic, or both."""


@attrs.frozen(eq=False, repr=False)
class CustomFormat(Wire):
    """What a custom tool's input looks like. Base of the format classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"text": "tool_definitions:TextInputFormat", "grammar": "tool_definitions:GrammarFormat"},
        "tool_definitions:UnknownCustomFormat",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownCustomFormat(CustomFormat):
    """A format of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


class TextInputFormat(CustomFormat):
    """Any text."""

    __slots__ = ()
    type: ClassVar[str] = "text"


@attrs.frozen(eq=False, repr=False)
class GrammarFormat(CustomFormat):
    """Text of a grammar; ``syntax`` is lark or regex."""

    type: ClassVar[str] = "grammar"
    syntax: str
    definition: str


@attrs.frozen(eq=False, repr=False)
class CustomTool(ToolDefinition):
    """A tool of the client that takes free text."""

    type: ClassVar[str] = "custom"
    name: str
    description: str | None = None
    format: CustomFormat | None = None
    async_: bool | None = None
    """The model goes on without waiting for the output."""
    defer_loading: bool | None = None
    allowed_callers: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class NamespaceTool(ToolDefinition):
    """Functions and custom tools under a common name."""

    type: ClassVar[str] = "namespace"
    name: str
    description: str
    tools: tuple[ToolDefinition, ...]


@attrs.frozen(eq=False, repr=False)
class ToolSearchTool(ToolDefinition):
    """Lets the model look for tools that are not loaded yet; ``execution`` is server or client."""

    type: ClassVar[str] = "tool_search"
    description: str | None = None
    execution: str | None = None
    parameters: Any = None


class ProgrammaticToolCallingTool(ToolDefinition):
    """Lets the model write programs that call tools."""

    __slots__ = ()
    type: ClassVar[str] = "programmatic_tool_calling"


@attrs.frozen(eq=False, repr=False)
class ShellTool(ToolDefinition):
    """A shell, on the client or in a container."""

    type: ClassVar[str] = "shell"
    environment: Environment | None = None
    allowed_callers: tuple[str, ...] | None = None


class LocalShellTool(ToolDefinition):
    """A shell on the client: the older form of `ShellTool`."""

    __slots__ = ()
    type: ClassVar[str] = "local_shell"


@attrs.frozen(eq=False, repr=False)
class ApplyPatchTool(ToolDefinition):
    """Lets the model change the client's files with patches."""

    type: ClassVar[str] = "apply_patch"
    allowed_callers: tuple[str, ...] | None = None


class ComputerTool(ToolDefinition):
    """A computer with screen, keyboard and mouse."""

    __slots__ = ()
    type: ClassVar[str] = "computer"


@attrs.frozen(eq=False, repr=False)
class ComputerUsePreviewTool(ToolDefinition):
    """A computer, in the preview's form; ``environment`` is windows, mac, linux, ubuntu or browser."""

    type: ClassVar[str] = "computer_use_preview"
    display_width: int
    display_height: int
    environment: str


# --- MCP


@attrs.frozen(eq=False, repr=False)
class McpToolFilter(Wire):
    """Some tools of an MCP server: by name, or those marked as read-only."""

    tagged: ClassVar[bool] = False
    tool_names: tuple[str, ...] | None = None
    read_only: bool | None = None


@attrs.frozen(eq=False, repr=False)
class McpApprovalFilter(Wire):
    """Which tools of an MCP server always need approval, and which never."""

    tagged: ClassVar[bool] = False
    always: McpToolFilter | None = None
    never: McpToolFilter | None = None


@attrs.frozen(eq=False, repr=False)
class McpTool(ToolDefinition):
    """An MCP server that the model's server talks to. Its credentials are in no repr."""

    type: ClassVar[str] = "mcp"
    server_label: str
    server_url: str | None = None
    server_description: str | None = None
    connector_id: str | None = None
    tunnel_id: str | None = None
    authorization: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    allowed_tools: tuple[str, ...] | McpToolFilter | None = None
    require_approval: str | McpApprovalFilter | None = None
    """always, never, or a filter."""
    defer_loading: bool | None = None
    allowed_callers: tuple[str, ...] | None = None


# --- tools of the server


@attrs.frozen(eq=False, repr=False)
class ComparisonFilter(Wire):
    """Compare an attribute; ``type`` is eq, ne, gt, gte, lt, lte, in or nin."""

    tagged: ClassVar[bool] = False
    type: str
    key: str
    value: Any


@attrs.frozen(eq=False, repr=False)
class CompoundFilter(Wire):
    """Combine filters; ``type`` is and or or.

    The filters inside are plain mappings, because they may be nested.
    """

    tagged: ClassVar[bool] = False
    type: str
    filters: tuple[JSON, ...]


@attrs.frozen(eq=False, repr=False)
class HybridSearch(Wire):
    """How much meaning counts, and how much words."""

    tagged: ClassVar[bool] = False
    embedding_weight: float
    text_weight: float


@attrs.frozen(eq=False, repr=False)
class RankingOptions(Wire):
    """How the results of a search in files are ranked."""

    tagged: ClassVar[bool] = False
    ranker: str | None = None
    score_threshold: float | None = None
    hybrid_search: HybridSearch | None = None


@attrs.frozen(eq=False, repr=False)
class FileSearchTool(ToolDefinition):
    """Search in vector stores."""

    type: ClassVar[str] = "file_search"
    vector_store_ids: tuple[str, ...]
    filters: ComparisonFilter | CompoundFilter | None = None
    max_num_results: int | None = None
    ranking_options: RankingOptions | None = None


@attrs.frozen(eq=False, repr=False)
class UserLocation(Wire):
    """Where the user is: ``type`` is ``approximate``, ``country`` an ISO code, ``timezone`` an IANA name."""

    tagged: ClassVar[bool] = False
    type: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


@attrs.frozen(eq=False, repr=False)
class WebSearchFilters(Wire):
    """Where to search."""

    tagged: ClassVar[bool] = False
    allowed_domains: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class WebSearchTool(ToolDefinition):
    """Search the web; ``search_context_size`` is low, medium or high."""

    type: ClassVar[str] = "web_search"
    filters: WebSearchFilters | None = None
    user_location: UserLocation | None = None
    search_context_size: str | None = None
    external_web_access: bool | None = None


class WebSearchTool20250826(WebSearchTool):
    """The web search of that date."""

    __slots__ = ()
    type: ClassVar[str] = "web_search_2025_08_26"


@attrs.frozen(eq=False, repr=False)
class WebSearchPreviewTool(ToolDefinition):
    """Search the web, in the preview's form."""

    type: ClassVar[str] = "web_search_preview"
    user_location: UserLocation | None = None
    search_context_size: str | None = None
    search_content_types: tuple[str, ...] | None = None


class WebSearchPreviewTool20250311(WebSearchPreviewTool):
    """The preview of that date."""

    __slots__ = ()
    type: ClassVar[str] = "web_search_preview_2025_03_11"


@attrs.frozen(eq=False, repr=False)
class CodeInterpreterContainer(Wire):
    """A container that the server makes for code.

    ``type`` is ``auto``, ``memory_limit`` 1g, 4g, 16g or 64g.
    """

    tagged: ClassVar[bool] = False
    type: str
    file_ids: tuple[str, ...] | None = None
    memory_limit: str | None = None
    network_policy: NetworkPolicy | None = None


@attrs.frozen(eq=False, repr=False)
class CodeInterpreterTool(ToolDefinition):
    """Run Python in a container: one that exists, by its id, or a new one."""

    type: ClassVar[str] = "code_interpreter"
    container: str | CodeInterpreterContainer
    allowed_callers: tuple[str, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class ImageMask(Wire):
    """The part of an image to change, as an image itself."""

    tagged: ClassVar[bool] = False
    image_url: str | None = None
    file_id: str | None = None


@attrs.frozen(eq=False, repr=False)
class SvgOptions(Wire):
    """Which model draws an SVG, and how hard it thinks."""

    tagged: ClassVar[bool] = False
    model: str | None = None
    reasoning: ReasoningOptions | None = None


@attrs.frozen(eq=False, repr=False)
class ImageGenerationTool(ToolDefinition):
    """Make and change images."""

    type: ClassVar[str] = "image_generation"
    model: str | None = None
    action: str | None = None
    """generate, edit or auto."""
    background: str | None = None
    complexity: str | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    input_fidelity: str | None = None
    input_image_mask: ImageMask | None = None
    moderation: str | None = None
    output_compression: int | None = None
    output_format: str | None = None
    partial_images: int | None = None
    quality: str | None = None
    size: str | None = None
    svg: SvgOptions | None = None
