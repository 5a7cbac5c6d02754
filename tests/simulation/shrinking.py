"""What of a failing scenario is needed for it to fail? And how does it fail, told from the beginning?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .scenario import FanOut, Job, Lane, Run, Scenario, as_code
from .world import Outcome, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator


def shrunk(scenario: Scenario, *, tries: int = 300) -> tuple[Scenario, Outcome]:
    """A smaller scenario that fails in the same way, and what comes of it.

    Parts are left out one by one, for as long as the same invariant does not hold. Which tasks run when may change with
    every part, so the order's seed is varied as well, a little.

    Args:
        scenario: One that fails.
        tries: How many scenarios are run at most.
    """
    outcome = simulate(scenario)
    assert outcome.found is not None, "it does not fail"
    which = outcome.found.which
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(scenario):
            if tries == 0:
                return scenario, outcome
            tries -= 1
            result = simulate(candidate)
            if result.found is not None and result.found.which == which:
                scenario, outcome, smaller = candidate, result, True
                break
    return scenario, outcome


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    if scenario.leaving is not None:
        yield attrs.evolve(scenario, leaving=None)
    for name in ("jobs", "faults"):
        for fewer in _fewer(getattr(scenario, name)):
            yield attrs.evolve(scenario, **{name: fewer})
    for name in ("options", "server", "endpoint"):
        given: dict[str, Any] = getattr(scenario, name)
        for key in given:
            yield attrs.evolve(scenario, **{name: {k: v for k, v in given.items() if k != key}})
    for place, job in enumerate(scenario.jobs):
        for simpler in _simpler(job):
            jobs = (*scenario.jobs[:place], simpler, *scenario.jobs[place + 1 :])
            yield attrs.evolve(scenario, jobs=jobs)


def _fewer(parts: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for place in range(len(parts)):
        yield (*parts[:place], *parts[place + 1 :])


def _simpler(job: Job) -> Iterator[Job]:
    if job.at:
        yield attrs.evolve(job, at=0.0)
    if job.cancel_after is not None or job.cancel_at_step is not None:
        yield attrs.evolve(job, cancel_after=None, cancel_at_step=None)
    match job:
        case Run():
            if job.reader != "none":
                yield attrs.evolve(job, reader="none")
            for words in _fewer(job.words):
                yield attrs.evolve(job, words=words)
            if job.store or job.hosted:
                yield attrs.evolve(job, store=False, hosted=False)
            for lines in _fewer(job.lines):
                yield attrs.evolve(job, lines=lines)
        case FanOut() | Lane():
            if job.leave_after is not None:
                yield attrs.evolve(job, leave_after=None)
            if len(job.programs) > 1:
                for programs in _fewer(job.programs):
                    yield attrs.evolve(job, programs=programs)
            for place, program in enumerate(job.programs):
                for lines in _fewer(program):
                    programs = (*job.programs[:place], lines, *job.programs[place + 1 :])
                    yield attrs.evolve(job, programs=programs)


def told(scenario: Scenario, outcome: Outcome, *, lines: int = 60) -> str:
    """The story of a scenario: what is done and what goes wrong, and what happened last."""
    parts = ["What is done:"]
    parts += [f"    job {number}: {as_code(job)}" for number, job in enumerate(scenario.jobs)]
    parts += ["What goes wrong:"]
    parts += [f"    {as_code(fault)}" for fault in scenario.faults] or ["    nothing"]
    for name in ("options", "server", "endpoint", "leaving"):
        value = getattr(scenario, name)
        if value:
            parts.append(f"{name}: {as_code(value)}")
    left_out = len(outcome.story) - lines
    parts.append("What happens:" if left_out <= 0 else f"What happens, without the first {left_out} lines:")
    parts += [f"    {line[:300]}" for line in outcome.story[-lines:]]
    return "\n".join(parts)
