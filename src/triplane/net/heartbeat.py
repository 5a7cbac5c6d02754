"""Whether the peer is still there: a ping when it has been silent, and a verdict when it stays silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from triplane.core.errors import Stalled, TriplaneError

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

    Only the peer's silence counts: while nobody reads the stream, because a reader of ours is slow, there is no
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
        since = stream.silent_since
        # A moment and not a duration: what is left of one can be too short for the clock to move.
        due = (trio.current_time() if since is None else since) + options.heartbeat_interval
        if trio.current_time() < due:
            await trio.sleep_until(due)
            continue
        asked_at = trio.current_time()
        with trio.move_on_after(options.heartbeat_timeout):
            try:
                await ping()
            except TriplaneError:
                return None
            on_pong(trio.current_time() - asked_at)
            continue
        silence = stream.silence(trio.current_time())
        # A ping that was cut off half-way leaves a stream on which nothing more can be said.
        if silence >= options.heartbeat_interval or stream.is_broken:
            return Stalled(
                f"the peer has been silent for {silence:.1f} s and did not answer a ping",
                phase="heartbeat",
                silence=silence,
            )
