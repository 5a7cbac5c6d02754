"""The one reader of a connection with several lanes, and the inbox of each.

It never waits for a lane: `core.routing` says what becomes of frames that nobody takes. So a lane that is not read
delays neither its neighbours nor the answers to pings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import (
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    ProtocolViolation,
    Receipt,
    Stalled,
    TriplaneError,
)
from triplane.core.routing import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.core.options import EngineOptions
    from triplane.core.routing import Mailbox

    from .connection import Connection


@final
class Demultiplexer:
    """Reads a connection for all its lanes.

    Args:
        connection: What to read, from `run` on by nobody else.
        options: The bounds of what may wait.
        on_lost: Called with the ``stream_id`` of a lane that can no longer be used.
        on_retire: Called when the server has said that it takes nothing new on the connection.
        on_doubt: Called when the server turns out to have no lanes; the connection is over then.
    """

    def __init__(
        self,
        connection: Connection,
        options: EngineOptions,
        *,
        on_lost: Callable[[str], None],
        on_retire: Callable[[], None],
        on_doubt: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._options = options
        self._on_lost = on_lost
        self._on_retire = on_retire
        self._on_doubt = on_doubt
        self._router = Router(
            slow_lane=options.slow_lane,
            lane_limit=options.max_lane_buffer,
            limit=options.max_connection_buffer,
        )
        self._inboxes: dict[Mailbox, Inbox] = {}
        self._ended = False

    @property
    def dropped(self) -> int:
        """Frames that were given to nobody."""
        return self._router.dropped

    @property
    def buffered(self) -> int:
        """Bytes that wait for their lanes' holders."""
        return self._router.size

    @property
    def unfinished(self) -> int:
        """Lanes that were given up in mid-response and whose response the server has not ended yet."""
        return self._router.unfinished

    def open(self, stream_id: str, *, asked: bool = False) -> Inbox:
        """The inbox of a new lane.

        Args:
            stream_id: The lane's name.
            asked: Whether an answer is expected on it, of which some has come already.
        """
        mailbox = self._router.open(stream_id, asked=asked)
        inbox = self._inboxes[mailbox] = Inbox(self, self._router, mailbox)
        return inbox

    async def run(self) -> None:
        """Read until the connection is over and everything that had come is sorted. Nothing but bugs raises."""
        try:
            while True:
                for frame in await self._connection.receive():
                    for mailbox in self._router.route(frame):
                        self._deliver(mailbox)
                if self._router.retire and self._connection.is_usable:
                    self._on_retire()
        except (ConnectFailed, ConnectionLost, Stalled):
            pass
        except ProtocolViolation as violation:
            if self._router.lacks_lanes:
                self._on_doubt()
            self._connection.poison(violation)
        finally:
            self._ended = True
            for inbox in self._inboxes.values():
                inbox.wake()

    def end_of(self, mailbox: Mailbox) -> TriplaneError | None:
        """Why nothing more can come for a lane, else None."""
        if mailbox.fault == "overflow":
            which = "max_lane_buffer" if self._options.slow_lane == "fail" else "max_connection_buffer"
            limit = getattr(self._options, which)
            return LimitReached(
                f"more than {which}={limit:,} bytes were waiting for the reader of one lane; read faster, raise the"
                " option, or use connections of one lane, where the server waits instead",
                which=which,
                limit=limit,
                receipt=Receipt(sent="accepted", next="resume"),
            )
        if mailbox not in self._inboxes:
            return ConnectionLost(
                "this lane of the connection was given up", connection=self._connection.name
            )
        if not self._ended:
            return None
        fault = self._connection.fault
        return fault.again() if isinstance(fault, ProtocolViolation) else self._connection.verdict()

    def close(self, mailbox: Mailbox) -> None:
        """See `Inbox.close`."""
        self._router.close(mailbox)
        inbox = self._inboxes.pop(mailbox, None)
        if inbox is not None:
            inbox.wake()

    def _deliver(self, mailbox: Mailbox) -> None:
        if mailbox.fault is not None:
            self._on_lost(mailbox.stream_id)
        else:
            self._inboxes[mailbox].wake()


@final
class Inbox:
    """Where one lane's frames arrive."""

    def __init__(self, demultiplexer: Demultiplexer, router: Router, mailbox: Mailbox) -> None:
        self._demultiplexer = demultiplexer
        self._router = router
        self._mailbox = mailbox
        self._arrived = trio.Event()
        self._receiving = False

    async def receive(self) -> tuple[str, ...]:
        """All frames that wait, at least one; see `Lane.receive`."""
        if self._receiving:
            raise trio.BusyResourceError(f"another task is receiving on {self._mailbox.stream_id}")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while not self._mailbox.frames:
                end = self._demultiplexer.end_of(self._mailbox)
                if end is not None:
                    raise end
                self._arrived = trio.Event()
                await self._arrived.wait()
        finally:
            self._receiving = False
        # No checkpoint from here to the caller: what was taken cannot be lost to a cancellation.
        return self._router.take(self._mailbox)

    def wake(self) -> None:
        """Let `receive` look again."""
        self._arrived.set()

    def ask(self) -> None:
        """An answer is expected from now on."""
        self._router.ask(self._mailbox)

    def settle(self) -> None:
        """Nothing is expected any more; what is left is dropped."""
        self._router.settle(self._mailbox)

    def close(self) -> None:
        """Drop what has come and what will come, and tell whoever waits that the lane is gone."""
        self._demultiplexer.close(self._mailbox)
