"""The tests on the page about testing run as they stand; those of clients that are not here run in `nox -s clients`."""

from __future__ import annotations

import re
from pathlib import Path

import httpcore2  # noqa: F401 - pytester forgets what its runs import, and it would come twice
import openai  # noqa: F401 - as above
import pytest

import triplane.testing
from triplane.testing import start_server

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
PROGRAMS = dict(re.findall(r"```py\n# (test_\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
ELSEWHERE = {"test_openai_agents.py", "test_pydantic_ai.py", "test_langchain.py"}


@pytest.fixture
def run(pytester, monkeypatch):
    def run(name, *arguments):
        pytester.path.joinpath(name).write_text(PROGRAMS[name])
        plugins = [
            f"-p{plugin}" for plugin in ("pytest_triplane", "no:randomly", "no:xdist", "no:cacheprovider")
        ]
        result = pytester.runpytest_inprocess("-otrio_mode=true", *plugins, *arguments, name)
        outcomes = result.parseoutcomes()
        assert outcomes.keys() == {"passed"}, outcomes

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return run


@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - ELSEWHERE - {"test_recorded.py"}))
def test_the_tests_of_the_page_pass(run, name):
    run(name)


def test_the_recorded_test_of_the_page_is_recorded_and_replayed(run):
    with start_server() as server:
        run("test_recorded.py", "--responses-record", server.base_url)
    run("test_recorded.py")


def test_every_program_runs_somewhere():
    clients = Path(__file__).parents[1] / "clients"

    assert ELSEWHERE < PROGRAMS.keys()
    assert all((clients / name.removeprefix("test_").removesuffix(".py")).is_dir() for name in ELSEWHERE)
    assert PAGE.count("```py\n") == len(PROGRAMS)


def test_every_public_name_of_the_server_is_on_the_page():
    names = [
        name for name in vars(triplane.testing.LocalServer) if not name.startswith("_") and name != "check"
    ]

    assert [] == [name for name in names if f"`{name}" not in PAGE]
