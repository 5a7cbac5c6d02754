"""``triplane doctor``: an examination of an endpoint, told check by check."""

from __future__ import annotations

import os
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import click
import orjson
import trio
from rich.cells import cell_len
from rich.text import Text

from triplane.cli.demo import CLOSE_SECONDS
from triplane.cli.scopes import interruptible
from triplane.cli.screen import Screen
from triplane.cli.units import counted, seconds
from triplane.cli.untrusted import named, one_line
from triplane.core.errors import ConfigError
from triplane.core.options import EngineOptions
from triplane.doctor import Report, examine
from triplane.net.endpoint import Endpoint

if TYPE_CHECKING:
    from triplane.doctor import Check, Status

_KEY: Final = "OPENAI_API_KEY"
_STYLES: Final = {"ok": "green", "failed": "bold red", "skipped": "dim"}
_NAME, _STATUS, _TIME = 14, 8, 8
_INDENT: Final = _NAME + _STATUS + _TIME + 2
_NARROWEST: Final = 24
_LONGEST: Final = 600


@click.command()
@click.option("--url", help="The endpoint. Without it: OpenAI, or what OPENAI_BASE_URL names.")
@click.option(
    "--model", help="Who is asked for two short turns. A server on this machine is asked for its own models."
)
@click.option(
    "--api-key-env",
    metavar="VAR",
    default=_KEY,
    show_default=True,
    help="The environment variable that holds the key.",
)
@click.option(
    "--patience",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    help="Seconds to wait for each answer.",
)
@click.option("--json", "json_wanted", is_flag=True, help="The report as one JSON object.")
def doctor(
    *, url: str | None, model: str | None, api_key_env: str, patience: float, json_wanted: bool
) -> int:
    """Examine an endpoint and say, check by check, what works and what to do about the rest.

    From the name to a turn: DNS, TCP, a proxy, TLS, the upgrade to WebSocket, the key, a ping, a turn; then whether the
    server continues conversations without hearing them again, warms up, has several lanes on a connection, and serves
    HTTP. With --model it costs two short turns and two warm-ups; without, nothing. Nothing is tried twice.

    \b
    triplane doctor --model gpt-5.5
    triplane doctor --url ws://127.0.0.1:8765/v1
    triplane doctor --url https://api.x.ai/v1 --model grok-5 --api-key-env XAI_API_KEY
    triplane doctor --json | jq '.checks[] | select(.status == "failed")'

    Exit status: 0 when nothing failed, 1 when something did, 130 after Ctrl-C.
    """  # noqa: D301  # click wants the real character
    key = os.environ.get(api_key_env) or None
    if key is None and api_key_env != _KEY:
        raise click.UsageError(f"the environment variable {named(api_key_env)} of --api-key-env is not set.")
    screen = Screen([key, os.environ.get(_KEY)])
    endpoint = _endpoint(url, key)
    if isinstance(endpoint, Report):
        _show(endpoint, _Teller(screen), screen, as_json=json_wanted)
        return 1
    return trio.run(
        partial(examine_once, endpoint, screen, model=model, patience=patience, as_json=json_wanted)
    )


async def examine_once(
    endpoint: Endpoint, screen: Screen, *, model: str | None, patience: float, as_json: bool
) -> int:
    """Examine an endpoint, show what comes out, and return the exit status."""
    screen.say(f"Examining {endpoint.url}", style="dim")
    options = EngineOptions(close_timeout=CLOSE_SECONDS)
    teller = _Teller(screen)
    report: Report | None = None
    with interruptible() as interruption, interruption.scope:
        report = await examine(
            endpoint,
            model=model,
            patience=patience,
            options=options,
            told=None if as_json else teller.tell,
        )
    if report is None:
        teller.end()
        screen.say("interrupted; nothing is left running")
        return interruption.exit_status
    _show(report, teller, screen, as_json=as_json)
    return 0 if report.is_healthy else 1


def _show(report: Report, teller: _Teller, screen: Screen, *, as_json: bool) -> None:
    """What of a report has not been told yet."""
    if as_json:
        click.echo(screen.masked(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode()))
    else:
        teller.sum_up(report)


def _endpoint(url: str | None, key: str | None) -> Endpoint | Report:
    """The endpoint, or the report that it cannot be one."""
    try:
        if url is None and key is not None:
            return Endpoint.from_env({**os.environ, _KEY: key})
        endpoint = Endpoint(url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1")
    except ConfigError as error:
        return Report.stopped_at("url", str(error))
    try:
        return attrs.evolve(endpoint, api_key=key)
    except ConfigError as error:
        return Report.stopped_at("auth", str(error), url=endpoint.url)


class _Teller:
    """Writes each check on a line of its own, as soon as it is made; those skipped for one reason share a line."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._skipped: list[Check] = []
        self._told = 0

    def tell(self, check: Check) -> None:
        """Write a check, and below it what to do."""
        self._told += 1
        if check.status != "skipped" or (self._skipped and self._skipped[0].found != check.found):
            self._write_skipped()
        if check.status == "skipped":
            self._skipped.append(check)
            return
        took = "" if check.seconds is None else seconds(check.seconds)
        self._write(check.name, check.status, took, check.found)
        arrow = "→ "
        for line in self._lines(check.advice) if check.advice else ():
            self._print(Text(f"{'':{_INDENT}}{arrow}{line}", style="yellow"))
            arrow = "  "

    def end(self) -> None:
        """Write what was held back."""
        self._write_skipped()

    def _write_skipped(self) -> None:
        # The names on one line if there are several for the same reason.
        if self._skipped:
            names = [check.name for check in self._skipped]
            found = self._skipped[0].found
            several = len(names) > 1
            self._write(
                "" if several else names[0],
                "skipped",
                "",
                f"{', '.join(names)}: {found}" if several else found,
            )
            self._skipped.clear()

    def _write(self, name: str, status: Status, took: str, found: str) -> None:
        dim = "dim" if status == "skipped" else ""
        first, *others = self._lines(found)
        line = Text(f"{name:<{_NAME}}", style=dim)
        line.append(f"{status:<{_STATUS}}", style=_STYLES[status])
        line.append(f"{took:>{_TIME}}  ", style="dim")
        self._print(line.append(first, style=dim))
        for other in others:
            self._print(Text(f"{'':{_INDENT}}{other}", style=dim))

    def sum_up(self, report: Report) -> None:
        """Write what has not been told yet, and how many checks ended how."""
        for check in report.checks[self._told :]:
            self.tell(check)
        self.end()
        counts = {status: sum(check.status == status for check in report.checks) for status in _STYLES}
        words = [f"{counts['ok']} ok", f"{counts['skipped']} skipped"]
        if counts["failed"]:
            words.insert(0, f"{counted(counts['failed'], 'check')} failed")
        self._print(Text(""))
        self._print(Text(", ".join(words), style="bold red" if counts["failed"] else "bold green"))

    def _lines(self, text: str) -> list[str]:
        """A text of others, in lines that fit beside the columns on a terminal; elsewhere one line."""
        safe = one_line(self._screen.masked(text), _LONGEST)
        room = max(self._screen.out.width - _INDENT - 2, _NARROWEST)
        if not self._screen.out_is_terminal or cell_len(safe) <= room:
            return [safe]
        return textwrap.wrap(safe, room, break_on_hyphens=False) or [safe]

    def _print(self, line: Text) -> None:
        self._screen.out.print(line, soft_wrap=True)
