"""An error in words: what went wrong, what is known to have happened, and what is safe next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from triplane.cli.units import counted
from triplane.cli.untrusted import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.core.errors import Effect, SafeNext, Sent, TriplaneError

_SENT: Mapping[Sent, str] = {
    "nothing": "nothing was sent",
    "ambiguous": "the request may have reached the server",
    "accepted": "the server had begun to answer",
    "finished": "the server had answered",
}
_NEXT: Mapping[SafeNext, str] = {
    "retry": "run it again",
    "resume": "resume it if its log was kept (--ledger), else run it again if its tool calls may be repeated",
    "inspect": "find out what the calls with an unknown outcome did before running it again",
    "change": "change the request or the configuration; the same again would fail the same way",
}
_LONGEST_MESSAGE = 600
_MOST_NAMES = 5


@attrs.frozen
class Failure:
    """Why a run has no result.

    Attributes:
        kind: The error's class, or ``"incomplete"``.
        message: What happened, on one line and safe to show.
        known: What is known to have happened, else empty.
        next: What is safe next, else empty.
    """

    kind: str
    message: str
    known: str = ""
    next: str = ""

    @classmethod
    def incomplete(cls, reason: str) -> Failure:
        """A run that the model ended early."""
        words = one_line(reason) or "no reason given"
        return cls("incomplete", f"the model stopped before it was done ({words})", _SENT["finished"])

    def lines(self) -> tuple[str, ...]:
        """The failure as one line and, where there is advice, another."""
        facts = "; ".join(filter(None, [self.known, self.next and f"safe next: {self.next}"]))
        return (f"{self.kind}: {self.message}", *([facts] if facts else []))


def explain(error: TriplaneError) -> Failure:
    """An error and its receipt as a failure."""
    receipt = error.receipt
    known = [_SENT[receipt.sent]]
    if receipt.effects:
        known.append(_started(receipt.effects))
    return Failure(
        type(error).__name__, one_line(str(error), _LONGEST_MESSAGE), "; ".join(known), _NEXT[receipt.next]
    )


def _started(effects: tuple[Effect, ...]) -> str:
    text = f"{counted(len(effects), 'tool call')} had started"
    unknown = [
        one_line(effect.tool, 40) for effect in effects if effect.outcome in ("unknown", "interrupted")
    ]
    if unknown:
        more = f" and {len(unknown) - _MOST_NAMES} more" if len(unknown) > _MOST_NAMES else ""
        text += f", outcome unknown of {', '.join(unknown[:_MOST_NAMES])}{more}"
    return text
