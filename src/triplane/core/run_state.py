"""What state a run is in, as readers of it get it: frozen, at one moment."""

from __future__ import annotations

from typing import Literal

import attrs

from .approval_records import ApprovalAsked
from .outcome import ToolCall, ToolOutcome
from .transport import Transport
from .turn import Steer

RunStatus = Literal[
    "new", "waiting", "model", "tools", "parked", "completed", "incomplete", "failed", "cancelled"
]


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
        status: ``"waiting"`` for a lane, ``"model"``, ``"tools"``, ``"parked"`` until a person has decided, or how it
            ended.
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
        approvals: The calls that wait for a person's decision, in the order in which they were asked about.
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
    approvals: tuple[ApprovalAsked, ...] = ()

    @property
    def tool_seconds(self) -> float:
        """Seconds spent in tools, parallel calls added up."""
        return sum(finished.outcome.seconds for finished in self.tool_calls)
