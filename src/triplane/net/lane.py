"""What a run has of the pool: a lane, and the lease by which it holds one.

A lane is a strictly sequential channel to the model. In this version a connection has one. A run owns a `Lease`,
which it reserves while its tools run and gives back at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs

from triplane.core.continuation import LaneMemory
from triplane.core.lifecycle import LaneState, next_lane_state

if TYPE_CHECKING:
    from triplane.core.errors import CloseInfo, TriplaneError
    from triplane.core.lifecycle import LaneInput

    from .connection import Connection
    from .endpoint import Endpoint
    from .pool import Pool


@attrs.frozen
class LaneStatistics:
    """One lane at one moment.

    Attributes:
        name: Its name in logs.
        connection: Its connection's name.
        state: ``"free"``, ``"leased"``, ``"reserved"`` or ``"gone"``.
        holder: Who holds it, a run's id for a run, None when it is free.
    """

    name: str
    connection: str
    state: LaneState
    holder: str | None


@final
class Lane:
    """One sequential channel on a connection, and what the server remembers there."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.state: LaneState = "free"
        self.memory = LaneMemory(connection.name)
        self.holder: Lease | None = None

    @property
    def name(self) -> str:
        """The lane's name: its connection's, since a connection has one lane."""
        return self.connection.name

    @property
    def stream_id(self) -> str | None:
        """What each ``response.create`` on this lane must carry; None on a connection's default lane."""
        return None

    @property
    def is_usable(self) -> bool:
        """Whether a new request may be sent on it."""
        return self.connection.is_usable

    async def send(self, text: str) -> None:
        """Send one request; see `Connection.send`."""
        await self.connection.send(text)

    async def receive(self) -> tuple[str, ...]:
        """The next frames of this lane, at least one; see `Connection.receive`."""
        return await self.connection.receive()

    def poison(self, fault: TriplaneError) -> None:
        """Mark what carries this lane as no longer known to be whole. Not a checkpoint."""
        self.connection.poison(fault)

    def close_info(self) -> CloseInfo:
        """How what carries this lane ended, or how it would be seen to have ended now."""
        return self.connection.close_info()

    def become(self, what: LaneInput) -> None:
        """Change the state by the table of life cycles."""
        self.state = next_lane_state(self.state, what)

    def remember(self, response_id: str | None, *, warm_for: str | None = None) -> None:
        """Note what the server now caches on this lane; None for nothing."""
        self.memory = LaneMemory(self.connection.name, response_id, warm_for)


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
        self, *, head: str | None = None, fingerprint: str | None = None, patient: bool = True
    ) -> Lane:
        """The reserved lane if it is still ours, else the next lane that becomes free. A checkpoint.

        Args:
            head: The response that the caller continues from; the lane that caches it is preferred.
            fingerprint: The caller's agent; a lane that is warmed up for it is preferred.
            patient: When a connection cannot be opened, wait for one of those that are open. Whoever holds lanes
                while waiting for another must not.

        Raises:
            LimitReached: `acquire_timeout` passed, or `max_waiters` wait already.
            ConnectFailed: No connection could be opened.
            EngineClosed: The engine is being left.
        """
        return await self._pool.acquire(self, head=head, fingerprint=fingerprint, patient=patient)

    def reserve(self) -> None:
        """Lend the lane out while it is not needed: others may take it. Not a checkpoint."""
        self._pool.reserve(self)

    def release(self) -> None:
        """Give the lane back. Idempotent. Not a checkpoint."""
        self._pool.release(self)

    def abandon(self, fault: TriplaneError) -> None:
        """Give the lane back as one whose answers may still be on their way: its connection is closed.

        Not a checkpoint.
        """
        if self.lane is not None:
            self.lane.poison(fault)
        self.release()
