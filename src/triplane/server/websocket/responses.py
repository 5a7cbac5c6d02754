"""The responses of one connection: those going on, and how the others ended. No I/O but waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import trio

from triplane.server.faults.catalogue import ResponseFault
from triplane.server.stream import ResponseStream

from .lanes import Lane
from .state import Resolved
from .steering import Steer, SteerFailed, check_steerable

if TYPE_CHECKING:
    from collections.abc import Collection

    from triplane.server.conversation import Item
    from triplane.server.stream import Event

    from .inject import Inject

__all__ = ["Ended", "Responses", "Running"]

# How many ended responses a connection knows the end of, to tell a late steer from one that never had a target.
_REMEMBERED: Final = 256


@final
@attrs.define(eq=False)
class Running:
    """A response that is going on, and what the client has said about it meanwhile.

    Attributes:
        resolved: its request.
        stream: makes its events.
        lane: where they are sent.
        faults: what goes wrong with it.
        steers: those accepted and not yet committed, in their order.
    """

    resolved: Resolved
    stream: ResponseStream
    lane: Lane
    faults: Sequence[ResponseFault]
    steers: list[Steer] = attrs.Factory(list)
    _woken: trio.Event = attrs.Factory(trio.Event)

    @property
    def going_on(self) -> bool:
        """Whether the event that ends it has not been made yet."""
        return self.stream.status == "in_progress"

    @property
    def steered_items(self) -> list[Item]:
        """The input of all its steers."""
        return [item for steer in self.steers for item in steer.items]

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless what the response waits for comes earlier."""
        self._woken = trio.Event()
        with trio.move_on_after(seconds):
            await self._woken.wait()

    def accept(self, steer: Steer, *, max_steers: int, models: Collection[str]) -> Event:
        """Take `steer` on. Return the event that says so, to be sent before any that is made later.

        Raises:
            SteerFailed: it is not accepted.
        """
        check_steerable(self.resolved.create, models)
        if len(self.steers) >= max_steers:
            raise SteerFailed(
                "too_many_pending_steers", f"At most {max_steers} steers can be pending for a response."
            )
        self.steers.append(steer)
        event = self.stream.control("response.steer.accepted", steer=steer.shown())
        self.stream.steer()
        return event

    def take_injected(self, inject: Inject) -> Event:
        """Take outputs in. Return the event that says so, to be sent before any that is made later."""
        event = self.stream.control("response.inject.created", response_id=self.stream.id)
        if self.stream.inject(inject.items):
            self._woken.set()
        return event


@final
@attrs.frozen
class Ended:
    """How a response ended: "completed", "incomplete" or "failed", on the lane of this name."""

    status: str
    lane: str | None

    def refuse_steer(self) -> SteerFailed:
        """Return why it cannot be steered any more."""
        if self.status == "completed":
            return SteerFailed("response_already_completed", "The response has completed.")
        return SteerFailed("response_not_active", f"The response has ended as {self.status}.")

    def tag(self) -> dict[str, Any]:
        """Return the fields that name its lane in an event about it."""
        return {} if self.lane is None else {"stream_id": self.lane}


@final
class Responses:
    """The responses of a connection, by id."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self._ended: dict[str, Ended] = {}

    def begin(self, running: Running) -> None:
        """Enter a response."""
        self._running[running.stream.id] = running

    def end(self, running: Running) -> None:
        """Note that nothing more of a response will come."""
        response_id = running.stream.id
        del self._running[response_id]
        # A fault may have ended it in its midst.
        status = "failed" if running.going_on else running.stream.status
        self._ended[response_id] = Ended(status, running.lane.name)
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def find(self, response_id: str) -> Running | Ended | None:
        """Return what is known about a response, if it was one of this connection."""
        running = self._running.get(response_id)
        if running is None:
            return self._ended.get(response_id)
        return running if running.going_on else Ended(running.stream.status, running.lane.name)
