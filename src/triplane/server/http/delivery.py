"""From a response being made to its answer over HTTP: whole or as events, with the faults that strike on the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never, final

import orjson
import trio

from triplane.server.faults.catalogue import (
    CloseSocket,
    Drop,
    ErrorEvent,
    HalfOpen,
    PingStorm,
    Reset,
    Stall,
    Strike,
)
from triplane.server.faults.mischief import Message, afflicted
from triplane.server.model import Wait

from . import sse
from .connection import HangUp
from .head import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from triplane.server.faults.catalogue import ResponseFault
    from triplane.server.faults.mischief import Step

    from .exchange import Exchange

__all__ = ["EventAnswer", "WholeAnswer", "deliver"]

# What a response's own failure is as an HTTP status, by the code of its error, or else by its type.
_STATUSES: Final = {
    "server_error": 500,
    "server_is_overloaded": 503,
    "slow_down": 503,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "insufficient_quota": 429,
}


class _Answer(Protocol):
    """What becomes of a response's events."""

    async def event(self, data: bytes) -> None:
        """Take the next event of the response."""

    async def odd(self, data: bytes, keep: int | None) -> None:
        """Take a message that is not one of the response's own, or only the first `keep` bytes of one (0: half)."""

    async def pings(self, count: int) -> None:
        """Give as many signs of life."""

    async def flush(self) -> None:
        """Send what can be sent, since something takes time now."""

    async def failed(self, fault: ErrorEvent) -> None:
        """Take note that the response has ended in an error, which was the latest message."""

    async def finish(self) -> None:
        """Send the end."""


async def deliver(
    steps: Iterator[Step],
    faults: Sequence[ResponseFault],
    answer: _Answer,
    *,
    before_event: Callable[[], None],
) -> None:
    """Give `answer` the steps of a response, as `faults` change them.

    Args:
        steps: the response's.
        faults: what goes wrong with it.
        answer: where to.
        before_event: called before each event is taken.

    Raises:
        ClientGone: the connection is lost.
        HangUp: a fault ends it.
    """
    steps = afflicted(steps, faults) if faults else steps
    while True:
        struck: Strike | None = None
        for step in steps:
            if isinstance(step, bytes):
                before_event()
                await answer.event(step)
            elif isinstance(step, Message):
                if step.counts:
                    before_event()
                    await answer.event(step.data)
                else:
                    await answer.odd(step.data, step.keep)
            elif isinstance(step, Wait):
                await answer.flush()
                await trio.sleep(step.seconds)
            elif isinstance(step, Strike):
                struck = step
                break
            elif isinstance(step, ErrorEvent):
                await answer.failed(step)
                return
            else:
                await _act(step, answer)
        if struck is None:
            break
        steps = afflicted(steps, (struck.fault,))
    before_event()
    await answer.finish()


async def _act(fault: Drop | Reset | CloseSocket | Stall | HalfOpen | PingStorm, answer: _Answer) -> None:
    await answer.flush()
    match fault:
        case Drop() | CloseSocket():
            raise HangUp
        case Reset():
            raise HangUp(reset=True)
        case HalfOpen():
            await trio.sleep_forever()
        case Stall(seconds=seconds):
            await trio.sleep(math.inf if seconds is None else seconds)
        case PingStorm(pings=pings):
            await answer.pings(pings)
        case _:
            assert_never(fault)


@final
class EventAnswer:
    """Answers with server-sent events."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._events = 0

    async def event(self, data: bytes) -> None:
        """See `_Answer`."""
        await self._exchange.event(sse.flat_error(data, self._events))
        self._events += 1

    async def odd(self, data: bytes, keep: int | None) -> None:
        """See `_Answer`."""
        if keep is None:
            await self._exchange.event(sse.flat_error(data, self._events, only_envelopes=True))
        else:
            record = sse.encode(data)
            await self._exchange.raw(record[: min(keep, len(record) - 1) or len(record) // 2])

    async def pings(self, count: int) -> None:
        """See `_Answer`: comments, which is what servers keep a stream of events alive with."""
        await self._exchange.raw(b": ping\n\n" * count)

    async def flush(self) -> None:
        """See `_Answer`."""
        await self._exchange.flush()

    async def failed(self, fault: ErrorEvent) -> None:
        """See `_Answer`. Before the first event the error is the answer."""
        if not self._events and not self._exchange.connection.answering:
            self._exchange.discard()
            await self._exchange.refuse(_as_answer(fault))
        else:
            await self._exchange.finish()

    async def finish(self) -> None:
        """See `_Answer`."""
        await self._exchange.finish()


@final
class WholeAnswer:
    """Answers with the response object of the last event, or with the error that it says."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._last = b""

    async def event(self, data: bytes) -> None:
        """See `_Answer`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._last = data

    async def odd(self, data: bytes, keep: int | None) -> None:
        """See `_Answer`. Only the response's own events make the answer."""

    async def pings(self, count: int) -> None:
        """See `_Answer`. There is no place for them."""

    async def flush(self) -> None:
        """See `_Answer`."""

    async def failed(self, fault: ErrorEvent) -> None:
        """See `_Answer`."""
        await self._exchange.refuse(_as_answer(fault))

    async def finish(self) -> None:
        """See `_Answer`."""
        try:
            event: dict[str, Any] = orjson.loads(self._last)
            response = event.get("response")
            error = event.get("error") if response is None else response.get("error")
        except (orjson.JSONDecodeError, AttributeError):
            # A fault has been there.
            await self._exchange.reply(200, self._last)
            return
        if isinstance(error, dict) and (response is None or response.get("status") == "failed"):
            await self._exchange.refuse(_as_refusal(error))
        else:
            await self._exchange.reply(200, event if response is None else response)


def _as_refusal(error: dict[str, Any]) -> BadRequest:
    """Return what an error is over HTTP that ended a response before anything of it was sent."""
    code, kind = error.get("code"), error.get("type")
    status = _STATUSES.get(str(code)) or _STATUSES.get(str(kind), 400)
    return BadRequest(
        status, str(error.get("message")), code, param=error.get("param"), error_type=kind, headers={}
    )


def _as_answer(fault: ErrorEvent) -> BadRequest:
    return BadRequest(fault.status, fault.message, fault.code, fault.headers, fault.param, fault.error_type)
