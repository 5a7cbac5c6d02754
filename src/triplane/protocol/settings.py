"""The options of a request, and the settings that an agent fixes for all its requests.

Fields and their meaning follow openai-python 3.52.0 (``responses_client_event``). An option that is ``None`` is not
sent at all: the API rejects explicit nulls in places. To send one on purpose, put it into ``extra``.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ._wire import JSON, Wire

if TYPE_CHECKING:
    # Their classes are created when a program names one; annotations in quotes are resolved when one is read.
    from .options import (
        AccessPrograms,
        ContextManagement,
        ImageOptions,
        ModerationOptions,
        MultiAgentOptions,
        Prompt,
        PromptCacheOptions,
        ReasoningOptions,
        StreamOptions,
        TextOptions,
        ToolChoice,
    )
    from .requests import ResponseCreate

# Converters that say to type checkers what `Wire` does at run time: a list is taken for the tuple that is meant.


def _names(value: list[str] | tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _rules(
    value: "Iterable[ContextManagement | JSON] | None",
) -> "tuple[ContextManagement | JSON, ...] | None":
    return None if value is None else tuple(value)


@attrs.frozen(eq=False, repr=False, init=False)
class RequestOptions(Wire):
    """The options that settings and requests share.

    Nested values are typed objects or the mappings that they stand for.
    """

    temperature: float | None = attrs.field(default=None, kw_only=True)
    top_p: float | None = attrs.field(default=None, kw_only=True)
    top_logprobs: int | None = attrs.field(default=None, kw_only=True)
    reasoning: "ReasoningOptions | JSON | None" = attrs.field(default=None, kw_only=True)
    text: "TextOptions | JSON | None" = attrs.field(default=None, kw_only=True)
    tool_choice: "str | ToolChoice | JSON | None" = attrs.field(default=None, kw_only=True)
    parallel_tool_calls: bool | None = attrs.field(default=None, kw_only=True)
    max_output_tokens: int | None = attrs.field(default=None, kw_only=True)
    max_tool_calls: int | None = attrs.field(default=None, kw_only=True)
    truncation: str | None = attrs.field(default=None, kw_only=True)
    include: tuple[str, ...] | None = attrs.field(default=None, kw_only=True, converter=_names)
    service_tier: str | None = attrs.field(default=None, kw_only=True)
    store: bool | None = attrs.field(default=None, kw_only=True)
    """The server's default is true."""
    metadata: Mapping[str, str] | None = attrs.field(default=None, kw_only=True)
    prompt: "Prompt | JSON | None" = attrs.field(default=None, kw_only=True)
    prompt_cache_key: str | None = attrs.field(default=None, kw_only=True)
    prompt_cache_options: "PromptCacheOptions | JSON | None" = attrs.field(default=None, kw_only=True)
    prompt_cache_retention: str | None = attrs.field(default=None, kw_only=True)
    safety_identifier: str | None = attrs.field(default=None, kw_only=True)
    user: str | None = attrs.field(default=None, kw_only=True)
    context_management: "tuple[ContextManagement | JSON, ...] | None" = attrs.field(
        default=None, kw_only=True, converter=_rules
    )
    moderation: "ModerationOptions | JSON | None" = attrs.field(default=None, kw_only=True)
    image: "ImageOptions | JSON | None" = attrs.field(default=None, kw_only=True)
    access_programs: "AccessPrograms | JSON | None" = attrs.field(default=None, kw_only=True)
    multi_agent: "MultiAgentOptions | JSON | None" = attrs.field(default=None, kw_only=True)
    stream_options: "StreamOptions | JSON | None" = attrs.field(default=None, kw_only=True)


@attrs.frozen(eq=False, repr=False)
class ModelSettings(RequestOptions):
    """The options that an agent fixes once for all its requests.

    What is unset is left to the server. An option that this version has no name for goes into ``extra``.
    """

    tagged: ClassVar[bool] = False

    def apply_to(self, request: "ResponseCreate") -> "ResponseCreate":
        """The request with these settings where it has none of its own, not even in its ``extra``."""
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in _OPTION_NAMES
            if getattr(request, name) is None
            and name not in request.extra
            and getattr(self, name) is not None
        }
        if self.extra:
            changes["extra"] = {**self.extra, **request.extra}
        return attrs.evolve(request, **changes) if changes else request


_OPTION_NAMES = tuple(a.name for a in attrs.fields(RequestOptions) if a.name != "extra")
