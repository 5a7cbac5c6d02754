"""What any earlier version wrote to a file is read as ever, and goes on from there."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import format_samples
import pytest

import triplane
from triplane.core.errors import LedgerCorrupt, LedgerFailed
from triplane.core.records import RunEnded
from triplane.ledger import owner, upkeep
from triplane.ledger.sqlite_formats import FORMAT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=range(1, FORMAT + 1))
def version(request: pytest.FixtureRequest) -> int:
    return request.param


async def test_a_file_of_every_format_is_read_as_ever(tmp_path: Path, version: int) -> None:
    path = tmp_path / "runs.db"
    format_samples.unpack(version, path)
    expected = format_samples.contents(version)

    async with triplane.open_ledger(path) as ledger:
        assert [] == await upkeep.check(ledger)
        assert tuple(expected) == await ledger.run_ids()
        for run_id, entries in expected.items():
            records = await (await ledger.open(run_id)).read(-1, 10_000)
            assert [*range(len(entries))] == [record.sequence for record in records]
            assert entries == [(record.at, record.body) for record in records]
        log = await ledger.claim("run_that_was_cut_off")
        log.append(RunEnded("cancelled"))
        await log.durable()

    async with triplane.open_ledger(path) as ledger:
        records = await (await ledger.open("run_that_was_cut_off")).read(-1)
        assert RunEnded("cancelled") == records[-1].body
        assert [] == await upkeep.check(ledger)


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE records SET body = zeroblob(3) WHERE kind = 'input_added' AND length(body) > 5000", 61),
        ("UPDATE records SET at = 1 WHERE place = (2 << 32)", 0),
        ("DELETE FROM records WHERE place = (2 << 32) + 62", 62),
        ("DELETE FROM records WHERE place = (2 << 32) + 5", 5),
        ("UPDATE runs SET records = 5 WHERE run = 2", 5),
    ],
)
async def test_a_damaged_file_of_an_earlier_format_is_left_to_the_version_that_can_repair_it(
    tmp_path: Path, statement: str, sequence: int
) -> None:
    path = tmp_path / "runs.db"
    format_samples.unpack(1, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert 1 == connection.execute(statement).rowcount
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match="run_of_many") as caught:
        async with triplane.open_ledger(path):
            pass

    assert (str(path), sequence) == (caught.value.path, caught.value.offset)
    assert before == path.read_bytes()


async def test_a_file_that_an_engine_of_an_earlier_version_uses_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    format_samples.unpack(1, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        claim = (owner.new_owner(), time.time() + 60)
        connection.execute("UPDATE runs SET owner = ?, deadline = ? WHERE run = 3", claim)
    before = path.read_bytes()
    with pytest.raises(LedgerFailed, match="run_that_was_cut_off") as caught:
        async with triplane.open_ledger(path):
            pass

    assert ("open", "claimed") == (caught.value.operation, caught.value.reason)
    assert before == path.read_bytes()
