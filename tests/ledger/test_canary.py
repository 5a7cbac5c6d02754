"""A secret that an engine is given is nowhere in what it leaves: no ledger, log, repr, traceback or report."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import triplane
from triplane.server import ErrorEvent
from triplane.testing import open_server

CANARY = "sk-canary-7f3e9b2c51d84a06"
OURS = str(Path(triplane.__file__).parent)
HEADER = "canary-in-a-header-99d1c2"


@triplane.tool
async def break_down(n: int) -> str:
    """Fail."""
    raise ValueError(f"no {n}")


AGENT = triplane.Agent("m", "Be careful.", [break_down])


@pytest.mark.parametrize("key", [CANARY, CANARY + "-which-is-wrong"], ids=["right key", "wrong key"])
async def test_no_secret_is_in_anything_that_is_left(autojump_clock, tmp_path, caplog, key) -> None:
    caplog.set_level(0)
    left: list[str] = []

    def note_failure(error: BaseException) -> None:
        left.extend((repr(error), str(error)))
        # With the locals of every frame of ours, as tools that report errors show them. Those of this test have the key.
        seen: traceback.TracebackException | None = traceback.TracebackException.from_exception(
            error, capture_locals=True
        )
        while seen is not None:
            left.extend(seen.format_exception_only())
            left.extend(repr(frame.locals) for frame in seen.stack if OURS in frame.filename)
            seen = seen.__cause__ or seen.__context__

    faults = [ErrorEvent(3, nth=3, status=400, code="invalid_prompt")]
    async with open_server(api_key=CANARY, faults=faults) as (local, network):
        endpoint = triplane.Endpoint(local.url, api_key=key, headers={"X-Token": HEADER})
        left.append(repr(endpoint))
        async with triplane.open_engine(endpoint, ledger=tmp_path / "runs.db", network=network) as engine:
            for prompt in ('CALL break_down {"n": 1}', "SAY 3 word "):
                try:
                    async with engine.open_run(AGENT, prompt) as run:
                        left.extend([repr(event) async for event in run])
                        left.append(repr(run.result))
                except triplane.TriplaneError as error:
                    note_failure(error)
                left.append(repr(run))
            try:
                left.append(repr(await engine.resume(run.run_id, AGENT)))
            except triplane.TriplaneError as error:
                note_failure(error)
            left.extend((repr(engine), repr(engine.statistics()), repr(engine.ledger)))

    left.append(caplog.text)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "runs.db" in files
    assert any("canary" not in text and text for text in left)
    for secret in (key, HEADER):
        assert [] == [text[:500] for text in left if secret in text]
        assert [] == [name for name, data in files.items() if secret.encode() in data]
