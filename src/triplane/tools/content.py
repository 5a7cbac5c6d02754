"""Outputs that are more than text: images and files, as parts of what a tool returns."""

from __future__ import annotations

import base64
import mimetypes
import re
from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Parts go up whole or not at all, and a request has a size too.
MAX_PARTS = 8 * 1024 * 1024

_ENCODED = re.compile(r"data:[^,\s]{0,256};base64,[A-Za-z0-9+/=]*\Z")

Detail = Literal["auto", "low", "high", "original"]


def _one_source(instance: Any, _attribute: object, _value: object) -> None:
    given = [source for source in (instance.data, instance.url, instance.file_id) if source is not None]
    if len(given) != 1:
        raise ValueError(f"{type(instance).__name__} takes one of data=, url= and file_id=, not {len(given)}")
    if isinstance(instance, Image) and given == [b""]:
        # The API would refuse the whole request.
        raise ValueError("Image takes a picture as data=, and not nothing")


@attrs.frozen
class Image:
    """An image that a tool returns, alone or in a list with texts and files.

    Attributes:
        data: Its bytes.
        url: Or where it is; a data URL is one too.
        file_id: Or the id of a file that was uploaded.
        media_type: What the bytes are, such as ``image/png``.
        detail: How closely the model looks at it.

    Raises:
        ValueError: Not exactly one of `data`, `url` and `file_id` is given, or `data` is empty.
    """

    data: bytes | None = attrs.field(default=None, repr=lambda data: f"<{len(data or b'')} bytes>")
    url: str | None = attrs.field(default=None, kw_only=True)
    file_id: str | None = attrs.field(default=None, kw_only=True, validator=_one_source)
    media_type: str = attrs.field(default="image/png", kw_only=True)
    detail: Detail = attrs.field(default="auto", kw_only=True)

    def part(self) -> dict[str, Any]:
        """The part as wire data (``input_image``)."""
        part: dict[str, Any] = {"type": "input_image", "detail": self.detail}
        if self.file_id is not None:
            return {**part, "file_id": self.file_id}
        return {**part, "image_url": self.url if self.data is None else _data_url(self.data, self.media_type)}

    def words(self) -> str:
        """What a reader of a log is told instead."""
        return f"[image: {_source(self)}]"


@attrs.frozen
class File:
    """A file that a tool returns, alone or in a list with texts and images.

    Attributes:
        data: Its bytes.
        filename: Its name; what it is, is told by that.
        url: Or where it is.
        file_id: Or the id of a file that was uploaded.

    Raises:
        ValueError: Not exactly one of `data`, `url` and `file_id` is given.
    """

    data: bytes | None = attrs.field(default=None, repr=lambda data: f"<{len(data or b'')} bytes>")
    filename: str = "file"
    url: str | None = attrs.field(default=None, kw_only=True)
    file_id: str | None = attrs.field(default=None, kw_only=True, validator=_one_source)

    @property
    def media_type(self) -> str:
        """What the bytes are, by the name."""
        return mimetypes.guess_type(self.filename)[0] or "application/octet-stream"

    def part(self) -> dict[str, Any]:
        """The part as wire data (``input_file``)."""
        if self.file_id is not None:
            return {"type": "input_file", "file_id": self.file_id}
        if self.data is None:
            return {"type": "input_file", "file_url": self.url}
        return {
            "type": "input_file",
            "filename": self.filename,
            "file_data": _data_url(self.data, self.media_type),
        }

    def words(self) -> str:
        """What a reader of a log is told instead."""
        return f"[file {self.filename}: {_source(self)}]"


def parts_of(value: object) -> list[str | Image | File] | None:
    """The parts, if the value is an image, a file, or a list of such and texts with at least one; else None."""
    if isinstance(value, Image | File):
        return [value]
    if isinstance(value, list | tuple) and any(isinstance(part, Image | File) for part in value):
        return list(value)
    return None


def size_of(part: Mapping[str, Any]) -> int:
    """About how many bytes a part takes in a request."""
    return sum(len(value) for value in part.values() if isinstance(value, str))


def masked_part(part: Mapping[str, Any], masked: Callable[[str], str]) -> Mapping[str, Any]:
    """A part without secrets. Where the address of a thing holds one, a word takes the place of the thing.

    Args:
        part: As wire data.
        masked: Takes the secrets out of a text.
    """
    # In what is encoded nothing can be found, and by chance something might.
    shown = {
        key: masked(value) if isinstance(value, str) and not _ENCODED.match(value) else value
        for key, value in part.items()
    }
    if any(shown[key] != part[key] for key in shown.keys() - {"text", "filename"}):
        return {"type": "input_text", "text": "[left out: its address holds a secret]"}
    return shown


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _source(thing: Image | File) -> str:
    if thing.data is not None:
        return f"{thing.media_type}, {len(thing.data):,} bytes"
    if thing.file_id is not None:
        return thing.file_id
    url = thing.url or ""
    return url if len(url) <= 200 else f"{url[:200]}…"
