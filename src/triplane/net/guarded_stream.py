"""The stream under a WebSocket: what the peer last did, and whether our own sending is still whole.

WebSocket libraries hide the socket, and with it three facts that decide what may be done with a connection: when the
peer was last heard, whether it is the peer or we who are slow, and whether a frame was cut in half. This wrapper
keeps them. After an interrupted send the stream refuses every further one, since nobody knows how much was written.
"""

from __future__ import annotations

from typing import final

import trio

_MAX_HEAD = 16_384
# More than any honest answer to an upgrade, refusals with a page of HTML included, and what may follow it in one read.
_MAX_HANDSHAKE = 256 * 1024


@final
class GuardedStream(trio.abc.Stream):
    """A byte stream that remembers.

    Attributes:
        last_received: `trio.current_time()` of the last bytes, of the end of our last request, or of the
            construction.
        waiting_since: Since when a read has been waiting for the peer; None while nobody reads, which means that
            silence is ours.
        bytes_received: How many bytes came in.
        bytes_sent: How many bytes were handed to the transport.
        uploading: Whether one of our requests is being written. The peer has every right to be silent meanwhile.
        ended: Set once the peer's end of stream, or an error, was seen.
        head: The first bytes that came in, at most 16 KiB, until `forget_head`.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self._broken = False
        self.last_received = trio.current_time()
        self.waiting_since: float | None = None
        self._heard_nothing_for = 0.0
        self.uploading = False
        self.bytes_received = 0
        self.bytes_sent = 0
        self.ended = trio.Event()
        self.head: bytearray | None = bytearray()

    @property
    def is_broken(self) -> bool:
        """Whether a send was interrupted, so that nothing more can be sent."""
        return self._broken

    def end_upload(self) -> None:
        """Our request is written: from now on the peer's silence counts again."""
        now = trio.current_time()
        self.uploading = False
        self.last_received = now
        self._heard_nothing_for = 0.0
        if self.waiting_since is not None:
            self.waiting_since = now

    def forget_head(self) -> None:
        """Stop keeping the first bytes: the handshake is over."""
        self.head = None

    def silence(self, now: float) -> float:
        """For how many seconds we have listened and the peer, which owed us nothing but signs of life, sent nothing.

        Time in which nobody reads does not count, and what was counted before it is not forgotten: a holder that
        looks in for a moment now and then would otherwise never find out that the peer is dead.
        """
        if self.uploading:
            return 0.0
        since = self.waiting_since
        return self._heard_nothing_for + (0.0 if since is None else now - since)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or be broken for good.

        Raises:
            trio.BrokenResourceError: The transport is broken, or an earlier send was interrupted.
        """
        if self._broken:
            raise trio.BrokenResourceError(
                "an earlier send was interrupted, so this stream is no longer whole"
            )
        whole = False
        try:
            await self._transport.send_all(data)
            whole = True
        finally:
            # Also when cancelled: part of a frame may be on its way, and the next would begin inside it.
            self._broken = self._broken or not whole
        self.bytes_sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive; see `trio.abc.ReceiveStream`. A handshake that grows without end is cut off."""
        if self.head is not None and self.bytes_received > _MAX_HANDSHAKE:
            self.ended.set()
            await trio.lowlevel.checkpoint()
            return b""
        self.waiting_since = trio.current_time()
        try:
            data = await self._transport.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        finally:
            self._heard_nothing_for += trio.current_time() - self.waiting_since
            self.waiting_since = None
        if not data:
            self.ended.set()
            return data
        self.last_received = trio.current_time()
        self._heard_nothing_for = 0.0
        self.bytes_received += len(data)
        if self.head is not None and len(self.head) < _MAX_HEAD:
            self.head += data[: _MAX_HEAD - len(self.head)]
        return data

    async def aclose(self) -> None:
        """Close the transport; see `trio.abc.AsyncResource`."""
        self._broken = True
        self.ended.set()
        await self._transport.aclose()
