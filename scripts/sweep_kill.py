"""Kill a process at every write to its ledger, let another one go on, and look whether anything was lost or done twice.

    python scripts/sweep_kill.py                        # every write of every scenario, and 1,000 kills at random
    python scripts/sweep_kill.py --step 7 --random 10   # a sample

The scenarios and what must hold are in ``tests/ledger/killing.py``. The ledger's file is written with ``sync="normal"``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ledger"))

from killing import SCENARIOS, carry_out, kills_of

if TYPE_CHECKING:
    from killing import Kill, Outcome

SHOWN = 20
"""Problems that are printed; more of them say little more."""
EVERY = 250
"""After so many kills a line says how far it is."""


def run_one(kill: Kill) -> Outcome:
    """Carry out one kill in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return carry_out(kill, Path(folder))


def main() -> int:
    """Kill, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="by default all of them")
    parser.add_argument("--step", type=int, default=1, help="kill at every so many-th write")
    parser.add_argument("--random", type=int, default=1000, help="how many kills at random moments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    options = parser.parse_args()
    names = options.scenario or list(SCENARIOS)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kills = list(
            kills_of(Path(folder), names, step=options.step, random_kills=options.random, seed=options.seed)
        )
    deaths, slowest, problems = 0, 0.0, 0
    # Those that kill are started anew and run no thread, since their forks would inherit its locks.
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for number, outcome in enumerate(pool.imap_unordered(run_one, kills), 1):
            deaths += outcome.is_killed
            slowest = max(slowest, outcome.slowest)
            for words in outcome.problems[: max(0, SHOWN - problems)]:
                print(f"  {words}", flush=True)
            problems += len(outcome.problems)
            if number % EVERY == 0:
                print(f"{number} of {len(kills)}", flush=True)
    took = time.perf_counter() - began
    print(
        f"{deaths} processes killed in {len(names)} of {len(SCENARIOS)} scenarios in {took:.0f} s,"
        f" the slowest resumption took {slowest:.2f} s, {problems} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
