"""What httpcore2 gets as its network: streams that our own dialler opens.

So HTTP goes through the same proxies and the same TLS context as WebSockets, fails at the same stages with the same
words, and runs on memory streams in tests. httpcore2 has the part of httpx that is wanted here, requests over
connections that are kept open, and unlike httpx lets its network be chosen. Redirects, credentials and compression,
which httpx adds to it, are decided by other rules here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import httpcore2
import trio

from .guarded_stream import GuardedStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from .dial import Dialler
    from .endpoint import Endpoint


@final
class DialledNetwork(httpcore2.AsyncNetworkBackend):
    """Opens streams to one endpoint, TLS included, whatever host it is asked for. Counts what goes over them.

    Attributes:
        on_write: Called before something is written.
    """

    def __init__(self, dialler: Dialler, endpoint: Endpoint) -> None:
        self._dialler = dialler
        self._endpoint = endpoint
        self._approach = dialler.approach(endpoint)
        self._ahead: _Stream | None = None
        self._closed_bytes = (0, 0)
        self._streams: list[_Stream] = []
        self.on_write: Callable[[], None] = _ignore

    @property
    def bytes_up(self) -> int:
        """Bytes sent so far, heads included."""
        return self._closed_bytes[0] + sum(each.guarded.bytes_sent for each in self._streams)

    @property
    def bytes_down(self) -> int:
        """Bytes received so far, likewise."""
        return self._closed_bytes[1] + sum(each.guarded.bytes_received for each in self._streams)

    def silence(self, now: float) -> float:
        """For how many seconds the server, and not we, has been silent."""
        return max((each.guarded.silence(now) for each in self._streams), default=0.0)

    async def dial_ahead(self) -> None:
        """Open the stream that the first request goes over.

        Raises:
            ConnectFailed: See `Dialler.dial`.
        """
        # Without a key nothing can be asked, so nobody need be dialled.
        await self._approach.credentials.current()
        self._ahead = await self._dial()

    async def connect_tcp(self, *_args: Any, **_options: Any) -> httpcore2.AsyncNetworkStream:
        """The stream that was opened ahead, else a new one. What httpcore2 would have us do is the endpoint's to say.

        Raises:
            ConnectFailed: See `Dialler.dial`.
        """
        await trio.lowlevel.checkpoint()
        ahead, self._ahead = self._ahead, None
        return ahead or await self._dial()

    async def aclose(self) -> None:
        """Close what was opened ahead and not used. It is closed even if this is cancelled."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await ahead.aclose()
        else:
            await trio.lowlevel.checkpoint()

    async def _dial(self) -> _Stream:
        await self._approach.turn()
        stream = _Stream(await self._dialler.dial(self._endpoint), self)
        self._streams.append(stream)
        return stream

    def forget(self, stream: _Stream) -> None:
        """Keep what was counted on a stream, and not the stream. Idempotent. Not a checkpoint."""
        if stream in self._streams:
            self._streams.remove(stream)
            up, down = self._closed_bytes
            self._closed_bytes = (up + stream.guarded.bytes_sent, down + stream.guarded.bytes_received)


def _ignore() -> None:
    pass


@final
class _Stream(httpcore2.AsyncNetworkStream):
    """One of our streams in the words of httpcore2. Deadlines are the callers' scopes, so `timeout` is always None."""

    def __init__(self, stream: trio.abc.Stream, network: DialledNetwork) -> None:
        self.guarded = GuardedStream(stream)
        self.guarded.forget_head()
        self._raw = stream
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109  # theirs
        try:
            return bytes(await self.guarded.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109  # theirs
        self._network.on_write()
        try:
            await self.guarded.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._network.forget(self)
        await trio.aclose_forcefully(self.guarded)

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return None
        if self.guarded.ended.is_set():
            return True
        # What can be read on a connection that nobody has asked anything is its end: it is not used again.
        stream = self._raw
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        return isinstance(stream, trio.SocketStream) and stream.socket.is_readable()
