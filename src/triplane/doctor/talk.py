"""One WebSocket in the doctor's hand: opened as the engine opens its own, and asked one thing after the other."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

import attrs
import trio

from triplane.core.accumulator import ResponseAccumulator, ResponseSnapshot
from triplane.core.errors import ConnectFailed, ConnectionLost, Stalled, TriplaneError
from triplane.core.records import FramesReceived
from triplane.net.guarded_stream import GuardedStream
from triplane.net.refusal import AUTH_CLOSES, put_out, refusal_in
from triplane.net.wire import Wire, make_wire
from triplane.protocol import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from triplane.core.options import EngineOptions
    from triplane.net.dial import Dialler
    from triplane.net.endpoint import Endpoint
    from triplane.protocol import ResponseCreate

_PONG_SECONDS: Final = 5.0
_LEAST_SECONDS: Final = 0.1


@attrs.frozen
class Reply:
    """What one request brought.

    Attributes:
        response: The response, or the error in its place.
        first_event: Seconds until the first event.
        seconds: Seconds until the last one.
        bytes_up: Size of the request.
        lane: The lane that the events named, else None.
    """

    response: ResponseSnapshot
    first_event: float
    seconds: float
    bytes_up: int
    lane: str | None


@final
class Talk:
    """Asks over one open WebSocket.

    Attributes:
        resource: Path and query at which it was opened.
    """

    def __init__(self, wire: Wire, endpoint: Endpoint, resource: str, patience: float) -> None:
        self.resource = resource
        self._wire = wire
        self._endpoint = endpoint
        self._patience = patience

    async def settle(self, seconds: float) -> None:
        """Give the server time to put us out, as those do that check keys after the handshake.

        Nothing is sent meanwhile: what a server that closes has not read may cost us its last words.

        Raises:
            ConnectFailed: It did, because of the key.
            ConnectionLost: The connection ended for another reason.
            ProtocolViolation: Something came that is no message.
        """
        with trio.move_on_after(max(seconds, _LEAST_SECONDS)):
            await self._listen()

    async def ping(self) -> float:
        """The round-trip time of a ping.

        Raises:
            ConnectFailed: The server put us out instead.
            ConnectionLost: The connection ended instead.
            ProtocolViolation: Something else came that is no message.
            Stalled: No pong came within five seconds.
        """
        asked_at = trio.current_time()
        trip: float | None = None
        lost: TriplaneError | None = None
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                # The library's ping would wait for ever for the pong of a connection that has ended.
                nonlocal lost
                try:
                    await self._listen()
                except TriplaneError as error:
                    lost = error
                    nursery.cancel_scope.cancel(reason="the connection has ended")

            nursery.start_soon(listen)
            with trio.move_on_after(_PONG_SECONDS):
                try:
                    await self._wire.ping()
                    trip = trio.current_time() - asked_at
                except ConnectionLost:
                    # The listener is about to say how.
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel(reason="the pong is there, or late")
        if trip is not None:
            return trip
        if lost is not None:
            raise lost
        raise Stalled(f"no pong came within {_PONG_SECONDS:g} s", phase="heartbeat", silence=_PONG_SECONDS)

    async def _listen(self) -> None:
        """Read what nobody asked for, until the connection ends."""
        try:
            while True:
                await self._wire.receive()
        except ConnectionLost as lost:
            if lost.close.by == "peer" and lost.close.code in AUTH_CLOSES:
                raise put_out(self._endpoint.url, lost.close) from None
            raise

    async def ask(self, request: ResponseCreate) -> Reply:
        """Send a request and read its answer to the end.

        Raises:
            ConnectionLost: The connection ended first.
            ProtocolViolation: What came is no event.
            Stalled: It did not end in time.
        """
        text = encode(request).decode()
        response = ResponseAccumulator(request.previous_response_id)
        asked_at = trio.current_time()
        first: float | None = None
        lane: str | None = None
        with trio.move_on_after(self._patience):
            await self._wire.send(text)
            while not response.is_over:
                frames = await self._wire.receive()
                first = first or trio.current_time() - asked_at
                for event in FramesReceived("doctor", frames).events:
                    response.apply(event)
                    lane = lane or getattr(event, "stream_id", None)
            took = trio.current_time() - asked_at
            return Reply(response.snapshot(), first or took, took, len(text.encode()), lane)
        raise Stalled(
            f"the answer was not there after {self._patience:g} s",
            phase="first_event" if first is None else "between_events",
            silence=self._patience,
        )


@asynccontextmanager
async def open_talk(
    dialler: Dialler, endpoint: Endpoint, options: EngineOptions, patience: float
) -> AsyncIterator[Talk]:
    """Open a WebSocket for as long as the block lasts; follows redirects and renews keys as the engine does.

    Raises:
        ConnectFailed: It could not be opened.
    """
    opening = dialler.opening(endpoint)
    while True:
        stream = GuardedStream(await opening.next_stream())
        wire = make_wire(stream, opening.endpoint, opening.resource, options)
        failure: ConnectFailed | None = None
        try:
            async with trio.open_nursery() as nursery:
                failure = await _shake_hands(nursery, wire, stream, endpoint, options)
                if failure is None:
                    try:
                        yield Talk(wire, opening.endpoint, opening.resource, patience)
                    finally:
                        with trio.move_on_after(options.close_timeout):
                            await wire.aclose()
                        nursery.cancel_scope.cancel(reason="the talk is over")
        finally:
            await trio.aclose_forcefully(stream)
        if failure is None:
            return
        await opening.answer(failure)


async def _shake_hands(
    nursery: trio.Nursery,
    wire: Wire,
    stream: GuardedStream,
    endpoint: Endpoint,
    options: EngineOptions,
) -> ConnectFailed | None:
    with trio.move_on_after(options.upgrade_timeout):
        try:
            await nursery.start(wire.run)
        except ConnectFailed as failure:
            return failure
        return None
    nursery.cancel_scope.cancel(reason="the upgrade took too long")
    return refusal_in(endpoint.url, bytes(stream.head or b"")) or ConnectFailed(
        f"{endpoint.url} did not answer the upgrade within {options.upgrade_timeout:g} s", stage="upgrade"
    )
