"""What every server event has, and the few shapes that most of them share.

Most events only differ in their ``type``: they add no field to one of the shapes below, and so cost next to
nothing to create.
"""

from collections.abc import Mapping
from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire

from ._catalogue import CLASS_OF_TYPE


@attrs.frozen(eq=False, repr=False)
class ServerEvent(Wire):
    """One message of the server. Base of all event classes.

    Tell events apart with ``match`` on their classes, or by ``type``. A type that this version does not know
    arrives as `UnknownEvent`; it is meant to be passed over, not to fail (OpenAI WebSocket-mode guide).
    """

    type: ClassVar[str]
    family: ClassVar[Family] = Family(CLASS_OF_TYPE, "events:UnknownEvent")

    sequence_number: int | None = attrs.field(default=None, kw_only=True)
    """Counts the events of one response from 0. Absent on errors of requests that were rejected."""
    stream_id: str | None = attrs.field(default=None, kw_only=True)
    """The lane, if the ``response.create`` named one."""

    @property
    def agent_name(self) -> str | None:
        """The agent that the event belongs to, such as ``/root/research`` (multi-agent beta)."""
        agent = self.extra.get("agent")
        name = agent.get("agent_name") if isinstance(agent, Mapping) else None
        return name if isinstance(name, str) else None


@attrs.frozen(eq=False, repr=False)
class UnknownEvent(ServerEvent):
    """An event of a type that this version does not know: a vendor's, or a newer one.

    All of it is in ``extra``.
    """

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


@attrs.frozen(eq=False, repr=False)
class ItemEvent(ServerEvent):
    """An event about one output item: a change of its status, or the base of its deltas."""

    item_id: str
    output_index: int


@attrs.frozen(eq=False, repr=False)
class ItemDelta(ItemEvent):
    """The next piece of an item's only stream of text."""

    delta: str


@attrs.frozen(eq=False, repr=False)
class ContentEvent(ItemEvent):
    """An event about one content part of an item."""

    content_index: int


@attrs.frozen(eq=False, repr=False)
class ContentDelta(ContentEvent):
    """The next piece of a content part."""

    delta: str


@attrs.frozen(eq=False, repr=False)
class SummaryEvent(ItemEvent):
    """An event about one part of a reasoning summary."""

    summary_index: int
