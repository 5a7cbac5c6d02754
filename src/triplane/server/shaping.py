"""A network that is slow: latency and bandwidth, on a stream that has neither."""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["shaped"]

# At most this much of a second passes between two pieces of a write.
_PIECE_SECONDS: Final = 0.05
_PIECE_BYTES: Final = (64, 65536)

# How much may be on its way to us.
_MAX_ARRIVING: Final = 1024 * 1024


@asynccontextmanager
async def shaped(
    stream: trio.abc.Stream, *, latency: float, bandwidth: float | None
) -> AsyncGenerator[trio.abc.Stream, None]:
    """Have `stream` as it would be behind such a network; it is the stream itself if nothing is asked for.

    The way there and the way back are both waited for where bytes come in: for a client that asks and waits for the
    answer there is no difference. Closing `stream` stays with the caller. Not for several tasks that receive.

    Args:
        stream: what is behind the network.
        latency: seconds from one side to the other.
        bandwidth: bytes per second that are sent; None for no limit.

    Entering is not a checkpoint. A cancellation of the block reaches it as if this were not here.
    """
    if not latency and bandwidth is None:
        yield stream
        return
    network = _SlowStream(stream, round_trip=2 * latency, bandwidth=bandwidth)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.keep_receiving)
        try:
            yield network
        except Exception as exc:  # noqa: BLE001 - raised again once the nursery is closed, as it was
            failure = exc
        finally:
            network.scope.cancel()
    if failure is not None:
        raise failure


@final
class _SlowStream(trio.abc.HalfCloseableStream):
    def __init__(self, transport: trio.abc.Stream, *, round_trip: float, bandwidth: float | None) -> None:
        # Shielded: an answer to a close frame has to arrive even when its reader, shielded itself, is cancelled
        # from outside. The end of the block ends it.
        self.scope = trio.CancelScope(shield=True)
        self._transport = transport
        self._round_trip = round_trip
        self._bandwidth = bandwidth
        self._arriving: deque[tuple[float, bytes | bytearray | Exception]] = deque()
        self._arriving_bytes = 0
        self._changed = trio.Event()

    async def keep_receiving(self) -> None:
        """Note when bytes set out, until there are no more."""
        with self.scope:
            while True:
                while self._arriving_bytes > _MAX_ARRIVING:
                    await self._wait_changed()
                try:
                    data: bytes | bytearray | Exception = await self._transport.receive_some()
                except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                    data = exc
                self._arriving.append((trio.current_time() + self._round_trip, data))
                self._changed.set()
                if isinstance(data, Exception) or not data:
                    return
                self._arriving_bytes += len(data)

    async def _wait_changed(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream`."""
        while not self._arriving:
            await self._wait_changed()
        due, data = self._arriving[0]
        await trio.sleep_until(due)
        if isinstance(data, Exception):
            raise data
        if not data:
            return data
        self._arriving.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            self._arriving.appendleft((due, data[max_bytes:]))
            data = data[:max_bytes]
        self._arriving_bytes -= len(data)
        self._changed.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        if self._bandwidth is None:
            await self._transport.send_all(data)
            return
        least, most = _PIECE_BYTES
        size = min(max(int(self._bandwidth * _PIECE_SECONDS), least), most)
        for start in range(0, len(data), size):
            piece = bytes(data[start : start + size])
            await trio.sleep(len(piece) / self._bandwidth)
            await self._transport.send_all(piece)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream`; nothing happens where the transport cannot."""
        if isinstance(self._transport, trio.abc.HalfCloseableStream):
            await self._transport.send_eof()
        else:
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._transport.aclose()
