"""Who holds which lane: carries out what `core.assignment` plans, and keeps connections alive.

The pool owns lanes and connections, and hands out leases; see the module of lanes for what a holder has.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.assignment import Assign, LaneView, Waiter, plan
from triplane.core.errors import ConnectFailed, EngineClosed, LimitReached, TriplaneError
from triplane.core.retry import delay_before

from .connection import Connection, ConnectionStatistics
from .endpoint import Endpoint
from .lane import Lane, LaneStatistics, Lease

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from triplane.core.options import EngineOptions

    from .dial import Dialler


# By how much of its greatest age a connection may be retired too early.
_AGE_JITTER = 0.1


@attrs.frozen
class PoolStatistics:
    """The pool at one moment.

    Attributes:
        opened: Connections opened since the pool began.
        closed: How many of them are closed again.
        rotated: How many of them were replaced because of their age.
        dial_failures: Attempts to connect that failed.
        dialling: Connections being opened.
        waiting: Who waits for a lane.
        leased: Lanes in use.
        reserved: Lanes kept for runs whose tools are running.
        free: Lanes that nobody holds.
        connections: The connections that are open, oldest first.
        lanes: Their lanes, in the same order.
    """

    opened: int
    closed: int
    rotated: int
    dial_failures: int
    dialling: int
    waiting: int
    leased: int
    reserved: int
    free: int
    connections: tuple[ConnectionStatistics, ...]
    lanes: tuple[LaneStatistics, ...]


@attrs.define(eq=False)
class _Waiting:
    ticket: int
    lease: Lease
    head: str | None
    fingerprint: str | None
    patient: bool
    lane: Lane | None = None
    failure: TriplaneError | None = None
    served: trio.Event = attrs.Factory(trio.Event)


@attrs.define(eq=False)
class _Place:
    """What the pool has at one endpoint."""

    endpoint: Endpoint
    lanes: list[Lane] = attrs.Factory(list)
    queue: list[_Waiting] = attrs.Factory(list)
    dialling: int = 0
    failures: int = 0
    dial_not_before: float = 0.0


@final
class Pool:
    """Lanes to all endpoints. Lives in a nursery of the engine.

    Args:
        nursery: Where connections live. Nothing but bugs raises into it.
        dialler: Opens streams.
        options: The engine's options.
        rng: For the jitter of repeated attempts.
    """

    def __init__(
        self, nursery: trio.Nursery, dialler: Dialler, options: EngineOptions, rng: random.Random
    ) -> None:
        self._nursery = nursery
        self._dialler = dialler
        self._options = options
        self._rng = rng
        self._places: dict[Endpoint, _Place] = {}
        self._closing = False
        self._tickets = 0
        self._names = 0
        self._opened = 0
        self._closed = 0
        self._rotated = 0
        self._dial_failures = 0
        self._live_heads: set[str] = set()
        self._dials: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<Pool: {len(now.connections)} connections, {now.dialling} being opened; lanes: {now.leased} leased,"
            f" {now.reserved} reserved, {now.free} free; {now.waiting} waiting>"
        )

    def statistics(self) -> PoolStatistics:
        """What is known now."""
        lanes = [lane for place in self._places.values() for lane in place.lanes]
        states = Counter(lane.state for lane in lanes)
        return PoolStatistics(
            opened=self._opened,
            closed=self._closed,
            rotated=self._rotated,
            dial_failures=self._dial_failures,
            dialling=sum(place.dialling for place in self._places.values()),
            waiting=sum(len(place.queue) for place in self._places.values()),
            leased=states["leased"],
            reserved=states["reserved"],
            free=states["free"],
            connections=tuple(lane.connection.statistics() for lane in lanes),
            lanes=tuple(
                LaneStatistics(
                    lane.name, lane.connection.name, lane.state, lane.holder.label if lane.holder else None
                )
                for lane in lanes
            ),
        )

    def lanes(self) -> Sequence[Lane]:
        """The lanes there are, for showing."""
        return [lane for place in self._places.values() for lane in place.lanes]

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
        self, lease: Lease, *, head: str | None, fingerprint: str | None, patient: bool
    ) -> Lane:
        """See `Lease.acquire`."""
        await trio.lowlevel.checkpoint()
        if self._closing:
            raise EngineClosed
        mine = lease.lane
        if mine is not None and mine.connection.is_usable:
            if mine.state == "reserved":
                mine.become("resume")
                mine.connection.begin_use()
            return mine
        self.release(lease)
        place = self._places.setdefault(lease.endpoint, _Place(lease.endpoint))
        if len(place.queue) >= self._options.max_waiters:
            raise LimitReached(
                f"{len(place.queue)} runs wait for a lane already (option max_waiters)",
                which="max_waiters",
                limit=self._options.max_waiters,
            )
        self._tickets += 1
        waiting = _Waiting(self._tickets, lease, head, fingerprint, patient)
        place.queue.append(waiting)
        self._replan(place)
        return await self._wait(place, waiting)

    async def _wait(self, place: _Place, waiting: _Waiting) -> Lane:
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
                    f" {len(place.lanes)} of {self._options.max_connections} connections are open",
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

    def reserve(self, lease: Lease) -> None:
        """See `Lease.reserve`."""
        lane = lease.lane
        if lane is None:
            return
        lane.become("reserve")
        lane.connection.end_use()
        self._close_if_retired(lane)
        self._replan(self._places[lease.endpoint])

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        lane = lease.lane
        if lane is None:
            return
        lease.lane = lane.holder = None
        if lane.state == "leased":
            lane.connection.end_use()
        lane.become("release")
        self._close_if_retired(lane)
        self._replan(self._places[lease.endpoint])

    def _replan(self, place: _Place) -> None:
        if self._closing:
            return
        usable = {lane.name: lane for lane in place.lanes if lane.connection.is_usable}
        views = [
            LaneView(
                name,
                lane.state,
                caches=lane.memory.response_id,
                warm_for=lane.memory.warm_for,
                caches_live_chain=lane.memory.response_id in self._live_heads,
            )
            for name, lane in usable.items()
        ]
        limit = self._options.max_connections
        if trio.current_time() < place.dial_not_before:
            limit = len(place.lanes) + place.dialling
        # A poisoned connection that has not finished closing still counts against the limit, and a retired one does
        # not: its replacement is opened first.
        limit -= sum(lane.connection.state == "poisoned" for lane in place.lanes)
        # Read no further than lanes can be had: a queue of thousands must not cost its length at each arrival.
        waiters = (Waiter(waiting.ticket, waiting.head, waiting.fingerprint) for waiting in place.queue)
        for action in plan(views, waiters, dialling=place.dialling, max_connections=limit):
            if isinstance(action, Assign):
                self._assign(place, action.ticket, usable[action.lane])
            else:
                self._dial(place)

    def _dial(self, place: _Place) -> None:
        place.dialling += 1
        self._names += 1
        name = f"c{self._names}"
        self._nursery.start_soon(self._keep, place, name, name=f"connection {name}")

    def _assign(self, place: _Place, ticket: int, lane: Lane) -> None:
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
        lane.connection.begin_use()
        waiting.served.set()

    async def _keep(self, place: _Place, name: str) -> None:
        """One connection from dialling to closed, as a task of its own. Expected failures end as values."""
        with trio.CancelScope() as dial:
            self._dials.add(dial)
            try:
                failure = await self._run_after_attempts(place, name, dial)
                if failure is not None:
                    # Again: a connection that was open and put out at once is no longer among them.
                    self._dials.add(dial)
                    self._dial_failed(place, failure)
                    await trio.sleep_until(place.dial_not_before)
            finally:
                if dial in self._dials:
                    self._dials.remove(dial)
        # Those who still wait may have been waiting for nothing but this moment.
        self._replan(place)

    async def _run_after_attempts(
        self, place: _Place, name: str, dial: trio.CancelScope
    ) -> ConnectFailed | None:
        attempt = 1
        opened = False
        try:
            while True:
                lane = Lane(Connection(name, place.endpoint, self._options))

                def on_open(lane: Lane = lane) -> None:
                    nonlocal opened
                    opened = True
                    self._dials.discard(dial)
                    self._add(place, lane)

                failure = await self._run(place, lane, on_open)
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

    async def _run(self, place: _Place, lane: Lane, on_open: Callable[[], None]) -> ConnectFailed | None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._retire_when_old, place, lane)
                failure = await self._run_connection(lane, on_open)
                if failure is not None and failure.close is not None:
                    # Let in and put out at once. Before the lane's end has the next in line meet the same.
                    self._dial_failed(place, failure)
                nursery.cancel_scope.cancel(reason="the connection is closed")
        finally:
            if lane in place.lanes:
                self._remove(place, lane)
        return failure

    async def _run_connection(self, lane: Lane, on_open: Callable[[], None]) -> ConnectFailed | None:
        try:
            await lane.connection.run(self._dialler, on_open=on_open)
        except ConnectFailed as failure:
            return failure
        return None

    async def _retire_when_old(self, place: _Place, lane: Lane) -> None:
        max_age = place.endpoint.max_age
        if max_age is None:
            return
        await trio.sleep(max_age * (1 - _AGE_JITTER * self._rng.random()))
        if not lane.connection.is_usable:
            return
        lane.connection.retire()
        self._rotated += 1
        if lane.state != "free" and not self._closing:
            self._dial(place)
        self._close_if_retired(lane)

    def _close_if_retired(self, lane: Lane) -> None:
        """A retired connection goes at the first moment at which nobody waits for an answer on it."""
        if lane.connection.state == "draining" and lane.state in ("free", "reserved"):
            lane.connection.close()

    def _delay(self, attempt: int, asked: float | None) -> float:
        return delay_before(
            attempt,
            base=self._options.backoff_base,
            limit=self._options.backoff_limit,
            jitter=self._rng.random(),
            asked=asked,
        )

    def _add(self, place: _Place, lane: Lane) -> None:
        place.dialling -= 1
        place.failures = 0
        place.dial_not_before = 0.0
        self._opened += 1
        place.lanes.append(lane)
        if self._closing:
            lane.connection.close()
        self._replan(place)

    def _remove(self, place: _Place, lane: Lane) -> None:
        self._closed += 1
        place.lanes.remove(lane)
        if lane.state == "reserved" and lane.holder is not None:
            lane.holder.lane = None
        lane.become("lose")
        self._replan(place)

    def _dial_failed(self, place: _Place, failure: ConnectFailed) -> None:
        """Tell those for whom there is no hope, and leave the endpoint alone for a while."""
        place.failures += 1
        place.dial_not_before = trio.current_time() + self._delay(1 + place.failures, failure.retry_after)
        hope = place.dialling or any(lane.connection.is_usable for lane in place.lanes)
        hopeless = [waiting for waiting in place.queue if not (hope and waiting.patient)]
        place.queue = [waiting for waiting in place.queue if hope and waiting.patient]
        for waiting in hopeless:
            waiting.failure = failure
            waiting.served.set()
        if not place.queue:
            # Nobody is left who would try again too soon; the next one to come deserves a fresh answer.
            place.dial_not_before = trio.current_time()

    def close(self) -> None:
        """Refuse new work, tell those who wait, and ask every connection to close. Not a checkpoint."""
        self._closing = True
        for dial in self._dials:
            dial.cancel(reason="the engine is being left")
        for place in self._places.values():
            hopeless, place.queue = place.queue, []
            for waiting in hopeless:
                waiting.failure = EngineClosed()
                waiting.served.set()
            for lane in place.lanes:
                lane.connection.close()
