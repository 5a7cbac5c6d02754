"""One request over HTTP between the task that carries it out and the holder of a lane who reads its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from triplane.core.errors import TriplaneError

# How much may be read ahead of a reader who is slow, before the server has to wait.
_READ_AHEAD = 64 * 1024


@final
class HttpExchange:
    """A request, and what of its answer has come and has not been taken.

    Args:
        request: The text of a ``response.create``.

    Attributes:
        request: See above.
        scope: The carrying out of it; cancelled when nobody wants the rest of the answer.
        connected: Set once there is a connection and the request begins to be written, or once it is over.
        written: Set once all of the request was handed to the network, or once it is over.
        over: Set once nothing more can come.
        fault: Why it ended before the end of the answer; None until then, and when there was an end.
    """

    def __init__(self, request: str) -> None:
        self.request = request
        self.scope = trio.CancelScope()
        self.connected = trio.Event()
        self.written = trio.Event()
        self.over = trio.Event()
        self.fault: TriplaneError | None = None
        self._frames: list[str] = []
        self._size = 0
        self._news = trio.Event()
        self._room = trio.Event()

    async def upload(self, body: bytes) -> AsyncIterator[bytes]:
        """The body for the HTTP library, which asks for more once it has written what it got."""
        yield body
        self.written.set()

    async def put(self, frames: Sequence[str]) -> None:
        """Add what has come; waits while the reader is far behind. A checkpoint."""
        self._frames.extend(frames)
        self._size += sum(map(len, frames))
        self._news.set()
        await trio.lowlevel.checkpoint()
        while self._size > _READ_AHEAD:
            self._room = trio.Event()
            await self._room.wait()

    def end(self, fault: TriplaneError | None) -> None:
        """Nothing more comes. Not a checkpoint."""
        self.fault = fault
        for event in (self.connected, self.written, self.over, self._news):
            event.set()

    def answered(self) -> None:
        """The server has answered: whatever of the request is not written, it does not need. Not a checkpoint."""
        self.written.set()

    def finish_within(self, seconds: float) -> None:
        """Give the rest of an answer that nobody waits for this long to come to its end. Not a checkpoint.

        Only an answer that was read to its end leaves a connection that another request can go over.
        """
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + seconds)
        self._take()

    async def take(self) -> tuple[str, ...]:
        """What has come, at least one; empty when nothing more comes. Cancelling it loses nothing."""
        await trio.lowlevel.checkpoint()
        while not self._frames and not self.over.is_set():
            self._news = trio.Event()
            await self._news.wait()
        return self._take()

    def _take(self) -> tuple[str, ...]:
        frames = tuple(self._frames)
        self._frames.clear()
        self._size = 0
        self._room.set()
        return frames
