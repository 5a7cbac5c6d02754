"""What the tool calls of an engine share: how many may be at work at once, and where long outputs go."""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, final
from weakref import WeakKeyDictionary

import trio

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from triplane.core.artifacts import ArtifactStore

    from .tool import Tool


@final
class _Loan:
    """The places of a call, for the calls that are made in it. What stands for one is made when it is first asked for.

    A call that runs an agent waits for that one's calls, and would wait for ever if they waited for its own place.
    """

    __slots__ = ("_outer", "_places", "_standing")

    def __init__(self, places: Collection[trio.CapacityLimiter], outer: _Loan | None) -> None:
        self._places = places
        self._outer = outer
        self._standing: dict[trio.CapacityLimiter, trio.CapacityLimiter] = {}

    def find(self, place: trio.CapacityLimiter) -> trio.CapacityLimiter | None:
        """What stands for a place of this call, or of one around it."""
        if place not in self._places:
            return None if self._outer is None else self._outer.find(place)
        if place not in self._standing:
            self._standing[place] = trio.CapacityLimiter(1)
        return self._standing[place]

    def end(self) -> None:
        """Lend nothing more, also to tasks that were left behind: the places are not the call's any more."""
        self._places = ()


_NOTHING: Final = _Loan((), None)
_lent: ContextVar[_Loan] = ContextVar("triplane lent places", default=_NOTHING)


@contextmanager
def lent(places: Collection[trio.CapacityLimiter]) -> Iterator[None]:
    """While this block runs, calls that are made in it may use its places, one call at a time for each. Not a checkpoint.

    A call that uses one and is left behind when the block ends goes on, and is not counted.
    """
    if not places:
        yield
        return
    mine = _Loan(places, _lent.get())
    token = _lent.set(mine)
    try:
        yield
    finally:
        _lent.reset(token)
        mine.end()


async def acquire(place: trio.CapacityLimiter, borrower: object) -> trio.CapacityLimiter:
    """Wait for a place, or for one that a call around this one has lent, and return what is to be released.

    Only if none is free is it a checkpoint.
    """
    own = _lent.get().find(place)
    # Not on behalf of the task: a tool that runs an agent has calls in the same one. A free place costs no turn of the
    # scheduler; where others wait there is none, so nobody is overtaken.
    for each in (place,) if own is None else (own, place):
        try:
            each.acquire_on_behalf_of_nowait(borrower)
        except trio.WouldBlock:
            continue
        return each
    # Of the two only the call's own is sure to come free.
    if own is not None:
        await own.acquire_on_behalf_of(borrower)
        if _lent.get().find(place) is own:
            return own
        # Whoever lent it has ended meanwhile, and given its place back.
        own.release_on_behalf_of(borrower)
    await place.acquire_on_behalf_of(borrower)
    return place


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
