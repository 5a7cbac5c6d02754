"""Programs that the model writes to call tools (programmatic tool calling)."""

from typing import ClassVar

import attrs

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class Program(Item):
    """A program. The ``fingerprint`` is the server's; replay it unchanged."""

    type: ClassVar[str] = "program"
    call_id: str
    code: str
    fingerprint: str


@attrs.frozen(eq=False, repr=False)
class ProgramOutput(Item):
    """What a program returned."""

    type: ClassVar[str] = "program_output"
    call_id: str
    result: str
    status: str | None = None
