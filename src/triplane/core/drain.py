"""When an abandoned answer is over, so that its lane can be used again.

There is no message that cancels a response (OpenAI WebSocket-mode guide), so what is still coming has to be read. Events
do not say whose they are, and the next request must not be answered by the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .accumulator import OUTPUT_FOLDS
from .records import FramesReceived
from .retry import judge_server_error
from .turn import TurnAccumulator

if TYPE_CHECKING:
    from collections.abc import Iterable


class Drain:
    """Looks at the frames of an answer that nobody wants any more, wherever in it that begins."""

    def __init__(self) -> None:
        self._turn = TurnAccumulator()
        self._is_broken = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come, or it can no longer be told."""
        return self._is_broken or self._turn.is_over

    @property
    def is_clean(self) -> bool:
        """Whether the answer has ended, so that what comes next is not part of it."""
        # A steer that waits for the client's outputs is answered when the client goes on without them.
        waits = any(steer.state == "pending" for steer in self._turn.steers)
        return self._turn.is_over and not self._is_broken and not waits

    @property
    def response_ids(self) -> list[str | None]:
        """The ids of the responses that were seen to end; None for one that had none."""
        return [response.id for response in self._turn.responses]

    def take(self, frames: Iterable[str]) -> None:
        """Take the next frames in. What the model says is not kept."""
        for event in FramesReceived("", tuple(frames)).events:
            if OUTPUT_FOLDS[event.__class__] is None:
                self._turn.apply(event)
        response = self._turn.response
        error = response.error
        # What is being made may go on after the announcement that nothing else begins on this connection.
        told_to_leave = error is not None and (
            judge_server_error(error.code, error.status, error.type) == "new_connection"
        )
        if response.undecodable is not None or told_to_leave:
            self._is_broken = True
