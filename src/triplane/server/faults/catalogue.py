"""What can go wrong on request, so that a client's answer to it can be tested: the catalogue.

A fault of an upgrade or of a connection strikes the n-th of them (`nth`, counted from 1) or every one (None). A fault
of a response strikes the n-th response that its `connection`, `lane` and `model` allow, and does so at a point of it.
Counting begins when the server learns of the fault. What each fault does to a response is in `mischief`, which of them
strike is decided in `fault_plan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, final, get_args

import attrs
from attrs.validators import in_, instance_of

from . import fields

__all__ = [
    "KINDS",
    "SETUP_EVENTS",
    "AnswerUpgrade",
    "BinaryFrames",
    "CloseAtOnce",
    "CloseSocket",
    "ConnectionFault",
    "CutAtByte",
    "Drop",
    "Duplicate",
    "ErrorEvent",
    "ErrorShape",
    "Fault",
    "Fragment",
    "HalfOpen",
    "IgnoreUpgrade",
    "Insert",
    "KeepAlive",
    "Malformed",
    "Omit",
    "Oversize",
    "PingStorm",
    "RedirectUpgrade",
    "RefuseUpgrade",
    "Reset",
    "ResponseFault",
    "SlowClose",
    "SlowPong",
    "SpoilOutput",
    "Stall",
    "Strike",
    "Swap",
    "Truncate",
    "UpgradeFault",
]

SETUP_EVENTS: Final = (
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_summary_part.added",
)
"""The events that announce an item or a part, which some servers leave out."""


@attrs.frozen
class UpgradeFault:
    """Something that happens instead of an upgrade.

    Attributes:
        nth: which upgrade of the server; None for all.
    """

    nth: int | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.whole(1)))


@final
@attrs.frozen
class RefuseUpgrade(UpgradeFault):
    """Answer the upgrade with this status instead of 101.

    Attributes:
        status: of the HTTP answer.
        headers: of it, such as `{"Retry-After": "1"}`.
        body: what stands in it instead of a JSON error object.
        delay: seconds before the answer.
    """

    status: int = attrs.field(validator=[fields.whole(200), in_(range(200, 600))])
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=fields.headers)
    body: bytes | None = attrs.field(
        default=None, validator=fields.optional(instance_of(bytes)), metadata=fields.BYTES
    )
    delay: float = attrs.field(default=0.0, kw_only=True, validator=fields.seconds)


@final
@attrs.frozen
class RedirectUpgrade(UpgradeFault):
    """Send the client to `location`."""

    location: str = attrs.field(validator=fields.not_empty)
    status: int = attrs.field(default=307, kw_only=True, validator=[fields.whole(300), in_(range(300, 400))])
    delay: float = attrs.field(default=0.0, kw_only=True, validator=fields.seconds)


@final
@attrs.frozen
class AnswerUpgrade(UpgradeFault):
    """Answer the upgrade with these bytes, whatever they are, and end the connection.

    Half a head, a wrong `Sec-WebSocket-Accept`, HTTP/1.0, no HTTP at all.
    """

    data: bytes = attrs.field(validator=instance_of(bytes), metadata=fields.BYTES)
    delay: float = attrs.field(default=0.0, kw_only=True, validator=fields.seconds)


@final
@attrs.frozen
class IgnoreUpgrade(UpgradeFault):
    """Never answer the upgrade; the connection stays open until the client closes it, or for `seconds`."""

    seconds: float | None = attrs.field(default=None, validator=fields.optional(fields.seconds))


@attrs.frozen
class ConnectionFault:
    """Something that is wrong with a WebSocket as a whole.

    Attributes:
        nth: which WebSocket of the server; None for all.
    """

    nth: int | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.whole(1)))


@final
@attrs.frozen
class CloseAtOnce(ConnectionFault):
    """Accept the upgrade, and close the WebSocket with `code` after `delay` seconds, whatever is going on."""

    code: int = attrs.field(default=1008, validator=[fields.whole(0), in_(fields.CLOSE_CODES)])
    reason: str = attrs.field(default="", kw_only=True, validator=fields.fits_a_close_frame)
    delay: float = attrs.field(default=0.0, kw_only=True, validator=fields.seconds)


@final
@attrs.frozen
class CutAtByte(ConnectionFault):
    """End the connection when `byte` bytes have been sent, the answer to the upgrade included.

    Attributes:
        byte: how many bytes are sent; the next one is not.
        then: "drop" closes the connection, "reset" does so with a TCP reset, "half_open" keeps it and is silent.
    """

    byte: int = attrs.field(validator=fields.whole(0))
    then: Literal["drop", "reset", "half_open"] = attrs.field(
        default="drop", kw_only=True, validator=in_(("drop", "reset", "half_open"))
    )


@final
@attrs.frozen
class SlowPong(ConnectionFault):
    """Answer pings `seconds` late, or never (None)."""

    seconds: float | None = attrs.field(default=None, validator=fields.optional(fields.seconds))


@final
@attrs.frozen
class SlowClose(ConnectionFault):
    """Answer the client's close frame `seconds` late, or never (None); the connection stays open meanwhile."""

    seconds: float | None = attrs.field(default=None, validator=fields.optional(fields.seconds))


@attrs.frozen
class ResponseFault:
    """Something that goes wrong at a point of a response.

    Attributes:
        after_events: strikes once so many events of the response are out. Only the response's own events count, and
            all of them, whatever other faults make of them.
        before: strikes, moreover, only when the event that comes next is of this type, such as "response.completed".
        nth: which response of those that the next three allow; None for all.
        connection: only on this WebSocket of the server, counted from 1.
        lane: only on the lane of this name; "" is the default lane.
        model: only where the request names this model.
    """

    after_events: int = attrs.field(default=0, validator=fields.whole(0))
    before: str | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.text))
    nth: int | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.whole(1)))
    connection: int | None = attrs.field(
        default=None, kw_only=True, validator=fields.optional(fields.whole(1))
    )
    lane: str | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.text))
    model: str | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.text))


@final
@attrs.frozen
class Drop(ResponseFault):
    """Close the TCP connection, without a closing handshake."""


@final
@attrs.frozen
class Reset(ResponseFault):
    """End the TCP connection with a reset; where the stream is no socket, close it."""


@final
@attrs.frozen
class CloseSocket(ResponseFault):
    """Close the WebSocket with `code`."""

    code: int = attrs.field(default=1011, kw_only=True, validator=[fields.whole(0), in_(fields.CLOSE_CODES)])
    reason: str = attrs.field(default="", kw_only=True, validator=fields.fits_a_close_frame)


@final
@attrs.frozen
class Stall(ResponseFault):
    """Send nothing more of this response, or nothing for `seconds`; pings and other lanes are still answered."""

    seconds: float | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.seconds))


@final
@attrs.frozen
class HalfOpen(ResponseFault):
    """Send nothing more at all, no pong and no close frame; read and forget what the client sends."""


@final
@attrs.frozen
class Truncate(ResponseFault):
    """Send only a part of the next event's frame.

    Attributes:
        keep: bytes of the frame that are sent; by default half of them, and never the whole frame.
        then: as in `CutAtByte`.
    """

    keep: int | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.whole(1)))
    then: Literal["drop", "reset", "half_open"] = attrs.field(
        default="drop", kw_only=True, validator=in_(("drop", "reset", "half_open"))
    )


@final
@attrs.frozen
class Malformed(ResponseFault):
    """Send something else in place of the next event.

    Attributes:
        data: what is sent, as a text message even if it is no UTF-8; by default the first half of the event.
    """

    data: bytes | None = attrs.field(
        default=None, kw_only=True, validator=fields.optional(instance_of(bytes)), metadata=fields.BYTES
    )


@final
@attrs.frozen
class Insert(ResponseFault):
    """Send an event that does not belong to the response, `times` times; by default one of an unknown type."""

    event: Mapping[str, Any] = attrs.field(
        factory=lambda: {"type": "response.unheard_of", "detail": {"inserted": True}},
        kw_only=True,
        validator=fields.json_object,
    )
    times: int = attrs.field(default=1, kw_only=True, validator=fields.whole(1, 10_000))


@final
@attrs.frozen
class KeepAlive(ResponseFault):
    """Send `{"type":"keepalive"}`, as some servers do, `times` times."""

    times: int = attrs.field(default=1, kw_only=True, validator=fields.whole(1, 10_000))


@final
@attrs.frozen
class Duplicate(ResponseFault):
    """Send the next event, and then again, `times` times."""

    times: int = attrs.field(default=1, kw_only=True, validator=fields.whole(1, 10_000))


@final
@attrs.frozen
class Omit(ResponseFault):
    """Leave events out.

    Attributes:
        count: how many; None for all that are left.
        types: only events of these types, such as `SETUP_EVENTS`; by default of all types.
    """

    count: int | None = attrs.field(default=1, kw_only=True, validator=fields.optional(fields.whole(1)))
    types: tuple[str, ...] | None = attrs.field(
        default=None, kw_only=True, converter=fields.to_types, validator=fields.optional(fields.strings)
    )


@final
@attrs.frozen
class Swap(ResponseFault):
    """Send the next two events in the wrong order."""


@final
@attrs.frozen
class Oversize(ResponseFault):
    """Give the next event a field that makes it `size` bytes long."""

    size: int = attrs.field(default=16 * 1024 * 1024 + 1, kw_only=True, validator=fields.whole(1, 1 << 30))


@final
@attrs.frozen
class SpoilOutput(ResponseFault):
    """Have the event that ends the response carry null, [] or nothing as its `output`."""

    output: Literal["null", "empty", "missing"] = attrs.field(
        default="null", kw_only=True, validator=in_(("null", "empty", "missing"))
    )


@final
@attrs.frozen
class BinaryFrames(ResponseFault):
    """Send the next `count` events, or all that are left (None), in binary frames."""

    count: int | None = attrs.field(default=1, kw_only=True, validator=fields.optional(fields.whole(1)))


@final
@attrs.frozen
class Fragment(ResponseFault):
    """Send the next `count` events, or all that are left (None), in fragments.

    Attributes:
        size: bytes of each fragment.
        pings: whether a ping stands between any two of them.
    """

    size: int = attrs.field(default=16, kw_only=True, validator=fields.whole(1))
    count: int | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.whole(1)))
    pings: bool = attrs.field(default=False, kw_only=True, validator=fields.flag)


@final
@attrs.frozen
class PingStorm(ResponseFault):
    """Send `pings` pings at once."""

    pings: int = attrs.field(default=1000, kw_only=True, validator=fields.whole(1, 1_000_000))


ErrorShape: TypeAlias = Literal[
    "envelope",
    "no_status",
    "flat",
    "status_code",
    "headers",
    "detail",
    "usage_limit",
    "failed",
    "response_error",
    "untyped",
]


@final
@attrs.frozen
class ErrorEvent(ResponseFault):
    """Send an error event, in one of the shapes in which servers are known to send them.

    Attributes:
        shape: "envelope" is the documented one, with the status; "no_status" is that of a stream that broke after its
            start; "flat" is that of Server-Sent Events; "status_code" and "headers" are the envelope with that field
            at its top; "detail" and "usage_limit" have other fields in their error; "failed" is `response.failed`;
            "response_error" is of the type "response.error", and "untyped" of none.
        status: as in HTTP.
        code: null by None.
        message: for people.
        param: the parameter at fault.
        error_type: such as "invalid_request_error".
        headers: such as `{"retry-after": "1"}`, inside the error or, with "headers", beside it.
        ends: whether the response is over. If so, and it continued another one, that one is forgotten by the
            connection's cache, as after every error.
    """

    shape: ErrorShape = attrs.field(default="envelope", kw_only=True, validator=in_(get_args(ErrorShape)))
    status: int = attrs.field(default=500, kw_only=True, validator=[fields.whole(400), in_(range(400, 600))])
    code: str | None = attrs.field(
        default="server_error", kw_only=True, validator=fields.optional(fields.text)
    )
    message: str = attrs.field(default="This error was asked for.", kw_only=True, validator=fields.text)
    param: str | None = attrs.field(default=None, kw_only=True, validator=fields.optional(fields.text))
    error_type: str = attrs.field(default="server_error", kw_only=True, validator=fields.text)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, validator=fields.headers)
    ends: bool = attrs.field(default=True, kw_only=True, validator=fields.flag)


Fault: TypeAlias = UpgradeFault | ConnectionFault | ResponseFault

KINDS: Final[Mapping[str, type[Fault]]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(): kind
    for family in (UpgradeFault, ConnectionFault, ResponseFault)
    for kind in family.__subclasses__()
}
"""All faults by their names in JSON and in chaos, such as "close_socket" for `CloseSocket`."""


@final
@attrs.frozen
class Strike:
    """A step of a model: `fault` strikes its response, and its `after_events` counts from here.

    What the fault says about which response it strikes does not matter.
    """

    fault: ResponseFault = attrs.field(validator=instance_of(ResponseFault))
