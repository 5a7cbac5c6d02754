"""A run that leaves another one: where it begins, and who has to wait for whom.

On one connection a fork continues the response that its source ended with, on another lane. Unless it is stored, the
server knows that response only until the source's lane goes on, and looks it up when the fork starts, not when it is
sent (OpenAI WebSocket-mode guide). So the source waits for the fork's ``response.in_progress`` before its next request;
not for ever: a fork that takes too long sends the whole conversation instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import attrs
import trio

from triplane.core.records import ForkedFrom, Item
from triplane.tools import Vault

if TYPE_CHECKING:
    from triplane.core.records import FramesReceived
    from triplane.core.reducer import RunReducer
    from triplane.net.lane import Lane


@attrs.frozen
class Origin:
    """What a fork has of its source.

    Attributes:
        items: The conversation that it inherits.
        forked_from: What its log says of it, None if the run is no fork.
        hold: What it has on the lane of its source, if that lane must not go on before it has begun.
        vault: What the masks in its conversation stand for.
    """

    items: tuple[Item, ...] = ()
    forked_from: ForkedFrom | None = None
    hold: Hold | None = None
    vault: Vault | None = None


NO_ORIGIN: Final = Origin()


@final
class Hold:
    """A fork's hold on the lane of its source: the source goes on once it is lifted, or will not wait any longer.

    Attributes:
        is_broken: Whether the source has gone on all the same: what the fork was to continue is gone.
    """

    def __init__(self, forking: Forking) -> None:
        self._forking = forking
        self.is_broken = False

    def lift(self) -> None:
        """Let the source go on. Idempotent. Not a checkpoint."""
        self._forking.lift(self)


@final
class Forking:
    """What a run has to do with its forks, and with the run that it is a fork of itself.

    Args:
        run_id: The run.
        reducer: Its state.
        origin: What it has of its source.
    """

    def __init__(self, run_id: str, reducer: RunReducer, origin: Origin) -> None:
        self.forked_from = origin.forked_from
        self._run_id = run_id
        self._reducer = reducer
        self._hold = origin.hold
        self._holds: list[Hold] = []
        self._changed = trio.Event()

    # As a source.

    def hold(self, lane: Lane | None) -> Hold | None:
        """A hold on the run's lane, if there is something that a fork could continue on another one.

        Not a checkpoint. A request that is under way cannot be held back.
        """
        head = self._reducer.head
        if (
            lane is None
            or lane.stream_id is None
            or head is None
            or head.stored
            or lane.memory.response_id != head.response_id
            or self._reducer.status not in ("tools", "waiting")
        ):
            return None
        hold = Hold(self)
        self._holds.append(hold)
        return hold

    def lift(self, hold: Hold) -> None:
        """See `Hold.lift`."""
        if hold in self._holds:
            self._holds.remove(hold)
            self.changed()

    def changed(self) -> None:
        """Have those look again who wait for something here. Not a checkpoint."""
        self._changed.set()
        self._changed = trio.Event()

    async def outputs(self) -> None:
        """Return once no call of the run waits for its output, or the run is parked or has ended. A checkpoint."""
        await trio.lowlevel.checkpoint()
        run = self._reducer
        while run.calls.pending and run.status != "parked" and not run.is_over:
            await self._changed.wait()

    def leave(self, hold: Hold | None, *, continues: bool) -> Origin:
        """What a fork of this run begins with. Not a checkpoint.

        Args:
            hold: The fork's.
            continues: Whether the fork could continue a response of this run, were it not for the lane.
        """
        items, head = self._reducer.settled()
        if head is None or not continues:
            if hold is not None:
                hold.lift()
            return Origin(items, ForkedFrom(self._run_id))
        origin = ForkedFrom(self._run_id, head.response_id, head.connection, head.length, head.stored)
        return Origin(items, origin, hold)

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109  # a limit that the engine itself imposes
        """Return once no fork holds the run's lane, or break their holds after `timeout` seconds.

        A checkpoint only if it waits.
        """
        if not self._holds:
            return
        with trio.move_on_after(timeout):
            while self._holds:
                await self._changed.wait()
        for hold in self._holds:
            hold.is_broken = True
        self._holds.clear()

    # As a fork.

    @property
    def is_late(self) -> bool:
        """Whether the run's source has gone on and taken away what was to be continued."""
        return self._hold is not None and self._hold.is_broken

    def note(self, received: FramesReceived) -> None:
        """Let the source go on if the server has begun with this run's request. Not a checkpoint."""
        if self._hold is not None:
            response = self._reducer.response
            has_begun = any(event.type == "response.in_progress" for event in received.events)
            if has_begun or response.has_output or response.is_over:
                self.begin()

    def begin(self) -> None:
        """Let the source go on: what it had is not needed any more. Idempotent. Not a checkpoint."""
        if self._hold is not None:
            self._hold.lift()
            self._hold = None
