"""What state a run is in: its records folded, live and replayed alike.

`RunReducer.apply` is the only way in which a run's state changes. The run's driver reads the accumulator's fields to
decide what to do next; everybody else gets a frozen `RunState`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from .canonical import canonical_json
from .continuation import ChainHead
from .errors import Effect
from .outcome import ToolCall, ToolOutcome
from .records import (
    ConnectionDropped,
    FramesReceived,
    InputAdded,
    RequestSent,
    ResponseRetracted,
    RunEnded,
    RunResumed,
    RunStarted,
    SteerSent,
    SteersRequeued,
    ToolFinished,
    ToolQueued,
    ToolStarted,
    TransportChanged,
)
from .replay_input import unanswered_calls
from .transport import Transport
from .turn import Steer, TurnAccumulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triplane.protocol import ServerEvent

    from .accumulator import ResponseAccumulator
    from .records import ForkedFrom, Item, Record, UndecodableFrame
    from .turn import SteerState

RunStatus = Literal["new", "waiting", "model", "tools", "completed", "incomplete", "failed", "cancelled"]


@attrs.frozen
class RunUsage:
    """Tokens of a run, summed over its responses. A response that was lost reported none."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0

    def plus(self, wire: dict[str, object]) -> RunUsage:
        """Add one response's usage as the wire has it; what is missing counts 0."""

        def count(source: object, key: str) -> int:
            value = source.get(key) if isinstance(source, dict) else None
            return value if isinstance(value, int) else 0

        return RunUsage(
            self.input_tokens + count(wire, "input_tokens"),
            self.cached_tokens + count(wire.get("input_tokens_details"), "cached_tokens"),
            self.output_tokens + count(wire, "output_tokens"),
            self.reasoning_tokens + count(wire.get("output_tokens_details"), "reasoning_tokens"),
            self.total_tokens + count(wire, "total_tokens"),
        )


@attrs.frozen
class FinishedCall:
    """A tool call and its outcome."""

    call: ToolCall
    outcome: ToolOutcome


@attrs.frozen
class RunState:
    """A run at one moment.

    Attributes:
        run_id: The run.
        status: ``"waiting"`` for a lane, ``"model"``, ``"tools"``, or how it ended.
        turns: Turns begun; a replay does not count again.
        tool_calls: The finished calls in the order in which they finished.
        running_tools: The names of the tools that are running.
        text: The last response's visible text so far.
        usage: Tokens, summed.
        bytes_up: Bytes of the requests.
        bytes_down: Bytes of the frames.
        reconnects: How often the connection under the run was lost.
        replays: How many requests were repeated.
        connection: The connection last used, else None.
        response_id: The last finished response, else None.
        reason: Why it ended as it did: see `RunEnded`.
        transport: By which transport its requests go now.
        steers: What became of the steers of the turn in hand, in the order in which they were sent.
    """

    run_id: str
    status: RunStatus
    turns: int
    tool_calls: tuple[FinishedCall, ...]
    running_tools: tuple[str, ...]
    text: str
    usage: RunUsage
    bytes_up: int
    bytes_down: int
    reconnects: int
    replays: int
    connection: str | None
    response_id: str | None
    reason: str
    transport: Transport = "websocket"
    steers: tuple[Steer, ...] = ()

    @property
    def tool_seconds(self) -> float:
        """Seconds spent in tools, parallel calls added up."""
        return sum(finished.outcome.seconds for finished in self.tool_calls)


class RunReducer:
    """One run's state as its records make it. `apply` is the only way in.

    It is total: no record in any order raises, and one of a class that it does not know changes nothing. It is
    deterministic, and linear in the log. After `RunEnded` nothing changes any more, unless a run that failed or was
    cancelled is resumed.

    Attributes:
        run_id: The run.
        status: See `RunState`.
        turns: See `RunState`.
        history: The whole conversation: every input item and every output item that counts, in order.
        head: The response that the next request may continue, None if there is none.
        head_lost: Why there is none although there was one.
        turn: What the request in hand has brought.
        outcomes: The outcomes by call id. A call has one; what is reported later is not taken.
        retracted: The outcomes, None while there is none, of calls that had started early, by their ids, when the
            response that they were of was retracted. They do not count unless another call takes them over.
        has_artifacts: Whether a call left more output than the model was given.
        usage: Tokens, summed.
        bytes_up: See `RunState`.
        bytes_down: See `RunState`.
        reconnects: See `RunState`.
        replays: See `RunState`.
        reason: See `RunEnded`.
        transport: See `RunState`.
        agent: Who answers, as the latest `RunStarted` or `RunResumed` has it.
    """

    def __init__(self) -> None:
        self.run_id = ""
        self.status: RunStatus = "new"
        self.turns = 0
        self.history: list[Item] = []
        self.head: ChainHead | None = None
        self.head_lost: Literal["connection_lost", "head_evicted"] | None = None
        self.turn = TurnAccumulator()
        self.outcomes: dict[str, ToolOutcome] = {}
        self.retracted: dict[str, ToolOutcome | None] = {}
        self.has_artifacts = False
        self.usage = RunUsage()
        self.bytes_up = 0
        self.bytes_down = 0
        self.reconnects = 0
        self.replays = 0
        self.reason = ""
        self.transport: Transport = "websocket"
        self.agent: RunStarted | RunResumed | None = None
        self._request: RequestSent | None = None
        # How much of the turn is in the history: its responses, the inputs of its steers, and whether it is over.
        self._responses_taken = 0
        self._steers_taken: set[int] = set()
        self._turn_taken = False
        # How much of the history some response has answered.
        self._answered = 0
        # Where the turn in hand began: the length of the history, and the head there.
        self._turn_began: tuple[int, ChainHead | None] = (0, None)
        # What the head was before the server put steers after it.
        self._head_before_steers: ChainHead | None = None
        # Input from outside waits until the conversation has come to a place where it may stand.
        self._added: list[Item] = []
        # The calls of the turn, and which of them have no outcome yet.
        self._batch: list[ToolCall] = []
        self._pending: dict[str, ToolCall] = {}
        self._calls: dict[str, ToolCall] = {}
        # The calls that have started early in the turn in hand.
        self._early: set[str] = set()
        # How often in a row a call of the same tool with the same arguments has failed.
        self._failures: dict[tuple[str, str], int] = {}
        self._counted: set[str] = set()
        self._started: dict[str, ToolStarted] = {}
        # Whether the next request is another attempt at the turn before it.
        self._repeats = False

    @property
    def response(self) -> ResponseAccumulator:
        """The response in hand: the latest of the turn."""
        return self.turn.response

    @property
    def pending(self) -> list[ToolCall]:
        """The calls that have no outcome yet, once the turn is over."""
        return list(self._pending.values())

    @property
    def in_doubt(self) -> list[ToolStarted]:
        """The calls whose code started and whose outcome is not known, once the turn is over."""
        return [self._started[call_id] for call_id in self._pending if call_id in self._started]

    @property
    def has_request_in_hand(self) -> bool:
        """Whether a request was sent whose turn has neither come to its end nor been retracted."""
        return self.turns > 0 and (not self._turn_taken or self.turn.response.status in ("failed", "error"))

    @property
    def needs_request(self) -> bool:
        """Whether it is the model's turn. Otherwise calls wait for their outputs, or all is said."""
        has_answer = self.turn.is_over and self.turn.response.status in ("completed", "incomplete")
        return not self._pending and (self.has_unanswered_input or not has_answer)

    @property
    def next_attempt(self) -> tuple[int, int]:
        """The number of the turn that the next request is for, and of the attempt at it."""
        if self._repeats and self._request is not None:
            return self.turns, self._request.attempt + 1
        return self.turns + 1, 1

    @property
    def has_unanswered_input(self) -> bool:
        """Whether the conversation holds something that the model has not answered: a run that ended would drop it."""
        return len(self.history) > self._answered or bool(self._added)

    def settled(self) -> tuple[tuple[Item, ...], ChainHead | None]:
        """The conversation up to the last place where no call waits for its output, and the head there.

        A fork begins there. What a running response has brought so far is no part of it, nor what a response brought
        whose tools are running, nor input that waits for the next turn.
        """
        if unanswered_calls(self.history, self.history):
            length, head = self._turn_began
            return tuple(self.history[:length]), head
        return tuple(self.history), self.head and (self._head_before_steers or self.head)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in ("completed", "incomplete", "failed", "cancelled")

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The calls whose code started, in order, with what is known of each."""
        known = ((id_, started.name, self._outcome_of(id_)) for id_, started in self._started.items())
        return tuple(Effect(id_, name, "unknown" if one is None else one.kind) for id_, name, one in known)

    @property
    def repeated_failures(self) -> tuple[str, int]:
        """The tool that has failed most often in a row for the same arguments, and how often."""
        return max(
            ((name, count) for (name, _), count in self._failures.items()),
            key=lambda each: each[1],
            default=("", 0),
        )

    def apply(self, record: Record, events: Sequence[ServerEvent | UndecodableFrame] | None = None) -> None:
        """Fold one record.

        Args:
            record: The next one of the log.
            events: For a `FramesReceived` its events, where somebody has decoded them already.
        """
        body = record.body
        if self.is_over and not (isinstance(body, RunResumed) and self.status in ("failed", "cancelled")):
            return
        match body:
            case FramesReceived():
                self.bytes_down += record.size
                apply = self.turn.apply
                for event in body.events if events is None else events:
                    if apply(event):
                        self._turn_went_on()
            case ToolStarted():
                self._started[body.call_id] = body
            case ToolQueued():
                if body.early:
                    self._early.add(body.call_id)
            case ToolFinished():
                if body.outcome.artifact is not None:
                    self.has_artifacts = True
                if body.reused_from is None and body.call_id in self.retracted:
                    self.retracted[body.call_id] = body.outcome
                    return
                self.outcomes.setdefault(body.call_id, body.outcome)
                if self._pending.pop(body.call_id, None) is not None and not self._pending:
                    self._answer()
            case RequestSent():
                if body.turn == self.turns:
                    self.replays += 1
                else:
                    self._turn_began = (len(self.history), self._head_before_steers or self.head)
                self.turns = body.turn
                self.bytes_up += body.size
                self.status = "model"
                self.transport = body.transport
                self._request = body
                self._repeats = False
                self._begin_turn(body.previous_response_id, body.conversation)
            case TransportChanged():
                self.transport = body.transport
            case SteerSent() if not self.turn.is_over:
                self.turn.note_steer(body.previous_response_id, body.items)
            case RunStarted():
                self.run_id = body.run_id
                self.status = "waiting"
                self.agent = body
                self.history.extend(body.input)
                self._inherit(body.forked_from)
            case RunResumed():
                self._resume(body)
            case InputAdded() | SteerSent():
                # A steer that was sent too late is input for the next request.
                self._added.extend(body.items)
                if self.status in ("new", "waiting") or (self._turn_taken and not self._pending):
                    self._take_added()
            case SteersRequeued():
                self.turn.give_up_steers()
                self._turn_went_on()
            case ResponseRetracted():
                self._retract()
            case ConnectionDropped():
                self.reconnects += 1
                self._forget_connection()
            case RunEnded():
                self.status = body.status
                self.reason = body.reason

    def _inherit(self, origin: ForkedFrom | None) -> None:
        if origin is not None and origin.length <= len(self.history):
            self._answered = origin.length
            if origin.response_id is not None:
                self.head = ChainHead(origin.response_id, origin.connection, origin.length, origin.stored)

    def _resume(self, body: RunResumed) -> None:
        self.agent = body
        self.reason = ""
        if self.status != "new":
            self.status = "tools" if self._pending else "model" if self.has_request_in_hand else "waiting"
        self._forget_connection()

    def _begin_turn(self, previous_response_id: str | None, conversation: str | None = None) -> None:
        self.turn = TurnAccumulator(previous_response_id, conversation=conversation)
        self._responses_taken = 0
        self._steers_taken = set()
        self._turn_taken = False

    def _turn_went_on(self) -> None:
        """Take into the conversation what has come to its end."""
        turn = self.turn
        while self._responses_taken < len(turn.responses) and turn.responses[self._responses_taken].is_over:
            self._response_ended(turn.responses[self._responses_taken])
            self._responses_taken += 1
        self._take_steers("committed")
        self._hand_back("failed", "refused", "lost")
        if turn.is_over and not self._turn_taken:
            # Until here a steer that waits for outputs may fail. It is answered with them and not by itself.
            self._take_steers("pending")
            self._answered = len(self.history)
            self._turn_taken = True
            self._turn_ended()

    def _response_ended(self, response: ResponseAccumulator) -> None:
        if response.usage is not None:
            self.usage = self.usage.plus(response.usage)
        if response.status in ("completed", "incomplete"):
            self.history.extend(response.output())
            self._answered = len(self.history)
            self._head_before_steers = None
            if response.id is not None and self._request is not None:
                request = self._request
                self.head = ChainHead(response.id, request.connection, len(self.history), request.stored)
                self.head_lost = None
            else:
                self.head = None
        elif self.head is not None and not self._is_kept_by(response):
            # What a failed response leaves behind is documented nowhere. The next request stands on the log alone.
            self.head = None
            self.head_lost = "head_evicted"

    def _is_kept_by(self, response: ResponseAccumulator) -> bool:
        """Whether the response that a request continued outlives the error that the request was answered with.

        An error evicts it from its lane, unless the request was on another one (OpenAI WebSocket-mode guide,
        "eviction"). If the error is about what the request continued, nothing is left to continue.
        """
        if self._request is None or self._request.plan != "fork":
            return False
        error = response.error
        return error is None or (
            error.code != "previous_response_not_found"
            and error.param not in ("input", "previous_response_id")
        )

    def _take_steers(self, *states: SteerState) -> None:
        """What steers said joins the conversation where the server put it."""
        for steer in self._untaken_steers(states):
            self.history.extend(steer.input or ())
            if self.head is not None:
                # The server has it, and would take it for another one if it came with the next request.
                self._head_before_steers = self._head_before_steers or self.head
                self.head = attrs.evolve(self.head, length=len(self.history))

    def _hand_back(self, *states: SteerState) -> None:
        """What steers said that came to nothing is input for the next request."""
        for steer in self._untaken_steers(states):
            self._added.extend(steer.input or ())

    def _untaken_steers(self, states: tuple[SteerState, ...]) -> list[Steer]:
        steers = self.turn.steers
        places = [place for place, steer in enumerate(steers) if steer.state in states]
        untaken = [place for place in places if place not in self._steers_taken]
        self._steers_taken.update(untaken)
        return [steers[place] for place in untaken]

    def _turn_ended(self) -> None:
        # A response that stopped early is the run's last, unless there is more to say: then its calls need outputs.
        goes_on = self.turn.response.status == "completed" or (
            self.turn.response.status == "incomplete" and self._added
        )
        self._take_calls(self.turn.calls() if goes_on else [])

    def _take_calls(self, calls: list[ToolCall]) -> None:
        self._early.clear()
        self._batch = calls
        self._calls |= {call.call_id: call for call in calls}
        # A call id that already has its outcome is answered from the log and never run again.
        self._pending = {call.call_id: call for call in calls if call.call_id not in self.outcomes}
        if self._pending:
            self.status = "tools"
        else:
            self._answer()

    def _outcome_of(self, call_id: str) -> ToolOutcome | None:
        return self.outcomes.get(call_id) or self.retracted.get(call_id)

    def _count_failure(self, call: ToolCall) -> None:
        if call.call_id in self._counted:
            return
        self._counted.add(call.call_id)
        outcome = self.outcomes[call.call_id]
        key = (call.name, call.arguments)
        if outcome.succeeded:
            self._failures.pop(key, None)
        elif outcome.kind in ("failed", "timed_out"):
            self._failures[key] = self._failures.get(key, 0) + 1

    def _answer(self) -> None:
        """Once every call of the turn has its outcome, the outputs join the conversation in call order."""
        for call in self._batch:
            self._count_failure(call)
        self.history.extend(call.answer(self.outcomes[call.call_id].answer) for call in self._batch)
        if self._batch:
            self.status = "waiting"
        self._batch = []
        self._take_added()

    def _take_added(self) -> None:
        self.history.extend(self._added)
        self._added.clear()

    def _retract(self) -> None:
        # The server's queue of steers is not to be relied on any more; what they said is not to be lost.
        self._hand_back("sent", "accepted")
        self.head = self._unsteered()
        self.status = "waiting"
        # The turn's earlier responses stand, and their calls with them.
        standing = [each for each in self.turn.responses if each.status in ("completed", "incomplete")]
        calls = TurnAccumulator.calls_of(standing)
        for call_id in self._early.difference(call.call_id for call in calls):
            self.retracted[call_id] = self.outcomes.pop(call_id, None)
        self._begin_turn(None)
        self._turn_taken = True
        self._take_calls(calls)
        self._repeats = not self._pending

    def _forget_connection(self) -> None:
        self.head = self._unsteered()
        if self.head is not None and not self.head.stored:
            self.head = None
            self.head_lost = "connection_lost"

    def _unsteered(self) -> ChainHead | None:
        head = self.head and (self._head_before_steers or self.head)
        self._head_before_steers = None
        return head

    def text(self) -> str:
        """The visible text of the last response so far. Costs its length."""
        return self.response.text()

    def state(self) -> Mapping[str, Any]:
        """Everything observable, and everything that the folding of later records depends on."""
        return {
            "snapshot": self.snapshot(),
            "history": self.history,
            "head": self.head,
            "head_lost": self.head_lost,
            "head_before_steers": self._head_before_steers,
            "turn": self.turn.state(),
            "taken": [self._responses_taken, sorted(self._steers_taken), self._turn_taken],
            "answered": self._answered,
            "turn_began": self._turn_began,
            "pending": self.pending,
            "batch": self._batch,
            "added": self._added,
            "outcomes": self.outcomes,
            "started": self._started,
            "retracted": self.retracted,
            "early": sorted(self._early),
            "has_artifacts": self.has_artifacts,
            "counted": sorted(self._counted),
            "failures": sorted([*key, count] for key, count in self._failures.items()),
            "repeats": self._repeats,
            "agent": self.agent,
            "request": self._request,
        }

    def canonical(self) -> bytes:
        """The state as bytes that are equal for equal states. Costs the length of the conversation."""
        return canonical_json(self.state())

    def snapshot(self) -> RunState:
        """The state now, frozen. Costs the length of the last response and the number of calls."""
        running = tuple(
            started.name for id_, started in self._started.items() if self._outcome_of(id_) is None
        )
        finished = tuple(
            FinishedCall(self._calls[call_id], outcome)
            for call_id, outcome in self.outcomes.items()
            if call_id in self._calls
        )
        return RunState(
            run_id=self.run_id,
            status=self.status,
            turns=self.turns,
            tool_calls=finished,
            running_tools=running,
            text=self.text(),
            usage=self.usage,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            reconnects=self.reconnects,
            replays=self.replays,
            connection=self._request.connection if self._request is not None else None,
            response_id=self.head.response_id if self.head else None,
            reason=self.reason,
            transport=self.transport,
            steers=tuple(self.turn.steers),
        )
