"""Items that manage the conversation itself: compaction, references, changes of settings."""

from typing import ClassVar

import attrs

from triplane.protocol.options import ReasoningOptions, TextOptions

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class Compaction(Item):
    """The conversation so far, summed up by the server in a form only it can read. Goes back unchanged."""

    type: ClassVar[str] = "compaction"
    encrypted_content: str
    created_by: str | None = None


class CompactionTrigger(Item):
    """Sum up the conversation now. Input only; it must be the last item."""

    __slots__ = ()
    type: ClassVar[str] = "compaction_trigger"


class ItemReference(Item):
    """An item that the server has stored, by its ``id``. Of no use with ``store=False``."""

    __slots__ = ()
    type: ClassVar[str] = "item_reference"


class UntypedItemReference(ItemReference):
    """The short form of a reference, without a ``type`` on the wire."""

    __slots__ = ()
    tagged: ClassVar[bool] = False


@attrs.frozen(eq=False, repr=False)
class ConfigurationUpdate(Item):
    """Another reasoning effort or text format from here on, without losing the cached prompt.

    ``response.reasoning.effort`` keeps showing the request's value.
    """

    type: ClassVar[str] = "configuration_update"
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
