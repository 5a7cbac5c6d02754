"""The calls of a run that wait for a person: what is asked, what is decided, and which calls may run meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, final

import attrs

from triplane.core.approvals import question_about
from triplane.core.errors import ApprovalRequired, ConfigError, Receipt
from triplane.core.outcome import ToolOutcome
from triplane.core.records import ApprovalGiven, ToolFinished
from triplane.tools import results, tool_for
from triplane.tools.approval import asks_first

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.core.outcome import ToolCall
    from triplane.core.records import ApprovalAsked, Body
    from triplane.core.reducer import RunReducer
    from triplane.tools import Vault

    from .agent import Agent

_MOST_NAMED: Final = 5
_LONGEST_NAME: Final = 64


@final
class ApprovalGate:
    """What a run has to do with the person who decides.

    Args:
        agent: Whose tools.
        run: The run's state.
        record: Appends to the run's log and folds. Not a checkpoint.
        is_begun: Whether a call runs already, or has what another one of its kind brings.
        vault: What the masks in its calls' arguments stand for.
    """

    def __init__(
        self,
        agent: Agent,
        run: RunReducer,
        record: Callable[[Body], None],
        is_begun: Callable[[ToolCall], bool],
        vault: Vault,
    ) -> None:
        self._agent = agent
        self._run = run
        self._record = record
        self._is_begun = is_begun
        self._vault = vault

    # For the run's own task.

    def sort(self, calls: Iterable[ToolCall]) -> list[ToolCall]:
        """Ask what has to be asked, and return which of a turn's calls may run now. Not a checkpoint.

        Calls that nobody is asked about come first. The others run together, once everything is decided; those that were
        denied get their outcome here.
        """
        calls, book = list(calls), self._run.approvals
        for call in calls:
            if call.call_id not in book.asked and not self._is_begun(call):
                tool = tool_for(call, self._agent.tools_by_name)
                note = None if tool is None else asks_first(tool, call, self._vault)
                if note is not None:
                    self._record(question_about(call, note))
        # Also what was asked during a call that has ended since: the server still waits for an answer.
        asked = {question.call_id for question in book.open}
        for question in book.unanswered:
            if question.call_id not in asked:
                self._record(question)
        held = book.held
        free = [
            call
            for call in calls
            if self._is_begun(call) or (call.call_id not in book.asked and call.call_id not in held)
        ]
        if free or book.open:
            return free
        approved = []
        for call in calls:
            decision = book.decision(question_about(call))
            if decision is not None and decision.approved:
                approved.append(call)
            else:
                reason = "" if decision is None else decision.reason
                outcome = ToolOutcome("denied", results.denied(reason))
                self._record(ToolFinished(call.call_id, call.full_name, outcome))
        return approved

    # For whoever decides.

    def decide(self, decisions: Decisions) -> None:
        """Record what was decided, and let the run go on if that was all. Not a checkpoint.

        Raises:
            ConfigError: Nothing of the kind is open; nothing was recorded.
            LedgerFailed: It could not be recorded.
        """
        decisions.check(self._run)
        for given in decisions.given:
            self._record(given)


@attrs.frozen
class Decisions:
    """What a person has decided.

    Attributes:
        given: Each decision.
    """

    given: tuple[ApprovalGiven, ...] = ()

    @classmethod
    def of(cls, approve: Iterable[str], deny: Mapping[str, str] | Iterable[str]) -> Decisions:
        """The decisions that a caller gives.

        Args:
            approve: Ids of calls.
            deny: Ids of calls, perhaps with a reason each.

        Raises:
            ConfigError: They are not that, or one is both.
        """
        for name, given in (("approve", approve), ("deny", deny)):
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise ConfigError(f"{name}= takes the ids of calls in a list, not {given!r:.80}")
        ids, no = tuple(approve), tuple(deny)
        for call_id in (*ids, *no, *(deny.values() if isinstance(deny, Mapping) else ())):
            if not isinstance(call_id, str):
                raise ConfigError(f"ids of calls and reasons are text, not {call_id!r:.80}")
            if not _is_text(call_id):
                raise ConfigError(
                    f"ids of calls and reasons are text, and {call_id!r:.80} holds a lone surrogate"
                )
        reasons = deny if isinstance(deny, Mapping) else dict.fromkeys(no, "")
        yes = dict.fromkeys(ids)
        if both := yes.keys() & reasons.keys():
            raise ConfigError(f"the call {min(both)!r:.80} cannot be both approved and denied")
        return cls(
            (
                *(ApprovalGiven(call_id, approved=True) for call_id in yes),
                *(ApprovalGiven(call_id, approved=False, reason=why) for call_id, why in reasons.items()),
            )
        )

    def without_repeated(self, run: RunReducer) -> Decisions:
        """Those that are not in the log already: whoever resumes a run once more may say the same once more."""
        before = run.approvals.given

        def is_new(given: ApprovalGiven) -> bool:
            earlier = before.get(given.call_id)
            return earlier is None or earlier.approved != given.approved

        return Decisions(tuple(filter(is_new, self.given)))

    def check(self, run: RunReducer) -> None:
        """Check that everything that is decided is open.

        Raises:
            ConfigError: It is not; the message says what is.
        """
        book = run.approvals
        there = {asked.call_id for asked in book.open}
        for given in self.given:
            if given.call_id in there:
                continue
            earlier = book.given.get(given.call_id)
            if earlier is not None:
                words = (
                    f"was {'approved' if earlier.approved else 'denied'} already, which cannot be taken back"
                )
            elif given.call_id in book.asked:
                words = "waits for nobody any more: it has its outcome"
            else:
                words = "waits for no approval"
            waiting = named(book.open) or "nothing"
            raise ConfigError(f"the call {given.call_id!r:.80} {words}; what is open: {waiting}")


def _is_text(value: str) -> bool:
    """Whether a request may hold it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def required(run: RunReducer) -> ApprovalRequired:
    """The error for a run that goes on only when somebody has decided."""
    return ApprovalRequired(
        f"run {run.run_id} is parked until somebody decides about {named(run.approvals.open)}; decide with run.approve(…)"
        f" and run.deny(…) where it is open, else with engine.resume({run.run_id!r}, agent, approve=[…], deny={{…}})",
        run_id=run.run_id,
        approvals=run.approvals.open,
        receipt=Receipt(sent="finished", effects=run.calls.effects, next="resume"),
    )


def named(approvals: Iterable[ApprovalAsked]) -> str:
    """Which calls these are, in a few words."""
    names = [f"{each.name[:_LONGEST_NAME]} ({each.call_id[:_LONGEST_NAME]})" for each in approvals]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
