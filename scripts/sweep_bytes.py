"""Cut a turn with a tool call off at every byte, in both directions, over every wire and over HTTP: what did not hold?

    python scripts/sweep_bytes.py                              # all of it
    python scripts/sweep_bytes.py --every 50                   # every fiftieth byte
    python scripts/sweep_bytes.py --wires trio-websocket --faults corrupt --first 1200 --every 0    # one byte

What is done at each byte and what must hold is in ``tests/faults/byte_sweep.py``; the suite runs a sample. The same
case has the same schedule. It takes some minutes, on all cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))

from byte_sweep import DIRECTIONS, FAULTS, WIRES, Case, Direction, is_installed, lengths, run_case

SHOWN = 20
"""Failures that are printed; more of them say little more."""


def run_one(case: Case) -> tuple[Case, str, list[str]]:
    """Run a case, whatever it raises."""
    try:
        ended, broken = run_case(case)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return case, "an escaped exception", traceback.format_exception(error)
    return case, ended, broken


def cases(wire: str, direction: Direction, fault: str, options: argparse.Namespace) -> list[Case]:
    """What is to be run, with and without retries."""
    # The end is a place of its own: everything has come through, and then it breaks.
    stop = lengths(wire)[direction] + 1 if options.every else options.first + 1
    return [
        Case(wire, direction, fault, byte, retries)
        for byte in range(options.first, stop, options.every or 1)
        for retries in (True, False)
    ]


def main() -> int:
    """Run them all and print what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    installed = [wire for wire in WIRES if is_installed(wire)]
    parser.add_argument("--wires", nargs="+", choices=installed, default=installed)
    parser.add_argument("--directions", nargs="+", choices=DIRECTIONS, default=DIRECTIONS)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=["reset", "black_hole"])
    parser.add_argument("--first", type=int, default=0, help="the byte to begin with (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, help="so many bytes on; 0 for the first byte alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    options = parser.parse_args()
    for wire in options.wires:
        print(wire, "has", ", ".join(f"{length:,} bytes {way}" for way, length in lengths(wire).items()))
    failures = total = 0
    begin = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for wire, fault, direction in product(options.wires, options.faults, options.directions):
            outcomes: Counter[str] = Counter()
            todo = cases(wire, direction, fault, options)
            for case, ended, broken in pool.imap_unordered(run_one, todo, chunksize=20):
                outcomes[f"{ended} {'with' if case.retries else 'without'} retries"] += 1
                if broken:
                    failures += 1
                    if failures <= SHOWN:
                        print(f"\n{case}: ended in {ended}", *broken, sep="\n    ")
            total += len(todo)
            told = ", ".join(f"{count:,} {ended}" for ended, count in sorted(outcomes.items()))
            print(f"{wire} {fault} {direction}: {told}", flush=True)
    print(f"{total:,} cases; {failures or 'nothing'} failed; {time.monotonic() - begin:.0f} s in all")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
