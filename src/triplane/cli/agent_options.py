"""The options that say who answers, and where: the same for a run and for its resumption."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs
import click

from triplane.cli.untrusted import one_line
from triplane.net.endpoint import Endpoint
from triplane.tools import workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triplane.tools import Tool

KEY = "OPENAI_API_KEY"

TRANSPORT = click.option(
    "--transport",
    type=click.Choice(["websocket", "http", "auto"]),
    default="websocket",
    show_default=True,
    help="HTTP needs the extra triplane[http]; auto uses it where there are no WebSockets.",
)


def agent_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add these options to a command."""
    for option in reversed(
        (
            click.option("--model", required=True, help="The model's name."),
            click.option("--url", help="The endpoint. Without it: OpenAI, with the key in OPENAI_API_KEY."),
            TRANSPORT,
            click.option(
                "--tools",
                metavar="workspace:DIR",
                help="Let the model list, read and search the files below DIR.",
            ),
            click.option(
                "--allow-commands",
                is_flag=True,
                help="Let it run shell commands in DIR too, as you, unconfined.",
            ),
            click.option(
                "--ask",
                metavar="TOOL",
                multiple=True,
                help="Stop before each call of this tool, to be approved by triplane resume. May be given several times.",
            ),
            click.option("--instructions", default="", help="The system prompt."),
            click.option(
                "--json",
                "json_wanted",
                is_flag=True,
                help="Every event as one line of JSON on standard output.",
            ),
        )
    ):
        command = option(command)
    return command


def endpoint_of(url: str | None) -> Endpoint:
    """The endpoint that the options and the environment name.

    Raises:
        click.UsageError: There is none.
        ConfigError: The URL cannot be one.
    """
    key = os.environ.get(KEY) or None
    if url is not None:
        return Endpoint(url, api_key=key)
    if key is None:
        raise click.UsageError(f"{KEY} is not set; set it, or name another endpoint with --url.")
    return Endpoint.from_env()


def tools_of(choice: str | None, *, allow_commands: bool, ask: Sequence[str] = ()) -> tuple[Tool, ...]:
    """The tools that the options name.

    Args:
        choice: What ``--tools`` says.
        allow_commands: Whether one of them runs commands.
        ask: The names of those whose calls need approval.

    Raises:
        click.UsageError: They name none that there are.
        ConfigError: The directory cannot be a workspace.
    """
    found = _tools_of(choice, allow_commands=allow_commands)
    names = [tool.name for tool in found]
    for name in ask:
        if name not in names:
            there = ", ".join(names) or "none, without --tools"
            raise click.UsageError(
                f"--ask {one_line(name, 60)}: there is no such tool; the tools are: {there}"
            )
    return tuple(attrs.evolve(tool, needs_approval=True) if tool.name in ask else tool for tool in found)


def _tools_of(choice: str | None, *, allow_commands: bool) -> tuple[Tool, ...]:
    if choice is None:
        if allow_commands:
            raise click.UsageError("--allow-commands needs --tools workspace:DIR: commands run in DIR.")
        return ()
    kind, colon, directory = choice.partition(":")
    if kind != "workspace" or not colon or not directory:
        raise click.UsageError("--tools takes workspace:DIR, for example --tools workspace:src")
    return workspace(directory, commands=allow_commands)
