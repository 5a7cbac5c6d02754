"""Tools that the server runs itself."""

from typing import Any, ClassVar

import attrs

from triplane.protocol._wire import JSON, Wire
from triplane.protocol.environments import NetworkPolicy
from triplane.protocol.options import ReasoningOptions

from ._base import ToolDefinition


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
