"""The commands, their options and their help: from words on a command line to what they mean."""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
import trio
from click.core import ParameterSource

from triplane.cli.agent_options import KEY, TRANSPORT, agent_options, endpoint_of, tools_of
from triplane.cli.demo import LOCAL_MODEL, Demo, Settings
from triplane.cli.doctor import doctor
from triplane.cli.ledger import LedgerFile, replay, runs
from triplane.cli.plan import NothingToSurveyError, make_plan
from triplane.cli.progress import watcher_for
from triplane.cli.resume import resume
from triplane.cli.run import run_once
from triplane.cli.screen import Screen
from triplane.cli.table import as_json, failure_lines, interruption_line, summary, table_of
from triplane.cli.units import counted
from triplane.cli.untrusted import named, one_line
from triplane.core.errors import ConfigError, TriplaneError
from triplane.engine.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triplane.core.transport import TransportSetting
    from triplane.server import Fault
    from triplane.server.dialect import Mode


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status. Failures are one line on standard error."""
    screen = Screen([os.environ.get(KEY)])
    try:
        status = commands.main(
            None if arguments is None else list(arguments), prog_name="triplane", standalone_mode=False
        )
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "triplane"
        screen.say(f"{command}: {error.format_message()}")
        return error.exit_code
    except TriplaneError as error:
        screen.say(f"triplane: {error}")
        return 2 if isinstance(error, ConfigError) else 1
    except click.Abort:
        raise KeyboardInterrupt from None
    except OSError as error:
        # A full disk, for instance; that nobody reads any more (`| head`) ends the process quietly before this. What
        # is still in Python's buffer would fail once more when it is flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        screen.say(f"triplane: cannot write the output: {error.strerror or error}")
        return 1
    return status if isinstance(status, int) else 0


class _Seconds(click.FloatRange):
    """A duration: no NaN, nothing below 0, nothing that would outlive the user."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, max=3600)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return number


class _Directory(click.Path):
    """An existing directory, as a `Path`."""

    name = "directory"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002  # as click has it
        path = Path(value)
        if not path.is_dir():
            what = "is not a directory" if path.exists() else "does not exist"
            raise click.UsageError(f"{named(str(path))} {what}.", ctx)
        return path


_SECONDS = _Seconds()
_DIRECTORY = _Directory()
_WORDS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_WORDS, invoke_without_command=True)
@click.version_option(version("triplane"), message="triplane %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> int:
    """Run tool-calling agents over the Responses API in WebSocket mode.

    \b
    triplane demo src              many agents on your own files, no key needed
    triplane serve --port 8765     a Responses server on this machine
    triplane run --model M "..."   one run, streamed to this terminal
    triplane resume RUN            one that was cut off, from where its log ends
    triplane doctor                what works at an endpoint, check by check
    triplane runs --ledger FILE    what was recorded; replay plays it again

    Exit status: 0 for success, 1 for a failure, 2 for wrong usage, 3 for a run that waits for approval, 130 after Ctrl-C.
    """  # noqa: D301  # click wants the real character
    if ctx.invoked_subcommand is not None:
        return 0
    click.echo(ctx.get_help(), err=True)
    return 2


for _command in (doctor, resume, runs, replay):
    commands.add_command(_command)


@commands.command()
@click.argument("path", type=_DIRECTORY, default=Path())
@click.option("--all", "include_hidden", is_flag=True, help="Survey hidden folders such as .git too.")
@click.option("--max-runs", type=click.IntRange(1, 1000), default=8, show_default=True, help="Runs at once.")
@click.option(
    "--connections", type=click.IntRange(1, 1000), default=4, show_default=True, help="Connections at most."
)
@click.option(
    "--lanes",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Runs at once on each WebSocket, where the server can do that.",
)
@click.option(
    "--latency",
    type=_SECONDS,
    default=0.15,
    show_default=True,
    help="Seconds the local server's model thinks before each response.",
)
@click.option("--url", help="Another endpoint, such as https://api.openai.com/v1. Needs --model.")
@TRANSPORT
@click.option("--model", help="Another model. Without --url: at OpenAI, with the key in OPENAI_API_KEY.")
@click.option(
    "--allow-commands", is_flag=True, help="Let another model run shell commands, as you, unconfined."
)
@click.option(
    "--ledger",
    metavar="FILE",
    type=LedgerFile(exists=False),
    help="Keep the logs in this file; see triplane runs.",
)
@click.option("--json", "json_wanted", is_flag=True, help="The result as one JSON object on standard output.")
@click.pass_context
def demo(
    ctx: click.Context,
    path: Path,
    *,
    include_hidden: bool,
    max_runs: int,
    connections: int,
    lanes: int,
    latency: float,
    url: str | None,
    transport: TransportSetting,
    model: str | None,
    allow_commands: bool,
    ledger: Path | None,
    json_wanted: bool,
) -> int:
    """Survey the folders of PATH (default: here), one agent run for each.

    Starts a Responses server on this machine, whose rule-based model "surveyor" lists, reads, searches and counts with
    real tools, and fans out one run for each folder over a few WebSockets. Files beside the folders are surveyed in
    groups of ten. Nothing leaves this machine, nothing is written, no key is needed.

    With --model, and --url for anything but OpenAI, a real model does the same; it runs shell commands only with
    --allow-commands.

    \b
    triplane demo src
    triplane demo . --max-runs 4 --connections 1 --lanes 4
    triplane demo src --model gpt-5.5
    triplane demo src --json | jq .total

    Exit status: 0 when all runs succeeded, 1 when one failed, 130 after Ctrl-C.
    """  # noqa: D301  # click wants the real character
    is_local = model is None
    if is_local and url is not None:
        raise click.UsageError("--url needs --model: which model of that endpoint is to do it?")
    if not is_local and ctx.get_parameter_source("latency") is not ParameterSource.DEFAULT:
        raise click.UsageError("--latency is an option of the local server, which --model replaces.")
    try:
        plan = make_plan(path, include_hidden=include_hidden)
    except NothingToSurveyError as error:
        raise click.UsageError(str(error)) from None
    settings = Settings(
        model=model or LOCAL_MODEL,
        endpoint=None if is_local else endpoint_of(url),
        commands=is_local or allow_commands,
        max_runs=max_runs,
        connections=connections,
        lanes=lanes,
        latency=latency,
        transport=transport,
        ledger=ledger,
    )
    screen = Screen([os.environ.get(KEY)])
    server = "a local server" if settings.endpoint is None else settings.endpoint.authority
    screen.say(
        f"Surveying {named(str(path))}: {counted(len(plan.jobs), 'run')} ({max_runs} at once) over"
        f" {counted(connections, 'connection')} to {server}, model {one_line(settings.model, 60)}",
        style="dim",
    )
    for note in plan.notes:
        screen.say(note, style="dim")
    survey = Demo(plan, settings)
    trio.run(survey.run, watcher_for(screen.err))
    if ledger is not None:
        screen.say(f"recorded in {named(str(ledger))}; see triplane runs", style="dim")
    return _show_demo(survey, screen, json_wanted=json_wanted)


def _show_demo(survey: Demo, screen: Screen, *, json_wanted: bool) -> int:
    rows = [survey.rows[index] for index in sorted(survey.rows)]
    if json_wanted:
        click.echo(screen.masked(orjson.dumps(as_json(survey), option=orjson.OPT_INDENT_2).decode()))
    elif rows:
        screen.out.print(table_of(rows, width=screen.out.width))
        for line in ["", *summary(survey)]:
            screen.out.print(line, soft_wrap=True)
    for line in failure_lines(rows):
        screen.say(line, style="" if line.startswith(" ") else "red")
    # A signal that came while the connections were being closed, after the last run, changes nothing.
    if survey.interruption and survey.unfinished:
        screen.say(interruption_line(survey))
        return survey.interruption.exit_status
    return 1 if any(row.failure is not None for row in rows) else 0


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The interface to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; by default any free one.")
@click.option(
    "--model",
    type=click.Choice(["directive", "echo", "mender", "surveyor"]),
    help="Which of them answers to all names. Without it each answers to its own name only.",
)
@click.option("--strict-models", is_flag=True, help="Refuse unknown model names even with --model.")
@click.option(
    "--latency", type=_SECONDS, default=0.0, help="Seconds before the first event of each response."
)
@click.option("--delta-delay", type=_SECONDS, default=0.0, help="Seconds before each piece of text.")
@click.option(
    "--mode",
    type=click.Choice(["openai", "azure", "xai", "spec", "rejecting"]),
    default="openai",
    show_default=True,
    help="Which server to be like: openai has everything; azure and xai have no lanes and no steering.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0, min_open=True),
    help="End each connection after so many seconds. By default: as --mode does.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For everything that is at random.")
@click.option(
    "--api-key-env", metavar="VAR", help="Let in only clients with the key in this environment variable."
)
@click.option(
    "--fault",
    "faults",
    metavar="JSON",
    multiple=True,
    help='What goes wrong, such as drop or {"fault":"drop","after_events":3,"nth":1}. May be given several times.',
)
@click.option("--chaos", metavar="SEED", help="Have things go wrong at random; the same for the same seed.")
@click.option(
    "--chaos-rate",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="How much of what could go wrong does.",
)
@click.option(
    "--allow-host",
    "allowed_hosts",
    metavar="NAME",
    multiple=True,
    help="Another name that clients may use for it.",
)
@click.option(
    "--allow-origin", "allowed_origins", metavar="ORIGIN", multiple=True, help="A web page that may use it."
)
def serve(
    *,
    host: str,
    port: int,
    model: str | None,
    strict_models: bool,
    latency: float,
    delta_delay: float,
    mode: Mode,
    max_age: float | None,
    seed: int,
    api_key_env: str | None,
    faults: Sequence[str],
    chaos: str | None,
    chaos_rate: float,
    allowed_hosts: Sequence[str],
    allowed_origins: Sequence[str],
) -> int:
    """Run a Responses server on this machine, WebSocket mode included.

    Its models work by rules: "directive" does what the lines of the last message say (CALL, SAY, REPEAT, WAIT, ...),
    "surveyor" surveys a folder with the tools it is given, "mender" mends a small project whose tests fail.

    Standard output gets one line, the WebSocket URL, as soon as connections are accepted. Ctrl-C and SIGTERM end the
    server at once; that is how it ends, so the exit status is 0.

    \b
    triplane serve --port 8765 --model directive
    triplane serve --chaos 7 --fault '{"fault":"stall","after_events":3,"nth":2}'
    triplane run --url ws://127.0.0.1:8765/v1 --model directive "SAY 3 hello"
    """  # noqa: D301  # click wants the real character
    # The server is a quarter of what there is to import, and most commands do without.
    from triplane.cli.serve import CannotListenError, serve_until_interrupted  # noqa: PLC0415
    from triplane.server import Chaos  # noqa: PLC0415

    api_key = os.environ.get(api_key_env) if api_key_env else None
    if api_key_env and not api_key:
        raise click.UsageError(f"the environment variable {named(api_key_env)} of --api-key-env is not set.")
    screen = Screen([os.environ.get(KEY), api_key])
    run = partial(
        serve_until_interrupted,
        screen,
        host=host,
        port=port,
        model=model,
        strict_models=strict_models,
        latency=latency,
        delta_delay=delta_delay,
        mode=mode,
        max_age=max_age,
        seed=seed,
        api_key=api_key,
        faults=[_fault(text) for text in faults],
        chaos=None if chaos is None else Chaos(chaos, rate=chaos_rate),
        allowed_hosts=allowed_hosts,
        allowed_origins=allowed_origins,
    )
    try:
        trio.run(run)
    except CannotListenError as error:
        raise click.ClickException(str(error)) from None
    return 0


def _fault(text: str) -> Fault:
    from triplane.server import InvalidFault, fault_from_json  # noqa: PLC0415  # as above

    try:
        return fault_from_json(orjson.loads(text) if text.startswith("{") else {"fault": text})
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"--fault is not JSON: {error}: {named(text)}") from None
    except InvalidFault as error:
        raise click.UsageError(f"--fault: {one_line(str(error), 1000)}") from None


@commands.command()
@click.argument("prompt")
@agent_options
@click.option(
    "--ledger",
    metavar="FILE",
    type=LedgerFile(exists=False),
    help="Keep the log in this file, so that the run can be resumed and looked at; see triplane runs.",
)
def run(
    *,
    prompt: str,
    model: str,
    url: str | None,
    transport: TransportSetting,
    tools: str | None,
    allow_commands: bool,
    ask: Sequence[str],
    instructions: str,
    json_wanted: bool,
    ledger: Path | None,
) -> int:
    """Run an agent on PROMPT ("-" reads it from standard input).

    The final text alone goes to standard output; on a terminal it appears as it is written. What the agent does
    (requests, tool calls, lost connections, what it cost) goes to standard error.

    \b
    triplane run --model gpt-5.5 --tools workspace:src "What is this?"
    triplane run --model m --url ws://127.0.0.1:8765/v1 "SAY 3 hello"
    git diff | triplane run --model gpt-5.5 --instructions "Review it." -

    Exit status: 0 when the run completed, 1 when it failed, 3 when it waits for approval, 130 after Ctrl-C.
    """  # noqa: D301  # click wants the real character
    chosen = tools_of(tools, allow_commands=allow_commands, ask=ask)
    agent = Agent(model, instructions, chosen, transport=transport)
    endpoint = endpoint_of(url)
    text = _read_prompt(prompt)
    screen = Screen([os.environ.get(KEY)])
    return trio.run(partial(run_once, agent, text, endpoint, screen, as_json=json_wanted, ledger=ledger))


def _read_prompt(prompt: str) -> str:
    """The prompt's text.

    Raises:
        click.UsageError: It is empty, or not text.
    """
    try:
        text = sys.stdin.buffer.read().decode() if prompt == "-" else prompt
        text.encode()
    except UnicodeError:
        raise click.UsageError("the prompt is not UTF-8.") from None
    if not text.strip():
        raise click.UsageError("the prompt is empty.")
    return text
