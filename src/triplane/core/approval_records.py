"""What a run's log tells of the calls that wait for a person."""

from __future__ import annotations

from typing import ClassVar

import attrs

from .entry import LogEntry


@attrs.frozen(repr=False)
class ApprovalAsked(LogEntry):
    """A call waits for a person's decision: it was asked for, and is not run before.

    Attributes:
        call_id: The call; of an MCP server's tool, the request for approval.
        name: The tool.
        arguments: The arguments as the model wrote them.
        server_label: The MCP server that the model's server would call, None for a tool of the agent's own.
        note: Why it is asked about, where that is not by itself clear; else empty.
        in_call: The call during which it is asked, where that call runs another agent, whose run is parked; None for a
            call of this run itself.
    """

    type: ClassVar[str] = "triplane.approval_asked"
    call_id: str
    name: str
    arguments: str
    server_label: str | None = None
    note: str = ""
    in_call: str | None = None


@attrs.frozen(repr=False)
class ApprovalGiven(LogEntry):
    """A person has decided about a call.

    Attributes:
        call_id: See `ApprovalAsked`.
        approved: Whether it may run. If not, the model is told so.
        reason: For the model: why not. May be empty.
    """

    type: ClassVar[str] = "triplane.approval_given"
    call_id: str
    approved: bool
    reason: str = ""
