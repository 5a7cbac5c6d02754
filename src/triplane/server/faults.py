"""Things that go wrong on request, so that a client's answer to them can be tested.

A fault strikes the n-th upgrade or response of the server, counted from 1 over all its connections, or every one
(`nth=None`, the default). The first fault in the list that applies is the one that strikes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeVar, final

import attrs
from attrs.validators import deep_iterable, deep_mapping, ge, in_, instance_of, optional

__all__ = ["CloseSocket", "Drop", "Fault", "Faults", "RefuseUpgrade", "Stall"]

# What wsproto, and RFC 6455, let an endpoint send.
_CLOSE_CODES = (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))


def _fits_a_close_frame(_instance: object, _attribute: object, value: str) -> None:
    if len(value.encode()) > 123:
        raise ValueError("the reason is longer than the 123 bytes of a close frame")


_nth = attrs.field(default=None, kw_only=True, validator=optional(ge(1)))
_after_events = attrs.field(default=0, validator=ge(0))


@attrs.frozen
class RefuseUpgrade:
    """Answer the upgrade with this status instead of 101.

    Attributes:
        status: of the HTTP answer.
        headers: of it, such as `{"Retry-After": "1"}`.
        body: what stands in it instead of a JSON error object.
    """

    status: int = attrs.field(validator=in_(range(200, 600)))
    headers: Mapping[str, str] = attrs.field(
        factory=dict, validator=deep_mapping(instance_of(str), instance_of(str))
    )
    body: bytes | None = None
    nth: int | None = _nth


@attrs.frozen
class Drop:
    """Close the TCP connection, without a closing handshake, once `after_events` events of a response are out."""

    after_events: int = _after_events
    nth: int | None = _nth


@attrs.frozen
class CloseSocket:
    """Close the WebSocket with `code` once `after_events` events of a response are out."""

    after_events: int = _after_events
    code: int = attrs.field(default=1011, kw_only=True, validator=in_(_CLOSE_CODES))
    reason: str = attrs.field(default="", kw_only=True, validator=_fits_a_close_frame)
    nth: int | None = _nth


@attrs.frozen
class Stall:
    """Send nothing more once `after_events` events of a response are out; pings are still answered."""

    after_events: int = _after_events
    nth: int | None = _nth


ResponseFault: TypeAlias = Drop | CloseSocket | Stall
Fault: TypeAlias = RefuseUpgrade | ResponseFault

_F = TypeVar("_F", bound=Fault)


@final
@attrs.frozen
class Faults:
    """A server's list of faults."""

    faults: tuple[Fault, ...] = attrs.field(default=(), validator=deep_iterable(instance_of(Fault)))

    def of_upgrade(self, number: int) -> RefuseUpgrade | None:
        """Return what happens to the server's upgrade request of this number."""
        return self._first(RefuseUpgrade, number)

    def of_response(self, number: int) -> ResponseFault | None:
        """Return what happens to the server's response of this number."""
        return self._first(ResponseFault, number)  # type: ignore[arg-type]

    def _first(self, kind: type[_F], number: int) -> _F | None:
        for fault in self.faults:
            if isinstance(fault, kind) and fault.nth in (None, number):
                return fault
        return None
