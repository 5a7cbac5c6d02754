"""One connection and the lanes on it: whether it has several, their names, and what becomes of an abandoned one.

Where an engine wants several lanes and does not know whether a server has them, a new connection is given one lane with
a name. The first answer tells. If it carries the name, more lanes are opened, and from then on a demultiplexer reads
the connection; if not, the name is left out from then on, and the connection is one like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.assignment import MAX_NAMES, spare_lanes
from triplane.core.drain import Drain
from triplane.core.errors import (
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    ProtocolViolation,
    Stalled,
)
from triplane.core.routing import what_it_tells
from triplane.protocol import without_stream_id

from .connection import Connection
from .demultiplexer import Demultiplexer
from .lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triplane.core.options import EngineOptions

    from .connection import ConnectionStatistics
    from .dial import Dialler
    from .http_connection import HttpConnection


@final
class Lanes:
    """One connection and its lanes.

    Args:
        connection: The connection; `run` runs it.
        options: `lanes_per_connection`, `drain_timeout` and the bounds of what may wait.
        has_lanes: Whether the server knows ``stream_id``; None to find out.
        on_change: Called when a lane became free or is gone.
        on_known: Called once it is known whether the server has lanes, unless it was known before; with None when that
            was wrong.
    """

    def __init__(
        self,
        connection: Connection | HttpConnection,
        options: EngineOptions,
        *,
        has_lanes: bool | None = False,
        on_change: Callable[[], None],
        on_known: Callable[[bool | None], None],
    ) -> None:
        self.connection = connection
        connection.on_retired = self.retire
        self._options = options
        self._on_change = on_change
        self._on_known = on_known
        self._lanes: list[Lane] = []
        self._names = 0
        self._demultiplexer: Demultiplexer | None = None
        self._is_probe = has_lanes is None
        self._probe: str | None = None
        self._nursery: trio.Nursery
        if has_lanes:
            self._demultiplexer = self._new_demultiplexer()
        else:
            self._add(f"lane-{self._next_name()}" if self._is_probe else None)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes)

    @property
    def is_shared(self) -> bool:
        """Whether the connection has, or can have, several lanes."""
        return self._demultiplexer is not None

    @property
    def only_lane(self) -> Lane | None:
        """Its lane, if it has one and cannot have more."""
        return self._lanes[0] if self._demultiplexer is None and self._lanes else None

    @property
    def is_in_use(self) -> bool:
        """Whether somebody waits for an answer on a lane."""
        return any(lane.state == "leased" for lane in self._lanes)

    @property
    def only_drains(self) -> bool:
        """Whether an abandoned answer is all that still comes on it."""
        states = {lane.state for lane in self._lanes}
        return "draining" in states and states <= {"draining", "free"}

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything to do with it."""
        return all(lane.state == "free" for lane in self._lanes)

    def warm_for(self) -> list[str]:
        """The fingerprints of the agents that its lanes are warmed up for, if nobody has used that up."""
        return [lane.warm_for for lane in self._lanes if lane.state == "free" and lane.warm_for is not None]

    @property
    def spare(self) -> int:
        """How many more lanes may be opened now."""
        if self._demultiplexer is None or not self.connection.is_usable:
            return 0
        return spare_lanes(
            lanes=len(self._lanes),
            unfinished=self._demultiplexer.unfinished,
            names=self._names,
            lanes_per_connection=self._options.lanes_per_connection,
        )

    @property
    def dropped(self) -> int:
        """Frames that belonged to no lane."""
        return self._demultiplexer.dropped if self._demultiplexer is not None else 0

    def statistics(self) -> ConnectionStatistics:
        """The connection's statistics, with those of its lanes."""
        return attrs.evolve(
            self.connection.statistics(),
            lanes=tuple(lane.name for lane in self._lanes),
            buffered=self._demultiplexer.buffered if self._demultiplexer is not None else 0,
            dropped=self.dropped,
        )

    def neighbours(self, lane: Lane) -> frozenset[str]:
        """The responses that lanes beside this one cache and that stay cached until somebody uses those lanes."""
        return frozenset(
            other.caches
            for other in self._lanes
            if other is not lane and other.caches is not None and other.state in ("free", "reserved")
        )

    async def run(self, dialler: Dialler, *, on_open: Callable[[], None]) -> ConnectFailed | None:
        """Run the connection from dialling to closed, and return why it could not be opened, if so."""
        failure: ConnectFailed | None = None

        def opened() -> None:
            if self._demultiplexer is not None:
                self.connection.begin_use()
                self._start_demultiplexing(self._demultiplexer)
            on_open()

        # What runs beside the connection ends by itself when that is over: it reads what came before the end.
        async with trio.open_nursery() as self._nursery:
            try:
                await self.connection.run(dialler, on_open=opened)
            except ConnectFailed as error:
                failure = error
        return failure

    def open(self) -> Lane:
        """Open one more lane; `spare` says whether there may be one."""
        assert self._demultiplexer is not None, "only a shared connection can have more lanes"
        stream_id = f"lane-{self._next_name()}"
        lane = self._add(stream_id)
        lane.inbox = self._demultiplexer.open(stream_id)
        return lane

    def retire(self) -> None:
        """Take nothing new; what is under way may end."""
        self.connection.retire()
        self._on_change()

    def close_if_retired(self) -> None:
        """A retired connection goes at the first moment at which nobody waits for an answer on it."""
        if self.connection.state == "draining" and not self.is_in_use:
            self.connection.close()

    def lose(self, lane: Lane) -> None:
        """Give up one lane of a shared connection; the others go on, and what comes for it is dropped."""
        if lane not in self._lanes:
            return
        self._lanes.remove(lane)
        if lane.state == "reserved" and lane.holder is not None:
            lane.holder.lane = None
        lane.become("lose")
        if lane.inbox is not None:
            lane.inbox.close()
        if self._names >= MAX_NAMES or not (self._lanes or self.spare):
            # It cannot be replaced: the names are used up, or so many responses count as in flight that were given up.
            # A new connection has all of both again.
            self.connection.retire()
        self._on_change()

    def lose_all(self) -> None:
        """The connection is over, and all lanes with it."""
        for lane in self._lanes:
            if lane.state == "reserved" and lane.holder is not None:
                lane.holder.lane = None
            lane.become("lose")
        self._lanes.clear()

    # Whether the server has lanes.

    def asking(self, lane: Lane, text: str, *, begins: bool) -> None:
        """Note that something is about to be sent on a lane, and whether it is a new request."""
        if begins:
            if self._is_probe:
                self._probe = text
            if lane.inbox is not None:
                lane.inbox.ask()

    def learn_from(self, frames: Sequence[str]) -> str | None:
        """Look at frames of a connection with one lane for a sign that its server has lanes, or has none.

        Returns:
            What to send instead of the request in hand, which was turned down for its name; else None.
        """
        if not self._is_probe or self._probe is None:
            return None
        tells = next(filter(None, map(what_it_tells, frames)), None)
        if tells is None:
            return None
        request = self._probe
        self.learn(has_lanes=tells == "named")
        self._on_known(tells == "named")
        return without_stream_id(request) if tells == "refused" else None

    def learn(self, *, has_lanes: bool) -> None:
        """Make the connection one that has several lanes, or one that has none; not if that was known before."""
        if not self._is_probe:
            return
        self._is_probe = False
        self._probe = None
        if not self.connection.is_usable:
            # No new lane will be wanted here, and there may be no task any more that could read for this one.
            return
        (lane,) = self._lanes
        if not has_lanes:
            lane.stream_id = None
            return
        self._demultiplexer = self._new_demultiplexer()
        assert lane.stream_id is not None, "it was given one to find out"
        lane.inbox = self._demultiplexer.open(lane.stream_id, asked=lane.owes)
        self.connection.begin_use()
        self._start_demultiplexing(self._demultiplexer)

    def hear_of(self, *, has_lanes: bool) -> None:
        """Take another connection's word for it, if nobody is finding out on this one at the moment."""
        if all(lane.state in ("free", "reserved") for lane in self._lanes):
            self.learn(has_lanes=has_lanes)

    # Abandoned lanes.

    def drain(self, lane: Lane) -> None:
        """Read off, in the background, what is still to come on a lane that was left in mid-response.

        If that is not over within `drain_timeout`, the lane is given up, or the connection if it has only this one.
        """
        lane.become("abandon")
        # Over HTTP nothing but this response is on its connection, and nothing is kept by reading it.
        if lane.has_steered or not self.connection.is_usable or self.connection.transport == "http":
            self._give_up(lane)
        else:
            self._nursery.start_soon(self._drain, lane, name=f"draining {lane.name}")

    async def _drain(self, lane: Lane) -> None:
        drain = Drain()
        try:
            with trio.move_on_after(self._options.drain_timeout):
                while not drain.is_over:
                    drain.take(await lane.receive())
        except (ConnectFailed, ConnectionLost, Stalled, ProtocolViolation, LimitReached):
            pass
        if not drain.is_clean or lane.state != "draining":
            self._give_up(lane)
            return
        lane.remember(None, ended=drain.response_ids)
        lane.end_use()
        lane.become("drained")
        self._on_change()

    def _give_up(self, lane: Lane) -> None:
        lane.poison(ConnectionLost("a response was abandoned", connection=self.connection.name))

    def _add(self, stream_id: str | None) -> Lane:
        lane = Lane(self, self._names, stream_id)
        self._lanes.append(lane)
        return lane

    def _next_name(self) -> int:
        self._names += 1
        return self._names

    def _new_demultiplexer(self) -> Demultiplexer:
        assert isinstance(self.connection, Connection), "over HTTP there is one lane"
        return Demultiplexer(
            self.connection,
            self._options,
            on_lost=self._inbox_lost,
            on_retire=self.retire,
            on_doubt=self._doubt,
        )

    def _doubt(self) -> None:
        # What one connection found out does not hold for another: the servers behind an address may differ.
        if self.connection.endpoint.lanes == "auto":
            self._on_known(None)

    def _start_demultiplexing(self, demultiplexer: Demultiplexer) -> None:
        self._nursery.start_soon(demultiplexer.run, name=f"demultiplexer of {self.connection.name}")

    def _inbox_lost(self, stream_id: str) -> None:
        for lane in self._lanes:
            if lane.stream_id == stream_id:
                self.lose(lane)
                return
