"""Which commands run, with what environment, within what limits."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tool_bench import run_one

from triplane.core.errors import ConfigError
from triplane.tools import CommandLimits, by_name, workspace
from triplane.tools.workspace import limited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RESOURCE = pytest.importorskip("resource")


def run_command(place: Path, commands: Sequence[str] | None = None, **options: Any) -> Any:
    return by_name(workspace(place, commands=True if commands is None else commands, **options))[
        "run_command"
    ]


async def test_what_is_passed_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "sk-canary-1234567890"
    for name in ("OPENAI_API_KEY", "DATABASE_URL", "GH_PAT", "PYTHONSTARTUP", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, canary)
    monkeypatch.setenv("LC_TIME", "C")
    tool = run_command(tmp_path, environment={"CI": "1"})

    output = (await run_one(tool, command="env")).output

    assert canary not in output
    lines = output.splitlines()
    assert {"LC_TIME=C", "CI=1", f"PATH={os.environ['PATH']}"} <= set(lines)
    assert "CI" not in repr(tool)


class TestAllowed:
    @pytest.mark.parametrize(
        ("command", "output"),
        [
            ("echo a  'b c'", "a b c\n[exit status 0]"),
            ("echo $HOME *", "$HOME *\n[exit status 0]"),
            ("echo 'a; b'", "a; b\n[exit status 0]"),
            ("echo # a", "# a\n[exit status 0]"),
            ("printf %s x", "x\n[exit status 0]"),
        ],
    )
    async def test_it_runs_without_a_shell(self, tmp_path: Path, command: str, output: str) -> None:
        assert output == (await run_one(run_command(tmp_path, ["echo", "printf %s"]), command=command)).output

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (
                "cat x",
                "PermissionError: 'cat x' is not allowed; a command must begin with one of: echo, printf %s",
            ),
            ("printf %d 1", "is not allowed"),
            ("echoes", "is not allowed"),
            ("/bin/echo x", "is not allowed"),
            ("./echo x", "is not allowed"),
            ("PATH=. echo x", "is not allowed"),
            ("", "is not allowed"),
            ("echo a; cat x", "ValueError: 'echo a; cat x' has ';', and there is no shell here"),
            ("echo a && cat x", "has '&&'"),
            ("echo a | cat", "has '|'"),
            ("echo a > x", "has '>'"),
            ("echo a\ncat x", "has a second line"),
            ("echo 'a", "cannot be split into words"),
            ("echo \0", "cannot contain NUL"),
        ],
    )
    async def test_refused(self, tmp_path: Path, command: str, words: str) -> None:
        outcome = await run_one(run_command(tmp_path, ["echo", "printf %s"]), command=command)

        assert "failed" == outcome.kind
        assert words in outcome.output

    def test_the_model_is_told(self, tmp_path: Path) -> None:
        description = run_command(tmp_path, ["echo", "printf %s"]).description

        assert "begin with one of: `echo`, `printf %s`. There is no shell" in description

    async def test_a_program_of_the_workspace_cannot_pass_for_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for path in (tmp_path / "echo", tmp_path / "mine"):
            path.write_text("#!/bin/sh\necho planted\n")
            path.chmod(0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}{os.environ['PATH']}")
        tool = run_command(tmp_path, ["echo"])
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

        assert "planted" not in (await run_one(tool, command="echo x")).output
        with pytest.raises(ConfigError, match="there is no program 'mine'"):
            monkeypatch.setenv("PATH", ".")
            run_command(tmp_path, ["mine"])

    @pytest.mark.parametrize(
        ("commands", "words"),
        [
            ("echo", r"commands= takes True or a list of commands, not a text; did you mean \['echo'\]"),
            ([""], "commands= has '', which is no command"),
            (["'"], "which is no command"),
            ([1], "commands= has 1, which is no command"),
            (["no-such-program-here"], "there is no program 'no-such-program-here'"),
            (["./x"], "there is no program './x'; give its absolute path"),
        ],
    )
    def test_lists_that_make_no_sense(self, tmp_path: Path, commands: Any, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            workspace(tmp_path, commands=commands)

    async def test_an_empty_list_allows_nothing(self, tmp_path: Path) -> None:
        outcome = await run_one(run_command(tmp_path, []), command="echo x")

        assert "must begin with one of: nothing" in outcome.output


class TestLimits:
    async def test_each_reaches_the_command(self, tmp_path: Path) -> None:
        limits = CommandLimits(cpu_seconds=7, memory=2**31, file_size=2**20, open_files=64, timeout=5)
        tool = run_command(tmp_path, limits=limits)
        names = "CPU AS FSIZE NOFILE CORE"
        code = f"import resource as r; print(*[r.getrlimit(getattr(r, 'RLIMIT_' + n)) for n in '{names}'.split()])"

        output = (await run_one(tool, command=f'{sys.executable} -ISc "{code}"')).output

        expected = " ".join(f"({value}, {value})" for value in (7, 2**31, 2**20, 64, 0))
        assert f"{expected}\n[exit status 0]" == output
        assert 5 == tool.timeout

    async def test_a_file_that_grows_too_large(self, tmp_path: Path) -> None:
        tool = run_command(tmp_path, limits=CommandLimits(file_size=10_000))

        outcome = await run_one(tool, command="exec head -c 20000 /dev/zero > big")

        assert "[exit status -25]" in outcome.output  # SIGXFSZ: by default, and not ignored as Python has it
        assert 10_000 == (tmp_path / "big").stat().st_size

    async def test_none_is_no_limit(self, tmp_path: Path) -> None:
        limits = CommandLimits(cpu_seconds=None, memory=None, file_size=None, open_files=None)

        assert "CORE=0" == limits.as_words()

    @pytest.mark.parametrize(
        ("limits", "words"),
        [
            ({"memory": 5}, "memory must be None or a whole number of at least 1048576, not 5"),
            ({"cpu_seconds": 1.5}, "cpu_seconds must be None or"),
            ({"timeout": 0}, "timeout must be seconds above 0"),
            ({"timeout": None}, "timeout must be seconds above 0"),
        ],
    )
    def test_that_make_no_sense(self, limits: Any, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            CommandLimits(**limits)

    @pytest.mark.parametrize("number", [50, 10**9])
    def test_a_hard_limit_that_is_lower_stays(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[Any] = []
        monkeypatch.setattr(RESOURCE, "getrlimit", lambda kind: (1, 100))
        monkeypatch.setattr(RESOURCE, "setrlimit", lambda kind, limits: said.append(limits))
        # This process goes on, and would die of the next pipe that nobody reads.
        monkeypatch.setattr(limited.signal, "signal", lambda number, handler: None)

        assert "/no/such cannot be started: No such file or directory" == limited.main(
            [f"NOFILE={number}", "/no/such"]
        )
        assert [(min(number, 100),) * 2] == said

    def test_a_limit_that_cannot_be_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(kind: int, limits: Any) -> None:
            raise ValueError("not here")

        monkeypatch.setattr(RESOURCE, "setrlimit", refuse)

        assert "RLIMIT_AS cannot be set here: not here" == limited.main(["AS=1000000", "/bin/true"])
