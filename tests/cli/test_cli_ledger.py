"""What is in a ledger's file, from a shell: list, replay, export, prune, check."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio

import triplane
from triplane.cli import main
from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    FramesReceived,
    RequestSent,
    RunEnded,
    RunStarted,
    ToolFinished,
    ToolStarted,
    UnknownRecord,
)

if TYPE_CHECKING:
    from pathlib import Path

CREATED = '{"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}'
ITEM = (
    '{"type":"message","id":"m","role":"assistant","status":"completed",'
    '"content":[{"type":"output_text","text":"All is \\u001b[31mwell.","annotations":[]}]}'
)
DELTA = (
    '{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,'
    '"delta":"All is \\u001b[31mwell."}'
)
COMPLETED = f'{{"type":"response.completed","response":{{"id":"r","status":"completed","output":[{ITEM}]}}}}'


async def write(path: Path) -> None:
    now = [1_700_000_000.0]
    async with triplane.open_ledger(path, clock=lambda: now[0]) as ledger:
        for name in ("one", "two"):
            log = ledger.create(f"run_{name}")
            question = {"type": "message", "role": "user", "content": name}
            for body in (
                RunStarted(f"run_{name}", f"agent {name}", "model", "f", (question,)),
                RequestSent(1, 1, "c1", "full", "first_turn", None, 1, 100),
                ToolStarted("call_1", "look", "{}", "read", "key"),
                ToolFinished("call_1", "look", ToolOutcome("ok", "x", None, 0.5, 1, 1)),
                UnknownRecord("something_newer", 3, essential=False, data=b"{}"),
                FramesReceived("c1", (CREATED, DELTA, COMPLETED)),
                RunEnded("completed"),
            ):
                log.append(body)
                now[0] += 60
                await log.durable()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    trio.run(write, path)
    return path


@pytest.fixture
def call(path: Path, capfd):
    def call(*arguments: str, status: int = 0) -> tuple[str, str]:
        assert status == main([*arguments, "--ledger", str(path)])
        return capfd.readouterr()

    return call


def test_runs_are_listed(call, monkeypatch) -> None:
    # Where nobody says how wide it is, a file has room for all of it.
    monkeypatch.delenv("COLUMNS", raising=False)
    out, err = call("runs")

    assert ["run", "run_one", "run_two"] == [line.split()[0] for line in out.splitlines()]
    assert "agent one" in out
    assert "completed" in out
    assert "6 min 00 s" in out
    assert err.startswith("2 runs, ")
    listed = [json.loads(line) for line in call("runs", "--json")[0].splitlines()]
    assert ["run_one", "run_two"] == [run["run_id"] for run in listed]
    assert {7} == {run["records"] for run in listed}


def test_a_run_is_played(call) -> None:
    out, err = call("replay", "run_o", "--speed", "inf")

    # Somebody reads it in a terminal; here it is a file.
    assert "All is \x1b[31mwell.\n" == out
    assert "  [1] look {}\n  [1] ok (500 ms, 1 B)\n" in err
    assert "something_newer" in err
    assert "completed after 1 turn" in err
    lines = [json.loads(line) for line in call("replay", "last", "--speed", "inf", "--json")[0].splitlines()]
    assert "triplane.run_started" == lines[0]["type"]
    assert "triplane.run_ended" == lines[-1]["type"]
    assert json.loads(DELTA) in lines


def test_pauses_are_as_they_were_but_not_longer_than_asked(call, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("triplane.cli.ledger.trio.sleep", sleep)
    call("replay", "run_one", "--speed", "100")
    assert [0.6] * 6 == [round(each, 6) for each in slept]
    slept.clear()
    call("replay", "run_one", "--longest-pause", "0.25")
    assert [0.25] * 6 == slept


def test_a_run_is_exported(call) -> None:
    lines = [json.loads(line) for line in call("runs", "export", "run_one")[0].splitlines()]
    assert [*range(7)] == [line["sequence"] for line in lines]
    assert [CREATED, DELTA, COMPLETED] == lines[5]["frames"]

    user, answer = json.loads(call("runs", "export", "last", "--format", "input")[0])
    assert ("two", "assistant") == (user["content"], answer["role"])

    trajectory = json.loads(call("runs", "export", "last", "--format", "atif")[0])
    assert ["user", "agent"] == [step["source"] for step in trajectory["steps"]]
    assert "run_two" == trajectory["session_id"]


def test_runs_are_pruned(call) -> None:
    # Each has ended in 2023.
    assert "deleted 0 runs" in call("runs", "prune", "--older-than", "99999w")[1]
    assert "deleted 0 runs" in call("runs", "prune", "--max-size", "9" * 400)[1]
    assert "deleted 2 runs" in call("runs", "prune", "--older-than", "30d")[1]
    assert "0 runs" in call("runs")[1]


def test_damage_is_found_and_torn_ends_are_repaired(call, path: Path) -> None:
    assert "2 runs: every checksum is right\n" == call("runs", "check")[1]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE chunks SET digest = zeroblob(16) WHERE run = 1 AND first > 4")
    err = call("runs", "check", status=1)[1]
    assert "run_one: record 5: the checksum from there on is wrong" in err
    assert "--repair" in err
    assert "5 records are left" in call("runs", "check", "--repair")[1]
    assert "every checksum is right" in call("runs", "check")[1]
    assert "the log stops" in call("replay", "run_one", "--speed", "inf")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs", "export", "nonesuch"], "there is no run nonesuch"),
        (["replay", "run_"], "2 runs begin with run_"),
    ],
)
def test_a_run_that_cannot_be_meant(call, arguments, words: str) -> None:
    assert words in call(*arguments, status=1)[1]


@pytest.mark.parametrize(
    "arguments", [["runs", "prune"], ["runs", "prune", "--max-size", "3x"], ["replay", "x", "--speed", "0"]]
)
def test_wrong_usage(call, arguments) -> None:
    call(*arguments, status=2)


def test_looking_makes_no_file(tmp_path: Path, capfd) -> None:
    assert 2 == main(["runs", "--ledger", str(tmp_path / "none.db")])

    assert "there is no ledger" in capfd.readouterr().err
    assert [] == [*tmp_path.iterdir()]
    assert 2 == main(["runs"])
    empty = tmp_path / "empty.db"
    empty.touch()
    for command in (["runs"], ["replay", "last"], ["resume", "last"]):
        assert 2 == main([*command, "--ledger", str(empty)])
        assert "the file is empty" in capfd.readouterr().err
    assert 0 == empty.stat().st_size
    assert [empty] == [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["runs", "--json"],
        ["runs", "export", "odd"],
        ["runs", "export", "odd", "--format", "atif"],
        ["runs", "export", "odd", "--format", "input"],
        ["replay", "odd", "--json"],
    ],
)
def test_what_json_and_calendars_hardly_hold_is_shown(call, tmp_path: Path, arguments) -> None:
    """A byte of a command line that is not Unicode, a whole number beyond 64 bits, a clock of another world."""

    async def odd() -> None:
        async with triplane.open_ledger(tmp_path / "runs.db", clock=lambda: 1e300) as ledger:
            log = ledger.create("odd")
            question = {"role": "user", "content": "\udcff", "n": 2**80}
            log.append(RunStarted("odd", "agent \udcff", "model", "f", (question,)))
            await log.durable()

    trio.run(odd)
    out, err = call(*arguments)

    for line in [] if arguments == ["runs"] else [out] if "--format" in arguments else out.splitlines():
        json.loads(line)
    assert "Traceback" not in err


def test_what_a_newer_version_has_recorded_is_shown(call, tmp_path: Path) -> None:
    """But it is not guessed what that means for the run."""

    async def newer() -> None:
        async with triplane.open_ledger(tmp_path / "runs.db") as ledger:
            log = ledger.create("newer")
            for body in (
                RunStarted("newer", "agent", "model", "f", ()),
                UnknownRecord("something_newer", 3, essential=True, data=b"{}"),
                FramesReceived("c1", (CREATED, DELTA)),
                RunEnded("completed"),
            ):
                log.append(body)
            await log.durable()

    trio.run(newer)
    out, err = call("replay", "newer", "--speed", "inf", "--json")

    assert json.loads(DELTA) in [json.loads(line) for line in out.splitlines()]
    assert "how the run stands cannot be told" in err
    out, err = call("replay", "newer", "--speed", "inf")
    assert "" == out
    assert "a newer Triplane has recorded something here (something_newer)" in err
    assert "how the run stands cannot be told" in err
    assert "completed" not in err
    assert 4 == len(call("runs", "export", "newer")[0].splitlines())
    assert "Use that version" in call("runs", "export", "newer", "--format", "input", status=2)[1]
