"""Which paths a pattern with `*`, `?` and `**` matches."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PATTERN = 1_000


def glob(pattern: str) -> Callable[[str], bool]:
    """What tells whether a path matches `pattern`, in time proportional to both."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the pattern must be at most {MAX_PATTERN} characters")
    parts = [
        None if part == "**" else re.compile(fnmatch.translate(part)).match for part in pattern.split("/")
    ]

    def spread(states: set[int]) -> set[int]:
        """A `**` may also match nothing."""
        for state in sorted(states):
            while state < len(parts) and parts[state] is None:
                state += 1  # noqa: PLW2901  # from there on
                states.add(state)
        return states

    def matches(path: str) -> bool:
        states = spread({0})
        for segment in path.split("/"):
            after: set[int] = set()
            for state in states:
                if state < len(parts):
                    part = parts[state]
                    if part is None:
                        after.add(state)
                    elif part(segment):
                        after.add(state + 1)
            states = spread(after)
        return len(parts) in states

    return matches
