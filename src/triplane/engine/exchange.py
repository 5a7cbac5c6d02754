"""One request on a lane and the frames that answer it, under the deadlines that the engine imposes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from triplane.core.errors import Stalled, StallPhase

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.options import EngineOptions
    from triplane.net.lane import Lane

    from .steering import Steering


async def exchange(
    lane: Lane,
    request: str,
    *,
    options: EngineOptions,
    take: Callable[[tuple[str, ...]], bool],
    make_room: Callable[[], Awaitable[None]] | None = None,
    on_silence: Callable[[float], object] | None = None,
    steering: Steering | None = None,
    mask: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None,
) -> None:
    """Send a request and hand over what comes until `take` says that nothing more of it can come.

    Nothing can be cancelled between the arrival of frames and `take`: there is no checkpoint there. When this
    raises, answers may still be on their way, so the caller must abandon the lane.

    Args:
        lane: Where; the caller holds it.
        request: The text of the request.
        options: `first_event_timeout` and `idle_timeout`.
        take: Gets each batch of frames; true ends the exchange.
        make_room: Awaited before each read; it may wait for slow readers, and that time counts as ours and not as
            the server's silence.
        on_silence: Told after each heartbeat of silence how many seconds nothing has come.
        mask: Takes secrets out of each batch before anybody sees it.
        steering: Interrupts reading when it has something to send, and says how long to wait for another response.

    Raises:
        ConnectFailed: Over HTTP, whose connections come and go: none could be opened, and nothing was sent.
        ConnectionLost: The connection ended first.
        Stalled: The server was silent for too long, or the heartbeat found it dead.
        ProtocolViolation: A message was not text.
    """
    await lane.send(request)
    told_at = math.inf if on_silence is None else options.heartbeat_interval + overdue_after(options)
    phase: StallPhase = "first_event"
    allowed = options.first_event_timeout
    limit = min(allowed, told_at)
    # Since when the silence is the server's; None before that. A steer in between does not begin it anew.
    since: float | None = None
    while True:
        # One scope for all reads, as long as something comes; its deadline moves with each batch.
        with trio.CancelScope() as scope:
            if steering is not None:
                steering.reads_in(scope)
            while True:
                if since is None:
                    if make_room is not None:
                        scope.deadline = math.inf
                        await make_room()
                    since = trio.current_time()
                scope.deadline = since + limit
                frames = await lane.receive() if mask is None else mask(await lane.receive())
                since = None
                if take(frames):
                    return
                phase, allowed = "between_events", options.idle_timeout
                if steering is not None:
                    phase, allowed = steering.patience() or (phase, allowed)
                limit = min(allowed, told_at)
        if steering is not None and await steering.send_waiting(lane):
            continue
        # A deadline can pass in the very moment in which frames come; then nobody has been silent.
        if since is None or trio.current_time() < since + limit:
            continue
        if on_silence is None or limit >= allowed:
            break
        on_silence(trio.current_time() - since)
        limit = min(allowed, limit + options.heartbeat_interval)
    where = {
        "first_event": "after a request (option first_event_timeout)",
        "between_events": "in the middle of a response (option idle_timeout)",
        "steer": "after a response whose steer was not answered (option steer_timeout)",
    }
    raise Stalled(f"the server sent nothing for {allowed:g} s {where[phase]}", phase=phase, silence=allowed)


def overdue_after(options: EngineOptions) -> float:
    """Seconds after which a pong is late. Silences are told of so long after a heartbeat: by then its pong is in."""
    return min(1.0, options.heartbeat_timeout / 2)
