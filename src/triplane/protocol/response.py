"""The response object of lifecycle events, and its usage."""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from ._families import Family
from ._wire import JSON, Wire
from .items import Item, OutputMessage
from .options import (
    AccessPrograms,
    Conversation,
    ImageOptions,
    Prompt,
    PromptCacheOptions,
    ReasoningOptions,
    TextOptions,
    ToolChoice,
)
from .tool_definitions import ToolDefinition


@attrs.frozen(eq=False, repr=False)
class CacheWriteDetails(Wire):
    """Tokens written to the prompt cache, by how long they stay."""

    tagged: ClassVar[bool] = False
    ttl_30m_tokens: int
    ttl_12h_tokens: int


@attrs.frozen(eq=False, repr=False)
class InputTokensDetails(Wire):
    """Where input tokens came from: ``cached_tokens`` were read from the prompt cache."""

    tagged: ClassVar[bool] = False
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: CacheWriteDetails | None = None


@attrs.frozen(eq=False, repr=False)
class OutputTokensDetails(Wire):
    """What output tokens were spent on."""

    tagged: ClassVar[bool] = False
    reasoning_tokens: int | None = None


@attrs.frozen(eq=False, repr=False)
class Usage(Wire):
    """The tokens that a response cost."""

    tagged: ClassVar[bool] = False
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokensDetails | None = None
    output_tokens_details: OutputTokensDetails | None = None


@attrs.frozen(eq=False, repr=False)
class MisalignmentSteer(Wire):
    """A message that would put the model back on its way."""

    tagged: ClassVar[bool] = False
    message: str


@attrs.frozen(eq=False, repr=False)
class Misalignment(Wire):
    """What a safety stop says about itself. Not to be retried without a person."""

    tagged: ClassVar[bool] = False
    error_type: str | None = None
    detailed_explanation: str | None = None
    review_target: str | None = None
    steer: MisalignmentSteer | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseError(Wire):
    """Why a response failed. `normalise_error` gives it the same form as every other error."""

    tagged: ClassVar[bool] = False
    code: str | None = None
    message: str | None = None
    param: str | None = None
    type: str | None = None
    misalignment: Misalignment | None = None


@attrs.frozen(eq=False, repr=False)
class IncompleteDetails(Wire):
    """Why a response stopped early: max_output_tokens, max_messages, content_filter or steered."""

    tagged: ClassVar[bool] = False
    reason: str | None = None


@attrs.frozen(eq=False, repr=False)
class InputTransformation(Wire):
    """Something that the server left out of the input, such as reasoning of another model.

    ``type`` is ``reasoning``, ``action`` ``removed``; ``reason`` is organization_mismatch, end_user_mismatch,
    model_mismatch, prefix_mismatch or turn_boundary.
    """

    tagged: ClassVar[bool] = False
    id: str
    type: str
    action: str
    reason: str


@attrs.frozen(eq=False, repr=False)
class ModerationOutcome(Wire):
    """What moderation found in the input or the output. Base of the outcome classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"moderation_result": "response:ModerationResult", "error": "response:ModerationError"},
        "response:UnknownModerationOutcome",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownModerationOutcome(ModerationOutcome):
    """An outcome of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class ModerationResult(ModerationOutcome):
    """Moderation worked; by category: whether it applies, how strongly, and to which kinds of input."""

    type: ClassVar[str] = "moderation_result"
    flagged: bool
    model: str
    categories: Mapping[str, bool]
    category_scores: Mapping[str, float]
    category_applied_input_types: Mapping[str, Any]


@attrs.frozen(eq=False, repr=False)
class ModerationError(ModerationOutcome):
    """Moderation failed."""

    type: ClassVar[str] = "error"
    code: str
    message: str


@attrs.frozen(eq=False, repr=False)
class Moderation(Wire):
    """What moderation found."""

    tagged: ClassVar[bool] = False
    input: ModerationOutcome
    output: ModerationOutcome


@attrs.frozen(eq=False, repr=False)
class PromptCacheDiagnostics(Wire):
    """Why the prompt cache was of use or not.

    ``type`` is cache_hit, cache_miss, comparison_response_not_found or unavailable; the other fields come
    with a miss.
    """

    tagged: ClassVar[bool] = False
    type: str
    reason: str | None = None
    cache_missed_tokens: int | None = None
    comparison_reusable_tokens: int | None = None


@attrs.frozen(eq=False, repr=False)
class ImageTokens(Wire):
    """Tokens of images and of text."""

    tagged: ClassVar[bool] = False
    image_tokens: int
    text_tokens: int


@attrs.frozen(eq=False, repr=False)
class CachedImageTokens(Wire):
    """Tokens of images and of text that were read from the cache."""

    tagged: ClassVar[bool] = False
    cached_image_tokens: int
    cached_text_tokens: int


@attrs.frozen(eq=False, repr=False)
class ImageGenerationUsage(Wire):
    """What making images cost."""

    tagged: ClassVar[bool] = False
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: ImageTokens | None = None
    output_tokens_details: ImageTokens | None = None
    cached_tokens: int | None = None
    cached_tokens_details: CachedImageTokens | None = None


@attrs.frozen(eq=False, repr=False)
class WebSearchUsage(Wire):
    """How often the web was searched."""

    tagged: ClassVar[bool] = False
    num_requests: int


@attrs.frozen(eq=False, repr=False)
class ToolUsage(Wire):
    """What the server's tools cost."""

    tagged: ClassVar[bool] = False
    image_gen: ImageGenerationUsage | None = None
    web_search: WebSearchUsage | None = None


@attrs.frozen(eq=False, repr=False)
class Response(Wire):
    """A response: what was asked for, how it stands, and its output.

    Only ``id`` is required, because that is all that continuing needs; servers differ in what else they send.
    """

    tagged: ClassVar[bool] = False

    id: str
    status: str | None = None
    """in_progress, completed, incomplete, failed, cancelled or queued."""
    output: tuple[Item, ...] | None = None
    usage: Usage | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    model: str | None = None
    object: str | None = None
    created_at: float | None = None
    completed_at: float | None = None
    previous_response_id: str | None = None
    conversation: Conversation | None = None
    instructions: str | tuple[Item, ...] | None = None
    tools: tuple[ToolDefinition, ...] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    truncation: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    background: bool | None = None
    metadata: JSON | None = None
    input_transformations: tuple[InputTransformation, ...] | None = None
    moderation: Moderation | None = None
    prompt: Prompt | None = None
    prompt_cache_diagnostics: PromptCacheDiagnostics | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    image: ImageOptions | None = None
    tool_usage: ToolUsage | None = None
    access_programs: AccessPrograms | None = None

    @property
    def output_text(self) -> str:
        """The text of all its messages."""
        return "".join(item.text for item in self.output or () if isinstance(item, OutputMessage))
