"""What the model thinks, forgets and runs by itself: reasoning, compaction, programs."""

from __future__ import annotations

from typing import final

import attrs
from attrs.validators import optional

from . import _checks as checks

__all__ = ["Compaction", "Program", "ProgramOutput", "Reasoning"]


@final
@attrs.frozen
class Reasoning:
    """One whole reasoning item.

    Attributes:
        summary: the parts of its summary.
        text: the raw reasoning, which only some models show.
        encrypted_content: what the client hands back; by default made of the two, and the same for the same two. It
            is sent when the item is done, as the service does it, and not before.
    """

    summary: tuple[str, ...] = attrs.field(default=(), converter=checks.to_texts, validator=checks.texts)
    text: str = attrs.field(default="", validator=checks.text)
    encrypted_content: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))


@final
@attrs.frozen
class Compaction:
    """The conversation so far, compacted into one item that only the server can read."""

    encrypted_content: str = attrs.field(default="compacted", validator=checks.text)


@final
@attrs.frozen
class Program:
    """A program that the model wrote to call tools with.

    Attributes:
        code: of the program.
        result: what it returned, as an item of its own; None leaves that item out.
        call_id: by which its calls name it as their caller; by default a new one.
        fingerprint: goes back and forth unchanged.
    """

    code: str = attrs.field(validator=checks.text)
    result: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    call_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    fingerprint: str = attrs.field(default="fp_local", kw_only=True)


@final
@attrs.frozen
class ProgramOutput:
    """What the program of an earlier response returned."""

    call_id: str = attrs.field(validator=checks.name)
    result: str = attrs.field(default="", validator=checks.text)
