"""Opens what is below one directory, and nothing else, whatever anybody does to the tree meanwhile.

No path is ever looked up by the operating system as a whole, since between a look and an opening any part of it may be
replaced by a link. Each name is opened by itself, relative to the descriptor of the directory that has it, and never
through a link: links are read, and followed here, name by name. The way up is the descriptor that we came down from,
and above the root there is none. So every descriptor was reached from the root by going down.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import BufferedReader

# Where the platform has it, passing through a directory needs no right to list it.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A FIFO or a terminal that takes the file's place must neither block nor become ours.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_MOST_LINKS = 40
# One descriptor is open for each level of a path.
_DEEPEST = 100


class OutsideError(Exception):
    """A path leads out of the directory."""


class Place(NamedTuple):
    """Where a path leads.

    Attributes:
        names: The way from the root, without links; empty for the root itself.
        directory: Descriptor of the directory it is in, or of itself if it is one; open as long as the place is held.
        name: Its name in there; None if it is the directory itself, or if directories on the way are missing.
        status: What it is; None if there is nothing.
    """

    names: tuple[str, ...]
    directory: int
    name: str | None
    status: os.stat_result | None

    @property
    def path(self) -> str:
        """The path from the root; empty for the root itself."""
        return "/".join(self.names)


class Confined:
    """One directory and what is below it.

    Args:
        root: Its real path. Who can replace the directories above it is trusted.
        other: Another absolute path of the same directory, under which it may be named too.
    """

    def __init__(self, root: str, other: str | None = None) -> None:
        self.root = root
        self._prefixes = {root.rstrip("/"), (other or root).rstrip("/")}

    @contextlib.contextmanager
    def reach(self, path: str, *, make: bool = False) -> Iterator[Place]:
        """Go to where `path`, relative to the root, leads: a file, a directory, or a name that is still free.

        Args:
            path: Absolute paths are taken too, where they lead to the root or below.
            make: Whether missing directories on the way are made.

        Raises:
            OutsideError: It leads outside.
            ValueError: It cannot be a path.
            OSError: It cannot be reached.
        """
        if "\0" in path:
            raise ValueError("a path cannot contain NUL")
        trail = [os.open(self.root, _PASS)]
        try:
            yield self._go(self._parts(path), trail, make=make)
        finally:
            for descriptor in trail:
                os.close(descriptor)

    def _go(self, todo: list[str], trail: list[int], *, make: bool) -> Place:
        """Go down along the names in `todo`, the first one last; `trail` has the descriptors of where we are."""
        names: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if not names:
                    raise OutsideError
                names.pop()
                os.close(trail.pop())
                continue
            try:
                status = os.stat(part, dir_fd=trail[-1], follow_symlinks=False)
            except FileNotFoundError:
                if not todo:
                    return Place((*names, part), trail[-1], part, None)
                if ".." in todo:
                    raise
                if not make:
                    return Place((*names, part, *reversed(todo)), trail[-1], None, None)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=trail[-1])
                status = os.stat(part, dir_fd=trail[-1], follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                target = os.readlink(part, dir_fd=trail[-1])
                todo += self._parts(target)
                if target.startswith("/"):
                    names.clear()
                    while len(trail) > 1:
                        os.close(trail.pop())
            elif stat.S_ISDIR(status.st_mode):
                if len(names) == _DEEPEST:
                    raise OSError(errno.ELOOP, f"more than {_DEEPEST} directories deep")
                trail.append(os.open(part, _PASS, dir_fd=trail[-1]))
                names.append(part)
            elif todo:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            else:
                return Place((*names, part), trail[-1], part, status)
        return Place(tuple(names), trail[-1], None, os.fstat(trail[-1]))

    def _parts(self, path: str) -> list[str]:
        """The names of a path, the first one last. From an absolute one the root is taken off."""
        if path.startswith("/"):
            inside = [prefix for prefix in self._prefixes if f"{path}/".startswith(f"{prefix}/")]
            if not inside:
                raise OutsideError
            path = path[max(map(len, inside)) :]
        return [part for part in reversed(path.split("/")) if part not in ("", ".")]

    def entries(self, names: Sequence[str]) -> list[tuple[str, int | None]]:
        """The names in the directory that `names` leads to, links not followed on the way, unsorted.

        With each regular file comes its size, with each directory None; there is nothing else in the list.

        Raises:
            OSError: It cannot be listed.
        """
        found: list[tuple[str, int | None]] = []
        with self._directory(names) as directory, os.scandir(directory) as scan:
            for entry in scan:
                with contextlib.suppress(OSError):  # gone meanwhile
                    if entry.is_dir(follow_symlinks=False):
                        found.append((entry.name, None))
                    elif entry.is_file(follow_symlinks=False):
                        found.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        return found

    def open(self, names: Sequence[str]) -> BufferedReader | None:
        """Open the regular file that `names` leads to, links not followed; None for anything else.

        Raises:
            OSError: It cannot be read.
        """
        with self._directory(names[:-1]) as directory:
            return open_regular(directory, names[-1])

    @contextlib.contextmanager
    def _directory(self, names: Sequence[str]) -> Iterator[int]:
        """Go down, holding two descriptors at most, however deep it is."""
        current = os.open(self.root, _PASS)
        try:
            for name in names:
                above, current = current, os.open(name, _PASS, dir_fd=current)
                os.close(above)
            below = os.open(".", _LIST, dir_fd=current)
        finally:
            os.close(current)
        try:
            yield below
        finally:
            os.close(below)


def open_regular(directory: int, name: str) -> BufferedReader | None:
    """Open a regular file for reading; None for anything else, which is not opened at all.

    Raises:
        OSError: It cannot be read.
    """
    # Opening a FIFO wakes up its writer, and opening a device may do anything: look first. The flags are for
    # what changes in between.
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return None
    descriptor = os.open(name, _READ, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def replace(place: Place, data: bytes) -> None:
    """Make `data` the content of the file at `place`, wholly or not at all.

    A new file takes the place of the old one, with its permissions. So nothing is ever written to what was there
    before: not through a link that somebody puts there, nor to a file that has another name outside.

    Raises:
        OSError: It cannot be written; what was there is as it was.
    """
    assert place.name is not None
    fresh = f".{secrets.token_hex(8)}.new"
    descriptor = os.open(fresh, _CREATE, 0o666, dir_fd=place.directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if place.status is not None:
                os.fchmod(descriptor, stat.S_IMODE(place.status.st_mode) & 0o777)
            file.write(data)
        os.replace(fresh, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
    except BaseException:
        os.unlink(fresh, dir_fd=place.directory)
        raise


def remove(place: Place) -> None:
    """Remove the file at `place`.

    Raises:
        OSError: It cannot be removed.
    """
    assert place.name is not None
    os.unlink(place.name, dir_fd=place.directory)
