"""How a run goes on from its log: taken up from wherever the log ends, in this process or another.

A log may end anywhere, since a process may die anywhere. What the log leaves open is closed first, by records of its
own, so that whoever reads the log sees the same: a request that was under way is retracted, and a call whose effect
may have happened gets the outcome ``interrupted``. From there on the run is like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from triplane.core.errors import ConfigError, Receipt, RunFailed
from triplane.core.identity import changes
from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    ResponseRetracted,
    RunResumed,
    RunStarted,
    SteersRequeued,
    ToolFinished,
    UnknownRecord,
)
from triplane.core.reducer import RunReducer
from triplane.core.retry import BOUNDARIES, Boundary, may_replay, moment_of, safe_next
from triplane.tools import results

from .approvals import Decisions, required

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.core.options import EngineOptions
    from triplane.core.records import Body, Item, ToolStarted
    from triplane.core.store import ClaimedLog, Ledger, RunLog

    from .agent import Agent


async def fold(log: RunLog) -> tuple[RunReducer, int]:
    """The state that a log makes, and the sequence number of its last record, -1 if it has none. A checkpoint.

    Raises:
        ConfigError: A newer Triplane has written something that the state depends on.
        LedgerCorrupt: The log is damaged.
        LedgerFailed: The store could not be read.
    """
    reducer = RunReducer()
    last = -1
    while records := await log.read(last):
        for record in records:
            body = record.body
            if isinstance(body, UnknownRecord) and body.essential:
                raise ConfigError(
                    f"record {record.sequence} of run {log.run_id} is a {body.kind!r} of version {body.version}, which"
                    " this version of Triplane does not know; resume the run with the version that wrote it"
                )
            reducer.apply(record)
        last = records[-1].sequence
    return reducer, last


@final
class Resumption:
    """A run that is about to go on. Made by `take_up`.

    Args:
        log: The run's log, with the claim to it.
        reducer: The state that the log makes.
        last: The sequence number of the log's last record.
        agent: Who is to answer from here on.
        decisions: What a person has decided about calls that wait for it.
    """

    def __init__(
        self, log: ClaimedLog, reducer: RunReducer, last: int, agent: Agent, decisions: Decisions
    ) -> None:
        self.log = log
        self.reducer = reducer
        self.last = last
        self._agent = agent
        self._decisions = decisions.without_repeated(reducer)

    @property
    def has_result(self) -> bool:
        """Whether the run has come to its end, so that there is nothing to go on with."""
        return self.reducer.status in ("completed", "incomplete")

    def check(self, options: EngineOptions, *, allow_changes: bool, waits: bool) -> None:
        """Check that the run can go on, before anything is recorded.

        Args:
            options: The engine's.
            allow_changes: See `Engine.resume`.
            waits: Whether there will be somebody who can decide what a parked run waits for.

        Raises:
            ConfigError: The log does not begin with a run's beginning, the agent is another one, or nothing that is
                decided is open.
            ApprovalRequired: The run is parked, and nothing is decided.
            RunFailed: The request that was under way must not be repeated.
        """
        if self.reducer.agent is None:
            raise ConfigError(
                f"nothing of run {self.log.run_id} is in the ledger but its name, so there is nothing to resume;"
                " begin it with engine.run(…)"
            )
        self._decisions.check(self.reducer)
        if self.has_result:
            return
        different = self._changes()
        if different and not allow_changes:
            raise ConfigError(
                f"run {self.log.run_id} was begun by another agent than this one: {'; '.join(different)}. Resume it with"
                " an agent that sends the same, or accept the difference with allow_changes=True"
            )
        self._check_request(options)
        if (
            self.reducer.status == "parked"
            and self.reducer.approvals.open
            and not (waits or self._decisions.given)
        ):
            raise required(self.reducer)

    def settle(self, record: Callable[[Body], None]) -> None:
        """Record that the run goes on, and close what the log leaves open. Not a checkpoint."""
        agent, reducer = self._agent, self.reducer
        record(RunResumed(agent.name, agent.model, agent.fingerprint, dict(agent.parts), self._changes()))
        if reducer.has_request_in_hand:
            self._retract(record)
        for started in reducer.calls.in_doubt:
            if self._must_not_run_again(started):
                record(
                    ToolFinished(
                        started.call_id, started.name, ToolOutcome("interrupted", results.interrupted())
                    )
                )
        for given in self._decisions.given:
            record(given)

    def _changes(self) -> tuple[str, ...]:
        before = self.reducer.agent
        if before is None or before.fingerprint == self._agent.fingerprint:
            return ()
        found = changes(before.parts, self._agent.parts) if before.parts else ()
        return found or ("its fingerprint is another",)

    def _check_request(self, options: EngineOptions) -> None:
        agent = self._agent
        if not self.reducer.has_request_in_hand or may_replay(
            self._boundary,
            server_effects=agent.has_server_effects,
            ambiguous_sends=agent.ambiguous_sends or options.ambiguous_sends,
        ):
            return
        raise RunFailed(
            "the model may have run for the request that was under way when the run was cut off, and what it did on the"
            " server must not be done twice; look there, then resume with an agent that has"
            ' ambiguous_sends="replay"',
            run_id=self.log.run_id,
            code="ambiguous_send",
            receipt=Receipt(
                self._boundary.sent,
                self.reducer.response.shown,
                self.reducer.calls.effects,
                safe_next(self._boundary, server_effects=True, effects=self.reducer.calls.effects),
            ),
        )

    @property
    def _boundary(self) -> Boundary:
        # Whether the request had begun to go out when the process died, its log cannot know.
        return BOUNDARIES[moment_of(self.reducer.turn, sending_began=True)]

    def _retract(self, record: Callable[[Body], None]) -> None:
        reducer, ambiguous = self.reducer, self._boundary.ambiguous
        response = reducer.response
        if response.status in ("completed", "incomplete"):
            unsettled = sum(steer.state in ("sent", "accepted") for steer in reducer.turn.steers)
            record(SteersRequeued(reducer.turns, "resumed", unsettled, ambiguous))
        else:
            record(ResponseRetracted(reducer.turns, "resumed", response.shown, ambiguous))

    def _must_not_run_again(self, started: ToolStarted) -> bool:
        """By what the tool was when it started and by what it is now: whichever promises less."""
        tool = self._agent.tools_by_name.get(started.name)
        return started.effect == "write" or (tool is not None and tool.effect == "write")


async def take_up(
    ledger: Ledger,
    run_id: str,
    agent: Agent,
    options: EngineOptions,
    decisions: Decisions,
    *,
    allow_changes: bool,
    waits: bool,
) -> Resumption:
    """Claim a run and find out where it stands. A checkpoint. Nothing is recorded yet.

    Raises:
        ConfigError: The ledger has no such run, its agent is another one, or what is decided is not open.
        ApprovalRequired: The run is parked, nothing is decided, and nobody could do so later.
        RunFailed: The request that was under way must not be repeated.
        LedgerCorrupt: The log is damaged.
        LedgerFailed: Somebody else drives the run, or the store could not be read.
    """
    log = await ledger.claim(run_id)
    try:
        reducer, last = await fold(log)
        resumption = Resumption(log, reducer, last, agent, decisions)
        resumption.check(options, allow_changes=allow_changes, waits=waits)
    except BaseException:
        log.release()
        raise
    return resumption


async def take_up_or_begin(
    ledger: Ledger,
    run_id: str,
    agent: Agent,
    options: EngineOptions,
    first_input: tuple[Item, ...],
    *,
    allow_changes: bool,
    waits: bool,
) -> Resumption | ClaimedLog:
    """Claim a run and find out where it stands; of one that has not begun, get its empty log. A checkpoint.

    Raises:
        ApprovalRequired: It is parked, and nobody could decide.
        ConfigError: The run began with another input or another agent, or its id cannot be one.
        RunFailed, LedgerCorrupt, LedgerFailed: See `take_up`.
    """
    try:
        log = await ledger.claim(run_id)
    except ConfigError:
        return ledger.create(run_id)
    try:
        reducer, last = await fold(log)
        if reducer.agent is None:
            # Whoever wanted to begin it died before it could.
            return log
        begin = (await log.read(-1, 1))[0].body
        if not (isinstance(begin, RunStarted) and begin.input == first_input):
            raise ConfigError(
                f"the run {run_id!r} that this ledger has began with another input; give this one another id, or go on"
                " with that one by engine.resume(…)"
            )
        resumption = Resumption(log, reducer, last, agent, Decisions())
        resumption.check(options, allow_changes=allow_changes, waits=waits)
    except BaseException:
        log.release()
        raise
    return resumption
