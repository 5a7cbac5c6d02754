"""What do the runs' logs say? Each is read as it grows, and folded a second time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from triplane.core.records import (
    ApprovalGiven,
    ConnectionDropped,
    FramesReceived,
    Record,
    RequestSent,
    ResponseRetracted,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolStarted,
)
from triplane.core.reducer import RunReducer

from .invariants import Broken, require
from .people import needs_approval

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.engine.driver import Driver

    from .ledger import WatchedLog
    from .server_side import Create, ServerSide

_LABEL = re.compile(r"#(\S+)")


@attrs.define(eq=False)
class Sent:
    """A request that a log tells of, and whether the server has seen it."""

    record: Record
    body: RequestSent
    arrived: bool = False


class LogSide:
    """All logs.

    Args:
        server: What the server saw.
        tell: Notes a line of the story.
        attempts: How often a turn may be tried.
        is_hosted: Whether the server may act for the runs of a label.
        shares: Whether a connection may have several lanes; logs do not tell them apart.
    """

    def __init__(
        self,
        server: ServerSide,
        tell: Callable[[str], None],
        attempts: int,
        is_hosted: Callable[[str | None], bool],
        *,
        shares: bool,
    ) -> None:
        self._is_hosted = is_hosted
        self._shares = shares
        self._server = server
        self._tell = tell
        self._attempts = attempts
        self._lanes: dict[str, str] = {}
        self.runs: dict[str, RunSide] = {}

    def take(self, log: WatchedLog, record: Record) -> RunSide:
        """Look at the next record of a log."""
        run = self.runs.get(log.run_id)
        if run is None:
            run = self.runs[log.run_id] = RunSide(
                log, self._server, self._lanes, self._attempts, shares=self._shares
            )
        run.take(record)
        if not isinstance(record.body, FramesReceived):
            self._tell(f"log of {run.label}: {_in_short(record.body)}")
        run.hosted = self._is_hosted(run.label)
        return run

    def of_label(self, label: str | None) -> list[RunSide]:
        """The runs with this label: one, or several that a repeated call has begun."""
        return [run for run in self.runs.values() if run.label == label]

    def arrived(self, create: Create) -> None:
        """The server has received this request: some log must have told of it before, and durably."""
        for run in self.of_label(create.label):
            if run.claim(create):
                return
        raise Broken("write ahead", f"no log tells, durably, of {create}")


class RunSide:
    """One log, and the state that it makes."""

    def __init__(
        self, log: WatchedLog, server: ServerSide, lanes: dict[str, str], attempts: int, *, shares: bool
    ) -> None:
        self.log = log
        self.label: str | None = None
        self.shadow = RunReducer()
        self.driver: Driver | None = None
        self.sent: list[Sent] = []
        self.started: dict[str, Record] = {}
        self.finished: set[str] = set()
        self.given: dict[str, Record] = {}
        self.hosted = False
        self.inherited: set[str] = set()
        self._server = server
        self._lanes = lanes
        self._attempts = attempts
        self._shares = shares
        self._count = 0
        self._retracted = False

    def take(self, record: Record) -> None:
        """Look at the next record."""
        require("append only", record.sequence == self._count, f"{record} at place {self._count}")
        require("append only", not self.shadow.is_over, f"{record} after the end")
        self._count += 1
        body = record.body
        match body:
            case RunStarted():
                # Of a fork it is the last one: before that it inherits a conversation.
                self.inherited = {item["call_id"] for item in body.input if "call_id" in item}
                for item in body.input:
                    if match := _LABEL.match(str(item.get("content"))):
                        self.label = match[1]
            case RequestSent():
                self._asks(record, body)
            case ToolStarted():
                call_id = body.call_id
                book = self.shadow.calls
                pending = [call.call_id for call in (*book.pending, *book.outstanding)]
                may_repeat = call_id not in self.started or body.effect == "idempotent"
                require("at most once", may_repeat, f"{call_id} starts again")
                require("known call", call_id in pending, f"{call_id} starts, and {pending} wait")
                self._may_start(body)
                self.started[call_id] = record
            case ApprovalGiven():
                require("approval", body.call_id not in self.given, f"{body} after {self.given}")
                self.given[body.call_id] = record
            case ToolFinished():
                require("one output", body.call_id not in self.finished, f"{body.call_id} ends again")
                self.finished.add(body.call_id)
            case ResponseRetracted():
                self._retracts(body)
            case _:
                pass
        self.shadow.apply(record)
        if isinstance(body, FramesReceived):
            self._answered()
        elif isinstance(body, ConnectionDropped | RunEnded | ResponseRetracted):
            self._let_lane_go()

    def _may_start(self, body: ToolStarted) -> None:
        asked = self.shadow.approvals.asked.get(body.call_id)
        require(
            "approval",
            asked or not needs_approval(body.name, body.arguments),
            f"{body}, and nobody was asked",
        )
        if asked is not None:
            given = self.given.get(body.call_id)
            approved = given is not None and isinstance(given.body, ApprovalGiven) and given.body.approved
            require("approval", approved, f"{body}, and what was decided is {given}")
            durable = given is not None and given.sequence < self.log.durable_below
            require("approval", durable, f"{body} before {given} is durable")

    def _asks(self, record: Record, body: RequestSent) -> None:
        shadow = self.shadow
        require("one output", not shadow.calls.pending, f"a request while {shadow.calls.pending} wait")
        require(
            "approval", not shadow.approvals.unanswered, f"a request while {shadow.approvals.unanswered} wait"
        )
        if body.turn == shadow.turns:
            previous = self.sent[-1].body
            require("replay", self._retracted, f"{body} without having been retracted")
            require("replay", body.attempt == previous.attempt + 1, f"{body} after {previous}")
            require("replay", body.attempt <= self._attempts, f"{body}, and {self._attempts} are allowed")
        else:
            require("replay", (shadow.turns + 1, 1) == (body.turn, body.attempt), f"{body} is not due")
            require("replay", not self.sent or shadow.turn.is_over, f"{body} before the turn is over")
        holder = self._lanes.get(body.connection)
        if holder is not None and not self._shares:
            raise Broken("busy lane", f"{self.label} sends on {body.connection}, where {holder} is")
        self._lanes[body.connection] = self.log.run_id
        self.sent.append(Sent(record, body))
        self._retracted = False

    def _retracts(self, body: ResponseRetracted) -> None:
        shadow = self.shadow
        require("replay", body.turn == shadow.turns, f"{body} in turn {shadow.turns}")
        kept = shadow.turn.is_over and shadow.response.status in ("completed", "incomplete")
        require("replay", not kept, f"{body}, and the turn is over")
        require("replay", not (self.hosted and body.ambiguous), f"{body}, and the server may have acted")
        self._retracted = True

    def _answered(self) -> None:
        """What the run takes for its answer must be the server's answer to it."""
        for response in self.shadow.turn.responses:
            if response.status in ("completed", "incomplete"):
                create = self._server.of_response.get(response.id or "")
                if create is not None and create.connection in self._server.astray:
                    continue
                mine = (self.log.run_id, self.shadow.turns)
                theirs = None if create is None else (create.run_id, create.turn)
                require(
                    "delivery",
                    theirs == mine,
                    f"{self.label} in turn {self.shadow.turns} takes {response.id}",
                )
        if self.shadow.turn.is_over:
            self._let_lane_go()

    def _let_lane_go(self) -> None:
        if self.sent and self._lanes.get(self.sent[-1].body.connection) == self.log.run_id:
            del self._lanes[self.sent[-1].body.connection]

    def claim(self, create: Create) -> bool:
        """Whether the log has told of this request, durably and before it was seen."""
        for sent in self.sent:
            body = sent.body
            facts = (body.previous_response_id, body.items, create.size and body.size)
            # What is not durable yet cannot have been sent.
            durable = sent.record.sequence < self.log.durable_below
            if durable and not sent.arrived and facts == (create.parent, len(create.items), create.size):
                sent.arrived = True
                create.run_id, create.turn = self.log.run_id, body.turn
                self._check_outputs(create)
                return True
        return False

    def _check_outputs(self, create: Create) -> None:
        for item in create.items:
            if item.get("type") == "function_call_output" and item["call_id"] not in self.inherited:
                outcome = self.shadow.calls.outcomes.get(item["call_id"])
                told = None if outcome is None else outcome.output
                require("one output", told == item["output"], f"{item} is sent, and the log has {told!r}")

    def hold_against_driver(self) -> None:
        """The log folded again must be the live state."""
        if self.driver is not None:
            live, again = self.driver.state(), self.shadow.snapshot()
            if live != again:
                # Not `require`: to write the words costs more than to compare.
                raise Broken("fold", f"{self.label} is {live}, and its log makes {again}")

    def at_the_end(self) -> None:
        """Nothing has changed, and the end is told."""
        is_parked = self.shadow.status == "parked"
        require("ended", self.shadow.is_over or is_parked, f"the log of {self.label} has no end")
        out = self.shadow.calls.outstanding if self.shadow.status == "completed" else []
        require("one output", not out, f"{self.label} is completed, and {out} are out")
        require("append only", self.log.is_as_appended(), f"records of {self.label} have changed")
        if self.driver is not None:
            same = self.driver._reducer.canonical() == self.shadow.canonical()
            require("fold", same, f"the log of {self.label} makes another state")


def _in_short(body: object) -> str:
    match body:
        case RunStarted():
            return f"RunStarted({body.run_id})"
        case ToolFinished():
            return f"ToolFinished({body.call_id}, {body.name}, {body.outcome.kind}, {body.outcome.output[:80]!r})"
        case _:
            return repr(body)
