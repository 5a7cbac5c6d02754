"""The table of layers in the architecture page, held against every import."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "triplane"


def read_table() -> dict[str, tuple[set[str], set[str]]]:
    """The folders of the page's table, each with what it may import and what it never may."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    section = page.split("## Rooms and layers")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]

    def words(cell: str) -> set[str]:
        return {word.strip(" `") for word in cell.split(",") if word.strip(" `")}

    return {row[0].strip(" `"): (words(row[2]), words(row[3])) for row in rows}


TABLE = read_table()


def imports_of(source: str, package: str) -> set[tuple[int, str]]:
    """Every import of a module: its line, and the absolute dotted name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            # ``from triplane import core`` imports a room as much as ``import triplane.core`` does.
            names = (
                {f"{module}.{alias.name}" for alias in node.names} if module in ("triplane", "") else {module}
            )
            found |= {(node.lineno, name) for name in names}
    return found


def trespasses(room: str, imports: set[tuple[int, str]]) -> list[str]:
    """What of the imports the room's row does not allow."""
    allowed, forbidden = TABLE[room]
    wrong = []
    for line, name in sorted(imports):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0] if top == "triplane" else top
        fine = (
            target in allowed | {room}
            if top == "triplane"
            else top not in forbidden and (top in sys.stdlib_module_names or top in allowed)
        )
        if not fine:
            wrong.append(f"line {line}: {name}")
    return wrong


def test_every_folder_has_a_row() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert folders == set(TABLE)


def test_the_table_is_layered() -> None:
    """No two rooms import each other, however far apart."""
    rooms = set(TABLE)
    reached = {room: TABLE[room][0] & rooms for room in rooms}
    for _ in rooms:
        reached = {
            room: set().union(below, *(reached[each] for each in below)) for room, below in reached.items()
        }

    assert [room for room in rooms if room in reached[room]] == []


@pytest.mark.parametrize("room", sorted(TABLE))
def test_imports_follow_the_table(room: str) -> None:
    found = {}
    for path in (PACKAGE / room).rglob("*.py"):
        package = ".".join(["triplane", *path.relative_to(PACKAGE).parts[:-1]])
        found[str(path)] = trespasses(room, imports_of(path.read_text(), package))

    assert found
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("core", "import trio"),
        ("core", "from time import monotonic"),
        ("core", "from triplane.net import pool"),
        ("core", "from triplane import net"),
        ("protocol", "from ..core import errors"),
        ("server", "import triplane.core.errors"),
        ("tools", "def f():\n    from triplane.net import pool"),
        ("net", "import numpy"),
    ],
)
def test_a_trespass_is_seen(room: str, source: str) -> None:
    assert trespasses(room, imports_of(source, f"triplane.{room}"))
