"""The pytest plugin of Triplane: a local Responses server for the tests of any client. See `triplane.testing`.

Pytest imports this in every session, also where nobody uses it. Nothing else is imported until a fixture is used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from triplane.server.script import Script
    from triplane.testing import LocalCassette, LocalServer


class _Checked(Protocol):
    def check(self) -> None: ...


_CHECKED = pytest.StashKey[list[_Checked]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that records cassettes."""
    parser.getgroup("triplane").addoption(
        "--responses-record",
        metavar="URL",
        help="record the cassettes of the fixture responses_cassette anew, from the endpoint with this base URL",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers."""
    config.addinivalue_line(
        "markers", "responses_server(**options): options of the server of the fixture responses_server"
    )
    config.addinivalue_line(
        "markers",
        "responses_cassette(path=None, **options): the cassette of the fixture responses_cassette,"
        " and options of its replay",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Check servers and cassettes while the test can still fail; of one that has failed, say what else is wrong."""
    __tracebackhide__ = True
    try:
        result = yield
    except Exception as error:
        for each in item.stash.get(_CHECKED, []):
            try:
                each.check()
            except Exception as another:  # noqa: BLE001 - the test's own error comes first
                error.add_note(str(another))
        raise
    for each in item.stash.get(_CHECKED, []):
        each.check()
    return result


def _check_at_end(request: pytest.FixtureRequest, checked: _Checked) -> None:
    request.node.stash.setdefault(_CHECKED, []).append(checked)


def _options(request: pytest.FixtureRequest, marker: str) -> dict[str, Any]:
    """The options of all markers of this name and of an indirect parameter; the closest one counts."""
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(marker))):
        options |= {**dict(zip(("path",), mark.args, strict=False)), **mark.kwargs}
    return options | getattr(request, "param", {})


@pytest.fixture
def responses_server(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """A Responses server on this machine, for this test alone: `base_url`, `url`, `requests`, `expect`, `script`.

    Its options are those of the marker `responses_server`, or of an indirect parameter.
    """
    from triplane.testing import start_server  # noqa: PLC0415 - see the module

    with start_server(**_options(request, "responses_server")) as server:
        _check_at_end(request, server)
        yield server


@pytest.fixture
def responses_script(request: pytest.FixtureRequest, responses_server: LocalServer) -> Callable[..., Script]:
    """Say what the server of `responses_server` answers, turn by turn; see its method `script`.

    The path of a YAML file counts from the folder of the test.
    """

    def script(*turns: Any) -> Script:
        return responses_server.script(
            *(request.path.parent / turn if isinstance(turn, Path) else turn for turn in turns)
        )

    return script


@pytest.fixture
def responses_cassette(request: pytest.FixtureRequest) -> Iterator[LocalCassette]:
    """A replay of what a real endpoint said in this test, or the recording of it with `--responses-record=URL`.

    The file is `cassettes/<module>/<test>.jsonl` beside the test's, unless the marker `responses_cassette` names
    another one.
    """
    from triplane.testing import start_cassette  # noqa: PLC0415 - see the module

    options = _options(request, "responses_cassette")
    path = options.pop("path", None)
    folder = request.path.parent / "cassettes"
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    file = folder / request.path.stem / f"{name}.jsonl" if path is None else folder / Path(path)
    upstream = request.config.getoption("--responses-record")
    with start_cassette(file, upstream=upstream, **options) as cassette:
        _check_at_end(request, cassette)
        yield cassette
