"""Which calls a person was asked about, and what was decided.

A decision is about one call: its name, its arguments and, of an MCP server's tool, the server. Ids come from the server;
another call that has the id of one that was approved has not been approved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .approval_records import ApprovalAsked, ApprovalGiven

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .accumulator import ResponseAccumulator
    from .entry import Item
    from .outcome import ToolCall

_ID_USED: Final = "Its id is that of another call, which a person was asked about before."


class ApprovalBook:
    """The book of a run's approvals. Only the run's reducer writes in it.

    Attributes:
        asked: What was asked, by the ids of calls, in order. Of several questions about an id the first counts, as long
            as somebody needs the answer.
        given: What was decided, likewise.
    """

    def __init__(self) -> None:
        self.asked: dict[str, ApprovalAsked] = {}
        self.given: dict[str, ApprovalGiven] = {}
        # Calls that have their outcome without a decision, such as those that were cancelled.
        self._finished: set[str] = set()
        # What the server asks in the turn: it waits for an answer to each.
        self._batch: list[ApprovalAsked] = []

    @property
    def open(self) -> tuple[ApprovalAsked, ...]:
        """What was asked and is not decided."""
        done = self._finished
        return tuple(asked for id_, asked in self.asked.items() if id_ not in self.given and id_ not in done)

    @property
    def held(self) -> set[str]:
        """The calls that run other agents which wait for a decision."""
        return {asked.in_call for asked in self.open if asked.in_call is not None}

    def supports(self, call_id: str) -> bool:
        """Whether something was decided about a call, or during it."""
        return any(call_id in (id_, self.asked[id_].in_call) for id_ in self.given)

    @property
    def unanswered(self) -> list[ApprovalAsked]:
        """What the server asks in the turn, and is not decided. It need not have been recorded as asked."""
        return [question for question in self._batch if self.decision(question) is None]

    def decision(self, question: ApprovalAsked) -> ApprovalGiven | None:
        """What was decided about a call; None if nothing was yet. Denied if it has the id of another one.

        Args:
            question: What would be asked about it.
        """
        asked = self.asked.get(question.call_id)
        if asked is None:
            return None
        if _subject(asked) != _subject(question):
            return ApprovalGiven(question.call_id, approved=False, reason=_ID_USED)
        return self.given.get(question.call_id)

    def ask(self, asked: ApprovalAsked) -> None:
        """A person was asked. What had become needless is open again if the same is asked once more."""
        id_ = asked.call_id
        before = self.asked.setdefault(id_, asked)
        if id_ in self._finished and id_ not in self.given and _subject(before) == _subject(asked):
            self.asked[id_] = asked
            self._finished.discard(id_)

    def give(self, given: ApprovalGiven) -> bool:
        """It was decided. Whether that is the last answer that the server waited for."""
        if given.call_id not in self.asked or given.call_id in self.given:
            return False
        waited = bool(self.unanswered)
        self.given[given.call_id] = given
        return waited and not self.unanswered

    def finish(self, call_id: str) -> None:
        """A call has its outcome, and needs no decision any more, nor does what was asked during it."""
        for id_, asked in self.asked.items():
            if call_id == (asked.in_call or (id_ if asked.server_label is None else None)):
                self._finished.add(id_)

    def take(self, questions: list[ApprovalAsked]) -> bool:
        """The turn is over, and this is what the server asks. Whether the run has to wait for any of it."""
        self._batch = questions
        return bool(self.unanswered)

    def answers(self) -> list[Item]:
        """The items that answer the server's questions, in their order, once each is decided; and only once."""
        batch, self._batch = self._batch, []
        decisions = [self.decision(question) for question in batch]
        return [_response(given) for given in decisions if given is not None]

    def state(self) -> dict[str, Any]:
        """Everything that can be asked of it now or later."""
        return {
            "asked": self.asked,
            "given": self.given,
            "finished": sorted(self._finished),
            "batch": self._batch,
        }


def question_about(call: ToolCall, note: str = "") -> ApprovalAsked:
    """What a person is asked about a call of one of the agent's tools."""
    return ApprovalAsked(call.call_id, call.full_name, call.arguments, note=note)


def questions_of(responses: Iterable[ResponseAccumulator]) -> list[ApprovalAsked]:
    """What the server asks in some responses, in order, each id once: their ``mcp_approval_request`` items."""
    found: dict[str, ApprovalAsked] = {}
    for response in responses:
        for item in response.built.finished():
            identity = item.get("id")
            # Without an id nothing could answer it.
            if item.get("type") == "mcp_approval_request" and isinstance(identity, str):
                name, arguments, label = map(_text, map(item.get, ("name", "arguments", "server_label")))
                found.setdefault(identity, ApprovalAsked(identity, name, arguments, label))
    return list(found.values())


def _response(given: ApprovalGiven) -> Item:
    response = {
        "type": "mcp_approval_response",
        "approval_request_id": given.call_id,
        "approve": given.approved,
    }
    return {**response, "reason": given.reason} if given.reason else response


def _subject(asked: ApprovalAsked) -> tuple[str, str, str | None]:
    return asked.name, asked.arguments, asked.server_label


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
