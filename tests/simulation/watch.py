"""Who looks? A Trio instrument: after every step it hears what is new from all sides, and holds it together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import triplane
from triplane.core.records import ToolStarted

from .invariants import Broken, Found, require
from .log_side import LogSide
from .pool_side import PoolSide
from .server_side import ServerSide

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.engine.driver import Driver

    from .log_side import RunSide
    from .world import World

_ERRORS = set(triplane.TriplaneError.__subclasses__())


class Watch(trio.abc.Instrument):
    """Looks after every step.

    Attributes:
        steps: Of the scheduler so far.
        finding: The first thing that did not hold.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._due: dict[int, list[Callable[[], None]]] = {}
        self._entries_seen = 0
        self._drivers: dict[str, Driver] = {}
        self._pool: PoolSide | None = None
        self._effects: dict[tuple[str, str], list[str]] = {}
        self._errors: list[tuple[str, triplane.TriplaneError, int]] = []
        self._lane_turns: dict[str, int] = {}
        self.steps = 0
        self.finding: Found | None = None
        self.server = ServerSide(world.tell, has_lanes=world.server_has_lanes)
        self.logs = LogSide(
            self.server,
            world.tell,
            world.options.replay_attempts + 1,
            world.is_hosted,
            shares=world.options.lanes_per_connection > 1,
        )

    def begin(self, engine: triplane.Engine) -> None:
        """The engine is open."""
        self._pool = PoolSide(engine._pool, self._world.options)
        new_run = engine._new_run

        def watched(*args: object, **kwargs: object) -> triplane.Run:
            run = new_run(*args, **kwargs)
            self._drivers[run.run_id] = run._driver
            return run

        engine._new_run = watched
        take_up = engine._take_up

        async def watched_again(*args: object, **kwargs: object) -> triplane.Run:
            run = await take_up(*args, **kwargs)
            self._drivers[run.run_id] = run._driver
            return run

        engine._take_up = watched_again

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self._due and self.steps in self._due:
            for what in self._due.pop(self.steps):
                what()
        if self.finding is None:
            try:
                self._look()
            except Broken as broken:
                self.found(broken.which, broken.words)
            except Exception as error:  # an instrument's errors are only logged
                self.found("watch", f"{error!r} at line {error.__traceback__.tb_next.tb_lineno}")

    def look(self) -> None:
        """Look once more."""
        self.after_task_step(None)  # type: ignore[arg-type]

    def _look(self) -> None:
        world = self._world
        if world.ledger.fresh:
            fresh, world.ledger.fresh = world.ledger.fresh, []
            touched: dict[str, RunSide] = {}
            for log, record in fresh:
                run = self.logs.take(log, record)
                run.driver = self._drivers.get(log.run_id)
                touched[log.run_id] = run
            for run in touched.values():
                run.hold_against_driver()
        if self._pool is None:
            return
        journal = world.server.journal
        if len(journal) != self._entries_seen:
            for entry in journal.after(self._entries_seen):
                create = self.server.take(entry)
                if create is not None and not create.is_warm_up and not world.is_lane(create.label):
                    self.logs.arrived(create)
            self._entries_seen = len(journal)
        self._pool.look()

    def found(self, which: str, words: str) -> None:
        """Note what does not hold, if it is the first, and go no further."""
        if self.finding is None:
            self.finding = Found(which, words, self.steps)
            self._world.tell(f"NOT SO: {which}: {words}")
            self._world.stop()

    def at_step(self, step: int, what: Callable[[], None]) -> None:
        """Call something after so many more steps."""
        self._due.setdefault(self.steps + step, []).append(what)

    def at_no_step(self, what: Callable[[], None]) -> None:
        """Do not call it any more."""
        for due in self._due.values():
            if what in due:
                due.remove(what)

    def effect(self, context: triplane.ToolContext) -> bool:
        """A tool acts. Whether it has acted for this call before."""
        before = self._effects.setdefault((context.run_id, context.call_id), [])
        try:
            self._may_act(context, before)
        except Broken as broken:
            self.found(broken.which, broken.words)
        before.append(context.idempotency_key)
        return len(before) > 1

    def _may_act(self, context: triplane.ToolContext, before: list[str]) -> None:
        log = self._world.ledger.logs[context.run_id]
        started = [
            record
            for record in log.records
            if isinstance(record.body, ToolStarted) and record.body.call_id == context.call_id
        ]
        call = f"{context.tool} for {context.call_id}"
        require("write ahead", len(started) == 1, f"{call} acts, and its log says {started}")
        body = started[0].body
        durable = body.effect == "read" or started[0].sequence < log.durable_below
        require("write ahead", durable, f"{call} acts before that is durable")
        require("at most once", body.effect == "idempotent" or not before, f"{call} acts again")
        same = {context.idempotency_key, body.idempotency_key, *before}
        require("at most once", len(same) == 1, f"{call} acts with the keys {same}")

    def error(self, label: str, error: triplane.TriplaneError) -> None:
        """An error has come out. Its receipt is looked at in the end, when everything has arrived that will."""
        self._errors.append((label, error, self._lane_turns.get(label, 0)))

    def turn(self, label: str, response_id: str | None) -> None:
        """A bare lane has read a turn to its end."""
        self._lane_turns[label] = self._lane_turns.get(label, 0) + 1
        create = self.server.of_response.get(response_id or "")
        nth = self.server.received[label][self._lane_turns[label] - 1]
        if create is not nth and not self.server.astray:
            self.found("delivery", f"lane {label} takes {response_id} for its answer to {nth}")

    def at_the_end(self) -> None:
        """Everything is over: look at what can only be seen now."""
        try:
            self._at_the_end()
        except Broken as broken:
            self.found(broken.which, broken.words)

    def _at_the_end(self) -> None:
        world = self._world
        for run in self.logs.runs.values():
            run.at_the_end()
        if self._pool is not None:
            self._pool.at_the_end()
        for number, end in enumerate(world.network.ends, 1):
            require("sockets", end.closed, f"connection {number} was left open")
        now = world.server.statistics()
        served = (now.connections_opened, now.connections_closed)
        require("sockets", served[0] == served[1], f"the server has opened and closed {served} connections")
        for label, error, lane_turns in self._errors:
            self._check_error(label, error, lane_turns)
        require(
            "secrets", world.secret.encode() not in world.dump(), "the key is in the ledger or the journal"
        )

    def _check_error(self, label: str, error: triplane.TriplaneError, lane_turns: int) -> None:
        told = f"{label} raised {error!r}"
        require("errors", type(error) in _ERRORS, told)
        require("secrets", self._world.secret not in f"{error} {told}", told)
        receipt = error.receipt
        received = self.server.received.get(label, [])
        runs = self.logs.of_label(label)
        effects = {effect.call_id for effect in receipt.effects}
        started = {call_id for run in runs for call_id in run.started}
        acted = {call_id for run_id, call_id in self._effects if run_id in {run.log.run_id for run in runs}}
        require(
            "receipt", effects == started and effects >= acted, f"{told}; started: {started}, acted: {acted}"
        )
        if receipt.next == "retry" and runs:
            require("receipt", not acted, f"{told}; acted: {acted}")
        if receipt.sent == "nothing" and self._world.is_lane(label):
            require("receipt", len(received) == lane_turns, f"{told}; the server received {received}")
        if receipt.sent == "accepted":
            require(
                "receipt", received and received[-1].response_id, f"{told}; the server received {received}"
            )
        if receipt.sent == "finished" and "limit_reached" not in str(error):
            # The limit may have been told of while the request was on its way.
            require("receipt", received and received[-1].ended, f"{told}; the server received {received}")
