"""The live picture: what it says, and that it fits."""

from __future__ import annotations

import io

import attrs
import pytest
from rich.console import Console
from test_cli_report import STATE

from triplane.cli.demo import DemoView, LaneView, RunView
from triplane.cli.progress import LiveWatcher, PlainWatcher, draw, watcher_for

RUNS = tuple(
    RunView(name, 1.2, attrs.evolve(STATE, status=status, running_tools=tools))
    for name, status, tools in [
        ("core", "tools", ("read_text", "read_text", "run_command")),
        ("engine", "model", ()),
        ("net", "waiting", ()),
    ]
)
LANES = (
    LaneView("c1", "reserved", "core", 12, 120_000, 300_000),
    LaneView("c2", "leased", "engine", 3, 1_000, 2_000),
    LaneView("c10", "free", "", 0, 0, 0),
)
VIEW = DemoView(
    jobs=10,
    finished=4,
    failed=0,
    turns=31,
    tool_calls=88,
    bytes_up=120_000,
    bytes_down=1_200_000,
    seconds=3.4,
    runs=RUNS,
    lanes=LANES,
    dialling=1,
)


def rendered(view: DemoView, width: int = 100, height: int = 30) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    console.print(draw(view, width=width, height=height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_it_says_how_far_the_whole_is() -> None:
    first = rendered(VIEW)[0]

    for fact in ("4/10 runs", "31 turns", "88 tool calls", "120 kB up", "1.2 MB down", "3.4 s"):
        assert fact in first
    assert "failed" not in first
    assert "4/10 runs, 2 failed" in rendered(attrs.evolve(VIEW, failed=2))[0]


def test_it_says_what_each_run_does() -> None:
    lines = rendered(VIEW)

    assert "core tools 3 4 read_text x2, run_command 1.2 s" == " ".join(lines[3].split())
    assert "engine model 3 4 1.2 s" == " ".join(lines[4].split())
    assert "net waiting 3 4 1.2 s" == " ".join(lines[5].split())


def test_it_says_who_holds_which_lane() -> None:
    lines = rendered(VIEW)

    assert "c1 reserved core 12 120 kB 300 kB" == " ".join(lines[8].split())
    assert "c2 leased engine 3 1.0 kB 2.0 kB" == " ".join(lines[9].split())
    assert "c10 free 0 0 B 0 B" == " ".join(lines[10].split())
    assert "connecting" in lines[11]


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (60, 16)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    view = attrs.evolve(
        VIEW,
        jobs=10_000,
        finished=9_999,
        failed=1_234,
        turns=99_999,
        tool_calls=999_999,
        bytes_up=999_000_000,
        bytes_down=999_000_000,
        runs=tuple(
            RunView(f"{number}-" + "日本" * 40, 5999, attrs.evolve(STATE, running_tools=("x" * 60,) * 3))
            for number in range(40)
        ),
        lanes=tuple(attrs.evolve(LANES[0], name=f"c{number}", run="y" * 90) for number in range(4)),
    )

    lines = rendered(view, width, height)

    assert height >= len(lines)
    assert width >= max(map(len, lines))
    assert any("more" in line for line in lines)


def test_names_from_outside_cannot_command_the_terminal() -> None:
    evil = "\x1b[2J[red]x[/red]"
    view = attrs.evolve(VIEW, runs=(RunView("run", 1, attrs.evolve(STATE, running_tools=(evil,))),))

    text = "\n".join(rendered(view))

    assert "\x1b" not in text
    assert "[red]x[/red]" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("file", "environment", "kind"),
    [
        (Terminal(), {"TERM": "xterm"}, LiveWatcher),
        (Terminal(), {"TERM": "dumb"}, PlainWatcher),
        (io.StringIO(), {"TERM": "xterm"}, PlainWatcher),
        # It wants colours in a file, and no moving cursor.
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}, PlainWatcher),
    ],
)
def test_only_a_terminal_gets_the_live_picture(file, environment, kind) -> None:
    assert isinstance(watcher_for(Console(file=file, _environ=environment)), kind)
