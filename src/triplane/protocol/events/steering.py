"""What became of a `ResponseSteer` (OpenAI steering guide).

Accepted is not applied: a steer takes effect with the ``response.created`` of the successor, which may follow
by itself or, after ``response.steer.pending``, once the client has sent the outputs that the parent waits
for.
"""

from typing import ClassVar

import attrs

from triplane.protocol._wire import JSON, Wire
from triplane.protocol.items import Item

from ._base import ServerEvent


@attrs.frozen(eq=False, repr=False)
class Steer(Wire):
    """Which steer it is about.

    ``id`` is absent and ``input`` present on one that was never accepted or is handed back.
    """

    tagged: ClassVar[bool] = False
    previous_response_id: str
    id: str | None = None
    input: str | tuple[Item, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class RequiredInput(Wire):
    """A stub of an item that the client owes before the steer takes effect, such as a function's output."""

    tagged: ClassVar[bool] = False
    type: str
    call_id: str | None = None
    name: str | None = None
    execution: str | None = None
    approval_request_id: str | None = None


@attrs.frozen(eq=False, repr=False)
class ResponseSteerAccepted(ServerEvent):
    """The server has the steer in its queue. The queue lives and dies with the connection."""

    type: ClassVar[str] = "response.steer.accepted"
    steer: Steer


@attrs.frozen(eq=False, repr=False)
class ResponseSteerPending(ServerEvent):
    """The steer waits: send one ``response.create`` with all required outputs, without the steer's text."""

    type: ClassVar[str] = "response.steer.pending"
    steer: Steer
    reason: str
    required_input: tuple[RequiredInput, ...]


@attrs.frozen(eq=False, repr=False)
class ResponseSteerFailed(ServerEvent):
    """The steer will not happen; ``steer.input`` hands it back. `normalise_error` reads the ``error``.

    Known codes: response_not_found, invalid_input, steering_not_supported, too_many_pending_steers,
    response_already_completed, response_not_active, successor_creation_failed.
    """

    type: ClassVar[str] = "response.steer.failed"
    steer: Steer
    error: JSON
