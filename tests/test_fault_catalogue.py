"""The page of faults, held against the suite: every row has tests, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import attrs
import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "faults.md"


@attrs.frozen
class Row:
    """A row of the page: its name, what happens, what Triplane does, the tests, and why there are none."""

    name: str
    trigger: str
    behaviour: str
    tests: tuple[str, ...]
    reason: str


def read_page(text: str) -> list[Row]:
    rows = []
    for line in text.splitlines():
        if re.match(r"\| [A-E][0-9]+ \|", line):
            name, trigger, behaviour, shown = (cell.strip() for cell in line.strip("|").split(" | "))
            tests = tuple(re.findall(r"`([^`]+\.py::[^`]+)`", shown))
            rows.append(Row(name, trigger, behaviour, tests, "" if tests else shown))
    return rows


@cache
def names_in(path: Path) -> frozenset[str]:
    """The tests of a file, without importing it."""
    found: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                collect(node.body, f"{prefix}{node.name}::")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.add(f"{prefix}{node.name}")

    collect(ast.parse(path.read_text()).body, "")
    return frozenset(found)


def is_missing(test: str) -> bool:
    file, _, name = test.partition("::")
    return not (TESTS / file).is_file() or name not in names_in(TESTS / file)


ROWS = read_page(PAGE.read_text())


def test_every_row_is_there_once_and_in_order() -> None:
    lengths = {"A": 14, "B": 16, "C": 21, "D": 16, "E": 12}
    expected = [f"{section}{number + 1}" for section, length in lengths.items() for number in range(length)]

    assert expected == [row.name for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_shown_by_tests_that_exist(row) -> None:
    assert [] == [test for test in row.tests if is_missing(test)]
    assert row.trigger
    assert row.tests or len(row.reason.split()) > 5, "neither a test nor a reason"
    assert row.behaviour or not row.tests


@pytest.mark.parametrize(
    "test",
    [
        "test_fault_catalogue.py::test_that_nobody_has_written",
        "test_no_such_file.py::test_it",
        "tools/test_run_calls.py::test_alone",
    ],
)
def test_a_test_that_is_missing_is_seen(test) -> None:
    assert is_missing(test)


def test_a_row_is_read() -> None:
    line = "| A1 | `a` breaks, or b | it is mended | `net/test_x.py::test_a`<br>`net/test_x.py::T::test_b` |"

    assert [
        Row(
            "A1",
            "`a` breaks, or b",
            "it is mended",
            ("net/test_x.py::test_a", "net/test_x.py::T::test_b"),
            "",
        )
    ] == read_page(line)
    assert "for want of a disk" == read_page("| D12 | a |  | for want of a disk |")[0].reason
