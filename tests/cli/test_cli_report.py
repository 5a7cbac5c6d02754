"""From the end of a run to a row, and from rows to a total."""

from __future__ import annotations

import attrs
import pytest

from triplane import LimitReached, Receipt, RunState, RunUsage
from triplane.cli.report import Figures, Row, Total, read_figures
from triplane.core.outcome import ToolCall, ToolOutcome
from triplane.core.run_state import FinishedCall

STATE = RunState(
    run_id="run_1",
    status="completed",
    turns=3,
    tool_calls=tuple(
        FinishedCall(ToolCall(f"c{number}", "read_text", "{}"), ToolOutcome("ok", "x", seconds=0.25))
        for number in range(4)
    ),
    running_tools=(),
    text="files: 2\nbytes: 30\nlines: 4\ntodo: 1\n",
    usage=RunUsage(),
    bytes_up=100,
    bytes_down=200,
    reconnects=1,
    replays=0,
    connection="c1",
    response_id="resp_1",
    reason="",
)


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("files: 2\nbytes: 30\nlines: 4\ntodo: 1", Figures(2, 30, 4, 1)),
        ("Here it is:\n- **Files**: 1,234\n* `lines`: 12,345,678\n", Figures(files=1234, lines=12345678)),
        ("files: unknown\nlines: 3", Figures(lines=3)),
        ("files: 2\nfiles: 9", Figures(files=2)),
        ("files: about 12\nlines: 1.5\ntodo: 12.", Figures()),
        ("profiles: 3\nmy lines: 4", Figures()),
        ("files: " + "9" * 5000, Figures()),
        ("files: 12,34", Figures()),
        ("", Figures()),
    ],
)
def test_figures_of_a_report(text: str, figures: Figures) -> None:
    assert figures == read_figures(text)


def test_a_run_that_completed_is_ok() -> None:
    row = Row.of("src", STATE, None)

    assert ("src", "ok", None) == (row.name, row.result, row.failure)
    assert Figures(2, 30, 4, 1) == row.figures
    assert (3, 4, 1.0, 100, 200, 1) == (
        row.turns,
        row.tool_calls,
        row.tool_seconds,
        row.bytes_up,
        row.bytes_down,
        row.reconnects,
    )


def test_a_run_that_failed_keeps_its_costs_and_has_no_figures() -> None:
    error = LimitReached(
        "too many", which="max_turns", limit=3, receipt=Receipt(sent="finished", next="resume")
    )

    row = Row.of("src", STATE, error)

    assert "LimitReached" == row.result
    assert Figures() == row.figures
    assert (3, 4) == (row.turns, row.tool_calls)
    assert row.failure is not None
    assert "too many" == row.failure.message


def test_a_run_that_the_model_ended_early_is_no_success() -> None:
    row = Row.of("src", attrs.evolve(STATE, status="incomplete", reason="max_output_tokens"), None)

    assert "incomplete" == row.result
    assert row.failure is not None
    assert "max_output_tokens" in row.failure.message


def test_a_total_adds_up_and_says_what_it_lacks() -> None:
    whole = Row.of("a", STATE, None)
    part = Row.of("b", attrs.evolve(STATE, text="files: 5"), None)

    total = Total.of([whole, part])

    assert Figures(7, 30, 4, 1) == total.figures
    assert {"bytes", "lines", "todo"} == total.partial
    assert (6, 8, 2.0, 200, 400, 2) == (
        total.turns,
        total.tool_calls,
        total.tool_seconds,
        total.bytes_up,
        total.bytes_down,
        total.reconnects,
    )


def test_a_total_of_nothing_is_unknown() -> None:
    assert Figures() == Total.of([]).figures
