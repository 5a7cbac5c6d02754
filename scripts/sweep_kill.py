"""Kill a process at every write to its ledger, let another one go on, and look whether anything was lost or done twice.

    python scripts/sweep_kill.py                        # every write of every scenario, and 1,000 kills at random
    python scripts/sweep_kill.py --step 7 --random 10   # a sample

The scenarios and what must hold are in ``tests/ledger/killing.py``. The ledger's file is written with ``sync="normal"``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ledger"))

from killing import SCENARIOS, sweep

SHOWN = 20
"""Problems that are printed; more of them say little more."""


def main() -> int:
    """Kill, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="by default all of them")
    parser.add_argument("--step", type=int, default=1, help="kill at every so many-th write")
    parser.add_argument("--random", type=int, default=1000, help="how many kills at random moments")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = sweep(
            Path(folder),
            options.scenario or list(SCENARIOS),
            step=options.step,
            random_kills=options.random,
            seed=options.seed,
        )
    print(
        f"{outcome.deaths} processes killed in {time.perf_counter() - began:.0f} s, the slowest resumption took"
        f" {outcome.slowest:.2f} s, {len(outcome.problems)} problems"
    )
    for words in outcome.problems[:SHOWN]:
        print(f"  {words}")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
