"""What a client sends: the three client events, and the settings that an agent fixes for its requests.

Fields and their meaning follow openai-python 3.52.0 (``responses_client_event``) and the OpenAI
WebSocket-mode guide. An option that is ``None`` is not sent at all: the API rejects explicit nulls in places.
To send one on purpose, put it into ``extra``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import attrs

from ._families import Family
from ._wire import JSON, Wire
from .items import Item
from .options import (
    AccessPrograms,
    ContextManagement,
    Conversation,
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
from .tool_definitions import ToolDefinition

# Converters that say to type checkers what `Wire` does at run time: a list is taken for the tuple that is meant.


def _input(value: str | Iterable[Item | JSON] | None) -> str | tuple[Item | JSON, ...] | None:
    return value if value is None or isinstance(value, str) else tuple(value)


def _some_input(value: str | Iterable[Item | JSON]) -> str | tuple[Item | JSON, ...]:
    return value if isinstance(value, str) else tuple(value)


def _outputs(value: Iterable[Item | JSON]) -> tuple[Item | JSON, ...]:
    return tuple(value)


def _tools(value: Iterable[ToolDefinition | JSON] | None) -> tuple[ToolDefinition | JSON, ...] | None:
    return None if value is None else tuple(value)


def _names(value: list[str] | tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _rules(value: Iterable[ContextManagement | JSON] | None) -> tuple[ContextManagement | JSON, ...] | None:
    return None if value is None else tuple(value)


@attrs.frozen(eq=False, repr=False)
class RequestOptions(Wire):
    """The options that settings and requests share.

    Nested values are typed objects or the mappings that they stand for.
    """

    temperature: float | None = attrs.field(default=None, kw_only=True)
    top_p: float | None = attrs.field(default=None, kw_only=True)
    top_logprobs: int | None = attrs.field(default=None, kw_only=True)
    reasoning: ReasoningOptions | JSON | None = attrs.field(default=None, kw_only=True)
    text: TextOptions | JSON | None = attrs.field(default=None, kw_only=True)
    tool_choice: str | ToolChoice | JSON | None = attrs.field(default=None, kw_only=True)
    parallel_tool_calls: bool | None = attrs.field(default=None, kw_only=True)
    max_output_tokens: int | None = attrs.field(default=None, kw_only=True)
    max_tool_calls: int | None = attrs.field(default=None, kw_only=True)
    truncation: str | None = attrs.field(default=None, kw_only=True)
    include: tuple[str, ...] | None = attrs.field(default=None, kw_only=True, converter=_names)
    service_tier: str | None = attrs.field(default=None, kw_only=True)
    store: bool | None = attrs.field(default=None, kw_only=True)
    """The server's default is true."""
    metadata: Mapping[str, str] | None = attrs.field(default=None, kw_only=True)
    prompt: Prompt | JSON | None = attrs.field(default=None, kw_only=True)
    prompt_cache_key: str | None = attrs.field(default=None, kw_only=True)
    prompt_cache_options: PromptCacheOptions | JSON | None = attrs.field(default=None, kw_only=True)
    prompt_cache_retention: str | None = attrs.field(default=None, kw_only=True)
    safety_identifier: str | None = attrs.field(default=None, kw_only=True)
    user: str | None = attrs.field(default=None, kw_only=True)
    context_management: tuple[ContextManagement | JSON, ...] | None = attrs.field(
        default=None, kw_only=True, converter=_rules
    )
    moderation: ModerationOptions | JSON | None = attrs.field(default=None, kw_only=True)
    image: ImageOptions | JSON | None = attrs.field(default=None, kw_only=True)
    access_programs: AccessPrograms | JSON | None = attrs.field(default=None, kw_only=True)
    multi_agent: MultiAgentOptions | JSON | None = attrs.field(default=None, kw_only=True)
    stream_options: StreamOptions | JSON | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(eq=False, repr=False)
class ClientEvent(Wire):
    """One message of the client. Base of the client event classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {
            "response.create": "requests:ResponseCreate",
            "response.steer": "requests:ResponseSteer",
            "response.inject": "requests:ResponseInject",
        },
        "requests:UnknownRequest",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownRequest(ClientEvent):
    """A client event of a type that this version does not know, or that does not fit its class."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class ResponseCreate(RequestOptions, ClientEvent):
    """Ask for a response.

    ``instructions``, ``tools`` and options are not inherited through ``previous_response_id``; they go with
    every request.
    """

    type: ClassVar[str] = "response.create"

    model: str | None = None
    input: str | tuple[Item | JSON, ...] | None = attrs.field(default=None, converter=_input)
    """Text, or items: typed, or the JSON objects that came over the wire."""
    instructions: str | None = None
    tools: tuple[ToolDefinition | JSON, ...] | None = attrs.field(default=None, converter=_tools)
    previous_response_id: str | None = None
    """Continue from this response. Excludes ``conversation``."""
    conversation: str | Conversation | JSON | None = None
    stream_id: str | None = None
    """The lane. Without it the request goes to the default lane."""
    generate: bool | None = None
    """False prepares the request's state and generates nothing: a warm-up."""
    stream: bool | None = None
    """Implied on a socket; not to be sent."""
    background: bool | None = None
    """Not supported on a socket."""


@attrs.frozen(eq=False, repr=False)
class ResponseSteer(ClientEvent):
    """Give a running response another instruction (GPT-6 family; OpenAI steering guide).

    ``input`` is text or user messages. The lane is the running response's, so there is no ``stream_id``.
    """

    type: ClassVar[str] = "response.steer"

    previous_response_id: str
    """The running response."""
    input: str | tuple[Item | JSON, ...] = attrs.field(converter=_some_input)


@attrs.frozen(eq=False, repr=False)
class ResponseInject(ClientEvent):
    """Put tool outputs into a running response (multi-agent beta, with its header on the handshake)."""

    type: ClassVar[str] = "response.inject"

    response_id: str
    input: tuple[Item | JSON, ...] = attrs.field(converter=_outputs)


@attrs.frozen(eq=False, repr=False)
class ModelSettings(RequestOptions):
    """The options that an agent fixes once for all its requests.

    What is unset is left to the server. An option that this version has no name for goes into ``extra``.
    """

    tagged: ClassVar[bool] = False

    def apply_to(self, request: ResponseCreate) -> ResponseCreate:
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
