"""What a message costs on each wire: processor time beside a bare Trio stream that reads the same bytes.

    python scripts/bench_wires.py [--rounds 9]

A process of its own sends the frames, and only the reader's time is counted, in rounds in which each way has its turn,
with the garbage collector off as `timeit` has it:

* bare: `receive_some` in a loop, until the bytes have come;
* each wire: `Connection.receive` in a loop, until the messages have come, as the engine does it.

Shown are medians over the rounds, and quartiles in brackets. Ratios are taken within each round, so that a machine that
is slow for a while is slow for all.
"""

from __future__ import annotations

import argparse
import gc
import platform
import socket
import statistics
import struct
import subprocess
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, Request

from triplane import Endpoint, EngineOptions
from triplane.net.connection import Connection
from triplane.net.dial import Dialler, TcpNetwork

if TYPE_CHECKING:
    from collections.abc import Iterable

WIRES = ("websockets", "trio-websocket")
OPTIONS = EngineOptions()


class Case(NamedTuple):
    """What is sent."""

    name: str
    size: int
    count: int
    gap: float
    """Seconds between two messages; 0 sends them as fast as they are taken."""

    @property
    def query(self) -> str:
        return f"size={self.size}&count={self.count}&gap={self.gap}"


CASES = (
    Case("150 bytes, bulk", 150, 20_000, 0),
    Case("150 bytes, one every 0.3 ms", 150, 1_000, 0.0003),
    Case("64 KiB, bulk", 65_536, 300, 0),
)


# --- the process that sends


def frame(size: int) -> bytes:
    """One text message."""
    if size < 126:
        header = struct.pack("!BB", 0x81, size)
    elif size < 65_536:
        header = struct.pack("!BBH", 0x81, 126, size)
    else:
        header = struct.pack("!BBQ", 0x81, 127, size)
    return header + b"x" * size


def send(client: socket.socket) -> None:
    """Shake hands, wait for a word, send what the request's query asks for."""
    protocol = WSConnection(ConnectionType.SERVER)
    request = None
    while request is None:
        protocol.receive_data(client.recv(65_536))
        request = next((event for event in protocol.events() if isinstance(event, Request)), None)
    client.sendall(protocol.send(AcceptConnection()))
    query = {name: float(values[0]) for name, values in parse_qs(urlsplit(request.target).query).items()}
    client.recv(65_536)
    one, count, gap = frame(int(query["size"])), int(query["count"]), query["gap"]
    if gap:
        for _ in range(count):
            client.sendall(one)
            time.sleep(gap)
    else:
        group = max(1, 65_536 // len(one))
        for start in range(0, count, group):
            client.sendall(one * min(group, count - start))
    client.recv(65_536)


def serve() -> None:
    """Serve one client after the other; print the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _address = listener.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                send(client)


# --- the reader, whose time counts


async def read_bare(case: Case, port: int) -> float:
    """The bytes, and nothing of what they mean."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"GET /?{case.query} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await stream.receive_some()
        await stream.send_all(b"go")
        left = len(frame(case.size)) * case.count
        began = time.process_time()
        while left:
            left -= len(await stream.receive_some())
        return time.process_time() - began


async def read_messages(case: Case, port: int, wire: str) -> float:
    """The messages, as the engine gets them."""
    endpoint = Endpoint(f"ws://127.0.0.1:{port}/v1/responses?{case.query}", wire=wire, proxy=None)  # type: ignore[arg-type]
    connection = Connection("bench", endpoint, OPTIONS)
    opened = trio.Event()

    def on_open() -> None:
        connection.begin_use()
        opened.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: connection.run(Dialler(TcpNetwork(), OPTIONS, {}), on_open=on_open))
        await opened.wait()
        await connection.send("go")
        left = case.count
        began = time.process_time()
        while left:
            left -= len(await connection.receive())
        took = time.process_time() - began
        nursery.cancel_scope.cancel()
    return took


def measure(case: Case, port: int) -> dict[str, float]:
    """Microseconds for a message, each way once."""
    took: dict[str, float] = {}
    for way in ("bare", *WIRES):
        gc.collect()
        gc.disable()
        seconds = (
            trio.run(read_bare, case, port) if way == "bare" else trio.run(read_messages, case, port, way)
        )
        gc.enable()
        took[way] = seconds / case.count * 1e6
    return took


def spread(values: Iterable[float]) -> str:
    """The median, with quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3g} [{low:.3g} - {high:.3g}]"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return
    names = ("trio", "trio-websocket", "wsproto", "websockets")
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names))
    print("| messages | way | microseconds for one | x bare |\n|---|---|---|---|")
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            for case in CASES:
                measure(case, port)
                rounds = [measure(case, port) for _ in range(arguments.rounds)]
                for way in ("bare", *WIRES):
                    ratios = spread(each[way] / each["bare"] for each in rounds)
                    microseconds = spread(each[way] for each in rounds)
                    name = case.name if way == "bare" else ""
                    print(
                        f"| {name} | {way} | {microseconds} | {'1' if way == 'bare' else ratios} |",
                        flush=True,
                    )
        finally:
            server.kill()


if __name__ == "__main__":
    main()
