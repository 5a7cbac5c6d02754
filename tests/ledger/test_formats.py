"""What any earlier version wrote to a file is read as ever, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import format_samples
import pytest

import triplane
from triplane.core.records import RunEnded
from triplane.ledger import upkeep
from triplane.ledger.sqlite_file import FORMAT


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
