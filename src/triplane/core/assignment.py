"""Who gets which lane: the pool's brain, a function from what is to what to do.

`plan` looks at the lanes, the waiters and the dials under way and returns a list of actions; carrying them out is
somebody else's work. Waiters are served first come, first served. A waiter takes, in this order:

1. the lane that caches the head of its chain, if that lane is free;
2. a free lane warmed up for its agent;
3. a free lane that caches nothing;
4. a free lane that caches nothing of a live run;
5. any free lane;
6. a new connection, as long as there may be more (the waiter stays in the queue meanwhile);
7. a lane that is reserved for a run whose tools are running, if more wait than connections are being opened: the
   oldest of them take it. That run then pays one request with full input; otherwise a parent that waits for its
   children could starve them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .lifecycle import LaneState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
class Waiter:
    """Somebody who waits for a lane.

    Attributes:
        ticket: Names the waiter; the order of tickets is the order of arrival.
        head: The response its chain continues from, else None.
        fingerprint: Its agent's fingerprint, else None.
    """

    ticket: int
    head: str | None = None
    fingerprint: str | None = None


@attrs.frozen
class Assign:
    """Give a free or reserved lane to a waiter."""

    ticket: int
    lane: str


@attrs.frozen
class Dial:
    """Open one more connection."""


Action = Assign | Dial


def plan(
    lanes: Sequence[LaneView], waiters: Iterable[Waiter], *, dialling: int, max_connections: int
) -> list[Action]:
    """What to do now. Costs the number of lanes, for each lane that is given; a long queue costs nothing.

    Args:
        lanes: The lanes of the connections that are open and take new work.
        waiters: Those who wait, oldest first. Only as many are looked at as something can be done for.
        dialling: Connections being opened.
        max_connections: How many connections there may be, those being opened included. Connections that are
            open are counted by their lanes.
    """
    free = [view for view in lanes if view.state == "free"]
    reserved = [view for view in lanes if view.state == "reserved"]
    room = max(0, max_connections - len(lanes) - dialling)
    actions: list[Action] = []
    unserved: list[Waiter] = []
    for waiter in waiters:
        if free:
            actions.append(Assign(waiter.ticket, _take_best(waiter, free)))
        elif len(unserved) < dialling + room + len(reserved):
            unserved.append(waiter)
        else:
            break
    dials = min(room, max(0, len(unserved) - dialling))
    # What is coming goes to the youngest: whoever came first takes what can be had at once.
    surplus = max(0, len(unserved) - dialling - dials)
    actions += [Assign(waiter.ticket, _take_best(waiter, reserved)) for waiter in unserved[:surplus]]
    actions += [Dial()] * dials
    return actions


def _take_best(waiter: Waiter, views: list[LaneView]) -> str:
    """Remove the best lane for a waiter from `views`, which is not empty, and return its name."""

    def rank(view: LaneView) -> int:
        if waiter.head is not None and view.caches == waiter.head:
            return 0
        if waiter.fingerprint is not None and view.warm_for == waiter.fingerprint:
            return 1
        if view.caches is None:
            return 2
        return 4 if view.caches_live_chain else 3

    best = min(views, key=rank)
    views.remove(best)
    return best.lane
