"""The base of items."""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._catalogue import MODULES


def kind_of(raw: Mapping[str, Any]) -> object:
    """The kind of an item: its ``type``, and for messages what else tells them apart.

    A message with the role ``assistant`` and a list of parts is what a model wrote. Two input items may leave
    their ``type`` out: messages, and references, which then have nothing but an ``id``.
    """
    kind = raw.get("type")
    if kind == "message" and raw.get("role") == "assistant" and isinstance(raw.get("content"), list):
        return ("message", "assistant")
    if kind is None and "role" in raw and "content" in raw:
        return ("message", None)
    if kind is None and "id" in raw and raw.keys() <= {"id", "type"}:
        return ("item_reference", None)
    return kind


@attrs.frozen(eq=False, repr=False)
class Agent(Wire):
    """The agent that an item belongs to: a path such as ``/root/research`` (multi-agent beta)."""

    tagged: ClassVar[bool] = False
    agent_name: str


@attrs.frozen(eq=False, repr=False)
class Item(Wire):
    """One entry of a conversation: a message, a call, an output, reasoning, ... Base of all item classes.

    Output items are legal as input, unchanged. Strings such as ``status`` are open: newer servers may send
    values that are not documented.
    """

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {kind: f"items.{module}:{name}" for module, kinds in MODULES.items() for kind, name in kinds.items()},
        "items:UnknownItem",
        kind_of,
    )

    id: str | None = attrs.field(default=None, kw_only=True)
    """The server's name for the item. Not needed on input."""
    agent: Agent | None = attrs.field(default=None, kw_only=True)
    """Whose item it is (multi-agent beta)."""


@attrs.frozen(eq=False, repr=False)
class UnknownItem(Item):
    """An item of a type that this version does not know, or that does not fit its class.

    All of it is in ``extra``.
    """

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]
