"""The demo against the tree it surveys: its figures are those of `find` and `wc`."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from cli_process import CLEAN

from triplane.cli import main
from triplane.cli.demo import Demo, Settings
from triplane.cli.plan import make_plan

if TYPE_CHECKING:
    from triplane.cli.demo import DemoView
    from triplane.cli.report import Row


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders, files beside them, and everything that makes counting hard."""
    root = tmp_path / "tree"
    for name in ("engine", "net core", "protocol/deep/deeper", "empty", ".git"):
        (root / name).mkdir(parents=True)
    for number in range(12):
        (root / "engine" / f"module{number}.py").write_text("# TODO\n" * number + "x = 1\n" * 40)
    (root / "net core" / "no newline at the end").write_text("one\ntwo")
    (root / "net core" / "binary.bin").write_bytes(bytes(range(256)) * 40)
    (root / "net core" / "empty file").touch()
    (root / "protocol" / "deep" / ".hidden").write_text("a\nb\n")
    (root / "protocol" / "deep" / "deeper" / "crlf.txt").write_bytes(b"a\r\nb\r\n# FIXME\r\n")
    (root / "protocol" / "link").symlink_to(root / "engine")
    (root / ".git" / "HEAD").write_text("ref\n")
    for number in range(11):
        (root / f"top file {number}.md").write_text("line\n" * number)
    (root / ".hidden file").write_text("here\n")
    return root


def find_and_wc(place: Path, *options: str) -> tuple[int, int]:
    """How many files and lines there are, by the tools that everybody has."""
    found = subprocess.run(
        ["find", str(place), *options, "-type", "f", "-print0"], capture_output=True, check=True
    ).stdout.split(b"\0")[:-1]
    lines = subprocess.run(["wc", "-l", *found], capture_output=True, check=True).stdout if found else b""
    return len(found), sum(int(line.split()[0]) for line in lines.splitlines()[: len(found)])


def figures(row: dict) -> tuple[int, int]:
    return row["files"], row["lines"]


def survey(place: Path, capsys, *options: str) -> dict:
    assert 0 == main(["demo", str(place), "--latency", "0", "--json", *options])
    return json.loads(capsys.readouterr().out)


def test_figures_agree_with_find_and_wc_row_by_row_and_in_total(tree, capsys) -> None:
    result = survey(tree, capsys)

    rows = {row["name"]: row for row in result["runs"]}
    for folder in ("engine", "net core", "protocol", "empty"):
        assert find_and_wc(tree / folder) == figures(rows[folder]), folder
    groups = [figures(rows[name]) for name in ("(files 1-10)", "(files 11-12)")]
    assert find_and_wc(tree, "-maxdepth", "1") == tuple(map(sum, zip(*groups, strict=True)))
    assert find_and_wc(tree, "-not", "-path", f"{tree}/.git/*") == figures(result["total"])
    assert 6 == len(rows)
    assert 66 == rows["engine"]["todo"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    root = tmp_path / "small"
    for name in ("a", ".git"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("x\n" * 3)
    return root


def test_with_hidden_folders_it_is_the_whole_tree(small, capsys) -> None:
    assert find_and_wc(small) == figures(survey(small, capsys, "--all")["total"])


def test_the_package_itself(tmp_path, capsys) -> None:
    """One row for each room of the house, and for the files beside them."""
    # A copy: tests that run beside this one start interpreters, which compile the package where it stands.
    source = tmp_path / "triplane"
    package = Path(__file__).parents[2] / "src" / "triplane"
    shutil.copytree(package, source, ignore=shutil.ignore_patterns("__pycache__"))

    result = survey(source, capsys)

    assert find_and_wc(source) == figures(result["total"])
    for row in result["runs"]:
        if row["only_files"] is None:
            assert find_and_wc(source / row["name"]) == figures(row)
    assert {"core", "engine", "(files)"} <= {row["name"] for row in result["runs"]}
    assert 4 == result["connections_opened"]
    assert 8 <= result["tool_calls_per_run"]["median"]


def test_the_table_says_the_same(tree, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert 0 == main(["demo", str(tree), "--latency", "0"])

    captured = capsys.readouterr()
    files, lines = find_and_wc(tree / "engine")
    assert re.search(rf"^engine +{files} +{lines} +66 +[0-9]+ +[0-9]+ .* ok *$", captured.out, re.MULTILINE)
    files, lines = find_and_wc(tree, "-not", "-path", f"{tree}/.git/*")
    assert re.search(rf"^total +{files} +{lines} ", captured.out, re.MULTILINE)
    assert re.search(r"^6 runs in .* over 4 connections; ", captured.out, re.MULTILINE)
    assert re.search(r"^Tool calls per run: min \d+, median [\d.]+, max \d+\.$", captured.out, re.MULTILINE)
    assert 100 >= max(map(len, captured.out.splitlines()))
    assert "\x1b" not in captured.out + captured.err
    assert "Skipped 1 hidden folder: .git; --all includes them." in captured.err
    assert 6 == len(
        re.findall(r"^\d/6 .*: ok \(\d+ files?, \d turns, \d+ tool calls\)$", captured.err, re.MULTILINE)
    )


@pytest.mark.parametrize("options", [[], ["--transport", "http"]])
def test_one_connection_and_one_run_at_a_time_do_as_well(small, capsys, options) -> None:
    result = survey(small, capsys, "--all", "--connections", "1", "--max-runs", "1", *options)

    assert 1 == result["connections_opened"]
    assert find_and_wc(small) == figures(result["total"])


def test_failed_runs_are_explained_and_cost_the_exit_status(tree, capsys) -> None:
    assert 1 == main(["demo", str(tree), "--model", "m", "--url", "http://127.0.0.1:1"])

    captured = capsys.readouterr()
    assert "6 failed" in captured.out
    first, second = captured.err.splitlines()[-2:]
    assert first.startswith("empty, engine, net core and 3 more: ConnectFailed: ")
    assert "  nothing was sent; safe next: run it again" == second


def in_a_terminal(arguments: list[str], columns: int, rows: int, **environment: str) -> tuple[int, str]:
    """Run a command in a terminal of its own, and return its exit status and everything it wrote."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "triplane", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**CLEAN, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows), **environment},
    )
    os.close(slave)
    written = b""
    try:
        while chunk := os.read(master, 65536):
            written += chunk
    except OSError:  # how Linux says that the last writer has gone
        pass
    os.close(master)
    return process.wait(10), written.decode()


def test_a_terminal_gets_a_live_picture_that_leaves_nothing_behind(small) -> None:
    status, written = in_a_terminal(["demo", str(small), "--all", "--latency", "0.1"], 100, 30)

    assert 0 == status
    assert "tools running" in written
    assert re.search(r"c\d +.*leased", written)
    assert "\x1b[?25l" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is shown again"
    after = written[written.rindex("tools running") :]
    assert "total" in after, "the table comes after the last picture"


class Sampler:
    """A watcher that keeps what it sees."""

    def __init__(self, then=lambda demo: None) -> None:
        self.views: list[DemoView] = []
        self.finished_names: list[str] = []
        self._then = then

    def finished(self, demo: Demo, row: Row) -> None:
        self.finished_names.append(row.name)
        self._then(demo)

    async def watch(self, demo: Demo, *, task_status) -> None:
        task_status.started()
        while True:
            self.views.append(demo.view())
            await trio.sleep(0.005)


async def test_watchers_see_runs_lanes_and_totals(tree) -> None:
    sampler = Sampler()
    demo = Demo(make_plan(tree), Settings(latency=0.02, max_runs=3, connections=2))

    await demo.run(sampler)

    views = sampler.views
    names = {job.name for job in demo.plan.jobs}
    assert names == set(sampler.finished_names) == {run.name for view in views for run in view.runs}
    assert {"leased", "reserved"} <= {lane.state for view in views for lane in view.lanes}
    assert {"c1", "c2"} == {lane.name for view in views for lane in view.lanes}
    assert names >= {lane.run for view in views for lane in view.lanes} - {""}
    assert max(len(view.runs) for view in views) <= 3
    assert max(lane.requests for view in views for lane in view.lanes) > 1
    for figure in ("finished", "turns", "tool_calls", "bytes_up", "bytes_down", "seconds"):
        seen = [getattr(view, figure) for view in views]
        assert sorted(seen) == seen, f"{figure} never goes back"
        assert seen[0] < seen[-1]


async def test_a_signal_ends_the_demo_in_good_order(tree) -> None:
    def stop(demo: Demo) -> None:
        if len(demo.rows) == 2:
            signal.raise_signal(signal.SIGINT)

    sampler = Sampler(then=stop)
    demo = Demo(make_plan(tree), Settings(max_runs=1))

    await demo.run(sampler)

    assert demo.interruption
    assert 2 <= len(demo.rows) < 6
    assert {job.name for job in demo.unfinished}.isdisjoint(sampler.finished_names)
    assert demo.statistics is not None
    assert demo.statistics.opened == demo.statistics.closed
    assert demo.seconds > 0
