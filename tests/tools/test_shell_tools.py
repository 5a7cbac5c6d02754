"""What shell calls do, command by command: outputs, exit statuses, time, limits, and what is refused."""

from __future__ import annotations

import getpass
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from tool_bench import Recorder, run_one, until

from triplane.core.answers import answers_of, shell_entry
from triplane.core.errors import ConfigError
from triplane.core.outcome import ToolCall, ToolOutcome
from triplane.ledger import FileArtifacts
from triplane.tools import CommandLimits, CommandOutput, Workbench, local_shell_tool, process, shell_tool

if TYPE_CHECKING:
    from pathlib import Path

    from triplane.protocol import LocalShellAction, ShellAction
    from triplane.tools import Tool


def shell_call(*commands: str, **more: Any) -> ToolCall:
    return ToolCall("c1", "shell", json.dumps({"commands": commands, **more}), "shell_call")


def local_call(*command: str, **more: Any) -> ToolCall:
    action = {"type": "exec", "command": command, "env": {}, **more}
    return ToolCall("c1", "local_shell", json.dumps(action), "local_shell_call")


async def run_shell(tool: Tool, one: ToolCall, **more: Any) -> tuple[ToolOutcome, Any]:
    outcome = await run_one(tool, one=one, **more)
    (answer,) = answers_of([(one, outcome)])
    output = answer["output"]
    return outcome, json.loads(output) if one.kind == "local_shell_call" else output


async def test_several_commands(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("here\n")
    one = shell_call("cat f", "echo no >&2; exit 3", "kill -9 $$", "cd /; pwd", "pwd")
    outcome, output = await run_shell(shell_tool(tmp_path), one)

    assert [
        shell_entry("here\n", "", 0),
        shell_entry("", "no\n", 3),
        shell_entry("", "", 137),
        shell_entry("/\n", "", 0),
        shell_entry(f"{tmp_path}\n", "", 0),
    ] == output
    assert outcome.kind == "ok"
    assert outcome.output.startswith("$ cat f\nhere\n$ echo no >&2; exit 3\nno\n[exit status 3]\n$ kill")


async def test_a_command_that_is_late_ends_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.05)
    one = shell_call("sleep 60", "echo never", timeout_ms=60)
    outcome, output = await run_shell(shell_tool(tmp_path), one)

    assert outcome.kind == "ok", "the model wished it so"
    assert [
        shell_entry("", "[timed out]\n", None),
        shell_entry("", "The command was not run: the call had ended before.", 126),
    ] == output


@pytest.mark.parametrize("milliseconds", [0, -1])
async def test_a_time_that_is_none_is_no_limit(milliseconds: int, tmp_path: Path) -> None:
    _, output = await run_shell(shell_tool(tmp_path), shell_call("echo a", timeout_ms=milliseconds))
    _, entry = await run_shell(local_shell_tool(tmp_path), local_call("echo", "a", timeout_ms=milliseconds))

    assert [shell_entry("a\n", "", 0)] == output
    assert shell_entry("a\n", "", 0) == entry


async def test_a_handler_that_says_nothing() -> None:
    async def silent(action: ShellAction, context: Any) -> list[CommandOutput]:
        await trio.lowlevel.checkpoint()
        return []

    _, output = await run_shell(shell_tool(handler=silent), shell_call("x", "y"))

    assert [shell_entry("", "The command was not run: the call had ended before.", 126)] * 2 == output


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (3, "it returned a int; return a CommandOutput"),
        (CommandOutput(b"a"), "a CommandOutput whose stdout is of type bytes; give it as str"),  # type: ignore[arg-type]
        (CommandOutput("a", None), "a CommandOutput whose stderr is of type NoneType"),  # type: ignore[arg-type]
        (CommandOutput(exit_code="3"), "whose exit_code is not an exit status; give an int or None"),  # type: ignore[arg-type]
        (CommandOutput(exit_code=2**70), "whose exit_code is not an exit status"),
    ],
)
async def test_a_handler_that_says_something_wrong(said: Any, words: str) -> None:
    async def wrong(action: ShellAction, context: Any) -> list[Any]:
        await trio.lowlevel.checkpoint()
        return [CommandOutput("a"), said]

    outcome, output = await run_shell(shell_tool(handler=wrong), shell_call("x", "y"))

    assert words in outcome.output
    assert [shell_entry("", outcome.output, 126)] * 2 == output


async def test_what_was_done_is_told_of_a_cancelled_call(tmp_path: Path) -> None:
    go = tmp_path / "go"
    one = shell_call("echo done", f"echo half; touch {go}; exec sleep 60", timeout_ms=3_600_000)
    observer = Recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_one, shell_tool(tmp_path), observer, one=one))
        await until(go.exists)
        nursery.cancel_scope.cancel()
    outcome = observer.outcomes["c1"]
    (answer,) = answers_of([(one, outcome)])

    assert outcome.kind == "cancelled"
    assert [
        shell_entry("done\n", "", 0),
        shell_entry("half\n", "[killed: the call was cancelled]\n", 137),
    ] == answer["output"]


async def test_the_models_limit_of_output(tmp_path: Path) -> None:
    one = shell_call("yes | head -c 100000; yes | head -c 100000 >&2", "echo x", max_output_length=500)
    _outcome, output = await run_shell(shell_tool(tmp_path), one)

    assert len(output[0]["stdout"]) + len(output[0]["stderr"]) <= 500
    assert "bytes cut" in output[0]["stdout"]
    assert output[0]["stdout"].endswith("y\n"), "its end is kept"
    assert "x\n" == output[1]["stdout"]


@pytest.mark.parametrize("limit", [0, 1, 40])
async def test_a_limit_that_leaves_hardly_room(limit: int, tmp_path: Path) -> None:
    one = shell_call("yes | head -c 1000; yes | head -c 1000 >&2", max_output_length=limit)
    _, (entry,) = await run_shell(shell_tool(tmp_path), one)

    assert len(entry["stdout"]) + len(entry["stderr"]) <= limit


async def test_commands_share_the_tools_limit(tmp_path: Path) -> None:
    store = FileArtifacts()
    line = "yes | head -c 5000; yes | head -c 5000 >&2"
    one = shell_call("echo few", line, line, max_output_length=10_000_000)
    outcome, output = await run_shell(
        shell_tool(tmp_path, max_output=4000), one, workbench=Workbench(artifacts=store)
    )

    kept = sum(len(entry[stream].replace("\n", "")) for entry in output for stream in ("stdout", "stderr"))
    assert kept <= 4000 // 2 + 4 * 90
    assert "few\n" == output[0]["stdout"]
    assert outcome.artifact is not None
    assert f"are in the artifact {outcome.artifact}" in output[2]["stdout"] or (
        f"is in the artifact {outcome.artifact}" in output[2]["stdout"]
    )


async def test_endless_output_is_stopped(tmp_path: Path) -> None:
    one = shell_call("yes", "echo never")
    outcome, output = await run_shell(shell_tool(tmp_path, max_output=1000, max_artifact=50_000), one)

    assert outcome.kind == "truncated"
    assert output[0]["outcome"] == {"type": "exit", "exit_code": 137}
    assert "[killed: more than 50,000 bytes of output]" in output[0]["stderr"]
    assert "not run" in output[1]["stderr"]


async def test_commands_that_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    one = shell_call("echo a", f": {'x' * 200_000}", "echo b")
    outcome, output = await run_shell(shell_tool(tmp_path), one)
    _, no_directory = await run_shell(local_shell_tool(tmp_path), local_call("ls", working_directory="f"))
    _, no_variable = await run_shell(local_shell_tool(tmp_path), local_call("ls", env={"A=B": "c"}))

    assert ["a\n", "", "b\n"] == [entry["stdout"] for entry in output]
    assert outcome.succeeded
    for entry, words in (
        (output[1], "too long"),
        (no_directory, "Not a directory"),
        (no_variable, "variable"),
    ):
        assert {"type": "exit", "exit_code": 126} == entry["outcome"]
        assert "it could not be started: " in entry["stderr"]
        assert words in entry["stderr"]


async def test_only_what_is_allowed(tmp_path: Path) -> None:
    one = shell_call("echo yes", "cat /etc/passwd", "echo a | cat", "echo b")
    _, output = await run_shell(shell_tool(tmp_path, commands=["echo"]), one)

    assert ["yes\n", "", "", "b\n"] == [entry["stdout"] for entry in output]
    assert "is not allowed; a command must begin with one of: echo" in output[1]["stderr"]
    assert "there is no shell here" in output[2]["stderr"]
    assert [0, 126, 126, 0] == [entry["outcome"]["exit_code"] for entry in output]


async def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefghijkl")
    tool = shell_tool(tmp_path, environment={"CI": "1"})
    _, (entry,) = await run_shell(tool, shell_call('echo "$CI$OPENAI_API_KEY"'))

    assert "1\n" == entry["stdout"]


async def test_a_local_command(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    one = local_call(
        "sh", "-c", 'echo "$A"; pwd; exit 2', env={"A": "b"}, working_directory="sub", user=getpass.getuser()
    )
    outcome, entry = await run_shell(local_shell_tool(tmp_path), one)

    assert shell_entry(f"b\n{tmp_path}/sub\n", "", 2) == entry
    assert outcome.output.endswith("[exit status 2]\n")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"user": "somebody"}, "no command can be run as the user 'somebody' here"),
        ({"working_directory": ".."}, "leads outside of the workspace"),
        ({"working_directory": "nowhere"}, "there is no 'nowhere'"),
        ({"env": {"LD_PRELOAD": "x"}}, "leave env empty"),
        ({"command": ["cat", "f"]}, "is not allowed"),
        ({"command": ["echo", "a\0b"]}, "cannot contain NUL"),
    ],
)
async def test_what_a_local_command_may_not(more: Any, words: str, tmp_path: Path) -> None:
    outcome, entry = await run_shell(
        local_shell_tool(tmp_path, commands=["echo"]), local_call("echo", "x", **more)
    )

    assert (outcome.kind, outcome.reason) == ("failed", "exception")
    assert words in entry["stderr"]
    assert entry["outcome"] == {"type": "exit", "exit_code": 126}


async def test_a_handler_runs_them_somewhere_else() -> None:
    asked: list[Any] = []

    async def elsewhere(action: ShellAction, context: Any) -> list[CommandOutput]:
        asked.append((action.commands, action.timeout_ms, context.call_id, context.tool))
        await trio.lowlevel.checkpoint()
        return [CommandOutput("a" * 5000, "b", 1), CommandOutput(exit_code=None)]

    _, output = await run_shell(
        shell_tool(handler=elsewhere, max_output=1000), shell_call("x", "y", timeout_ms=5)
    )

    assert [(("x", "y"), 5, "c1", "shell")] == asked
    assert "4,625 bytes cut" in output[0]["stdout"]
    assert ("b", {"type": "exit", "exit_code": 1}) == (output[0]["stderr"], output[0]["outcome"])
    assert shell_entry("", "", None) == output[1]


async def test_a_handler_runs_it_somewhere_else() -> None:
    async def elsewhere(action: LocalShellAction, context: Any) -> CommandOutput:
        await trio.lowlevel.checkpoint()
        return CommandOutput(" ".join(action.command))

    _, entry = await run_shell(local_shell_tool(handler=elsewhere), local_call("a", "b"))

    assert shell_entry("a b", "", 0) == entry


async def no_handler(action: Any, context: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (shell_tool, "needs a directory to run commands in, or a handler="),
        (lambda: shell_tool("/nowhere"), "is not a directory"),
        (lambda: shell_tool("/", commands=False), "takes True or a list"),
        (lambda: shell_tool("/", commands=["no such program"]), "there is no program 'no'"),
        (lambda: shell_tool("/", handler=no_handler), "give nothing about how they are run"),
        (lambda: shell_tool(handler=no_handler, commands=["ls"]), "give nothing about how they are run"),
        (lambda: shell_tool(handler=print), "must be an async function"),  # type: ignore[arg-type]
        (lambda: shell_tool("/", async_=True), "are for functions and custom tools"),
        (lambda: shell_tool("/", retries=1), "must happen at most once"),
        (lambda: local_shell_tool(handler=no_handler, limits=CommandLimits()), "give nothing about"),
    ],
)
def test_what_makes_no_sense(made: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made()


def test_what_the_api_is_told() -> None:
    assert {"type": "shell", "environment": {"type": "local"}} == shell_tool("/").definition()
    assert {"type": "local_shell"} == local_shell_tool("/").definition()
    assert 60 == shell_tool("/").timeout
    assert 5 == shell_tool("/", limits=CommandLimits(timeout=5)).timeout
