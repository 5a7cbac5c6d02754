"""How long a run needs to go on after its connection was lost, on loopback: from the drop to the resumed create.

Two processes and real sockets. The server makes a connection fail in the middle of every other response, and says, by
its own clock, when the last byte of that response left it and when the request arrived that repeats it: in between lie
noticing the loss, a TCP connection, the upgrade, and a request with the whole conversation. Only the server's clock is
read. The ways in which a connection fails take turns, so that other load on the machine falls on all alike.

With ``--cpu`` both sides run in one process, on a clock that counts nothing but the CPU time of that process. Nothing
sleeps on the way, so that is what the same takes on a machine that does nothing else, measured on one that does.

Usage: python scripts/bench_recovery.py [--rounds N] [--items N] [--cpu]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import trio

import triplane
from triplane.server import CloseSocket, Drop, ErrorEvent, Reset, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triplane.server import Fault, JournalEntry

MEDIAN_MS = 30.0
P99_MS = 150.0

# The first turn of a run is answered; the second one fails after so many events and is asked for again.
AFTER_EVENTS = 5
WAYS: dict[str, Callable[..., Fault]] = {
    "TCP closed": Drop,
    "TCP reset": Reset,
    "close 1001": partial(CloseSocket, code=1001),
    "connection limit": partial(ErrorEvent, code="websocket_connection_limit_reached", status=400),
}


def faults(rounds: int) -> list[Fault]:
    """What goes wrong. The responses of each round are the call, the answer that is lost, and the answer."""
    ways = list(WAYS.values())
    return [ways[nth % len(ways)](AFTER_EVENTS, nth=3 * nth + 2) for nth in range(rounds * len(ways))]


def gaps_in(entries: Sequence[JournalEntry]) -> list[float]:
    """For each loss, the seconds from the last byte of what was lost to the request that repeats it."""
    gaps: list[float] = []
    last_sent = 0.0
    arrivals = 0
    for entry in entries:
        if entry.direction == "out" and entry.kind == "message":
            last_sent = entry.time
        elif entry.direction == "in" and entry.kind == "message":
            if arrivals % 3 == 2:
                gaps.append(entry.time - last_sent)
            arrivals += 1
    return gaps


# The server, in a process of its own.


async def run_server(rounds: int) -> None:
    """Serve until standard input ends, then print what was seen: for each loss, its way and seconds to the resumption."""
    async with trio.open_nursery() as nursery:
        handle = await nursery.start(partial(serve, faults=faults(rounds), max_journal=1 << 30))
        print(handle.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        print(json.dumps(gaps_in(handle.journal.entries)), flush=True)
        nursery.cancel_scope.cancel()


# The engine.


@triplane.tool(effect="read")
async def look() -> str:
    """Look."""
    return "seen"


async def run_engine(port: int, rounds: int, items: int) -> None:
    """As many runs as there are losses, one after the other."""
    agent = triplane.Agent("directive", "Answer.", [look])
    history = [{"type": "message", "role": "user", "content": "What was said before. " * 10}] * (items - 1)
    question = {"type": "message", "role": "user", "content": "CALL look {}\nSAY 20 word "}
    async with triplane.open_engine(triplane.Endpoint.local(port)) as engine:
        for _ in range(rounds):
            result = await engine.run(agent, [*history, question])
            assert (result.status, result.replays) == ("completed", 1), result


# Both in one process.


class CpuClock(trio.abc.Clock):
    """Seconds of this process on a CPU."""

    def start_clock(self) -> None:
        """Nothing."""

    def current_time(self) -> float:
        return time.process_time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()


async def run_both(rounds: int, items: int) -> list[float]:
    """Return what the server saw."""
    async with trio.open_nursery() as nursery:
        handle = await nursery.start(partial(serve, faults=faults(rounds), max_journal=1 << 30))
        await run_engine(handle.port, rounds * len(WAYS), items)
        gaps = gaps_in(handle.journal.entries)
        nursery.cancel_scope.cancel()
    return gaps


def report(name: str, gaps: list[float]) -> tuple[float, float]:
    """Print one line. Return the median and the 99th percentile in milliseconds."""
    cuts = statistics.quantiles((1000 * gap for gap in gaps), n=100, method="inclusive")
    print(
        f"  {name:<18} median {cuts[49]:6.1f} ms   quartiles {cuts[24]:6.1f} to {cuts[74]:6.1f}"
        f"   99th percentile {cuts[98]:6.1f}   most {1000 * max(gaps):6.1f}   of {len(gaps)}"
    )
    return cuts[49], cuts[98]


def measure_in_two(rounds: int, items: int) -> list[float]:
    """Run both, the server in a process of its own, and return what it saw."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--rounds", str(rounds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        trio.run(run_engine, port, rounds * len(WAYS), items)
        gaps: list[float] = json.loads(server.communicate("")[0])
    finally:
        server.kill()
        server.wait()
    return gaps


def measure(rounds: int, items: int, *, cpu: bool) -> None:
    """Run both, and print what was measured."""
    gaps = trio.run(run_both, rounds, items, clock=CpuClock()) if cpu else measure_in_two(rounds, items)
    assert len(gaps) == rounds * len(WAYS)
    print(
        f"Python {sys.version.split()[0]}, trio {trio.__version__}, loopback,"
        f" {'CPU time of one process' if cpu else 'two processes'},"
        f" {items} items of conversation, {rounds} losses of each kind in turn"
    )
    for place, name in enumerate(WAYS):
        report(name, gaps[place :: len(WAYS)])
    median, p99 = report("all", gaps)
    met = median <= MEDIAN_MS and p99 <= P99_MS
    print(
        f"  target: median at most {MEDIAN_MS:g} ms, 99th percentile {P99_MS:g}: {'met' if met else 'MISSED'}"
    )
    if not met:
        raise SystemExit(1)


def main() -> None:
    """Measure, or be the server."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=250, help="losses of each kind")
    parser.add_argument("--items", type=int, default=20, help="items of the conversation that is sent again")
    parser.add_argument(
        "--cpu", action="store_true", help="count CPU time only, for a machine that does other things as well"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        trio.run(run_server, options.rounds)
    else:
        measure(options.rounds, options.items, cpu=options.cpu)


if __name__ == "__main__":
    main()
