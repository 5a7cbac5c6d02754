"""How text of others may be shown: a terminal obeys what it is sent, and a secret is nobody's to see."""

from __future__ import annotations

import re

# Complete colour and cursor sequences go as a whole; of anything else only what makes the terminal listen, so that
# an unfinished sequence cannot hide the text behind it.
_SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]{0,32}[ -/]{0,8}[@-~]")
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what reorders the characters around it
    "\ud800-\udfff]"  # bytes of file names that are not UTF-8
)
_MASK = "[secret]"
# A shorter value would be found in innocent text everywhere.
_SHORTEST_SECRET = 8


def plain(text: str) -> str:
    """The text without anything that a terminal would obey, or that would reorder it. Keeps tabs and line ends."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line of at most `limit` characters, without anything that a terminal would obey."""
    # Whole lines may be long; what is beyond the limit needs no cleaning.
    words = " ".join(plain(text[: 8 * limit]).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def named(path: str) -> str:
    """A file's name as it can be shown anywhere: on one line, its unprintable characters escaped."""
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """The text with each secret replaced. Shorter ones than eight characters are left: they are not secrets."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, _MASK)
    return text
