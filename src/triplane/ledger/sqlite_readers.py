"""How a ledger's file is read: in threads, a few at once, each with a connection of its own."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, final

import trio

from .sqlite_file import open_reader
from .sqlite_trouble import trouble

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# How often the file is looked at for what other processes append, in seconds.
_POLL = 0.05
# How many read the file at once, each in a thread.
_MOST = 4


@final
class Readers:
    """The threads and their connections.

    Args:
        path: The file, which exists.
        busy_timeout: See `open_ledger`.
        check_open: Raises if nothing may be read any more.

    Attributes:
        changed: Set, and replaced, when the file has changed or may have, as far as anybody waits for that.
    """

    def __init__(self, path: str, busy_timeout: float, check_open: Callable[[], None]) -> None:
        self.changed = trio.Event()
        self._path = path
        self._busy_timeout = busy_timeout
        self._check_open = check_open
        self._limiter = trio.CapacityLimiter(_MOST)
        self._idle: list[sqlite3.Connection] = []
        self._watcher: sqlite3.Connection | None = None
        self._version: int | None = None
        self._watching = False
        self._closed = False

    async def look(self, work: Callable[[sqlite3.Connection, str], T]) -> T:
        """Have something read in a thread, with a connection of its own. A checkpoint."""
        self._check_open()

        def in_thread() -> T:
            with trouble(self._path, "read"):
                try:
                    connection = self._idle.pop()
                except IndexError:
                    connection = open_reader(self._path, self._busy_timeout)
                try:
                    found = work(connection, self._path)
                except BaseException:
                    connection.close()
                    raise
                self._idle.append(connection)
                if self._closed:
                    self._close_idle()
                return found

        return await trio.to_thread.run_sync(in_thread, limiter=self._limiter)

    async def until(self, changed: trio.Event) -> None:
        """Return once the file has changed since `changed` was its event, or may have. A checkpoint.

        One of those who wait looks at the file for all of them.
        """
        if self._watching or changed.is_set():
            await changed.wait()
            return
        self._watching = True
        try:
            while True:
                await trio.sleep(_POLL)
                self._check_open()
                version = await trio.to_thread.run_sync(self._file_version, limiter=self._limiter)
                if version != self._version:
                    self._version = version
                    break
        finally:
            # If this one was cancelled, another one has to look.
            self._watching = False
            self.changed.set()
            self.changed = trio.Event()
            if self._closed:
                self._close_watcher()

    def _file_version(self) -> int:
        """A number that changes whenever anybody else changes the file. Called in a thread."""
        with trouble(self._path, "read"):
            if self._watcher is None:
                self._watcher = open_reader(self._path, self._busy_timeout)
            version: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
            return version

    def close(self) -> None:
        """Close all connections; one that is at work is closed as soon as it is not. Not a checkpoint."""
        self._closed = True
        self._close_idle()
        if not self._watching:
            self._close_watcher()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                with suppress(sqlite3.Error):
                    self._idle.pop().close()

    def _close_watcher(self) -> None:
        if self._watcher is not None:
            with suppress(sqlite3.Error):
                self._watcher.close()
