"""What the pool has at one endpoint: its connections, and those who wait for a lane there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from triplane.core.assignment import ConnectionView, LaneView
from triplane.core.errors import TriplaneError

from .endpoint import Endpoint
from .lane import Lane, Lease
from .lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# If so many wait, what is alike is not looked for: it costs their number, at each arrival.
_CROWD = 16


@attrs.define(eq=False)
class Waiting:
    """One who waits for a lane; see `Lease.acquire`. `served` is set with either a lane or a failure."""

    ticket: int
    lease: Lease
    head: str | None
    fingerprint: str | None
    near: str | None
    patient: bool
    lane: Lane | None = None
    failure: TriplaneError | None = None
    served: trio.Event = attrs.Factory(trio.Event)


@attrs.define(eq=False)
class Place:
    """One endpoint.

    Attributes:
        endpoint: Where.
        connections: The connections that are open, oldest first, each with its lanes.
        queue: Those who wait, in the order of their arrival.
        dialling: Connections being opened.
        tasks: How many drive a connection, or wait until one may be opened again.
        failures: Dials that failed since the last one that did not.
        dial_not_before: Until then the endpoint is left alone.
        spares_not_before: Until then nothing is opened that nobody waits for.
        has_lanes: Whether its server knows ``stream_id``; None while that is not known.
        held_up: Called when somebody waits in vain: by holders of lanes whose own readers hold them up.
    """

    endpoint: Endpoint
    connections: list[Lanes] = attrs.Factory(list)
    queue: list[Waiting] = attrs.Factory(list)
    dialling: int = 0
    tasks: int = 0
    failures: int = 0
    dial_not_before: float = 0.0
    spares_not_before: float = 0.0
    has_lanes: bool | None = None
    held_up: set[Callable[[], object]] = attrs.Factory(set)

    @property
    def is_deserted(self) -> bool:
        """Whether nobody uses it: what is known of it may be found out again."""
        return not (self.connections or self.queue or self.tasks or self.held_up)

    @property
    def starves(self) -> bool:
        """Whether somebody waits for a lane who gets one only from those who hold them."""
        return bool(self.queue) and not self.dialling

    def hurry(self) -> None:
        """Tell those who are held up, if somebody waits in vain. Not a checkpoint."""
        if self.starves:
            for tell in tuple(self.held_up):
                tell()

    def lanes(self) -> Iterator[Lane]:
        """All lanes, those of connections that take nothing new included."""
        return (lane for lanes in self.connections for lane in lanes)

    def usable(self) -> list[Lanes]:
        """The connections that take new work."""
        return [lanes for lanes in self.connections if lanes.connection.is_usable]

    def that_matter(self, usable: Sequence[Lanes], live_heads: Collection[str]) -> Sequence[Lanes]:
        """Of the usable connections those that make a difference to who waits, in the same order.

        The planner costs the number of lanes that it sees, and of a thousand connections most are as good as each other
        or in use. Of those that are alike no more can be taken than there are waiters; a crowd sees all.

        Args:
            usable: The connections that take new work.
            live_heads: See `views`.
        """
        count = len(self.queue)
        if count > _CROWD:
            return usable
        heads = {each.head for each in self.queue if each.head is not None}
        fingerprints = {each.fingerprint for each in self.queue if each.fingerprint is not None}
        left = {"nothing": count, "live": count, "dead": count}
        found = []
        for lanes in usable:
            lane = lanes.only_lane
            state = None if lane is None else lane.state
            if state == "leased":
                continue
            if lane is not None and state == "free":
                caches = lane.caches
                if caches not in heads and lane.warm_for not in fingerprints:
                    alike = "nothing" if caches is None else "live" if caches in live_heads else "dead"
                    if not left[alike]:
                        continue
                    left[alike] -= 1
            found.append(lanes)
        return found

    def views(
        self, shown: Iterable[Lanes], live_heads: Collection[str], *, may_dial: bool
    ) -> list[ConnectionView]:
        """Some connections as the planner sees them.

        Lanes in use are left out: nobody can be given one, and most of a thousand may be in use.

        Args:
            shown: Which.
            live_heads: The responses that runs which have not ended continue from.
            may_dial: Whether a connection that is cut could be replaced now.
        """
        return [
            ConnectionView(
                lanes.connection.name,
                tuple(
                    LaneView(
                        lane.name,
                        lane.state,
                        caches=lane.caches,
                        warm_for=lane.warm_for,
                        caches_live_chain=lane.caches in live_heads,
                    )
                    for lane in lanes
                    if lane.state != "leased"
                ),
                spare=lanes.spare,
                may_be_cut=may_dial and not lanes.is_shared,
            )
            for lanes in shown
        ]
