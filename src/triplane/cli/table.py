"""What a demo leaves on the terminal: its table, its last line, its failures; or all of it as JSON."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import attrs
from rich.box import Box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from triplane.cli.report import Row, Total
from triplane.cli.units import counted, seconds, size
from triplane.cli.untrusted import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triplane.cli.demo import Demo
    from triplane.cli.failures import Failure


@attrs.frozen
class _Column:
    """One column: its heading, what it says of a row or of the total, and how dispensable it is."""

    heading: str
    of: Callable[[Row | Total], str]
    dispensable: int = 0


def _figure(key: str, row: Row | Total) -> str:
    value = getattr(row.figures, key)
    if value is None:
        return "-"
    return f"{value:,}+" if isinstance(row, Total) and key in row.partial else f"{value:,}"


_COLUMNS = (
    _Column("files", partial(_figure, "files")),
    _Column("lines", partial(_figure, "lines")),
    _Column("todo", partial(_figure, "todo"), dispensable=2),
    _Column("turns", lambda row: f"{row.turns:,}", dispensable=3),
    _Column("calls", lambda row: f"{row.tool_calls:,}"),
    _Column("in tools", lambda row: seconds(row.tool_seconds), dispensable=4),
    _Column("up", lambda row: size(row.bytes_up), dispensable=1),
    _Column("down", lambda row: size(row.bytes_down), dispensable=1),
    _Column("reconnects", lambda row: f"{row.reconnects:,}", dispensable=5),
)
# A rule under the headings and one above the total, and nothing else.
_RULES = Box("    \n    \n ── \n    \n    \n ── \n    \n    \n")
_SHORTEST_NAME = 16
_GAP = 2


def fitting(rows: Sequence[Row], total: Total, width: int) -> tuple[int, list[_Column]]:
    """How wide the names may be, and the columns that fit beside them; the most dispensable ones go first."""
    columns = list(_COLUMNS)
    longest = max([len("total"), *(cell_len(row.name) for row in rows)])
    result = max([len("result"), len(_failed(rows)), *(len(row.result) for row in rows)])

    def room() -> int:
        lines: list[Row | Total] = [*rows, total]
        widths = [max(len(each.heading), *(len(each.of(line)) for line in lines)) for each in columns]
        return width - sum(widths) - result - _GAP * (len(columns) + 1)

    while room() < min(longest, _SHORTEST_NAME) and (worst := max(each.dispensable for each in columns)):
        columns = [each for each in columns if each.dispensable != worst]
    return max(1, min(longest, room())), columns


def table_of(rows: Sequence[Row], *, width: int) -> Table:
    """The table of finished runs and their total, for a terminal of `width` columns."""
    total = Total.of(rows)
    name_width, columns = fitting(rows, total, width)
    table = Table(
        box=_RULES,
        show_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
        show_footer=len(rows) > 1,
        header_style="dim",
    )
    # Room for names, and what is too long is cut there, so that no other column ever is.
    table.add_column("run", Text("total"), no_wrap=True, width=name_width, footer_style="bold")
    for column in columns:
        table.add_column(
            column.heading, Text(column.of(total)), justify="right", no_wrap=True, footer_style="bold"
        )
    failed = _failed(rows)
    table.add_column("result", _result(failed, good=not failed), no_wrap=True)
    for row in rows:
        table.add_row(
            Text(row.name),
            *(column.of(row) for column in columns),
            _result(row.result, good=row.failure is None),
        )
    return table


def _failed(rows: Sequence[Row]) -> str:
    failed = sum(row.failure is not None for row in rows)
    return f"{failed:,} failed" if failed else ""


def _result(word: str, *, good: bool) -> Text:
    return Text(word, style="green" if good else "bold red")


def summary(demo: Demo) -> list[str]:
    """What the whole survey took, in a line or two."""
    rows = demo.rows.values()
    statistics = demo.statistics
    opened = statistics.opened if statistics is not None else 0
    total = Total.of(rows)
    text = f"{counted(len(rows), 'run')} in {seconds(demo.seconds)} over {counted(opened, 'connection')}"
    if total.reconnects:
        text += f", {counted(total.reconnects, 'reconnect')}"
    lines = [f"{text}; {size(total.bytes_up)} up, {size(total.bytes_down)} down."]
    if rows:
        calls = calls_per_run(list(rows))
        lines.append(
            f"Tool calls per run: min {calls['min']}, median {calls['median']:g}, max {calls['max']}."
        )
    return lines


def calls_per_run(rows: Sequence[Row]) -> dict[str, float]:
    """The least, the median and the most tool calls of the runs; there is at least one."""
    calls = [row.tool_calls for row in rows]
    return {"min": min(calls), "median": median(calls), "max": max(calls)}


def failure_lines(rows: Sequence[Row]) -> list[str]:
    """The failures in words. Runs that failed in the same way are named together."""
    groups: dict[Failure, list[str]] = {}
    for row in rows:
        if row.failure is not None:
            groups.setdefault(row.failure, []).append(row.name)
    lines = []
    for failure, names in groups.items():
        first, *more = failure.lines()
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        lines += [f"{shown}: {first}", *(f"  {line}" for line in more)]
    return lines


def interruption_line(demo: Demo) -> str:
    """What had finished when a signal came."""
    names = [demo.rows[index].name for index in sorted(demo.rows)]
    which = f": {', '.join(names)}" if names else ""
    jobs = counted(len(demo.plan.jobs), "run")
    return f"interrupted: {len(names)} of {jobs} had finished{which}; nothing is left running"


def as_json(demo: Demo) -> dict[str, Any]:
    """The result for programs. Sizes are in bytes and times in seconds; an unknown figure is null."""
    rows = [demo.rows[index] for index in sorted(demo.rows)]
    jobs = [demo.plan.jobs[index] for index in sorted(demo.rows)]
    statistics = demo.statistics
    return {
        "path": named(str(demo.plan.root)),
        "model": demo.settings.model,
        "endpoint": demo.endpoint.url if demo.endpoint else None,
        "interrupted": bool(demo.interruption),
        "seconds": round(demo.seconds, 3),
        "connections_opened": statistics.opened if statistics else 0,
        "notes": list(demo.plan.notes),
        "runs": [
            {"name": row.name, "folder": named(str(job.folder)), "only_files": job.files, **_row_as_json(row)}
            for job, row in zip(jobs, rows, strict=True)
        ],
        "unfinished": [job.name for job in demo.unfinished],
        "total": _numbers_as_json(Total.of(rows)),
        "tool_calls_per_run": calls_per_run(rows) if rows else None,
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    failure = attrs.asdict(row.failure) if row.failure is not None else None
    return {**_numbers_as_json(row), "result": row.result, "failure": failure, "report": row.text}


def _numbers_as_json(row: Row | Total) -> dict[str, Any]:
    return {
        **attrs.asdict(row.figures),
        "turns": row.turns,
        "tool_calls": row.tool_calls,
        "tool_seconds": round(row.tool_seconds, 3),
        "bytes_up": row.bytes_up,
        "bytes_down": row.bytes_down,
        "reconnects": row.reconnects,
    }
