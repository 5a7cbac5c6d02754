"""The few shapes that most events share.

Most events only differ in their ``type``: they add no field to one of these, and so cost next to nothing to create.
"""

import attrs

from ._base import ServerEvent


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
