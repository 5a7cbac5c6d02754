"""The life of a response: created, queued, in progress, and one of three ends."""

from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from triplane.protocol._wire import JSON, Payload

from ._base import ServerEvent

if TYPE_CHECKING:
    from triplane.protocol.response import Response


def _payload(given: "Response | JSON | Payload[Response]") -> "Payload[Response]":
    return Payload.of("Response", given)


@attrs.frozen(eq=False, repr=False)
class ResponseEvent(ServerEvent):
    """An event that carries the whole response as it stands. Base of the six lifecycle events."""

    __match_args__: ClassVar[tuple[Literal["response"]]] = ("response",)  # pyright: ignore[reportIncompatibleVariableOverride]

    _response: Payload["Response"] = attrs.field(alias="response", converter=_payload)

    @property
    def response(self) -> "Response":
        """The response, structured on first access."""
        return self._response.value

    @property
    def raw_response(self) -> JSON:
        """The response as the JSON object that came over the wire. Shared: do not change it."""
        return self._response.raw


class ResponseCreated(ResponseEvent):
    """The first event of a response. For a steered successor it is the point where the steer took effect."""

    __slots__ = ()
    type: ClassVar[str] = "response.created"


class ResponseQueued(ResponseEvent):
    """The response waits for its turn. Whether WebSocket lanes ever send it is not documented."""

    __slots__ = ()
    type: ClassVar[str] = "response.queued"


class ResponseInProgress(ResponseEvent):
    """The response runs. A fork has its parent from here on (OpenAI WebSocket-mode guide)."""

    __slots__ = ()
    type: ClassVar[str] = "response.in_progress"


class ResponseCompleted(ResponseEvent):
    """Terminal: the response is whole, with its output and usage."""

    __slots__ = ()
    type: ClassVar[str] = "response.completed"


class ResponseIncomplete(ResponseEvent):
    """Terminal: the response stopped early; ``incomplete_details.reason`` says why.

    An incomplete function call has truncated arguments and must not be run. The reason ``steered`` means that
    a successor follows without being asked for.
    """

    __slots__ = ()
    type: ClassVar[str] = "response.incomplete"


class ResponseFailed(ResponseEvent):
    """Terminal: the response failed; ``response.error`` says why."""

    __slots__ = ()
    type: ClassVar[str] = "response.failed"
