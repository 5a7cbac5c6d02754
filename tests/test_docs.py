"""The pages' programs run as they stand, against the local server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

import triplane
from triplane.server import serve

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = [
    pytest.param(program, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("program", PROGRAMS)
async def test_programs_run(program, nursery) -> None:
    handle = await nursery.start(partial(serve, model="directive"))
    environ = {"OPENAI_API_KEY": "local", "OPENAI_BASE_URL": f"http://127.0.0.1:{handle.port}/v1"}

    done = await trio.run_process(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environ},
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )

    assert 0 == done.returncode, done.stdout.decode()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    assert [] == [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
async def test_examples_run(example) -> None:
    done = await trio.run_process(
        [sys.executable, "-W", "error", str(example)], capture_stdout=True, check=False
    )

    assert 0 == done.returncode
    assert done.stdout


def test_every_option_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    options = [*attrs.fields(triplane.EngineOptions), *attrs.fields(triplane.RunLimits)]

    assert [] == [option.name for option in options if f"`{option.name}`" not in guide]


def test_every_error_and_record_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    errors = triplane.TriplaneError.__subclasses__()

    assert [] == [error.__name__ for error in errors if f"`{error.__name__}`" not in guide]
