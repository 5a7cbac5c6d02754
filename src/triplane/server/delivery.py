"""From a response being made to the socket: batches, waits, and the faults that strike on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, assert_never, final

import trio

from .faults import CloseSocket, Drop, ResponseFault, Stall
from .model import Wait
from .wire import Close, Socket, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .options import Shared
    from .stream import Event, ResponseStream

__all__ = ["Delivery"]

# How much of a response is made before it is sent and other tasks get their turn.
_BATCH_BYTES: Final = 32 * 1024


@final
class Delivery:
    """Sends events on one socket. Several responses may be on their way at once."""

    def __init__(self, socket: Socket, shared: Shared) -> None:
        self._socket = socket
        self._options = shared.options
        self._counters = shared.counters

    async def play(
        self, stream: ResponseStream, fault: ResponseFault | None, *, on_completed: Callable[[], None]
    ) -> None:
        """Send the events of a response as they are made, with the waits between them.

        Args:
            stream: the response.
            fault: what goes wrong with it.
            on_completed: called before the event that says so is sent.

        Raises:
            SocketClosed: the WebSocket is closing or lost, or the fault says that it is to end.
        """
        batch: list[Event] = []
        batch_bytes = 0
        for step in self._until_fault(stream.play(), fault):
            if isinstance(step, bytes):
                batch.append(step)
                batch_bytes += len(step)
                if stream.status == "completed":
                    on_completed()
                if batch_bytes < _BATCH_BYTES:
                    continue
            await self.send(batch)
            batch, batch_bytes = [], 0
            if isinstance(step, Wait):
                await trio.sleep(step.seconds)
            elif isinstance(step, (Drop, CloseSocket, Stall)):
                await self._strike(step)
        await self.send(batch)

    @staticmethod
    def _until_fault(
        steps: Iterator[Event | Wait], fault: ResponseFault | None
    ) -> Iterator[Event | Wait | ResponseFault]:
        """Yield `steps`, and `fault` once its number of events has passed. What comes after is not even made."""
        if fault is None:
            yield from steps
            return
        events = 0
        while True:
            if events == fault.after_events:
                yield fault
            step = next(steps, None)
            if step is None:
                return
            events += isinstance(step, bytes)
            yield step

    async def _strike(self, fault: ResponseFault) -> NoReturn:
        match fault:
            case Drop():
                raise SocketClosed
            case CloseSocket(code=code, reason=reason):
                raise SocketClosed(Close(code, reason))
            case Stall():
                await trio.sleep_forever()
        assert_never(fault)

    async def send(self, events: list[Event]) -> None:
        """Send each of these events, in one write.

        Raises:
            SocketClosed: the WebSocket is closing or lost.
        """
        if not events:
            return
        try:
            await self._socket.send(events)
        except SocketClosed:
            # Perhaps trio-websocket is just answering the peer's close frame; it will tell the task that receives,
            # which cancels this, when it is done.
            await trio.sleep(self._options.close_timeout)
            raise
        self._counters.events_sent += len(events)
