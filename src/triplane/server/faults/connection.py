"""What is wrong with one WebSocket as a whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar, final

import attrs
import trio

from .catalogue import CloseAtOnce, ConnectionFault, CutAtByte, SlowClose, SlowPong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

__all__ = ["ConnectionFaults"]

_F = TypeVar("_F", bound=ConnectionFault)
_T = TypeVar("_T")


@final
@attrs.frozen
class ConnectionFaults:
    """The faults of one WebSocket.

    Attributes:
        number: which WebSocket of the server it is, from 1.
        cut: where the bytes that are sent come to an end.
        slow_pong: when pings are answered.
        close_delay: seconds by which the answer to a close frame is late.
        close_at_once: how long the WebSocket lasts.
    """

    number: int = 0
    cut: CutAtByte | None = None
    slow_pong: SlowPong | None = None
    close_delay: float = 0.0
    close_at_once: CloseAtOnce | None = None

    @classmethod
    def of(cls, number: int, faults: Iterable[ConnectionFault]) -> ConnectionFaults:
        """Sort `faults`; the first of each kind counts."""
        faults = tuple(faults)
        slow_close = _first(SlowClose, faults)
        delay = 0.0 if slow_close is None else slow_close.seconds
        return cls(
            number,
            _first(CutAtByte, faults),
            _first(SlowPong, faults),
            math.inf if delay is None else delay,
            _first(CloseAtOnce, faults),
        )

    async def limit(self, run: Callable[[], Awaitable[_T]]) -> _T | CloseAtOnce:
        """Return what `run()` returns, or, if the WebSocket is not to last for that long, why."""
        fault = self.close_at_once
        if fault is None:
            return await run()
        with trio.move_on_after(fault.delay):
            return await run()
        return fault


def _first(kind: type[_F], faults: tuple[ConnectionFault, ...]) -> _F | None:
    return next((fault for fault in faults if isinstance(fault, kind)), None)
