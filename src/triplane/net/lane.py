"""What a run has of the pool: a lane, and the lease by which it holds one.

A lane is a strictly sequential channel to the model. Where a connection has one lane, whoever holds it reads the
connection itself; where it has several, the demultiplexer reads and each lane has an inbox. Holders see no difference.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, final

import attrs
import trio

from triplane.core.continuation import LaneMemory
from triplane.core.errors import ConnectionLost
from triplane.core.lifecycle import LaneState, next_lane_state
from triplane.core.unasked import repeats_what_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from triplane.core.errors import CloseInfo, TriplaneError
    from triplane.core.lifecycle import LaneInput
    from triplane.core.transport import Transport

    from .demultiplexer import Inbox
    from .endpoint import Endpoint
    from .lanes import Lanes
    from .pool import Pool

_BEGINS: Final = '"response.created"'


@attrs.frozen
class Pulse:
    """Whether the peer of a lane is there at all.

    Attributes:
        silence: Seconds since anything at all came from it, 0 while it is we who do not read; None where nothing tells
            a peer that is gone from one that has nothing to say.
        round_trip: Seconds that the latest ping took, None before the first.
    """

    silence: float | None
    round_trip: float | None


@final
class Lane:
    """One sequential channel on a connection, and what the server remembers there. Made by `Lanes`.

    Attributes:
        lanes: All lanes of its connection.
        state: Its state, by the table of life cycles.
        holder: Who holds it.
        stream_id: What each ``response.create`` on it must carry; None on a connection's default lane.
        inbox: Where its frames arrive when its connection has several lanes, else None.
        requests: Messages sent on it.
        owes: Whether a request was sent on it whose answer has not been read to its end.
        has_steered: Whether that request was steered, so that what ends its answer cannot be told from outside.
    """

    def __init__(self, lanes: Lanes, number: int, stream_id: str | None) -> None:
        self.lanes = lanes
        self.state: LaneState = "free"
        self.holder: Lease | None = None
        self.stream_id = stream_id
        self.inbox: Inbox | None = None
        self.requests = 0
        self.owes = False
        self.has_steered = False
        # The responses of the answer before, whose end may come once more, until the next one has begun.
        self._ended: frozenset[str] = frozenset()
        self._heard_at: float | None = None
        self._number = number
        self._connection = lanes.connection
        self._memory = LaneMemory(self._connection.name, keeps=self._connection.transport != "http")

    @property
    def name(self) -> str:
        """Its name in logs: its connection's where it is the only lane, else like ``c1/2``."""
        return self._connection.name if self.stream_id is None else f"{self._connection.name}/{self._number}"

    @property
    def connection_name(self) -> str:
        """The name of its connection."""
        return self._connection.name

    @property
    def transport(self) -> Transport:
        """By which transport its requests go."""
        return self._connection.transport

    @property
    def is_usable(self) -> bool:
        """Whether a new request may be sent on it."""
        return self.state != "gone" and self._connection.is_usable

    @property
    def is_duplex(self) -> bool:
        """Whether something can be said on it while an answer is being read: not over HTTP."""
        return self.transport == "websocket"

    @property
    def is_shared(self) -> bool:
        """Whether other lanes are on its connection, so that whoever does not read it holds nothing up.

        Not reading any other lane makes the server wait, once the buffers on the way are full.
        """
        return self.inbox is not None

    @property
    def memory(self) -> LaneMemory:
        """What the server remembers here and on the lanes beside it. Costs the number of lanes."""
        neighbours = self.lanes.neighbours(self)
        return attrs.evolve(self._memory, neighbours=neighbours) if neighbours else self._memory

    @property
    def caches(self) -> str | None:
        """The latest response on it, as far as the server still has that; else None."""
        return self._memory.response_id

    @property
    def warm_for(self) -> str | None:
        """The fingerprint of the agent that `caches` is a warm-up for, else None."""
        return self._memory.warm_for

    async def send(self, text: str) -> None:
        """Send one message: a request, or something for the response that is being made.

        See `Connection.send`, where another task may be in `receive` meanwhile, and `HttpConnection.send`.

        Raises:
            ConnectFailed: Over HTTP, where connections come and go: none could be opened, and nothing was sent.
            ConnectionLost: The lane is gone, with its connection or without it; nothing was sent.
            Stalled: The peer did not take the bytes within `send_timeout`.
        """
        if self.state == "gone":
            raise self._lost()
        before = self.owes, self.has_steered
        self.owes, self.has_steered = True, self.owes
        self.lanes.asking(self, text, begins=not before[0])
        sent = False
        try:
            await self._connection.send(text)
            sent = True
            self.requests += 1
        finally:
            # Whatever cuts a message short poisons; so here not one byte of it has gone.
            if not sent and self._connection.fault is None:
                self.owes, self.has_steered = before
                if not self.owes and self.inbox is not None:
                    self.inbox.settle()

    async def receive(self) -> tuple[str, ...]:
        """The next frames of this lane, at least one. A checkpoint; cancelling it loses nothing.

        What a server says once more of the response before is left out: to another run, which does not know that one's
        id, it would be the answer to what it has asked.

        Raises:
            ConnectionLost: The connection is over and everything received has been read; or the lane is gone.
            Stalled: The heartbeat found the peer dead.
            ProtocolViolation: A message of the connection cannot be read.
            LimitReached: On a shared connection, more was waiting here than may wait (`max_lane_buffer` or
                `max_connection_buffer`), so this lane was given up.
            trio.BusyResourceError: Another task is receiving.
        """
        while not (frames := self._without_repetitions(await self._receive())):
            pass
        return frames

    async def _receive(self) -> tuple[str, ...]:
        if self.inbox is not None:
            frames = await self.inbox.receive()
            self._heard_at = trio.current_time()
            return frames
        while True:
            frames = await self._connection.receive()
            self._heard_at = trio.current_time()
            request = self.lanes.learn_from(frames)
            if request is None or self.state == "draining":
                return frames
            # It was turned down for the lane's name: the model has not seen it, and its holder still wants it.
            await self._connection.send(request)

    def _without_repetitions(self, frames: tuple[str, ...]) -> tuple[str, ...]:
        if not self._ended:
            return frames
        kept = tuple(frame for frame in frames if not repeats_what_ended(frame, self._ended))
        if any(_BEGINS in frame for frame in kept):
            # From here on whoever reads can tell by its id. It may be the same one.
            self._ended = frozenset()
        return kept

    def since_event(self) -> float | None:
        """Seconds since something came on it, None before the first."""
        return None if self._heard_at is None else trio.current_time() - self._heard_at

    def pulse(self) -> Pulse:
        """What is known of the peer now."""
        if self.transport == "http":
            # There are no pings.
            return Pulse(None, None)
        connection = self._connection.statistics()
        return Pulse(connection.silence, connection.round_trip)

    def poison(self, fault: TriplaneError) -> None:
        """Give up what is no longer known to be whole: this lane, and its connection unless others use that too.

        Not a checkpoint.
        """
        if self.is_shared:
            self.lanes.lose(self)
        else:
            self._connection.poison(fault)

    def close_info(self) -> CloseInfo:
        """How what carries this lane ended, or how it would be seen to have ended now."""
        close = self._connection.close_info()
        in_order = self._connection.fault is None or (close.code, close.by) == (1000, "us")
        if self._connection.is_retired and in_order and not close.reason:
            return attrs.evolve(close, reason="it made way for a younger connection")
        return close

    def become(self, what: LaneInput) -> None:
        """Change the state by the table of life cycles. For the pool."""
        self.state = next_lane_state(self.state, what)

    def begin_use(self) -> None:
        """From now on its holder reads. For the pool."""
        if self.inbox is None:
            self._connection.begin_use()

    def end_use(self) -> None:
        """Its holder has read everything it had asked for. For the pool."""
        if self.inbox is None:
            self._connection.end_use()

    def remember(
        self, response_id: str | None, *, ended: Iterable[str | None] = (), warm_for: str | None = None
    ) -> None:
        """Note that the answer to the request in hand has been read to its end, and what the server now caches here.

        Over HTTP it never caches anything. Not a checkpoint.

        Args:
            response_id: The response that it caches; None for none.
            ended: The responses that the answer was made of, whatever became of them, as far as they had ids.
            warm_for: The agent that the response is a warm-up for.
        """
        if self._memory.keeps:
            self._memory = LaneMemory(self._connection.name, response_id, warm_for)
        self._ended = frozenset(filter(None, ended))
        self.owes = self.has_steered = False
        if self.inbox is not None:
            self.inbox.settle()

    def _lost(self) -> TriplaneError:
        if self._connection.is_usable:
            return ConnectionLost(
                "this lane of the connection was given up", connection=self._connection.name
            )
        return self._connection.verdict()


@final
class Lease:
    """The use of a lane by one holder.

    `lane` is the lane in hand, or None when there is none: before the first `acquire`, after `release`, and after
    somebody who waited took the reserved lane or its connection died.
    """

    def __init__(self, pool: Pool, endpoint: Endpoint, label: str) -> None:
        self._pool = pool
        self.endpoint = endpoint
        self.label = label
        self.lane: Lane | None = None

    async def acquire(
        self,
        *,
        head: str | None = None,
        fingerprint: str | None = None,
        near: str | None = None,
        patient: bool = True,
    ) -> Lane:
        """The reserved lane if it is still ours, else the next lane that becomes free. A checkpoint.

        Args:
            head: The response that the caller continues from; the lane that caches it is preferred.
            fingerprint: The caller's agent; a lane that is warmed up for it is preferred.
            near: A response that the caller forks from; another lane of the connection that caches it is preferred.
            patient: When a connection cannot be opened, wait for one of those that are open. Whoever holds lanes
                while waiting for another must not.

        Raises:
            LimitReached: `acquire_timeout` passed, or `max_waiters` wait already.
            ConnectFailed: No connection could be opened.
            EngineClosed: The engine is being left.
        """
        return await self._pool.acquire(self, head=head, fingerprint=fingerprint, near=near, patient=patient)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for a lane and no connection is being opened that would have one."""
        return self._pool.place_of(self).starves

    @contextmanager
    def when_wanted(self, tell: Callable[[], object]) -> Iterator[None]:
        """Within the block, call `tell` whenever `is_wanted` may have become true. Not a checkpoint."""
        held_up = self._pool.place_of(self).held_up
        held_up.add(tell)
        try:
            yield
        finally:
            held_up.discard(tell)

    def reserve(self) -> None:
        """Lend the lane out while it is not needed: others may take it. Idempotent. Not a checkpoint."""
        self._pool.reserve(self)

    def release(self) -> None:
        """Give the lane back. Idempotent. Not a checkpoint.

        If it still owes an answer, that is read to its end in the background, for `drain_timeout` at most, before
        somebody else gets the lane.
        """
        self._pool.release(self)

    def abandon(self, fault: TriplaneError) -> None:
        """Give the lane back as one that nobody may use again; see `Lane.poison`. Not a checkpoint."""
        if self.lane is not None:
            self.lane.poison(fault)
        self.release()
