"""What tests of the engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from played_server import open_stage

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def stage() -> Callable[..., Any]:
    """`open_stage`: an engine, and a server that does what an async function does with each connection."""
    return open_stage
