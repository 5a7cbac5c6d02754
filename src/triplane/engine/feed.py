"""How readers follow a run: each by a cursor of its own, none in the way of another."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, final

import trio

from triplane.core.records import FramesReceived, RunEnded

if TYPE_CHECKING:
    from triplane.core.records import Body, Record, UndecodableFrame
    from triplane.core.store import ClaimedLog
    from triplane.protocol import ServerEvent

    from .transports import RoutedLease

    RunEvent = ServerEvent | UndecodableFrame | Body
    Events = tuple[ServerEvent | UndecodableFrame, ...]


_TOKENS = count()
# Of how many batches the events are kept for readers that are nearly up to date; who is further behind decodes anew.
_KEPT = 64


@final
class Feed:
    """A run's log with its readers, and how far behind the slowest of them is.

    Args:
        log: The run's log.
        max_unread: How many bytes the slowest required reader may be behind before `make_room` waits.
        after: The sequence number after which readers begin: what was there before a run was resumed is not theirs.

    Attributes:
        is_left: Whether nothing is appended any more. The run need not be over: it may have been left parked.
    """

    def __init__(self, log: ClaimedLog, max_unread: int, *, after: int = -1) -> None:
        self.log = log
        self.after = after
        self._max_unread = max_unread
        self._written = 0
        # By token and not by reader: a reader that nobody holds any more must be free to go.
        self._bytes_read: dict[int, int] = {}
        self._caught_up = trio.Event()
        self._events: dict[int, Events] = {}
        self._waiting: set[trio.CancelScope] = set()
        self.is_left = False

    def append(self, body: Body) -> Record:
        """Append to the log and wake the readers. Not a checkpoint."""
        record = self.log.append(body)
        self._written += record.size
        return record

    def events_of(self, record: Record, received: FramesReceived) -> Events:
        """The events of a batch: decoded once for the run and all readers that are about as far. Not a checkpoint."""
        events = self._events.get(record.sequence)
        if events is None:
            events = received.events
            if self._bytes_read:
                self._events[record.sequence] = events
                if len(self._events) > _KEPT:
                    del self._events[next(iter(self._events))]
        return events

    async def make_room(self, lease: RoutedLease) -> None:
        """Return once no required reader is more than `max_unread` bytes behind. A checkpoint only if it waits.

        Nobody waits for a lane because of somebody else's reader, who may be waiting for that very run: as long as
        one does, there is room. The log has everything.

        Args:
            lease: Of the run's lane.
        """
        while (
            self._bytes_read
            and self._written - min(self._bytes_read.values()) > self._max_unread
            and not lease.is_wanted
        ):
            self._caught_up = trio.Event()
            with lease.when_wanted(self._caught_up.set):
                await self._caught_up.wait()

    async def more(self, after: int) -> None:
        """Wait for a record behind `after`, or until nothing is appended any more. A checkpoint if it waits."""
        if self.is_left:
            return
        with trio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await self.log.wait(after)
            finally:
                self._waiting.discard(scope)

    def leave(self) -> None:
        """Nothing is appended any more, though the run may not be over: let the readers end. Not a checkpoint."""
        self.is_left = True
        for scope in self._waiting:
            scope.cancel(reason="the run was left")

    def reader(self) -> Reader:
        """A reader from the first record on that is for readers."""
        return Reader(self)

    def note(self, token: int, bytes_read: int) -> None:
        """Note how far a required reader has come. Not a checkpoint."""
        self._bytes_read[token] = bytes_read
        self._caught_up.set()

    def dismiss(self, token: int) -> None:
        """Wait for this reader no longer. Idempotent. Not a checkpoint."""
        self._bytes_read.pop(token, None)
        if not self._bytes_read:
            self._events.clear()
        self._caught_up.set()


@final
class Reader:
    """An asynchronous iterator over a run's events, from the first on, to `RunEnded`, or to where the run was left.

    It keeps the run from running further ahead than `max_unread` bytes from its first step until it is exhausted,
    closed, or no longer referred to, as after a ``break``. Several tasks may each have a reader; one reader serves one task.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._sequence = feed.after
        self._events: deque[RunEvent] = deque()
        self._unread = 0
        self._ended = False
        self._bytes_read = 0
        self._token = next(_TOKENS)
        self._forgotten = weakref.finalize(
            self, _dismiss_soon, trio.lowlevel.current_trio_token(), feed, self._token
        )
        self._forgotten.atexit = False

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> RunEvent:
        """The next event; a checkpoint. Cancelling it loses nothing.

        Raises:
            StopAsyncIteration: The run has ended and everything was read.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._ended:
                self.close()
                raise StopAsyncIteration
            await self._fetch()
        return self._events.popleft()

    async def _fetch(self) -> None:
        self._bytes_read += self._unread
        self._unread = 0
        if self._forgotten.alive:
            self._feed.note(self._token, self._bytes_read)
        # Asked before, so that what was appended last is read.
        was_left = self._feed.is_left
        records = await self._feed.log.read(self._sequence, 64)
        if not records:
            self._ended = was_left
            if not was_left:
                await self._feed.more(self._sequence)
            return
        for record in records:
            self._sequence = record.sequence
            self._unread += record.size
            match record.body:
                case FramesReceived():
                    self._events.extend(self._feed.events_of(record, record.body))
                case body:
                    self._events.append(body)
                    if isinstance(body, RunEnded):
                        # Whoever resumes the run has readers of its own.
                        self._ended = True
                        return

    def close(self) -> None:
        """Stop following; the run no longer waits for this reader. Idempotent. Not a checkpoint."""
        if self._forgotten.detach() is not None:
            self._feed.dismiss(self._token)


def _dismiss_soon(run: trio.lowlevel.TrioToken, feed: Feed, token: int) -> None:
    """Dismiss a reader that nobody refers to any more. Whatever thread finds that out, tasks are woken in Trio's."""
    with suppress(trio.RunFinishedError):
        run.run_sync_soon(feed.dismiss, token)
