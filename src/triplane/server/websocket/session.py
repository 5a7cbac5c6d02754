"""The conversation over one WebSocket: creates in; on each lane, one response after the other out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import orjson
import trio

from triplane.server.errors import Refused, busy
from triplane.server.requests import parse_create, parse_frame
from triplane.server.store import StoredResponse
from triplane.server.stream import ResponseStream

from .delivery import Delivery
from .inject import BETA, MALFORMED, check_inject, parse_inject
from .lanes import Backlog, Lane, Lanes, WaitingCreate
from .lifetime import Lifetime
from .required import required_input
from .responses import Ended, Responses, Running
from .state import ConnectionCache
from .steering import SteerFailed, parse_steer, steer_failure
from .wire import Close, Socket, SocketClosed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from triplane.server.options import Shared
    from triplane.server.requests import Create

    from .inject import Inject

__all__ = ["Session"]

_NOT_CREATED: Final = "successor_creation_failed"


@final
class Session:
    """Answers the requests of one WebSocket until either side ends it.

    One task reads and answers what needs no lane; each lane has a task that makes its responses. All of them send,
    and what is sent first is on the wire first.

    Args:
        socket: the WebSocket.
        shared: what the server's connections have in common.
        betas: what the `OpenAI-Beta` header of the upgrade asked for.
    """

    def __init__(self, socket: Socket, shared: Shared, *, betas: Collection[str] = ()) -> None:
        options = shared.options
        self._socket = socket
        self._shared = shared
        self._options = options
        self._dialect = dialect = options.dialect
        self._counters = shared.counters
        kinds = {
            "response.create": True,
            "response.steer": dialect.steering,
            "response.inject": dialect.inject and BETA in betas,
        }
        self._kinds = tuple(kind for kind, known in kinds.items() if known)
        self._cache = ConnectionCache(shared.store, shared.conversations)
        self._delivery = Delivery(socket, shared)
        self._lanes = Lanes(options.max_lanes)
        self._workers: set[Lane] = set()
        self._backlog = Backlog(options.max_queued_bytes)
        self._slots = trio.Semaphore(options.max_in_flight, max_value=options.max_in_flight)
        self._in_flight = 0
        self._responses = Responses()
        self._lifetime = Lifetime(
            trio.current_time(), options.age_limit, options.on_max_age, options.max_age_close_code
        )
        self._nursery: trio.Nursery
        self._close: Close | None = None

    async def run(self) -> Close:
        """Answer requests until the client closes or goes away, the age limit or a fault ends it.

        Reading goes on while responses are being sent, so a client that leaves is noticed at once and its responses
        are dropped.

        Returns:
            How to close.
        """
        async with trio.open_nursery() as self._nursery:
            try:
                while True:
                    await self._receive()
            except SocketClosed as closed:
                await self._end(closed.close)
        return self._close or Close(None)

    async def _end(self, close: Close) -> None:
        """End the session; the first who does so says how."""
        if self._close is not None:
            return
        self._close = close
        if close.code is not None:
            # A frame that was cut short would be the last.
            with trio.move_on_after(self._options.close_timeout):
                async with self._socket.between_writes():
                    self._nursery.cancel_scope.cancel()
        self._nursery.cancel_scope.cancel()

    # What the client sends.

    async def _receive(self) -> None:
        message: str | bytes | None = None
        with trio.CancelScope(deadline=self._lifetime.deadline):
            message = await self._socket.receive()
        if message is None:
            self._lifetime.over = True
            await self._keep_age_limit()
            return
        self._counters.requests += 1
        try:
            frame = parse_frame(message, self._kinds)
            if frame["type"] == "response.create":
                await self._queue(message, frame)
            elif frame["type"] == "response.steer":
                await self._steer(frame)
            else:
                await self._inject(frame)
        except Refused as refused:
            await self._refuse(refused)

    async def _queue(self, message: str | bytes, frame: Mapping[str, Any]) -> None:
        stream_id = frame.get("stream_id") if self._dialect.lanes else None
        try:
            lane = self._lanes.of(stream_id)
        except Refused as refused:
            # The name that was one too many is a name all the same.
            await self._refuse(refused, stream_id)
            return
        if not self._dialect.queues and any(lane.busy for lane in self._lanes):
            raise busy()
        create = WaitingCreate(message, frame if lane.idle else None, frame.get("previous_response_id"))
        lane.put(create)
        if lane not in self._workers:
            self._workers.add(lane)
            self._nursery.start_soon(self._work, lane)
        self._backlog.grow(message)
        await self._backlog.wait_fits()

    async def _refuse(self, refused: Refused, stream_id: str | None = None) -> None:
        self._counters.requests_refused += 1
        event = refused.event(stream_id=stream_id, untyped=self._dialect.untyped)
        await self._delivery.send([orjson.dumps(event)])

    async def _keep_age_limit(self) -> None:
        while (due := self._lifetime.due(self._in_flight)) is not None:
            if isinstance(due, Close):
                raise SocketClosed(due)
            await self._refuse(due)

    # Lanes.

    async def _work(self, lane: Lane) -> None:
        try:
            while True:
                create = await lane.get()
                try:
                    self._slots.acquire_nowait()
                except trio.WouldBlock:
                    await self._slots.acquire()
                self._backlog.shrink(create.message)
                self._in_flight += 1
                try:
                    await self._answer(create, lane)
                finally:
                    self._in_flight -= 1
                    self._slots.release()
                if self._lifetime.over:
                    await self._keep_age_limit()
        except SocketClosed as closed:
            await self._end(closed.close)

    async def _answer(self, waiting: WaitingCreate, lane: Lane) -> None:
        held = lane.held
        try:
            running: Running | None = self._start(waiting, lane)
        except Refused as refused:
            self._cache.evict(waiting.parent, lane=lane.name)
            await self._refuse(refused, lane.name)
            if held is not None and not self._cache.knows(held.stream.id):
                lane.held = None
                await self._hand_back(held, "The response can no longer be continued.")
            return
        if held is not None:
            lane.held = None
            if waiting.parent != held.stream.id:
                await self._hand_back(held, "The lane went on without continuing the response.")
        while running is not None:
            await self._play(running)
            running = await self._succeed(running)

    def _start(self, waiting: WaitingCreate, lane: Lane) -> Running:
        self._lifetime.check()
        frame = waiting.frame if waiting.frame is not None else parse_frame(waiting.message)
        create = parse_create(
            frame,
            warm_up=self._options.warm_up == "accept",
            unsupported=self._dialect.unsupported,
        )
        if lane.held is not None and create.previous_response_id == lane.held.stream.id:
            create = create.preceded_by(lane.held.steered_items)
        return self._begin(create, lane)

    def _begin(self, create: Create, lane: Lane) -> Running:
        """Enter a response. What it continues is looked up now, and not when the create was sent."""
        model = self._options.catalog.pick(create.model)
        resolved = self._cache.resolve(create)
        stream = ResponseStream(
            resolved,
            model,
            ids=self._shared.ids,
            now=self._shared.now,
            pace=self._shared.pace(),
            stream_id=lane.name,
            injection_wait=self._options.injection_wait if "response.inject" in self._kinds else 0,
        )
        self._counters.responses_created += 1
        faults = self._shared.faults.of_response(
            connection=self._socket.faults.number, lane=lane.name, model=create.model
        )
        lane.running = Running(resolved, stream, lane, faults)
        self._responses.begin(lane.running)
        return lane.running

    async def _play(self, running: Running) -> None:
        lane, stream = running.lane, running.stream
        try:
            if self._options.latency:
                await trio.sleep(self._options.latency)
            ended_well = await self._delivery.play(
                stream, running.faults, on_completed=partial(self._commit, running), sleep=running.sleep
            )
        finally:
            self._responses.end(running)
        if not ended_well:
            self._cache.evict(running.resolved.create.previous_response_id, lane=lane.name)

    def _commit(self, running: Running) -> None:
        """Make the response known before its last event is sent: a client may continue as soon as it has read it."""
        stream, resolved = running.stream, running.resolved
        create = resolved.create
        ended = StoredResponse(stream.conversation, stream.response, create.items)
        self._cache.commit(stream.id, ended, store=create.store, lane=running.lane.name, resolved=resolved)
        if stream.status == "completed":
            self._counters.responses_completed += 1
            self._counters.turns += create.generate

    # Steering and injecting.

    async def _steer(self, frame: Mapping[str, Any]) -> None:
        response_id = frame.get("previous_response_id")
        found = self._responses.find(response_id) if isinstance(response_id, str) else None
        try:
            steer = parse_steer(frame, id=self._shared.ids.new("steer"))
            if found is None:
                raise SteerFailed("response_not_found", "There is no such response on this connection.")
            if isinstance(found, Ended):
                raise found.refuse_steer()
            event = found.accept(
                steer, max_steers=self._options.max_pending_steers, models=self._options.steering_models
            )
        except SteerFailed as failed:
            fields = steer_failure(failed, response_id=response_id, input=frame.get("input"))
            event = self._about(found, "response.steer.failed", **fields)
        await self._delivery.send([event])

    async def _inject(self, frame: Mapping[str, Any]) -> None:
        try:
            inject = parse_inject(frame)
        except Refused as refused:
            malformed = refused
        else:
            await self._take_injected(inject)
            return
        await self._refuse(malformed)
        raise SocketClosed(MALFORMED)

    async def _take_injected(self, inject: Inject) -> None:
        found = self._responses.find(inject.response_id)
        if isinstance(found, Running) and found.resolved.create.multi_agent:
            try:
                check_inject(inject, found.stream)
            except Refused as refused:
                await self._refuse(refused, found.lane.name)
                return
            event = found.take_injected(inject)
        else:
            event = self._about(
                found, "response.inject.failed", **inject.failure(ended=isinstance(found, Ended))
            )
        await self._delivery.send([event])

    @staticmethod
    def _about(found: Running | Ended | None, kind: str, **fields: Any) -> bytes:
        """Return an event about a response that is going on, or is over, or never was."""
        if isinstance(found, Running):
            return found.stream.control(kind, **fields)
        tag = {} if found is None else found.tag()
        return orjson.dumps({"type": kind, "sequence_number": 0, **fields, **tag})

    async def _succeed(self, running: Running) -> Running | None:
        """Commit the steers of a response that has ended, if it can be done without the client."""
        stream, lane = running.stream, running.lane
        if not running.steers:
            return None
        if stream.status not in ("completed", "incomplete"):
            await self._hand_back(running, "The response did not complete.")
        elif required := required_input(stream.output):
            lane.held = running
            # The client may have sent the continuation already, and then knows what to do.
            if not lane.continues_next(stream.id):
                await self._ask_for(running, required)
        elif self._lifetime.over:
            await self._hand_back(running, "The connection has reached its age limit.")
        else:
            create = running.resolved.create.continued(stream.id, running.steered_items)
            try:
                return self._begin(create, lane)
            except Refused as refused:
                await self._hand_back(running, refused.message)
        return None

    async def _ask_for(self, running: Running, required: list[dict[str, Any]]) -> None:
        fields = {"reason": "waiting_for_required_input", "required_input": required}
        await self._delivery.send(
            [
                running.stream.control("response.steer.pending", steer=steer.shown(), **fields)
                for steer in running.steers
            ]
        )

    async def _hand_back(self, running: Running, why: str) -> None:
        """Give the steers of a response back that were accepted and cannot be committed."""
        failed = SteerFailed(_NOT_CREATED, why)
        events = [
            running.stream.control(
                "response.steer.failed",
                **steer_failure(failed, response_id=steer.response_id, input=steer.input, id=steer.id),
            )
            for steer in running.steers
        ]
        await self._delivery.send(events)
