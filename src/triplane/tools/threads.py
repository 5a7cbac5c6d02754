"""Runs a sync tool in a worker thread that can be left behind."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# A thread cannot be stopped from outside. A limiter of our own keeps tools that hang from using up the threads
# that the rest of the program needs (Trio's default limiter also serves file I/O), and bounds how many are left.
MAX_THREADS = 40
# So many of them may be left behind at once; then a call fails at once instead of waiting for a thread in vain.
MAX_ABANDONED = 32
_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("triplane tool threads")


@attrs.frozen
class ThreadStatistics:
    """What became of the threads of cancelled or timed-out sync tools, in this process.

    Attributes:
        abandoned: Threads that still run although nobody waits for them.
        discarded: Results, or exceptions, that came after the call was over and were dropped.
    """

    abandoned: int
    discarded: int


_lock = threading.Lock()
_abandoned = 0
_discarded = 0


def thread_statistics() -> ThreadStatistics:
    """How many threads were left behind by tools that did not end in time. Callable from any thread."""
    with _lock:
        return ThreadStatistics(_abandoned, _discarded)


class TooManyThreadsError(Exception):
    """So many threads of earlier calls are still running that no other is begun."""


class _Flight(Generic[T]):
    """One function on its way through a thread: who is done with it first, the thread or its caller?"""

    __slots__ = ("finished", "function", "left", "on_late", "started", "token")

    def __init__(self, function: Callable[[], T], on_late: Callable[[], object] | None) -> None:
        self.function = function
        self.on_late = on_late
        self.token = trio.lowlevel.current_trio_token()
        self.started = False
        self.finished = False
        self.left = False

    def work(self) -> tuple[T]:
        """What the thread does."""
        if not self._begin():
            raise RuntimeError("cancelled before it started")  # for nobody: Trio drops it
        try:
            # In a tuple, or Trio would object to a coroutine in words that are about us and not about the tool.
            return (self.function(),)
        finally:
            self._finish()

    def _begin(self) -> bool:
        with _lock:
            # Cancelled between the start of the thread and this line, the function never starts.
            self.started = not self.left
            return self.started

    def _finish(self) -> None:
        global _abandoned, _discarded  # noqa: PLW0603  # facts about the process
        with _lock:
            self.finished = True
            if self.left:
                _abandoned -= 1
                _discarded += 1
            is_late = self.left
        if is_late:
            self._tell()

    def leave(self) -> None:
        """What the task does when it cannot wait any longer."""
        global _abandoned, _discarded  # noqa: PLW0603  # facts about the process
        with _lock:
            self.left = True
            if self.finished:
                _discarded += 1
            elif self.started:
                _abandoned += 1
            is_late = self.finished
        if is_late:
            self._tell()

    def _tell(self) -> None:
        if self.on_late is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self.token.run_sync_soon(self.on_late)


async def run_in_thread(
    function: Callable[[], T], *, name: str, on_late: Callable[[], object] | None = None
) -> T:
    """Run `function` in a worker thread and return what it returns.

    At most 40 such threads exist in a Trio run; further calls wait for one.

    Args:
        function: What the thread does.
        name: The thread's name.
        on_late: Called in Trio's thread, if Trio still runs, when a thread that was left behind has ended.

    Raises:
        TooManyThreadsError: 32 threads were left behind and still run.

    Cancellation: returns at once. A thread that runs already is left behind, and counted in
    `thread_statistics`; what it returns or raises is dropped. `trio.from_thread.check_cancelled` lets the
    function end sooner. Checkpoints: always.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    if thread_statistics().abandoned >= MAX_ABANDONED:
        await trio.lowlevel.checkpoint()
        raise TooManyThreadsError(
            f"{MAX_ABANDONED} threads of earlier calls, which did not end in time, are still running"
        )
    flight = _Flight(function, on_late)
    try:
        (value,) = await trio.to_thread.run_sync(
            flight.work, thread_name=name, abandon_on_cancel=True, limiter=limiter
        )
    except trio.Cancelled:
        flight.leave()
        raise
    return value
