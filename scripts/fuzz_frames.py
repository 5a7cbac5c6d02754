"""Feed damaged frames to the codec and the folds, on all cores, and say what did not hold.

    python scripts/fuzz_frames.py                       # a million frames
    python scripts/fuzz_frames.py --frames 50000 --seed 7
    python scripts/fuzz_frames.py --seed 7 --first 1234 --frames 1      # that frame again, with those before it

What is fed and what must hold is in ``tests/core/core_fuzz.py``; the suite runs a sample. Everything follows from the
seed. Nothing may take longer than a few seconds of processor time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "core"))

from core_fuzz import STREAM, Watch, run_stream

if TYPE_CHECKING:
    from types import FrameType

PATIENCE = 5.0
"""Seconds of processor time that one frame may take."""
BATCH = 40
"""Streams that a process takes at once."""


class Slowest(NamedTuple):
    """The frame that took longest."""

    seconds: float = 0.0
    number: int = 0
    size: int = 0


class Result(NamedTuple):
    """What came of a batch."""

    outcomes: Counter[str]
    slowest: Slowest
    failure: str


class Clock(Watch):
    """Counts outcomes, remembers the slowest, and stops what hangs."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest = Slowest()
        self._number = 0
        self._size = 0
        self._begin = 0.0
        signal.signal(signal.SIGVTALRM, _hangs)

    def begin(self, number: int, subject: object) -> None:
        """Set the alarm."""
        self._number = number
        self._size = len(subject) if isinstance(subject, str | bytes) else 0
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
        self._begin = time.process_time()

    def end(self, outcome: str) -> None:
        """Stop it."""
        spent = time.process_time() - self._begin
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, Slowest(spent, self._number, self._size))


def _hangs(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"takes longer than {PATIENCE:g} s")


def run_batch(seed: int, streams: range) -> Result:
    """Run some streams, up to the first failure."""
    clock = Clock()
    for number in streams:
        failure = run_stream(seed, number, clock)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if failure is not None:
            trace = "".join(traceback.format_exception(failure.error))
            told = (
                f"{trace}\nseed {seed}, frame {failure.number}: {failure.frame!r}\n\n"
                f"again: nox -s fuzz -- --seed {seed} --first {failure.number} --frames 1"
            )
            return Result(clock.outcomes, clock.slowest, told)
    return Result(clock.outcomes, clock.slowest, "")


def main() -> int:
    """Run them all and print what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--frames", type=int, default=1_000_000, help="at least so many (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="the frame to begin with (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    options = parser.parse_args()
    streams = range(options.first // STREAM, -(-(options.first + options.frames) // STREAM))
    batches = [streams[at : at + BATCH] for at in range(0, len(streams), BATCH)]
    print(
        f"Python {sys.version.split()[0]}, seed {options.seed}: frames {streams.start * STREAM:,} to"
        f" {streams.stop * STREAM - 1:,}, and an item and a request with every {STREAM}"
    )
    outcomes: Counter[str] = Counter()
    slowest = Slowest()
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for result in pool.imap(partial(run_batch, options.seed), batches):
            outcomes += result.outcomes
            slowest = max(slowest, result.slowest)
            if result.failure:
                print(result.failure)
                return 1
    for outcome, count in outcomes.most_common():
        print(f"    {count:>9,} {outcome}")
    print(
        f"nothing failed; slowest: frame {slowest.number} of {slowest.size:,} bytes, {slowest.seconds * 1e3:.0f} ms;"
        f" {time.monotonic() - begin:.0f} s in all"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
