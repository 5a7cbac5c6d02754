"""Cancel every public operation at every step there is, in several orders of tasks, and say what was left.

    python scripts/sweep_cancel.py                          # everything, and 100,000 cancellations at random
    python scripts/sweep_cancel.py --random 0 --only run    # one operation
    python scripts/sweep_cancel.py --only run --order 2 --step 117      # that one again, with its story

What is cancelled and what must hold is in ``tests/simulation/cancelling.py``; the suite runs a sample. Latencies are of
real time, on this machine as it is now, the other side's work between the cancellation and the return included.
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

from simulation.cancelling import (
    ENGINES,
    OPERATIONS,
    STATES,
    cancelled_at_random,
    cancelled_engine,
    cancelled_job,
    cancelled_state,
    length,
)

AT_ONCE = 200
"""Random cancellations of one engine."""
EVERY = 1_000
"""After so many simulations a line says how far it is."""


class Task(NamedTuple):
    """One simulation: which case, in which order of tasks, cancelled at which step."""

    kind: str
    name: str
    order: int
    step: int = 0

    def again(self) -> str:
        if self.kind == "random":
            return f"nox -s sweep -- cancel --only random --order {self.order}"
        return f"nox -s sweep -- cancel --only '{self.name}' --order {self.order} --step {self.step}"


class Result(NamedTuple):
    """What came of it."""

    task: Task
    latencies: tuple[float, ...]
    failure: str


def run_one(task: Task) -> Result:
    """Run one simulation."""
    try:
        if task.kind == "operation":
            outcome = cancelled_job(OPERATIONS[task.name], task.order, task.step)
        elif task.kind == "engine":
            outcome = cancelled_engine(ENGINES[task.name], task.order, task.step)
        elif task.kind == "state":
            outcome = cancelled_state(STATES[task.name], task.order)
        else:
            outcome = cancelled_at_random(task.order, AT_ONCE)
    except AssertionError as error:
        return Result(task, (), str(error))
    return Result(task, outcome.latencies, "")


def tasks_of(only: str | None, order: int | None, orders: int, step: int | None, random: int) -> list[Task]:
    """Everything that is to be run."""
    if only == "random":
        numbers = range(-(-random // AT_ONCE)) if order is None else (order,)
        return [Task("random", "random", number) for number in numbers]
    tasks: list[Task] = []
    every = range(1, orders + 1) if order is None else (order,)
    for kind, cases in (("operation", OPERATIONS), ("engine", ENGINES)):
        for name, scenario in cases.items():
            if only not in (None, name):
                continue
            for each in every:
                steps = range(1, length(scenario, each) + 2) if step is None else (step,)
                tasks += [Task(kind, name, each, at) for at in steps]
    for name in STATES:
        if only in (None, name):
            tasks += [Task("state", name, each) for each in every]
    if only is None:
        tasks += tasks_of("random", order, orders, step, random)
    return tasks


def main() -> int:
    """Run them all and print what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="one case, by its name, or 'random'")
    parser.add_argument("--orders", type=int, default=2, help="orders of tasks (default: %(default)s)")
    parser.add_argument("--order", type=int, help="this order alone, or this engine of the random ones")
    parser.add_argument("--step", type=int, help="this step alone")
    parser.add_argument(
        "--random", type=int, default=100_000, help="cancellations at random (default: %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    options = parser.parse_args()
    begin = time.monotonic()
    tasks = tasks_of(options.only, options.order, options.orders, options.step, options.random)
    if not tasks:
        cases = ", ".join([*OPERATIONS, *ENGINES, *STATES, "random"])
        parser.error(f"there is no case {options.only!r}, or nothing of it; there are: {cases}")
    latencies: dict[str, list[float]] = {"operation": [], "engine": [], "state": [], "random": []}
    counts: Counter[str] = Counter()
    failures: list[Result] = []
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for result in pool.imap_unordered(run_one, tasks, chunksize=8):
            counts[result.task.kind] += 1
            latencies[result.task.kind] += result.latencies
            if result.failure:
                failures.append(result)
                print(f"{result.task}: {result.failure.splitlines()[0][:200]}", flush=True)
            if counts.total() % EVERY == 0:
                print(f"{counts.total():,} of {len(tasks):,}", flush=True)
    words = {
        "operation": "cancellations of an operation",
        "engine": "cancellations of an engine",
        "state": "cancellations in a state of the network",
        "random": f"engines with {AT_ONCE} cancellations at random each",
    }
    for kind, count in counts.items():
        print(f"{count:>8,} {words[kind]}{_latency(latencies[kind])}")
    print(f"Python {sys.version.split()[0]}, {time.monotonic() - begin:.0f} s")
    if not failures:
        print("nothing was left, and everybody who came later was served")
        return 0
    first = min(failures)
    print(f"{len(failures)} failed; the first of them:\n{first.failure}\nagain: {first.task.again()}")
    return 1


def _latency(seconds: list[float]) -> str:
    if not seconds:
        return ""
    ordered = sorted(seconds)
    at = {part: ordered[int(part * (len(ordered) - 1))] for part in (0.5, 0.99, 1)}
    return f"; {len(ordered):,} returned after " + ", ".join(
        f"{at[part] * 1e3:.1f} ms ({words})"
        for part, words in ((0.5, "median"), (0.99, "99th percentile"), (1, "the longest"))
    )


if __name__ == "__main__":
    sys.exit(main())
