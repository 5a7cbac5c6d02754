"""From an accepted upgrade to the end of its WebSocket, in bounded time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from triplane.server.journal import Recorder

from .session import Session
from .wire import Close, GuardedStream, ReaderDied, Socket, SocketClosed

if TYPE_CHECKING:
    from triplane.server.options import Options, Shared

__all__ = ["converse", "linger"]

logger = logging.getLogger("triplane.server")


async def linger(stream: trio.abc.Stream, seconds: float) -> None:
    """Read what the peer is still sending, for a while.

    Closing a socket with unread bytes resets the connection, and the reset may overtake what was sent last.

    Raises:
        trio.BrokenResourceError: the connection is lost.
    """
    with trio.move_on_after(seconds):
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        while await stream.receive_some(65536):
            pass


async def converse(
    transport: trio.abc.Stream,
    shared: Shared,
    *,
    key: bytes,
    rest: bytes,
    betas: frozenset[str],
    recorder: Recorder | None,
) -> None:
    """Accept a WebSocket, run its session, and close it. The transport still has to be closed afterwards.

    Args:
        transport: the connection that the upgrade came from.
        shared: the server's state.
        key: the upgrade's.
        rest: what the client sent behind the upgrade.
        betas: what the client asked for in its OpenAI-Beta header.
        recorder: notes what goes over it; None if nobody wants to know.

    Raises:
        trio.BrokenResourceError: the connection is lost.
    """
    stream = GuardedStream(
        transport,
        key=key,
        rest=rest,
        traffic=shared.traffic,
        send_timeout=shared.options.send_timeout,
        faults=shared.faults.of_connection(),
    )
    try:
        close = await _converse(stream, shared, _Ending(betas, recorder))
        if close.linger and stream.close_sent and not stream.doomed:
            await linger(transport, shared.options.close_timeout)
    except* ReaderDied as group:
        logger.debug("The WebSocket library gave up on a connection: %r", group)


@attrs.define
class _Ending:
    """What a session is to know, and how it ended, for the task that closes its socket."""

    betas: frozenset[str]
    recorder: Recorder | None
    reached: trio.Event = attrs.Factory(trio.Event)
    socket: Socket | None = None
    close: Close = attrs.field(factory=lambda: Close(None))


async def _converse(stream: GuardedStream, shared: Shared, ending: _Ending) -> Close:
    """Run a session and close its socket. Returns how it was closed.

    The session is cancelled when the server is. The task that reads frames must not be, or it could not see the peer's
    answer to our close frame: it runs under a shield, which ends at most `close_timeout` after the session.
    """
    async with trio.open_nursery() as session_nursery, trio.open_nursery() as wire_nursery:
        wire_nursery.cancel_scope.shield = True
        session_nursery.start_soon(_run_session, wire_nursery, stream, shared, ending)
        await ending.reached.wait()
        if ending.socket is not None and ending.close.code is not None:
            with trio.move_on_after(shared.options.close_timeout):
                await ending.socket.aclose(ending.close.code, ending.close.reason)
        wire_nursery.cancel_scope.cancel()
    if ending.recorder is not None and ending.socket is not None:
        if ending.close.code is None and (peer := ending.socket.peer_close) is not None:
            ending.recorder.closed("in", *peer)
        else:
            ending.recorder.closed("out", ending.close.code, ending.close.reason)
    return ending.close


async def _run_session(
    wire_nursery: trio.Nursery, stream: GuardedStream, shared: Shared, ending: _Ending
) -> None:
    options: Options = shared.options
    try:
        with trio.move_on_after(options.handshake_timeout) as scope:
            ending.socket = await Socket.accept(
                wire_nursery, stream, max_message_size=options.max_message_size
            )
        if ending.socket is None or scope.cancelled_caught:
            return
        # What stands if the session is cancelled.
        ending.close = Close(1001, "The server is shutting down.")
        if ending.recorder is not None:
            ending.recorder.answer(101, {}, upgrade=True)
            ending.socket.recorder = ending.recorder
        ended = await stream.faults.limit(Session(ending.socket, shared, betas=ending.betas).run)
        ending.close = ended if isinstance(ended, Close) else Close(ended.code, ended.reason)
    except SocketClosed:
        logger.debug("A client went away during the upgrade.")
    finally:
        ending.reached.set()
