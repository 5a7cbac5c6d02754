"""``triplane runs`` and ``triplane replay``: what is in a ledger's file."""

from __future__ import annotations

import math
import os
import re
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click
import trio
from rich.table import Table
from rich.text import Text

from triplane.cli.failures import Failure
from triplane.cli.narrator import JsonLines, Narrator
from triplane.cli.run import show
from triplane.cli.run_names import find_run_id
from triplane.cli.scopes import interruptible
from triplane.cli.screen import Screen
from triplane.cli.units import counted, seconds, size
from triplane.cli.untrusted import named, one_line
from triplane.core.records import FramesReceived, UnknownRecord
from triplane.core.reducer import RunReducer
from triplane.ledger import open_ledger, upkeep
from triplane.ledger.export import as_atif, as_input, as_json, as_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from triplane.core.records import Record
    from triplane.ledger import SqliteLedger
    from triplane.ledger.upkeep import RunSummary

_STYLES: Final = {
    "completed": "green",
    "running": "cyan",
    "failed": "red",
    "interrupted": "yellow",
    "parked": "magenta",
}
_BATCH: Final = 500
_DAY: Final = 86_400


class LedgerFile(click.Path):
    """The path of a ledger, as a `Path`.

    Args:
        exists: Whether there must be one; the commands that only look make none.
    """

    name = "file"

    def __init__(self, *, exists: bool) -> None:
        super().__init__(path_type=Path)
        self._must_exist = exists

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002  # as click has it
        """The path.

        Raises:
            click.UsageError: There is no file, or nothing in it, and there should be.
        """
        path = Path(value)
        if self._must_exist and not path.exists():
            raise click.UsageError(f"there is no ledger {named(str(path))}.", ctx)
        if self._must_exist and path.is_file() and not path.stat().st_size:
            # One would be made of it.
            raise click.UsageError(f"there is no ledger in {named(str(path))}: the file is empty.", ctx)
        return path


def _age(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY}
    return _amount(text, units, "an age such as 30d (units: s, m, h, d, w)")


def _size(text: str) -> float:
    units = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9}
    return _amount(text, units, "a size such as 500MB (units: B, kB, MB, GB)")


def _amount(text: str, units: Mapping[str, float], what: str) -> float:
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].lower() not in units:
        raise click.BadParameter(f"{text!r} is not {what}.")
    return float(found[1]) * units[found[2].lower()]


_LEDGER = click.option(
    "--ledger", "path", metavar="FILE", type=LedgerFile(exists=True), help="The ledger's file."
)


def _path(ctx: click.Context, path: Path | None) -> Path:
    """The option of this command, or of the group."""
    chosen = path or (ctx.parent.params.get("path") if ctx.parent else None)
    if chosen is None:
        raise click.UsageError("which ledger? Name its file with --ledger FILE.", ctx)
    return Path(chosen)


@click.group(invoke_without_command=True)
@_LEDGER
@click.option("--json", "json_wanted", is_flag=True, help="One line of JSON for each run.")
@click.pass_context
def runs(ctx: click.Context, *, path: Path | None, json_wanted: bool) -> int:
    """The runs in a ledger: list, export, prune, check.

    \b
    triplane runs --ledger runs.db
    triplane runs --ledger runs.db --json | jq .status
    triplane runs export last --ledger runs.db --format input
    triplane runs prune --ledger runs.db --older-than 30d
    triplane runs check --ledger runs.db

    A run can be named by the beginning of its id, or as "last".
    """  # noqa: D301  # click wants the real character
    if ctx.invoked_subcommand is not None:
        return 0
    return trio.run(partial(_list, _path(ctx, path), _screen(), json_wanted=json_wanted))


@runs.command()
@click.argument("run")
@_LEDGER
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "atif", "input"]),
    default="jsonl",
    show_default=True,
    help="Every record as a line of JSON; a trajectory in the Agent Trajectory Interchange Format; or the"
    " conversation as input items of the Responses API.",
)
@click.pass_context
def export(ctx: click.Context, *, run: str, path: Path | None, form: str) -> int:
    """Write RUN to standard output."""
    return trio.run(partial(_export, _path(ctx, path), run, form, _screen()))


@runs.command()
@_LEDGER
@click.option("--older-than", type=_age, metavar="AGE", help="Delete what ended that long ago, such as 30d.")
@click.option(
    "--max-size", type=_size, metavar="SIZE", help="Delete the oldest until that much is left, such as 1GB."
)
@click.option("--json", "json_wanted", is_flag=True, help="One line of JSON for each run that was deleted.")
@click.pass_context
def prune(
    ctx: click.Context,
    *,
    path: Path | None,
    older_than: float | None,
    max_size: float | None,
    json_wanted: bool,
) -> int:
    """Delete runs by age and size. What is running stays."""
    if older_than is None and max_size is None:
        raise click.UsageError("prune what? Give --older-than AGE, --max-size SIZE, or both.", ctx)
    return trio.run(
        partial(_prune, _path(ctx, path), _screen(), older_than, max_size, json_wanted=json_wanted)
    )


@runs.command()
@_LEDGER
@click.option(
    "--repair",
    "repair_wanted",
    is_flag=True,
    help="Cut off damaged ends, after making a copy of the file. Nothing is guessed.",
)
@click.pass_context
def check(ctx: click.Context, *, path: Path | None, repair_wanted: bool) -> int:
    """Read everything and verify every checksum.

    Exit status: 0 when all is well, or everything could be repaired; 1 when something is damaged.
    """
    return trio.run(partial(_check, _path(ctx, path), _screen(), repair_wanted=repair_wanted))


@click.command()
@click.argument("run")
@_LEDGER
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Times as fast as it was; inf for at once.",
)
@click.option(
    "--longest-pause",
    type=click.FloatRange(0),
    default=3.0,
    show_default=True,
    help="Seconds to wait at most for what comes next.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Every event as one line of JSON.")
@click.pass_context
def replay(
    ctx: click.Context, *, run: str, path: Path | None, speed: float, longest_pause: float, json_wanted: bool
) -> int:
    """Play RUN in this terminal as it went.

    \b
    triplane replay last --ledger runs.db
    triplane replay run_4f2 --ledger runs.db --speed 20

    Exit status: 0, also when the run itself had failed; 1 when it cannot be read.
    """  # noqa: D301  # click wants the real character
    if math.isnan(speed) or math.isnan(longest_pause):
        raise click.UsageError("a speed is a number.", ctx)
    return trio.run(
        partial(_replay, _path(ctx, path), run, _screen(), speed, longest_pause, as_json=json_wanted)
    )


def _screen() -> Screen:
    return Screen([os.environ.get("OPENAI_API_KEY")])


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[SqliteLedger]:
    async with open_ledger(path) as ledger:
        yield ledger


async def _records(ledger: SqliteLedger, run_id: str) -> AsyncIterator[Sequence[Record]]:
    log = await ledger.open(run_id)
    after = -1
    while batch := await log.read(after, _BATCH):
        yield batch
        after = batch[-1].sequence


async def _list(path: Path, screen: Screen, *, json_wanted: bool) -> int:
    async with _opened(path) as ledger:
        found = await upkeep.summaries(ledger)
    if json_wanted:
        for run in found:
            click.echo(screen.masked(as_json(attrs.asdict(run)).decode()))
        return 0
    if found:
        screen.out.print(_table(found))
    total = sum(run.size for run in found)
    screen.say(f"{counted(len(found), 'run')}, {size(total)} of records in {named(str(path))}", style="dim")
    return 0


def _table(found: Sequence[RunSummary]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Never cut: it is what one types next.
    table.add_column("run", no_wrap=True, min_width=max((len(run.run_id) for run in found), default=0))
    table.add_column("began", no_wrap=True)
    table.add_column("agent", overflow="ellipsis", no_wrap=True, max_width=24)
    table.add_column("model", overflow="ellipsis", no_wrap=True, max_width=20)
    table.add_column("status", no_wrap=True)
    for name in ("took", "requests", "tools", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in found:
        table.add_row(
            one_line(run.run_id, 200),
            _moment(run.began),
            one_line(run.agent, 60),
            one_line(run.model, 60),
            Text(run.status, style=_STYLES.get(run.status, "")),
            seconds(max(0.0, run.updated - run.began)),
            f"{run.requests}",
            f"{run.tool_calls}",
            size(run.size),
        )
    return table


def _moment(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        # The clock of the ledger was beyond every calendar.
        return f"{at:g}"


async def _export(path: Path, words: str, form: str, screen: Screen) -> int:
    async with _opened(path) as ledger:
        run_id = await find_run_id(ledger, path, words)
        if form == "jsonl":
            async for batch in _records(ledger, run_id):
                text = b"".join(as_line(run_id, record) for record in batch).decode()
                await screen.write("out", text)
            return 0
        records = [record async for batch in _records(ledger, run_id) for record in batch]
    made = as_atif(records) if form == "atif" else as_input(records)
    await screen.write("out", as_json(made, indented=True).decode() + "\n")
    return 0


async def _prune(
    path: Path, screen: Screen, older_than: float | None, max_size: float | None, *, json_wanted: bool
) -> int:
    async with _opened(path) as ledger:
        removed = await upkeep.prune(ledger, older_than=older_than, max_size=max_size)
    if json_wanted:
        for run in removed:
            click.echo(screen.masked(as_json(attrs.asdict(run)).decode()))
    screen.say(f"deleted {counted(len(removed), 'run')}, {size(sum(run.size for run in removed))} of records")
    return 0


async def _check(path: Path, screen: Screen, *, repair_wanted: bool) -> int:
    async with _opened(path) as ledger:
        found = await upkeep.check(ledger)
        cut = await upkeep.repair(ledger) if repair_wanted and found else ()
        count = len(await ledger.run_ids()) if not found else 0
    if not found:
        screen.say(f"{counted(count, 'run')}: every checksum is right", style="green")
        return 0
    for damage in found:
        where = f"{one_line(damage.run_id, 60)}: " if damage.run_id else ""
        screen.say(f"{where}{one_line(damage.words, 300)}", style="red")
        if damage in cut:
            screen.say(f"  cut off there: {counted(damage.sequence, 'record')} are left", style="yellow")
        elif damage.is_tail:
            screen.say("  nothing good comes after it: --repair cuts it off there", style="dim")
        else:
            screen.say("  it cannot be repaired without guessing; restore the file from a copy", style="dim")
    if cut:
        screen.say(f"as it was before: {named(str(path))}.before-repair", style="dim")
    return 0 if len(cut) == len(found) else 1


async def _replay(
    path: Path, words: str, screen: Screen, speed: float, longest_pause: float, *, as_json: bool
) -> int:
    teller = JsonLines() if as_json else Narrator(live=screen.out_is_terminal)
    with interruptible() as interruption, interruption.scope:
        async with _opened(path) as ledger:
            run_id = await find_run_id(ledger, path, words)
            reducer = RunReducer()
            is_known = True
            before: float | None = None
            async for batch in _records(ledger, run_id):
                for record in batch:
                    pause = 0.0 if before is None else (record.at - before) / speed
                    before = record.at
                    if pause > 0:
                        await trio.sleep(min(pause, longest_pause))
                    body = record.body
                    events = body.events if isinstance(body, FramesReceived) else (body,)
                    if isinstance(body, UnknownRecord) and body.essential:
                        is_known = False
                    if is_known:
                        reducer.apply(record)
                    for event in events:
                        await show(teller.tell(event), screen)
        await show(teller.fresh_line(), screen)
        if not is_known:
            screen.say(
                "how the run stands cannot be told: that depends on what a newer Triplane has recorded"
            )
            return 0
        state = reducer.snapshot()
        if state.status in ("completed", "incomplete"):
            await show(teller.end(state), screen)
        if state.status == "incomplete":
            for line in Failure.incomplete(state.reason).lines():
                screen.say(line)
        elif state.status != "completed":
            ended = {
                "failed": f"the run failed ({one_line(state.reason)})",
                "cancelled": "the run was cancelled",
                "parked": "the run waits for approval: triplane resume takes it up",
            }
            screen.say(ended.get(state.status, "the run has not ended: here the log stops"))
        return 0
    screen.say("interrupted")
    return interruption.exit_status
