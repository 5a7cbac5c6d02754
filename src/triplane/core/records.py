"""What a run's log consists of: one class for each kind of entry.

A log is append-only and ordered by `Record.sequence`, which starts at 0 and has no gap. The body of a record is
also the event that readers of a run get; a `FramesReceived` is given to them as the server events inside it.
Bodies hold wire data as received, so that folding a log again needs nothing but the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from triplane.protocol import DecodeError, decode_event

from .outcome import EffectClass, ToolOutcome
from .transport import Transport, TransportReason

if TYPE_CHECKING:
    from triplane.protocol import ServerEvent

Item = dict[str, Any]
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
EndStatus = Literal["completed", "incomplete", "failed", "cancelled"]
SilencePhase = Literal["model_thinking", "socket_silent"]
RetractReason = Literal["connection_lost", "stalled", "server_error", "undecodable_frame", "resumed"]


class _Entry:
    """What can stand in a log. Its repr is written once, and not generated for each class at every import."""

    __slots__ = ()

    def __repr__(self) -> str:
        cls: Any = type(self)
        return (
            f"{cls.__name__}({', '.join(f'{a.name}={getattr(self, a.name)!r}' for a in attrs.fields(cls))})"
        )


@attrs.frozen(repr=False)
class UndecodableFrame(_Entry):
    """A frame that is not an event. It stands in the stream where the frame stood.

    Attributes:
        reason: One machine-readable word from the codec.
        excerpt: At most 200 redacted bytes.
    """

    type: ClassVar[str] = "triplane.undecodable_frame"
    reason: str
    excerpt: str


@attrs.frozen(repr=False)
class ForkedFrom(_Entry):
    """Where a run left another one.

    Attributes:
        run_id: The other run.
        response_id: Its response that this run can continue, None if it sends the whole conversation.
        connection: Where that response was made, else empty.
        length: How many of the first input items that response covers.
        stored: Whether the server stored it.
    """

    run_id: str
    response_id: str | None = None
    connection: str = ""
    length: int = 0
    stored: bool = False


@attrs.frozen(repr=False)
class RunStarted(_Entry):
    """A run began.

    Attributes:
        run_id: The run.
        agent: The agent's name.
        model: The model it asks for.
        fingerprint: A digest of what the agent sends with every request, tools and instructions included.
        input: The first input items; of a fork, the conversation that it inherits, and what was added to it.
        forked_from: The run that this one is a fork of, else None.
        parts: What the fingerprint consists of: a digest for each thing that the agent sends, by its name. It tells
            whoever resumes the run with another agent what is different.
    """

    type: ClassVar[str] = "triplane.run_started"
    run_id: str
    agent: str
    model: str
    fingerprint: str
    input: tuple[Item, ...]
    forked_from: ForkedFrom | None = None
    parts: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(repr=False)
class RunResumed(_Entry):
    """A run that was cut off, or that failed or was cancelled, goes on: by another engine, perhaps in another process.

    Nothing of the connections before it is left. A request that was under way is retracted by the record after it, and
    calls whose effect may have happened get their outcome.

    Attributes:
        agent: The agent's name.
        model: The model it asks for.
        fingerprint: See `RunStarted`.
        parts: See `RunStarted`.
        changes: What the agent sends otherwise than before, in words; empty if nothing.
    """

    type: ClassVar[str] = "triplane.run_resumed"
    agent: str
    model: str
    fingerprint: str
    parts: dict[str, str] = attrs.field(factory=dict)
    changes: tuple[str, ...] = ()


@attrs.frozen(repr=False)
class InputAdded(_Entry):
    """Input from outside joined the conversation; the next request carries it."""

    type: ClassVar[str] = "triplane.input_added"
    items: tuple[Item, ...]


@attrs.frozen(repr=False)
class RequestSent(_Entry):
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
class TransportChanged(_Entry):
    """The run goes on by another transport than before; see the module of transports.

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
class SteerSent(_Entry):
    """Another instruction for a running response is about to be written; see `TurnAccumulator`.

    Attributes:
        previous_response_id: The response that it steers.
        items: What it says, as user messages.
    """

    type: ClassVar[str] = "triplane.steer_sent"
    previous_response_id: str
    items: tuple[Item, ...]


@attrs.frozen(repr=False)
class SteersRequeued(_Entry):
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
class FramesReceived(_Entry):
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
class ResponseRetracted(_Entry):
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
class DifferencesFound(_Entry):
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
class StillWaiting(_Entry):
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
class ConnectionDropped(_Entry):
    """The connection under the run is gone, and with it what the server remembered there.

    Attributes:
        connection: The connection's name.
        code: The close code, 1006 when none was seen; 1000 with no reason also when we replace it for its age.
        reason: The peer's words or ours; often empty.
    """

    type: ClassVar[str] = "triplane.connection_dropped"
    connection: str
    code: int
    reason: str


@attrs.frozen(repr=False)
class ToolQueued(_Entry):
    """A call was taken up. It starts as soon as its tool's limits and the engine's let it.

    Attributes:
        call_id: The call.
        name: The tool.
        early: Whether it starts before its response has ended.
    """

    type: ClassVar[str] = "triplane.tool_queued"
    call_id: str
    name: str
    early: bool = False


@attrs.frozen(repr=False)
class ToolStarted(_Entry):
    """A tool's code is about to run: from here on its effect may have happened.

    Attributes:
        call_id: The call.
        name: The tool.
        arguments: The arguments as the model wrote them.
        effect: The tool's effect class.
        idempotency_key: The same for every execution of this call.
    """

    type: ClassVar[str] = "triplane.tool_started"
    call_id: str
    name: str
    arguments: str
    effect: EffectClass
    idempotency_key: str


@attrs.frozen(repr=False)
class ToolProgress(_Entry):
    """How far a running call is. It changes nothing, and there are only a few of them a second.

    Attributes:
        call_id: The call.
        name: The tool.
        bytes_produced: Bytes of output so far.
        message: What the tool says of it, at most 500 characters; may be empty.
        done: How much is done, in the tool's own unit; None if it does not say.
        total: How much there is to do, in the same unit; None if it does not say.
        skipped: How many reports there were since the one before, which came too fast to be recorded.
    """

    type: ClassVar[str] = "triplane.tool_progress"
    call_id: str
    name: str
    bytes_produced: int
    message: str = ""
    done: float | None = None
    total: float | None = None
    skipped: int = 0


@attrs.frozen(repr=False)
class ToolFinished(_Entry):
    """A tool call has its one outcome.

    Attributes:
        call_id: The call.
        name: The tool.
        outcome: What became of it.
        reused_from: The call, of a response that was retracted, which had the same name and arguments and whose
            outcome this is; None if this call ran itself.
    """

    type: ClassVar[str] = "triplane.tool_finished"
    call_id: str
    name: str
    outcome: ToolOutcome
    reused_from: str | None = None


@attrs.frozen(repr=False)
class LateResultDropped(_Entry):
    """The thread of a call that was cancelled or had timed out has ended; what it returned was dropped.

    Attributes:
        call_id: The call.
        name: The tool.
        seconds: How long after its outcome.
    """

    type: ClassVar[str] = "triplane.late_result_dropped"
    call_id: str
    name: str
    seconds: float


@attrs.frozen(repr=False)
class RunEnded(_Entry):
    """The last record of a run, unless a `RunResumed` follows.

    Attributes:
        status: ``"completed"``, ``"incomplete"`` (the model stopped early: see `reason`), ``"failed"`` or
            ``"cancelled"``.
        reason: For ``"incomplete"`` the server's reason, for ``"failed"`` the error's class, else empty.
        message: For ``"failed"`` the error's message, else empty.
    """

    type: ClassVar[str] = "triplane.run_ended"
    status: EndStatus
    reason: str = ""
    message: str = ""


@attrs.frozen(repr=False)
class UnknownRecord(_Entry):
    """A record of a kind, or of a version of a kind, that a newer Triplane has written. It is kept as it is.

    Attributes:
        kind: Its kind.
        version: The version of that kind.
        essential: Whether the run's state depends on it. A log with such a record can be shown and copied, and not
            be folded or continued: whoever folds it would have a wrong state and not know it.
        data: Its bytes in the format of the ledger.
    """

    type: ClassVar[str] = "triplane.unknown_record"
    kind: str
    version: int
    essential: bool
    data: bytes


Body = (
    RunStarted
    | RunResumed
    | InputAdded
    | RequestSent
    | TransportChanged
    | SteerSent
    | SteersRequeued
    | FramesReceived
    | ResponseRetracted
    | DifferencesFound
    | StillWaiting
    | ConnectionDropped
    | ToolQueued
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | LateResultDropped
    | RunEnded
    | UnknownRecord
)

# What tells of a run and changes nothing about it. All other kinds are essential, see `UnknownRecord`.
NOTES: tuple[type, ...] = (DifferencesFound, StillWaiting, ToolProgress, LateResultDropped)


@attrs.frozen(repr=False)
class Record(_Entry):
    """One entry of a log.

    Attributes:
        sequence: The entry's place, from 0 without gaps.
        at: Wall-clock seconds since 1970 when it was appended; never used to order entries.
        body: What happened.
    """

    sequence: int
    at: float
    body: Body

    @property
    def size(self) -> int:
        """About how many bytes a reader that has not read this entry is behind."""
        if isinstance(self.body, FramesReceived):
            return sum(map(len, self.body.frames))
        return 256 + (len(self.body.outcome.output) if isinstance(self.body, ToolFinished) else 0)
