"""WebSocket frames as a server sends them, unmasked (RFC 6455, section 5). Pure."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "FIN",
    "PING",
    "PONG",
    "TEXT",
    "fragments",
    "frame",
    "text_frames",
]

FIN: Final = 0x80
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_TEXT_FRAME: Final = FIN | TEXT


def text_frames(messages: Iterable[bytes]) -> bytearray:
    """Return each of `messages`, which are UTF-8, in a frame of its own."""
    data = bytearray()
    for message in messages:
        size = len(message)
        if size < 126:
            data += struct.pack("!BB", _TEXT_FRAME, size)
        elif size < 65536:
            data += struct.pack("!BBH", _TEXT_FRAME, 126, size)
        else:
            data += struct.pack("!BBQ", _TEXT_FRAME, 127, size)
        data += message
    return data


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return one frame."""
    size = len(payload)
    first = opcode | (FIN if fin else 0)
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload


def fragments(opcode: int, payload: bytes, size: int, *, pings: bool = False) -> bytes:
    """Return one message in frames of at most `size` bytes each, with a ping between any two of them if `pings`."""
    frames = []
    for start in range(0, len(payload) or 1, size):
        piece = payload[start : start + size]
        frames.append(frame(opcode if start == 0 else CONTINUATION, piece, fin=start + size >= len(payload)))
    return (frame(PING, b"") if pings else b"").join(frames)
