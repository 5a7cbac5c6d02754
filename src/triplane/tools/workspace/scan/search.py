"""Searches the files of a workspace for a regular expression. Also a program: see `command`.

A regular expression can take exponential time and any memory, and Python's `re` neither lets other threads run nor can be
interrupted. An engine of linear time would do away with the time, not with the memory, and has another syntax than the
one that models know; a timeout inside of the matching ends neither memory nor the walk through a huge tree, nor what a
`.gitignore` can do by the same means. A process has an end for all of it: it can be killed.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from typing import TYPE_CHECKING

from . import walk as walking
from .confined import Confined
from .ignored import Ignored
from .walk import Lines, is_binary, lines_of, shown_path, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_PATTERN = 2
TOO_MUCH = 3

_LONGEST_LINE = 1024 * 1024
_SHOWN_LINE = 300
# Of address space, most of which is never used.
_MEMORY = 1024 * 1024 * 1024


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of a line, and how many were cut."""
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text) - limit:,} characters cut …]"


def search(
    confined: Confined, start: str, pattern: str, max_lines: int, max_bytes: int, *, ignored: bool = False
) -> str:
    """All matching lines at or below `start`, in the format of the tool.

    Args:
        confined: Where.
        start: A path without links, as `Place.path` is; a file is searched even if git would ignore it.
        pattern: The regular expression.
        max_lines: How many lines are shown.
        max_bytes: How many bytes of them.
        ignored: Whether files that git would ignore are searched too.

    Raises:
        re.error: `pattern` is not a regular expression.
    """
    matches = re.compile(pattern).search
    lines = Lines(max_lines, max_bytes)
    count = files = 0
    for names in _files(confined, tuple(filter(None, start.split("/"))), ignored=ignored):
        try:
            file = confined.open(names)
        except OSError:
            continue
        if file is None:
            continue
        with file:
            if is_binary(file):
                continue
            before = count
            for number, (line, _) in enumerate(lines_of(file, _LONGEST_LINE, _nothing), 1):
                text = line.decode("utf-8", "replace")
                if matches(text):
                    count += 1
                    lines.add(f"{shown_path('/'.join(names))}:{number}:{shorten(text, _SHOWN_LINE)}")
            files += count > before
    return lines.text(f"{count} matches in {files} files")


def _files(confined: Confined, start: tuple[str, ...], *, ignored: bool) -> Iterator[tuple[str, ...]]:
    try:
        confined.entries(start)
    except NotADirectoryError:
        yield start
        return
    except OSError:
        return
    exclusion = walking.no_exclusion if ignored else Ignored(confined, start)
    for names, _ in walk(confined, start, _nothing, exclusion):
        yield names


def _nothing() -> None:
    pass


def main(arguments: list[str]) -> int:
    """Run the search as a program; returns the exit status.

    With `BAD_PATTERN` and `TOO_MUCH` a sentence about it is on stdout.
    """
    root, start, pattern, max_lines, max_bytes, ignored = arguments
    try:
        found = search(
            Confined(root), start, pattern, int(max_lines), int(max_bytes), ignored=ignored == "ignored"
        )
        text, status = found, 0
    except (re.error, OverflowError, RecursionError) as error:
        text, status = f"{pattern!r} is not a regular expression that Python takes: {error}", BAD_PATTERN
    except MemoryError:
        text, status = f"{pattern!r} takes too much memory; use a simpler one", TOO_MUCH
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    return status


def run() -> None:  # pragma: no cover  (in a process of its own)
    """Be the program."""
    # Where the platform does not have this limit, the deadline of the call is what there is.
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main(sys.argv[3:]))


def command(*arguments: str, library: str) -> tuple[str, ...]:
    """The command that runs `main` in an interpreter that starts fast, and knows this package and one library.

    Both come behind the standard library, so that nothing of theirs can stand for a part of it.

    Args:
        arguments: For `main`.
        library: The folder in which pathspec is installed.
    """
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120  # without pathlib it starts faster
    start = "import sys; sys.path += sys.argv[1:3]; from scan.search import run; run()"
    return (sys.executable, "-I", "-S", "-X", "utf8", "-c", start, here, library, *arguments)
