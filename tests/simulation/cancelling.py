"""What is left of something that was cancelled, at whichever step? Every public operation, cancelled everywhere.

Each case is a scenario whose first job is cancelled at a step of the scheduler, which is every place between any two
checkpoints of all tasks that take part. What must hold then is what must always hold, see `invariants`; and besides,
the pool must serve everybody who comes later.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import attrs

from triplane.server import Drop, ErrorEvent, IgnoreUpgrade, Oversize, RefuseUpgrade, SlowClose

from .scenario import (
    BlackHole,
    FanOut,
    HangDial,
    Job,
    Lane,
    Latency,
    Leaving,
    Run,
    Scenario,
    SlowDial,
    WarmUp,
    Word,
)
from .world import Outcome, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORK: Final = ("SAY 1 well ", 'CALL write {"number": 1}', 'CALL look {"number": 2}', "SAY 2 word ")
_CHILD: Final = ('CALL helper {"question": "#c\\nCALL look {\\"number\\": 1}"}',)
_BUSY: Final = Run(("WAIT 100", "SAY 2 word "))
_SLOW: Final = {"delta_delay": 0.05}
LATER: Final = 100.0
"""When those who come later come, in virtual seconds: every deadline there is has passed."""

OPERATIONS: Final[dict[str, Scenario]] = {
    "run": Scenario(0, (Run(_WORK),)),
    "run, stored": Scenario(0, (Run(_WORK, store=True),)),
    "open_run": Scenario(0, (Run(_WORK, "all"),)),
    "open_run, followed by two": Scenario(0, (Run(_WORK, "two"),), options={"max_unread": 300}),
    "open_run, left early": Scenario(0, (Run(_WORK, "leaves"),)),
    "an agent as a tool": Scenario(0, (Run(_CHILD),), options={"max_connections": 1}),
    "fan_out": Scenario(0, (FanOut((_WORK, ("SAY 1 a",), ("SAY 2 b",)), max_runs=2),)),
    "lane": Scenario(0, (Lane((("SAY 3 a",), ("SAY 3 b",))),)),
    "lane, left in the middle": Scenario(0, (Lane((("SAY 30 a",),), leave_after=6),)),
    "warm_up": Scenario(0, (WarmUp(2),)),
    "waiting for a lane": Scenario(
        0, (Run(("SAY 1 a",)), _BUSY, attrs.evolve(_BUSY, at=0.01)), options={"max_connections": 1}
    ),
    "lanes of one connection": Scenario(
        0,
        (Run(_WORK), _BUSY, _BUSY, Run(_WORK)),
        options={"max_connections": 1, "lanes_per_connection": 4},
    ),
    "lanes, before it is known whether there are any": Scenario(
        0, (Run(_WORK), _BUSY), options={"lanes_per_connection": 2}, server={"mode": "azure"}
    ),
    "a run that is steered": Scenario(
        0, (Run(("SAY 9 long ",), "all", words=(Word(5, "steer"),)),), server=_SLOW
    ),
    "a run that is sent more": Scenario(
        0, (Run(_WORK, "all", words=(Word(5, "send", 'CALL look {"number": 3}'),)),)
    ),
    "a run that is forked": Scenario(
        0, (Run(_WORK, "all", words=(Word(9, "fork"),)),), options={"lanes_per_connection": 2}
    ),
    "recovery from a lost connection": Scenario(0, (Run(_WORK),), (Drop(4, nth=1), Drop(3, nth=3))),
    "recovery from an error": Scenario(0, (Run(_WORK),), (ErrorEvent(2, nth=1),)),
    "dialling again": Scenario(0, (Run(_WORK),), (RefuseUpgrade(503, {"Retry-After": "1"}, nth=1),)),
    "rotation": Scenario(0, (Run((*_WORK, "WAIT 900", "SAY 1 late")),), endpoint={"max_age": 1.0}),
    "the age limit": Scenario(
        0, (Run(("WAIT 900", "SAY 1 a", 'CALL write {"number": 4}')),), server={"max_age": 1.0}
    ),
}
"""What is cancelled, as the first job."""

ENGINES: Final[dict[str, Scenario]] = {
    "open_engine": Scenario(0, ()),
    "open_engine, with two warm agents": Scenario(0, (), warm=2),
    "open_engine around runs": Scenario(
        0, (Run(_WORK), Lane((("SAY 3 a",),)), FanOut((("SAY 1 a",), ("SAY 2 b",))))
    ),
    "open_engine, with a peer that does not answer a close": Scenario(0, (Run(_WORK),), (SlowClose(),)),
}
"""What is cancelled, engine and all."""

_MEGABYTE: Final = ("SAY 1 a", "x" * (1 << 20))

STATES: Final[dict[str, Scenario]] = {
    "connecting": Scenario(0, (Run(_WORK),), (HangDial(1),)),
    "connecting slowly": Scenario(0, (Run(_WORK),), (SlowDial(1, 4.0),)),
    "TLS": Scenario(0, (Run(_WORK),), (BlackHole(1, 0, up=True),), endpoint={"url": "wss://simulation/v1"}),
    "upgrade": Scenario(0, (Run(_WORK),), (IgnoreUpgrade(nth=1),)),
    "sending into a full pipe": Scenario(0, (Run(_MEGABYTE),), (BlackHole(1, 2_000, up=True),)),
    "sending on a slow line": Scenario(0, (Run(_MEGABYTE),), (Latency(1, 0.3),)),
    "receiving a large message": Scenario(
        0, (Run(("SAY 1 a",)),), (Oversize(3, nth=1, size=1 << 20), Latency(1, 0.3))
    ),
    "in the middle of a response": Scenario(0, (Run(("SAY 1 a", 'CALL look {"number": 1}', "WAIT 5000")),)),
    "in a black hole": Scenario(0, (Run(_WORK),), (BlackHole(1, 3_000, up=False),)),
    "in a tool": Scenario(0, (Run(('CALL hang {"number": 1}',)),)),
    "closing": Scenario(
        0, (Lane((("WAIT 3000",),)),), (SlowClose(),), options={"drain_timeout": 0, "close_timeout": 9.0}
    ),
}
"""What the network is doing, or not doing, when the first job is cancelled one second after the beginning."""


def length(scenario: Scenario, order: int) -> int:
    """How many steps the first job takes, or the whole if it has none, in an order of tasks."""
    outcome = simulate(attrs.evolve(scenario, seed=order))
    _check(outcome, f"uncancelled, in order {order}")
    if scenario.jobs:
        began, ended = outcome.spans[0]
        return ended - began
    return outcome.steps


def cancelled_job(scenario: Scenario, order: int, step: int) -> Outcome:
    """Cancel the first job at a step, and let others come later."""
    first, *others = scenario.jobs
    return _served_later(scenario, order, attrs.evolve(first, cancel_at_step=step), others)


def cancelled_engine(scenario: Scenario, order: int, step: int) -> Outcome:
    """Cancel the engine at a step, or while it is being opened, or being left."""
    outcome = simulate(attrs.evolve(scenario, seed=order, leaving=Leaving(at_step=step)))
    _check(outcome, f"cancelled at step {step}, in order {order}")
    return outcome


def cancelled_state(scenario: Scenario, order: int) -> Outcome:
    """Cancel the first job after a second, whatever the network is doing then."""
    first, *others = scenario.jobs
    outcome = _served_later(scenario, order, attrs.evolve(first, cancel_after=1.0), others)
    if not outcome.latencies:
        raise AssertionError(f"{first} was over too soon\n" + "\n".join(outcome.story))
    return outcome


def cancelled_at_random(number: int, cancellations: int) -> Outcome:
    """Cancel so many jobs of all kinds, at random moments, on one engine."""
    rng = Random(f"cancellations {number}")
    kinds = [case for case in OPERATIONS.values() if not case.server and not case.endpoint]
    jobs: list[Job] = []
    for place in range(cancellations):
        job = rng.choice(rng.choice(kinds).jobs)
        # Ten at once, on two connections: some wait, some work.
        if job == Run(_CHILD):
            # The label of the child's run must be its own.
            job = Run((_CHILD[0].replace("#c", f"#c{place}"),))
        jobs.append(attrs.evolve(job, at=place // 10 * 0.5, cancel_at_step=int(10 ** rng.uniform(0, 3.2))))
    options = {"lanes_per_connection": rng.choice((1, 1, 4)), "drain_timeout": rng.choice((0, 0.2, 5.0))}
    server = {"latency": rng.choice((0, 0.05)), "delta_delay": rng.choice((0, 0.01))}
    scenario = Scenario(number, tuple(jobs), options=options, server=server)
    outcome = simulate(_with_later(scenario))
    _check(outcome, f"random cancellations {number}")
    return outcome


def _served_later(scenario: Scenario, order: int, first: Job, others: list[Job]) -> Outcome:
    outcome = simulate(_with_later(attrs.evolve(scenario, seed=order, jobs=(first, *others))))
    _check(outcome, f"{first}, in order {order}")
    return outcome


def _with_later(scenario: Scenario) -> Scenario:
    later = FanOut((("SAY 1 a",), ('CALL look {"number": 1}',), ("SAY 2 b",), ("SAY 3 c",)), at=LATER)
    return attrs.evolve(scenario, jobs=(*scenario.jobs, later))


def _check(outcome: Outcome, what: str) -> None:
    if outcome.found is not None:
        raise AssertionError(f"{what}: {outcome.found}\n" + "\n".join(outcome.story[-60:]))
    last = max(outcome.spans, default=None)
    served = [end for label, end in outcome.ends if label.startswith(f"{last}.")]
    if served != ["completed"] * 4 and LATER < outcome.seconds:
        raise AssertionError(f"{what}: who came later got {served}\n" + "\n".join(outcome.story[-60:]))


def sample(total: int, parts: int, part: int) -> Iterator[int]:
    """Every `parts`-th step from `part` on, and with all parts together every step there is."""
    return iter(range(1 + part % parts, total + 2, parts))
