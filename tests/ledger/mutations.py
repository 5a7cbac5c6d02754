"""Damaged ledgers, and the one question about each: is there a wrong state that nobody is told of?"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import triplane
from triplane.core.errors import ConfigError, LedgerCorrupt, LedgerFailed
from triplane.core.records import FramesReceived, InputAdded, RequestSent, RunEnded, RunStarted
from triplane.ledger.sqlite_file import open_reader
from triplane.ledger.sqlite_rows import all_runs, read_run
from triplane.ledger.sqlite_trouble import trouble

if TYPE_CHECKING:
    from triplane.core.records import Record

RUNS = ("run_a", "run_b", "run_c")


async def write(path: Path) -> dict[str, list[Record]]:
    """A ledger with a few runs, and what is in it. Beside it, as `live.db`, what it was before it was closed."""
    async with triplane.open_ledger(path, clock=lambda: 1_700_000_000.5) as ledger:
        logs = [ledger.create(run_id) for run_id in RUNS]
        for number, log in enumerate(logs):
            log.append(RunStarted(log.run_id, "agent", "model", "f", ({"role": "user", "content": "hello"},)))
            for turn in range(4):
                log.append(RequestSent(turn + 1, 1, "c1", "full", "first_turn", None, 1, 100))
                log.append(FramesReceived("c1", (f'{{"type":"x","n":{turn}}}',) * (3 + 40 * number)))
            log.append(InputAdded(({"n": number},)))
            log.append(RunEnded("completed"))
            await log.durable()
            log.release()
            await log.durable()
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", path.with_name(f"live.db{end}"))
    async with triplane.open_ledger(path) as ledger:
        return {run_id: list(await (await ledger.open(run_id)).read(-1)) for run_id in await ledger.run_ids()}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same with something wrong: bits, bytes, pages, the length."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(damaged))
        match rng.randrange(8):
            case 0 | 1 | 2:
                damaged[at] ^= 1 << rng.randrange(8)
            case 3:
                damaged[at] = rng.randrange(256)
            case 4:
                size = rng.choice((2, 4, 16, 512, 4096))
                damaged[at : at + size] = bytes(min(size, len(damaged) - at))
            case 5:
                del damaged[at:]
                if not damaged:
                    return b""
            case 6:
                # Two pages change places.
                size = 8192
                one, other = (rng.randrange(max(1, len(damaged) // size)) * size for _ in range(2))
                damaged[one : one + size], damaged[other : other + size] = (
                    damaged[other : other + size],
                    damaged[one : one + size],
                )
            case 7:
                # Where the structure of SQLite's pages is.
                page = rng.randrange(max(1, len(damaged) // 8192)) * 8192
                damaged[min(page + rng.randrange(110), len(damaged) - 1)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def verdict(path: Path, whole: dict[str, list[Record]]) -> str:
    """What reading a damaged file came to: ``"same"``, ``"corrupt"``, or what is wrong.

    It is read in this thread, by what every reader uses.
    """
    name = str(path)
    had_log = Path(f"{path}-wal").exists()
    try:
        with trouble(name, "read"):
            connection = open_reader(name, 0.1)
            try:
                found = {
                    run.run_id: read_run(connection, name, run.run_id, -1, 10_000)[1]
                    for run in all_runs(connection, name)
                }
            finally:
                connection.close()
    except LedgerCorrupt as error:
        assert error.path == name
        return "corrupt"
    except (LedgerFailed, ConfigError) as error:
        return f"{type(error).__name__}: {error}"
    # An empty file is no ledger; a missing run is told by the count of runs.
    if found == whole:
        return "same"
    if had_log and all(records == whole[run_id][: len(records)] for run_id, records in found.items()):
        # What SQLite does not find whole in the log of the last changes has never been written.
        return "older"
    return f"wrong: {[(run, len(records)) for run, records in found.items()]}"


def fuzz(folder: Path, count: int, seed: int, *, verbose: bool = False) -> dict[str, int]:
    """Read so many damaged files. Returns how often each verdict was given."""
    original = folder / "whole.db"
    whole = trio.run(write, original)
    files = {end: (folder / f"live.db{end}").read_bytes() for end in ("", "-wal")}
    data = original.read_bytes()
    verdicts: dict[str, int] = {}
    rng = random.Random(seed)
    path = folder / "damaged.db"
    for number in range(count):
        for end in ("-wal", "-shm", "-journal"):
            (folder / f"damaged.db{end}").unlink(missing_ok=True)
        if number % 4:
            path.write_bytes(mutated(data, rng))
        else:
            path.write_bytes(files[""])
            (folder / "damaged.db-wal").write_bytes(mutated(files["-wal"], rng))
        found = verdict(path, whole)
        if found not in ("same", "older", "corrupt"):
            shutil.copy(path, folder / f"bad-{number}.db")
            if verbose:
                print(f"{number}: {found}")
        verdicts[found] = verdicts.get(found, 0) + 1
    return verdicts
