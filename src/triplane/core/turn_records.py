"""What a run's log tells of its turns: requests, what came for them, and the connections that carry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from triplane.protocol import DecodeError, decode_event

from .entry import Item, LogEntry
from .transport import Transport, TransportReason

if TYPE_CHECKING:
    from triplane.protocol import ServerEvent

PlanKind = Literal["incremental", "warm", "fork", "full", "refuse"]
PlanReason = Literal[
    # incremental
    "head_cached",
    "head_stored",
    # warm
    "lane_warmed",
    # fork
    "head_on_other_lane",
    # full
    "first_turn",
    "lane_changed",
    "nothing_kept",
    "connection_lost",
    "head_evicted",
    "call_cut_off",
    # refuse
    "unanswered_calls",
    "too_large",
    "not_json",
]
SilencePhase = Literal["model_thinking", "socket_silent"]
RetractReason = Literal["connection_lost", "stalled", "server_error", "undecodable_frame", "resumed"]


@attrs.frozen(repr=False)
class UndecodableFrame(LogEntry):
    """A frame that is not an event. It stands in the stream where the frame stood.

    Attributes:
        reason: One machine-readable word from the codec.
        excerpt: At most 200 redacted bytes.
    """

    type: ClassVar[str] = "triplane.undecodable_frame"
    reason: str
    excerpt: str


@attrs.frozen(repr=False)
class RequestSent(LogEntry):
    """A request is about to be written; it may or may not have reached the server.

    Attributes:
        turn: 1 for the run's first turn. A replay keeps the number of the turn it replays.
        attempt: 1 for the first try of this turn.
        connection: The connection's name.
        plan: ``"incremental"`` carries what is new after the response that it continues; ``"fork"`` does so on another
            lane than that response's; ``"warm"`` carries the whole conversation after a warm-up; ``"full"`` carries it
            and continues nothing.
        reason: Why. For ``"incremental"``, ``"head_cached"`` or ``"head_stored"`` by the server; for ``"fork"``,
            ``"head_on_other_lane"``; for ``"warm"``, ``"lane_warmed"``; for ``"full"``, ``"first_turn"``,
            ``"lane_changed"``, ``"connection_lost"``, ``"head_evicted"`` (the server has forgotten), ``"nothing_kept"``
            (over HTTP) or ``"call_cut_off"`` (the response ends in a call that nobody can answer).
        previous_response_id: The response that it continues, else None.
        items: How many input items it carries.
        size: Its bytes.
        stored: Whether the server was asked to store the response.
        conversation: The server's conversation that it belongs to, else None.
        transport: By which transport it goes.
    """

    type: ClassVar[str] = "triplane.request_sent"
    turn: int
    attempt: int
    connection: str
    plan: PlanKind
    reason: PlanReason
    previous_response_id: str | None
    items: int
    size: int
    stored: bool = False
    conversation: str | None = None
    transport: Transport = "websocket"


@attrs.frozen(repr=False)
class TransportChanged(LogEntry):
    """The run goes on by another transport than before; see `Endpoint.transport`.

    Attributes:
        transport: ``"websocket"`` or ``"http"``.
        reason: Why: ``"websocket_unsupported"``, the server has no WebSocket mode; ``"request_too_large"``, the next
            request is too large for a WebSocket; ``"websocket_again"``, what kept it from WebSockets is over;
            ``"configured"``, the run was resumed with another setting.
    """

    type: ClassVar[str] = "triplane.transport_changed"
    transport: Transport
    reason: TransportReason


@attrs.frozen(repr=False)
class SteerSent(LogEntry):
    """Another instruction for a running response is about to be written; see `Run.steer`.

    Attributes:
        previous_response_id: The response that it steers.
        items: What it says, as user messages.
    """

    type: ClassVar[str] = "triplane.steer_sent"
    previous_response_id: str
    items: tuple[Item, ...]


@attrs.frozen(repr=False)
class SteersRequeued(LogEntry):
    """What became of some steers is not known any more; what they said is input for the next request.

    Attributes:
        turn: The turn.
        reason: Why.
        count: How many.
        ambiguous: Whether the model may have begun to answer one of them.
    """

    type: ClassVar[str] = "triplane.steers_requeued"
    turn: int
    reason: RetractReason
    count: int
    ambiguous: bool


@attrs.frozen(repr=False)
class FramesReceived(LogEntry):
    """Frames as they came, one record for each batch that was read.

    Attributes:
        connection: The connection's name.
        frames: The text of each frame.
    """

    type: ClassVar[str] = "triplane.frames_received"
    connection: str
    frames: tuple[str, ...]

    @property
    def events(self) -> tuple[ServerEvent | UndecodableFrame, ...]:
        """The frames as typed events, or as an `UndecodableFrame` each.

        Decoded anew each time: a log is kept for longer than anybody needs its events. Where several want the same
        ones at once, that place keeps them for as long, as `engine.feed` does.
        """
        events: list[ServerEvent | UndecodableFrame] = []
        for frame in self.frames:
            try:
                events.append(decode_event(frame))
            except DecodeError as error:
                events.append(UndecodableFrame(error.reason, error.excerpt))
        return tuple(events)


@attrs.frozen(repr=False)
class ResponseRetracted(LogEntry):
    """What was shown of the response in hand no longer counts; the turn is tried again.

    Attributes:
        turn: The turn.
        reason: Why: ``"connection_lost"``, ``"stalled"``, ``"server_error"`` or ``"undecodable_frame"``.
        shown: Characters of text that readers had been given.
        ambiguous: Whether the server may have run the model for the request that is now repeated.
    """

    type: ClassVar[str] = "triplane.response_retracted"
    turn: int
    reason: RetractReason
    shown: int
    ambiguous: bool


@attrs.frozen(repr=False)
class DifferencesFound(LogEntry):
    """The events of a response that has ended do not agree with each other, or are not all its own.

    What counts in spite of it is settled by fixed rules, see `core.accumulator`; folding the log finds the same again.

    Attributes:
        turn: The turn.
        response_id: The response.
        differences: Where a later event said something else than the ones before it: a `Difference` each, as a dict.
        irregularities: What should not have been in the stream: an `Irregularity` each, as a dict.
    """

    type: ClassVar[str] = "triplane.differences_found"
    turn: int
    response_id: str | None
    differences: tuple[Item, ...]
    irregularities: tuple[Item, ...]


@attrs.frozen(repr=False)
class StillWaiting(LogEntry):
    """The response in hand has been silent for another heartbeat. A sign of life for whoever watches; it changes nothing.

    Attributes:
        turn: The turn.
        connection: The connection's name.
        phase: ``"model_thinking"``: the peer answers pings, or nothing tells that it does not, so it is the model that
            takes its time; ``"socket_silent"``: the latest ping is still to be answered.
        silence: Seconds since the latest event of the response, or since the request if there was none yet.
        peer_silence: Seconds since anything at all came from the peer, None if that says nothing, as without pings.
        round_trip: Seconds that the latest ping took there and back, None before the first.
    """

    type: ClassVar[str] = "triplane.still_waiting"
    turn: int
    connection: str
    phase: SilencePhase
    silence: float
    peer_silence: float | None
    round_trip: float | None


@attrs.frozen(repr=False)
class RetryScheduled(LogEntry):
    """The turn is tried again after a pause. It changes nothing.

    Attributes:
        turn: The turn.
        attempt: Which attempt comes then.
        seconds: How long the pause is.
        asked: Whether the server asked for one (``Retry-After``); it is at least that long, up to
            `EngineOptions.backoff_limit`.
    """

    type: ClassVar[str] = "triplane.retry_scheduled"
    turn: int
    attempt: int
    seconds: float
    asked: bool


@attrs.frozen(repr=False)
class ConnectionDropped(LogEntry):
    """The connection under the run is gone, and with it what the server remembered there.

    Attributes:
        connection: The connection's name.
        code: The close code, 1006 when none was seen.
        reason: The peer's words or ours, such as that it made way for a younger connection; often empty.
    """

    type: ClassVar[str] = "triplane.connection_dropped"
    connection: str
    code: int
    reason: str
