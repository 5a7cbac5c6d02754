"""Which calls were asked about, and what a person decided: a part of a run's state.

A decision is about one call: its name, its arguments and, of an MCP server's tool, the server. Ids come from the server;
another call that has the id of one that was approved has not been approved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from .records import ApprovalAsked, ApprovalGiven

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .outcome import ToolCall
    from .records import Item

_ID_USED: Final = "Its id is that of another call, which a person was asked about before."


@final
class Approvals:
    """The approvals of one run.

    Attributes:
        asked: What was asked, by the ids of calls, in order.
        given: What was decided, likewise.
    """

    def __init__(self) -> None:
        self.asked: dict[str, ApprovalAsked] = {}
        self.given: dict[str, ApprovalGiven] = {}

    @property
    def open(self) -> list[ApprovalAsked]:
        """What was asked and is not decided."""
        return [asked for call_id, asked in self.asked.items() if call_id not in self.given]

    def ask(self, asked: ApprovalAsked) -> None:
        """Fold a question. Only the first about an id counts."""
        self.asked.setdefault(asked.call_id, asked)

    def give(self, given: ApprovalGiven) -> None:
        """Fold a decision. Only the first about an id counts, and none about what was not asked."""
        if given.call_id in self.asked:
            self.given.setdefault(given.call_id, given)

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

    def state(self) -> Mapping[str, Any]:
        """Everything that the folding of later records depends on."""
        return {"asked": self.asked, "given": self.given}


def _subject(asked: ApprovalAsked) -> tuple[str, str, str | None]:
    return asked.name, asked.arguments, asked.server_label


def question_about(call: ToolCall, note: str = "") -> ApprovalAsked:
    """What a person is asked about a call of one of the agent's tools."""
    return ApprovalAsked(call.call_id, call.name, call.arguments, note=note)


def question_of(item: Item) -> ApprovalAsked | None:
    """What an item asks a person, if it is an ``mcp_approval_request`` that can be answered."""
    if item.get("type") != "mcp_approval_request" or not isinstance(item.get("id"), str):
        return None
    name, arguments, label = (_text(item.get(key)) for key in ("name", "arguments", "server_label"))
    return ApprovalAsked(item["id"], name, arguments, label)


def response_to(given: ApprovalGiven) -> Item:
    """The item that answers an ``mcp_approval_request``, as wire data (openai-python 3.52.0)."""
    response: Item = {
        "type": "mcp_approval_response",
        "approval_request_id": given.call_id,
        "approve": given.approved,
    }
    return {**response, "reason": given.reason} if given.reason else response


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
