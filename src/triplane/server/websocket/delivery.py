"""From a response being made to the socket: batches, waits, and the faults that strike on the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, final

import trio

from triplane.server.faults.catalogue import (
    CloseSocket,
    Drop,
    ErrorEvent,
    HalfOpen,
    PingStorm,
    Reset,
    ResponseFault,
    Stall,
    Strike,
)
from triplane.server.faults.mischief import Act, Message, afflicted
from triplane.server.model import Wait

from .frames import BINARY, PING, TEXT, fragments, frame, text_frames
from .wire import Close, Socket, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from triplane.server.faults.mischief import Step
    from triplane.server.options import Shared
    from triplane.server.stream import Event, ResponseStream

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
        self,
        stream: ResponseStream,
        faults: Sequence[ResponseFault],
        *,
        on_completed: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    ) -> bool:
        """Send the events of a response as they are made, with the waits between them.

        Args:
            stream: the response.
            faults: what goes wrong with it.
            on_completed: called before the event is sent that ends the response so that it can be continued.
            sleep: how to wait where the response wants to.

        Returns:
            False if a fault ended the response by an `error` event, which was sent; otherwise True.

        Raises:
            SocketClosed: the WebSocket is closing or lost, or the fault says that it is to end.
        """
        completed = False

        def complete() -> None:
            nonlocal completed
            if not completed:
                completed = True
                on_completed()

        steps: Iterator[Step] = stream.play()
        if faults:
            steps = afflicted(steps, faults, lane=stream.stream_id)
        ended_well = await self._play(steps, stream, complete, sleep)
        if stream.continuable and ended_well:
            # A fault may have left out the event that says so.
            complete()
        return ended_well

    async def _play(
        self,
        steps: Iterator[Step],
        stream: ResponseStream,
        complete: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> bool:
        batch: list[Event] = []
        batch_bytes = 0
        for step in steps:
            if isinstance(step, bytes):
                if stream.continuable:
                    complete()
                batch.append(step)
                batch_bytes += len(step)
                if batch_bytes < _BATCH_BYTES:
                    continue
            await self.send(batch)
            batch, batch_bytes = [], 0
            match step:
                case Wait():
                    await sleep(step.seconds)
                case Message():
                    if step.counts and stream.continuable:
                        complete()
                    await self._send_message(step)
                case Strike():
                    rest = afflicted(steps, (step.fault,), lane=stream.stream_id)
                    return await self._play(rest, stream, complete, sleep)
                case ErrorEvent():
                    return False
                case bytes():
                    pass
                case _:
                    await self._act(step)
        await self.send(batch)
        return True

    async def _send_message(self, message: Message) -> None:
        if (recorder := self._socket.recorder) is not None and message.keep is None:
            recorder.sent([message.data])
        opcode = BINARY if message.binary else TEXT
        if message.fragment is None:
            data = frame(opcode, message.data)
        else:
            data = fragments(opcode, message.data, message.fragment, pings=message.pings)
        if message.keep is not None:
            data = data[: min(message.keep or len(data) // 2, len(data) - 1)]
        await self._send(data)
        self._counters.events_sent += message.keep is None

    async def _act(self, act: Act) -> None:
        match act:
            case Drop():
                raise SocketClosed
            case Reset():
                self._socket.prepare_reset()
                raise SocketClosed
            case CloseSocket(code=code, reason=reason):
                raise SocketClosed(Close(code, reason))
            case Stall(seconds=seconds):
                await trio.sleep(math.inf if seconds is None else seconds)
            case HalfOpen():
                self._socket.mute()
                await trio.sleep_forever()
            case PingStorm(pings=pings):
                await self._send(frame(PING, b"") * pings)
            case _:
                raise AssertionError(f"nothing to do for {act!r}")

    async def send(self, events: list[Event]) -> None:
        """Send each of these events, in one write.

        Raises:
            SocketClosed: the WebSocket is closing or lost.
        """
        if not events:
            return
        if (recorder := self._socket.recorder) is not None:
            # What orjson returns keeps the room in which it was written, several kilobytes: no matter for an event that
            # is sent and forgotten, but a journal of them would be ten times its size.
            recorder.sent(b"".join((event, b"")) for event in events)
        # The frames are made here and not by trio-websocket: one write for a batch of events instead of a lock, a
        # write and a trip through the scheduler for each of them.
        await self._send(text_frames(events))
        self._counters.events_sent += len(events)

    async def _send(self, data: bytes | bytearray) -> None:
        try:
            await self._socket.send(data)
        except SocketClosed:
            # Perhaps trio-websocket is just answering the peer's close frame; it will tell the task that receives,
            # which cancels this, when it is done.
            await self._socket.wait_close_not_held()
            await trio.sleep(self._options.close_timeout)
            raise
