"""Messages: their texts, refusals, annotations and log probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs
from attrs.validators import in_, instance_of

from . import _checks as checks

__all__ = [
    "ContainerFileCitation",
    "FileCitation",
    "FilePath",
    "Logprob",
    "NewMessage",
    "Refusal",
    "Text",
    "UrlCitation",
]


def _to_logprobs(logprobs: Any) -> Any:
    return tuple(Logprob(**each) if isinstance(each, Mapping) else each for each in logprobs)


@final
@attrs.frozen
class Logprob:
    """How probable one token was.

    Attributes:
        token: its text.
        logprob: the natural logarithm of its probability.
        top: the likeliest tokens in its place.
    """

    token: str = attrs.field(validator=checks.text)
    logprob: float = attrs.field(validator=instance_of((int, float)))
    top: tuple[Logprob, ...] = attrs.field(default=(), converter=_to_logprobs)


@final
@attrs.frozen
class Text:
    """Add `text` to the current message, as one delta. Opens a message if none is open.

    Attributes:
        text: what is added.
        logprobs: of its tokens.
    """

    text: str = attrs.field(validator=checks.text)
    logprobs: tuple[Logprob, ...] = attrs.field(default=(), converter=_to_logprobs)


@final
@attrs.frozen
class NewMessage:
    """Close whatever item is open and open a message.

    Needed only for a `phase` other than "final_answer", for two messages in a row and for an empty one.
    """

    phase: Literal["commentary", "final_answer"] = attrs.field(
        default="final_answer", validator=in_(("commentary", "final_answer"))
    )


@final
@attrs.frozen
class Refusal:
    """Refuse, in the current message, with `text` as one delta. Opens a message if none is open."""

    text: str = attrs.field(validator=checks.text)


@final
@attrs.frozen
class UrlCitation:
    """Annotate the current text: its characters from `start_index` to `end_index` come from a web page."""

    url: str = attrs.field(validator=checks.name)
    title: str = attrs.field(default="", validator=checks.text)
    start_index: int = attrs.field(default=0, validator=checks.count)
    end_index: int = attrs.field(default=0, validator=checks.count)


@final
@attrs.frozen
class FileCitation:
    """Annotate the current text: what stands at `index` comes from a file."""

    file_id: str = attrs.field(validator=checks.name)
    filename: str = attrs.field(default="", validator=checks.text)
    index: int = attrs.field(default=0, validator=checks.count)


@final
@attrs.frozen
class ContainerFileCitation:
    """Annotate the current text: these characters are about a file in a container."""

    container_id: str = attrs.field(validator=checks.name)
    file_id: str = attrs.field(validator=checks.name)
    filename: str = attrs.field(default="", validator=checks.text)
    start_index: int = attrs.field(default=0, validator=checks.count)
    end_index: int = attrs.field(default=0, validator=checks.count)


@final
@attrs.frozen
class FilePath:
    """Annotate the current text: what stands at `index` is the path of a file."""

    file_id: str = attrs.field(validator=checks.name)
    index: int = attrs.field(default=0, validator=checks.count)
