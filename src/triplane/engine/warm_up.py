"""Prepare an agent on lanes before it is needed: ``generate: false`` with instructions and tools."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, final

import trio

from triplane.core.accumulator import ResponseAccumulator
from triplane.core.errors import (
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    ProtocolViolation,
    ServerError,
    Stalled,
    TriplaneError,
)
from triplane.core.records import FramesReceived
from triplane.core.remembered import Remembered
from triplane.core.retry import judge_server_error

from .exchange import exchange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triplane.core.options import EngineOptions
    from triplane.net.endpoint import Endpoint

    from .agent import Agent
    from .transports import RoutedLease, Routes


@final
class WarmUps:
    """The warm-ups of one engine.

    Args:
        endpoint: Where agents are warmed up that say nothing else.
        routes: Makes the leases.
        options: The engine's options.
    """

    def __init__(self, endpoint: Endpoint, routes: Routes, options: EngineOptions) -> None:
        self._endpoint = endpoint
        self._routes = routes
        self._options = options
        # Two that take lanes at the same time would wait for each other's for ever.
        self._taking = trio.Lock()
        # Who is to be warmed up again: by fingerprint, each at most one.
        self._warmed: Remembered[str, list[Agent]] = Remembered(lambda _fingerprint: [])

    async def warm(self, agents: Sequence[Agent]) -> int:
        """Warm each agent up on a lane of its own, and return how many lanes are warm. A checkpoint.

        Raises:
            ConnectFailed: No connection could be opened.
            LimitReached: So many lanes could not be had.
        """
        if self._options.rewarm:
            for agent in agents:
                self._warmed[agent.fingerprint][:] = [agent]
        lease = self._routes.lease
        return await self._warm_lanes(
            [
                (lease(agent.endpoint or self._endpoint, f"warm-up of {agent.name}", agent.transport), agent)
                for agent in agents
            ]
        )

    async def again(self, endpoint: Endpoint, fingerprint: str) -> None:
        """Warm an agent up on another lane than before. Nobody waits for it, so a failure is no more than that."""
        lease, agents = self._routes.lease, self._warmed[fingerprint]
        with suppress(TriplaneError):
            await self._warm_lanes([(lease(endpoint, f"warm-up of {agent.name}"), agent) for agent in agents])

    async def _warm_lanes(self, pairs: Sequence[tuple[RoutedLease, Agent]]) -> int:
        """Take a lane for each lease, warm them all, give them back, and return how many are warm.

        All lanes are taken before the first is warmed: one that came back early would be handed out twice.
        """
        failures: list[TriplaneError] = []
        warm: list[bool] = []

        async def take(lease: RoutedLease, nursery: trio.Nursery) -> None:
            try:
                await lease.acquire(patient=False)
            except TriplaneError as error:
                failures.append(error)
                nursery.cancel_scope.cancel(reason="a lane for the warm-up could not be had")

        async def prepare(lease: RoutedLease, agent: Agent) -> None:
            warm.append(await _warm(lease, agent, self._options))

        try:
            async with self._taking, trio.open_nursery() as nursery:
                for lease, _ in pairs:
                    nursery.start_soon(take, lease, nursery)
            if failures:
                raise failures[0]
            async with trio.open_nursery() as nursery:
                for lease, agent in pairs:
                    nursery.start_soon(prepare, lease, agent)
        finally:
            for lease, _ in pairs:
                lease.release()
        return sum(warm)


async def _warm(lease: RoutedLease, agent: Agent, options: EngineOptions) -> bool:
    lane = lease.lane
    assert lane is not None, "acquired by the caller"
    if lane.transport == "http":
        # ``generate`` is a field of WebSocket mode, and no lane would remember what it had prepared. Whoever wants the
        # prompt cache alone prepared asks for that in the agent's settings (``prompt_cache_options.prewarm``).
        await trio.lowlevel.checkpoint()
        return False
    response = ResponseAccumulator()

    def take(frames: tuple[str, ...]) -> bool:
        for event in FramesReceived(lane.connection_name, frames).events:
            response.apply(event)
        return response.is_over

    try:
        await exchange(lane, agent.warm_up_request(lane.stream_id), options=options, take=take)
    except (ConnectFailed, ConnectionLost, Stalled, ProtocolViolation, LimitReached) as fault:
        # Harmless by contract: the lane is closed and the first run sends its full request elsewhere.
        lease.abandon(fault)
        return False
    if response.undecodable is not None or response.displaced_by is not None:
        lease.abandon(ProtocolViolation("the answer to a warm-up was not an event"))
        return False
    error = response.error
    if error is not None and judge_server_error(error.code, error.status, error.type) == "new_connection":
        lease.abandon(ServerError.from_detail(error))
        return False
    # A server that ignores ``generate`` answers with output; nothing may then continue from it.
    is_warm = response.status == "completed" and response.id is not None and not response.output()
    warm_for = agent.fingerprint if is_warm else None
    lane.remember(response.id if is_warm else None, ended=[response.id], warm_for=warm_for)
    return is_warm
