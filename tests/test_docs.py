"""The pages' programs run as they stand, against the local server."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import partial
from pathlib import Path
from typing import get_args

import attrs
import pytest
import trio

import triplane
from triplane.core.records import Body
from triplane.server import serve

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = [
    pytest.param(program, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("program", PROGRAMS)
async def test_programs_run(program, nursery, monkeypatch) -> None:
    handle = await nursery.start(partial(serve, model="directive"))
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{handle.port}/v1")
    monkeypatch.chdir(ROOT)

    # A thread has room for the Trio that a program runs.
    await trio.to_thread.run_sync(exec, compile(program, "a page", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text())

    assert [] == [
        (file, place)
        for file, place in links
        if not (target := page.parent / file if file else page).exists()
        or (place and place not in places_in(target))
    ]


def places_in(page: Path) -> set[str]:
    """What a link to a part of a page may name: its headings, as Git hosts write them in links."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_option_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    options = [*attrs.fields(triplane.EngineOptions), *attrs.fields(triplane.RunLimits)]

    assert [] == [option.name for option in options if f"`{option.name}`" not in guide]


def test_every_error_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    errors = triplane.TriplaneError.__subclasses__()

    assert [] == [error.__name__ for error in errors if f"`{error.__name__}`" not in guide]


def test_every_record_that_a_reader_sees_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    # Of frames readers see the events; and what a newer version wrote, this one does not write.
    unseen = {triplane.FramesReceived, triplane.UnknownRecord}
    records = {*get_args(Body), triplane.UndecodableFrame} - unseen

    assert [] == [record.__name__ for record in records if f"| `{record.__name__}` |" not in guide]


PUBLIC = (
    "triplane",
    "triplane.bridges.cassette",
    "triplane.doctor",
    "triplane.ledger",
    "triplane.server",
    "triplane.testing",
    "triplane.tools",
    "triplane.tools.mcp",
)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference_as_its_docstring_says(module) -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    there = importlib.import_module(module)
    # Exported are those that are imported under their own names, and what a module defines itself.
    imported = re.findall(r"^from \S+ import (\w+) as \1$", inspect.getsource(there), re.MULTILINE)
    defined = [
        name
        for name, value in vars(there).items()
        if name[0] != "_" and getattr(value, "__module__", "") == module
    ]
    missing = []
    for name in {*imported, *defined}:
        value = getattr(there, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            what = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()).replace("``", "`")
            row = f"| `{name}` | {what} |"
        else:
            row = f"| `{name}` | "
        # What has no row is told apart from the rest, in words.
        if row not in reference and (f"| `{name}` |" in reference or f"`{name}`" not in reference):
            missing.append(row)
    assert [] == missing
