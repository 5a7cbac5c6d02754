"""What became of a `ResponseInject` (multi-agent beta).

The answers carry no call id and come in the order of the requests.
"""

from typing import ClassVar

import attrs

from triplane.protocol._wire import JSON
from triplane.protocol.items import Item

from ._base import ServerEvent


@attrs.frozen(eq=False, repr=False)
class ResponseInjectCreated(ServerEvent):
    """The outputs are part of the running response."""

    type: ClassVar[str] = "response.inject.created"
    response_id: str


@attrs.frozen(eq=False, repr=False)
class ResponseInjectFailed(ServerEvent):
    """The outputs came too late; ``input`` hands them back, for a new request.

    Known codes: response_already_completed, response_not_found. `normalise_error` reads the ``error``.
    """

    type: ClassVar[str] = "response.inject.failed"
    response_id: str
    input: tuple[Item, ...]
    error: JSON
