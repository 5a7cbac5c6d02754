"""The command that continues a run from where its log ends."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from triplane.cli.agent_options import KEY, agent_options, endpoint_of, tools_of
from triplane.cli.ledger import LedgerFile
from triplane.cli.run import Resumed, run_once
from triplane.cli.screen import Screen
from triplane.cli.untrusted import one_line
from triplane.engine.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from triplane.core.transport import TransportSetting


@click.command()
@click.argument("run_id", metavar="RUN")
@agent_options
@click.option(
    "--ledger",
    metavar="FILE",
    type=LedgerFile(exists=True),
    required=True,
    help="The file that has the run's log.",
)
@click.option(
    "--approve", metavar="CALL", multiple=True, help="Let this call run. May be given several times."
)
@click.option(
    "--deny",
    metavar="CALL[=REASON]",
    multiple=True,
    help="Never run this call; the model is told the reason. May be given several times.",
)
@click.option(
    "--allow-changes", is_flag=True, help="Go on although model, instructions, tools or settings are others."
)
def resume(
    *,
    run_id: str,
    model: str,
    url: str | None,
    transport: TransportSetting,
    tools: str | None,
    allow_commands: bool,
    ask: Sequence[str],
    instructions: str,
    json_wanted: bool,
    ledger: Path,
    approve: Sequence[str],
    deny: Sequence[str],
    allow_changes: bool,
) -> int:
    """Continue RUN from where its log ends, and show it from there on.

    RUN is its id, the beginning of its id, or "last".

    The run may have been cut off anywhere, with the process that drove it; one that failed or was interrupted goes on.
    Nothing is done twice: a tool call that had started, and may have had its effect, is not made again, and the model
    is told so. Give the same options as before; if something else would be sent, it is refused with the difference.

    Calls that wait for approval need a decision each, by --approve or --deny; without any, nothing is done, and what is
    open is shown.

    \b
    triplane run --model gpt-5.5 --tools workspace:src --ledger runs.db "What is this?"
    triplane resume run_5d4a1c2f9b7e8a60d3c1b2a4 --model gpt-5.5 --tools workspace:src --ledger runs.db
    triplane resume run_5d4a1c2f9b7e8a60d3c1b2a4 ... --approve call_1 --deny "call_2=Not that one."

    Exit status: 0 when the run completed, 1 when it failed or cannot be resumed, 3 when it waits for approval, 130 after
    Ctrl-C.
    """  # noqa: D301  # click wants the real character
    chosen = tools_of(tools, allow_commands=allow_commands, ask=ask)
    agent = Agent(model, instructions, chosen, transport=transport)
    endpoint = endpoint_of(url)
    screen = Screen([os.environ.get(KEY)])
    reasons: dict[str, str] = {}
    for each in deny:
        call_id, _, reason = each.partition("=")
        if call_id in reasons:
            raise click.UsageError(
                f"--deny is given twice for the call {one_line(call_id, 60)}; say once why."
            )
        reasons[call_id] = reason
    resumed = Resumed(run_id, allow_changes, approve, reasons)
    return trio.run(
        partial(run_once, agent, None, endpoint, screen, as_json=json_wanted, ledger=ledger, resumed=resumed)
    )
