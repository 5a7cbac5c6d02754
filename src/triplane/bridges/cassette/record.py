"""Recording: a proxy on this machine that passes everything on and writes it down."""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, final

import trio

from .content import content_of, read_block, split_blocks
from .errors import CassetteError
from .front import BrokenRequest, Front, Request
from .redaction import Redaction
from .serving import listening
from .tape import Answered, Asked, Ended, Sent, TapeLine, TapeWriter
from .upstream import Refusal, Upstream, UpstreamFailed
from .websocket import WebSocket, WebSocketEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from triplane.net.dial import Network

    from .content import Content
    from .serving import Address
    from .tape import What

__all__ = ["Recorder", "record"]

_CLOSE_SECONDS: Final = 2.0
_By: TypeAlias = Literal["client", "server", "network"]
_LOST: Final = (BrokenRequest, trio.BrokenResourceError, trio.ClosedResourceError)


@final
class Recorder:
    """A recording in progress; `record` makes one.

    Attributes:
        address: where clients find it.
        failures: what of upstream could not be reached. They fail the recording when it ends.
    """

    address: Address

    def __init__(self, upstream: Upstream, writer: TapeWriter, redaction: Redaction) -> None:
        self._upstream = upstream
        self._writer = writer
        self._redaction = redaction
        self._began = trio.current_time()
        self._channels = 0
        self.failures: list[str] = []

    @property
    def url(self) -> str:
        """The WebSocket URL of the Responses endpoint."""
        return self.address.url

    @property
    def base_url(self) -> str:
        """The base URL for clients that take one, such as `openai.OpenAI(base_url=...)`."""
        return self.address.base_url

    http_url = base_url

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serve one connection of a client; `stream` is closed on return."""
        try:
            front = Front(stream)
            request = await front.receive()
            self._channels += 1
            channel = _Channel(self._writer, self._redaction, self._began, self._channels, request)
            if request.key is None:
                await self._exchange(channel, front, request)
            else:
                await self._websocket(channel, stream, front, request.key, request)
        except _LOST:
            pass  # the client went away
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, channel: _Channel, front: Front, request: Request) -> None:
        ended: _By = "client"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_closed, front, nursery.cancel_scope)
                # Here and not in `handle`, or they would come out of the nursery in a group.
                with suppress(*_LOST):
                    try:
                        await self._relay(channel, front, request, nursery.cancel_scope)
                        ended = "server"
                    except UpstreamFailed as failed:
                        ended = "network"
                        await self._fail(channel, front, failed)
                nursery.cancel_scope.cancel(reason="the exchange is over")
        finally:
            channel.ended(ended)

    async def _relay(
        self, channel: _Channel, front: Front, request: Request, scope: trio.CancelScope
    ) -> None:
        async with self._upstream.ask(
            request.method, request.target, request.headers, request.body
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            channel.answered(response.status_code, headers)
            await front.send_head(response.status_code, headers)
            streamed = headers.get("content-type", "").startswith("text/event-stream")
            body = bytearray()
            try:
                async for data in response.aiter_raw():
                    body += data
                    if streamed:
                        for block in split_blocks(body):
                            channel.sent("server", read_block(block))
                    try:
                        await front.send_body(data)
                    except _LOST:
                        # The next read ends the generators of httpx2, which nothing else would do in good order.
                        scope.cancel(reason="the client went away")
            finally:
                if body:
                    channel.sent("server", content_of(bytes(body)))
            await front.send_end()

    async def _fail(self, channel: _Channel, front: Front, failed: UpstreamFailed) -> None:
        """Tell the client that upstream failed. In the middle of an answer, its end is all there is to tell."""
        if not channel.is_answered:
            self.failures.append(str(failed))
            await front.send_json(502, {"error": {"type": "server_error", "message": str(failed)}})

    async def _websocket(
        self, channel: _Channel, stream: trio.abc.Stream, front: Front, key: bytes, request: Request
    ) -> None:
        try:
            async with self._upstream.connect(request.target, request.headers) as answer:
                if isinstance(answer, Refusal):
                    channel.answered(answer.status, answer.headers)
                    if answer.body:
                        channel.sent("server", content_of(answer.body))
                    channel.ended("server")
                    await front.send_head(answer.status, answer.headers)
                    await front.send_body(answer.body)
                    await front.send_end()
                    return
                theirs, headers = answer
                channel.answered(101, headers)
                await front.accept(key, headers)
                ours = WebSocket(stream, client=False, rest=request.rest)
                await _join(channel, ours, theirs)
        except UpstreamFailed as failed:
            await self._fail(channel, front, failed)


async def _join(channel: _Channel, ours: WebSocket, theirs: WebSocket) -> None:
    """Pass messages on between the client's socket and upstream's until one of them ends; then end the other."""
    ended = False

    async def pass_on(by: Literal["client", "server"], source: WebSocket, sink: WebSocket) -> None:
        nonlocal ended
        try:
            while True:
                message = await source.receive()
                # What crosses a close frame on its way is lost, as it would be without us.
                if not ended:
                    channel.sent(by, content_of(message))
                    await sink.send(message)
        except WebSocketEnded as end:
            if ended:
                nursery.cancel_scope.cancel(reason="both ends are closed")
                return
            ended = True
            # A client without a close frame has still decided it by itself.
            whose: _By = by if end.by == "peer" else "client" if by == "client" else "network"
            channel.ended(whose, end.code, end.reason)
            if end.by == "network":
                nursery.cancel_scope.cancel(reason="an end is lost")
                return
            # The other task waits for the answer to this.
            nursery.cancel_scope.deadline = trio.current_time() + _CLOSE_SECONDS
            await sink.close(end.code, end.reason)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, "client", ours, theirs)
        nursery.start_soon(pass_on, "server", theirs, ours)


async def _cancel_when_closed(front: Front, scope: trio.CancelScope) -> None:
    await front.wait_closed()
    scope.cancel(reason="the client went away")


@final
class _Channel:
    """Writes what happens on one channel, without its secrets."""

    def __init__(
        self, writer: TapeWriter, redaction: Redaction, began: float, number: int, request: Request
    ) -> None:
        self._writer = writer
        self._redaction = redaction
        self._began = began
        self._number = number
        self._secrets = redaction.secrets(request.headers)
        self.is_answered = False
        self.note(
            Asked(
                request.method,
                redaction.of_text(request.target, self._secrets),
                redaction.of_headers(request.headers, self._secrets),
                request.key is not None,
                self._redacted(content_of(request.body)) if request.body else None,
            )
        )

    def note(self, what: What) -> None:
        self._writer.write(TapeLine(trio.current_time() - self._began, self._number, what))

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self._secrets |= self._redaction.secrets(headers)
        self.is_answered = True
        self.note(Answered(status, self._redaction.of_headers(headers, self._secrets)))

    def sent(self, by: Literal["client", "server"], content: Content) -> None:
        self.note(Sent(by, self._redacted(content)))

    def ended(self, by: _By, code: int | None = None, reason: str = "") -> None:
        self.note(Ended(by, code, self._redaction.of_text(reason, self._secrets)))

    def _redacted(self, content: Content) -> Content:
        return self._redaction.of_content(content, self._secrets)


@asynccontextmanager
async def record(
    path: Path,
    *,
    upstream: str,
    redaction: Redaction | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    recorded: dt.datetime | None = None,
    network: Network | None = None,
) -> AsyncIterator[Recorder]:
    """Record what goes by between clients of the yielded proxy and an endpoint.

    The clients send their own credentials, which go upstream and not into the file. The file is replaced when the
    block ends well, and left alone when it raises.

    Args:
        path: the cassette; its folder is made if need be.
        upstream: base URL of the endpoint, such as "https://api.openai.com/v1". What clients ask under /v1 here is
            asked under it.
        redaction: what the cassette must not say; see `Redaction` for what it never says.
        host: the interface to listen on.
        port: 0 for any free one.
        recorded: the time that the header gives; by default the time it is.
        network: how WebSockets are dialled; by default over TCP.

    Raises:
        CassetteError: the extra `triplane[cassette]` is missing, `upstream` is no base URL, or, at the end of the
            block, upstream could not be reached.
        OSError: the address cannot be bound, or the file not written.

    Cancellation closes everything at once and leaves the file that was there. Leaving the block does not wait for
    clients, so they should be closed inside it.
    """
    endpoint = Upstream(upstream, network=network)
    moment = recorded or dt.datetime.now(tz=dt.UTC)
    with TapeWriter(path, upstream=upstream, recorded=moment.isoformat(timespec="seconds")) as writer:
        async with endpoint.opened():
            recorder = Recorder(endpoint, writer, redaction or Redaction())
            async with listening(recorder.handle, host=host, port=port) as recorder.address:
                yield recorder
        if recorder.failures:
            raise CassetteError("the recording is not whole: " + "; ".join(recorder.failures))
