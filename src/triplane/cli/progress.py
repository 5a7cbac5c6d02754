"""How a demo looks while it runs: a live picture on a terminal, one plain line for each finished run elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, final

import trio
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from triplane.cli.units import clock, counted, size
from triplane.cli.untrusted import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from triplane.cli.demo import Demo, DemoView, LaneView, RunView
    from triplane.cli.report import Row

_FRAME_SECONDS = 0.1
_NARROW = 90
# Lines of the picture that are neither runs nor lanes: the bar, two headings, three empty lines.
_FIXED_LINES = 7
_STATE_STYLES = {
    "model": "cyan",
    "tools": "yellow",
    "waiting": "dim",
    "leased": "cyan",
    "reserved": "yellow",
    "draining": "magenta",
    "free": "dim",
}


def watcher_for(console: Console) -> LiveWatcher | PlainWatcher:
    """The watcher that fits where the console's output goes."""
    if console.file.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return LiveWatcher(console)
    return PlainWatcher(console)


@final
class PlainWatcher:
    """Writes one line for each run that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def finished(self, demo: Demo, row: Row) -> None:
        """Write the line."""
        done = f"{len(demo.rows)}/{len(demo.plan.jobs)}"
        facts = [counted(row.turns, "turn"), counted(row.tool_calls, "tool call")]
        if row.figures.files is not None:
            facts.insert(0, counted(row.figures.files, "file"))
        self._console.print(
            Text(f"{done} {row.name}: {row.result} ({', '.join(facts)})"), soft_wrap=True, highlight=False
        )

    async def watch(self, demo: Demo, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ARG002  # as watchers have it
        """Wait to be cancelled: there is nothing to show in between."""
        task_status.started()
        await trio.sleep_forever()


@final
class LiveWatcher:
    """Draws the demo ten times a second, and leaves the terminal as it was."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def finished(self, demo: Demo, row: Row) -> None:
        """Nothing: the next picture shows it."""

    async def watch(self, demo: Demo, *, task_status: trio.TaskStatus[None]) -> None:
        """Draw until cancelled. Drawing is quick and happens between the steps of the runs."""
        # Rich's own refreshing is a thread, which would read the runs while they change.
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            task_status.started()
            while True:
                picture = draw(demo.view(), width=self._console.width, height=self._console.height)
                live.update(picture, refresh=True)
                await trio.sleep(_FRAME_SECONDS)


def draw(view: DemoView, *, width: int, height: int) -> RenderableType:
    """The picture of a moment, at most `height` lines of `width` columns."""
    narrow = width < _NARROW
    # What is cut is cut here, where the reader can be told how much it was.
    lanes = view.lanes[: max(4, height // 2)]
    room = max(2, height - _FIXED_LINES - len(lanes) - (len(lanes) < len(view.lanes)))
    shown = view.runs if len(view.runs) <= room else view.runs[: room - 1]
    parts: list[RenderableType] = [_overall(view, width=width), Text(), _runs(shown, narrow=narrow)]
    if len(shown) < len(view.runs):
        parts.append(Text(f"  and {len(view.runs) - len(shown)} more", style="dim"))
    # The cursor rests on the empty last line: at the end of a full one, the terminal's own "^C" would begin another.
    parts += [Text(), _lanes(lanes, view.dialling)]
    if len(lanes) < len(view.lanes):
        parts.append(Text(f"  and {len(view.lanes) - len(lanes)} more", style="dim"))
    parts.append(Text())
    return Group(*parts)


def _overall(view: DemoView, *, width: int) -> RenderableType:
    facts = f"{view.finished}/{view.jobs} runs"
    if view.failed:
        facts += f", {view.failed} failed"
    rest = (
        f"{counted(view.turns, 'turn')}  {counted(view.tool_calls, 'tool call')}"
        f"  {size(view.bytes_up)} up  {size(view.bytes_down)} down  {clock(view.seconds)}"
    )
    bar = max(8, min(30, width - len(facts) - len(rest) - 6))
    grid = Table.grid(padding=(0, 2))
    for _ in range(3):
        grid.add_column(no_wrap=True)
    grid.add_row(
        ProgressBar(
            total=max(1, view.jobs),
            completed=view.finished,
            width=bar,
            complete_style="cyan",
            finished_style="cyan",
        ),
        Text(facts, style="bold"),
        Text(rest, style="dim"),
    )
    return grid


def _runs(runs: tuple[RunView, ...], *, narrow: bool) -> RenderableType:
    table = _table()
    table.add_column("run", ratio=3, no_wrap=True)
    table.add_column("status", width=8, no_wrap=True)
    table.add_column("turn", justify="right", width=4, no_wrap=True)
    table.add_column("calls", justify="right", width=5, no_wrap=True)
    table.add_column("tools running", ratio=2 if narrow else 4, no_wrap=True)
    table.add_column("time", justify="right", width=8, no_wrap=True)
    for run in runs:
        state = run.state
        table.add_row(
            Text(run.name),
            Text(state.status, style=_STATE_STYLES.get(state.status, "")),
            str(state.turns),
            str(len(state.tool_calls)),
            Text(_tools(state.running_tools)),
            clock(run.seconds),
        )
    return table


def _tools(running: tuple[str, ...]) -> str:
    counts = Counter(running)
    return ", ".join(
        one_line(name, 40) if count == 1 else f"{one_line(name, 40)} x{count}"
        for name, count in counts.items()
    )


def _lanes(lanes: tuple[LaneView, ...], dialling: int) -> RenderableType:
    table = _table()
    table.add_column("lane", width=6, no_wrap=True)
    table.add_column("state", width=10, no_wrap=True)
    table.add_column("run", ratio=1, no_wrap=True)
    for heading in ("requests", "up", "down"):
        table.add_column(heading, justify="right", width=8, no_wrap=True)
    for lane in lanes:
        table.add_row(
            lane.name,
            Text(lane.state, style=_STATE_STYLES.get(lane.state, "")),
            Text(lane.run),
            f"{lane.requests:,}",
            "" if lane.bytes_up is None else size(lane.bytes_up),
            "" if lane.bytes_down is None else size(lane.bytes_down),
        )
    if dialling:
        table.add_row("…", Text(f"connecting x{dialling}" if dialling > 1 else "connecting", style="dim"))
    return table


def _table() -> Table:
    return Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="dim", show_edge=False)
