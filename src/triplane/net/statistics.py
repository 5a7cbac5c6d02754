"""What a pool shows of itself."""

from __future__ import annotations

import attrs

from triplane.core.lifecycle import LaneState

from .connection import ConnectionStatistics


@attrs.frozen
class LaneStatistics:
    """One lane at one moment.

    Attributes:
        name: Its name in logs: its connection's where that has one lane, else like ``"c1/2"``.
        connection: Its connection's name.
        state: ``"free"``, ``"leased"``, ``"reserved"``, ``"draining"`` or ``"gone"``.
        holder: Who holds it, a run's id for a run, None when nobody does.
        requests: Messages sent on it.
        since_event: Seconds since something of a response came on it, None before the first.
    """

    name: str
    connection: str
    state: LaneState
    holder: str | None
    requests: int = 0
    since_event: float | None = None


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
        draining: Lanes whose holder left in mid-response and whose answer is being read to its end.
        free: Lanes that nobody holds.
        dropped: Frames that belonged to no lane, or to one that is gone, since the pool began.
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
    draining: int
    free: int
    dropped: int
    connections: tuple[ConnectionStatistics, ...]
    lanes: tuple[LaneStatistics, ...]
