"""A damaged file is told from a whole one; `nox -s fuzz -- ledger` damages a hundred thousand."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import mutations
import pytest
import trio

import triplane
from triplane.core.errors import ConfigError, LedgerCorrupt, LedgerFailed
from triplane.core.records import InputAdded, RunEnded, RunStarted
from triplane.ledger import upkeep


def test_no_damage_makes_a_wrong_state(tmp_path: Path) -> None:
    verdicts = mutations.fuzz(tmp_path, 60, 7)

    assert {"corrupt", "same", "older"} >= set(verdicts)
    assert verdicts["corrupt"] > 10


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A ledger with a run of ten records, in chunks of three, three, three and one."""
    path = tmp_path / "runs.db"
    async with triplane.open_ledger(path) as ledger:
        log = ledger.create("run_1")
        log.append(RunStarted("run_1", "agent", "model", "f", ()))
        for number in range(8):
            log.append(InputAdded(({"n": number},)))
            if number % 3 == 1:
                await log.durable()
        log.append(RunEnded("completed"))
        await log.durable()
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "sequence"),
    [
        ("UPDATE chunks SET body = CAST(replace(body, ':3}', ':4}') AS BLOB) WHERE first = 3", 3),
        # When the first record was appended.
        ("UPDATE chunks SET body = CAST(replace(body, '[1', '[2') AS BLOB) WHERE first = 0", 0),
        ("UPDATE chunks SET body = CAST(replace(body, 'true', 'false') AS BLOB) WHERE first = 3", 3),
        (
            "UPDATE chunks SET body = CAST(replace(body, 'input_added', 'still_waiting') AS BLOB) WHERE first = 3",
            3,
        ),
        ("UPDATE chunks SET records = 2 WHERE first = 3", 3),
        ("UPDATE chunks SET digest = zeroblob(16) WHERE first = 3", 3),
        ("DELETE FROM chunks WHERE first = 3", 3),
        ("DELETE FROM chunks WHERE first = 0", 0),
        ("DELETE FROM chunks WHERE first > 5", 6),
        ("UPDATE chunks SET first = 4 WHERE first = 3", 3),
        ("UPDATE runs SET records = 9", 9),
        ("UPDATE runs SET records = 6", 6),
        ("UPDATE runs SET records = 11", 10),
        ("UPDATE runs SET records = 0", 0),
        ("UPDATE runs SET head = zeroblob(16)", 9),
        ("UPDATE runs SET run_id = 'run_2'", 0),
    ],
)
async def test_where_it_is_damaged_is_told(path: Path, statement: str, sequence: int) -> None:
    change(path, statement)
    async with triplane.open_ledger(path) as ledger:
        (run_id,) = await ledger.run_ids()
        log = await ledger.open(run_id)
        with pytest.raises(LedgerCorrupt, match="damaged") as caught:
            await log.read(-1)
        with pytest.raises(LedgerCorrupt):
            _ = [record async for record in ledger.follow(run_id)]
        (damage,) = await upkeep.check(ledger)

    assert (str(path), sequence) == (caught.value.path, caught.value.offset)
    assert (run_id, sequence) == (damage.run_id, damage.sequence)


async def test_a_torn_end_is_cut_off_and_a_copy_kept(path: Path) -> None:
    change(path, "UPDATE chunks SET digest = zeroblob(16) WHERE first > 5")
    async with triplane.open_ledger(path) as ledger:
        (cut,) = await upkeep.repair(ledger)
        assert [] == await upkeep.check(ledger)
        log = await ledger.claim("run_1")
        assert 6 == log.append(RunEnded("cancelled")).sequence
        await log.durable()
        assert [*range(7)] == [record.sequence for record in await log.read(-1)]

    assert ("run_1", 6, True) == (cut.run_id, cut.sequence, cut.is_tail)
    copy = Path(f"{path}.before-repair")
    assert 0o600 == copy.stat().st_mode & 0o777
    async with triplane.open_ledger(copy) as before:
        assert ["run_1"] == [damage.run_id for damage in await upkeep.check(before)]


async def test_a_repair_that_was_refused_can_be_tried_again(path: Path) -> None:
    """A copy that it left would pass for one of an earlier repair."""
    change(path, "UPDATE chunks SET digest = zeroblob(16) WHERE first > 5")
    change(path, f"UPDATE runs SET owner = 'somebody elsewhere', deadline = {time.time() + 1_000}")
    async with triplane.open_ledger(path) as ledger:
        with pytest.raises(LedgerFailed, match="run_1 is being driven; repair it when it has ended"):
            await upkeep.repair(ledger)
        assert [] == [*path.parent.glob("*.before-repair*")]
        change(path, "UPDATE runs SET owner = NULL, deadline = NULL")
        (cut,) = await upkeep.repair(ledger)

    assert 6 == cut.sequence


async def test_what_was_repaired_meanwhile_is_not_cut_off_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else did, and has gone on with the run."""
    change(path, "UPDATE chunks SET digest = zeroblob(16) WHERE first > 5")
    async with triplane.open_ledger(path) as ledger:
        found = await upkeep.check(ledger)

        async def check(_: object) -> object:
            await trio.lowlevel.checkpoint()
            return found

        assert found == await upkeep.repair(ledger)
        Path(f"{path}.before-repair").unlink()
        log = await ledger.claim("run_1")
        log.append(RunEnded("cancelled"))
        log.release()
        await log.durable()
        monkeypatch.setattr(upkeep, "check", check)

        assert [] == await upkeep.repair(ledger)
        assert 7 == len(await (await ledger.open("run_1")).read(-1))
    assert [] == [*path.parent.glob("*.before-repair*")]


async def test_damage_in_the_middle_is_left_as_it_is(path: Path) -> None:
    change(path, "UPDATE chunks SET body = zeroblob(9) WHERE first = 3")
    before = path.read_bytes()
    async with triplane.open_ledger(path) as ledger:
        assert [] == await upkeep.repair(ledger)
        (damage,) = await upkeep.check(ledger)

    assert not damage.is_tail
    assert before == path.read_bytes()


@pytest.mark.parametrize(
    ("statements", "offset", "words"),
    [
        (["PRAGMA user_version = 3"], 60, "a newer Triplane wrote it"),
        (["PRAGMA application_id = 7"], 68, "another program"),
        (["CREATE TABLE more (x)"], 100, "tables"),
        (["DROP TABLE chunks"], 100, "tables"),
        (["PRAGMA user_version = 1"], 100, "tables"),
    ],
)
async def test_other_files_are_refused_and_left_alone(
    path: Path, statements, offset: int, words: str
) -> None:
    change(path, *statements)
    before = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match=words) as caught:
        async with triplane.open_ledger(path):
            pass

    assert (str(path), offset) == (caught.value.path, caught.value.offset)
    # The same again would fail the same way.
    assert "change" == caught.value.receipt.next
    assert before == path.read_bytes()


async def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are no runs")
    with pytest.raises(LedgerCorrupt, match="not an SQLite file") as caught:
        async with triplane.open_ledger(path):
            pass

    assert 0 == caught.value.offset
    assert "these are no runs" == path.read_text()


@pytest.mark.parametrize("name", ["", "a\0b", "missing/runs.db", "."])
async def test_paths_that_cannot_be(tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}" if name not in ("", "a\0b") else name
    with pytest.raises(ConfigError):
        async with triplane.open_ledger(path):
            pass


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(ConfigError, match="symbolic link"):
        async with triplane.open_ledger(link):
            pass

    assert not (tmp_path / "elsewhere.db").exists()


async def test_the_file_is_its_users_alone(path: Path) -> None:
    assert 0o600 == path.stat().st_mode & 0o777


async def test_a_file_that_is_a_folders_or_cannot_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("triplane.ledger.sqlite_file.os.open", refuse)
    with pytest.raises(LedgerFailed, match="Permission denied") as caught:
        async with triplane.open_ledger(path):
            pass

    assert ("open", "read_only") == (caught.value.operation, caught.value.reason)
