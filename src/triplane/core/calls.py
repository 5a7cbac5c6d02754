"""Which calls a run's turns have brought, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answers import answers_of
from .errors import Effect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .outcome import ToolCall, ToolOutcome
    from .tool_records import ToolFinished, ToolQueued, ToolStarted


class CallBook:
    """The book of a run's calls. Only the run's reducer writes in it.

    Attributes:
        known: Every call that counts, by its id.
        outcomes: The outcomes by call id. A call has one; what is reported later is not taken.
        retracted: The outcomes, None while there is none, of calls that had started early, by their ids, when the
            response that they were of was retracted. They do not count unless another call takes them over.
        has_artifacts: Whether a call left more output than the model was given.
    """

    def __init__(self) -> None:
        self.known: dict[str, ToolCall] = {}
        self.outcomes: dict[str, ToolOutcome] = {}
        self.retracted: dict[str, ToolOutcome | None] = {}
        self.has_artifacts = False
        # The calls of the turn that the model waits for, and which of them have no outcome yet.
        self._batch: list[ToolCall] = []
        self._pending: dict[str, ToolCall] = {}
        # The calls of all turns that it does not wait for: those without an outcome, and those whose outcome is new.
        self._outstanding: dict[str, ToolCall] = {}
        self._undelivered: list[ToolCall] = []
        self._started: dict[str, ToolStarted] = {}
        # The calls that have started early in the turn in hand.
        self._early: set[str] = set()
        # How often in a row a call of the same tool with the same arguments has failed.
        self._failures: dict[tuple[str, str], int] = {}
        self._counted: set[str] = set()

    @property
    def pending(self) -> list[ToolCall]:
        """The calls that have no outcome yet and that the model waits for, once the turn is over."""
        return list(self._pending.values())

    @property
    def outstanding(self) -> list[ToolCall]:
        """The calls that have no outcome yet and that the model does not wait for, of all turns that are over."""
        return list(self._outstanding.values())

    @property
    def in_doubt(self) -> list[ToolStarted]:
        """The calls whose code started and whose outcome is not known, once the turn is over."""
        return [
            self._started[call_id]
            for call_id in {**self._pending, **self._outstanding}
            if call_id in self._started
        ]

    @property
    def running(self) -> list[ToolStarted]:
        """The calls whose code started and has no outcome yet, of whatever response."""
        return [started for call_id, started in self._started.items() if self.outcome_of(call_id) is None]

    @property
    def effects(self) -> tuple[Effect, ...]:
        """The calls whose code started, in order, with what is known of each."""
        known = ((id_, started.name, self.outcome_of(id_)) for id_, started in self._started.items())
        return tuple(Effect(id_, name, "unknown" if one is None else one.kind) for id_, name, one in known)

    @property
    def repeated_failures(self) -> tuple[str, int]:
        """The tool that has failed most often in a row for the same arguments, and how often."""
        return max(
            ((name, count) for (name, _), count in self._failures.items()),
            key=lambda each: each[1],
            default=("", 0),
        )

    def outcome_of(self, call_id: str) -> ToolOutcome | None:
        """What became of a call, of one that was retracted as well; None if that is not known yet."""
        return self.outcomes.get(call_id) or self.retracted.get(call_id)

    def queued(self, body: ToolQueued) -> None:
        """A call was taken up."""
        if body.early:
            self._early.add(body.call_id)

    def started(self, body: ToolStarted) -> None:
        """A call's code is about to run."""
        self._started[body.call_id] = body

    def finished(self, body: ToolFinished) -> bool:
        """A call has its outcome. Whether it is the last one that the turn waited for."""
        if body.outcome.artifact is not None:
            self.has_artifacts = True
        if body.reused_from is None and body.call_id in self.retracted:
            self.retracted[body.call_id] = body.outcome
            return False
        self.outcomes.setdefault(body.call_id, body.outcome)
        if (call := self._outstanding.pop(body.call_id, None)) is not None:
            self._undelivered.append(call)
        return self._pending.pop(body.call_id, None) is not None and not self._pending

    def take(self, calls: list[ToolCall]) -> bool:
        """The turn is over, and these are its calls. Whether the run has to wait for any of them."""
        self._batch = [call for call in calls if not call.is_async]
        self.known |= {call.call_id: call for call in calls}
        # A call id that already has its outcome is answered from the log and never run again. One that is outstanding
        # is not run again either: its outcome, once it comes, is that of both.
        self._pending = {call.call_id: call for call in self._batch if call.call_id not in self.outcomes}
        for call in calls:
            if call.is_async and call.call_id in self.outcomes:
                self._undelivered.append(call)
            elif call.is_async:
                self._outstanding.setdefault(call.call_id, call)
        return bool(self._pending)

    def retract(self, standing: Iterable[ToolCall]) -> None:
        """The response in hand was retracted: calls that it had started early, except these, do not count."""
        for call_id in self._early.difference(call.call_id for call in standing):
            self.retracted[call_id] = self.outcomes.pop(call_id, None)
        self._early.clear()

    def stand(self) -> None:
        """The turn's responses stand: nothing retracts what they started early any more."""
        self._early.clear()

    def answers(self) -> list[dict[str, Any]]:
        """The outputs of the turn's calls, in the order of the calls, once each has its outcome; and only once."""
        batch, self._batch = self._batch, []
        return self._answered(batch)

    def deliveries(self) -> list[dict[str, Any]]:
        """The outputs of calls that the model did not wait for, once each has its outcome; and only once."""
        if not self._undelivered:
            return []
        ready, self._undelivered = self._undelivered, []
        return self._answered(ready)

    def _answered(self, calls: list[ToolCall]) -> list[dict[str, Any]]:
        for call in calls:
            self._count_failure(call)
        return answers_of((call, self.outcomes[call.call_id]) for call in calls)

    def _count_failure(self, call: ToolCall) -> None:
        if call.call_id in self._counted:
            return
        self._counted.add(call.call_id)
        outcome = self.outcomes[call.call_id]
        key = (call.full_name, call.arguments)
        if outcome.succeeded:
            self._failures.pop(key, None)
        elif outcome.kind in ("failed", "timed_out"):
            self._failures[key] = self._failures.get(key, 0) + 1

    def state(self) -> dict[str, Any]:
        """Everything that can be asked of it now or later."""
        return {
            "known": self.known,
            "pending": self.pending,
            "batch": self._batch,
            "outstanding": self.outstanding,
            "undelivered": self._undelivered,
            "outcomes": self.outcomes,
            "started": self._started,
            "retracted": self.retracted,
            "early": sorted(self._early),
            "has_artifacts": self.has_artifacts,
            "counted": sorted(self._counted),
            "failures": sorted([*key, count] for key, count in self._failures.items()),
        }
