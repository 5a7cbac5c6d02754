"""Whether an agent survives the death of its process: at each moment there is, and with each of its effects once.

Between two records of a run's log either nothing happens that is of consequence, or a tool's effect. So a death after
each record, and one more instead of each record that tells of a tool, are all deaths there are.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, final

import attrs
import trio

from triplane.core.errors import ApprovalRequired, TriplaneError
from triplane.core.records import Record, ToolFinished, ToolStarted
from triplane.core.run_state import RunState
from triplane.engine.agent import Agent
from triplane.engine.opening import open_engine
from triplane.ledger.memory import MemoryLedger
from triplane.net.endpoint import Endpoint
from triplane.tools import ToolContext

from .open import open_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triplane.core.options import EngineOptions
    from triplane.core.records import ApprovalAsked, Body
    from triplane.engine.run_input import RunInput
    from triplane.ledger.memory import ClaimedMemoryLog, MemoryLog
    from triplane.server.options import OptionArguments
    from triplane.tools import Production, Tool

When = Literal["after", "before"]
_OF_TOOLS: Final = (ToolStarted.type, ToolFinished.type)


@attrs.frozen
class Crash:
    """One death and what was wrong about what came of it.

    Attributes:
        record: The number of the record, counted from 0 over all logs of the ledger.
        type: The record's type.
        when: ``"after"``: the process died as soon as the record was written. ``"before"``: it died instead of writing
            it, so everything that the record would have told of had happened.
        problems: What was wrong, in words; empty if nothing.
    """

    record: int
    type: str
    when: When
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.when} record {self.record} ({self.type}): {'; '.join(self.problems) or 'as it should be'}"
        )


@attrs.frozen
class CrashReport:
    """What came of all deaths.

    Attributes:
        crashes: Each of them, in order.
    """

    crashes: tuple[Crash, ...]

    @property
    def problems(self) -> tuple[Crash, ...]:
        """Those that something was wrong about."""
        return tuple(crash for crash in self.crashes if crash.problems)

    def check(self) -> None:
        """Assert that nothing was wrong.

        Raises:
            AssertionError: Something was; the message says what, and after which death.
        """
        __tracebackhide__ = True
        if self.problems:
            lines = "\n".join(map(str, self.problems))
            raise AssertionError(f"{len(self.problems)} of {len(self.crashes)} deaths went wrong:\n{lines}")


async def crash_at_every_step(
    agent: Agent | Callable[[], Agent],
    run_input: RunInput,
    *,
    options: EngineOptions | None = None,
    approve: Callable[[ApprovalAsked], bool] = lambda _: True,
    **server: Unpack[OptionArguments],
) -> CrashReport:
    """Run an agent against a local server once for each moment at which its process can die, and resume it there.

    Each time the engine is torn down without a goodbye, its log ends where it died, and another engine resumes the run.
    Then everything must be as in a run that nobody disturbed: how it ended, what it said, and how often each of the
    agent's tools was called with which arguments. Only what the classes of effects allow may be different: a tool that
    reads or is idempotent may be called again, and a tool that writes may not have been called to its end if the model
    is told that the call was interrupted; then the model may go on otherwise. A run that is parked is resumed with what
    `approve` decides, and may be asked again by another life. For example, with pytest-trio::

        async def test_my_agent_survives(autojump_clock):
            report = await crash_at_every_step(make_agent, 'CALL pay {"amount": 3}')
            report.check()

    A tool that is under way when the engine dies is cancelled, which a killed process would not do: what it does in a
    ``finally`` is done. Tools that run in threads need a real clock: a mock one does not wait for them. Tools of agents
    that are tools of this agent are not counted. A checkpoint.

    Args:
        agent: Who answers, or what makes that agent; then each run has one of its own, in a world of its own.
        run_input: What it is asked.
        options: The engine's.
        approve: Decides about calls that need approval, and always in the same way. By default everything is approved.
        server: See `triplane.server.Options`. The model answers by what the conversation holds, such as "directive",
            which is the default: it is asked again after a death.

    Raises:
        TriplaneError: The agent fails although nobody disturbs it.
    """
    runs = _Runs(agent, run_input, options, approve, server)
    whole = await runs.once(None)
    crashes = []
    for place, kind in enumerate(whole.kinds):
        # Instead of any other record: that is like after the one before it.
        moments: tuple[When, ...] = ("before", "after") if kind in _OF_TOOLS else ("after",)
        for when in moments:
            crashed = await runs.once((place, when))
            crashes.append(Crash(place, kind, when, tuple(_problems(whole, crashed))))
    return CrashReport(tuple(crashes))


@attrs.frozen
class _Outcome:
    """What came of one run, whether its process died or not.

    Attributes:
        state: How it ended; None if it did not.
        error: Why it did not.
        kinds: The types of all records.
        calls: How often each tool was called with which arguments.
        effects: The effect class of each tool.
        interrupted: How many calls of each tool the model was told were interrupted.
    """

    state: RunState | None
    error: TriplaneError | None
    kinds: tuple[str, ...]
    calls: Counter[tuple[str, str]]
    effects: dict[str, str]
    interrupted: Counter[str]


@final
class _Runs:
    """Runs of one agent on one input, each on a server of its own."""

    def __init__(
        self,
        agent: Agent | Callable[[], Agent],
        run_input: RunInput,
        options: EngineOptions | None,
        approve: Callable[[ApprovalAsked], bool],
        server: OptionArguments,
    ) -> None:
        self.agent = agent
        self.run_input = run_input
        self.options = options
        self.approve = approve
        self.server = server

    async def once(self, death: tuple[int, When] | None) -> _Outcome:
        calls: Counter[tuple[str, str]] = Counter()
        made = self.agent if isinstance(self.agent, Agent) else self.agent()
        agent = attrs.evolve(made, tools=[_counted(tool, calls) for tool in made.tools])
        ledger = _MortalLedger(death)
        state: RunState | None = None
        error: TriplaneError | None = None
        async with open_server(**self.server) as (local, network):

            async def live(run_id: str | None) -> RunState:
                async with open_engine(
                    Endpoint(local.url),
                    options=self.options,
                    ledger=ledger,
                    network=network,
                    rng=random.Random(0),  # noqa: S311 - ids and jitter
                ) as engine:
                    decisions: dict[str, bool] = {}
                    while True:
                        try:
                            if run_id is None:
                                return await engine.run(agent, self.run_input)
                            yes = [call_id for call_id, approved in decisions.items() if approved]
                            return await engine.resume(
                                run_id, agent, approve=yes, deny=decisions.keys() - set(yes)
                            )
                        except ApprovalRequired as parked:
                            run_id = parked.run_id
                            decisions = {each.call_id: self.approve(each) for each in parked.approvals}

            try:
                with ledger.scope:
                    state = await live(None)
                if ledger.is_dead:
                    state = await live(ledger.bury())
            except TriplaneError as failure:
                if death is None:
                    raise
                error = failure
        return _Outcome(
            state,
            error,
            ledger.kinds(),
            calls,
            {tool.name: tool.effect for tool in agent.tools},
            ledger.interrupted(),
        )


def _problems(whole: _Outcome, crashed: _Outcome) -> list[str]:
    if crashed.state is None or whole.state is None:
        return [f"the run did not go on: {crashed.error!r}"]
    problems = []
    if crashed.state.status != whole.state.status:
        problems.append(f"the run ended as {crashed.state.status!r} and not as {whole.state.status!r}")
    doubt = Counter(crashed.interrupted)
    if not doubt and crashed.state.text != whole.state.text:
        problems.append(f"it said {crashed.state.text!r} and not {whole.state.text!r}")
    for call in sorted({*whole.calls, *crashed.calls}):
        name, arguments = call
        more = crashed.calls[call] - whole.calls[call]
        words = f"{name}({arguments}) was called {_times(crashed.calls[call])} and not {_times(whole.calls[call])}"
        if more < 0:
            # What the model was told is in doubt need not have happened.
            explained = min(-more, doubt[name])
            doubt[name] -= explained
            if explained < -more:
                problems.append(words)
        elif more > 0 and whole.effects[name] == "write" and (call in whole.calls or not crashed.interrupted):
            problems.append(words)
    return problems


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _counted(tool: Tool, calls: Counter[tuple[str, str]]) -> Tool:
    """The tool, which counts its calls. It is counted before anything that it may do."""

    def count(arguments: dict[str, Any]) -> None:
        said = {name: value for name, value in arguments.items() if not isinstance(value, ToolContext)}
        calls[tool.name, ", ".join(f"{name}={value!r}" for name, value in sorted(said.items()))] += 1

    async def counted(arguments: dict[str, Any], production: Production) -> Any:
        count(arguments)
        return await tool.producer(arguments, production)

    return attrs.evolve(tool, producer=counted)


@final
class _MortalLedger:
    """A ledger in memory whose process dies at one of its records.

    Args:
        death: The number of the record and whether it is written, None to live.

    Attributes:
        scope: What the process lives in.
        is_dead: Whether it has died, and nothing is written any more.
    """

    def __init__(self, death: tuple[int, When] | None) -> None:
        self.scope = trio.CancelScope()
        self.is_dead = False
        self._death = death
        self._ledger = MemoryLedger(clock=lambda: 0.0)
        self._claims: list[ClaimedMemoryLog] = []
        self._bodies: list[Body] = []
        self._is_buried = False

    def bury(self) -> str | None:
        """Let another process begin; returns the run that it finds, None if there is none."""
        self._is_buried = True
        for claim in self._claims:
            claim.release()
        first = next(iter(self._ledger.logs.values()))
        return first.run_id if first.records else None

    def kinds(self) -> tuple[str, ...]:
        """The types of all records, in their order."""
        return tuple(body.type for body in self._bodies)

    def interrupted(self) -> Counter[str]:
        """How many calls of each tool were told to be interrupted."""
        return Counter(
            body.name
            for body in self._bodies
            if isinstance(body, ToolFinished) and body.outcome.kind == "interrupted"
        )

    def note(self, claim: ClaimedMemoryLog, body: Body) -> Record:
        """Write a record, or die."""
        if self.is_dead and not self._is_buried:
            return Record(len(claim.records), 0.0, body)
        here = self._death if self._death is not None and self._death[0] == len(self._bodies) else None
        if here is not None and not self._is_buried:
            self.is_dead = True
            self.scope.cancel(reason="the process died")
            if here[1] == "before":
                return Record(len(claim.records), 0.0, body)
        self._bodies.append(body)
        return claim.append(body)

    async def rest(self) -> None:
        """What a dead process waits for never comes."""
        await trio.lowlevel.checkpoint()
        if self.is_dead and not self._is_buried:
            await trio.sleep_forever()

    def create(self, run_id: str) -> _MortalLog:
        """See `Ledger.create`."""
        return self._claimed(self._ledger.create(run_id))

    async def claim(self, run_id: str) -> _MortalLog:
        """See `Ledger.claim`."""
        return self._claimed(await self._ledger.claim(run_id))

    async def open(self, run_id: str) -> MemoryLog:
        """See `Ledger.open`."""
        return await self._ledger.open(run_id)

    async def run_ids(self) -> Sequence[str]:
        """See `Ledger.run_ids`."""
        return await self._ledger.run_ids()

    def follow(self, run_id: str, after: int = -1) -> Any:
        """See `Ledger.follow`."""
        return self._ledger.follow(run_id, after)

    def _claimed(self, claim: ClaimedMemoryLog) -> _MortalLog:
        self._claims.append(claim)
        return _MortalLog(self, claim)


@final
class _MortalLog:
    """The claim to a log of a `_MortalLedger`."""

    def __init__(self, ledger: _MortalLedger, claim: ClaimedMemoryLog) -> None:
        self._ledger = ledger
        self._claim = claim
        self.release = claim.release
        self.read = claim.read
        self.wait = claim.wait

    @property
    def run_id(self) -> str:
        """The run."""
        return self._claim.run_id

    @property
    def token(self) -> int:
        """See `ClaimedLog.token`."""
        return self._claim.token

    def append(self, body: Body) -> Record:
        """See `ClaimedLog.append`."""
        return self._ledger.note(self._claim, body)

    async def durable(self) -> None:
        """See `ClaimedLog.durable`."""
        await self._ledger.rest()
