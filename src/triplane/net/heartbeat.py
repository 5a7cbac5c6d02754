"""Whether the peer is still there: a ping when it has been silent, and a verdict when it stays silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from triplane.core.errors import Stalled, TriplaneError

# What is left of an interval can be too short for the clock to move.
_MOMENT = 1e-6

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.options import EngineOptions

    from .guarded_stream import GuardedStream


async def watch_peer(
    stream: GuardedStream,
    ping: Callable[[], Awaitable[None]],
    options: EngineOptions,
    *,
    on_pong: Callable[[float], None],
) -> Stalled | None:
    """Watch until the peer is dead or the connection is over.

    Only the peer's silence counts: time in which nobody reads the stream, because a reader of ours is slow, is no
    silence. Any byte from the peer is as good as a pong. Returns a value and never raises for an expected reason, so
    that it can run beside the connections of others.

    Args:
        stream: The stream under the WebSocket.
        ping: Sends a ping and waits for its pong.
        options: `heartbeat_interval` and `heartbeat_timeout`.
        on_pong: Told each round-trip time, in seconds.

    Returns:
        `Stalled` when the peer was silent for `heartbeat_interval` and then for `heartbeat_timeout` more; None when
        the connection ended under the ping.
    """
    while True:
        listening = stream.waiting_since is not None
        left = options.heartbeat_interval - stream.silence(trio.current_time())
        if left > _MOMENT:
            await trio.sleep(left if listening else max(left, options.heartbeat_interval / 10))
            continue
        try:
            round_trip = await _round_trip(stream, ping, options)
        except TriplaneError:
            return None
        if round_trip is not None:
            on_pong(round_trip)
            continue
        silence = stream.silence(trio.current_time())
        # A ping that was cut off half-way leaves a stream on which nothing more can be said.
        if silence >= options.heartbeat_interval or stream.is_broken:
            return Stalled(
                f"the peer has been silent for {silence:.1f} s and did not answer a ping",
                phase="heartbeat",
                silence=silence,
            )


async def _round_trip(
    stream: GuardedStream, ping: Callable[[], Awaitable[None]], options: EngineOptions
) -> float | None:
    """How long a ping took; None if nothing came for `heartbeat_timeout` seconds of listening, or other bytes did."""
    allowed = stream.silence(trio.current_time()) + options.heartbeat_timeout
    while True:
        left = allowed - stream.silence(trio.current_time())
        asked_at = trio.current_time()
        # While nobody listens, nothing is left less: a pong may be there, unread.
        with trio.move_on_after(max(left, options.heartbeat_timeout / 10)):
            await ping()
            return trio.current_time() - asked_at
        silence = stream.silence(trio.current_time())
        if silence < options.heartbeat_interval or silence >= allowed - _MOMENT or stream.is_broken:
            return None
