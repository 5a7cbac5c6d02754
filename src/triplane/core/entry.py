"""What everything that can stand in a log has in common."""

from __future__ import annotations

from typing import Any

import attrs

Item = dict[str, Any]
"""An input or output item, as wire data."""


class LogEntry:
    """What can stand in a log. Its repr is written once, and not generated for each class at every import."""

    __slots__ = ()

    def __repr__(self) -> str:
        cls: Any = type(self)
        return (
            f"{cls.__name__}({', '.join(f'{a.name}={getattr(self, a.name)!r}' for a in attrs.fields(cls))})"
        )
