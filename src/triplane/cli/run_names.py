"""Which run of a ledger somebody means who names it on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from triplane.cli.units import counted
from triplane.cli.untrusted import named, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from triplane.core.store import Ledger


async def find_run_id(ledger: Ledger, path: Path, words: str) -> str:
    """The id of the run that is meant: by its id, by the beginning of it, or by "last". A checkpoint.

    Args:
        ledger: Where it is.
        path: The ledger's file, for the message.
        words: How it is named.

    Raises:
        click.ClickException: There is none, or there are several.
    """
    there = await ledger.run_ids()
    found = [words] if words in there else [each for each in there if each.startswith(words)]
    if words == "last" and not found:
        found = list(there[-1:])
    if len(found) == 1:
        return found[0]
    what = f"{counted(len(found), 'run')} begin with" if found else "there is no run"
    raise click.ClickException(f"{what} {one_line(words, 60)} in {named(str(path))}")
