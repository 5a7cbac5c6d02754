"""How an engine is opened, and how all that it has is closed when it is left."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from triplane.core.errors import ConfigError
from triplane.core.options import EngineOptions
from triplane.ledger.memory import MemoryLedger
from triplane.ledger.sqlite import open_ledger
from triplane.net.dial import Dialler, Network, TcpNetwork
from triplane.net.endpoint import Endpoint
from triplane.net.pool import Pool
from triplane.tools.background import open_background

from .engine import Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from triplane.core.store import Ledger

    from .agent import Agent

# Of `Ledger`, by which one is told from what only opens one.
_WHAT_A_LEDGER_CAN = ("create", "claim", "open", "run_ids", "follow")


@asynccontextmanager
async def open_engine(
    endpoint: Endpoint | None = None,
    *,
    options: EngineOptions | None = None,
    ledger: Ledger | str | os.PathLike[str] | None = None,
    warm: Iterable[Agent] = (),
    network: Network | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Engine]:
    """Open an engine for as long as the block lasts. No task outlives it.

    Entering dials nothing unless `warm` is given. Leaving is a checkpoint: connections get a closing handshake, and
    what is not closed after `EngineOptions.close_grace` is cut. Both hold when the block is cancelled or raises; the
    block's own error comes out as it was raised. After leaving, calls raise `EngineClosed`.

    Args:
        endpoint: Where to run, by default what the environment names: see `Endpoint.from_env`.
        options: Limits and deadlines.
        ledger: Where logs are kept, by default in memory. A path is opened with `open_ledger`, for as long as the engine.
        warm: Agents to warm up on one lane each before the block begins.
        network: How TCP connections are made, for tests and for exotic networks.
        rng: For run ids and the jitter of repeated attempts, for tests.

    Raises:
        ConfigError: There is no endpoint, or an argument is not what it should be.
        ConnectFailed, LimitReached: A warm-up found no connection, or no lane in time.
        LedgerCorrupt, LedgerFailed: The ledger of that path cannot be opened; on leaving: not all could be written to it.
    """
    if not trio.lowlevel.in_trio_run():
        raise ConfigError("Triplane runs on Trio: call this from an async function that trio.run(…) runs")
    chosen = EngineOptions() if options is None else options
    where = Endpoint.from_env() if endpoint is None else endpoint
    if not isinstance(where, Endpoint):
        raise ConfigError(
            f"open_engine takes an Endpoint, not {type(where).__name__}: triplane.Endpoint(url)"
        )
    if not isinstance(chosen, EngineOptions):
        raise ConfigError(
            f"options= takes EngineOptions, not {type(chosen).__name__}: triplane.EngineOptions(…)"
        )
    source = rng or random.Random()  # noqa: S311  # ids and jitter, no secrets
    dialler = Dialler(network or TcpNetwork(), chosen, rng=source)
    async with _opened(ledger) as store, open_background() as background:
        connections: _Connections = await background.start(_keep_connections, name="connections")
        pool = Pool(connections.nursery, dialler, chosen, source)
        engine = Engine(where, chosen, store, pool, source)
        try:
            await engine._warm_all(warm)  # noqa: SLF001
            yield engine
        finally:
            # First what lets the shield end, whatever comes after it.
            connections.left.set()
            connections.scope.deadline = trio.current_time() + chosen.close_grace
            engine._close()  # noqa: SLF001  # made for this


@asynccontextmanager
async def _opened(ledger: Ledger | str | os.PathLike[str] | None) -> AsyncIterator[Ledger]:
    """The ledger that was asked for: opened here if it is a path, and then closed here."""
    if isinstance(ledger, (str, os.PathLike)):
        async with open_ledger(ledger) as opened:
            yield opened
    elif ledger is None:
        yield MemoryLedger()
    elif all(callable(getattr(ledger, name, None)) for name in _WHAT_A_LEDGER_CAN):
        yield ledger
    else:
        raise ConfigError(
            f"ledger= takes the path of a file, as text or a Path, or a ledger that is open, not {type(ledger).__name__}:"
            " async with triplane.open_ledger(path) as ledger"
        )


@attrs.frozen(eq=False)
class _Connections:
    nursery: trio.Nursery
    scope: trio.CancelScope
    left: trio.Event


async def _keep_connections(*, task_status: trio.TaskStatus[_Connections]) -> None:
    """Hold the nursery that connections live in.

    It is shielded, since a cancellation from outside reaches all nested nurseries at once: without the shield the
    sockets would die before they could be closed in good order. The shield has a deadline from the moment in which
    the engine is left.
    """
    # In a scope that is already cancelled `started` would leave this task where it was, in the shield's way for ever.
    await trio.lowlevel.checkpoint_if_cancelled()
    left = trio.Event()
    with trio.CancelScope(shield=True) as scope:
        async with trio.open_nursery() as nursery:
            task_status.started(_Connections(nursery, scope, left))
            await left.wait()
