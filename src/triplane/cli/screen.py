"""Where commands write: results to standard output, everything else to standard error, and secrets nowhere."""

from __future__ import annotations

import io
import os
import select
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO, final

import trio
from rich.console import Console
from rich.text import Text

from triplane.cli.untrusted import masked, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

Stream = Literal["out", "err"]
_FILE_WIDTH = 200


@final
class Screen:
    """The two standard streams of a command.

    Text that others wrote goes through `say` and `write`: they mask the secrets, and what a terminal would obey does
    not reach one.

    Args:
        secrets: What must not be shown, such as the API key.

    Attributes:
        out: Standard output, for tables.
        err: Standard error, for progress.
        out_is_terminal: Whether somebody watches standard output.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._secrets = tuple(filter(None, secrets))
        # A shell closes them with `>&-`.
        sys.stdout = sys.stdout or _nowhere()
        sys.stderr = sys.stderr or _nowhere()
        # One character that an encoding lacks must not cost the whole output.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)
        self.out_is_terminal = sys.stdout.isatty()

    def masked(self, text: str) -> str:
        """The text without secrets."""
        return masked(text, self._secrets)

    def say(self, text: str, *, style: str = "") -> None:
        """Write one line to standard error."""
        # A line stays one line for programs; a terminal would break it in the middle of words.
        self.err.print(Text(plain(self.masked(text)), style=style), soft_wrap=not self.err.is_terminal)

    async def write(self, stream: Stream, text: str, *, style: str = "") -> None:
        """Write text at once: to a terminal in a style and without what it would obey, elsewhere as it is.

        A checkpoint. It is written in a thread, so that a reader who does not read (a pager, a paused terminal) holds up nobody
        but the caller: connections are kept alive meanwhile, and Ctrl-C works. When it is cancelled, part of the
        text may have been written.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        file, console = (sys.stdout, self.out) if stream == "out" else (sys.stderr, self.err)
        shown = self.masked(text)
        if file.isatty():
            shown = _styled(plain(shown), style, console)
        await trio.to_thread.run_sync(partial(_write, file, shown), abandon_on_cancel=True)


def _console(file: TextIO) -> Console:
    # A file has no width; then the table keeps all its columns.
    width = None if file.isatty() or "COLUMNS" in os.environ else _FILE_WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)


def _styled(text: str, style: str, console: Console) -> str:
    if not style:
        return text
    with console.capture() as captured:
        console.print(Text(text, style=style), end="", soft_wrap=True)
    return captured.get()


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _write(file: TextIO, text: str) -> None:
    try:
        descriptor = file.fileno()
    except (OSError, ValueError):  # not a file at all, as in tests
        file.write(text)
        file.flush()
        return
    # Past Python's buffer, whose lock an abandoned thread would still hold when the interpreter wants to exit.
    rest = memoryview(text.encode(file.encoding or "utf-8", "replace"))
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
