"""What a run amounts to as one row of a table: the figures of its report, and what it took to get them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from triplane.cli.failures import Failure, explain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triplane.core.errors import TriplaneError
    from triplane.core.run_state import RunState

# A report is a model's text: emphasis, bullets and thousands separators happen.
_FIGURE = re.compile(
    r"^[\s>*_`#-]*(files|bytes|lines|todo)[\s*_`]*:[\s*_`]*([0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?![0-9,.])",
    re.MULTILINE | re.IGNORECASE,
)


@attrs.frozen
class Figures:
    """What a report says; None where it does not."""

    files: int | None = None
    bytes: int | None = None
    lines: int | None = None
    todo: int | None = None


def read_figures(text: str) -> Figures:
    """Find the ``key: value`` lines of a report. The first line for a key counts."""
    found: dict[str, int] = {}
    for key, value in _FIGURE.findall(text):
        found.setdefault(key.lower(), int(value.replace(",", "")))
    return Figures(**found)


@attrs.frozen
class Row:
    """One finished run.

    Attributes:
        name: The job's name.
        figures: What its report says.
        turns: Requests it took.
        tool_calls: Tool calls it took.
        tool_seconds: Time in tools, parallel calls added up.
        bytes_up: Bytes of its requests.
        bytes_down: Bytes of the server's events.
        reconnects: How often its connection was lost.
        result: ``"ok"``, ``"incomplete"`` or the error's class.
        failure: What went wrong, None if nothing.
        text: The report itself.
    """

    name: str
    figures: Figures
    turns: int
    tool_calls: int
    tool_seconds: float
    bytes_up: int
    bytes_down: int
    reconnects: int
    result: str
    failure: Failure | None = None
    text: str = ""

    @classmethod
    def of(cls, name: str, state: RunState, error: TriplaneError | None) -> Row:
        """The row of a run that has ended, with the error that ended it, if one did."""
        failure = explain(error) if error is not None else None
        if failure is None and state.status != "completed":
            failure = Failure.incomplete(state.reason)
        return cls(
            name=name,
            # What a run had written when it failed is no report.
            figures=read_figures(state.text) if failure is None else Figures(),
            turns=state.turns,
            tool_calls=len(state.tool_calls),
            tool_seconds=state.tool_seconds,
            bytes_up=state.bytes_up,
            bytes_down=state.bytes_down,
            reconnects=state.reconnects,
            result="ok" if failure is None else failure.kind,
            failure=failure,
            text=state.text,
        )


@attrs.frozen
class Total:
    """Rows added up.

    Attributes:
        figures: Sums of what is known; None where nothing is.
        partial: The figures that some row does not have, so that their sum is a lower bound.
    """

    figures: Figures
    partial: frozenset[str]
    turns: int
    tool_calls: int
    tool_seconds: float
    bytes_up: int
    bytes_down: int
    reconnects: int

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Total:
        """The sum of some rows."""
        given = list(rows)

        def add(key: str) -> int | None:
            known = [value for row in given if (value := getattr(row.figures, key)) is not None]
            return sum(known) if known else None

        return cls(
            figures=Figures(add("files"), add("bytes"), add("lines"), add("todo")),
            partial=frozenset(
                key for row in given for key, value in attrs.asdict(row.figures).items() if value is None
            ),
            turns=sum(row.turns for row in given),
            tool_calls=sum(row.tool_calls for row in given),
            tool_seconds=sum(row.tool_seconds for row in given),
            bytes_up=sum(row.bytes_up for row in given),
            bytes_down=sum(row.bytes_down for row in given),
            reconnects=sum(row.reconnects for row in given),
        )
