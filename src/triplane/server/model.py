"""What a model is to this server: a pure function from a conversation to a few steps.

A model sees the request as the Responses API resolves it (the whole conversation, whatever part of it came by
`previous_response_id`) and answers with steps. It knows nothing of sockets, events, ids or clocks, so the same
model serves every transport, and a test can call it directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from .conversation import Conversation, Item

__all__ = [
    "FunctionCall",
    "Model",
    "ModelRequest",
    "NewMessage",
    "Step",
    "Text",
    "Wait",
]


def _check_text(_instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    # A lone surrogate is legal in a Python string and not in JSON. Refusing it here makes it the model's
    # error, at the step that holds it, and not an encoding error of the whole event later on.
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str, not {type(value).__name__}")
    value.encode()


@attrs.frozen
class Text:
    """Add `text` to the current message, as one delta. Opens a message if none is open."""

    text: str = attrs.field(validator=_check_text)


@attrs.frozen
class NewMessage:
    """Close whatever item is open and open a message.

    Needed only for a `phase` other than "final_answer", for two messages in a row and for an empty one.
    """

    phase: Literal["commentary", "final_answer"] = "final_answer"


@attrs.frozen
class FunctionCall:
    """One whole call of a client's tool. `arguments` is sent as it is, even when it is not JSON."""

    name: str = attrs.field(validator=_check_text)
    arguments: str = attrs.field(validator=_check_text)


@attrs.frozen
class Wait:
    """Send nothing for `seconds`; what was said before is on its way to the client by then."""

    seconds: float = attrs.field(validator=attrs.validators.ge(0))


Step: TypeAlias = Text | NewMessage | FunctionCall | Wait


@attrs.frozen
class ModelRequest:
    """What the client asks, resolved.

    Attributes:
        model: the name the client sent, which need not be the name of the model that answers.
        instructions: of this request; they are not inherited through `previous_response_id`.
        tools: the tool definitions of this request.
        conversation: all items, oldest first, `new_items` included; not to be changed.
        new_items: the items of this request alone.
        parallel_tool_calls: whether one response may hold several calls.
    """

    model: str
    instructions: str | None
    tools: Sequence[Item]
    conversation: Conversation
    new_items: Sequence[Item]
    parallel_tool_calls: bool = True


@runtime_checkable
class Model(Protocol):
    """Anything with a name that turns a request into steps."""

    @property
    def name(self) -> str:
        """The name by which requests select this model."""
        ...

    def respond(self, request: ModelRequest) -> Iterable[Step]:
        """Decide the whole response to `request`.

        The steps are drawn one at a time as they are sent, so an endless generator is fine. It must decide from
        `request` alone: the server may be asked the same question through `previous_response_id` or with the
        whole history, and both must get the same answer. An exception ends the response as `response.failed`.
        """
        ...
