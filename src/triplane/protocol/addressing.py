"""Whose a frame is: the lane's name on it, read without decoding the rest where its place in the text allows."""

import re
from typing import Final, NamedTuple

import orjson

from .errors import DecodeError
from .redaction import excerpt

# Only what stands at the very beginning or at the very end is sure to be the event's own, and not part of something
# inside it, such as a client's metadata: the first brace opens the event, and the last one closes it.
_HEAD: Final = re.compile(
    r'\{"type": ?"([^"\\]+)"(?:, ?"sequence_number": ?\d+)?(?:, ?"stream_id": ?"([^"\\]+)")?[,}]'
)
_TAIL: Final = re.compile(r', ?"stream_id": ?"([^"\\]+)"\}\Z')
# A name has 256 characters at most (OpenAI WebSocket-mode guide).
_TAIL_LENGTH: Final = 300


class Address(NamedTuple):
    """What routing needs to know of a frame.

    Attributes:
        type: The event's type; empty if it has none.
        stream_id: The lane's name; None if there is none on it.
    """

    type: str
    stream_id: str | None


def address_of(frame: str) -> Address:
    """The type of an event and the lane that it belongs to.

    Raises:
        DecodeError: The frame is not a JSON object.
    """
    head = _HEAD.match(frame)
    if head is not None:
        if head[2] is not None:
            return Address(head[1], head[2])
        tail = _TAIL.search(frame, max(0, len(frame) - _TAIL_LENGTH))
        if tail is not None:
            return Address(head[1], tail[1])
    try:
        raw = orjson.loads(frame)
    except orjson.JSONDecodeError:
        raise DecodeError("invalid_json", "frame is not valid JSON", excerpt(frame)) from None
    if not isinstance(raw, dict):
        raise DecodeError("not_an_object", "frame is not a JSON object", excerpt(frame))
    kind, lane = raw.get("type"), raw.get("stream_id")
    if not isinstance(kind, str):
        # Some servers leave the type of an error out.
        kind = "error" if isinstance(raw.get("error"), dict) else ""
    return Address(kind, lane if isinstance(lane, str) else None)


def without_stream_id(request: str) -> str:
    """The text of a request with its lane's name left out."""
    body = orjson.loads(request)
    body.pop("stream_id", None)
    return orjson.dumps(body).decode()
