"""Two runs of an engine on a disk that fails: what happened, as one line of JSON.

The effects are counted in a file of their own, which does not fail. The second run, of the same engine, is made after
the disk has recovered.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

import triplane
from triplane.server import Server
from triplane.testing import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator


async def main(folder: Path, sync: Any) -> None:
    effects = folder / "effects"
    effects.touch()

    @triplane.tool(effect="write")
    async def act(name: str) -> str:
        """Do something that cannot be undone.

        Args:
            name: What.
        """
        with effects.open("a") as file:
            file.write(f"{name}\n")
        return "done"

    agent = triplane.Agent("directive", "", [act])
    found: dict[str, Any] = {"errors": [], "opened": False}
    path = folder / "faulty.db"
    disk = ctypes.CDLL(None)
    stop = getattr(disk, "fault_stop", lambda: None)
    spare = getattr(disk, "fault_spare", lambda _: None)
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, Server(model="directive"))
        open_engine = partial(triplane.open_engine, triplane.Endpoint("ws://memory/v1"), network=network)
        try:
            async with triplane.open_ledger(path, sync=sync, busy_timeout=0.5) as ledger:
                found["opened"] = True
                async with open_engine(ledger=ledger) as engine:
                    for name in ("first", "second"):
                        try:
                            state = await engine.run(agent, f'CALL act {{"name": "{name}"}}\nSAY 1 fine')
                            assert state.text == "fine", state
                        except triplane.TriplaneError as error:
                            found["errors"].append(describe(error, path))
                        # What was really there when the run had ended: a copy, since what failed is tried again.
                        spare(1)
                        copy = copied(path, folder / f"{name}.db")
                        spare(0)
                        stop()
                        found[name] = written(copy)
        except triplane.TriplaneError as error:
            found["errors"].append(describe(error, path))
        nursery.cancel_scope.cancel()
    stop()
    found["effects"] = effects.read_text().split()
    found["damage"] = await damage(path)
    found["at_end"] = written(path)
    found["operations"] = getattr(disk, "fault_seen", lambda: 0)()
    sys.stdout.write(json.dumps(found))


def copied(path: Path, copy: Path) -> Path:
    for end in ("", "-wal"):
        if Path(f"{path}{end}").exists():
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    return copy


def describe(error: triplane.TriplaneError, path: Path) -> list[str]:
    assert str(path) in str(error), error
    return [type(error).__name__, getattr(error, "reason", ""), error.receipt.next]


async def damage(path: Path) -> list[str]:
    from triplane.ledger import upkeep

    async with triplane.open_ledger(path) as ledger:
        return [each.words for each in await upkeep.check(ledger)]


def written(path: Path) -> list[str]:
    """The arguments of the calls whose start is in the file, read without Triplane."""
    try:
        with closing(sqlite3.connect(f"file:{path}", uri=True)) as connection:
            chunks = connection.execute("SELECT body FROM chunks ORDER BY run, first").fetchall()
    except sqlite3.OperationalError:
        return []
    return [json.loads(body["arguments"])["name"] for (chunk,) in chunks for body in starts(chunk)]


def starts(chunk: bytes) -> Iterator[Any]:
    at = 0
    while at < len(chunk):
        start = chunk.index(b"\n", at) + 1
        _, kind, _, _, length = json.loads(chunk[at:start])
        at = start + length + 1
        if kind == "tool_started":
            yield json.loads(chunk[start:at])


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
