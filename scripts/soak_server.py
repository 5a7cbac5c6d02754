"""What two thousand idle connections cost the local server, and clients that are slow, half gone or noisy.

The server is a process of its own, on loopback; what is printed is its resident memory, and how long a turn of a
well-behaved client takes meanwhile. It fails when a connection costs more than `MAX_IDLE`, when the memory of
ill-behaved clients is more than `MAX_BAD` each, or when the well-behaved one is not answered.

Usage: python scripts/soak_server.py [--idle N] [--bad N]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import orjson
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "server"))

from server_fuzz import UPGRADE, frame

from triplane.server import serve

MAX_IDLE = 100 * 1024
MAX_BAD = 400 * 1024
SEND_TIMEOUT = 15


async def run_server() -> None:
    """Serve until killed."""
    async with trio.open_nursery() as nursery:
        handle = await nursery.start(partial(serve, send_timeout=SEND_TIMEOUT, max_journal=0))
        print(handle.port, flush=True)


class Server:
    """The process that is looked at."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.before = self.rss()

    def rss(self) -> int:
        """Bytes in memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def sockets(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    async def connect(self) -> trio.SocketStream:
        """Open a WebSocket."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        await stream.send_all(UPGRADE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await stream.receive_some(4096)
        assert answer.startswith(b"HTTP/1.1 101")
        return stream


def request(text: str) -> bytes:
    """A create in a frame."""
    create = {"type": "response.create", "model": "directive", "store": False, "input": text}
    return frame(orjson.dumps(create))


async def turn(stream: trio.SocketStream) -> float:
    """Seconds of one turn."""
    begin = time.perf_counter()
    await stream.send_all(request("hello"))
    data = b""
    with trio.fail_after(20):
        while b'{"type":"response.completed"' not in data or not data.endswith(b"}}"):
            data = data[-20_000:] + await stream.receive_some(65536)
    return time.perf_counter() - begin


def report(server: Server, what: str, count: int = 0, since: int = 0, seconds: float = 0.0) -> None:
    """Print one line."""
    rss = server.rss()
    each = f"{(rss - since) / count / 1024:6.1f} KiB each" if count else ""
    took = f"   a turn takes {seconds * 1e3:.1f} ms" if seconds else ""
    print(f"  {what:<52} RSS {rss / 2**20:6.1f} MiB   {server.sockets():5} fds   {each}{took}", flush=True)


async def soak(server: Server, idle: int, bad: int) -> bool:
    """Do it; tell whether all was well."""
    fine = True
    witness = await server.connect()
    await turn(witness)
    base = server.rss()
    report(server, "one connection, after a turn", seconds=await turn(witness))

    streams = [await server.connect() for _ in range(idle)]
    report(server, f"and {idle} idle WebSockets", idle, base, await turn(witness))
    fine &= server.rss() - base <= MAX_IDLE * idle
    idle_rss = server.rss()

    slow = [await server.connect() for _ in range(bad)]
    for stream in slow:
        await stream.send_all(request(f"SAY 100000 {'x' * 80}"))
    await trio.sleep(5)
    report(server, f"and {bad} that asked for 20 MB and do not read", bad, idle_rss, await turn(witness))
    fine &= server.rss() - idle_rss <= MAX_BAD * bad

    half = [await server.connect() for _ in range(bad)]
    for stream in half:
        await stream.send_all(frame(b"x" * 4000)[:-1000])
    report(server, f"and {bad} in the middle of a frame, silent", 2 * bad, idle_rss, await turn(witness))

    await trio.sleep(SEND_TIMEOUT)
    report(server, "after the time that a write may take", seconds=await turn(witness))
    for stream in (*streams, *slow, *half):
        await trio.aclose_forcefully(stream)
    await trio.sleep(3)
    report(server, "after all but one have gone", seconds=await turn(witness))
    fine &= server.sockets() < 40

    again = server.rss()
    streams = [await server.connect() for _ in range(idle)]
    report(server, f"and {idle} idle WebSockets once more", seconds=await turn(witness))
    fine &= server.rss() - max(again, idle_rss) <= 8 * 2**20
    for stream in (*streams, witness):
        await trio.aclose_forcefully(stream)
    return fine


def main() -> int:
    """Look, or be looked at."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--bad", type=int, default=100)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.serve:
        trio.run(run_server)
        return 0
    server = Server()
    try:
        print(f"Python {sys.version.split()[0]}, trio {trio.__version__}")
        report(server, "the server, freshly started")
        fine = trio.run(soak, server, options.idle, options.bad)
    finally:
        server.process.kill()
        server.process.wait()
    print("all was well" if fine else "FAILED")
    return not fine


if __name__ == "__main__":
    sys.exit(main())
