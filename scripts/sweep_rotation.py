"""Live 30 days with a server that ends every connection after an hour, and say whether any turn noticed.

    python scripts/sweep_rotation.py                    # 30 days of 16 connections, a quarter of an hour or so
    python scripts/sweep_rotation.py --days 2 --seed 7

What is lived and what must hold is in ``tests/engine/rotation_days.py``; the suite runs a sample. Everything follows
from the seed: the clock is a mock one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engine"))

from rotation_days import MOST_HANDSHAKES, live

SHOWN = 20
"""Failures that are printed; more of them say little more."""


def main() -> int:
    """Live, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.perf_counter()
    outcome = live(24 * options.days, sessions=options.connections, seed=options.seed)
    print(
        f"{options.days:g} days of {options.connections} connections in {time.perf_counter() - began:.0f} s:"
        f" {outcome.turns:,} turns, {outcome.replays} repeated, {len(outcome.failures)} failed;"
        f" {outcome.opened:,} connections opened in {outcome.connection_hours:,.0f} connection-hours,"
        f" {outcome.handshakes:.3f} an hour (at most {MOST_HANDSHAKES:g})"
    )
    broken = outcome.broken()
    for words in broken[:SHOWN]:
        print(f"  {words}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
