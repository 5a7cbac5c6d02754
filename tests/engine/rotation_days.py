"""Days of an engine whose server ends every connection after an hour, lived under a mock clock.

Sessions talk, think long, run long tools and pause, each by a generator of its own. What has to hold is that no turn
fails and that connections are opened hardly more often than they must be.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing

import triplane
from triplane.ledger.memory import ClaimedMemoryLog, MemoryLog
from triplane.server import Server
from triplane.testing import MemoryNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from triplane.core.records import Record
    from triplane.core.store import ClaimedLog, RunLog

HOUR = 3600.0
MOST_HANDSHAKES = 1.2
"""For each hour that a connection is open. At an age limit of 55 of 60 minutes, less a jitter, 1.15 are needed."""

# What a session does next, how often of a hundred times, and how long it may take in seconds.
_WAYS = {"short": (60, 0.0), "thinks": (25, 300.0), "tool": (15, 1_200.0)}
_LONGEST_PAUSE = 900.0


@attrs.frozen
class Outcome:
    """What came of it.

    Attributes:
        turns: Turns that ended well.
        failures: What runs failed of.
        opened: Connections opened.
        connection_hours: Hours that connections were open, added up.
        replays: Requests that had to be repeated.
        rotated: Connections that were replaced for their age.
    """

    turns: int
    failures: tuple[str, ...]
    opened: int
    connection_hours: float
    replays: int
    rotated: int

    @property
    def handshakes(self) -> float:
        """For each hour that a connection was open."""
        return self.opened / self.connection_hours

    def broken(self) -> list[str]:
        """What did not hold."""
        found = list(self.failures)
        if self.handshakes > MOST_HANDSHAKES:
            found.append(f"{self.handshakes:.3f} handshakes per connection-hour")
        return found


class _Forgetful:
    """A ledger that keeps nothing: a month of logs is more than a machine has."""

    def create(self, run_id: str) -> ClaimedLog:
        return ClaimedMemoryLog(MemoryLog(run_id, lambda: 0.0))

    async def claim(self, run_id: str) -> ClaimedLog:
        raise KeyError(run_id)

    async def open(self, run_id: str) -> RunLog:
        raise KeyError(run_id)

    async def run_ids(self) -> Sequence[str]:
        return ()

    def follow(self, run_id: str, after: int = -1) -> AsyncIterator[Record]:
        raise KeyError(run_id)


async def _live(hours: float, sessions: int, seed: int, options: dict[str, Any]) -> Outcome:
    @triplane.tool(timeout=HOUR)
    async def work(seconds: float) -> str:
        """Take so long."""
        await trio.sleep(seconds)
        return "worked"

    agent = triplane.Agent("m", "Answer.", [work])
    turns = replays = 0
    connection_seconds = 0.0
    failures: list[str] = []
    ends_at = trio.current_time() + hours * HOUR

    async def session(number: int, engine: triplane.Engine) -> None:
        nonlocal turns, replays
        rng = random.Random(seed * 1_000 + number)
        while trio.current_time() < ends_at:
            ways, weights = list(_WAYS), [weight for weight, _ in _WAYS.values()]
            way = rng.choices(ways, weights)[0]
            seconds = rng.random() * _WAYS[way][1]
            program = {
                "short": "SAY 3 word ",
                "thinks": f"SAY 1 word\nWAIT {round(1000 * seconds)}\nSAY 1 word",
                "tool": f'CALL work {{"seconds": {seconds:.0f}}}',
            }[way]
            try:
                result = await engine.run(agent, program)
            except triplane.TriplaneError as error:
                failures.append(f"session {number} at {trio.current_time():.0f} s: {error!r}")
            else:
                turns += result.turns
                replays += result.replays
            await trio.sleep(rng.random() * _LONGEST_PAUSE)

    async def count(engine: triplane.Engine) -> None:
        nonlocal connection_seconds
        while True:
            await trio.sleep(60)
            connection_seconds += 60 * len(engine.statistics().pool.connections)

    async with trio.open_nursery() as nursery:
        server = Server(
            model="directive",
            epoch=0.0,
            max_age=HOUR,
            on_max_age="cut",
            max_age_close_code=1001,
            max_journal=0,
        )
        async with triplane.open_engine(
            triplane.Endpoint("ws://memory/v1"),
            # Hours of pings between turns would be most of the work, and are tested elsewhere.
            options=triplane.EngineOptions(
                max_connections=sessions, heartbeat_interval=600, heartbeat_timeout=10, **options
            ),
            ledger=_Forgetful(),
            network=MemoryNetwork(nursery, server),
            rng=random.Random(seed),
        ) as engine:
            async with trio.open_nursery() as counting:
                counting.start_soon(count, engine)
                async with trio.open_nursery() as living:
                    for number in range(sessions):
                        living.start_soon(session, number, engine)
                counting.cancel_scope.cancel()
            pool = engine.statistics().pool
        nursery.cancel_scope.cancel()
    return Outcome(turns, tuple(failures), pool.opened, connection_seconds / HOUR, replays, pool.rotated)


def live(hours: float, *, sessions: int = 16, seed: int = 0, **options: Any) -> Outcome:
    """Live so many hours.

    Args:
        hours: Of the engine's clock.
        sessions: How many talk at the same time, each on a connection.
        seed: Of what they do and of the engine's jitter.
        options: More of the engine's options.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(_live, hours, sessions, seed, options, clock=clock)
