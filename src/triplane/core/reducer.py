"""What state a run is in: its records folded, live and replayed alike.

`RunReducer.apply` is the only way in which a run's state changes. The run's driver reads the accumulator's fields to
decide what to do next; everybody else gets a frozen `RunState`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .approvals import ApprovalBook, questions_of
from .calls import CallBook
from .canonical import canonical_json
from .conversation import ConversationBook
from .records import (
    ApprovalAsked,
    ApprovalGiven,
    ConnectionDropped,
    FramesReceived,
    InputAdded,
    RequestSent,
    ResponseRetracted,
    RunEnded,
    RunParked,
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
from .run_state import FinishedCall, RunState, RunStatus, RunUsage
from .turn import TurnAccumulator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from triplane.protocol import ServerEvent

    from .accumulator import ResponseAccumulator
    from .continuation import ChainHead
    from .conversation import HeadLost
    from .records import Item, Record, UndecodableFrame
    from .transport import Transport
    from .turn import Steer, SteerState


class RunReducer:
    """One run's state as its records make it. `apply` is the only way in.

    It is total: no record in any order raises, and one of a class that it does not know changes nothing. It is
    deterministic, and linear in the log. After `RunEnded` nothing changes any more, unless a run that failed or was
    cancelled is resumed.

    Attributes:
        run_id: The run.
        status: See `RunState`.
        turns: See `RunState`.
        conversation: What was said, and from where in it the next request may continue.
        turn: What the request in hand has brought.
        calls: The calls that the turns have brought, and what became of each.
        approvals: Which of them a person was asked about, and what was decided.
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
        self.conversation = ConversationBook()
        self.turn = TurnAccumulator()
        self.calls = CallBook()
        self.approvals = ApprovalBook()
        self.usage = RunUsage()
        self.bytes_up = 0
        self.bytes_down = 0
        self.reconnects = 0
        self.replays = 0
        self.reason = ""
        self.transport: Transport = "websocket"
        self.agent: RunStarted | RunResumed | None = None
        self._request: RequestSent | None = None
        # How much of the turn is in the conversation: its responses, the inputs of its steers, and whether it is over.
        self._responses_taken = 0
        self._steers_taken: set[int] = set()
        self._turn_taken = False
        # Input from outside waits until the conversation has come to a place where it may stand.
        self._added: list[Item] = []
        # Whether the next request is another attempt at the turn before it.
        self._repeats = False

    @property
    def history(self) -> list[Item]:
        """See `ConversationBook.items`."""
        return self.conversation.items

    @property
    def head(self) -> ChainHead | None:
        """See `ConversationBook`."""
        return self.conversation.head

    @property
    def head_lost(self) -> HeadLost | None:
        """See `ConversationBook`."""
        return self.conversation.head_lost

    @property
    def response(self) -> ResponseAccumulator:
        """The response in hand: the latest of the turn."""
        return self.turn.response

    @property
    def has_request_in_hand(self) -> bool:
        """Whether a request was sent whose turn has neither come to its end nor been retracted."""
        return self.turns > 0 and (not self._turn_taken or self.turn.response.status in ("failed", "error"))

    @property
    def owes_answers(self) -> bool:
        """Whether the turn is over, and the next request has to bring outputs or approvals that are not known yet."""
        return bool(self.calls.pending or self.approvals.unanswered)

    @property
    def needs_request(self) -> bool:
        """Whether it is the model's turn. Otherwise calls wait for their outputs or for approval, or all is said."""
        has_answer = self.turn.is_over and self.turn.response.status in ("completed", "incomplete")
        return not self.owes_answers and (self.has_unanswered_input or not has_answer)

    @property
    def next_attempt(self) -> tuple[int, int]:
        """The number of the turn that the next request is for, and of the attempt at it."""
        if self._repeats and self._request is not None:
            return self.turns, self._request.attempt + 1
        return self.turns + 1, 1

    @property
    def has_unanswered_input(self) -> bool:
        """Whether the conversation holds something that the model has not answered: a run that ended would drop it."""
        return self.conversation.has_unanswered or bool(self._added)

    def settled(self) -> tuple[tuple[Item, ...], ChainHead | None]:
        """The conversation up to the last place where nothing waits for an output or a decision, and the head there.

        A fork begins there. What a running response has brought so far is no part of it, nor what a response brought
        whose tools are running, nor input that waits for the next turn.
        """
        is_open = bool(unanswered_calls(self.history, self.history) or self.approvals.unanswered)
        return self.conversation.settled(is_open=is_open)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in ("completed", "incomplete", "failed", "cancelled")

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
                self.calls.started(body)
            case ToolQueued():
                self.calls.queued(body)
            case ToolFinished():
                self.approvals.finish(body.call_id)
                if self.calls.finished(body) and not self.owes_answers:
                    self._answer()
                if deliveries := self.calls.deliveries():
                    self._add(deliveries)
            case ApprovalAsked():
                self.approvals.ask(body)
            case ApprovalGiven():
                self._decided(body)
            case RunParked():
                if self.owes_answers and self.approvals.open:
                    self.status = "parked"
            case RequestSent():
                if body.turn == self.turns:
                    self.replays += 1
                else:
                    self.conversation.begin_turn()
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
                self.conversation.add(body.input)
                if body.forked_from is not None:
                    self.conversation.inherit(body.forked_from)
            case RunResumed():
                self._resume(body)
            case InputAdded() | SteerSent():
                # A steer that was sent too late is input for the next request.
                self._add(body.items)
            case SteersRequeued():
                self.turn.give_up_steers()
                self._turn_went_on()
            case ResponseRetracted():
                self._retract()
            case ConnectionDropped():
                self.reconnects += 1
                self.conversation.forget_connection()
            case RunEnded():
                self.status = body.status
                self.reason = body.reason

    def _add(self, items: Iterable[Item]) -> None:
        """Input that the model does not wait for joins the conversation, at once if it may stand there."""
        self._added.extend(items)
        if self.status in ("new", "waiting") or (self._turn_taken and not self.owes_answers):
            self._take_added()

    def _resume(self, body: RunResumed) -> None:
        self.agent = body
        self.reason = ""
        if self.status != "new":
            self.status = "tools" if self.owes_answers else "model" if self.has_request_in_hand else "waiting"
            self._wait_for_outstanding()
        self.conversation.forget_connection()

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
            self.conversation.note_answered()
            self._turn_taken = True
            self._turn_ended()

    def _response_ended(self, response: ResponseAccumulator) -> None:
        if response.usage is not None:
            self.usage = self.usage.plus(response.usage)
        if response.status in ("completed", "incomplete"):
            self.conversation.add_response(response.output(), response.id, self._request)
        elif not self._is_kept_by(response):
            # What a failed response leaves behind is documented nowhere. The next request stands on the log alone.
            self.conversation.evict_head()

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
            self.conversation.add_steer(steer.input or ())

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
        if self.turn.response.status in ("completed", "incomplete"):
            # What failed may be retracted yet, and with it the calls that it started early.
            self.calls.stand()
        # A response that stopped early is the run's last, unless there is more to say: then its calls need outputs.
        goes_on = self.turn.response.status == "completed" or (
            self.turn.response.status == "incomplete" and (self._added or self.calls.outstanding)
        )
        self._take_calls(self.turn.responses if goes_on else [])

    def _take_calls(self, responses: list[ResponseAccumulator]) -> None:
        owes_outputs = self.calls.take(TurnAccumulator.calls_of(responses))
        owes_decisions = self.approvals.take(questions_of(responses))
        self._added.extend(self.calls.deliveries())
        if owes_outputs or owes_decisions:
            self.status = "tools"
        else:
            self._answer()

    def _decided(self, body: ApprovalGiven) -> None:
        is_last = self.approvals.give(body)
        if self.status == "parked" and not self.approvals.open:
            self.status = "tools"
        if is_last and not self.owes_answers:
            self._answer()

    def _answer(self) -> None:
        """Once nothing is owed any more, the outputs and approvals join the conversation."""
        answers = [*self.calls.answers(), *self.approvals.answers()]
        self.conversation.add(answers)
        if answers:
            self.status = "waiting"
        self._take_added()
        self._wait_for_outstanding()

    def _wait_for_outstanding(self) -> None:
        """When all else is said, a run waits for the calls that the model did not wait for."""
        is_between = self.status in ("model", "waiting") and self._turn_taken
        if is_between and self.calls.outstanding and not self.needs_request:
            self.status = "tools"

    def _take_added(self) -> None:
        if self._added and self.status == "tools":
            self.status = "waiting"
        self.conversation.add(self._added)
        self._added.clear()

    def _retract(self) -> None:
        # The server's queue of steers is not to be relied on any more; what they said is not to be lost.
        self._hand_back("sent", "accepted")
        self.conversation.forget_steers()
        self.status = "waiting"
        # The turn's earlier responses stand, and their calls with them.
        standing = [each for each in self.turn.responses if each.status in ("completed", "incomplete")]
        self.calls.retract(TurnAccumulator.calls_of(standing))
        self._begin_turn(None)
        self._turn_taken = True
        self._take_calls(standing)
        self._repeats = not self.owes_answers

    def text(self) -> str:
        """The visible text of the last response so far. Costs its length."""
        return self.response.text()

    def state(self) -> Mapping[str, Any]:
        """Everything observable, and everything that the folding of later records depends on."""
        return {
            "snapshot": self.snapshot(),
            **self.conversation.state(),
            "turn": self.turn.state(),
            "taken": [self._responses_taken, sorted(self._steers_taken), self._turn_taken],
            "calls": self.calls.state(),
            "approvals": self.approvals.state(),
            "added": self._added,
            "repeats": self._repeats,
            "agent": self.agent,
            "request": self._request,
        }

    def canonical(self) -> bytes:
        """The state as bytes that are equal for equal states. Costs the length of the conversation."""
        return canonical_json(self.state())

    def snapshot(self) -> RunState:
        """The state now, frozen. Costs the length of the last response and the number of calls."""
        calls = self.calls
        finished = tuple(
            FinishedCall(calls.known[call_id], outcome)
            for call_id, outcome in calls.outcomes.items()
            if call_id in calls.known
        )
        return RunState(
            run_id=self.run_id,
            status=self.status,
            turns=self.turns,
            tool_calls=finished,
            running_tools=tuple(started.name for started in calls.running),
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
            approvals=self.approvals.open,
        )
