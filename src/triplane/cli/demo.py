"""What the demo does: one agent run for each job of a plan, many at once over a few connections. No terminal here."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final

import attrs
import trio

from triplane.cli.plan import INSTRUCTIONS
from triplane.cli.report import Row
from triplane.cli.scopes import background, interruptible
from triplane.core.options import EngineOptions
from triplane.core.run_state import RunState
from triplane.core.transport import TransportSetting
from triplane.engine.agent import Agent
from triplane.engine.opening import open_engine
from triplane.net.endpoint import Endpoint
from triplane.tools import workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triplane.cli.plan import Job, Plan
    from triplane.cli.scopes import Interruption
    from triplane.engine.engine import Engine, EngineStatistics
    from triplane.engine.fan_out import FanOutResults
    from triplane.net.statistics import LaneStatistics

LOCAL_MODEL = "surveyor"
# Somebody pressed Ctrl-C, or wants to read the table: nobody waits long for a goodbye.
CLOSE_SECONDS = 0.5
_GOING_ON = ("new", "waiting", "model", "tools")


@attrs.frozen(kw_only=True)
class Settings:
    """How a demo runs.

    Attributes:
        model: The model's name.
        endpoint: Where, None for a local server of the demo's own.
        commands: Whether agents may run commands.
        max_runs: How many runs at once.
        connections: Over how many connections at most.
        lanes: How many lanes on each of them, where the server has lanes.
        latency: Seconds that the local server's model thinks before each response.
        transport: By which transport.
    """

    model: str = LOCAL_MODEL
    endpoint: Endpoint | None = None
    commands: bool = True
    max_runs: int = 8
    connections: int = 4
    lanes: int = 1
    latency: float = 0.0
    ledger: Path | None = None
    transport: TransportSetting = "websocket"


@attrs.frozen
class RunView:
    """A run that is going on: its job's name, how long it has been going on, and its state."""

    name: str
    seconds: float
    state: RunState


@attrs.frozen
class LaneView:
    """One lane and who uses it.

    Attributes:
        name: The lane's name, which is its connection's where that has one lane.
        state: ``"leased"``, ``"reserved"``, ``"draining"``, ``"free"``.
        run: The name of the job that holds it, else empty.
        requests: Requests sent on it.
        bytes_up: Bytes sent on its connection; None for all lanes of a connection but the first.
        bytes_down: Bytes received, likewise.
    """

    name: str
    state: str
    run: str
    requests: int
    bytes_up: int | None
    bytes_down: int | None


@attrs.frozen
class DemoView:
    """A demo at one moment."""

    jobs: int
    finished: int
    failed: int
    turns: int
    tool_calls: int
    bytes_up: int
    bytes_down: int
    seconds: float
    runs: tuple[RunView, ...]
    lanes: tuple[LaneView, ...]
    dialling: int


class Watcher(Protocol):
    """Whoever shows a demo while it runs."""

    def finished(self, demo: Demo, row: Row) -> None:
        """Called as each run ends. Not a checkpoint."""
        ...

    async def watch(self, demo: Demo, *, task_status: trio.TaskStatus[None]) -> None:
        """Show the demo until cancelled."""
        ...


@final
class Demo:
    """One survey: what it consists of, how far it is, and what came of it. `run` is called once.

    Attributes:
        plan: The runs.
        settings: How they run.
        rows: The finished runs in the order in which they finished, by the place of their job.
        endpoint: Where it runs, once that is known.
        interruption: Whether a signal ended it.
        seconds: How long it took.
    """

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self.plan = plan
        self.settings = settings
        self.rows: dict[int, Row] = {}
        self.endpoint: Endpoint | None = None
        self.interruption: Interruption | None = None
        self.seconds = 0.0
        self._engine: Engine | None = None
        self._results: FanOutResults | None = None
        self._began = 0.0
        self._seen: dict[int, float] = {}

    async def run(self, watcher: Watcher) -> None:
        """Run the whole survey, or as much of it as a signal allows. Nothing of it runs when this returns.

        A run that fails is a row and disturbs no other.

        Raises:
            ConfigError: A setting cannot work.
        """
        self._began = trio.current_time()
        options = EngineOptions(
            max_connections=self.settings.connections,
            lanes_per_connection=self.settings.lanes,
            close_timeout=CLOSE_SECONDS,
            close_grace=2 * CLOSE_SECONDS,
        )
        # The server outlives the engine, so that connections end with a goodbye however the survey ends.
        with interruptible() as self.interruption:
            async with self._place() as self.endpoint:
                with self.interruption.scope:
                    async with (
                        open_engine(
                            self.endpoint, options=options, ledger=self.settings.ledger
                        ) as self._engine,
                        background(partial(watcher.watch, self)),
                    ):
                        await self._survey(self._engine, watcher)
        self.seconds = trio.current_time() - self._began

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[Endpoint]:
        if self.settings.endpoint is not None:
            yield self.settings.endpoint
            return
        from triplane.server import serve  # noqa: PLC0415  # a quarter of what there is to import

        server = partial(serve, model=LOCAL_MODEL, latency=self.settings.latency, close_timeout=CLOSE_SECONDS)
        async with background(server) as handle:
            yield Endpoint(handle.url)

    async def _survey(self, engine: Engine, watcher: Watcher) -> None:
        jobs = self.plan.jobs
        agents = []
        for job in jobs:
            # A directory can have thousands of folders, and each agent's tools take a millisecond or two.
            await trio.lowlevel.checkpoint()
            agents.append(self._agent(job))
        prompts = [job.prompt for job in jobs]
        async with engine.fan_out(agents, prompts, max_runs=self.settings.max_runs) as self._results:
            async for result in self._results:
                row = Row.of(jobs[result.index].name, result.run.state, result.error)
                self.rows[result.index] = row
                watcher.finished(self, row)

    def _agent(self, job: Job) -> Agent:
        tools = workspace(job.folder, commands=self.settings.commands)
        settings = self.settings
        return Agent(settings.model, INSTRUCTIONS, tools, name=job.name, transport=settings.transport)

    @property
    def statistics(self) -> EngineStatistics | None:
        """The engine's statistics, None before there is an engine."""
        return self._engine.statistics() if self._engine is not None else None

    @property
    def unfinished(self) -> tuple[Job, ...]:
        """The jobs without a row."""
        return tuple(job for index, job in enumerate(self.plan.jobs) if index not in self.rows)

    def view(self) -> DemoView:
        """The survey now. Costs the length of what is going on, not of what has finished."""
        now = trio.current_time()
        going_on = self._going_on(now)
        names = {view.state.run_id: view.name for view in going_on}
        rows = self.rows.values()
        states = [view.state for view in going_on]
        return DemoView(
            jobs=len(self.plan.jobs),
            finished=len(rows),
            failed=sum(row.failure is not None for row in rows),
            turns=sum(row.turns for row in rows) + sum(state.turns for state in states),
            tool_calls=sum(row.tool_calls for row in rows) + sum(len(state.tool_calls) for state in states),
            bytes_up=sum(row.bytes_up for row in rows) + sum(state.bytes_up for state in states),
            bytes_down=sum(row.bytes_down for row in rows) + sum(state.bytes_down for state in states),
            seconds=now - self._began,
            # One that has just ended counts until its row is there, and is no longer shown.
            runs=tuple(view for view in going_on if view.state.status in _GOING_ON),
            lanes=self._lanes(names),
            dialling=self._engine.statistics().pool.dialling if self._engine else 0,
        )

    def _going_on(self, now: float) -> list[RunView]:
        runs = self._results.runs if self._results is not None else {}
        views = []
        for index, run in runs.items():
            if index not in self.rows:
                state = run.state
                began = self._seen.setdefault(index, now)
                views.append(RunView(self.plan.jobs[index].name, now - began, state))
        return views

    def _lanes(self, names: dict[str, str]) -> tuple[LaneView, ...]:
        if self._engine is None:
            return ()
        pool = self._engine.statistics().pool
        # Bytes belong to a connection: the first of its lanes shows them.
        firsts = {each.lanes[0]: each for each in pool.connections if each.lanes}
        views = []
        for lane in sorted(pool.lanes, key=_place):
            connection = firsts.get(lane.name)
            views.append(
                LaneView(
                    name=lane.name,
                    state=lane.state,
                    run=names.get(lane.holder or "", ""),
                    requests=lane.requests,
                    bytes_up=connection.bytes_up if connection else None,
                    bytes_down=connection.bytes_down if connection else None,
                )
            )
        return tuple(views)


def _place(lane: LaneStatistics) -> tuple[int, str, int, str]:
    """Where a lane stands in the display: c2 before c10, and c1/2 before c1/10."""
    return len(lane.connection), lane.connection, len(lane.name), lane.name
