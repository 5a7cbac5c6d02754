"""The level below agents: one lane in hand, one request at a time, nothing replayed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.accumulator import ResponseAccumulator, ResponseSnapshot
from triplane.core.errors import (
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    ProtocolViolation,
    Receipt,
    ServerError,
    Stalled,
)
from triplane.core.records import FramesReceived, UndecodableFrame
from triplane.core.retry import LANE_BOUNDARIES, judge_server_error, moment_of
from triplane.protocol import ResponseCreate, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triplane.core.options import EngineOptions
    from triplane.protocol import ServerEvent

    from .transports import RoutedLease


@final
class BareLane:
    """A lane of `Engine.lane`. Strictly sequential: a turn must be over before the next begins."""

    def __init__(self, lease: RoutedLease, options: EngineOptions) -> None:
        self._lease = lease
        self._options = options
        self._turn: Turn | None = None

    def __repr__(self) -> str:
        if self._lease.lane is None:
            return "<BareLane: given back>"
        busy = (
            "in the middle of a turn"
            if self._turn is not None and not self._turn.is_over
            else "free for a turn"
        )
        return f"<BareLane {self._lease.lane.name}: {busy}>"

    @property
    def connection(self) -> str:
        """The connection's name, as in the statistics."""
        return self._lease.lane.connection_name if self._lease.lane is not None else ""

    async def create(self, request: ResponseCreate) -> Turn:
        """Send a request and return its turn, whose events are then read from it.

        Cancelling it closes the connection, since part of the request may be on its way.

        Raises:
            ConfigError: `request` is none.
            ConnectFailed: The server let us in and closed at once, because it refuses the key; or over HTTP, where
                connections come and go between requests, none could be opened, and nothing was sent.
            ConnectionLost: The connection is over; the receipt says whether the request may have arrived.
            Stalled: The peer does not read.
            LimitReached: The request is larger than `max_request_size`, over a WebSocket.
            trio.BusyResourceError: The turn before is not over.
            trio.ClosedResourceError: The block of `Engine.lane` was left.
        """
        if not isinstance(request, ResponseCreate):
            raise ConfigError(
                f"a lane takes a triplane.protocol.ResponseCreate, not {type(request).__name__}"
            )
        lane = self._lease.lane
        if lane is None:
            raise trio.ClosedResourceError("this lane was given back")
        if self._turn is not None and not self._turn.is_over:
            raise trio.BusyResourceError("the turn before is not over; read it to its end first")
        if lane.stream_id is not None:
            request = attrs.evolve(request, stream_id=lane.stream_id)
        text = encode(request).decode()
        if lane.transport == "websocket" and len(text.encode()) > self._options.max_request_size:
            raise LimitReached(
                f"the request is larger than max_request_size={self._options.max_request_size:,} bytes",
                which="max_request_size",
                limit=self._options.max_request_size,
            )
        turn = Turn(self._lease, self._options, request.previous_response_id)
        # Looked at without a checkpoint before the send: a connection that is gone by now gets no byte.
        unsent = not lane.is_usable
        try:
            await lane.send(text)
        except (ConnectionLost, Stalled) as error:
            boundary = LANE_BOUNDARIES["unsent" if unsent else "ambiguous"]
            error.receipt = Receipt(sent=boundary.sent, next=boundary.next)
            raise
        except ConnectFailed as error:
            error.receipt = Receipt("nothing" if unsent else "ambiguous", next="change")
            raise
        self._turn = turn
        return turn

    def _leave(self) -> None:
        self._lease.release()


@final
class Turn:
    """One request and what it brings. Iterate it for the server's events; it never replays.

    An ``error`` event ends it by raising `ServerError`. ``response.failed`` and ``response.incomplete`` are results.
    """

    def __init__(self, lease: RoutedLease, options: EngineOptions, previous_response_id: str | None) -> None:
        self._lease = lease
        self._options = options
        self._response = ResponseAccumulator(previous_response_id)
        self._events: deque[ServerEvent | UndecodableFrame] = deque()
        self._broken = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return self._broken or self._response.is_over

    @property
    def response(self) -> ResponseSnapshot:
        """The response as far as it has been read."""
        return self._response.snapshot()

    def __aiter__(self) -> Turn:
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event. A checkpoint; cancelling it loses nothing.

        Raises:
            StopAsyncIteration: The turn is over.
            ServerError: The server answered with an error.
            ConnectionLost: The connection ended first.
            Stalled: The server was silent for `first_event_timeout` or `idle_timeout`.
            ProtocolViolation: The server sent something that is not an event.
            LimitReached: On a shared connection, more was waiting here than may wait; see `EngineOptions.slow_lane`.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self.is_over:
                raise StopAsyncIteration
            await self._read()
        event = self._events.popleft()
        if not self._events and (violation := self._violation()) is not None:
            raise violation
        if self._response.error is not None and self._response.status == "error" and not self._events:
            error = ServerError.from_detail(self._response.error, receipt=self._receipt())
            if judge_server_error(error.code, error.status, error.type) in ("give_up", "resend_full"):
                error.receipt = attrs.evolve(error.receipt, next="change")
            raise error
        assert not isinstance(event, UndecodableFrame), "it ends the response, and was raised above"
        return event

    async def wait(self) -> ResponseSnapshot:
        """Read to the end and return the response. A checkpoint.

        Raises:
            TriplaneError: As iterating does.
        """
        async for _event in self:
            pass
        return self.response

    async def _read(self) -> None:
        lane = self._lease.lane
        if lane is None:
            raise trio.ClosedResourceError("the lane of this turn was given back")
        waits_for_first = self._response.status == "awaited"
        allowed = self._options.first_event_timeout if waits_for_first else self._options.idle_timeout
        with trio.move_on_after(allowed):
            try:
                frames = await lane.receive()
            except (ConnectionLost, Stalled, ProtocolViolation) as error:
                error.receipt = self._receipt()
                self._broken = True
                raise
            except ConnectFailed as error:
                error.receipt = attrs.evolve(self._receipt(), next="change")
                self._broken = True
                raise
            except LimitReached as error:
                # Of what was given up nobody knows how much it was, and there is no log to resume from.
                next_ = LANE_BOUNDARIES["accepted"].next
                error.receipt = attrs.evolve(error.receipt, shown=self._response.shown, next=next_)
                self._broken = True
                raise
            self._fold(FramesReceived(lane.connection_name, frames).events)
            if (violation := self._violation()) is not None:
                # Now, and not when it is read: nobody has to read that far.
                lane.poison(violation)
            if self._response.is_over:
                ended_well = self._response.status in ("completed", "incomplete")
                lane.remember(self._response.id if ended_well else None, ended=[self._response.id])
            detail = self._response.error
            if (
                detail is not None
                and judge_server_error(detail.code, detail.status, detail.type) == "new_connection"
            ):
                # Nothing begins there any more, and what may still come of this response is nobody's answer.
                lane.poison(ConnectionLost("the server takes no more requests on this connection"))
            return
        stalled = Stalled(
            f"the server sent nothing for {allowed:g} s",
            phase="first_event" if waits_for_first else "between_events",
            silence=allowed,
            receipt=self._receipt(),
        )
        self._break(stalled)
        raise stalled

    def _fold(self, events: Sequence[ServerEvent | UndecodableFrame]) -> None:
        for event in events:
            self._response.apply(event)
            self._events.append(event)
            if self._response.is_over:
                # What comes behind the end, in the same batch or later, is no part of it.
                break

    def _break(self, fault: Stalled) -> None:
        self._broken = True
        if self._lease.lane is not None:
            self._lease.lane.poison(fault)

    def _receipt(self) -> Receipt:
        boundary = LANE_BOUNDARIES[moment_of(self._response, sending_began=True)]
        return Receipt(sent=boundary.sent, shown=self._response.shown, next=boundary.next)

    def _violation(self) -> ProtocolViolation | None:
        """What ended the response that was not its end, if anything did."""
        frame, other = self._response.undecodable, self._response.displaced_by
        if frame is not None:
            words = f"the server sent a frame that is not an event ({frame.reason})"
        elif other is not None:
            words = f"the server began the response {other} in the middle of {self._response.id}"
        else:
            return None
        return ProtocolViolation(words, excerpt=frame.excerpt if frame else "", receipt=self._receipt())
