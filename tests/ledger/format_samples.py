"""A file of each format that a ledger ever had, and what is in it.

`python tests/ledger/format_samples.py` makes the one of the format that is written now, if it is not there yet. What is
there is never made again: no version writes an earlier format any more.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import record_samples
import trio

import triplane
from triplane.core.records import FramesReceived, InputAdded, RunEnded, RunStarted
from triplane.ledger.encoding import Encoded, decode, encode
from triplane.ledger.sqlite_formats import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.core.records import Body

DATA = Path(__file__).parent / "data"


def unpack(version: int, path: Path) -> None:
    """Put the file of a format at `path`."""
    path.write_bytes(gzip.decompress((DATA / f"format_{version}.db.gz").read_bytes()))


def contents(version: int) -> dict[str, list[tuple[float, Body]]]:
    """What is in the file of a format: for each run when each record was appended, and what it says."""
    runs: dict[str, list[tuple[float, Body]]] = {}
    for line in (DATA / f"format_{version}.jsonl").read_text().splitlines():
        each = json.loads(line)
        encoded = Encoded(each["kind"], each["version"], each["essential"], each["data"].encode())
        runs.setdefault(each["run"], []).append((each["at"], decode(encoded)))
    return runs


def runs() -> Iterator[tuple[str, list[Body]]]:
    """What is written: something of every kind, something long, and a run that has not ended."""
    yield "run_of_all_kinds", [decode(encoded) for encoded, _, _ in record_samples.read()]
    began = RunStarted("run_of_many", "agent", "model", "f", ({"role": "user", "content": "é"},))
    frames = [FramesReceived("c1", (f'{{"type":"x","n":{number}}}',) * 3) for number in range(60)]
    yield "run_of_many", [began, *frames, InputAdded(({"text": "x" * 9_000},)), RunEnded("completed")]
    yield "run_that_was_cut_off", [began]


async def write(path: Path) -> list[dict[str, Any]]:
    times = iter(range(1, 10_000))
    lines = []
    async with triplane.open_ledger(path, clock=lambda: 1_700_000_000 + next(times) / 8) as ledger:
        for run_id, bodies in runs():
            log = ledger.create(run_id)
            for number, body in enumerate(bodies):
                record = log.append(body)
                kind, version, essential, data = encode(body)
                lines.append(
                    {
                        "run": run_id,
                        "at": record.at,
                        "kind": kind,
                        "version": version,
                        "essential": essential,
                        "data": data.decode(),
                    }
                )
                if number % 7 == 0:
                    await log.durable()
            await log.durable()
    return lines


def main() -> None:
    target = DATA / f"format_{FORMAT}.db.gz"
    if target.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        lines = trio.run(write, path)
        target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    target.with_suffix("").with_suffix(".jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )


if __name__ == "__main__":
    main()
