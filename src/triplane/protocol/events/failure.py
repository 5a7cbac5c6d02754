"""The error event, in every shape that servers send."""

from typing import TYPE_CHECKING, ClassVar

import attrs

from triplane.protocol._wire import JSON

from ._base import ServerEvent

if TYPE_CHECKING:
    from triplane.protocol.errors import ErrorDetail


@attrs.frozen(eq=False, repr=False)
class ErrorEvent(ServerEvent):
    """Something failed: a request was rejected, a response broke off, or the connection reached a limit.

    It ends the response it belongs to; no ``response.failed`` follows. Without a ``stream_id`` it belongs to
    the default lane or to the connection (OpenAI WebSocket-mode guide).

    The fields are what came; servers differ in what they send where, and ``detail`` is the same for all of
    them.
    """

    type: ClassVar[str] = "error"
    error: JSON | None = None
    status: int | None = None

    @property
    def detail(self) -> "ErrorDetail":
        """What went wrong, in one form for all servers: `normalise_error` of this event, without a clock."""
        from triplane.protocol.errors import normalise_error  # noqa: PLC0415 - errors know events

        return normalise_error(self)


class ResponseErrorEvent(ErrorEvent):
    """The same event under the name that some other servers use."""

    __slots__ = ()
    type: ClassVar[str] = "response.error"


class UntypedErrorEvent(ErrorEvent):
    """An error object without a ``type``, as other servers answer a bad first frame."""

    __slots__ = ()
    tagged: ClassVar[bool] = False
