"""Messages, in and out."""

from typing import ClassVar

import attrs

from triplane.protocol.content import ContentPart, OutputText

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class InputMessage(Item):
    """A message to the model.

    ``role`` is user, system, developer or, to show the model an answer, assistant; ``content`` is text or
    parts.
    """

    type: ClassVar[str] = "message"
    role: str
    content: str | tuple[ContentPart, ...]
    status: str | None = None
    phase: str | None = None


class EasyInputMessage(InputMessage):
    """The short form of an input message, without a ``type`` on the wire."""

    __slots__ = ()
    tagged: ClassVar[bool] = False


@attrs.frozen(eq=False, repr=False)
class OutputMessage(Item):
    """A message from the model.

    ``phase`` is ``commentary`` or ``final_answer`` and must go back unchanged when the message is replayed:
    dropping it degrades results (openai-python 3.52.0).
    """

    type: ClassVar[str] = "message"
    content: tuple[ContentPart, ...]
    role: str = "assistant"
    status: str | None = None
    phase: str | None = None

    @property
    def text(self) -> str:
        """The text of all its text parts."""
        return "".join(part.text for part in self.content if isinstance(part, OutputText))
