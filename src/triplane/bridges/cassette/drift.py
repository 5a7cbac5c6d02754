"""Where what a client asks differs from what was recorded. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import orjson

from .content import Content, Json, Text
from .errors import CassetteError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["CassetteDrift", "differences"]

_SHOWN: Final = 5
_LENGTH: Final = 120


@final
@attrs.define(slots=False, eq=False)
class CassetteDrift(CassetteError):  # noqa: N818 - named after what happened
    """A client did not do what it did when the cassette was recorded.

    Attributes:
        problems: one text for each request that differed, and for each part of the cassette that was not asked for.
    """

    path: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        many = "\n".join(f"- {problem}" for problem in self.problems)
        return f"the cassette {self.path} does not fit any more; record it anew if that is right:\n{many}"


def differences(recorded: Content | None, seen: Content | None, ignore: Collection[str] = ()) -> list[str]:
    """Describe where two contents differ; empty if they do not.

    Args:
        recorded: what a cassette holds.
        seen: what a client sends.
        ignore: paths of values that may differ, such as `metadata.run`, `input[*].id` or `input[0]`; what lies below
            a path is ignored with it.
    """
    patterns = [_pattern(path) for path in ignore]
    found = [
        text
        for path, text in _differences("", _value(recorded), _value(seen))
        if not any(pattern.match(path) for pattern in patterns)
    ]
    if len(found) > _SHOWN:
        found[_SHOWN:] = [f"and {len(found) - _SHOWN} more differences"]
    return found


def _pattern(path: str) -> re.Pattern[str]:
    words = re.escape(path).replace(r"\[\*\]", r"\[\d+\]").replace(r"\.\*", r"\.[^.\[]+")
    return re.compile(rf"{words}(?:$|[.\[])")


def _value(content: Content | None) -> Any:
    match content:
        case None:
            return None
        case Json(value):
            return value
        case Text(text):
            return text
    return content.to_bytes().decode(errors="replace")


def _differences(path: str, recorded: Any, seen: Any) -> Iterator[tuple[str, str]]:
    if isinstance(recorded, dict) and isinstance(seen, dict):
        for name in [*recorded, *(name for name in seen if name not in recorded)]:
            below = f"{path}.{name}" if path else name
            if name not in seen:
                yield below, f"{below}: recorded {_shown(recorded[name])}, now missing"
            elif name not in recorded:
                yield below, f"{below}: not recorded, now {_shown(seen[name])}"
            else:
                yield from _differences(below, recorded[name], seen[name])
    elif isinstance(recorded, list) and isinstance(seen, list):
        for index, (one, other) in enumerate(zip(recorded, seen, strict=False)):
            yield from _differences(f"{path}[{index}]", one, other)
        for index in range(len(seen), len(recorded)):
            yield f"{path}[{index}]", f"{path}[{index}]: recorded {_shown(recorded[index])}, now missing"
        for index in range(len(recorded), len(seen)):
            yield f"{path}[{index}]", f"{path}[{index}]: not recorded, now {_shown(seen[index])}"
    # In JSON true is not 1, but 1.0 may be written for it.
    elif recorded != seen or isinstance(recorded, bool) != isinstance(seen, bool):
        place = path or "the whole message"
        yield path, f"{place}: recorded {_shown(recorded)}, now {_shown(seen)}"


def _shown(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}… ({len(text)} characters)"
