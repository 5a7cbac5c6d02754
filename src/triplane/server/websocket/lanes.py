"""The lanes of one connection: which there are, and which creates wait on each. No I/O.

A lane is opened by the first create that names it and stays for the life of its connection. Creates wait as the client
sent them, since a parsed message may take many times the memory of its text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import trio

from triplane.server.errors import invalid_stream_id, stream_limit_reached

if TYPE_CHECKING:
    from .responses import Running

__all__ = ["Backlog", "Lane", "Lanes", "WaitingCreate"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")


@final
@attrs.frozen
class WaitingCreate:
    """A `response.create` that waits for its turn.

    Attributes:
        message: as it was received.
        frame: as it was parsed, unless it has to wait.
        parent: its `previous_response_id`, whatever that may be.
    """

    message: str | bytes
    frame: Mapping[str, Any] | None
    parent: object


@final
class Backlog:
    """How much of a client's messages waits, over all lanes: bounded by its size and not by their number."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._shrunk = trio.Event()

    def grow(self, message: str | bytes) -> None:
        """Count `message` in."""
        self._size += len(message)

    def shrink(self, message: str | bytes) -> None:
        """Count `message` out."""
        self._size -= len(message)
        self._shrunk.set()

    async def wait_fits(self) -> None:
        """Wait while too much is waiting. Not a checkpoint if there is not."""
        while self._size > self._max_size:
            self._shrunk = trio.Event()
            await self._shrunk.wait()


@final
class Lane:
    """One strictly sequential stream of responses on a connection; one task works on it.

    Attributes:
        name: the `stream_id` of its creates; None is the default lane.
        running: the response being sent.
        held: an ended response whose steers wait for the client to continue it.
    """

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.running: Running | None = None
        self.held: Running | None = None
        self._waiting: deque[WaitingCreate] = deque()
        self._arrived = trio.Event()
        self._working = False

    @property
    def idle(self) -> bool:
        """Whether a create could begin at once; it may have to wait for the other lanes even so."""
        return not self._waiting and not self._working

    @property
    def busy(self) -> bool:
        """Whether a create waits here or its response has not ended."""
        return bool(self._waiting) or (self._working and (self.running is None or self.running.going_on))

    def put(self, create: WaitingCreate) -> None:
        """Append a create."""
        self._waiting.append(create)
        self._arrived.set()

    async def get(self) -> WaitingCreate:
        """Remove the oldest create; wait for one."""
        self._working = False
        self.running = None
        while not self._waiting:
            self._arrived = trio.Event()
            await self._arrived.wait()
        self._working = True
        return self._waiting.popleft()

    def continues_next(self, response_id: str) -> bool:
        """Tell whether the next create is already here and continues this response."""
        return bool(self._waiting) and self._waiting[0].parent == response_id


@final
class Lanes:
    """The lanes of a connection, by name.

    Args:
        max_named: how many lanes with names there can ever be.
    """

    def __init__(self, max_named: int) -> None:
        self._max_named = max_named
        self._lanes: dict[str | None, Lane] = {None: Lane(None)}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def of(self, stream_id: object) -> Lane:
        """Return the lane of this name; the first use of a name opens it. None is the default lane.

        Raises:
            Refused: it is no name, or there are too many.
        """
        # A value that is no string may not even be hashable.
        if stream_id is not None and not (isinstance(stream_id, str) and _NAME.fullmatch(stream_id)):
            raise invalid_stream_id()
        lane = self._lanes.get(stream_id)
        if lane is None:
            # The default lane does not count.
            if len(self._lanes) > self._max_named:
                raise stream_limit_reached(self._max_named)
            lane = self._lanes[stream_id] = Lane(stream_id)
        return lane
