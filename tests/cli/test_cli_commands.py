"""What the command line takes, what it refuses, and with which words and exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import CLEAN
from click.testing import CliRunner

from triplane.cli import main
from triplane.cli.commands import commands


@pytest.fixture(autouse=True)
def no_key(monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize("command", ["demo", "serve", "run"])
def test_every_command_explains_itself_with_an_example(command) -> None:
    result = CliRunner().invoke(commands, [command, "--help"])

    assert 0 == result.exit_code
    assert f"triplane {command} " in result.output.split("Options:")[0].split("\n", 1)[1]
    assert "Exit status" in " ".join(result.output.split()).replace("exit status", "Exit status")
    for option in re.findall(r"^  (--[a-z-]+)", result.output, re.MULTILINE):
        assert re.search(rf"{option}\b.* {{2,}}\S", result.output.replace("\n" + " " * 20, "   ")), option


def test_the_command_lists_its_commands() -> None:
    result = CliRunner().invoke(commands, ["--help"])

    assert 0 == result.exit_code
    assert all(f"\n  {command} " in result.output for command in ("demo", "serve", "run"))


@pytest.mark.parametrize("command", [[], ["demo"], ["serve"], ["run"]])
def test_help_fits_eighty_columns_and_keeps_its_examples_apart(command) -> None:
    output = CliRunner().invoke(commands, [*command, "--help"]).output

    assert 80 >= max(map(len, output.splitlines()))
    assert "\b" not in output
    assert "\\b" not in output
    assert 2 <= len(re.findall(r"^  (?:.*\| )?triplane \w+", output, re.MULTILINE))


def test_no_command_is_a_question_for_help(capsys) -> None:
    assert 2 == main([])
    assert "Usage: triplane" in capsys.readouterr().err


def test_version(capsys) -> None:
    assert 0 == main(["--version"])
    assert re.fullmatch(r"triplane [0-9.]+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "/no/such/place"], "triplane demo: /no/such/place does not exist."),
        (["demo", "/etc/passwd"], "triplane demo: /etc/passwd is not a directory."),
        (["demo", "{empty}"], "triplane demo: there is nothing to survey in {empty}"),
        (["demo", "--url", "http://x"], "triplane demo: --url needs --model: which model of that endpoint"),
        (
            ["demo", "{full}", "--model", "m"],
            "triplane demo: OPENAI_API_KEY is not set; set it, or name another",
        ),
        (
            ["demo", "--model", "m", "--latency", "1"],
            "triplane demo: --latency is an option of the local server",
        ),
        (["demo", "--latency", "nan"], "triplane demo: Invalid value for '--latency': 'nan' is not a number"),
        (["demo", "--latency", "-1"], "triplane demo: Invalid value for '--latency'"),
        (["demo", "--latency", "inf"], "triplane demo: Invalid value for '--latency'"),
        (["demo", "--max-runs", "0"], "triplane demo: Invalid value for '--max-runs'"),
        (["demo", "--connections", "0"], "triplane demo: Invalid value for '--connections'"),
        (
            ["demo", "{full}", "--model", "m", "--url", "ftp://x"],
            "triplane: an endpoint's URL begins with wss://",
        ),
        (["demo", "--nope"], "triplane demo: No such option"),
        (["nope"], "triplane: No such command 'nope'"),
        (["serve", "--port", "65536"], "triplane serve: Invalid value for '--port'"),
        (["serve", "--model", "gpt"], "triplane serve: Invalid value for '--model'"),
        (
            ["serve", "--api-key-env", "NO_SUCH_VARIABLE"],
            "triplane serve: the environment variable NO_SUCH_VARIABLE",
        ),
        (["run", "hi"], "triplane run: Missing option '--model'"),
        (["run", "--model", "m"], "triplane run: Missing argument 'PROMPT'"),
        (["run", "--model", "m", "hi"], "triplane run: OPENAI_API_KEY is not set"),
        (["run", "--model", "m", "--url", "ws://x", " "], "triplane run: the prompt is empty."),
        (["run", "--model", "m", "--url", "ws://x", "\udcff"], "triplane run: the prompt is not UTF-8."),
        (["run", "--model", "m", "--tools", "shell", "x"], "triplane run: --tools takes workspace:DIR"),
        (["run", "--model", "m", "--tools", "workspace:", "x"], "triplane run: --tools takes workspace:DIR"),
        (
            ["run", "--model", "m", "--tools", "workspace:/no/such", "x"],
            "triplane: the workspace '/no/such' is not",
        ),
        (["run", "--model", "m", "--allow-commands", "x"], "triplane run: --allow-commands needs --tools"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_status_two(arguments, message, tmp_path, capsys) -> None:
    places = {"empty": tmp_path / "empty", "full": tmp_path / "full"}
    for place in places.values():
        place.mkdir()
    (places["full"] / "folder").mkdir()

    status = main([argument.format(**places) for argument in arguments])

    captured = capsys.readouterr()
    assert 2 == status
    assert captured.err.startswith(message.format(**places))
    assert 1 == captured.err.count("\n")
    assert "" == captured.out


def test_the_key_is_in_no_message(monkeypatch, capsys) -> None:
    """Not even when somebody puts it where it does not belong."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-indeed")
    for url in (
        "http://host:sk-very-secret-indeed/",
        "https://sk-very-secret-indeed@host/",
        "sk-very-secret-indeed",
        "http://127.0.0.1:1/sk-very-secret-indeed",
    ):
        assert 0 != main(["run", "--model", "m", "--url", url, "hi"])

    captured = capsys.readouterr()
    assert "very-secret" not in captured.err + captured.out
    assert "ConnectFailed" in captured.err


def test_without_the_extra_it_says_what_to_install() -> None:
    """In a process of its own, where nothing of the extra has been imported."""
    program = """
import sys
from triplane.cli import main
for missing in ("click", "rich", "msgspec", "docstring_parser"):
    present = sys.modules.pop(missing, None)
    sys.modules[missing] = None
    print(missing, main(["--version"]))
    del sys.modules[missing]
"""

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=CLEAN, check=True
    )

    assert "click 1\nrich 1\nmsgspec 1\ndocstring_parser 1\n" == ended.stdout
    assert "triplane's commands need the extra: python -m pip install 'triplane[cli]'\n" * 4 == ended.stderr


def test_a_full_disk_is_a_line_and_no_traceback(tmp_path) -> None:
    (tmp_path / "file").write_text("x\n")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "triplane", "demo", tmp_path, "--latency", "0"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=CLEAN,
            check=False,
        )

    assert 1 == ended.returncode
    assert "triplane: cannot write the output: No space left on device" == ended.stderr.splitlines()[-1]
