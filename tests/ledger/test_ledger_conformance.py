"""Both stores do what every store must do."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import triplane
from triplane.core.records import InputAdded
from triplane.testing import LEDGER_CHECKS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def name(check: object) -> str:
    return check.__name__


@pytest.mark.parametrize("check", LEDGER_CHECKS, ids=name)
async def test_memory(check) -> None:
    ledger = triplane.MemoryLedger()

    @asynccontextmanager
    async def open_store() -> AsyncIterator[triplane.Ledger]:
        yield ledger

    await check(open_store)


@pytest.mark.parametrize("check", LEDGER_CHECKS, ids=name)
async def test_sqlite(check, tmp_path: Path) -> None:
    await check(lambda: triplane.open_ledger(tmp_path / "runs.db"))


@pytest.mark.parametrize("said", [math.inf, math.nan, pytest.param(10**400, id="beyond floats"), None, "now"])
async def test_a_clock_that_says_no_number_of_seconds(said: Any, tmp_path: Path) -> None:
    """What it dates could not be read again, so it is written nowhere."""
    now: Any = 5

    def clock() -> float:
        return now

    async with triplane.open_ledger(tmp_path / "runs.db", clock=clock) as on_disk:
        for ledger in (on_disk, triplane.MemoryLedger(clock=clock)):
            now = 5
            log = ledger.create("run_1")
            now = said
            with pytest.raises(triplane.ConfigError, match="clock= must give seconds since 1970"):
                log.append(InputAdded(()))
            now = 6
            log.append(InputAdded(()))
            await log.durable()
            assert [(0, 6.0)] == [(record.sequence, record.at) for record in await log.read(-1)]
