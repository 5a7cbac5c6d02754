"""Walks the files of a workspace, sorted by path, and reads them as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedReader

    from .confined import Confined

_BINARY_PROBE = 8192
_SKIPPED = 256 * 1024


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


def no_exclusion(_names: Sequence[str], _entries: Sequence[tuple[str, int | None]]) -> Callable[[str], bool]:
    """Walk all files."""
    return lambda _name: False


def walk(
    confined: Confined,
    start: tuple[str, ...],
    poll: Callable[[], object],
    exclusion: Callable[
        [Sequence[str], Sequence[tuple[str, int | None]]], Callable[[str], bool]
    ] = no_exclusion,
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Each regular file below the directory `start`, as the way to it and its size, sorted by path.

    Symbolic links are not followed and not listed; what cannot be read is left out.

    Args:
        confined: Where.
        start: The way to the directory.
        poll: Called for each directory.
        exclusion: Called for each directory, with the way to it and what is in it; says which names to leave out, a
            directory's with a slash at its end.
    """
    pending: list[tuple[tuple[str, ...], int | None]] = [(start, None)]
    while pending:
        names, size = pending.pop()
        if size is not None:
            yield names, size
            continue
        poll()
        try:
            entries = confined.entries(names)
        except OSError:  # gone, or not ours to read
            continue
        is_excluded = exclusion(names, entries)
        # Sorting each directory with a slash behind the names of directories sorts the whole by full path.
        marked = sorted(
            ((name if size is not None else f"{name}/", size) for name, size in entries), reverse=True
        )
        pending += [((*names, name.rstrip("/")), size) for name, size in marked if not is_excluded(name)]


def shown_path(path: str) -> str:
    """A path on one line, whatever bytes are in it."""
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def is_binary(file: BufferedReader) -> bool:
    """Whether there is a NUL near the beginning. Leaves the file where it was."""
    return b"\0" in file.peek(_BINARY_PROBE)[:_BINARY_PROBE]


def lines_of(file: BufferedReader, longest: int, poll: Callable[[], object]) -> Iterator[tuple[bytes, int]]:
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
