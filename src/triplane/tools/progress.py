"""How often a call's progress is recorded: often enough to follow it, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from .context import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

# So many at once after a rest, and so many a second; what comes in between is counted.
BURST = 5
RATE = 4.0
_LONGEST = 500
# Of output alone a record tells once in so many seconds: it matters when there is much of it.
_EVERY = 0.5
_NOTHING = Progress()


@final
class ProgressMeter:
    """Passes on what may be recorded.

    Args:
        record: Gets the progress, the bytes of output so far, and how many reports were left out before.
        bytes_produced: Says how many bytes of output there are.
    """

    __slots__ = ("_at", "_bytes_produced", "_is_over", "_record", "_room", "_skipped", "_told_at")

    def __init__(
        self, record: Callable[[Progress, int, int], object], bytes_produced: Callable[[], int]
    ) -> None:
        self._record = record
        self._bytes_produced = bytes_produced
        self._room = float(BURST)
        self._at = self._told_at = trio.current_time()
        self._skipped = 0
        self._is_over = False

    def report(self, progress: Progress) -> None:
        """The tool says how far it is. Not a checkpoint."""
        if self._is_over:
            return
        now = trio.current_time()
        self._room = min(float(BURST), self._room + (now - self._at) * RATE)
        self._at = now
        if self._room < 1.0:
            self._skipped += 1
            return
        self._room -= 1.0
        self._tell(progress, now)

    def grew(self) -> None:
        """There is more output. Not a checkpoint."""
        now = trio.current_time()
        if now - self._told_at >= _EVERY and not self._is_over:
            self._tell(_NOTHING, now)

    def end(self) -> None:
        """The call is over: nothing is passed on any more. Idempotent."""
        self._is_over = True

    def _tell(self, progress: Progress, now: float) -> None:
        self._told_at = now
        skipped, self._skipped = self._skipped, 0
        message = str(progress.message)[:_LONGEST].encode(errors="replace").decode()
        short = Progress(message, progress.done, progress.total)
        self._record(short, self._bytes_produced(), skipped)
