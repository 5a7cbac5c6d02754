"""Simulate an engine and its server, fault by fault, and say what did not hold.

    python scripts/simulate.py                      # 200 seeds from 1 on
    python scripts/simulate.py --seeds 2000 --first 5000
    python scripts/simulate.py --seed 7             # that one again, with its story

What a seed does and what must hold is in ``tests/simulation``. Whatever fails is made small and told, with the one line
that makes it again; then it belongs into ``tests/simulation/seeds.py``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulation.drawing import draw
from simulation.scenario import as_code
from simulation.shrinking import shrunk, told
from simulation.world import simulate


class Result(NamedTuple):
    """What came of a seed."""

    seed: int
    which: str
    steps: int
    virtual: float
    processor: float
    ends: tuple[str, ...]


def run_one(seed: int) -> Result:
    """Simulate one seed."""
    begin = time.process_time()
    outcome = simulate(draw(seed))
    return Result(
        seed,
        "" if outcome.found is None else outcome.found.which,
        outcome.steps,
        outcome.seconds,
        time.process_time() - begin,
        tuple(end for _label, end in outcome.ends),
    )


def tell(seed: int, *, shrink: bool) -> int:
    """Simulate one seed and tell its story."""
    scenario = draw(seed)
    outcome = simulate(scenario)
    if outcome.found is None:
        print(told(scenario, outcome, lines=1_000))
        print(f"\nseed {seed}: everything held; {outcome.digest}")
        return 0
    if shrink:
        scenario, outcome = shrunk(scenario)
    print(told(scenario, outcome))
    print(f"\nseed {seed}: {outcome.found}")
    print(f"again: nox -s simulate -- --seed {seed}")
    print(f"to be kept in tests/simulation/seeds.py:\n{as_code(scenario)}")
    return 1


def main() -> int:
    """Run them all and print what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=1, help="the seed to begin with (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="this one alone, with its story")
    parser.add_argument("--whole", action="store_true", help="do not make small what fails")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    options = parser.parse_args()
    if options.seed is not None:
        return tell(options.seed, shrink=not options.whole)
    begin = time.monotonic()
    failures: Counter[str] = Counter()
    failed: list[int] = []
    ends: Counter[str] = Counter()
    steps, virtual, processor = 0, 0.0, 0.0
    seeds = range(options.first, options.first + options.seeds)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for result in pool.imap_unordered(run_one, seeds, chunksize=10):
            steps += result.steps
            virtual += result.virtual
            processor += result.processor
            ends.update(result.ends)
            if result.which:
                failures[result.which] += 1
                failed.append(result.seed)
                print(f"seed {result.seed}: {result.which}", flush=True)
    took = time.monotonic() - begin
    print(
        f"Python {sys.version.split()[0]}: {len(seeds):,} seeds from {seeds.start} on in {took:.0f} s,"
        f" {processor / len(seeds) * 1e3:.0f} ms of processor time each; {steps:,} steps,"
        f" {virtual / 3600:.1f} hours of virtual time, {virtual / took:,.0f} times real time"
    )
    for end, count in ends.most_common():
        print(f"    {count:>9,} {end}")
    if failed:
        print("did not hold:", ", ".join(f"{which} ({count})" for which, count in failures.most_common()))
        return tell(min(failed), shrink=not options.whole)
    print("everything held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
