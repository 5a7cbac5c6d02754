"""What a run's log tells of the run itself: its beginning, its input, its end."""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs

from .entry import Item, LogEntry

EndStatus = Literal["completed", "incomplete", "failed", "cancelled"]


@attrs.frozen(repr=False)
class ForkedFrom(LogEntry):
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
class RunStarted(LogEntry):
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
class RunResumed(LogEntry):
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
class InputAdded(LogEntry):
    """Input from outside joined the conversation; the next request carries it."""

    type: ClassVar[str] = "triplane.input_added"
    items: tuple[Item, ...]


@attrs.frozen(repr=False)
class RunParked(LogEntry):
    """The run waits for decisions, and holds no lane meanwhile. It goes on with the last `ApprovalGiven`.

    It may be the last record for long: who leaves a parked run leaves it as it is, to be resumed by anybody.

    Attributes:
        approvals: The ids of the calls that wait for a decision.
    """

    type: ClassVar[str] = "triplane.run_parked"
    approvals: tuple[str, ...]


@attrs.frozen(repr=False)
class RunEnded(LogEntry):
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
