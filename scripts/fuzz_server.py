"""Send damaged frames to the local server, on all cores, and say what did not hold.

    python scripts/fuzz_server.py                       # a million frames
    python scripts/fuzz_server.py --frames 50000 --seed 7
    python scripts/fuzz_server.py --seed 7 --first 1234 --frames 1      # that episode again

What is sent and what must hold is in ``tests/server/server_fuzz.py``; the suite runs a sample. Everything follows from
the seed. Each process has one server, on memory streams and a mock clock, and looks at its own memory: what it holds
at the end must not be much more than what it held after a tenth of the frames.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import trio
from trio.testing import MockClock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

from server_fuzz import FRAMES, Fuzzer

MAX_GROWTH = 32 * 1024 * 1024
"""Bytes by which the memory of a process may grow between a tenth of its episodes and their end."""


class Result(NamedTuple):
    """What came of one process."""

    frames: Counter[str]
    early: int
    late: int
    peak: int
    seconds: float
    failure: str


def memory() -> int:
    """Bytes that this process has in memory now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_share(arguments: tuple[int, range]) -> Result:
    """Run some episodes on one server, up to the first failure."""
    seed, episodes = arguments
    frames: Counter[str] = Counter()
    early = peak = number = 0

    async def run() -> None:
        nonlocal early, frames, number, peak
        async with trio.open_nursery() as nursery:
            fuzzer = Fuzzer(seed, nursery)
            frames = fuzzer.frames
            for count, number in enumerate(episodes):
                await fuzzer.episode(number)
                if count == len(episodes) // 10:
                    early = memory()
                elif count % 500 == 0:
                    peak = max(peak, memory())
            await fuzzer.close()

    failure = ""
    begin = time.process_time()
    try:
        trio.run(run, clock=MockClock(autojump_threshold=0))
    except BaseException as exc:  # noqa: BLE001 - told to the parent, which fails
        failure = "".join(traceback.format_exception(exc))
        failure += f"\nagain: nox -s fuzz -- server --seed {seed} --first {number} --frames 1"
    late = memory()
    return Result(frames, early, late, max(peak, late), time.process_time() - begin, failure)


def main() -> int:
    """Run them all and print what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--frames", type=int, default=1_000_000, help="at least so many (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--first", type=int, default=0, help="the episode to begin with (default: %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    options = parser.parse_args()
    # Some episodes end before their last frame.
    episodes = -(-options.frames * 6 // (FRAMES * 5)) if options.frames > FRAMES else 1
    end = options.first + episodes
    size = -(-episodes // options.processes)
    shares = [(options.seed, range(at, min(at + size, end))) for at in range(options.first, end, size)]
    print(
        f"Python {sys.version.split()[0]}, seed {options.seed}: episodes {options.first:,} to {end - 1:,}"
        f" in {len(shares)} processes"
    )
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        results = pool.map(run_share, shares, chunksize=1)
    failed = False
    for result in results:
        mebibytes = (f"{size / 2**20:.0f}" for size in (result.early, result.late, result.peak))
        print("    MiB after a tenth, at the end, and at most: {}, {}, {}".format(*mebibytes), end="")
        print(f"; {result.seconds:.0f} s of processor time")
        if result.failure:
            print(result.failure)
            failed = True
        elif len(shares[0][1]) >= 100 and result.late - result.early > MAX_GROWTH:
            print("    MEMORY GROWS")
            failed = True
    frames = sum((result.frames for result in results), Counter())
    ended = frames.pop("ended", 0)
    print(
        f"    {frames.total():,} frames: {frames['message']:,} damaged messages in sound frames, "
        f"{frames['unsound']:,} unsound frames, {frames['head']:,} damaged heads"
    )
    print(
        f"    {ended:,} connections of sound frames were ended by a malformed response.inject, as documented"
    )
    if not failed and frames.total() < options.frames and options.frames > FRAMES:
        print(f"    fewer frames than {options.frames:,}")
        failed = True
    print(f"{'FAILED' if failed else 'nothing failed'}; {time.monotonic() - begin:.0f} s in all")
    return failed


if __name__ == "__main__":
    sys.exit(main())
