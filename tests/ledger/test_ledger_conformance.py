"""Both stores do what every store must do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import triplane
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
