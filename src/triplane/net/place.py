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
    from collections.abc import Collection, Iterator


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

    def views(self, live_heads: Collection[str], *, may_dial: bool) -> list[ConnectionView]:
        """The usable connections, as the planner sees them.

        Lanes in use are left out: nobody can be given one, and most of a thousand may be in use.

        Args:
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
            for lanes in self.usable()
        ]
