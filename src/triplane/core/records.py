"""What a run's log consists of: one class for each kind of entry.

A log is append-only and ordered by `Record.sequence`, which starts at 0 and has no gap. The body of a record is
also the event that readers of a run get; a `FramesReceived` is given to them as the server events inside it.
Bodies hold wire data as received, so that folding a log again needs nothing but the log.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from .approval_records import ApprovalAsked, ApprovalGiven
from .entry import Item, LogEntry
from .run_records import EndStatus, ForkedFrom, InputAdded, RunEnded, RunParked, RunResumed, RunStarted
from .tool_records import LateResultDropped, ToolFinished, ToolProgress, ToolQueued, ToolStarted
from .turn_records import (
    ConnectionDropped,
    DifferencesFound,
    FramesReceived,
    PlanKind,
    PlanReason,
    RequestSent,
    ResponseRetracted,
    RetractReason,
    RetryScheduled,
    SilencePhase,
    SteerSent,
    SteersRequeued,
    StillWaiting,
    TransportChanged,
    UndecodableFrame,
)

__all__ = [
    "NOTES",
    "ApprovalAsked",
    "ApprovalGiven",
    "Body",
    "ConnectionDropped",
    "DifferencesFound",
    "EndStatus",
    "ForkedFrom",
    "FramesReceived",
    "InputAdded",
    "Item",
    "LateResultDropped",
    "PlanKind",
    "PlanReason",
    "Record",
    "RequestSent",
    "ResponseRetracted",
    "RetractReason",
    "RetryScheduled",
    "RunEnded",
    "RunParked",
    "RunResumed",
    "RunStarted",
    "SilencePhase",
    "SteerSent",
    "SteersRequeued",
    "StillWaiting",
    "ToolFinished",
    "ToolProgress",
    "ToolQueued",
    "ToolStarted",
    "TransportChanged",
    "UndecodableFrame",
    "UnknownRecord",
]


@attrs.frozen(repr=False)
class UnknownRecord(LogEntry):
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
    | RetryScheduled
    | ConnectionDropped
    | ToolQueued
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | LateResultDropped
    | ApprovalAsked
    | ApprovalGiven
    | RunParked
    | RunEnded
    | UnknownRecord
)

# What tells of a run and changes nothing about it. All other kinds are essential, see `UnknownRecord`.
NOTES: tuple[type, ...] = (DifferencesFound, StillWaiting, RetryScheduled, ToolProgress, LateResultDropped)


@attrs.frozen(repr=False)
class Record(LogEntry):
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
