"""What state a run is in: its records folded, live and replayed alike.

`RunReducer.apply` is the only way in which a run's state changes. The run's driver reads the accumulator's fields to
decide what to do next; everybody else gets a frozen `RunState`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from .accumulator import ResponseAccumulator, text_of
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
    RunStarted,
    ToolFinished,
    ToolStarted,
)

if TYPE_CHECKING:
    from .records import Item, Record

RunStatus = Literal[
    "new", "waiting", "model", "tools", "completed", "incomplete", "failed", "cancelled"
]
_OUTPUT_TYPES = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


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

    @property
    def tool_seconds(self) -> float:
        """Seconds spent in tools, parallel calls added up."""
        return sum(finished.outcome.seconds for finished in self.tool_calls)


class RunReducer:
    """One run's accumulator. Total, deterministic, and linear in the log."""

    def __init__(self) -> None:
        self.run_id = ""
        self.status: RunStatus = "new"
        self.turns = 0
        self.history: list[Item] = []
        self.head: ChainHead | None = None
        self.head_lost: Literal["connection_lost", "head_evicted"] | None = None
        self.response = ResponseAccumulator()
        self.pending: list[ToolCall] = []
        self.usage = RunUsage()
        self.bytes_up = 0
        self.bytes_down = 0
        self.reconnects = 0
        self.replays = 0
        self.reason = ""
        self._connection: str | None = None
        self._stored = False
        self._batch: list[ToolCall] = []
        self._calls: dict[str, ToolCall] = {}
        self._started: dict[str, str] = {}
        self.outcomes: dict[str, ToolOutcome] = {}

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in ("completed", "incomplete", "failed", "cancelled")

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The calls whose code started, in order, with what is known of each."""
        return tuple(
            Effect(call_id, name, self.outcomes[call_id].kind if call_id in self.outcomes else "unknown")
            for call_id, name in self._started.items()
        )

    def apply(self, record: Record) -> None:
        """Fold one record."""
        body = record.body
        match body:
            case FramesReceived():
                self.bytes_down += record.size
                for event in body.events:
                    was_over = self.response.is_over
                    self.response.apply(event)
                    if self.response.is_over and not was_over:
                        self._response_ended()
            case ToolStarted():
                self._started[body.call_id] = body.name
            case ToolFinished():
                self.outcomes[body.call_id] = body.outcome
                self.pending = [call for call in self.pending if call.call_id != body.call_id]
                if not self.pending:
                    self._answer()
            case RequestSent():
                if body.turn == self.turns:
                    self.replays += 1
                self.turns = body.turn
                self.bytes_up += body.size
                self.status = "model"
                self.response = ResponseAccumulator()
                self._connection = body.connection
                self._stored = body.stored
            case RunStarted():
                self.run_id = body.run_id
                self.status = "waiting"
                self.history.extend(body.input)
            case InputAdded():
                self.history.extend(body.items)
            case ResponseRetracted():
                self.status = "waiting"
                self.response = ResponseAccumulator()
            case ConnectionDropped():
                self.reconnects += 1
                if self.head is not None and not self.head.stored:
                    self.head = None
                    self.head_lost = "connection_lost"
            case RunEnded():
                self.status = body.status
                self.reason = body.reason

    def _response_ended(self) -> None:
        response = self.response
        if response.usage is not None:
            self.usage = self.usage.plus(response.usage)
        if response.status in ("completed", "incomplete"):
            self.history.extend(response.output())
            if response.id is not None and self._connection is not None:
                self.head = ChainHead(response.id, self._connection, len(self.history), self._stored)
                self.head_lost = None
        else:
            # A same-lane error evicts the parent it referred to (OpenAI WebSocket-mode guide, "eviction"), and what
            # a failed response leaves behind is documented nowhere: the next request stands on the log alone.
            self.head = None
            self.head_lost = "head_evicted"
        if response.status == "completed":
            self._batch = response.calls()
            self._calls.update((call.call_id, call) for call in self._batch)
            # A call id that already has its outcome is answered from the log and never run again.
            self.pending = [call for call in self._batch if call.call_id not in self.outcomes]
            if self.pending:
                self.status = "tools"
            else:
                self._answer()

    def _answer(self) -> None:
        """Once every call of the response has its outcome, the outputs join the conversation in call order."""
        for call in self._batch:
            outcome = self.outcomes.get(call.call_id)
            if outcome is not None:
                self.history.append(
                    {"type": _OUTPUT_TYPES[call.kind], "call_id": call.call_id, "output": outcome.output}
                )
        if self._batch:
            self.status = "waiting"
        self._batch = []

    def text(self) -> str:
        """The visible text of the last response so far."""
        return text_of(self.response.output())

    def snapshot(self) -> RunState:
        """The state now, frozen. Costs the length of the last response and the number of calls."""
        running = tuple(name for call_id, name in self._started.items() if call_id not in self.outcomes)
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
            connection=self._connection,
            response_id=self.head.response_id if self.head else None,
            reason=self.reason,
        )
