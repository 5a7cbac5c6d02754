"""Output items and content parts, as they open and close."""

from typing import ClassVar, Literal

import attrs

from triplane.protocol._wire import JSON, Payload
from triplane.protocol.content import ContentPart
from triplane.protocol.items import Item

from ._base import ServerEvent
from ._shapes import ContentEvent


def _item(given: Item | JSON | Payload[Item]) -> Payload[Item]:
    return Payload.of(Item, given)


def _part(given: ContentPart | JSON | Payload[ContentPart]) -> Payload[ContentPart]:
    return Payload.of(ContentPart, given)


@attrs.frozen(eq=False, repr=False)
class OutputItemEvent(ServerEvent):
    """An event that carries an output item."""

    __match_args__: ClassVar[tuple[Literal["item"], Literal["output_index"]]] = ("item", "output_index")  # pyright: ignore[reportIncompatibleVariableOverride]

    _item: Payload[Item] = attrs.field(alias="item", converter=_item)
    output_index: int

    @property
    def item(self) -> Item:
        """The item, structured on first access."""
        return self._item.value

    @property
    def raw_item(self) -> JSON:
        """The item as the JSON object that came over the wire, ready to be replayed.

        Shared: do not change it.
        """
        return self._item.raw


class ResponseOutputItemAdded(OutputItemEvent):
    """An item begins. It is a skeleton: most of its fields are still empty."""

    __slots__ = ()
    type: ClassVar[str] = "response.output_item.added"


class ResponseOutputItemDone(OutputItemEvent):
    """An item is final. This, not the sum of its deltas, is what to keep and replay."""

    __slots__ = ()
    type: ClassVar[str] = "response.output_item.done"


@attrs.frozen(eq=False, repr=False)
class ContentPartEvent(ContentEvent):
    """An event that carries a content part."""

    __match_args__: ClassVar[  # pyright: ignore[reportIncompatibleVariableOverride]
        tuple[Literal["item_id"], Literal["output_index"], Literal["content_index"], Literal["part"]]
    ] = ("item_id", "output_index", "content_index", "part")

    _part: Payload[ContentPart] = attrs.field(alias="part", converter=_part)

    @property
    def part(self) -> ContentPart:
        """The part, structured on first access."""
        return self._part.value

    @property
    def raw_part(self) -> JSON:
        """The part as the JSON object that came over the wire. Shared: do not change it."""
        return self._part.raw


class ResponseContentPartAdded(ContentPartEvent):
    """A content part begins, still empty."""

    __slots__ = ()
    type: ClassVar[str] = "response.content_part.added"


class ResponseContentPartDone(ContentPartEvent):
    """A content part is final."""

    __slots__ = ()
    type: ClassVar[str] = "response.content_part.done"
