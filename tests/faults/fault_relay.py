"""Carries bytes between two streams through what a link does to them. Any streams: sockets, or pairs in memory."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import trio
import trio.testing
from fault_toxics import Link, Parcel, Stage, Then, row

# With the buffer below about what TCP keeps on its way: who sends faster than the link carries has to wait.
_CHUNK = 4_096
_CHUNKS_ON_THEIR_WAY = 16


class MemoryEnd(trio.abc.HalfCloseableStream):
    """One end of a pair of memory streams that, unlike Trio's, can be reset."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self._stream = stream
        self._was_reset = False
        self.peer: MemoryEnd
        self.is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if not data and self._was_reset:
            raise trio.BrokenResourceError("the peer has reset the connection")
        return data

    def reset(self) -> None:
        """The peer will find, behind what is on its way already, that the connection is broken."""
        self.peer._was_reset = True

    async def aclose(self) -> None:
        self.is_closed = True
        await self._stream.aclose()


def memory_pair(
    make: Callable[[], tuple[Any, Any]] = trio.testing.memory_stream_pair,
) -> tuple[MemoryEnd, MemoryEnd]:
    """Two connected streams in memory.

    Args:
        make: Trio's function for it: with `memory_stream_pair` nobody who sends ever waits, and with
            `lockstep_stream_pair` until everything was received.
    """
    here, there = (MemoryEnd(stream) for stream in make())
    here.peer, there.peer = there, here
    return here, there


async def relay(
    client: trio.abc.HalfCloseableStream, server: trio.abc.HalfCloseableStream, link: Link
) -> None:
    """Carry bytes both ways until both have ended or the connection is reset; then close both streams.

    A frozen link, and one that has swallowed an end, are there until this is cancelled.
    """
    verdict: Then = "end"

    async def direction(source: trio.abc.Stream, stage: Stage, target: trio.abc.HalfCloseableStream) -> None:
        nonlocal verdict
        then = await _carry(source, stage, target)
        if then != "end":
            verdict = then
            nursery.cancel_scope.cancel(reason=f"the link ends in a {then}")

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(direction, client, row(link.up), server)
            nursery.start_soon(direction, server, row(link.down), client)
        if verdict == "freeze":
            await trio.sleep_forever()
    finally:
        for stream in (client, server):
            if verdict == "reset":
                _prepare_reset(stream)
            await trio.aclose_forcefully(stream)


async def _carry(source: trio.abc.Stream, stage: Stage, target: trio.abc.HalfCloseableStream) -> Then:
    entrance, exit_ = trio.open_memory_channel[Sequence[Parcel]](_CHUNKS_ON_THEIR_WAY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_take, source, stage, entrance)
        then = await _deliver(exit_, target)
        nursery.cancel_scope.cancel(reason="nothing more can be delivered")
    return then


async def _take(
    source: trio.abc.Stream, stage: Stage, entrance: trio.MemorySendChannel[Sequence[Parcel]]
) -> None:
    with entrance:
        parcel = Parcel(trio.current_time())
        while True:
            await entrance.send(list(stage(parcel)))
            if parcel.then != "more":
                return
            try:
                data = bytes(await source.receive_some(_CHUNK))
                parcel = Parcel(trio.current_time(), data, "more" if data else "end")
            except trio.BrokenResourceError:
                parcel = Parcel(trio.current_time(), then="reset")


async def _deliver(
    exit_: trio.MemoryReceiveChannel[Sequence[Parcel]], target: trio.abc.HalfCloseableStream
) -> Then:
    with exit_:
        async for parcels in exit_:
            for parcel in parcels:
                if parcel.at > trio.current_time():
                    await trio.sleep_until(parcel.at)
                try:
                    if parcel.data:
                        await target.send_all(parcel.data)
                    if parcel.then == "end":
                        await target.send_eof()
                except trio.BrokenResourceError:
                    return "reset"
                if parcel.then != "more":
                    return parcel.then
    # The end was swallowed.
    return "end"


def _prepare_reset(stream: trio.abc.Stream) -> None:
    """Have the closing of a stream seen as a reset by its peer."""
    if isinstance(stream, MemoryEnd):
        stream.reset()
    elif isinstance(stream, trio.SocketStream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
