"""The `echo` model answers with the text of the last user message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from triplane.server.steps import NewMessage, Step, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.server.model import ModelRequest

__all__ = ["Echo"]

_DELTA_CHARACTERS: Final = 24


@attrs.frozen
class Echo:
    """Says what the user said, all of it, whatever else the conversation has."""

    name: str = "echo"

    def respond(self, request: ModelRequest) -> Iterator[Step]:
        """Yield the text in pieces."""
        yield NewMessage()
        text = request.text
        for start in range(0, len(text), _DELTA_CHARACTERS):
            yield Text(text[start : start + _DELTA_CHARACTERS])
