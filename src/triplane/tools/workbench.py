"""What the tool calls of an engine share: how many may be at work at once, and where long outputs go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

import trio

if TYPE_CHECKING:
    from triplane.core.artifacts import ArtifactStore

    from .tool import Tool


@final
class Workbench:
    """The limits of all calls of an engine.

    Args:
        max_concurrency: How many calls may be at work at once, `math.inf` for no limit.
        artifacts: Where long outputs go; None: nowhere.
    """

    def __init__(self, *, max_concurrency: float = math.inf, artifacts: ArtifactStore | None = None) -> None:
        self.artifacts = artifacts
        self._everybody = None if max_concurrency == math.inf else trio.CapacityLimiter(max_concurrency)
        # Tools may be shared by engines, so what is counted here is not the tool's.
        self._of_tool: WeakKeyDictionary[Tool, trio.CapacityLimiter] = WeakKeyDictionary()

    def __repr__(self) -> str:
        used = 0 if self._everybody is None else self._everybody.borrowed_tokens
        return f"<Workbench: {used} places of {math.inf if self._everybody is None else self._everybody.total_tokens}>"

    def places(self, tool: Tool) -> tuple[trio.CapacityLimiter, ...]:
        """What a call has to acquire, in this order: who waits for its tool's own limit keeps no place from others."""
        limiters: list[trio.CapacityLimiter] = []
        if tool.max_concurrency != math.inf:
            limiter = self._of_tool.get(tool)
            if limiter is None:
                limiter = self._of_tool[tool] = trio.CapacityLimiter(tool.max_concurrency)
            limiters.append(limiter)
        if self._everybody is not None and tool.is_counted:
            limiters.append(self._everybody)
        return tuple(limiters)
