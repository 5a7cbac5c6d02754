"""Reasoning items."""

from typing import ClassVar

import attrs

from triplane.protocol.content import ContentPart

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class Reasoning(Item):
    """What the model thought before the next item. Replay it unchanged, before the call or message it led to.

    ``encrypted_content`` lets a server that stores nothing take it back; the value in
    `ResponseOutputItemDone` is the one to keep, earlier ones may be partial.
    """

    type: ClassVar[str] = "reasoning"
    summary: tuple[ContentPart, ...]
    content: tuple[ContentPart, ...] | None = None
    encrypted_content: str | None = None
    status: str | None = None
