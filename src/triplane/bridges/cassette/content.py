"""What one message says, as a cassette keeps it: as JSON if it is JSON, to be read, compared and redacted. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Binary",
    "Content",
    "Json",
    "ServerSent",
    "Text",
    "content_of",
    "from_tape",
    "read_block",
    "split_blocks",
]

_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")


@attrs.frozen
class Json:
    """A JSON object or array."""

    value: Any

    def to_bytes(self) -> bytes:
        """Encode it as it goes over a wire; white space may differ from what was recorded."""
        return orjson.dumps(self.value)

    def to_tape(self) -> dict[str, Any]:
        """Return its fields in a line of a cassette."""
        return {"json": self.value}

    def changed(self, change: Callable[[Any], Any]) -> Content:
        """Return it with another value, or with another text."""
        return Json(change(self.value))


@attrs.frozen
class ServerSent:
    """One server-sent event whose data are JSON."""

    event: str | None
    value: Any

    def to_bytes(self) -> bytes:
        """See `Json.to_bytes`."""
        name = b"" if self.event is None else b"event: " + self.event.encode() + b"\n"
        return name + b"data: " + orjson.dumps(self.value) + b"\n\n"

    def to_tape(self) -> dict[str, Any]:
        """See `Json.to_tape`."""
        return {"sse": self.event, "json": self.value}

    def changed(self, change: Callable[[Any], Any]) -> Content:
        """See `Json.changed`."""
        return ServerSent(self.event, change(self.value))


@attrs.frozen
class Text:
    """Any other text."""

    text: str

    def to_bytes(self) -> bytes:
        """See `Json.to_bytes`."""
        return self.text.encode()

    def to_tape(self) -> dict[str, Any]:
        """See `Json.to_tape`."""
        return {"text": self.text}

    def changed(self, change: Callable[[Any], Any]) -> Content:
        """See `Json.changed`."""
        return Text(str(change(self.text)))


@attrs.frozen
class Binary:
    """Bytes that are not text. Nothing in them is redacted."""

    data: bytes

    def to_bytes(self) -> bytes:
        """See `Json.to_bytes`."""
        return self.data

    def to_tape(self) -> dict[str, Any]:
        """See `Json.to_tape`."""
        return {"base64": base64.b64encode(self.data).decode()}

    def changed(self, change: Callable[[Any], Any]) -> Content:  # noqa: ARG002 - see the class
        """See `Json.changed`."""
        return self


Content: TypeAlias = Json | ServerSent | Text | Binary


def content_of(data: str | bytes) -> Content:
    """Return what a message or a body says."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, (dict, list)):
        return Json(value)
    if isinstance(data, str):
        return Text(data)
    try:
        return Text(data.decode())
    except UnicodeDecodeError:
        return Binary(data)


def split_blocks(buffer: bytearray) -> list[bytes]:
    """Take the whole blocks of an event stream, each with the empty line that ends it, off the front of `buffer`."""
    blocks: list[bytes] = []
    while True:
        places = [(at, len(end)) for end in _ENDS if (at := buffer.find(end)) >= 0]
        if not places:
            return blocks
        at, size = min(places)
        blocks.append(bytes(buffer[: at + size]))
        del buffer[: at + size]


def read_block(block: bytes) -> Content:
    """Return what one block of an event stream says."""
    lines = block.strip().splitlines()
    fields = [line.partition(b":") for line in lines]
    names = [name for name, _, _ in fields]
    if names in ([b"event", b"data"], [b"data"]):
        content = content_of(fields[-1][2].strip())
        if isinstance(content, Json):
            return ServerSent(fields[0][2].strip().decode() if len(fields) == 2 else None, content.value)
    return content_of(block)


def from_tape(fields: Mapping[str, Any]) -> Content | None:
    """Return the content in a line of a cassette; None if there is none.

    Raises:
        ValueError: it is not what `to_tape` returns.
    """
    if "sse" in fields:
        return ServerSent(fields["sse"], fields["json"]) if "json" in fields else _malformed(fields)
    if "json" in fields:
        return Json(fields["json"])
    if "text" in fields:
        return Text(fields["text"]) if isinstance(fields["text"], str) else _malformed(fields)
    if "base64" in fields:
        try:
            return Binary(base64.b64decode(fields["base64"], validate=True))
        except (binascii.Error, TypeError):
            return _malformed(fields)
    return None


def _malformed(fields: Mapping[str, Any]) -> Content:
    raise ValueError(f"this is no content: {', '.join(fields)}")
