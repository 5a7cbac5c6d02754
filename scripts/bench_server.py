"""How many turns a second the local server makes on one core, beside trio-websocket's bare echo server.

Two processes, each on a core of its own: the server, with the `directive` model, and a raw client that does as little
as it can. A turn is one `response.create` and the events that answer it; its frames are counted, and the echo server
sends as many frames of the same size in answer to each message. The rounds of both servers alternate, so that other
load on the machine falls on both alike.

Usage: python scripts/bench_server.py [--rounds N] [--seconds S] [--connections N] [--faults]
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio_websocket

from triplane.server import Drop, serve

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET = 1000
REQUEST = b'{"type":"response.create","model":"directive","store":false,"input":"SAY 1 hello"}'
ECHO_FRAMES = 7
UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


# The servers, each in a process of its own.


async def run_triplane(*, faults: bool) -> None:
    """Serve until killed. With faults, none of which ever strikes, unless the lane has that name."""
    unmet = [Drop(lane="no such lane")] if faults else []
    async with trio.open_nursery() as nursery:
        handle = await nursery.start(partial(serve, faults=unmet))
        print(handle.port, flush=True)


async def run_echo() -> None:
    """Answer each message with as many frames of the same size as a turn has events, one `send_message` for each."""

    async def answer(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        try:
            while True:
                size = int(await connection.get_message())
                message = "x" * size
                for _ in range(ECHO_FRAMES):
                    await connection.send_message(message)
        except trio_websocket.ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(trio_websocket.serve_websocket, answer, "127.0.0.1", 0, None))
        print(server.port, flush=True)


# The client.


def masked(payload: bytes) -> bytes:
    """A client's text frame, masked with zeros, which is as good as any mask here."""
    size = len(payload)
    head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
    return head + bytes(4) + payload


class Connection:
    """One WebSocket, blocking, and no more of the protocol than is needed to count frames."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(UPGRADE)
        self.buffer = bytearray()
        while b"\r\n\r\n" not in self.buffer:
            self.read()
        del self.buffer[: self.buffer.index(b"\r\n\r\n") + 4]

    def read(self) -> None:
        """Wait for more bytes."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("the server closed the connection")
        self.buffer += data

    def frames(self, is_last: Callable[[bytes | bytearray], bool]) -> tuple[int, int]:
        """Read frames up to the last of a turn. Return how many there were, and their bytes."""
        count, start = 0, 0
        while True:
            length = len(self.buffer)
            if length - start >= 4:
                size, head = self.buffer[start + 1], 2
                if size == 126:
                    size, head = struct.unpack_from("!H", self.buffer, start + 2)[0], 4
                elif size == 127:
                    size, head = struct.unpack_from("!Q", self.buffer, start + 2)[0], 10
                if length - start >= head + size:
                    count += 1
                    payload = self.buffer[start + head : start + head + min(size, 40)]
                    start += head + size
                    if is_last(payload):
                        del self.buffer[:start]
                        return count, start
                    continue
            self.read()


class Bench:
    """Asks one server, over several connections in turn, each with one request in flight."""

    def __init__(self, port: int, connections: int, request: bytes, frames: int | None) -> None:
        self.connections = [Connection(port) for _ in range(connections)]
        self.request = masked(request)
        self.frames = frames
        self.counted = 0
        self.seen = 0
        self.bytes = 0

    def is_last(self, payload: bytes | bytearray) -> bool:
        """Tell whether a frame is the last of its turn."""
        if self.frames is None:
            return payload.startswith(b'{"type":"response.completed"')
        self.counted += 1
        return self.counted % self.frames == 0

    def round(self, seconds: float) -> float:
        """Return the turns a second of one round."""
        turns = 0
        for connection in self.connections:
            connection.socket.sendall(self.request)
        begun = time.perf_counter()
        end = begun + seconds
        while (now := time.perf_counter()) < end:
            for connection in self.connections:
                frames, size = connection.frames(self.is_last)
                connection.socket.sendall(self.request)
                self.seen, self.bytes, turns = frames, size, turns + 1
        for connection in self.connections:
            connection.frames(self.is_last)
        return turns / (now - begun)


def start(kind: str, core: int) -> tuple[subprocess.Popen[str], int]:
    """Start a server on this core. Return its process and its port."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", kind, "--core", str(core)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def cpu(process: subprocess.Popen[str]) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(name: str, rates: list[float], more: str) -> None:
    """Print one line."""
    low, middle, high = statistics.quantiles(rates, n=4)
    spread = f"quartiles {low:6.0f} to {high:6.0f}   least {min(rates):6.0f}   most {max(rates):6.0f}"
    print(f"  {name:<26} median {middle:6.0f} turns/s   {spread}   {more}")


def compare(options: argparse.Namespace) -> None:
    """Measure, and print what was measured."""
    cores = sorted(os.sched_getaffinity(0))
    server_core, client_core = cores[0], cores[-1]
    os.sched_setaffinity(0, {client_core})
    kinds = ["triplane", "echo", *(["faulty"] if options.faults else [])]
    processes, benches = {}, {}
    try:
        for kind in kinds:
            processes[kind], port = start(kind, server_core)
            if kind == "echo":
                first = benches["triplane"]
                first.round(0.2)
                size = first.bytes // first.seen
                benches[kind] = Bench(port, options.connections, str(size).encode(), ECHO_FRAMES)
            else:
                benches[kind] = Bench(port, options.connections, REQUEST, None)
            benches[kind].round(0.3)
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        cpus = dict.fromkeys(kinds, 0.0)
        for _ in range(options.rounds):
            for kind in kinds:
                before = cpu(processes[kind])
                rates[kind].append(benches[kind].round(options.seconds))
                cpus[kind] += cpu(processes[kind]) - before
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    print(
        f"Python {sys.version.split()[0]}, trio {trio.__version__}, {options.connections} connections, "
        f"{options.rounds} rounds of {options.seconds} s in turn, server on core {server_core}, "
        f"client on core {client_core}"
    )
    names = {
        "triplane": "triplane, directive",
        "echo": "trio-websocket, echo",
        "faulty": "triplane, a fault unmet",
    }
    for kind in kinds:
        bench = benches[kind]
        busy = cpus[kind] / options.rounds / options.seconds
        per_turn = 1e6 * cpus[kind] / sum(rate * options.seconds for rate in rates[kind])
        more = f"{bench.seen} frames, {bench.bytes} bytes a turn   CPU {per_turn:.0f} µs a turn, {busy:.0%}"
        report(names[kind], rates[kind], more)
    ratio = statistics.median(a / b for a, b in zip(rates["triplane"], rates["echo"], strict=True))
    median = statistics.median(rates["triplane"])
    print(f"  triplane / echo: median {ratio:.2f} of the turns")
    print(f"  target: at least {TARGET} turns/s: {'met' if median >= TARGET else 'MISSED'}")
    if median < TARGET:
        raise SystemExit(1)


def main() -> None:
    """Measure, or be one of the servers that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument(
        "--faults", action="store_true", help="also measure a server with a fault that never strikes"
    )
    parser.add_argument("--serve", choices=["triplane", "echo", "faulty"], help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is None:
        compare(options)
        return
    os.sched_setaffinity(0, {options.core})
    if options.serve == "echo":
        trio.run(run_echo)
    else:
        trio.run(partial(run_triplane, faults=options.serve == "faulty"))


if __name__ == "__main__":
    main()
