"""One WebSocket of a replay.

What was sent is sent again in the recorded order, and never before the client has said what it had said by then.
The client's own messages may come in another order on different lanes: programs that use several have none.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, final

import orjson
import trio

from .content import Binary
from .playback import error_body, lane_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .content import Content
    from .playback import Playback
    from .tape import Channel
    from .websocket import WebSocket

__all__ = ["Conversation", "error_event"]


def error_event(problem: str, lane: str | None) -> str:
    """Return the event that tells a client of a drift."""
    event = {"type": "error", "status": 400, "error": error_body(problem)}
    return orjson.dumps(event if lane is None else {**event, "stream_id": lane}).decode()


@final
class Conversation:
    """Plays one recorded WebSocket to one client."""

    def __init__(
        self,
        playback: Playback,
        channel: Channel,
        socket: WebSocket,
        receive: Callable[[], Awaitable[Content]],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._playback = playback
        self._channel = channel
        self._socket = socket
        self._receive = receive
        self._pause = pause
        # For each lane the messages that the client still has to send, each with its place in the recording.
        self._expected: dict[str | None, deque[tuple[int, Content]]] = {}
        self._arrivals: dict[int, trio.Event] = {}
        for place, (_, sent) in enumerate(channel.sent):
            if sent.by == "client":
                self._expected.setdefault(lane_of(sent.content), deque()).append((place, sent.content))
                self._arrivals[place] = trio.Event()

    async def run(self, first: Content | None) -> None:
        """Play until the recording ends it, or the client.

        Args:
            first: the client's first message, if it was received already.

        Raises:
            WebSocketEnded: the client closed or is lost.
        """
        ended: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._play, nursery.cancel_scope)
            try:
                if first is not None:
                    await self._match(first)
                while True:
                    await self._match(await self._receive())
            except Exception as error:  # noqa: BLE001 - raised below, and not in a group
                ended = error
            nursery.cancel_scope.cancel(reason="the client is gone")
        if ended is not None:
            raise ended

    async def _match(self, message: Content) -> None:
        lane = lane_of(message)
        where = f"channel {self._channel.number}" + (f", lane {lane}" if lane is not None else "")
        expected = self._expected.get(lane)
        if not expected:
            await self._object(f"no further message of the client was recorded on {where}", lane)
            return
        place, recorded = expected.popleft()
        if found := self._playback.differences(recorded, message):
            # What follows was said to another request, so it waits for good.
            await self._object(f"a message on {where} differs: {'; '.join(found)}", lane)
        else:
            self._arrivals[place].set()

    async def _object(self, problem: str, lane: str | None) -> None:
        self._playback.problems.append(problem)
        await self._socket.send(error_event(problem, lane))

    async def _play(self, scope: trio.CancelScope) -> None:
        last = self._channel.answered_at
        for place, (at, sent) in enumerate(self._channel.sent):
            if sent.by == "client":
                await self._arrivals[place].wait()
            else:
                await self._pause(at - last)
                payload = sent.content.to_bytes()
                await self._socket.send(payload if isinstance(sent.content, Binary) else payload.decode())
            last = at
            self._playback.played(self._channel)
        ended = self._channel.ended
        if ended is None or ended.by == "client":
            return
        await self._pause(self._channel.ended_at - last)
        if ended.by == "server":
            await self._socket.close(ended.code, ended.reason)  # the client's answer ends `run`
        else:
            scope.cancel(reason="the connection was lost here")
