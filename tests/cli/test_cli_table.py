"""The table a demo leaves, its last lines, its failures, and the same as JSON."""

from __future__ import annotations

import io
from pathlib import Path

import attrs
import orjson
import pytest
from rich.cells import cell_len
from rich.console import Console

from triplane.cli.demo import Demo, Settings
from triplane.cli.failures import Failure
from triplane.cli.plan import Job, Plan
from triplane.cli.report import Figures, Row
from triplane.cli.table import as_json, failure_lines, interruption_line, summary, table_of

ROW = Row(
    name="core",
    figures=Figures(files=12, bytes=54_321, lines=1_673, todo=2),
    turns=5,
    tool_calls=11,
    tool_seconds=0.5,
    bytes_up=173_000,
    bytes_down=71_000,
    reconnects=0,
    result="ok",
    text="files: 12",
)
LOST = Failure("ConnectionLost", "the peer went away", "nothing was sent", "run it again")


def rendered(rows: list[Row], width: int = 100, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="")
    Console(file=file, width=width, highlight=False).print(table_of(rows, width=width))
    file.seek(0)
    return [line.rstrip() for line in file.read().splitlines()]


def demo_of(*rows: Row | None) -> Demo:
    jobs = tuple(Job(row.name if row else f"job {index}", Path("/src")) for index, row in enumerate(rows))
    demo = Demo(Plan(Path("/src"), jobs, ("Skipped something.",)), Settings())
    demo.rows = {index: row for index, row in enumerate(rows) if row}
    demo.seconds = 1.5
    return demo


def test_every_column_at_a_hundred_columns() -> None:
    lines = rendered([ROW, attrs.evolve(ROW, name="engine", figures=Figures(10, 1, 1_539, 0), reconnects=3)])

    assert "run files lines todo turns calls in tools up down reconnects result" == " ".join(lines[0].split())
    assert "core 12 1,673 2 5 11 500 ms 173 kB 71 kB 0 ok" == " ".join(lines[2].split())
    assert "engine 10 1,539 0 5 11 500 ms 173 kB 71 kB 3 ok" == " ".join(lines[3].split())
    assert "total 22 3,212 2 10 22 1.00 s 346 kB 142 kB 3" == " ".join(lines[5].split())
    assert 6 == len(lines)


@pytest.mark.parametrize("width", [200, 140, 100, 80, 60])
def test_long_names_are_cut_and_nothing_else_is(width: int) -> None:
    rows = [attrs.evolve(ROW, name="a" * 170), attrs.evolve(ROW, name="日本" * 50, result="ConnectionLost")]

    lines = rendered(rows, width)

    assert width >= max(map(cell_len, lines))
    assert 6 == len(lines)
    assert [False, False, True, True, False, False] == ["…" in line for line in lines] or width == 200
    assert lines[3].endswith("ConnectionLost")


def test_columns_go_by_importance_and_figures_stay() -> None:
    at_80 = rendered([ROW], 80)[0]
    at_40 = rendered([ROW], 40)[0]

    assert {"files", "lines", "todo", "turns", "calls", "result"} <= set(at_80.split())
    assert "reconnects" not in at_80
    assert {"files", "lines", "calls", "result"} <= set(at_40.split())


def test_one_run_needs_no_total() -> None:
    assert not any("total" in line for line in rendered([ROW]))


def test_what_is_not_known_is_a_dash_and_its_sum_a_lower_bound() -> None:
    lines = rendered([ROW, attrs.evolve(ROW, name="net", figures=Figures(files=3))])

    assert ["net", "3", "-", "-"] == lines[3].split()[:4]
    assert ["total", "15", "1,673+", "2+"] == lines[5].split()[:4]


def test_a_name_is_no_markup() -> None:
    assert "[bold]x[/bold]" in rendered([attrs.evolve(ROW, name="[bold]x[/bold]")])[2]


def test_a_terminal_without_unicode_gets_plain_rules() -> None:
    assert all(line.isascii() for line in rendered([ROW, ROW], encoding="ascii"))


def test_failed_runs_are_counted_in_the_total() -> None:
    lines = rendered([ROW, attrs.evolve(ROW, result="ConnectionLost", failure=LOST)])

    assert lines[5].endswith("1 failed")


def test_summary() -> None:
    demo = demo_of(ROW, attrs.evolve(ROW, tool_calls=8, reconnects=2), attrs.evolve(ROW, tool_calls=9))

    assert [
        "3 runs in 1.50 s over 0 connections, 2 reconnects; 519 kB up, 213 kB down.",
        "Tool calls per run: min 8, median 9, max 11.",
    ] == summary(demo)


def test_runs_that_failed_alike_are_named_together() -> None:
    failed = [attrs.evolve(ROW, name=f"n{number}", failure=LOST) for number in range(5)]
    other = attrs.evolve(ROW, name="other", failure=Failure.incomplete("x"))

    assert [
        "n0, n1, n2 and 2 more: ConnectionLost: the peer went away",
        "  nothing was sent; safe next: run it again",
        "other: incomplete: the model stopped before it was done (x)",
        "  the server had answered",
    ] == failure_lines([*failed, ROW, other])


def test_an_interruption_names_what_had_finished() -> None:
    assert "interrupted: 2 of 3 runs had finished: core, net; nothing is left running" == interruption_line(
        demo_of(ROW, None, attrs.evolve(ROW, name="net"))
    )
    assert "interrupted: 0 of 1 run had finished; nothing is left running" == interruption_line(demo_of(None))


def test_json_has_every_row_the_total_and_what_is_missing() -> None:
    failed = attrs.evolve(ROW, name="net", figures=Figures(), failure=LOST, result="ConnectionLost")

    result = orjson.loads(orjson.dumps(as_json(demo_of(ROW, None, failed))))

    assert ["core", "net"] == [run["name"] for run in result["runs"]]
    assert {"files": 12, "bytes": 54_321, "lines": 1_673, "todo": 2}.items() <= result["runs"][0].items()
    assert "ConnectionLost" == result["runs"][1]["failure"]["kind"]
    assert None is result["runs"][1]["files"]
    assert ["job 1"] == result["unfinished"]
    assert (12, 22) == (result["total"]["files"], result["total"]["tool_calls"])
    assert {"min": 11, "median": 11, "max": 11} == result["tool_calls_per_run"]
    assert ["Skipped something."] == result["notes"]


def test_json_of_nothing() -> None:
    result = orjson.loads(orjson.dumps(as_json(demo_of(None))))

    assert ([], None) == (result["runs"], result["tool_calls_per_run"])


def test_json_of_a_path_that_is_not_utf_8() -> None:
    demo = demo_of(ROW)
    demo.plan = attrs.evolve(demo.plan, root=Path("/bad\udcff"))

    assert "/bad\\xff" == orjson.loads(orjson.dumps(as_json(demo)))["path"]
