"""What the file tools do: list, read, write and change files, in words for a model. All of it runs in threads."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import attrs
import trio

from .glob import glob
from .patch import Change, PatchError, changed, counted, parse
from .scan.confined import Confined, OutsideError, Place, open_regular, remove, replace
from .scan.walk import Lines, is_binary, lines_of, shown_path, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import BufferedReader

# What the tools format themselves stays within this, below their max_output, so that the last line of a listing is
# never what gets cut.
MAX_BYTES = 60_000
_MAX_LISTED = 2_000
_LONGEST_LINE = 2_000
# Lines beyond the ones that were asked for are counted only so far; then a plus stands behind the total.
_COUNTED = 1024 * 1024 * 1024
_CHUNK = 256 * 1024
# A patch is matched against the whole file.
_LARGEST_PATCHED = 16 * 1024 * 1024
_LARGEST_WRITTEN = 16 * 1024 * 1024


@attrs.frozen
class Files:
    """The files of one workspace."""

    confined: Confined
    # Calls of one response run side by side, and a patch is made for what was read.
    _writing: threading.Lock = attrs.field(factory=threading.Lock, init=False)

    def list_files(self, path: str, pattern: str) -> str:
        """The files below a directory, with their sizes."""
        matches = glob(pattern)
        lines = Lines(_MAX_LISTED, MAX_BYTES)
        count = total = 0
        with self.reach(path) as place:
            start = place.names
            status = place.status
        assert status is not None
        if stat.S_ISDIR(status.st_mode):
            # A pattern is about what is below the directory; a single file goes by its name.
            above = len(start)
            found = walk(self.confined, start, trio.from_thread.check_cancelled)
        else:
            above = len(start) - 1
            found = iter([(start, status.st_size)] if stat.S_ISREG(status.st_mode) else [])
        for names, size in found:
            if matches("/".join(names[above:])):
                count += 1
                total += size
                lines.add(f"{size}\t{shown_path('/'.join(names))}")
        return lines.text(f"{count} files, {total} bytes")

    def read_text(self, path: str, start: int, lines: int) -> str:
        """Some lines of a file, with their numbers."""
        if start < 1 or lines < 1:
            raise ValueError(f"start={start}, lines={lines}: both count from 1")
        with self.reach(path) as place, self._opened(place, path) as file:
            _refuse_binary(file, path)
            shown, total, exact = _read_lines(file, start, lines)
        if not shown and (start > 1 or total):
            raise ValueError(f"{path!r} has {total} lines; start={start} is beyond its end")
        first, last = (start, start + len(shown) - 1) if shown else (0, 0)
        header = f"{shown_path(place.path)}: lines {first}-{last} of {total}{'' if exact else '+'}"
        return "\n".join([header, *shown])

    def write_text(self, path: str, content: str) -> str:
        """Make `content` all that is in a file."""
        data = _encoded(content, path)
        with self._writing, self.reach(path, make=True, free=True) as place:
            _check_writable(place, path)
            self._replace(place, path, data)
            is_new = place.status is None
        words = "created" if is_new else "replaced"
        return f"{words} {shown_path(place.path)}: {content.count(chr(10))} lines, {len(data)} bytes"

    def apply_patch(self, patch: str) -> str:
        """Make the changes of a patch, all of them or none."""
        return self.make(parse(patch))

    def make(self, changes: Sequence[Change]) -> str:
        """Make changes, all of them or none."""
        with self._writing:
            return self._apply(changes)

    def _apply(self, changes: Sequence[Change]) -> str:
        written = [self._planned(change) for change in changes]
        paths = [path for plan in written for path in plan.paths]
        if twice := {path for path in paths if paths.count(path) > 1}:
            raise PatchError(f"{min(twice)!r} is changed twice; put all of its hunks into one section")
        trio.from_thread.check_cancelled()
        done: list[str] = []
        try:
            for plan in written:
                self._carry_out(plan)
                done.append(plan.report)
        except (OSError, ValueError) as error:
            if done:
                raise RuntimeError(f"{error}; before that: {', '.join(done)}") from error
            raise
        return "\n".join([*done, f"{len(done)} files changed"])

    def inside(self, path: str) -> str:
        """The way to something that exists, as `Place.path`."""
        with self.reach(path) as place:
            return place.path

    @contextlib.contextmanager
    def reach(self, path: str, *, make: bool = False, free: bool = False) -> Iterator[Place]:
        """`Confined.reach`, with errors that tell a model what to do.

        Args:
            path: Where to.
            make: Whether missing directories are made.
            free: Whether there may be nothing yet.
        """
        with contextlib.ExitStack() as held:
            try:
                place = held.enter_context(self.confined.reach(path, make=make))
            except OutsideError:
                raise PermissionError(
                    f"{path!r} leads outside of the workspace; give a path inside it"
                ) from None
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                    raise FileNotFoundError(f"there is no {path!r} in the workspace") from None
                raise type(error)(f"{path!r} cannot be reached: {error.strerror}") from None
            except UnicodeError:
                raise ValueError(f"{path!r} cannot be a path") from None
            if place.status is None and not free:
                raise FileNotFoundError(f"there is no {path!r} in the workspace")
            yield place

    def _opened(self, place: Place, path: str) -> BufferedReader:
        if place.name is None:
            raise IsADirectoryError(f"{path!r} is a directory; use list_files")
        try:
            file = open_regular(place.directory, place.name)
        except OSError as error:
            raise type(error)(f"{path!r} cannot be read: {error.strerror}") from None
        if file is None:
            raise ValueError(f"{path!r} is not a regular file")
        return file

    def _planned(self, change: Change) -> _Plan:
        """What is to be written for a change; nothing has been written yet."""
        with self.reach(change.path, free=True) as place:
            _check_writable(place, change.path)
            if change.kind == "add":
                if place.status is not None:
                    raise PatchError(f"{change.path!r} is there already; update it instead")
                return _Plan(change, place.names, _encoded(changed(change, ""), change.path))
            if place.status is None:
                raise FileNotFoundError(f"there is no {change.path!r} in the workspace")
            with self._opened(place, change.path) as file:
                if change.kind == "delete" and not change.hunks:
                    return _Plan(change, place.names, None)
                _refuse_binary(file, change.path)
                before = file.read(_LARGEST_PATCHED + 1)
            names = place.names
        if len(before) > _LARGEST_PATCHED:
            raise ValueError(
                f"{change.path!r} has more than {_LARGEST_PATCHED:,} bytes; that is too much to patch"
            )
        # What is no UTF-8 stays as it is, byte by byte.
        after = changed(change, before.decode("utf-8", "surrogateescape"))
        if change.kind == "delete":
            if after:
                raise PatchError(
                    f"{change.path!r} is to be deleted, and has lines that the patch does not remove"
                )
            return _Plan(change, names, None)
        if change.move_to is not None:
            with self.reach(change.move_to, free=True) as goal:
                _check_writable(goal, change.move_to)
                if goal.status is not None:
                    raise PatchError(f"{change.move_to!r} is there already; nothing can be moved there")
        return _Plan(change, names, after.encode("utf-8", "surrogateescape"))

    def _carry_out(self, plan: _Plan) -> None:
        change = plan.change
        goal = change.path if change.move_to is None else change.move_to
        if plan.after is not None:
            with self.reach(goal, make=True, free=True) as place:
                _check_writable(place, goal)
                # Reached anew: descriptors are not kept for all files of a patch.
                is_moved = change.move_to is not None
                if (place.status is None) != (change.kind == "add" or is_moved) or (
                    not is_moved and place.names != plan.names
                ):
                    raise ValueError(f"{goal!r} has changed meanwhile; read it again")
                self._replace(place, goal, plan.after)
        if plan.after is None or change.move_to is not None:
            with self.reach(change.path) as place:
                _check_writable(place, change.path)
                remove(place)

    def _replace(self, place: Place, path: str, data: bytes) -> None:
        try:
            replace(place, data)
        except OSError as error:
            raise type(error)(f"{path!r} cannot be written: {error.strerror}") from None


@attrs.frozen
class _Plan:
    """A change, where it is made, and what is there afterwards; None for nothing."""

    change: Change
    names: tuple[str, ...]
    after: bytes | None

    @property
    def paths(self) -> list[str]:
        moved = [] if self.change.move_to is None else [self.change.move_to]
        return ["/".join(self.names), *moved]

    @property
    def report(self) -> str:
        change = self.change
        plus, minus = counted(change)
        match change.kind:
            case "add":
                return f"added {change.path}: +{plus}"
            case "delete":
                return f"deleted {change.path}"
            case _:
                moved = "" if change.move_to is None else f", moved to {change.move_to}"
                return f"updated {change.path}: +{plus} -{minus}{moved}"


def _check_writable(place: Place, path: str) -> None:
    """Whether a file may be put there.

    Raises:
        IsADirectoryError, ValueError, PermissionError: Why not.
    """
    # Git runs what stands in its hooks and its configuration, and so whoever uses git next would.
    if any(name.casefold() == ".git" for name in place.names):
        raise PermissionError(f"{path!r} is part of a git repository's own files, which are read-only here")
    if place.name is None and place.status is not None:
        raise IsADirectoryError(f"{path!r} is a directory; give the path of a file")
    if place.status is not None and not stat.S_ISREG(place.status.st_mode):
        raise ValueError(f"{path!r} is not a regular file")


def _encoded(content: str, path: str) -> bytes:
    try:
        data = content.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the content for {path!r} has half a surrogate pair, which no text file can have"
        ) from None
    if len(data) > _LARGEST_WRITTEN:
        raise ValueError(f"the content for {path!r} has more than {_LARGEST_WRITTEN:,} bytes")
    return data


def _refuse_binary(file: BufferedReader, path: str) -> None:
    if is_binary(file):
        raise ValueError(f"{path!r} is a binary file of {os.fstat(file.fileno()).st_size:,} bytes")


def _read_lines(file: BufferedReader, start: int, lines: int) -> tuple[list[str], int, bool]:
    """The numbered lines, how many lines the file has, and whether that was counted to the end."""
    check = trio.from_thread.check_cancelled
    shown: list[str] = []
    room = MAX_BYTES
    number = 0
    for number, (line, cut) in enumerate(lines_of(file, _LONGEST_LINE, check), 1):
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
    counted_bytes = 0
    last = b"\n"
    while chunk := file.read(_CHUNK):
        check()
        counted_bytes += len(chunk)
        number += chunk.count(b"\n")
        last = chunk[-1:]
        if counted_bytes >= _COUNTED:
            return shown, number, False
    return shown, number + (last != b"\n"), True
