"""What was found once, a sample of what `nox -s simulate` does, and that the same seed makes the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .drawing import draw
from .scenario import FanOut, Lane, Run, Scenario
from .seeds import FOUND
from .shrinking import told
from .world import simulate

SAMPLE = range(9_000, 9_005)


@pytest.mark.parametrize("seed", FOUND, ids=lambda seed: seed.name)
def test_what_was_found_is_not_found_again(seed) -> None:
    outcome = simulate(seed.scenario)

    assert None is outcome.found, told(seed.scenario, outcome)


@pytest.mark.parametrize("seed", SAMPLE)
def test_everything_holds(seed) -> None:
    scenario = draw(seed)
    outcome = simulate(scenario)

    assert None is outcome.found, f"nox -s simulate -- --seed {seed}\n{told(scenario, outcome)}"


def test_the_same_seed_makes_the_same_bytes_in_any_process() -> None:
    seeds = SAMPLE[:2]
    here = [simulate(draw(seed)).digest for seed in seeds]
    assert here == [simulate(draw(seed)).digest for seed in seeds]

    program = (
        "from simulation.drawing import draw\nfrom simulation.world import simulate\n"
        f"for seed in {list(seeds)}:\n    print(simulate(draw(seed)).digest)"
    )
    tests = Path(__file__).parents[1]
    paths = [str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "20261127"}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )

    assert here == there.stdout.split()
    assert len(set(here)) == len(here)


def test_another_order_of_tasks_makes_other_bytes() -> None:
    programs = [("SAY 2 word ",), ('CALL look {"number": 1}',), ('CALL write {"number": 2}',)]
    jobs = tuple(Run(lines) for lines in programs)

    assert len({simulate(Scenario(seed, jobs)).digest for seed in range(4)}) > 1


@pytest.mark.parametrize("reader", ["none", "all", "slow", "breaks"])
def test_people_are_asked_and_it_goes_on(reader) -> None:
    lines = ('CALL risk {"number": 4}', 'CALL risk {"number": 3}', 'CALL write {"number": 2}')
    more = ("SAY 1 well ", 'APPROVE dice risk {"number": 5}', 'CALL risk {"number": 1}', "SAY 3 word ")
    outcome = simulate(Scenario(1, (Run(lines + more, reader), Run(lines, "leaves"), FanOut((lines, more)))))

    assert None is outcome.found
    ends = sorted(end for _label, end in outcome.ends)
    assert ["ApprovalRequired"] * 2 + ["completed"] == ends


@pytest.mark.parametrize("reader", ["none", "all", "two", "slow", "breaks", "leaves"])
def test_in_calm_weather_everything_comes_to_its_end(reader) -> None:
    lines = ("SAY 2 well ", 'CALL write {"number": 3}', 'CALL put {"number": 1}', "SAY 3 word ")
    jobs = (Run(lines, reader), Run(('CALL look {"number": 1}',)), Lane((("SAY 1 a",), ("SAY 1 b",))))
    outcome = simulate(Scenario(1, jobs))

    assert None is outcome.found
    ends = [end for _label, end in outcome.ends]
    assert ["completed"] * (1 if reader == "leaves" else 2) == ends
