"""What a ledger on disk costs: `nox -s bench -- ledger`.

CPU time of the whole process, threads included, each measure interleaved with the same on a ledger in memory.
What is wanted holds for an idle machine: where others work as well, their cache misses are counted here. With `--check`
the exit status is 1 if something is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import triplane
from triplane.core.outcome import ToolOutcome
from triplane.core.records import FramesReceived, RequestSent, RunEnded, RunStarted, ToolFinished, ToolStarted
from triplane.core.reducer import RunReducer
from triplane.server import Server
from triplane.testing import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNS = 50
# What is wanted, everything that a run does with its log included: microseconds, a share, seconds, megabytes.
TURN, EVENT, THROUGHPUT, REPLAY_SECONDS, REPLAY_MEMORY = 150, 3, 0.7, 10, 200


def delta(number: int) -> str:
    return json.dumps(
        {
            "type": "response.output_text.delta",
            "sequence_number": number,
            "item_id": "msg_0123456789abcdef0123456789abcdef",
            "output_index": 0,
            "content_index": 0,
            "delta": "some words ",
            "logprobs": [],
            "obfuscation": "x" * 12,
        }
    )


# 14 events and 5.7 kB a turn, in three reads.
EVENTS = [delta(number) for number in range(13)] + ["{" + " " * 2_900 + '"type":"response.completed"}']
READS = (tuple(EVENTS[:5]), tuple(EVENTS[5:10]), tuple(EVENTS[10:]))
OUTCOME = ToolOutcome("ok", "done", None, 0.1, 4, 4)


@asynccontextmanager
async def opened(kind: str, sync: Any) -> AsyncIterator[triplane.Ledger]:
    if kind == "memory":
        yield triplane.MemoryLedger()
        return
    with tempfile.TemporaryDirectory() as folder:
        async with triplane.open_ledger(Path(folder) / "bench.db", sync=sync) as ledger:
            yield ledger


async def turns_of(log: triplane.ClaimedLog, turns: int) -> None:
    log.append(RunStarted(log.run_id, "agent", "model", "f", ()))
    for turn in range(1, turns + 1):
        log.append(RequestSent(turn, 1, "c1", "incremental", "head_cached", "resp_1", 1, 900))
        await log.durable()
        for frames in READS:
            await trio.lowlevel.checkpoint()
            log.append(FramesReceived("c1", frames))
        log.append(ToolStarted(f"call_{turn}", "look", '{"path": "x"}', "write", "key"))
        await log.durable()
        log.append(ToolFinished(f"call_{turn}", "look", OUTCOME))
    log.append(RunEnded("completed"))
    await log.durable()
    log.release()


async def turns(kind: str, sync: Any, count: int) -> float:
    """CPU microseconds for a turn."""
    async with opened(kind, sync) as ledger:
        began = time.process_time()
        async with trio.open_nursery() as nursery:
            for number in range(RUNS):
                nursery.start_soon(turns_of, ledger.create(f"run_{number}"), count)
        return (time.process_time() - began) / (RUNS * count) * 1e6


async def events(kind: str, sync: Any, count: int) -> float:
    """CPU microseconds for an event, in batches as a busy socket brings them."""
    batch = tuple(EVENTS[:10])
    async with opened(kind, sync) as ledger:
        log = ledger.create("run")
        began = time.process_time()
        for number in range(count // 10):
            log.append(FramesReceived("c1", batch))
            if number % 20 == 0:
                await trio.lowlevel.checkpoint()
        await log.durable()
        return (time.process_time() - began) / count * 1e6


@triplane.tool(effect="write")
async def look(path: str) -> str:
    """Look.

    Args:
        path: Where.
    """
    return path


AGENT = triplane.Agent("directive", "", [look])


async def engine(kind: str, sync: Any, count: int) -> float:
    """Turns a second."""
    async with opened(kind, sync) as ledger, trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, Server(model="directive"))
        options = triplane.EngineOptions(max_connections=RUNS)
        endpoint = triplane.Endpoint("ws://memory/v1")
        async with triplane.open_engine(
            endpoint, network=network, ledger=ledger, options=options
        ) as opened_engine:
            prompt = f'REPEAT {count - 1} CALL look {{"path": "x"}}'
            began = time.perf_counter()
            async with trio.open_nursery() as runs:
                for _ in range(RUNS):
                    runs.start_soon(opened_engine.run, AGENT, prompt)
            took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return RUNS * count / took


async def replay(count: int) -> bool:
    """Fold a long log from the file. Returns whether that was done as it is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        async with triplane.open_ledger(path, sync="off") as ledger:
            log = ledger.create("run")
            log.append(RunStarted("run", "agent", "model", "f", ()))
            log.append(RequestSent(1, 1, "c1", "full", "first_turn", None, 1, 900))
            for number in range(count // 10):
                log.append(FramesReceived("c1", tuple(delta(10 * number + each) for each in range(10))))
                if number % 500 == 0:
                    await log.durable()
            await log.durable()
        size = path.stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with triplane.open_ledger(path) as ledger:
            wall, cpu = time.perf_counter(), time.process_time()
            reducer, after = RunReducer(), -1
            log = await ledger.open("run")  # type: ignore[assignment]
            while records := await log.read(after, 500):
                for record in records:
                    reducer.apply(record)
                after = records[-1].sequence
            took, spent = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"replay of {count:,} events ({size / 1e6:.0f} MB): {took:.1f} s, {spent:.1f} s of CPU;"
        f" {peak / 1024:.0f} MB at most, {(peak - before) / 1024:.0f} MB of that for it;"
        f" wanted: {REPLAY_SECONDS} s, {REPLAY_MEMORY} MB"
    )
    return took <= REPLAY_SECONDS and peak / 1024 <= REPLAY_MEMORY


def compared(
    name: str, unit: str, measure: Any, sync: Any, count: int, repetitions: int
) -> tuple[float, float]:
    memory, disk = [], []
    for _ in range(repetitions):
        memory.append(trio.run(partial(measure, "memory", sync, count)))
        disk.append(trio.run(partial(measure, "disk", sync, count)))
    in_memory, on_disk = statistics.median(memory), statistics.median(disk)
    print(f"{name:<28} memory {in_memory:>8.1f}  disk {on_disk:>8.1f} {unit}")
    return in_memory, on_disk


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sync", choices=["off", "normal", "full"], default="normal")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--replay", type=int, default=1_000_000)
    parser.add_argument("--check", action="store_true", help="exit with 1 if something is missed")
    options = parser.parse_args()
    print(f"sync={options.sync}, {RUNS} runs at once, medians of {options.repetitions}")
    rest = (options.sync,)
    memory, disk = compared("a turn", "us of CPU", turns, *rest, options.turns, options.repetitions)
    print(f"  the file costs {disk - memory:.0f} us a turn; wanted: {TURN} in all")
    met = disk <= TURN
    memory, disk = compared("an event", "us of CPU", events, *rest, options.events, options.repetitions)
    print(f"  the file costs {disk - memory:.2f} us an event; wanted: {EVENT} in all")
    met &= disk <= EVENT
    memory, disk = compared("the engine", "turns/s", engine, *rest, options.turns // 4, options.repetitions)
    print(f"  with the file {disk / memory:.0%} of the throughput; wanted: {THROUGHPUT:.0%}")
    met &= disk >= THROUGHPUT * memory
    if options.replay:
        met &= trio.run(replay, options.replay)
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
