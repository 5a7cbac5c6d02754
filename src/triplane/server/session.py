"""The conversation over one WebSocket: creates in, one at a time and in order; events out."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn, assert_never, final

import orjson
import trio

from .errors import Refused
from .faults import CloseSocket, Drop, ResponseFault, Stall
from .model import Wait
from .requests import parse_create, parse_frame
from .state import ConnectionCache, Resolved
from .store import StoredResponse
from .stream import Event, ResponseStream
from .wire import Close, Socket, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .options import Shared

__all__ = ["Session"]

# How much of a response is made before it is sent and other tasks get their turn.
_BATCH_BYTES: Final = 32 * 1024


@final
class _Queue:
    """Messages that wait for their turn, bounded by their size and not by their number."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._messages: deque[str | bytes] = deque()
        self._changed = trio.Event()

    async def _wait_changed(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()

    async def put(self, message: str | bytes) -> None:
        """Append `message`; wait while the queue is over its size."""
        self._messages.append(message)
        self._size += len(message)
        self._changed.set()
        while self._size > self._max_size:
            await self._wait_changed()

    async def get(self) -> str | bytes:
        """Remove the oldest message; wait for one."""
        while not self._messages:
            await self._wait_changed()
        message = self._messages.popleft()
        self._size -= len(message)
        self._changed.set()
        return message


@final
class Session:
    """Answers the requests of one WebSocket until either side ends it."""

    def __init__(self, socket: Socket, shared: Shared) -> None:
        self._socket = socket
        self._shared = shared
        self._options = shared.options
        self._counters = shared.counters
        self._cache = ConnectionCache(shared.store)
        self._close = Close(None)

    async def run(self) -> Close:
        """Answer requests until the client closes or goes away, or a fault strikes. Returns how to close.

        Reading goes on while a response is being sent, so a client that leaves is noticed at once and its response
        is dropped.
        """
        queue = _Queue(self._options.max_queued_bytes)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, queue, nursery.cancel_scope)
            try:
                while True:
                    await self._answer(await queue.get())
            except SocketClosed as closed:
                self._close = closed.close
            nursery.cancel_scope.cancel()
        return self._close

    async def _receive(self, queue: _Queue, session_scope: trio.CancelScope) -> None:
        try:
            while True:
                message = await self._socket.receive()
                self._counters.requests += 1
                await queue.put(message)
        except SocketClosed as closed:
            self._close = closed.close
            session_scope.cancel()

    async def _answer(self, message: str | bytes) -> None:
        try:
            frame = parse_frame(message)
            try:
                create = parse_create(frame, warm_up=self._options.warm_up == "accept")
                model = self._options.catalog.pick(create.model)
                resolved = self._cache.resolve(create)
            except Refused:
                self._cache.evict(frame.get("previous_response_id"))
                raise
        except Refused as refused:
            self._counters.requests_refused += 1
            await self._send([orjson.dumps(refused.event())])
            return
        stream = ResponseStream(
            resolved,
            model,
            ids=self._shared.ids,
            now=self._shared.now,
            delta_delay=self._options.delta_delay,
        )
        self._counters.responses_created += 1
        fault = self._options.faults.of_response(self._counters.responses_created)
        if self._options.latency:
            await trio.sleep(self._options.latency)
        await self._send_response(stream, resolved, fault)

    async def _send_response(
        self, stream: ResponseStream, resolved: Resolved, fault: ResponseFault | None
    ) -> None:
        batch: list[Event] = []
        batch_bytes = 0
        for step in self._until_fault(stream.play(), fault):
            if isinstance(step, bytes):
                batch.append(step)
                batch_bytes += len(step)
                if stream.status == "completed":
                    self._commit(stream, resolved)
                if batch_bytes < _BATCH_BYTES:
                    continue
            await self._send(batch)
            batch, batch_bytes = [], 0
            if isinstance(step, Wait):
                await trio.sleep(step.seconds)
            elif isinstance(step, (Drop, CloseSocket, Stall)):
                await self._strike(step)
        await self._send(batch)

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

    def _commit(self, stream: ResponseStream, resolved: Resolved) -> None:
        """Make the response known before its last event is sent: a client may continue as soon as it has read it."""
        create = resolved.create
        conversation = resolved.conversation.extended(stream.output, len(orjson.dumps(stream.output)))
        ended = StoredResponse(conversation, stream.response, create.items)
        self._cache.commit(stream.id, ended, store=create.store)
        self._counters.responses_completed += 1
        self._counters.turns += create.generate

    async def _send(self, events: list[Event]) -> None:
        if not events:
            return
        try:
            await self._socket.send(events)
        except SocketClosed:
            # Perhaps trio-websocket is just answering the peer's close frame; it will tell `_receive`, which
            # cancels this, when it is done.
            await trio.sleep(self._options.close_timeout)
            raise
        self._counters.events_sent += len(events)
