"""What others say, without our credentials in it: some repeat a request in what they refuse it with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

import orjson

from triplane.core.routing import ERROR_TYPES
from triplane.protocol import DecodeError, address_of
from triplane.protocol.redaction import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

# Shorter values of headers are words, and a text would be unreadable without them.
_SHORTEST: Final = 8
# A value that an event may hold for reasons of its own: a word of the protocol, or a number.
_VOCABULARY: Final = re.compile(r"[a-z_.]+|[0-9.+-]+")


@final
class Mask:
    """Stands for the credentials of one endpoint, or of one proxy.

    Args:
        secrets: A key, values of headers, a password.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        secrets = [secret for secret in secrets if len(secret) >= _SHORTEST]
        telling = [secret for secret in secrets if not _VOCABULARY.fullmatch(secret)]
        self._in_frames = _longest_first(form for secret in telling for form in _as_json(secret))
        # Text may be JSON that is read later on.
        self._in_text = _longest_first((*secrets, *self._in_frames))

    def text(self, text: str) -> str:
        """Words, perhaps cut off at their end."""
        for form in self._in_text:
            text = text.replace(form, MASK)
            for length in range(len(form) - 1, _SHORTEST - 1, -1):
                if text.endswith(form[:length]):
                    text = text[:-length] + MASK
                    break
        return text

    def frame(self, frame: str) -> str:
        """The text of a frame, if it tells of something that failed, or cannot be read.

        All others stay as they are: what the model says is the user's, even if it is the key.
        """
        # Most frames hold none, and are not looked at any closer.
        if not any(form in frame for form in self._in_frames):
            return frame
        try:
            kind = address_of(frame).type
        except DecodeError:
            kind = ""
        if kind and kind not in ERROR_TYPES and not kind.endswith(".failed"):
            return frame
        for form in self._in_frames:
            frame = frame.replace(form, MASK)
        return frame


def _as_json(secret: str) -> tuple[str, str]:
    written = orjson.dumps(secret).decode()[1:-1]
    # Some write JSON with a backslash before each slash.
    return written, written.replace("/", "\\/")


def _longest_first(forms: Iterable[str]) -> tuple[str, ...]:
    """Without repetitions. Of a secret that begins with another one, nothing is left behind the mask of that one."""
    return tuple(sorted(set(forms), key=lambda form: (-len(form), form)))
