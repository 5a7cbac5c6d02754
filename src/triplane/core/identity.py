"""Whether an agent is still the one that a log is about, and if not, what is different.

A log keeps digests of what the agent sent, one for each thing that has a name; the things themselves may be long, and
nobody's business. From two sets of digests can be told what changed, and not from what to what.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from .canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGEST_BYTES = 8
_TOOL = "tool "


def parts_of(body: Mapping[str, Any]) -> dict[str, str]:
    """A digest for each thing that a request says apart from its input: for each of its fields, and for each tool.

    Args:
        body: The request as wire data.
    """
    parts: dict[str, str] = {}
    for name, value in body.items():
        if name == "tools" and isinstance(value, list):
            for tool in value:
                kind = tool.get("name") or tool.get("type") if isinstance(tool, dict) else None
                key = f"{_TOOL}{kind}"
                # Several without a name of their own are one thing together.
                parts[key] = _digest([parts[key], tool] if key in parts else tool)
        elif name != "type":
            parts[name] = _digest(value)
    return parts


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What is different, in words, in the order of the names; empty if nothing is."""
    words = []
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            what = f"the {name}" if name in ("model", "instructions") else f"the setting {name}"
            if name.startswith(_TOOL):
                what = f"the tool {name.removeprefix(_TOOL)!r}"
            verb = "are" if name == "instructions" else "is"
            if name not in before:
                words.append(f"{what} {verb} new")
            elif name not in now:
                words.append(f"{what} {verb} gone")
            else:
                words.append(f"{what} changed")
    return tuple(words)


def _digest(value: object) -> str:
    return hashlib.blake2b(canonical_json(value), digest_size=_DIGEST_BYTES).hexdigest()
