"""Calls that the service executes itself, together with what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs
from attrs.validators import in_, optional

from . import _checks as checks

__all__ = [
    "Audio",
    "CodeInterpreter",
    "FileSearch",
    "HostedShellCall",
    "ImageGeneration",
    "ShellResult",
    "WebSearch",
]

# One black pixel.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def _done(*other: str) -> Any:
    return attrs.field(default="completed", kw_only=True, validator=in_(("completed", *other)))


@final
@attrs.frozen
class WebSearch:
    """One search of the web, or another `action` there.

    Attributes:
        query: what is searched for.
        sources: URLs of what was found.
        action: instead of a search, such as `{"type": "open_page", "url": ...}`.
        status: how it ended.
    """

    query: str = attrs.field(default="", validator=checks.text)
    sources: tuple[str, ...] = attrs.field(default=(), converter=checks.to_texts, validator=checks.texts)
    action: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )
    status: Literal["completed", "failed"] = _done("failed")


@final
@attrs.frozen
class FileSearch:
    """One search of the files. A result is such as `{"file_id": ..., "filename": ..., "score": 0.9, "text": ...}`."""

    queries: tuple[str, ...] = attrs.field(converter=checks.to_texts, validator=checks.texts)
    results: tuple[Mapping[str, Any], ...] | None = attrs.field(
        default=None,
        kw_only=True,
        converter=attrs.converters.optional(checks.to_objects),
        validator=optional(checks.json_objects),
    )
    status: Literal["completed", "incomplete", "failed"] = _done("incomplete", "failed")


@final
@attrs.frozen
class CodeInterpreter:
    """Code that the service runs. An output is `{"type": "logs", "logs": ...}` or `{"type": "image", "url": ...}`."""

    code: str = attrs.field(validator=checks.text)
    outputs: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(), converter=checks.to_objects, validator=checks.json_objects
    )
    container_id: str = attrs.field(default="cntr_local", kw_only=True)
    status: Literal["completed", "incomplete", "failed"] = _done("incomplete", "failed")


@final
@attrs.frozen
class ImageGeneration:
    """One image, in base64, and the partial ones before it.

    Attributes:
        result: the image; by default one black pixel.
        partials: what is shown on the way.
        revised_prompt: what was drawn in the end.
        error: why there is no image, such as `{"type": "image_generation_error", "message": ...}`.
        output_format: of all of them.
        size: of all of them.
        quality: of all of them.
        background: of all of them.
    """

    result: str | None = attrs.field(default=_PIXEL)
    partials: tuple[str, ...] = attrs.field(default=(), converter=checks.to_texts, validator=checks.texts)
    revised_prompt: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))
    error: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=optional(checks.json_object)
    )
    output_format: Literal["png", "webp", "jpeg"] = attrs.field(
        default="png", kw_only=True, validator=in_(("png", "webp", "jpeg"))
    )
    size: str = attrs.field(default="1024x1024", kw_only=True)
    quality: str = attrs.field(default="low", kw_only=True)
    background: str = attrs.field(default="opaque", kw_only=True)


@final
@attrs.frozen
class ShellResult:
    """What one command wrote, and how it ended: `exit_code` None means that it took too long."""

    stdout: str = attrs.field(default="", validator=checks.text)
    stderr: str = attrs.field(default="", validator=checks.text)
    exit_code: int | None = 0


def _to_results(results: Any) -> Any:
    return tuple(ShellResult(**each) if isinstance(each, Mapping) else each for each in results)


def _no_more_than_commands(
    call: HostedShellCall,
    _attribute: attrs.Attribute[tuple[ShellResult, ...]],
    results: tuple[ShellResult, ...],
) -> None:
    if len(results) > len(call.commands):
        raise ValueError(f"{len(results)} results for {len(call.commands)} commands")


@final
@attrs.frozen
class HostedShellCall:
    """Commands that the service runs in a container of its own, with one result for each: two items."""

    commands: tuple[str, ...] = attrs.field(converter=checks.to_texts, validator=checks.texts)
    results: tuple[ShellResult, ...] = attrs.field(
        default=(), converter=_to_results, validator=_no_more_than_commands
    )
    container_id: str = attrs.field(default="cntr_local", kw_only=True)
    max_output_length: int | None = attrs.field(default=None, kw_only=True, validator=optional(checks.count))


@final
@attrs.frozen
class Audio:
    """Speech: events alone, no item.

    Attributes:
        data: base64; sent in pieces.
        transcript: of what is said.
    """

    data: str = attrs.field(default="", validator=checks.text)
    transcript: str = attrs.field(default="", validator=checks.text)
