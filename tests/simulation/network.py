"""What lies between engine and server? Pipes with a limited capacity, which break at a byte."""

from __future__ import annotations

import math
import socket
from collections import deque
from typing import TYPE_CHECKING

import trio

from .scenario import BlackHole, HangDial, Latency, RefuseDial, ResetAt, Slices, SlowDial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from triplane.server import Server

    from .scenario import NetworkFault

CAPACITY = 65_536
"""Bytes that a pipe holds before whoever sends has to wait, as with TCP."""


class Pipe:
    """One direction of a connection.

    Bytes that were sent arrive after `latency` seconds, in pieces of at most `piece()` bytes. From byte `hole` on they
    arrive no more, and nobody is told. When byte `cut` has been sent, `on_cut` is called.
    """

    def __init__(self) -> None:
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._sent = 0
        self._changed = trio.lowlevel.ParkingLot()
        self.latency = 0.0
        self.hole = math.inf
        self.cut = math.inf
        self.on_cut: Callable[[], None] = lambda: None
        self.piece: Callable[[], int] = lambda: CAPACITY
        self.broken = False
        self.sender_closed = False
        self.receiver_closed = False

    def wake(self) -> None:
        self._changed.unpark_all()

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while data:
            if self.sender_closed:
                raise trio.ClosedResourceError
            if self.broken or self.receiver_closed:
                raise trio.BrokenResourceError
            room = CAPACITY - self._held
            if not room:
                await self._changed.park()
                continue
            part, data = data[:room], data[room:]
            if self._sent + len(part) >= self.cut:
                part = part[: int(self.cut) - self._sent]
                self._take(part)
                self.on_cut()
                raise trio.BrokenResourceError
            self._take(part)

    def _take(self, part: bytes) -> None:
        arriving = part[: max(0, int(min(self.hole, 1 << 60)) - self._sent)]
        self._sent += len(part)
        self._held += len(part)
        if arriving:
            self._arriving.append((trio.current_time() + self.latency, arriving))
            self.wake()

    async def receive(self, max_bytes: int | None) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            if self.receiver_closed:
                raise trio.ClosedResourceError
            if self.broken:
                raise trio.BrokenResourceError
            if not self._arriving:
                if self.sender_closed and self._sent <= self.hole:
                    return b""
                await self._changed.park()
                continue
            due, data = self._arriving[0]
            if due > trio.current_time():
                # Waiting here and not at the other end: whoever is cancelled takes nothing with him.
                await trio.sleep_until(due)
                continue
            self._arriving.popleft()
            most = min(self.piece(), max_bytes or CAPACITY)
            if len(data) > most:
                self._arriving.appendleft((due, data[most:]))
                data = data[:most]
            self._held -= len(data)
            self.wake()
            return data


class End(trio.abc.Stream):
    """One end of a connection."""

    def __init__(self, outgoing: Pipe, incoming: Pipe) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self.closed = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._outgoing.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._incoming.receive(max_bytes)

    async def aclose(self) -> None:
        self.closed += 1
        self._outgoing.sender_closed = self._incoming.receiver_closed = True
        self._outgoing.wake()
        self._incoming.wake()
        await trio.lowlevel.checkpoint()


class SimulatedNetwork:
    """Memory instead of TCP.

    Attributes:
        ends: The engine's ends of the connections, in the order of their opening.
        served: The server's ends, likewise.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        server: Server,
        faults: Iterable[NetworkFault],
        rng: Random,
        tell: Callable[[str], None],
    ) -> None:
        self._nursery = nursery
        self._server = server
        self._faults = tuple(faults)
        self._rng = rng
        self._tell = tell
        self._dials = 0
        self.ends: list[End] = []
        self.served: list[End] = []
        self._pipes: list[tuple[Pipe, Pipe]] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self._dials += 1
        striking = [fault for fault in self._faults if fault.nth == self._dials]
        for fault in striking:
            match fault:
                case RefuseDial(dns=True):
                    raise socket.gaierror(-2, "no such name, in this simulation")
                case RefuseDial():
                    raise ConnectionRefusedError("refused, in this simulation")
                case HangDial():
                    await trio.sleep_forever()
                case SlowDial(seconds=seconds):
                    await trio.sleep(seconds)
        up, down = Pipe(), Pipe()
        ours, theirs = End(up, down), End(down, up)
        number = len(self.ends) + 1
        for pipe in (up, down):
            pipe.on_cut = lambda: self.cut(number)
        for fault in striking:
            self._prepare(fault, up, down)
        self.ends.append(ours)
        self.served.append(theirs)
        self._pipes.append((up, down))
        self._tell(f"network: connection {number} opened")
        self._nursery.start_soon(self._server.handle, theirs, name=f"server of connection {number}")
        return ours

    def _prepare(self, fault: NetworkFault, up: Pipe, down: Pipe) -> None:
        match fault:
            case ResetAt(byte=byte, up=is_up):
                (up if is_up else down).cut = byte
            case BlackHole(byte=byte, up=is_up):
                (up if is_up else down).hole = byte
            case Slices(most=most):
                for pipe in (up, down):
                    pipe.piece = lambda: self._rng.randint(1, most)
            case Latency(seconds=seconds):
                up.latency = down.latency = seconds

    def cut(self, number: int) -> None:
        """Reset the connection of this number, counted from 1. Not a checkpoint."""
        self._tell(f"network: connection {number} reset")
        for pipe in self._pipes[number - 1]:
            pipe.broken = True
            pipe.wake()

    def cut_latest(self) -> None:
        """Reset the connection that was opened last, if there is one."""
        if self.ends:
            self.cut(len(self.ends))
