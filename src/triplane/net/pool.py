"""Who holds which lane: carries out what `core.assignment` plans, and keeps connections alive.

The pool owns connections and hands out leases on their lanes. What it has at one endpoint is a `Place`; a connection
and its lanes are `Lanes`; what a holder has is a `Lease`.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, final

import trio

from triplane.core.assignment import Action, Assign, Cut, Open, Waiter, plan
from triplane.core.errors import ConnectFailed, ConnectionLost, EngineClosed, LimitReached
from triplane.core.remembered import Remembered
from triplane.core.retry import delay_before

from .carrier import connection_to
from .lane import Lease
from .lanes import Lanes
from .place import Place, Waiting
from .rotation import Rotation
from .statistics import LaneStatistics, PoolStatistics

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from triplane.core.options import EngineOptions

    from .dial import Dialler
    from .endpoint import Endpoint
    from .lane import Lane


@final
class Pool:
    """Lanes to all endpoints. Lives in a nursery of the engine.

    Args:
        nursery: Where connections live. Nothing but bugs raises into it.
        dialler: Opens streams.
        options: The engine's options.
        rng: For the jitter of repeated attempts and of ages.

    Attributes:
        rewarm: Called in a task of its own with an agent's fingerprint when a connection that was warm for it has made
            way for a younger one.
    """

    def __init__(
        self, nursery: trio.Nursery, dialler: Dialler, options: EngineOptions, rng: random.Random
    ) -> None:
        self._nursery = nursery
        self._dialler = dialler
        self._options = options
        self._rng = rng
        self._places = Remembered(self._new_place, may_go=lambda place: place.is_deserted)
        self._closing = False
        self._tickets = 0
        self._names = 0
        self._opened = 0
        self._closed = 0
        self._rotated = 0
        self._dropped = 0
        self._dial_failures = 0
        self._live_heads: set[str] = set()
        self._dials: set[trio.CancelScope] = set()
        self._rotation = Rotation(options, rng, self._dial)
        self.rewarm: Callable[[Endpoint, str], Awaitable[None]] | None = None

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<Pool: {len(now.connections)} connections, {now.dialling} being opened; lanes: {now.leased} leased,"
            f" {now.reserved} reserved, {now.draining} draining, {now.free} free; {now.waiting} waiting>"
        )

    def statistics(self) -> PoolStatistics:
        """What is known now."""
        connections = [lanes for place in self._places for lanes in place.connections]
        all_lanes = self.lanes()
        states = Counter(lane.state for lane in all_lanes)
        return PoolStatistics(
            opened=self._opened,
            closed=self._closed,
            rotated=self._rotated + sum(each.connection.is_retired for each in connections),
            dial_failures=self._dial_failures,
            dialling=sum(place.dialling for place in self._places),
            waiting=sum(len(place.queue) for place in self._places),
            leased=states["leased"],
            reserved=states["reserved"],
            draining=states["draining"],
            free=states["free"],
            dropped=self._dropped + sum(lanes.dropped for lanes in connections),
            connections=tuple(lanes.statistics() for lanes in connections),
            lanes=tuple(
                LaneStatistics(
                    lane.name,
                    lane.connection_name,
                    lane.state,
                    lane.holder.label if lane.holder else None,
                    lane.requests,
                    lane.since_event(),
                )
                for lane in all_lanes
            ),
        )

    def lanes(self) -> Sequence[Lane]:
        """The lanes there are, for showing."""
        return [lane for place in self._places for lane in place.lanes()]

    def lease(self, endpoint: Endpoint, label: str) -> Lease:
        """A lease that holds no lane yet.

        Args:
            endpoint: Where.
            label: Whom it is for, shown in statistics.
        """
        return Lease(self, endpoint, label)

    def keep_head(self, old: str | None, new: str | None) -> None:
        """Note that a run now continues from `new` instead of `old`; None when it has ended."""
        self._live_heads.discard(old or "")
        if new is not None:
            self._live_heads.add(new)

    async def acquire(
        self, lease: Lease, *, head: str | None, fingerprint: str | None, near: str | None, patient: bool
    ) -> Lane:
        """See `Lease.acquire`."""
        await trio.lowlevel.checkpoint()
        if self._closing:
            raise EngineClosed
        mine = lease.lane
        if mine is not None and mine.is_usable:
            if mine.state == "reserved":
                mine.become("resume")
                mine.begin_use()
            return mine
        self.release(lease)
        place = self._places[lease.endpoint]
        if len(place.queue) >= self._options.max_waiters:
            raise LimitReached(
                f"{len(place.queue)} runs wait for a lane already (option max_waiters)",
                which="max_waiters",
                limit=self._options.max_waiters,
            )
        self._tickets += 1
        waiting = Waiting(self._tickets, lease, head, fingerprint, near, patient)
        place.queue.append(waiting)
        self._replan(place)
        return await self._wait(place, waiting)

    async def _wait(self, place: Place, waiting: Waiting) -> Lane:
        delivered = False
        try:
            if not waiting.served.is_set():
                with trio.move_on_after(self._options.acquire_timeout):
                    await waiting.served.wait()
            if waiting.failure is not None:
                raise waiting.failure.again()
            if waiting.lane is None:
                raise LimitReached(
                    f"no lane became free within {self._options.acquire_timeout:g} s (option acquire_timeout);"
                    f" {len(place.connections)} of {self._options.max_connections} connections are open",
                    which="acquire_timeout",
                    limit=self._options.acquire_timeout,
                )
            delivered = True
            return waiting.lane
        finally:
            # Cancelled while waiting, or at the very moment of being served: the lane goes to the next in line.
            if not delivered:
                if waiting in place.queue:
                    place.queue.remove(waiting)
                waiting.lease.release()

    def place_of(self, lease: Lease) -> Place:
        """Where the lane of a lease is."""
        return self._places[lease.endpoint]

    def reserve(self, lease: Lease) -> None:
        """See `Lease.reserve`."""
        lane = lease.lane
        if lane is None or lane.state == "reserved":
            return
        if lane.state == "leased":
            lane.end_use()
        lane.become("reserve")
        self._changed(self._places[lease.endpoint], lane.lanes)

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        lane = lease.lane
        if lane is None:
            return
        lease.lane = lane.holder = None
        if lane.state == "leased" and lane.owes:
            lane.lanes.drain(lane)
        else:
            if lane.state == "leased":
                lane.end_use()
            lane.become("release")
        self._changed(self._places[lease.endpoint], lane.lanes)

    def _new_place(self, endpoint: Endpoint) -> Place:
        return Place(endpoint, has_lanes=self._assumed(endpoint))

    def _assumed(self, endpoint: Endpoint) -> bool | None:
        """Whether a server has lanes, before it has been asked."""
        if self._options.lanes_per_connection == 1 or endpoint.transport != "websocket":
            return False
        return {"none": False, "named": True, "auto": None}[endpoint.lanes]

    def _found_out(self, place: Place, *, has_lanes: bool | None) -> None:
        place.has_lanes = has_lanes
        if has_lanes is None:
            return
        for lanes in place.connections:
            lanes.hear_of(has_lanes=has_lanes)
        self._replan(place)

    def _changed(self, place: Place, lanes: Lanes) -> None:
        """A lane is no longer in use: its connection may be due to close, and somebody may be waiting for it."""
        lanes.close_if_retired()
        self._replan(place)

    def _replan(self, place: Place) -> None:
        if self._closing:
            return
        if not place.queue:
            self._open_spares(place)
            return
        usable = place.usable()
        shown = place.that_matter(usable, self._live_heads)
        may_dial = trio.current_time() >= place.dial_not_before
        # A poisoned connection that has not finished closing still counts against the limit, and a retired one does
        # not: its replacement is opened first.
        others = len(place.connections) - len(usable)
        poisoned = others and sum(lanes.connection.state == "poisoned" for lanes in place.connections)
        limit = self._options.max_connections if may_dial else len(usable) + place.dialling
        # Read no further than lanes can be had: a queue of thousands must not cost its length at each arrival.
        waiters = (Waiter(each.ticket, each.head, each.fingerprint, each.near) for each in place.queue)
        actions = plan(
            place.views(shown, self._live_heads, may_dial=may_dial),
            waiters,
            dialling=place.dialling,
            max_connections=limit - poisoned - (len(usable) - len(shown)),
            closing=poisoned if may_dial else 0,
            lanes_per_dial=self._options.lanes_per_connection if place.has_lanes else 1,
        )
        by_name = {lanes.connection.name: lanes for lanes in shown}
        for action in actions:
            self._carry_out(place, action, by_name)
        self._open_spares(place)
        place.hurry()

    def _carry_out(self, place: Place, action: Action, shown: dict[str, Lanes]) -> None:
        if isinstance(action, Assign):
            lane = next(lane for lanes in shown.values() for lane in lanes if lane.name == action.lane)
            self._assign(place, action.ticket, lane)
        elif isinstance(action, Open):
            self._assign(place, action.ticket, shown[action.connection].open())
        elif isinstance(action, Cut):
            shown[action.connection].connection.poison(
                ConnectionLost("an abandoned response was cut off: somebody else needs a connection")
            )
        else:
            self._dial(place)

    def _open_spares(self, place: Place) -> None:
        if place.endpoint.transport == "http":
            # Where TCP connections come and go, none is kept ready.
            return
        for _ in range(self._rotation.missing(place)):
            self._dial(place)

    def _dial(self, place: Place) -> trio.Event:
        """Open one more connection. Returns what is set once that has succeeded or failed."""
        place.dialling += 1
        place.tasks += 1
        self._names += 1
        name = f"c{self._names}"
        settled = trio.Event()
        self._nursery.start_soon(self._keep, place, name, settled, name=f"connection {name}")
        return settled

    def _assign(self, place: Place, ticket: int, lane: Lane) -> None:
        waiting = next(each for each in place.queue if each.ticket == ticket)
        place.queue.remove(waiting)
        if lane.state == "reserved":
            assert lane.holder is not None
            lane.holder.lane = None
            lane.become("take")
        else:
            lane.become("lease")
        lane.holder = waiting.lease
        waiting.lease.lane = waiting.lane = lane
        lane.begin_use()
        waiting.served.set()

    async def _keep(self, place: Place, name: str, settled: trio.Event) -> None:
        """One connection from dialling to closed, as a task of its own. Expected failures end as values."""
        with trio.CancelScope() as dial:
            self._dials.add(dial)
            try:
                failure = await self._run_after_attempts(place, name, dial, settled)
                if failure is not None:
                    # Again: a connection that was open and put out at once is no longer among them.
                    self._dials.add(dial)
                    if failure.close is None:
                        self._dial_failed(place, failure)
                    settled.set()
                    await trio.sleep_until(place.dial_not_before)
                    if self._options.spare_connections and failure.is_transient:
                        await trio.sleep_until(place.spares_not_before)
            finally:
                if dial in self._dials:
                    self._dials.remove(dial)
                place.tasks -= 1
        # Those who still wait may have been waiting for nothing but this moment.
        self._replan(place)

    async def _run_after_attempts(
        self, place: Place, name: str, dial: trio.CancelScope, settled: trio.Event
    ) -> ConnectFailed | None:
        attempt = 1
        opened = False
        try:
            while True:
                lanes = self._new_lanes(place, name)

                def on_open(lanes: Lanes = lanes) -> None:
                    nonlocal opened
                    opened = True
                    self._dials.discard(dial)
                    self._add(place, lanes)
                    settled.set()

                failure = await self._run(place, lanes, on_open)
                if failure is None:
                    return None
                self._dial_failures += 1
                failure.attempts = attempt
                if attempt >= self._options.dial_attempts or not failure.is_transient:
                    return failure
                await trio.sleep(self._delay(attempt, failure.retry_after))
                attempt += 1
        finally:
            if not opened:
                place.dialling -= 1

    def _new_lanes(self, place: Place, name: str) -> Lanes:
        lanes = Lanes(
            connection_to(place.endpoint, name, self._options),
            self._options,
            has_lanes=place.has_lanes,
            on_change=lambda: self._changed(place, lanes),
            on_known=lambda has_lanes: self._found_out(place, has_lanes=has_lanes),
        )
        return lanes

    async def _run(self, place: Place, lanes: Lanes, on_open: Callable[[], None]) -> ConnectFailed | None:
        try:
            async with trio.open_nursery() as nursery:

                def grow_old() -> None:
                    nursery.start_soon(self._rotation.retire_when_old, place, lanes)
                    on_open()

                failure = await lanes.run(self._dialler, on_open=grow_old)
                if failure is not None and failure.close is not None:
                    # Let in and put out at once. Before the lane's end has the next in line meet the same.
                    self._dial_failed(place, failure)
                nursery.cancel_scope.cancel(reason="the connection is closed")
        finally:
            if lanes in place.connections:
                self._remove(place, lanes)
        return failure

    def _delay(self, attempt: int, asked: float | None) -> float:
        return delay_before(
            attempt,
            base=self._options.backoff_base,
            limit=self._options.backoff_limit,
            jitter=self._rng.random(),
            asked=asked,
        )

    def _add(self, place: Place, lanes: Lanes) -> None:
        place.dialling -= 1
        place.failures = 0
        place.dial_not_before = place.spares_not_before = 0.0
        self._opened += 1
        place.connections.append(lanes)
        if place.has_lanes is not None:
            # Another connection may have found out meanwhile.
            lanes.hear_of(has_lanes=place.has_lanes)
        if self._closing:
            lanes.connection.close()
        self._replan(place)

    def _remove(self, place: Place, lanes: Lanes) -> None:
        self._closed += 1
        self._dropped += lanes.dropped
        place.connections.remove(lanes)
        self._rotated += lanes.connection.is_retired
        warm = lanes.warm_for() if lanes.connection.is_retired and self._options.rewarm else []
        lanes.lose_all()
        self._replan(place)
        if self.rewarm is not None and not self._closing:
            for fingerprint in warm:
                self._nursery.start_soon(self.rewarm, place.endpoint, fingerprint, name="warming up again")

    def _dial_failed(self, place: Place, failure: ConnectFailed) -> None:
        """Tell those for whom there is no hope, and leave the endpoint alone for a while."""
        place.failures += 1
        place.dial_not_before = trio.current_time() + self._delay(1 + place.failures, failure.retry_after)
        # Nobody waits for a spare connection: one that would be refused again is not asked for again.
        place.spares_not_before = place.dial_not_before if failure.is_transient else math.inf
        hope = place.dialling or place.usable()
        hopeless = [waiting for waiting in place.queue if not (hope and waiting.patient)]
        place.queue = [waiting for waiting in place.queue if hope and waiting.patient]
        for waiting in hopeless:
            waiting.failure = failure
            waiting.served.set()
        if not place.queue:
            # Nobody is left who would try again too soon; the next one to come deserves a fresh answer.
            place.dial_not_before = trio.current_time()
        place.hurry()

    def close(self) -> None:
        """Refuse new work, tell those who wait, and ask every connection to close. Not a checkpoint."""
        self._closing = True
        for dial in self._dials:
            dial.cancel(reason="the engine is being left")
        for place in self._places:
            hopeless, place.queue = place.queue, []
            for waiting in hopeless:
                waiting.failure = EngineClosed()
                waiting.served.set()
            for lanes in place.connections:
                if lanes.only_drains:
                    # Nobody waits for what is coming, and a closing handshake would have to wait for it.
                    lanes.connection.poison(ConnectionLost("the engine is being left"))
                else:
                    lanes.connection.close()
