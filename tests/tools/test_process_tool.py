"""Tools that are commands, and commands inside of tools."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tool_bench import run_one

from triplane.core.errors import ConfigError
from triplane.tools import Command, process, process_tool, run_process, tool


@process_tool(effect="read", stderr="apart")
def both(out: str, err: str) -> list[str]:
    """Write to both.

    Args:
        out: To stdout.
        err: To stderr.
    """
    return ["sh", "-c", 'printf %s "$1"; printf %s "$2" >&2', "sh", out, err]


def test_what_the_model_is_told() -> None:
    definition = both.definition()

    assert (definition["name"], definition["description"]) == ("both", "Write to both.")
    assert list(definition["parameters"]["properties"]) == ["out", "err"]
    assert both("a", "b")[-2:] == ["a", "b"], "it can still be called"


@pytest.mark.parametrize(
    ("out", "err", "output"),
    [
        ("a", "b", "a\n[stderr]\nb"),
        ("a\n", "b", "a\n[stderr]\nb"),
        ("a", "", "a"),
        ("", "b", "[stderr]\nb"),
        ("$(id); `id`", "", "$(id); `id`"),
    ],
)
async def test_stderr_apart(out: str, err: str, output: str) -> None:
    assert (await run_one(both, out=out, err=err)).output == output


async def test_what_it_gets(tmp_path: Any) -> None:
    @process_tool
    async def look(text: str) -> Command:
        """Look."""
        await trio.lowlevel.checkpoint()
        return Command("pwd; echo $HERE; cat", cwd=tmp_path, env={"HERE": "x"}, stdin=text.encode())

    outcome = await run_one(look, text="ä" * 100_000)

    assert outcome.output.startswith(f"{tmp_path}\nx\nää")
    assert outcome.kind == "truncated"
    assert outcome.bytes_produced == len(f"{tmp_path}\nx\n") + 200_000


async def test_no_more_is_read_than_the_command_wants() -> None:
    @process_tool
    def ends() -> Command:
        """End."""
        return Command(["true"], stdin=b"x" * 1_000_000)

    assert (await run_one(ends)).kind == "ok"


@pytest.mark.parametrize(
    ("check", "kind", "output"),
    [(False, "ok", "a\n[exit status 3]"), (True, "failed", "The tool failed. ExitStatusError: exit status 3\nIts output until then:\na\n")],
)  # fmt: skip
async def test_exit_status(check: Any, kind: str, output: str) -> None:
    @process_tool(check=check)
    def fail() -> str:
        """Fail."""
        return "echo a; exit 3"

    outcome = await run_one(fail)

    assert (outcome.kind, outcome.output) == (kind, output)


async def test_the_signal_that_ended_it() -> None:
    @process_tool
    def killed() -> str:
        """Die."""
        return "kill -9 $$"

    assert (await run_one(killed)).output == "[exit status -9]"


@pytest.mark.parametrize("command", [3, None, [], ["a", 3], ("no-such-program-anywhere",)])
async def test_what_cannot_be_run_is_a_failure(command: Any) -> None:
    @process_tool
    def wrong() -> Any:
        """Be wrong."""
        return command

    outcome = await run_one(wrong)

    assert (outcome.kind, outcome.reason) == ("failed", "exception")


def test_what_cannot_be_a_process_tool() -> None:
    for function, options, words in (
        (3, {}, "takes a function that returns a command, not 3"),
        (both, {}, "takes a function that returns a command"),
        (lambda: "ls", {"name": "f", "stderr": "no"}, "stderr of tool 'f' is 'no'; use 'merge' or 'apart'"),
        (lambda: "ls", {}, "is not a tool name"),
    ):
        with pytest.raises(ConfigError, match=words):
            process_tool(function, **options)  # type: ignore[call-overload]


class TestInsideOfATool:
    async def test_stderr_and_stdin(self) -> None:
        result = await run_process("cat; echo err >&2", stdin=b"abc", stderr="apart")

        assert (result.output, result.errors, result.bytes_produced) == ("abc", "err\n", 7)

    async def test_both_pipes_count(self) -> None:
        result = await run_process("yes >&2 & yes", stderr="apart", max_produced=1_000_000)

        assert result.stopped
        assert result.exit_status == -9

    async def test_at_the_deadline_of_the_call_it_is_asked_to_end(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(process, "GRACE", 2)

        @tool(timeout=0.1)
        async def helper() -> str:
            result = await run_process(f"trap 'echo asked > {path}; exit' TERM; sleep 60 & wait")
            return result.output

        path = "/dev/null"
        with trio.fail_after(5):
            assert (await run_one(helper)).kind == "timed_out"

    async def test_a_scope_of_its_own_is_no_deadline_of_the_call(self, tmp_path: Any) -> None:
        marker = tmp_path / "asked"

        @tool(timeout=30)
        async def helper() -> str:
            with trio.move_on_after(0.1):
                await run_process(f"trap 'touch {marker}; exit' TERM; sleep 60 & wait")
            return "went on"

        assert (await run_one(helper)).output == "went on"
        assert not marker.exists(), "it was killed at once"
