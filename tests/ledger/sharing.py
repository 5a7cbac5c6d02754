"""One of several processes that append to one ledger as fast as they can: `python sharing.py FILE NAME SECONDS`.

It tells, as one line of JSON, how many records of each of its runs were acknowledged.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import trio

import triplane
from triplane.core.records import InputAdded, RunEnded, RunStarted
from triplane.ledger import upkeep

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 4


async def append(ledger: triplane.Ledger, run_id: str, until: float, acknowledged: dict[str, int]) -> None:
    log = ledger.create(run_id)
    log.append(RunStarted(run_id, "agent", "model", "f", ()))
    number = 0
    while time.monotonic() < until:
        for _ in range(3):
            log.append(InputAdded(({"run": run_id, "n": number},)))
            number += 1
        await log.durable()
        acknowledged[run_id] = number + 1
    log.append(RunEnded("completed"))
    await log.durable()
    acknowledged[run_id] = number + 2
    log.release()


async def main(path: str, name: str, seconds: float) -> dict[str, Any]:
    acknowledged: dict[str, int] = {}
    errors: list[str] = []

    async def one(run_id: str) -> None:
        try:
            await append(ledger, run_id, until, acknowledged)
        except triplane.TriplaneError as error:
            errors.append(repr(error))

    async with triplane.open_ledger(path, busy_timeout=30) as ledger:
        until = time.monotonic() + seconds
        async with trio.open_nursery() as nursery:
            for number in range(RUNS):
                nursery.start_soon(one, f"{name}-{number}")
    return {"acknowledged": acknowledged, "errors": errors}


async def verify(path: Path, told: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """How many records were acknowledged, and what is wrong with the file."""
    wrong = [error for each in told for error in each["errors"]]
    total = 0
    async with triplane.open_ledger(path) as ledger:
        wrong += [damage.words for damage in await upkeep.check(ledger)]
        there = set(await ledger.run_ids())
        for each in told:
            for run_id, count in each["acknowledged"].items():
                total += count
                if run_id not in there:
                    wrong.append(f"{run_id} is not there")
                    continue
                log = await ledger.open(run_id)
                after, found = -1, 0
                while records := await log.read(after, 5_000):
                    for record in records:
                        expected = ({"run": run_id, "n": record.sequence - 1},)
                        if isinstance(record.body, InputAdded) and record.body.items != expected:
                            wrong.append(f"{run_id} has {record} at {record.sequence}")
                    found += len(records)
                    after = records[-1].sequence
                if found != count:
                    wrong.append(f"{run_id} has {found} records, and {count} were acknowledged")
    return total, wrong


def share(path: Path, processes: int, seconds: float) -> tuple[int, list[str]]:
    """Have so many processes share a file. Returns how many records they wrote, and what went wrong."""
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(path), f"p{number}", str(seconds)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    told = [json.loads(process.communicate()[0]) for process in started]
    return trio.run(verify, path, told)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))))
