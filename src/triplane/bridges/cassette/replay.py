"""Replaying: a server that says what was recorded, and objects when something else is asked."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, final

import trio

from .content import Text, content_of
from .conversation import Conversation, error_event
from .drift import CassetteDrift
from .errors import CassetteError
from .front import BrokenRequest, Front, Request
from .playback import Drifted, Playback, error_body, first_message
from .redaction import Redaction
from .serving import listening
from .tape import read_tape
from .websocket import WebSocket, WebSocketEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from .content import Content
    from .serving import Address
    from .tape import Channel

__all__ = ["Replayer", "replay"]


@final
class Replayer:
    """A replay in progress; `replay` makes one.

    Attributes:
        address: where clients find it.
    """

    address: Address

    def __init__(self, playback: Playback, redaction: Redaction, speed: float) -> None:
        self._playback = playback
        self._redaction = redaction
        self._speed = speed

    @property
    def url(self) -> str:
        """The WebSocket URL of the Responses endpoint."""
        return self.address.url

    @property
    def base_url(self) -> str:
        """The base URL for clients that take one, such as `openai.OpenAI(base_url=...)`."""
        return self.address.base_url

    http_url = base_url

    @property
    def problems(self) -> tuple[str, ...]:
        """What clients asked otherwise than it was recorded, so far."""
        return tuple(self._playback.problems)

    @property
    def unused(self) -> tuple[str, ...]:
        """What of the cassette nobody asked for yet."""
        return tuple(self._playback.unused())

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection of a client; `stream` is closed on return."""
        try:
            front = Front(stream)
            request = await front.receive()
            try:
                if request.key is None:
                    await self._exchange(front, request)
                else:
                    await self._upgrade(stream, front, request.key, request)
            except Drifted as drifted:
                # 400, since clients ask again after most other errors.
                await front.send_json(400, {"error": error_body(str(drifted))})
        except (BrokenRequest, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went away
        finally:
            await trio.aclose_forcefully(stream)

    def _redacted(self, request: Request, data: str | bytes) -> Content | None:
        if not data:
            return None
        return self._redaction.of_content(content_of(data), self._redaction.secrets(request.headers))

    def _target(self, request: Request) -> str:
        return self._redaction.of_text(request.target, self._redaction.secrets(request.headers))

    async def _pause(self, seconds: float) -> None:
        await trio.sleep(max(0.0, seconds) / self._speed)

    async def _exchange(self, front: Front, request: Request) -> None:
        content = self._redacted(request, request.body)
        channel = self._playback.claim_exchange(request.method, self._target(request), content)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_closed, front, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._play(channel, front)
            nursery.cancel_scope.cancel(reason="the exchange is over")

    async def _play(self, channel: Channel, front: Front) -> None:
        if channel.answered is None:
            await trio.sleep_forever()  # the client went away then, and will now
        assert channel.answered is not None
        await self._pause(channel.answered_at - channel.began)
        await front.send_head(channel.answered.status, channel.answered.headers)
        last = channel.answered_at
        for at, sent in channel.sent:
            await self._pause(at - last)
            last = at
            await front.send_body(sent.content.to_bytes())
        if channel.ended is None or channel.ended.by == "server":
            await front.send_end()
        elif channel.ended.by == "client":
            await trio.sleep_forever()

    async def _upgrade(self, stream: trio.abc.Stream, front: Front, key: bytes, request: Request) -> None:
        target = self._target(request)
        next_one = self._playback.claim_upgrade(target)
        if not next_one.is_open:
            await self._play(next_one, front)
            return
        assert next_one.answered is not None
        headers = next_one.answered.headers
        socket = WebSocket(stream, client=False, rest=request.rest)

        async def receive() -> Content:
            message = await socket.receive()
            return self._redacted(request, message) or Text("")

        try:
            try:
                await front.accept(key, headers)
                first = await receive() if first_message(next_one) is not None else None
            finally:
                self._playback.release(next_one)
            channel = self._playback.claim_websocket(target, first)
            await Conversation(self._playback, channel, socket, receive, self._pause).run(first)
        except WebSocketEnded:
            pass  # the client closed it
        except Drifted as drifted:
            await socket.send(error_event(str(drifted), None))
            await socket.close(1000)


async def _cancel_when_closed(front: Front, scope: trio.CancelScope) -> None:
    await front.wait_closed()
    scope.cancel(reason="the client went away")


@asynccontextmanager
async def replay(
    path: Path,
    *,
    speed: float = math.inf,
    strict: bool = True,
    ignore: Collection[str] = (),
    redaction: Redaction | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Replayer]:
    """Say again what was recorded, to clients that ask the same again.

    A request that differs is answered with an error whose code is `cassette_drift` and whose message says where, and
    fails the replay when the block ends.

    Args:
        path: the cassette.
        speed: how many times as fast as it was recorded; 1 for the original timing. By default nothing is waited for.
        strict: fail as well if a part of the cassette was not asked for.
        ignore: paths in requests that may differ, such as "metadata.run" or "input[*].id".
        redaction: the one it was recorded with.
        host: the interface to listen on.
        port: 0 for any free one.

    Raises:
        CassetteError: the cassette cannot be read.
        CassetteDrift: at the end of the block, a request differed. If the block itself raises, its exception gets
            that as a note instead.
        OSError: the address cannot be bound.

    Cancellation, and leaving the block, close everything at once.
    """
    if not speed > 0:
        raise CassetteError(f"speed is a number above 0, not {speed!r}")
    playback = Playback(read_tape(path), ignore=ignore)
    replayer = Replayer(playback, redaction or Redaction(), speed)

    try:
        async with listening(replayer.handle, host=host, port=port) as replayer.address:
            yield replayer
    except Exception as error:
        if replayer.problems:
            error.add_note(str(CassetteDrift(str(path), replayer.problems)))
        raise
    if problems := replayer.problems + (replayer.unused if strict else ()):
        raise CassetteDrift(str(path), problems)
