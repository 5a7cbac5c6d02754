"""Ready-made tools for the files below one directory: list, read, search, and run commands there."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from triplane.core.errors import ConfigError

from . import _scan
from .process import MAX_PRODUCED, run_process
from .sink import Sink
from .threads import run_in_thread
from .tool import tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from .tool import Tool

# What the tools format themselves stays within this, below their max_output, so that the last line of a listing is
# never what gets cut.
_MAX_BYTES = 60_000
_MAX_LISTED = 2_000
_MAX_MATCHES = 200
_MAX_PATTERN = 1_000
_LONGEST_LINE = 2_000
# Lines beyond the ones that were asked for are counted only so far; then a plus stands behind the total.
_COUNTED = 1024 * 1024 * 1024
_CHUNK = 256 * 1024
_CREDENTIAL = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


def workspace(path: str | os.PathLike[str], *, commands: bool = False) -> tuple[Tool, ...]:
    """The tools ``list_files``, ``read_text``, ``search_text`` and, with `commands`, ``run_command``.

    The three file tools see nothing outside of the directory: a path that leads outside, by ``..`` or by a symbolic
    link or because it is absolute, is refused. They guard against a model's mistakes, not against another program
    that changes the tree at the same moment. They read regular files only, and never open anything else.

    ``run_command`` runs any shell line, with the rights of this process: it is not confined. Its environment is this
    process's own without the variables whose names contain KEY, TOKEN, SECRET, PASSW or CREDENTIAL.

    Args:
        path: An existing directory. Symbolic links in it are resolved now.
        commands: Whether the model may run commands.

    Raises:
        ConfigError: `path` is not a directory, or the extra ``triplane[tools]`` is not installed.
    """
    root = os.path.realpath(path)
    if not Path(root).is_dir():
        raise ConfigError(f"the workspace {os.fspath(path)!r} is not a directory")
    return _tools(_Workspace(root), commands=commands)


def _tools(place: _Workspace, *, commands: bool) -> tuple[Tool, ...]:
    @tool(effect="read")
    async def list_files(path: str = ".", pattern: str = "**/*") -> str:
        """List the files below a directory of the workspace, with their sizes in bytes.

        Args:
            path: The directory, relative to the workspace.
            pattern: Which files: `*` and `?` match within a name, `**` any number of directories.
        """
        return await run_in_thread(functools.partial(place.list_files, path, pattern), name="list_files")

    @tool(effect="read")
    async def read_text(path: str, start: int = 1, lines: int = 400) -> str:
        """Read lines of a text file of the workspace, with their numbers.

        Args:
            path: The file, relative to the workspace.
            start: The first line; lines count from 1.
            lines: How many lines at most.
        """
        return await run_in_thread(functools.partial(place.read_text, path, start, lines), name="read_text")

    @tool(effect="read")
    async def search_text(pattern: str, path: str = ".") -> str:
        """Search the text files of the workspace line by line for a regular expression.

        Args:
            pattern: A regular expression in Python's syntax.
            path: A directory or a file, relative to the workspace.
        """
        return await place.search_text(pattern, path)

    @tool(effect="write")
    async def run_command(command: str) -> Sink:
        """Run a shell command in the workspace; returns its output and its exit status.

        Nothing that the command starts keeps running after it.

        Args:
            command: One line for /bin/sh.
        """
        return await place.run_command(command)

    return (list_files, read_text, search_text, run_command)[: 4 if commands else 3]


@attrs.frozen
class _Workspace:
    """What the tools do. The sync methods run in threads."""

    root: str

    def list_files(self, path: str, pattern: str) -> str:
        start = self._inside(path)
        matches = _glob(pattern)
        # A pattern is about what is below the directory; a single file goes by its name.
        below = len(start) + 1 if start else 0
        if not Path(self.root, start).is_dir():
            below = start.rfind("/") + 1
        lines = _scan.Lines(_MAX_LISTED, _MAX_BYTES)
        count = total = 0
        for name, size in _scan.walk(self.root, start, trio.from_thread.check_cancelled):
            if matches(name[below:]):
                count += 1
                total += size
                lines.add(f"{size}\t{_scan.shown_path(name)}")
        return lines.text(f"{count} files, {total} bytes")

    def read_text(self, path: str, start: int, lines: int) -> str:
        if start < 1 or lines < 1:
            raise ValueError(f"start={start}, lines={lines}: both count from 1")
        name = self._inside(path)
        with self._open(name, path) as file:
            if _scan.is_binary(file):
                size = os.fstat(file.fileno()).st_size
                raise ValueError(f"{path!r} is a binary file of {size:,} bytes")
            shown, total, exact = _read_lines(file, start, lines)
        if not shown and (start > 1 or total):
            raise ValueError(f"{path!r} has {total} lines; start={start} is beyond its end")
        first, last = (start, start + len(shown) - 1) if shown else (0, 0)
        header = f"{_scan.shown_path(name)}: lines {first}-{last} of {total}{'' if exact else '+'}"
        return "\n".join([header, *shown])

    async def search_text(self, pattern: str, path: str) -> str:
        if len(pattern) > _MAX_PATTERN or "\0" in pattern:
            raise ValueError(f"the pattern must be at most {_MAX_PATTERN} characters, without NUL")
        start = await run_in_thread(functools.partial(self._inside, path), name="search_text")
        scan = (sys.executable, "-I", "-S", "-X", "utf8", _scan.__file__)
        arguments = (self.root, start, pattern, str(_MAX_MATCHES), str(_MAX_BYTES))
        result = await run_process((*scan, *arguments), cwd=self.root)
        if result.exit_status == _scan.BAD_PATTERN:
            raise ValueError(result.output)
        if result.exit_status:
            raise RuntimeError(f"the search ended with exit status {result.exit_status}: {result.output}")
        return result.output

    async def run_command(self, command: str) -> Sink:
        sink = Sink()
        result = await run_process(
            command,
            cwd=self.root,
            env={name: value for name, value in os.environ.items() if not _CREDENTIAL.search(name)},
            sink=sink,
        )
        end = "" if not result.output or result.output.endswith("\n") else "\n"
        if result.stopped:
            end += f"[stopped: more than {MAX_PRODUCED:,} bytes of output]\n"
        sink.write(f"{end}[exit status {result.exit_status}]".encode())
        return sink

    def _inside(self, path: str) -> str:
        """The real path, relative to the root, of something that exists; the empty string for the root."""
        if "\0" in path:
            raise ValueError("a path cannot contain NUL")
        real = Path(os.path.realpath(Path(self.root, path)))
        if not real.is_relative_to(self.root):
            raise PermissionError(f"{path!r} leads outside of the workspace; give a path inside it")
        if not os.path.lexists(real):
            raise FileNotFoundError(f"there is no {path!r} in the workspace")
        name = str(real.relative_to(self.root))
        return "" if name == "." else name

    def _open(self, name: str, path: str) -> BinaryIO:
        real = Path(self.root, name)
        if real.is_dir():
            raise IsADirectoryError(f"{path!r} is a directory; use list_files")
        try:
            file = _scan.open_regular(str(real))
        except OSError as error:
            raise type(error)(f"{path!r} cannot be read: {error.strerror}") from None
        if file is None:
            raise ValueError(f"{path!r} is not a regular file")
        return file


def _read_lines(file: BinaryIO, start: int, lines: int) -> tuple[list[str], int, bool]:
    """The numbered lines, how many lines the file has, and whether that was counted to the end."""
    check = trio.from_thread.check_cancelled
    shown: list[str] = []
    room = _MAX_BYTES
    number = 0
    for number, (line, cut) in enumerate(_scan.lines_of(file, _LONGEST_LINE, check), 1):
        if number < start:
            continue
        text = line.decode("utf-8", "replace")
        more = f" [… {cut:,} bytes cut …]" if cut else ""
        room -= len(text.encode()) + len(more) + 20
        if number >= start + lines or room < 0:
            break
        shown.append(f"{number}\t{text}{more}")
    else:
        return shown, number, True
    counted = 0
    last = b"\n"
    while chunk := file.read(_CHUNK):
        check()
        counted += len(chunk)
        number += chunk.count(b"\n")
        last = chunk[-1:]
        if counted >= _COUNTED:
            return shown, number, False
    return shown, number + (last != b"\n"), True


def _glob(pattern: str) -> Callable[[str], bool]:
    """What tells whether a path matches `pattern`, in time proportional to both."""
    if len(pattern) > _MAX_PATTERN:
        raise ValueError(f"the pattern must be at most {_MAX_PATTERN} characters")
    parts = [
        None if part == "**" else re.compile(fnmatch.translate(part)).match for part in pattern.split("/")
    ]

    def spread(states: set[int]) -> set[int]:
        """A `**` may also match nothing."""
        for state in sorted(states):
            while state < len(parts) and parts[state] is None:
                state += 1  # noqa: PLW2901
                states.add(state)
        return states

    def matches(path: str) -> bool:
        states = spread({0})
        for segment in path.split("/"):
            after: set[int] = set()
            for state in states:
                if state < len(parts):
                    part = parts[state]
                    if part is None:
                        after.add(state)
                    elif part(segment):
                        after.add(state + 1)
            states = spread(after)
        return len(parts) in states

    return matches
