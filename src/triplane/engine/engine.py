"""What a program opens: the pool, the ledger and the runs, for as long as one block lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, final

import attrs

from triplane.core.artifacts import KeepsArtifacts
from triplane.core.errors import ConfigError, EngineClosed
from triplane.net.endpoint import Endpoint
from triplane.net.statistics import PoolStatistics
from triplane.tools import Vaults, Workbench, needs_namespaces

from .agent import Agent
from .approvals import Decisions
from .driver import Driver
from .fan_out import FanOutResults, fanned_out
from .feed import Feed
from .fork import NO_ORIGIN, Hold, Origin
from .lane import BareLane
from .resumption import Resumption, take_up, take_up_or_begin
from .run import Run, driven
from .run_input import as_items
from .steering import SteeringSupport
from .surroundings import Surroundings
from .transports import RoutedLease, Routes
from .warm_up import WarmUps

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from triplane.core.options import EngineOptions
    from triplane.core.records import Item
    from triplane.core.run_state import RunState
    from triplane.core.store import ClaimedLog, Ledger
    from triplane.net.pool import Pool

    from .run_input import RunInput

Thing = TypeVar("Thing")


@attrs.frozen
class EngineStatistics:
    """An engine at one moment.

    Attributes:
        pool: Connections and lanes.
        runs_active: Runs that have begun and not ended.
        runs_finished: Runs that ended, however, or were left parked.
    """

    pool: PoolStatistics
    runs_active: int
    runs_finished: int

    @property
    def opened(self) -> int:
        """Connections opened since the engine began."""
        return self.pool.opened

    @property
    def closed(self) -> int:
        """How many of them are closed again."""
        return self.pool.closed


@final
class Engine:
    """Runs agents over pooled connections. Made by `open_engine`; usable from any task inside its block.

    Once that was left, everything but `ledger` and `statistics` raises `EngineClosed`.
    """

    def __init__(
        self, endpoint: Endpoint, options: EngineOptions, ledger: Ledger, pool: Pool, rng: random.Random
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._ledger = ledger
        self._workbench = Workbench(
            max_concurrency=options.max_tool_concurrency,
            artifacts=ledger.artifacts if isinstance(ledger, KeepsArtifacts) else None,
        )
        self._pool = pool
        self._routes = Routes(pool, options)
        self._rng = rng
        self._support = SteeringSupport()
        self._vaults = Vaults()
        self._closed = False
        self._runs_active = 0
        self._runs_finished = 0
        self._warm_ups = WarmUps(endpoint, self._routes, options)
        pool.rewarm = self._warm_ups.again

    def __repr__(self) -> str:
        return f"<Engine: {self._runs_active} runs active, {self._runs_finished} finished; {self._pool!r}>"

    @property
    def ledger(self) -> Ledger:
        """The store of all logs."""
        return self._ledger

    def statistics(self) -> EngineStatistics:
        """What is known now. Also usable after the engine was left."""
        return EngineStatistics(self._pool.statistics(), self._runs_active, self._runs_finished)

    async def run(
        self, agent: Agent, run_input: RunInput, *, run_id: str | None = None, allow_changes: bool = False
    ) -> RunState:
        """Run an agent to its end, in the caller's task. A checkpoint.

        With a `run_id` of your own it is safe to call again, in this process or in a later one that has the same
        ledger: a run of that id which is already there goes on, as `resume` says, and gives its result again once it
        has ended.

        Cancelling it ends the run as ``"cancelled"`` in the log. An answer that is still on its way is read off in the
        background for `EngineOptions.drain_timeout` at most, then the connection is closed; where it has other lanes,
        only the lane is given up.

        Args:
            agent: Who answers.
            run_input: A user message as text, one input item, or several.
            run_id: The run's id, 1 to 200 printable characters. Default: a random one.
            allow_changes: Of a run of that id that goes on, see `resume`.

        Raises:
            ConfigError: The input is not that; or the run of that id began with another input or another agent.
            LedgerFailed: Another engine drives the run of that id (`reason` is ``"claimed"``), or the ledger cannot
                be used.
            ApprovalRequired: Calls wait for a person's decision. The run is parked in its log, and `resume` continues it.
            TriplaneError: The run cannot go on; the receipt says what happened and what is safe next.
        """
        self._check_open()
        items = as_items(run_input)
        run = (
            self._new_run(agent, items)
            if run_id is None
            else await self._run_of(run_id, agent, items, allow_changes=allow_changes, waits=False)
        )
        await run._drive()  # noqa: SLF001  # made for this
        return run.result

    def open_run(
        self, agent: Agent, run_input: RunInput, *, run_id: str | None = None, allow_changes: bool = False
    ) -> AbstractAsyncContextManager[Run]:
        """Drive a run in the background of a block, to follow it; see `Run`, and `run` for its arguments.

        Entering is no checkpoint, unless `run_id` is given; leaving is one. Leaving before the end cancels the run,
        unless it is parked: then its log stays as it is, and `resume` continues it. A failure of the run that the block
        has not seen is raised when the block is left.

        Raises:
            ConfigError: The input or the agent is not that; with `run_id` also what `run` says.
            LedgerFailed: With `run_id`: see `run`.
        """
        self._check_open()
        items = as_items(run_input)
        if run_id is None:
            return driven(self._new_run(agent, items))
        return self._open_run_of(run_id, agent, items, allow_changes=allow_changes)

    async def resume(
        self,
        run_id: str,
        agent: Agent,
        *,
        allow_changes: bool = False,
        approve: Iterable[str] = (),
        deny: Mapping[str, str] | Iterable[str] = (),
    ) -> RunState:
        """Continue a run of this ledger from where its log ends, to its end, in the caller's task. A checkpoint.

        The run may have been cut off anywhere, with the process that drove it; it may also have failed or been
        cancelled, and then goes on. One that has come to its end gives its result again, and nothing else happens.

        A request that was under way is sent again, with the whole conversation: what was shown of its answer is
        retracted. A tool that had started and not finished runs again, with the same idempotency key, if its effect
        is ``"read"`` or ``"idempotent"``; if it is ``"write"``, the model is told that the call was interrupted. Tools
        that had not started run now. What had an outcome keeps it. Input that had not been sent is sent.

        A parked run goes on once everything is decided that it waits for. Decisions are recorded even if that leaves
        some open; with none at all nothing is recorded and nothing sent.

        Args:
            run_id: The run.
            agent: Who answers. Limits, endpoint, transport and what tools do may be others than before.
            allow_changes: Accept an agent that sends something else than before with its requests, such as other
                instructions or other tools. The log says what.
            approve: The ids of calls that wait for a decision, and may run. What was decided in the same way before may
                be said again.
            deny: Those that must not run, perhaps with a reason for the model each.

        Raises:
            ConfigError: The ledger has no such run, or the agent sends something else, or a decision is about no call
                that waits for one; the message says what.
            ApprovalRequired: Calls still wait for a decision, or do so again; the run is parked in its log.
            LedgerFailed: Another engine drives the run (`reason` is ``"claimed"``), or the ledger cannot be used.
            LedgerCorrupt: The run's log is damaged.
            RunFailed: The request that was under way must not be repeated (`code` is ``"ambiguous_send"``); see
                `EngineOptions.ambiguous_sends`.
            TriplaneError: The run cannot go on; the receipt says what happened and what is safe next.
        """
        decisions = Decisions.of(approve, deny)
        run = await self._take_up(run_id, agent, decisions, allow_changes=allow_changes, waits=False)
        await run._drive()  # noqa: SLF001  # made for this
        return run.result

    @asynccontextmanager
    async def open_resumed(
        self,
        run_id: str,
        agent: Agent,
        *,
        allow_changes: bool = False,
        approve: Iterable[str] = (),
        deny: Mapping[str, str] | Iterable[str] = (),
    ) -> AsyncIterator[Run]:
        """Continue a run in the background of a block, to follow it: as `resume` does it, and as `open_run` shows it.

        Its events begin with the `RunResumed`; `Ledger.follow` has those before it. A run that has come to its end
        gives its last event. One that is parked waits to be decided about in the block, or by `approve` and `deny`.
        Entering is a checkpoint, and raises what `resume` raises before the run goes on; leaving is as with `open_run`.
        """
        decisions = Decisions.of(approve, deny)
        run = await self._take_up(run_id, agent, decisions, allow_changes=allow_changes, waits=True)
        async with driven(run):
            yield run

    def fan_out(
        self,
        agent: Agent | Sequence[Agent],
        inputs: Iterable[RunInput],
        *,
        max_runs: int = 8,
        ordered: bool = False,
    ) -> AbstractAsyncContextManager[FanOutResults]:
        """Run many inputs, at most `max_runs` at once, and iterate over the results as they finish.

        A run that fails does not disturb the others: its result holds the error. Nor does one that reaches a call which
        needs approval: its result holds the `ApprovalRequired`, and `resume` continues it. Leaving the block before the end
        cancels what still runs.

        Args:
            agent: One agent for all, or one for each input.
            inputs: What each run begins with.
            max_runs: How many run at once; connections are limited by `EngineOptions.max_connections`.
            ordered: Give the results in the order of the inputs instead.

        Raises:
            ConfigError: `max_runs` is less than 1, there are not as many agents as inputs, or one is no agent or no input.
        """
        self._check_open()
        if isinstance(max_runs, bool) or not isinstance(max_runs, int) or max_runs < 1:
            raise ConfigError(f"max_runs must be a whole number of at least 1, not {max_runs!r}")
        if isinstance(inputs, (str, Mapping)):
            raise ConfigError(
                "fan_out takes a list of inputs, one for each run; for one run there is engine.run"
            )
        given = _listed(inputs, "fan_out", "inputs")
        agents = [agent] * len(given) if isinstance(agent, Agent) else _listed(agent, "fan_out", "agents")
        if len(agents) != len(given):
            raise ConfigError(
                f"fan_out got {len(agents)} agents for {len(given)} inputs; give one for each, or one"
            )
        # Here and not where each begins: the others would be under way.
        for each in agents:
            self._check_agent(each)
        jobs = [(each, as_items(one)) for each, one in zip(agents, given, strict=True)]
        return fanned_out(jobs, self._new_run, max_runs=max_runs, ordered=ordered)

    async def warm_up(self, agent: Agent, lanes: int = 1) -> int:
        """Let the server prepare an agent's instructions and tools on some lanes. A checkpoint.

        The first run of that agent on such a lane continues from the warm-up. The server counts its input tokens. A
        server that refuses warm-ups, or ignores them, costs nothing but this request. Over HTTP, where the server
        remembers nothing for a lane, connections are opened and nothing is asked.

        Args:
            agent: Whose instructions and tools.
            lanes: On how many lanes; waits until so many can be had at once.

        Returns:
            How many lanes are warm.

        Raises:
            ConfigError: It is no agent; or more lanes than `max_connections`; where the endpoint has ``lanes="named"``,
                more than that times `lanes_per_connection`.
            ConnectFailed: No connection could be opened.
            LimitReached: So many lanes could not be had within `acquire_timeout`, or `max_waiters` wait already.
        """
        self._check_open()
        self._check_agent(agent)
        endpoint = agent.endpoint or self._endpoint
        limit = self._options.max_connections
        if endpoint.lanes == "named" and (agent.transport or endpoint.transport) == "websocket":
            limit *= self._options.lanes_per_connection
        if isinstance(lanes, bool) or not isinstance(lanes, int) or not 1 <= lanes <= limit:
            raise ConfigError(
                f"lanes must be from 1 to {limit} here (max_connections, and lanes_per_connection"
                f' if the endpoint has lanes="named"), not {lanes!r}'
            )
        return await self._warm_ups.warm([agent] * lanes)

    async def _warm_all(self, warm: Iterable[Agent]) -> None:
        """Warm each agent up on a lane of its own."""
        agents = _listed(warm, "warm=", "agents")
        for agent in agents:
            self._check_agent(agent)
        if len(agents) > self._options.max_connections:
            raise ConfigError(
                f"{len(agents)} agents cannot be warm at once on max_connections={self._options.max_connections};"
                " raise it, or warm fewer"
            )
        await self._warm_ups.warm(agents)

    @asynccontextmanager
    async def lane(self, endpoint: Endpoint | None = None) -> AsyncIterator[BareLane]:
        """The level below agents: the use of one lane, whose `create` sends what it is given and never replays.

        Entering waits for a lane and is a checkpoint; leaving is none. Left in the middle of a turn,
        the lane is treated like that of a cancelled `run`. With ``transport="auto"`` the transport is chosen on
        entering, and stays.

        Raises:
            ConfigError: `endpoint` is none.
            LimitReached: No lane within `acquire_timeout`, or `max_waiters` wait already.
            ConnectFailed: No connection could be opened.
            EngineClosed: The engine was left.
        """
        self._check_open()
        if endpoint is not None and not isinstance(endpoint, Endpoint):
            raise ConfigError(
                f"lane takes an Endpoint, not {type(endpoint).__name__}: triplane.Endpoint(url)"
            )
        lease = self._routes.lease(endpoint or self._endpoint, "lane")
        bare = BareLane(lease, self._options)
        try:
            await lease.acquire()
            yield bare
        finally:
            bare._leave()  # noqa: SLF001  # made for this

    async def _run_of(
        self, run_id: str, agent: Agent, items: tuple[Item, ...], *, allow_changes: bool, waits: bool
    ) -> Run:
        """The run of that id: begun, or taken up where its log ends."""
        self._check_agent(agent)
        found = await take_up_or_begin(
            self._ledger, run_id, agent, self._options, items, allow_changes=allow_changes, waits=waits
        )
        if isinstance(found, Resumption):
            return self._taken_up(found, agent)
        return self._new_run(agent, items, log=found)

    @asynccontextmanager
    async def _open_run_of(
        self, run_id: str, agent: Agent, items: tuple[Item, ...], *, allow_changes: bool
    ) -> AsyncIterator[Run]:
        run = await self._run_of(run_id, agent, items, allow_changes=allow_changes, waits=True)
        async with driven(run):
            yield run

    def _new_run(
        self,
        agent: Agent,
        items: tuple[Item, ...],
        origin: Origin = NO_ORIGIN,
        *,
        log: ClaimedLog | None = None,
    ) -> Run:
        self._check_agent(agent)
        if log is None:
            log = self._ledger.create(f"run_{self._rng.getrandbits(96):024x}")
        run_id = log.run_id
        feed = Feed(log, self._options.max_unread)
        lease = self._lease(agent, run_id)
        surroundings = self._surroundings()
        driver = Driver(run_id, agent, items, feed, lease, surroundings, origin)
        return Run(driver, feed, self._count, self._fork, self._check_open)

    async def _take_up(
        self, run_id: str, agent: Agent, decisions: Decisions, *, allow_changes: bool, waits: bool
    ) -> Run:
        self._check_open()
        self._check_agent(agent)
        taken = await take_up(
            self._ledger, run_id, agent, self._options, decisions, allow_changes=allow_changes, waits=waits
        )
        return self._taken_up(taken, agent)

    def _taken_up(self, taken: Resumption, agent: Agent) -> Run:
        run_id = taken.log.run_id
        # Of a run that is over the last record is left to be seen.
        feed = Feed(taken.log, self._options.max_unread, after=taken.last - taken.has_result)
        lease = self._lease(agent, run_id)
        surroundings = self._surroundings()
        driver = Driver(run_id, agent, (), feed, lease, surroundings, resumption=taken)
        return Run(driver, feed, self._count, self._fork, self._check_open)

    def _fork(self, source: Driver, hold: Hold | None, agent: Agent, items: tuple[Item, ...]) -> Run:
        self._check_open()
        self._check_agent(agent)
        origin = source.leave(agent, agent.endpoint or self._endpoint, hold)
        return self._new_run(agent, (*origin.items, *items), origin)

    def _check_agent(self, agent: object) -> None:
        if not isinstance(agent, Agent):
            raise ConfigError(f"what runs is an Agent, not {type(agent).__name__}: triplane.Agent(model, …)")
        endpoint = agent.endpoint or self._endpoint
        if endpoint.namespaces == "none" and (special := needs_namespaces(agent.tools)) is not None:
            raise ConfigError(
                f"the tool {special.full_name!r} of agent {agent.name!r} is in a namespace or loaded by a search, and"
                f" the endpoint {endpoint.host} has neither: give it the tools by themselves, or, if it has them, say"
                ' Endpoint(…, namespaces="auto")'
            )

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._pool, self._options, self._rng, self, self._workbench, self._support, self._vaults
        )

    def _lease(self, agent: Agent, label: str) -> RoutedLease:
        return self._routes.lease(agent.endpoint or self._endpoint, label, agent.transport)

    def _count(self, change: int) -> None:
        self._runs_active += change
        self._runs_finished += change < 0

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosed

    def _close(self) -> None:
        self._closed = True
        self._pool.close()


def _listed(things: Iterable[Thing], whose: str, what: str) -> list[Thing]:
    if not isinstance(things, Iterable):
        raise ConfigError(f"{whose} takes a list of {what}, not {type(things).__name__}")
    return list(things)
