"""Draw the README's picture: a real `triplane demo src/triplane`, one moment of it and its table.

    python scripts/draw_demo.py            # writes docs/demo.svg

The run is real, so times differ from one drawing to the next.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from rich.console import Console

from triplane.cli.demo import Demo, DemoView, Settings
from triplane.cli.plan import make_plan
from triplane.cli.progress import draw
from triplane.cli.table import summary, table_of

if TYPE_CHECKING:
    from triplane.cli.report import Row

ROOT = Path(__file__).parent.parent
WIDTH = 100


class Photographer:
    """Keeps the moment in which most was going on."""

    def __init__(self) -> None:
        self.best: DemoView | None = None
        self._busiest = -1

    def finished(self, demo: Demo, row: Row) -> None:
        """See `triplane.cli.demo.Watcher`."""

    async def watch(self, demo: Demo, *, task_status: trio.TaskStatus[None]) -> None:
        """See `triplane.cli.demo.Watcher`."""
        task_status.started()
        while True:
            view = demo.view()
            busy = sum(bool(run.state.running_tools) for run in view.runs) + 2 * (
                0 < view.finished < view.jobs
            )
            if busy >= self._busiest:
                self.best, self._busiest = view, busy
            await trio.sleep(0.02)


def main() -> None:
    """Run the demo and draw it."""
    photographer = Photographer()
    demo = Demo(make_plan(ROOT / "src" / "triplane"), Settings(latency=0.3))
    trio.run(demo.run, photographer)
    assert photographer.best is not None
    console = Console(
        record=True, width=WIDTH, force_terminal=True, file=io.StringIO(), color_system="truecolor"
    )
    console.print("[bold]$ triplane demo src/triplane[/]\n")
    console.print(draw(photographer.best, width=WIDTH, height=40))
    rows = [demo.rows[index] for index in sorted(demo.rows)]
    console.print(table_of(rows, width=WIDTH))
    for line in ["", *summary(demo)]:
        console.print(line, highlight=False)
    svg = console.export_svg(title="triplane demo src/triplane")
    # A picture in a README loads nothing: the reader's own monospaced font will do.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
    (ROOT / "docs" / "demo.svg").write_text(svg)


if __name__ == "__main__":
    main()
