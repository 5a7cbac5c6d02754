"""Responses that go on while nobody listens. No I/O but waiting, and no task: they catch up whenever somebody looks.

A response is a sequence of events and waits, so what there is of it at a given time follows from when it began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

import orjson
import trio

from triplane.server.steps import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triplane.server.conversation import Item
    from triplane.server.faults.catalogue import Strike
    from triplane.server.stream import Event, ResponseStream

__all__ = ["BackgroundResponse"]

# How much of a response is made at one look, so that one without an end does not stop everything else.
_EVENTS: Final = 10_000


@final
class BackgroundResponse:
    """One response with `background: true`.

    Args:
        make: makes the response's stream; what it is given is the time as the response has it.
        input_items: of its request.
        clock: the time in seconds.
        delay: seconds for which it is queued.
        on_ended: called once its last event is made.

    Attributes:
        stream: makes its events.
        input_items: see above.
        now: the clock.
        events: those made so far.
        response: the response object as the latest of them has it.
    """

    def __init__(
        self,
        make: Callable[[Callable[[], int]], ResponseStream],
        input_items: Sequence[Item],
        *,
        clock: Callable[[], float],
        delay: float,
        on_ended: Callable[[BackgroundResponse], None],
    ) -> None:
        self.now = clock
        self.input_items = input_items
        self._due = clock()
        self.stream = make(lambda: int(self._due))
        self.events: list[Event] = []
        self.response: dict[str, Any] = {}
        self._steps: Iterator[Event | Wait | Strike] = self.stream.play()
        self._on_ended = on_ended
        self._ended = False
        self._cancelled = trio.Event()
        self._queue(delay)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    async def wait(self) -> None:
        """Wait until there may be more of it."""
        with trio.move_on_after(max(self._due - self.now(), 0)):
            await self._cancelled.wait()

    def _queue(self, delay: float) -> None:
        created = next(self._steps)
        assert isinstance(created, bytes)
        event = orjson.loads(created)
        event["response"] |= {"background": True, "status": "queued"}
        self.response = event["response"]
        queued = {**event, "type": "response.queued", "sequence_number": event["sequence_number"] + 1}
        self.events += (orjson.dumps(event), orjson.dumps(queued))
        self._due += delay

    def catch_up(self) -> None:
        """Make what is due by now."""
        now = self.now()
        limit = len(self.events) + _EVENTS
        while not self._ended and self._due <= now and len(self.events) < limit:
            step = next(self._steps, None)
            if step is None:
                self._ended = True
                self._on_ended(self)
            elif isinstance(step, Wait):
                self._due += step.seconds
            elif isinstance(step, bytes):
                self._take(step)
            # Faults are of connections, and here there is none.

    def _take(self, data: bytes) -> None:
        event = orjson.loads(data)
        if "sequence_number" in event:
            # `response.queued` stands before it.
            event["sequence_number"] += 1
        if "response" in event:
            event["response"]["background"] = True
            self.response = event["response"]
        self.events.append(orjson.dumps(event))

    def cancel(self) -> None:
        """Let nothing more come, if it has not ended by now."""
        self.catch_up()
        if not self._ended:
            self._ended = True
            self._cancelled.set()
            output = orjson.loads(orjson.dumps(self.stream.output))
            self.response = {**self.response, "status": "cancelled", "output": output}
