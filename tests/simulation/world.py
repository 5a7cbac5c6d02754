"""What comes of a scenario? An engine, the local server, a network and a program, run to their end under watch."""

from __future__ import annotations

import gc
import hashlib
import math
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio
import trio.testing

import triplane
from triplane.server import Ids, Server

from .invariants import Found
from .ledger import WatchedLedger
from .network import SimulatedNetwork
from .scenario import Lane, NetworkFault, Run
from .scheduling import scheduled
from .watch import Watch
from .workload import AGENT, HERE, do, expected_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from triplane.core.run_state import RunState

    from .scenario import Job, Lines, Scenario

KEY = "sk-canary-0123456789"
"""Must be nowhere but in the upgrade."""

PATIENCE = 3_600.0
"""Virtual seconds after which whatever still waits is stuck: every fault ends within the options' deadlines."""

OPTIONS = {
    "max_connections": 2,
    "tcp_timeout": 5.0,
    "upgrade_timeout": 5.0,
    "first_event_timeout": 20.0,
    "idle_timeout": 20.0,
    "send_timeout": 20.0,
    "heartbeat_interval": 5.0,
    "heartbeat_timeout": 5.0,
}


@attrs.frozen
class Outcome:
    """What came of a scenario.

    Attributes:
        found: The first thing that did not hold, or None.
        digest: Of the ledger and of the server's journal: equal for equal scenarios.
        story: What happened, a line each.
        steps: Of the scheduler.
        seconds: Of virtual time.
        ends: How runs and other jobs ended, each with its label.
        spans: From which step to which each job lasted, by its number.
        latencies: Seconds of real time from each cancellation to the return of what was cancelled.
    """

    found: Found | None
    digest: str
    story: tuple[str, ...]
    steps: int
    seconds: float
    ends: tuple[tuple[str, str], ...]
    spans: dict[int, tuple[int, int]]
    latencies: tuple[float, ...]


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario."""
    world = World(scenario)
    # When garbage is found depends on everything that this process did before.
    collects = gc.isenabled()
    gc.disable()
    try:
        with scheduled(scenario.seed):
            trio.run(
                world.run,
                clock=trio.testing.MockClock(autojump_threshold=0),
                instruments=[world.watch],
            )
    finally:
        if collects:
            gc.enable()
    return world.outcome()


class World:
    """One simulation. Everything in it follows from the scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.engine: triplane.Engine
        self.network: SimulatedNetwork
        self.server: Server
        self.ledger = WatchedLedger()
        self.options = triplane.EngineOptions(**OPTIONS | scenario.options)
        self.watch = Watch(self)
        self.secret = KEY
        self.ends: list[tuple[str, str]] = []
        self._spans: dict[int, tuple[int, int]] = {}
        self._latencies: list[float] = []
        self._story: list[tuple[float, int, str]] = []
        self._began = 0.0
        self._ended = 0.0
        self._whole = trio.CancelScope()

    # The program.

    async def run(self) -> None:
        """Run it all. Raises nothing: what went wrong is in the outcome."""
        HERE.set(self)
        self._began = trio.current_time()
        try:
            with self._whole, trio.move_on_after(PATIENCE) as patience:
                await self._run()
            self.require("liveness", not patience.cancelled_caught, f"not over after {PATIENCE:g} seconds")
        except BaseException as error:
            self.watch.found("errors", f"raised {_told(error)}")
        self._ended = trio.current_time()
        self.watch.look()
        if self.watch.finding is None:
            self.watch.at_the_end()

    async def _run(self) -> None:
        scenario = self.scenario
        async with trio.open_nursery() as serving:
            self.server = Server(
                **{
                    "model": "directive",
                    "api_key": KEY,
                    "epoch": 0.0,
                    "ids": Ids("s"),
                    "max_journal": 1 << 30,
                    "seed": scenario.seed,
                    "faults": [fault for fault in scenario.faults if not isinstance(fault, NetworkFault)],
                    **scenario.server,
                }
            )
            self.network = SimulatedNetwork(
                serving,
                self.server,
                [fault for fault in scenario.faults if isinstance(fault, NetworkFault)],
                random.Random(f"network {scenario.seed}"),
                self.tell,
            )
            await self._use()
            # What the server still has to say about closed connections.
            with trio.move_on_after(60):
                while any(not end.closed for end in self.network.served):  # noqa: ASYNC110  # nobody tells
                    await trio.sleep(1)
            serving.cancel_scope.cancel()

    async def _use(self) -> None:
        scenario = self.scenario
        endpoint = triplane.Endpoint(**{"url": "ws://simulation/v1", "api_key": KEY} | scenario.endpoint)
        leaving = scenario.leaving
        async with trio.open_nursery() as left_behind:
            with trio.CancelScope() as scope:
                left_at = math.inf

                def cancel() -> None:
                    nonlocal left_at
                    left_at = trio.current_time()
                    scope.cancel()

                if leaving is not None and leaving.at_step is not None:
                    self.watch.at_step(leaving.at_step, cancel)
                async with triplane.open_engine(
                    endpoint,
                    options=self.options,
                    ledger=self.ledger,
                    network=self.network,
                    rng=random.Random(f"engine {scenario.seed}"),
                    warm=[attrs.evolve(AGENT, instructions=f"{number}") for number in range(scenario.warm)],
                ) as self.engine:
                    self.watch.begin(self.engine)
                    if leaving is None:
                        await self._work()
                    else:
                        if leaving.how == "left":
                            left_behind.start_soon(self._work)
                        with trio.CancelScope(deadline=self._began + leaving.at) as until:
                            if leaving.how == "left":
                                await trio.sleep_forever()
                            await self._work()
                        self.tell(f"the engine is {leaving.how}")
                        if until.cancelled_caught and leaving.how == "cancelled":
                            scope.cancel()
                    left_at = min(left_at, trio.current_time())
            spent = trio.current_time() - left_at
            in_time = spent <= self.options.close_grace + 1e-6
            self.require("cancel latency", in_time, f"leaving took {spent:g} s")

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            for number, job in enumerate(self.scenario.jobs):
                nursery.start_soon(self._do, str(number), job, name=f"job {number}")

    async def _do(self, label: str, job: Job) -> None:
        await trio.sleep(job.at)
        self.tell(f"job {label} begins")
        began = self.watch.steps
        cancelled_at: list[tuple[float, float]] = []

        def cancel() -> None:
            cancelled_at.append((trio.current_time(), time.perf_counter()))
            self.tell(f"job {label} is cancelled")
            scope.cancel()

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if job.cancel_after is not None:
                    nursery.start_soon(_later, job.cancel_after, cancel)
                if job.cancel_at_step is not None:
                    self.watch.at_step(job.cancel_at_step, cancel)
                try:
                    await do(self, label, job)
                finally:
                    self.watch.at_no_step(cancel)
                    if cancelled_at:
                        spent = trio.current_time() - cancelled_at[0][0]
                        self._latencies.append(time.perf_counter() - cancelled_at[0][1])
                        self.require("cancel latency", spent == 0, f"job {label} went on for {spent:g} s")
                    nursery.cancel_scope.cancel()
        self._spans[int(label)] = began, self.watch.steps
        self.tell(f"job {label} is over")

    # What the program says of itself.

    def tell(self, what: str) -> None:
        """Note a line of the story."""
        self._story.append((trio.current_time() - self._began, self.watch.steps, what))

    def effect(self, context: triplane.ToolContext) -> bool:
        """A tool does what it does. Whether it had done so for the same call before."""
        self.tell(f"tool {context.tool} acts for {context.call_id}")
        return self.watch.effect(context)

    @contextmanager
    def expecting(self, label: str) -> Iterator[None]:
        """Whatever raises in the block must be one of Triplane's errors, and what its receipt says must be true."""
        try:
            yield
        except triplane.TriplaneError as error:
            self.tell(f"{label} ends in {error!r}")
            self.ends.append((label, type(error).__name__))
            self.watch.error(label, error)

    def result(self, label: str, lines: Lines, state: RunState) -> None:
        """A run has a result."""
        self.tell(f"{label} is {state.status}: {state.text[:40]!r}")
        self.ends.append((label, state.status))
        expected = expected_text(lines, state) if state.status == "completed" else None
        self.require(
            "result",
            expected is None or expected == state.text or self.watch.server.astray,
            f"{label} says {state.text[:200]!r} instead of {expected!r}",
        )

    def shown(self, label: str, text: str, state: RunState) -> None:
        """A reader was left with this text."""
        self.require(
            "shown", text == state.text, f"{label} was shown {text[:200]!r}, and the result is {state.text!r}"
        )

    def turn(self, label: str, response_id: str | None) -> None:
        """A bare lane has read a turn to its end."""
        self.watch.turn(label, response_id)

    def require(self, which: str, holds: object, words: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.watch.found(which, words)

    def is_lane(self, label: str | None) -> bool:
        """Whether what has this label is a lane by hand, which has no log."""
        return isinstance(self._job(label), Lane)

    @property
    def server_has_lanes(self) -> bool:
        """Whether it looks at ``stream_id``."""
        return str(self.scenario.server.get("mode", "openai")) == "openai"

    def is_hosted(self, label: str | None) -> bool:
        """Whether the server may act for what has this label."""
        job = self._job(label)
        return isinstance(job, Run) and job.hosted and not job.store

    def _job(self, label: str | None) -> Job | None:
        return self.scenario.jobs[int(label)] if label is not None and label.isdigit() else None

    # The end.

    def stop(self) -> None:
        """Go no further."""
        self._whole.cancel()

    def dump(self) -> bytes:
        """The ledger and the server's journal, as bytes."""
        entries = (
            f"{entry.number} {entry.time} {entry.connection} {entry.direction} {entry.kind} {dict(entry.fields)}"
            f" {entry.text}"
            for entry in self.server.journal.entries
        )
        return "\n".join((*self.ledger.lines(), *entries)).encode()

    def outcome(self) -> Outcome:
        """What came of it."""
        return Outcome(
            self.watch.finding,
            hashlib.sha256(self.dump()).hexdigest(),
            tuple(f"{at:9.3f} s, step {step:5}: {what}" for at, step, what in self._story),
            self.watch.steps,
            self._ended - self._began,
            tuple(self.ends),
            self._spans,
            tuple(self._latencies),
        )


async def _later(seconds: float, what: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    what()


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return " and ".join(map(_told, error.exceptions))
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{error!r}{where}"
