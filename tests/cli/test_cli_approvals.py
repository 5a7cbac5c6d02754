"""A run on the command line that waits for approval, and is continued with a decision."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import triplane
from triplane.cli import main
from triplane.server import serve
from triplane.testing.threads import in_thread

PROMPT = (
    'CALL run_command {"command": "touch a"}\nCALL run_command {"command": "touch b"}\nAPPROVE dice roll {}'
)


@attrs.frozen
class Shell:
    """Runs ``triplane`` in this process, with the same options each time."""

    url: str
    folder: Path
    capfd: pytest.CaptureFixture[str]

    @property
    def ledger(self) -> str:
        return str(self.folder / "runs.db")

    def agent(self, command: str, *words: str, ledger: bool = True) -> tuple[int, str, str]:
        options = ["--model", "m", "--url", self.url, "--tools", f"workspace:{self.folder / 'work'}"]
        options += [
            "--allow-commands",
            "--ask",
            "run_command",
            *(["--ledger", self.ledger] if ledger else []),
        ]
        return self(command, *words, *options)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        status = main(list(words))
        return status, *self.capfd.readouterr()

    def status(self) -> str:
        """What ``triplane runs`` says of the only run."""
        _, out, _ = self("runs", "--ledger", self.ledger, "--json")
        return str(json.loads(out)["status"])

    def made(self) -> list[str]:
        return sorted(each.name for each in (self.folder / "work").iterdir())

    def records(self) -> list[Any]:
        async def read() -> list[Any]:
            async with triplane.open_ledger(self.ledger) as ledger:
                (run_id,) = await ledger.run_ids()
                return list(await (await ledger.open(run_id)).read(-1))

        return trio.run(read)


@pytest.fixture
def shell(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "work").mkdir()
    with in_thread(partial(serve, model="directive"), name="server") as server:
        yield Shell(server.value.url, tmp_path, capfd)


def test_from_the_question_to_the_answer(shell) -> None:
    status, out, err = shell.agent("run", PROMPT)

    assert (3, "", []) == (status, out, shell.made()), err
    assert "the run waits for approval of 3 calls:" in err
    assert "of the MCP server dice" in err
    records = shell.records()
    run_id = records[0].body.run_id
    calls = [each.body.call_id for each in records if isinstance(each.body, triplane.ApprovalAsked)]
    assert f"triplane resume {run_id} --ledger {shell.ledger} …" in err
    assert "parked" == shell.status()
    status, _, err = shell("replay", "last", "--ledger", shell.ledger, "--speed", "inf")
    assert 0 == status
    assert "the run waits for approval: triplane resume takes it up" in err

    # Nothing decided: nothing happens, and for a program what is open is on standard output.
    status, out, _ = shell.agent("resume", run_id, "--json")
    assert 3 == status
    assert calls == [json.loads(line)["call_id"] for line in out.splitlines()]
    assert len(records) == len(shell.records())

    # Two reasons for one call, of which only one could be told.
    status, out, err = shell.agent("resume", run_id, "--deny", f"{calls[1]}=a", "--deny", f"{calls[1]}=b")
    assert (2, "") == (status, out)
    assert f"--deny is given twice for the call {calls[1]}" in " ".join(err.split())
    assert len(records) == len(shell.records())

    # Something decided.
    status, out, err = shell.agent("resume", run_id, "--deny", f"{calls[1]}=Not b = not ever.")
    assert (3, "", []) == (status, out, shell.made())
    assert "the run waits for approval of 2 calls:" in err
    assert "parked" == shell.status()

    status, _, err = shell.agent("resume", run_id, "--approve", calls[1])
    assert (1, []) == (status, shell.made())
    assert "was denied already" in err

    status, out, err = shell.agent("resume", run_id, "--approve", calls[0], "--approve", calls[2])
    assert (0, ["a"]) == (status, shell.made()), err
    assert "The reason: Not b = not ever." in out
    assert '{"approve":true}' in out
    assert "completed" == shell.status()


def test_without_a_ledger_it_ends_there(shell) -> None:
    status, _, err = shell.agent("run", "APPROVE dice roll {}", ledger=False)

    assert 3 == status
    assert "run it with --ledger FILE" in err


def test_a_tool_that_there_is_not(shell) -> None:
    status, _, err = shell.agent("run", "x", "--ask", "pay")

    assert 2 == status
    assert "--ask pay: there is no such tool; the tools are: list_files, " in err
