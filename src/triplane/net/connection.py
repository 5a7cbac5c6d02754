"""One live WebSocket: its life, its one reader, and what is known about it.

A connection knows nothing of lanes. Whoever has its only lane reads it, or the demultiplexer of its lanes does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import attrs
import trio

from triplane.core.errors import (
    CloseInfo,
    ConnectFailed,
    ConnectionLost,
    ProtocolViolation,
    Stalled,
    TriplaneError,
)
from triplane.core.lifecycle import ConnectionState, next_connection_state
from triplane.core.unasked import judge_unasked

from .guarded_stream import GuardedStream
from .heartbeat import watch_peer
from .refusal import AUTH_CLOSES, put_out, quote, refusal_in
from .wire import Wire, make_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from triplane.core.lifecycle import ConnectionInput
    from triplane.core.options import EngineOptions
    from triplane.core.transport import Transport

    from .dial import Dialler
    from .endpoint import Endpoint
    from .opening import Opening


@attrs.frozen
class ConnectionStatistics:
    """One connection at one moment. Times are in seconds, sizes in bytes.

    Attributes:
        name: Its name in logs.
        state: Its state.
        age: Since the upgrade.
        silence: For how long the peer has been silent; 0 while it is we who do not read.
        round_trip: Of the last ping, None before the first pong.
        requests: Messages sent.
        bytes_up: Bytes sent, framing and handshake included.
        bytes_down: Bytes received, likewise.
        lanes: The names of its lanes.
        buffered: Bytes received that wait for the holders of its lanes.
        dropped: Frames that belonged to none of its lanes.
    """

    name: str
    state: ConnectionState
    age: float
    silence: float
    round_trip: float | None
    requests: int
    bytes_up: int
    bytes_down: int
    lanes: tuple[str, ...] = ()
    buffered: int = 0
    dropped: int = 0


@final
class Connection:
    """One WebSocket to an endpoint.

    `run` is its whole life, driven by one task of the pool. One task at a time may `receive`, any number may `send`.
    While nobody uses the connection, `run` itself reads, so that the peer's close is noticed at once and an unexpected
    message, which would be taken for an answer to the next request, poisons the connection instead.

    Attributes:
        on_retired: Called when the server says, while nobody uses the connection, that it takes nothing new on it.
        is_retired: Whether it was to make way for a younger one.
    """

    transport: ClassVar[Transport] = "websocket"

    def __init__(self, name: str, endpoint: Endpoint, options: EngineOptions) -> None:
        self.name = name
        self.endpoint = endpoint
        self.state: ConnectionState = "dialling"
        self.fault: TriplaneError | None = None
        self.on_retired: Callable[[], object] = self.retire
        self.is_retired = False
        self._options = options
        self._stream: GuardedStream | None = None
        self._wire: Wire | None = None
        self._opening: Opening | None = None
        self._opened_at: float | None = None
        self._round_trip: float | None = None
        self._requests = 0
        self._in_use = False
        self._heard = False
        self._ending: tuple[float, CloseInfo] | None = None
        self._receiving = False
        self._sending = trio.Lock()
        self._idle_scope: trio.CancelScope | None = None
        self._released = trio.Event()
        self._closing = trio.Event()

    def __repr__(self) -> str:
        return f"<Connection {self.name} to {self.endpoint.authority}: {self.state}>"

    @property
    def is_usable(self) -> bool:
        """Whether a new request may be sent on it."""
        return self.state == "open"

    def statistics(self) -> ConnectionStatistics:
        """What is known now."""
        now = trio.current_time()
        stream = self._stream
        return ConnectionStatistics(
            name=self.name,
            state=self.state,
            age=0.0 if self._opened_at is None else now - self._opened_at,
            silence=stream.silence(now) if stream else 0.0,
            round_trip=self._round_trip,
            requests=self._requests,
            bytes_up=stream.bytes_sent if stream else 0,
            bytes_down=stream.bytes_received if stream else 0,
        )

    async def run(self, dialler: Dialler, *, on_open: Callable[[], None]) -> None:
        """Dial, call `on_open` once the WebSocket is open, and return once it is closed.

        Raises:
            ConnectFailed: It could not be opened, or the server closed it at once because it refuses the key. Once it
                was open otherwise, nothing but bugs raises.
        """
        opening = self._opening = dialler.opening(self.endpoint)
        try:
            while True:
                self._stream = GuardedStream(await opening.next_stream())
                try:
                    await self._run_wire(self._stream, opening, on_open)
                except ConnectFailed as error:
                    failure = error
                    quote(failure, opening.endpoint)
                else:
                    return
                finally:
                    await trio.aclose_forcefully(self._stream)
                await opening.answer(failure)
        finally:
            self._become("dial_failed" if self.state == "dialling" else "closed")

    async def _run_wire(self, stream: GuardedStream, opening: Opening, on_open: Callable[[], None]) -> None:
        wire = self._wire = make_wire(stream, opening.endpoint, opening.resource, self._options)
        async with trio.open_nursery() as nursery:
            failure = await self._shake_hands(nursery, wire, stream)
            if failure is None:
                self._opened_at = trio.current_time()
                self._become("opened")
                nursery.start_soon(self._watch_heartbeat, stream, wire, name=f"heartbeat of {self.name}")
                nursery.start_soon(self._read_while_idle, wire, name=f"idle reader of {self.name}")
                on_open()
                await self._closing.wait()
                if self.state != "poisoned":
                    # No shield: the pool's nursery has one, and its deadline is the engine's `close_grace`.
                    with trio.move_on_after(self._options.close_timeout):
                        await wire.aclose()
            nursery.cancel_scope.cancel(reason="the connection is closing")
        # Raised out here, where it reaches the caller as one error and not as the nursery's group.
        failure = failure or (self.fault.again() if isinstance(self.fault, ConnectFailed) else None)
        if failure is not None:
            raise failure

    async def _shake_hands(
        self, nursery: trio.Nursery, wire: Wire, stream: GuardedStream
    ) -> ConnectFailed | None:
        with trio.move_on_after(self._options.upgrade_timeout):
            try:
                await nursery.start(self._run_until_over, wire)
            except ConnectFailed as failure:
                return failure
            return None
        # A refusal stands, even if it never comes to its end.
        return refusal_in(self.endpoint.url, bytes(stream.head or b"")) or ConnectFailed(
            f"{self.endpoint.url} did not answer the upgrade within {self._options.upgrade_timeout:g} s"
            " (option upgrade_timeout)",
            stage="upgrade",
        )

    async def _run_until_over(self, wire: Wire, *, task_status: trio.TaskStatus[None]) -> None:
        await wire.run(task_status=task_status)
        self._ending = (trio.current_time(), wire.close_info())
        if self.is_usable or self.state == "draining":
            self._become("lost")
        self._closing.set()

    async def _watch_heartbeat(self, stream: GuardedStream, wire: Wire) -> None:
        stalled = await watch_peer(stream, wire.ping, self._options, on_pong=self._note_round_trip)
        if stalled is not None:
            self.poison(stalled)

    def _note_round_trip(self, seconds: float) -> None:
        self._round_trip = seconds

    async def _read_while_idle(self, wire: Wire) -> None:
        while True:
            while self._in_use:
                self._released = trio.Event()
                await self._released.wait()
            with trio.CancelScope() as self._idle_scope:
                try:
                    while True:
                        verdicts = set(map(judge_unasked, await wire.receive()))
                        self._heard = True
                        if "violation" in verdicts:
                            break
                        if "retire" in verdicts:
                            self.on_retired()
                    self.poison(ProtocolViolation("the server sent a message that nobody had asked for"))
                except (ConnectionLost, ProtocolViolation) as fault:
                    self.poison(fault)
                return

    def begin_use(self) -> None:
        """From now on the caller reads. Not a checkpoint."""
        self._in_use = True
        if self._idle_scope is not None:
            self._idle_scope.cancel(reason="a lane of this connection is in use")

    def end_use(self) -> None:
        """The caller has read everything it had asked for. Not a checkpoint."""
        self._in_use = False
        self._released.set()

    async def send(self, text: str) -> None:
        """Send one request, after those that other tasks are sending. If it is cut short, the connection is poisoned.

        Cancelled before it has begun, as while it waits for others, it has done nothing, and the connection is as it was.

        Raises:
            ConnectionLost: The connection is over, or was poisoned.
            Stalled: The peer did not take the bytes within `send_timeout`.
        """
        try:
            self._sending.acquire_nowait()
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._send(text)
        finally:
            self._sending.release()

    async def _send(self, text: str) -> None:
        if self.state not in ("open", "draining"):
            raise self.verdict()
        assert self._stream is not None, "there is a connection"
        assert self._wire is not None, "there is a connection"
        whole = False
        self._stream.uploading = True
        try:
            with trio.move_on_after(self._options.send_timeout):
                await self._wire.send(text)
                whole = True
        except ConnectionLost as lost:
            self.poison(lost)
            raise self.verdict() from None
        finally:
            self._stream.end_upload()
            if not whole:
                self.poison(ConnectionLost("a request was interrupted half-way", connection=self.name))
        if not whole:
            raise Stalled(
                f"the peer did not take a request of {len(text)} characters within"
                f" {self._options.send_timeout:g} s (option send_timeout)",
                phase="send",
                silence=self._options.send_timeout,
            )
        self._requests += 1

    async def receive(self) -> tuple[str, ...]:
        """The next messages, at least one. Cancelling it loses nothing.

        Raises:
            ConnectionLost: The connection is over and everything received has been read.
            Stalled: The heartbeat found the peer dead.
            ProtocolViolation: A message is not text.
            trio.BusyResourceError: Another task is receiving.
        """
        if self._receiving:
            raise trio.BusyResourceError(f"another task is receiving from {self.name}")
        # A connection that ended without a fault of ours may still be read: what came before its end is whole.
        if self._wire is None or self.fault is not None:
            raise self.verdict()
        self._receiving = True
        try:
            frames = await self._wire.receive()
        except ProtocolViolation as violation:
            self.poison(violation)
            raise
        except ConnectionLost as lost:
            self.poison(lost)
            raise self.verdict() from None
        finally:
            self._receiving = False
        self._heard = True
        return frames

    def poison(self, fault: TriplaneError) -> None:
        """Mark the connection as one whose state is no longer known: it can only be closed. Not a checkpoint."""
        if self.fault is None:
            self.fault = (isinstance(fault, ConnectionLost) and self._put_out()) or fault
        if self.state not in ("closed", "dialling"):
            self._become("poison")
        self._closing.set()

    def retire(self) -> None:
        """Take nothing new; what is under way may end. Not a checkpoint."""
        if self.is_usable:
            self._become("drain")
            self.is_retired = True

    def close(self) -> None:
        """Ask `run` to close the WebSocket in good order and return. Not a checkpoint."""
        if self.is_usable:
            self._become("drain")
        self._closing.set()

    def close_info(self) -> CloseInfo:
        """How it ended, or how it would be seen to have ended now."""
        if isinstance(self.fault, ConnectionLost):
            return self.fault.close
        return self._wire.close_info() if self._wire is not None else CloseInfo()

    def _put_out(self) -> ConnectFailed | None:
        """The refusal, if the server let us in and put us out at once, before it said anything else."""
        if self._heard or self._wire is None or self._opening is None or self._opened_at is None:
            return None
        moment, close = self._ending or (trio.current_time(), self._wire.close_info())
        # Later it is something else: a server that closes idle connections, for instance.
        at_once = moment - self._opened_at <= self._options.upgrade_timeout
        if close.by != "peer" or close.code not in AUTH_CLOSES or not at_once:
            return None
        # Noted now: the next connection may be dialled before the task of this one has come to its end.
        self._opening.put_out()
        return put_out(self.endpoint.url, close)

    def verdict(self) -> TriplaneError:
        """How it ended, as an error of its own for each who asks: one must not be raised in several tasks."""
        fault = self.fault or self._put_out()
        if isinstance(fault, ConnectFailed):
            return fault.again()
        if isinstance(fault, Stalled):
            return Stalled(fault.message, phase=fault.phase, silence=fault.silence)
        if isinstance(fault, ConnectionLost):
            return ConnectionLost(fault.message, close=fault.close, connection=self.name)
        words = "the connection is closed" if fault is None else str(fault)
        return ConnectionLost(words, close=self.close_info(), connection=self.name)

    def _become(self, what: ConnectionInput) -> None:
        self.state = next_connection_state(self.state, what)
