"""What a client sends: the three client events.

Fields and their meaning follow openai-python 3.52.0 (``responses_client_event``) and the OpenAI
WebSocket-mode guide. An option that is ``None`` is not sent at all: the API rejects explicit nulls in places.
To send one on purpose, put it into ``extra``.
"""

from collections.abc import Iterable
from typing import ClassVar

import attrs

from . import options
from ._families import Family
from ._wire import JSON, Wire
from .items import Item
from .options import Conversation
from .settings import RequestOptions
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


# The options that `RequestOptions` names in quotes.
attrs.resolve_types(ResponseCreate, localns=dict(vars(options)))
