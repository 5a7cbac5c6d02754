"""Walks and searches a directory tree. Also a program: the search runs as a process of its own.

A regular expression can take exponential time, and Python's `re` neither lets other threads run nor can be
interrupted: only a process can be stopped. So this file imports nothing but the standard library, and starts fast.

Run as ``python -I -S _scan.py ROOT START PATTERN MAX_LINES MAX_BYTES``; exits with 2, and a sentence on stdout, if the
pattern is not a regular expression.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BAD_PATTERN = 2

_BINARY_PROBE = 8192
_LONGEST_LINE = 1024 * 1024
_SKIPPED = 256 * 1024
_SHOWN_LINE = 300


class Lines:
    """Collects lines to show, and counts those that do not fit."""

    def __init__(self, max_lines: int, max_bytes: int) -> None:
        self._room_lines = max_lines
        self._room_bytes = max_bytes
        self._shown: list[str] = []
        self._more = 0

    def add(self, line: str) -> None:
        """Take a line. After the first that does not fit, none is shown."""
        size = len(line.encode(errors="backslashreplace")) + 1
        if self._more or not self._room_lines or size > self._room_bytes:
            self._more += 1
        else:
            self._room_lines -= 1
            self._room_bytes -= size
            self._shown.append(line)

    def text(self, last: str) -> str:
        """All of it: the lines, how many more there are, and the `last` line."""
        more = [f"… {self._more} more"] if self._more else []
        return "\n".join([*self._shown, *more, last])


def walk(root: str, start: str, poll: Callable[[], object]) -> Iterator[tuple[str, int]]:
    """Each regular file at or below `start`, as its path relative to `root` and its size, sorted by path.

    Symbolic links are not followed and not listed; what cannot be read is left out. `poll` is called for
    each directory.
    """
    top = f"{root}/{start}"
    found = os.lstat(top)
    if not stat.S_ISDIR(found.st_mode):
        if stat.S_ISREG(found.st_mode):
            yield start, found.st_size
        return
    # Sorting each directory with a slash behind the names of directories sorts the whole by full path.
    pending: list[tuple[str, int | None]] = [(f"{start}/" if start else "", None)]
    while pending:
        path, size = pending.pop()
        if size is not None:
            yield path, size
            continue
        poll()
        entries: list[tuple[str, int | None]] = []
        try:
            with os.scandir(f"{root}/{path}") as scan:
                for entry in scan:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            entries.append((f"{path}{entry.name}/", None))
                        elif entry.is_file(follow_symlinks=False):
                            entries.append((path + entry.name, entry.stat(follow_symlinks=False).st_size))
                    except OSError:  # gone meanwhile
                        continue
        except OSError:  # gone, or not ours to read
            continue
        entries.sort(reverse=True)
        pending += entries


def shown_path(path: str) -> str:
    """A path on one line, whatever bytes are in it."""
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def open_regular(path: str) -> BinaryIO | None:
    """Open a regular file for reading; None for anything else, which is not opened at all.

    Raises:
        OSError: It cannot be read.
    """
    # Opening a FIFO wakes up its writer, and opening a device may do anything: look first. The flags are for
    # what changes in between.
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        return None
    return file


def is_binary(file: BinaryIO) -> bool:
    """Whether there is a NUL near the beginning. Leaves the file where it was."""
    return b"\0" in file.peek(_BINARY_PROBE)[:_BINARY_PROBE]  # type: ignore[attr-defined]


def lines_of(file: BinaryIO, longest: int, poll: Callable[[], object]) -> Iterator[tuple[bytes, int]]:
    """Each line without its end, at most `longest` bytes of it, and how many more it had.

    What is in memory is bounded, so a file without line ends is no danger. `poll` is called for each line and
    for each piece of what is left out of one.
    """
    while line := file.readline(longest):
        poll()
        cut = 0
        piece = line
        while not piece.endswith(b"\n") and (piece := file.readline(_SKIPPED)):
            poll()
            cut += len(piece.removesuffix(b"\n"))
        yield line.removesuffix(b"\n").removesuffix(b"\r"), cut


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of a line, and how many were cut."""
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text) - limit:,} characters cut …]"


def search(root: str, start: str, pattern: str, max_lines: int, max_bytes: int) -> str:
    """All matching lines at or below `start`, in the format of the tool.

    Raises:
        re.error: `pattern` is not a regular expression.
    """
    matches = re.compile(pattern).search
    lines = Lines(max_lines, max_bytes)
    count = files = 0
    for path, _ in walk(root, start, _nothing):
        try:
            file = open_regular(f"{root}/{path}")
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
                    lines.add(f"{shown_path(path)}:{number}:{shorten(text, _SHOWN_LINE)}")
            files += count > before
    return lines.text(f"{count} matches in {files} files")


def _nothing() -> None:
    pass


def main(arguments: list[str]) -> int:
    """Run the search as a program; returns the exit status."""
    root, start, pattern, max_lines, max_bytes = arguments
    try:
        text, status = search(root, start, pattern, int(max_lines), int(max_bytes)), 0
    except (re.error, OverflowError, RecursionError) as error:
        text, status = f"{pattern!r} is not a regular expression that Python takes: {error}", BAD_PATTERN
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    return status


if __name__ == "__main__":  # pragma: no cover  (in a process of its own)
    sys.exit(main(sys.argv[1:]))
