"""The conversation over one WebSocket: creates in, one at a time and in order; events out."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, final

import orjson
import trio

from .delivery import Delivery
from .errors import Refused
from .requests import parse_create, parse_frame
from .state import ConnectionCache, Resolved
from .store import StoredResponse
from .stream import ResponseStream
from .wire import Close, Socket, SocketClosed

if TYPE_CHECKING:
    from .options import Shared

__all__ = ["Session"]


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
        self._delivery = Delivery(socket, shared)
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
            await self._delivery.send([orjson.dumps(refused.event())])
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
        await self._delivery.play(stream, fault, on_completed=partial(self._commit, stream, resolved))

    def _commit(self, stream: ResponseStream, resolved: Resolved) -> None:
        """Make the response known before its last event is sent: a client may continue as soon as it has read it."""
        create = resolved.create
        conversation = resolved.conversation.extended(stream.output, len(orjson.dumps(stream.output)))
        ended = StoredResponse(conversation, stream.response, create.items)
        self._cache.commit(stream.id, ended, store=create.store)
        self._counters.responses_completed += 1
        self._counters.turns += create.generate
