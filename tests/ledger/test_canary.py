"""A secret that an engine is given is nowhere in what it leaves: no ledger, log, repr, traceback or report."""

from __future__ import annotations

import json
import os
import re
import traceback
from pathlib import Path
from typing import Annotated

import pytest
import trio

import triplane
from triplane.cli import main as cli
from triplane.server import ErrorEvent, FunctionCall, ModelRequest, Step, Text
from triplane.testing import open_server

CANARY = "sk-canary-7f3e9b2c51d84a06"
OURS = str(Path(triplane.__file__).parent)
HEADER = "canary-in-a-header-99d1c2"
ARGUMENT = 'canary-in-an-argument "5e07c1"'


@triplane.tool
async def break_down(n: int) -> str:
    """Fail."""
    raise ValueError(f"no {n}")


AGENT = triplane.Agent("m", "Be careful.", [break_down])


class Collected:
    """What is left to be seen, of whatever kind."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, *things: object) -> None:
        self.texts.extend(map(repr, things))

    def note_failure(self, error: BaseException) -> None:
        self.texts.extend((repr(error), str(error)))
        # With the locals of every frame of ours, as tools that report errors show them. Those of this test have the key.
        seen: traceback.TracebackException | None = traceback.TracebackException.from_exception(
            error, capture_locals=True
        )
        while seen is not None:
            self.texts.extend(seen.format_exception_only())
            self.texts.extend(repr(frame.locals) for frame in seen.stack if OURS in frame.filename)
            seen = seen.__cause__ or seen.__context__

    def check(self, directory: Path, *secrets: str) -> None:
        files = {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
        assert "runs.db" in files
        assert any("canary" not in text and text for text in self.texts)
        for secret in secrets:
            for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
                assert [] == [text[:500] for text in self.texts if form in text]
                assert [] == [name for name, data in files.items() if form.encode() in data]


@pytest.mark.parametrize("key", [CANARY, CANARY + "-which-is-wrong"], ids=["right key", "wrong key"])
async def test_no_secret_is_in_anything_that_is_left(tmp_path, caplog, key) -> None:
    caplog.set_level(0)
    left = Collected()
    faults = [ErrorEvent(3, nth=3, status=400, code="invalid_prompt")]
    async with open_server(api_key=CANARY, faults=faults) as (local, network):
        endpoint = triplane.Endpoint(local.url, api_key=key, headers={"X-Token": HEADER})
        left.note(endpoint)
        async with triplane.open_engine(endpoint, ledger=tmp_path / "runs.db", network=network) as engine:
            for prompt in ('CALL break_down {"n": 1}', "SAY 3 word "):
                try:
                    async with engine.open_run(AGENT, prompt) as run:
                        left.note(*[event async for event in run], run.result)
                except triplane.TriplaneError as error:
                    left.note_failure(error)
                left.note(run)
            try:
                left.note(await engine.resume(run.run_id, AGENT))
            except triplane.TriplaneError as error:
                left.note_failure(error)
            left.note(engine, engine.statistics(), engine.ledger)

    left.texts.append(caplog.text)
    left.check(tmp_path, key, HEADER)


class Saying:
    """A model that says one thing after the other, then no more than that it is done."""

    name = "saying"

    def __init__(self, said: list[list[Step]]) -> None:
        self._said = iter(said)

    def respond(self, request: ModelRequest) -> list[Step]:
        return next(self._said, [Text("Done.")])


@triplane.tool
async def unlock(door: str, code: Annotated[str, triplane.Secret()], context: triplane.ToolContext) -> str:
    """Unlock a door."""
    context.progress(f"dialling {code}")
    await trio.lowlevel.checkpoint()
    if door == "cellar":
        raise PermissionError(f"{code!r} is not for the cellar")
    return f"unlocked {door} with {code}"


@triplane.tool(effect="read", early=True)
def check_code(code: Annotated[str, triplane.Secret()]) -> str:
    """Check a code."""
    return "it is too short" if len(code) < 5 else f"{code} will do"


@triplane.process_tool
def ring(code: Annotated[str, triplane.Secret()], how: str = "") -> triplane.Command:
    """Ring."""
    program = ["sh", "-c", 'echo "$C"'] if how else ["/no/such/program", code]
    return triplane.Command(program, env={**os.environ, "C": code})


@pytest.mark.parametrize("on_error", ["report", "raise"])
def test_no_argument_that_is_secret_is_in_anything_that_is_left(tmp_path, caplog, capfd, on_error) -> None:
    caplog.set_level(0)
    left = Collected()
    got: list[str] = []

    @triplane.tool
    async def keep(code: Annotated[str, triplane.Secret()]) -> str:
        """Keep it in mind."""
        got.append(code)
        return "kept"

    calls: list[Step] = [
        FunctionCall("keep", {"code": ARGUMENT}),
        FunctionCall("unlock", {"door": "front", "code": ARGUMENT}),
        FunctionCall("check_code", {"code": ARGUMENT}),
        FunctionCall("ring", {"code": ARGUMENT, "how": "loudly"}),
    ]
    mistakes: list[Step] = [
        FunctionCall("ring", {"code": ARGUMENT}),
        FunctionCall("unlock", {"door": "cellar", "code": ARGUMENT}),
        FunctionCall("unlock", {"door": 1, "code": [ARGUMENT]}),
        FunctionCall("unlock", {"door": "front", "coed": ARGUMENT}),
        FunctionCall("unlok", {"code": ARGUMENT}),
        FunctionCall("unlock", json.dumps({"code": ARGUMENT})[:-1]),
        FunctionCall("keep", json.dumps(ARGUMENT)),
    ]
    agent = triplane.Agent("m", tools=[keep, unlock, check_code, ring], on_error=on_error)

    async def use(engine: triplane.Engine) -> None:
        try:
            async with engine.open_run(agent, "Go.") as run:
                left.note(*[event async for event in run], run.result)
                async with run.fork("And once more.") as fork:
                    left.note(await fork.wait())
        except triplane.TriplaneError as error:
            left.note_failure(error)
        left.note(run, run.state, engine, engine.statistics())
        for run_id in await engine.ledger.run_ids():
            left.note(*[record async for record in engine.ledger.follow(run_id)])

    async def main() -> None:
        model = Saying([calls, mistakes, [Text("Done.")], calls])
        options = triplane.EngineOptions(replay_attempts=0)
        async with open_server(model=model, faults=[ErrorEvent(9, nth=4, status=500)]) as (local, network):
            endpoint = triplane.Endpoint(local.url)
            async with triplane.open_engine(
                endpoint, options=options, ledger=tmp_path / "runs.db", network=network
            ) as engine:
                await use(engine)

    trio.run(main)

    assert ARGUMENT in got
    left.texts.append(caplog.text)
    for command in ("runs --json", "runs export last", "runs export last --format input", "replay last"):
        assert 0 == cli([*command.split(), "--ledger", str(tmp_path / "runs.db")])
        out, err = capfd.readouterr()
        assert re.search(r"\[secret [0-9a-f]{6}\.1\]", out) or "export" not in command
        left.texts.extend((out, err))
    left.check(tmp_path, ARGUMENT)
