"""Who gets which lane: the pool's brain, a function from what is to what to do.

`plan` looks at the connections and their lanes, the waiters and the dials under way and returns a list of actions;
carrying them out is somebody else's work. Waiters are served first come, first served. A waiter takes, in this order:

1. the lane that caches the head of its chain, if that lane is free;
2. where it asked to be near a response: a free lane of the connection that caches it which caches nothing of a live
   run, else a new lane there;
3. a free lane warmed up for its agent;
4. a free lane that caches nothing;
5. a free lane that caches nothing of a live run;
6. a new lane on a connection that is open: it costs nothing but one of the connection's names;
7. any free lane;
8. a new connection, as long as there may be more (the waiter stays in the queue meanwhile); if there may not, one in
   place of a connection that does nothing but read off an answer that nobody wants any more;
9. a lane that is reserved for a run whose tools are running, if more wait than connections are coming: the oldest of
   them take it. That run then pays one request with full input; otherwise a parent that waits for its children could
   starve them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .lifecycle import LaneState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# OpenAI WebSocket-mode guide: so many responses are in flight at once on a connection, and so many names of lanes are
# known in its life.
MAX_IN_FLIGHT: Final = 16
MAX_NAMES: Final = 32


@attrs.frozen
class LaneView:
    """A lane as the planner sees it.

    Attributes:
        lane: Its name.
        state: Its state; ``"gone"`` lanes are not shown.
        caches: The response that it caches, else None.
        warm_for: The fingerprint of the agent it is warmed up for, else None.
        caches_live_chain: Whether a run that has not ended continues from `caches`.
    """

    lane: str
    state: LaneState
    caches: str | None = None
    warm_for: str | None = None
    caches_live_chain: bool = False


@attrs.frozen
class ConnectionView:
    """A connection that is open and takes new work, as the planner sees it.

    Attributes:
        connection: Its name.
        lanes: Its lanes; those that are leased may be left out.
        spare: How many more lanes may be opened on it now.
        may_be_cut: Whether it may be closed for the sake of a new one when its only lane is draining.
    """

    connection: str
    lanes: tuple[LaneView, ...]
    spare: int = 0
    may_be_cut: bool = False


@attrs.frozen
class Waiter:
    """Somebody who waits for a lane.

    Attributes:
        ticket: Names the waiter; the order of tickets is the order of arrival.
        head: The response its chain continues from, else None.
        fingerprint: Its agent's fingerprint, else None.
        near: The response whose connection it prefers, for a fork on another lane, else None.
    """

    ticket: int
    head: str | None = None
    fingerprint: str | None = None
    near: str | None = None


@attrs.frozen
class Assign:
    """Give a free or reserved lane to a waiter."""

    ticket: int
    lane: str


@attrs.frozen
class Open:
    """Open one more lane on a connection, for a waiter."""

    ticket: int
    connection: str


@attrs.frozen
class Dial:
    """Open one more connection."""


@attrs.frozen
class Cut:
    """Close a connection that only drains: a new one shall take its place."""

    connection: str


Action = Assign | Open | Dial | Cut


def plan(
    connections: Sequence[ConnectionView],
    waiters: Iterable[Waiter],
    *,
    dialling: int,
    max_connections: int,
    closing: int = 0,
    lanes_per_dial: int = 1,
) -> list[Action]:
    """What to do now. Costs the number of lanes, for each lane that is given; a long queue costs nothing.

    Args:
        connections: The connections that are open and take new work.
        waiters: Those who wait, oldest first. Only as many are looked at as something can be done for.
        dialling: Connections being opened.
        max_connections: How many connections there may be, those being opened included.
        closing: Connections that are about to make room for others: they were cut.
        lanes_per_dial: How many lanes a new connection will have, as far as is known.
    """
    supply = _Supply(connections)
    reserved = [view for each in connections for view in each.lanes if view.state == "reserved"]
    drains = [each.connection for each in connections if each.may_be_cut and _only_drains(each)]
    room = max(0, max_connections - len(connections) - dialling)
    # For so many something can be done, at most, once all that is at hand is given.
    reach = (dialling + room + closing + len(drains)) * lanes_per_dial + len(reserved)
    actions: list[Action] = []
    unserved: list[Waiter] = []
    for waiter in waiters:
        if action := supply.take_best(waiter):
            actions.append(action)
        elif len(unserved) < reach:
            unserved.append(waiter)
        else:
            break
    missing = max(0, len(unserved) - dialling * lanes_per_dial)
    dials = min(room, -(-missing // lanes_per_dial))
    missing = max(0, missing - (dials + closing) * lanes_per_dial)
    cuts = min(len(drains), -(-missing // lanes_per_dial))
    # What is coming goes to the youngest: whoever came first takes what can be had at once.
    surplus = max(0, missing - cuts * lanes_per_dial)
    for waiter in unserved[:surplus]:
        best = min(reserved, key=lambda view: _rank(view, waiter))
        reserved.remove(best)
        actions.append(Assign(waiter.ticket, best.lane))
    actions += [Dial()] * dials
    actions += [Cut(connection) for connection in drains[:cuts]]
    return actions


def spare_lanes(*, lanes: int, unfinished: int, names: int, lanes_per_connection: int) -> int:
    """How many more lanes may be opened on a connection.

    Args:
        lanes: Those that it has.
        unfinished: Those that were given up and whose response the server has not ended yet.
        names: Names that were used in its life.
        lanes_per_connection: How many it may have.
    """
    return max(0, min(lanes_per_connection - lanes, MAX_IN_FLIGHT - lanes - unfinished, MAX_NAMES - names))


class _Supply:
    """What can be had at once, and is taken piece by piece."""

    def __init__(self, connections: Sequence[ConnectionView]) -> None:
        self._free = [
            (view, each.connection) for each in connections for view in each.lanes if view.state == "free"
        ]
        self._spare = {each.connection: each.spare for each in connections if each.spare > 0}
        self._connections = connections

    def take_best(self, waiter: Waiter) -> Assign | Open | None:
        """The best for a waiter; None if there is nothing at all."""
        if not self._free and not self._spare:
            return None
        home = self._home(waiter.near)

        def rank(candidate: tuple[LaneView, str]) -> int:
            view, connection = candidate
            plain = _rank(view, waiter)
            if connection == home and 0 < plain < _LIVE and view.caches != waiter.near:
                return _NEAR
            return plain

        best = min(self._free, key=rank, default=None)
        value = rank(best) if best is not None else _NOTHING
        if value > _NEAR and home in self._spare:
            return self._open(waiter, home)
        if value > _OPEN and self._spare:
            return self._open(waiter, next(iter(self._spare)))
        assert best is not None, "there was something"
        self._free.remove(best)
        return Assign(waiter.ticket, best[0].lane)

    def _home(self, near: str | None) -> str | None:
        if near is None:
            return None
        return next(
            (
                each.connection
                for each in self._connections
                if any(view.caches == near for view in each.lanes)
            ),
            None,
        )

    def _open(self, waiter: Waiter, connection: str) -> Open:
        self._spare[connection] -= 1
        if not self._spare[connection]:
            del self._spare[connection]
        return Open(waiter.ticket, connection)


# The ranks of lanes that `_rank` does not give: one near a response, one that has yet to be opened, and none at all.
_NEAR, _OPEN, _LIVE, _NOTHING = 1, 5, 6, 7


def _rank(view: LaneView, waiter: Waiter) -> int:
    """How well a lane suits a waiter, 0 being best."""
    if waiter.head is not None and view.caches == waiter.head:
        return 0
    if waiter.fingerprint is not None and view.warm_for == waiter.fingerprint:
        return 2
    if view.caches is None:
        return 3
    return _LIVE if view.caches_live_chain else 4


def _only_drains(connection: ConnectionView) -> bool:
    return [view.state for view in connection.lanes] == ["draining"]
