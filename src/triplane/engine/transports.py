"""By which transport a holder's requests go: a lease of a WebSocket's lane, or of one over HTTP, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import ConnectFailed
from triplane.core.remembered import Remembered
from triplane.core.transport import Transport, TransportMemory, TransportReason, TransportSetting

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from triplane.core.errors import TriplaneError
    from triplane.core.options import EngineOptions
    from triplane.net.endpoint import Endpoint
    from triplane.net.lane import Lane, Lease
    from triplane.net.pool import Pool


@final
class Routes:
    """Makes leases, and remembers for each endpoint what was learned about its transports."""

    def __init__(self, pool: Pool, options: EngineOptions) -> None:
        self._pool = pool
        self._options = options
        self._memories: Remembered[Endpoint, TransportMemory] = Remembered(
            lambda _endpoint: TransportMemory()
        )

    def lease(self, endpoint: Endpoint, label: str, transport: TransportSetting | None = None) -> RoutedLease:
        """A lease that holds no lane yet.

        Args:
            endpoint: Where.
            label: Whom it is for, shown in statistics.
            transport: By which transport, else as the endpoint says.
        """
        memory = self._memories[endpoint.over("websocket")]
        setting = transport or endpoint.transport
        return RoutedLease(self._pool, endpoint, setting, label, memory, self._options)


@final
class RoutedLease:
    """The use of a lane by one holder, by whichever transport; what can be done with it is what a `Lease` can do.

    Args:
        pool: Where lanes come from.
        endpoint: Whose lanes.
        setting: Which transport; ``"auto"`` leaves it open.
        label: Whom it is for.
        memory: What is known of the endpoint's transports.
        options: `max_request_size` and `websocket_retry_interval`.

    Attributes:
        reason: Why the lane in hand, or the last one, does not go by the transport of the one before.
    """

    def __init__(
        self,
        pool: Pool,
        endpoint: Endpoint,
        setting: TransportSetting,
        label: str,
        memory: TransportMemory,
        options: EngineOptions,
    ) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._setting = setting
        self._label = label
        self._memory = memory
        self._options = options
        self._lease: Lease = pool.lease(endpoint.over(self.usual), label)
        self.reason: TransportReason = "configured"

    @property
    def endpoint(self) -> Endpoint:
        """Where, whatever the transport."""
        return self._endpoint

    @property
    def usual(self) -> Transport:
        """By which transport requests go unless there is a reason."""
        return "http" if self._setting == "http" else "websocket"

    @property
    def is_open(self) -> bool:
        """Whether the transport is left open."""
        return self._setting == "auto"

    @property
    def lane(self) -> Lane | None:
        """The lane in hand; see `Lease`."""
        return self._lease.lane

    async def acquire(
        self,
        *,
        head: str | None = None,
        fingerprint: str | None = None,
        near: str | None = None,
        patient: bool = True,
        too_large: bool = False,
    ) -> Lane:
        """The next lane, by the transport that is right now; see `Lease.acquire`.

        Args:
            head: See there.
            fingerprint: See there.
            near: See there.
            patient: See there.
            too_large: Whether what is to be sent is too large for a WebSocket.

        Raises:
            LimitReached: See there.
            ConnectFailed: See there.
            EngineClosed: See there.
        """
        if self.is_open and not too_large:
            lane = await self._acquire_websocket(head, fingerprint, near, patient=patient)
            if lane is not None:
                return lane
        if self.is_open:
            self._switch("http", "request_too_large" if too_large else "websocket_unsupported")
        return await self._lease.acquire(head=head, fingerprint=fingerprint, near=near, patient=patient)

    async def _acquire_websocket(
        self, head: str | None, fingerprint: str | None, near: str | None, *, patient: bool
    ) -> Lane | None:
        """A lane of a WebSocket, or None where there is none. Not always a checkpoint."""
        lane = self._lease.lane
        holds_one = lane is not None and lane.transport == "websocket" and lane.is_usable
        if not holds_one and self._memory.choose(trio.current_time()) == "http":
            return None
        self._switch("websocket", "websocket_again")
        try:
            lane = await self._lease.acquire(head=head, fingerprint=fingerprint, near=near, patient=patient)
        except ConnectFailed as failure:
            interval = self._options.websocket_retry_interval
            if self._memory.note_failure(failure, trio.current_time(), interval):
                return None
            raise
        if not holds_one:
            self._memory.note_open()
        return lane

    def _switch(self, transport: Transport, reason: TransportReason) -> None:
        self.reason = reason
        if self._lease.endpoint.transport != transport:
            self._lease.release()
            self._lease = self._pool.lease(self._endpoint.over(transport), self._label)

    def fits(self, size: int) -> bool:
        """Whether a request of so many bytes can go over the lane in hand."""
        if self._lease.endpoint.transport == "http":
            return True
        limit = self._options.max_request_size
        return self._memory.fits(size, limit) if self.is_open else size <= limit

    def note_refused(self, size: int) -> None:
        """Take note that the server closed a WebSocket because a request of so many bytes was too large."""
        self._memory.note_refused(size)

    @property
    def is_wanted(self) -> bool:
        """See `Lease.is_wanted`."""
        return self._lease.is_wanted

    def when_wanted(self, tell: Callable[[], object]) -> AbstractContextManager[None]:
        """See `Lease.when_wanted`."""
        return self._lease.when_wanted(tell)

    def reserve(self) -> None:
        """See `Lease.reserve`."""
        self._lease.reserve()

    def release(self) -> None:
        """See `Lease.release`."""
        self._lease.release()

    def abandon(self, fault: TriplaneError) -> None:
        """See `Lease.abandon`."""
        self._lease.abandon(fault)
