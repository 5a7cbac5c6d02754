"""From an event on the socket to the same event as a server-sent one. Pure."""

from __future__ import annotations

from typing import Final

import orjson

__all__ = ["encode", "flat_error"]

_PREFIX: Final = b'{"type":"'
_ERROR: Final = b'{"type":"error"'


def encode(event: bytes) -> bytes:
    """Return the record of `event`, which is one event as JSON, or should be."""
    kind = _kind(event)
    head = b"event: %b\n" % kind if kind is not None else b""
    if b"\n" not in event and b"\r" not in event:
        return b"%bdata: %b\n\n" % (head, event)
    # Not JSON of ours: a fault.
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return head + b"".join(b"data: %b\n" % line for line in lines) + b"\n"


def _kind(event: bytes) -> bytes | None:
    if event.startswith(_PREFIX):
        end = event.find(b'"', len(_PREFIX))
        return event[len(_PREFIX) : end] if end > 0 else None
    try:
        kind = orjson.loads(event)["type"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    return kind.encode() if isinstance(kind, str) and kind.isascii() and kind.isprintable() else None


def flat_error(event: bytes, sequence_number: int, *, only_envelopes: bool = False) -> bytes:
    """Return an `error` event as it is over HTTP, where its fields stand beside the type; others as they are.

    Args:
        event: any event as JSON.
        sequence_number: its place among the events of its response.
        only_envelopes: leave it as it is if it has no status, and so is not what a socket's `error` should be.
    """
    if not event.startswith(_ERROR):
        return event
    try:
        data = orjson.loads(event)
    except orjson.JSONDecodeError:
        return event
    error = data.get("error")
    if not isinstance(error, dict) or (only_envelopes and "status" not in data):
        return event
    fields = {name: error.get(name) for name in ("code", "message", "param")}
    return orjson.dumps({"type": "error", **fields, "sequence_number": sequence_number})
