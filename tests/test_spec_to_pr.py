"""The example that mends a repository, against the local server."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

import triplane
from triplane.server import serve

EXAMPLE = Path(__file__).parent.parent / "examples" / "spec_to_pr.py"


async def test_the_tests_fail_before_and_pass_after(nursery, tmp_path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("spec_to_pr", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.make_repository(tmp_path)
    server = await nursery.start(partial(serve, model="mender"))
    assert not example.tests_pass(tmp_path)

    agent = example.make_agent("gpt-5.5", tmp_path)
    description = await example.mend(agent, triplane.Endpoint(server.url))

    assert example.tests_pass(tmp_path)
    told = capsys.readouterr().out
    assert "\n29 tool calls, 22 turns" in told
    assert max(map(len, told.splitlines())) <= 120
    assert description.startswith("# Make `delivery`, `BULK_PERCENT`, `as_text` do what SPEC.md says\n")
    assert "- before: Ran 6 tests, FAILED (failures=3)\n- after: Ran 6 tests, OK\n" in description
    changed = {name for name, text in example.REPOSITORY.items() if text != (tmp_path / name).read_text()}
    assert {"till/money.py", "till/discount.py", "till/delivery.py"} == changed
    assert set(example.REPOSITORY) == {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
