"""Artifacts as files: what an artifact that grows fast does to the loop."""

from __future__ import annotations

import threading

import pytest
import trio

from triplane.ledger import FileArtifacts, artifacts


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(artifacts, "_AHEAD", 10)
    monkeypatch.setattr(artifacts.os, "fdatasync", disk.sync)
    return disk


class Disk:
    """A disk that takes nothing more until it is told to."""

    def __init__(self) -> None:
        self.behind = trio.Event()
        self.goes_on = threading.Event()

    def sync(self, _descriptor: int) -> None:
        trio.from_thread.run_sync(self.behind.set)
        self.goes_on.wait(10)
        raise OSError(5, "Input/output error")


async def test_a_disk_that_is_behind_holds_up_the_writer_and_nobody_else(disk: Disk) -> None:
    store = FileArtifacts()
    writer = store.create("run", "art_1")
    writer.write(b"x" * 9)
    await writer.flush()
    assert not disk.behind.is_set()

    writer.write(b"y")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.flush)
        # The loop goes on meanwhile, and what was written can be read.
        await disk.behind.wait()
        assert b"x" * 9 + b"y" == await store.read("run", "art_1")
        disk.goes_on.set()
    writer.write(b"z")
    await writer.flush()
    writer.close()

    assert b"x" * 9 + b"yz" == await store.read("run", "art_1")


async def test_whoever_is_cancelled_does_not_wait_for_the_disk(disk: Disk) -> None:
    writer = FileArtifacts().create("run", "art_1")
    writer.write(b"x" * 10)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.flush)
            await disk.behind.wait()
            scope.cancel()
    writer.close()
    disk.goes_on.set()

    assert scope.cancelled_caught
