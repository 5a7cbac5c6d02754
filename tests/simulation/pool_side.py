"""Is the pool whole? Looked at after every step, so it looks at the pool's own parts and not at its statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .invariants import Broken, require

if TYPE_CHECKING:
    from triplane.core.options import EngineOptions
    from triplane.net.pool import Pool


_HELD = ("leased", "reserved")


class PoolSide:
    """A pool from one step to the next."""

    def __init__(self, pool: Pool, options: EngineOptions) -> None:
        self._pool = pool
        self._options = options
        self._waited: list[object] = []

    def look(self) -> None:
        """Look at it."""
        pool = self._pool
        for place in pool._places:
            usable = 0
            waits = bool(place.queue) and not pool._closing
            for lanes in place.connections:
                is_usable = lanes.connection.is_usable
                usable += is_usable
                for lane in lanes:
                    holder, state = lane.holder, lane.state
                    if (state in _HELD) is (holder is None) or (
                        holder is not None and holder.lane is not lane
                    ):
                        raise Broken("bounds", f"{lane.name} is {state} and held by {holder}")
                    if waits and is_usable and state == "free":
                        raise Broken("fairness", f"{lane.name} is free, and {len(place.queue)} wait")
            total = usable + place.dialling
            # Replacements of those that grow old are opened first.
            most = self._options.max_connections * (1 if place.endpoint.max_age is None else 2)
            if total > most:
                raise Broken("bounds", f"{total} connections")
            if self._waited or place.queue:
                self._check_order(place.queue)

    def _check_order(self, queue: list[object]) -> None:
        served = [each.ticket for each in self._waited if each.lane is not None]
        waiting = [each.ticket for each in queue]
        require(
            "fairness", not served or not waiting or max(served) < min(waiting), f"{served} before {waiting}"
        )
        self._waited = list(queue)

    def at_the_end(self) -> None:
        """Nothing is left."""
        now = self._pool.statistics()
        left = (now.dialling, now.waiting, now.leased, now.reserved, len(now.lanes))
        require("sockets", left == (0, 0, 0, 0, 0), f"the pool is left with {now}")
        require("sockets", now.opened == now.closed, f"{now.opened} opened and {now.closed} closed")
