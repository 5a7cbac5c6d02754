"""What faults do to a response: from its steps to the steps that are to be sent. Pure.

Each fault is a function from an iterator to an iterator. What comes after a fault that ends a response is not even
made.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, Final, TypeAlias, cast

import attrs
import orjson

from triplane.server.model import Wait

from .catalogue import (
    BinaryFrames,
    CloseSocket,
    Drop,
    Duplicate,
    ErrorEvent,
    Fragment,
    HalfOpen,
    Insert,
    KeepAlive,
    Malformed,
    Omit,
    Oversize,
    PingStorm,
    Reset,
    ResponseFault,
    SpoilOutput,
    Stall,
    Strike,
    Swap,
    Truncate,
)
from .error_events import error_event

__all__ = ["Act", "Message", "Step", "afflicted"]


@attrs.frozen
class Message:
    """A message that is not simply an event of the response in a text frame.

    Attributes:
        data: what it says.
        counts: whether it stands for an event of the response.
        binary: whether its frames are binary ones.
        fragment: bytes of each of its frames, if it has several.
        pings: whether pings stand between its frames.
        keep: how many bytes of its frame are sent at all; 0 for half of it.
    """

    data: bytes
    counts: bool = attrs.field(default=True, kw_only=True)
    binary: bool = attrs.field(default=False, kw_only=True)
    fragment: int | None = attrs.field(default=None, kw_only=True)
    pings: bool = attrs.field(default=False, kw_only=True)
    keep: int | None = attrs.field(default=None, kw_only=True)


Act: TypeAlias = Drop | Reset | CloseSocket | Stall | HalfOpen | PingStorm | ErrorEvent
"""A fault that is not a message but something to do. An `ErrorEvent` says that the response has ended in that error,
which was sent."""

Step: TypeAlias = bytes | Wait | Message | Act | Strike
_Steps: TypeAlias = Iterator[Step]


def afflicted(
    steps: Iterable[Step], faults: Iterable[ResponseFault], *, lane: str | None = None
) -> Iterator[Step]:
    """Return `steps` as `faults` change them.

    Args:
        steps: events as JSON, and what stands between them.
        faults: what goes wrong; at the same point in this order.
        lane: what inserted events say of where they belong.
    """
    result = iter(steps)
    for fault in reversed(tuple(faults)):
        result = _afflicted(result, fault, lane)
    return result


def _afflicted(steps: _Steps, fault: ResponseFault, lane: str | None) -> _Steps:
    if isinstance(fault, ErrorEvent):
        yield from _error(steps, fault, lane)
        return
    rest = yield from _before(steps, fault)
    if rest is not None:
        yield from _STRIKES[type(fault)](rest, fault)


def _before(steps: _Steps, fault: ResponseFault) -> Generator[Step, None, _Steps | None]:
    """Yield what comes before the fault's point; return what comes after it, or None if it does not come."""
    events = 0
    while True:
        if fault.before is None and events == fault.after_events:
            return steps
        step = next(steps, None)
        if step is None:
            return None
        if _counts(step):
            if events >= fault.after_events and _data(step)[1] == fault.before:
                return chain((step,), steps)
            events += 1
        yield step


def _counts(step: Step) -> bool:
    return isinstance(step, bytes) or (isinstance(step, Message) and step.counts)


def _data(step: Step) -> tuple[bytes, str | None]:
    """Return an event's bytes and its type."""
    data = step.data if isinstance(step, Message) else cast("bytes", step)
    try:
        kind = orjson.loads(data).get("type")
    except (orjson.JSONDecodeError, AttributeError):
        kind = None  # another fault was there first
    return data, kind


def _with_data(step: Step, data: bytes) -> Step:
    return attrs.evolve(step, data=data) if isinstance(step, Message) else data


def _fields(step: Step) -> dict[str, Any] | None:
    try:
        event = orjson.loads(_data(step)[0])
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) else None


def _encoded(event: dict[str, Any]) -> bytes | None:
    """Return `event` as JSON; None if a client's settings in it are nested more deeply than can be written."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        return None


def _next_event(steps: _Steps) -> Generator[Step, None, Step | None]:
    """Yield what comes before the next event; return that, or None if there is none."""
    for step in steps:
        if _counts(step):
            return step
        yield step
    return None


# What happens at the point of each fault.


def _act(steps: _Steps, fault: Act) -> _Steps:
    yield fault
    # Where it was not the end.
    yield from steps


def _insert(steps: _Steps, fault: Insert) -> _Steps:
    yield from [Message(orjson.dumps(fault.event), counts=False)] * fault.times
    yield from steps


def _keep_alive(steps: _Steps, fault: KeepAlive) -> _Steps:
    yield from [Message(b'{"type":"keepalive"}', counts=False)] * fault.times
    yield from steps


def _change_next(
    change: Callable[[Step, Any], Iterable[Step]], steps: _Steps, fault: ResponseFault
) -> _Steps:
    event = yield from _next_event(steps)
    if event is not None:
        yield from change(event, fault)
    yield from steps


def _malform(event: Step, fault: Malformed) -> Iterable[Step]:
    data = _data(event)[0]
    yield _with_data(event, data[: len(data) // 2] if fault.data is None else fault.data)


def _duplicate(event: Step, fault: Duplicate) -> Iterable[Step]:
    copy = event if isinstance(event, Message) else Message(cast("bytes", event))
    yield event
    yield from [attrs.evolve(copy, counts=False)] * fault.times


def _oversize(event: Step, fault: Oversize) -> Iterable[Step]:
    data = _data(event)[0]
    missing = fault.size - len(data) - len(b',"padding":""')
    if missing >= 0 and data.endswith(b"}"):
        data = b'%b,"padding":"%b"}' % (data[:-1], b"x" * missing)
    yield _with_data(event, data)


def _truncate(event: Step, fault: Truncate) -> Iterable[Step]:
    message = event if isinstance(event, Message) else Message(cast("bytes", event))
    # Its end does not arrive, so it is no event.
    yield attrs.evolve(message, counts=False, keep=fault.keep or 0)
    match fault.then:
        case "drop":
            yield Drop()
        case "reset":
            yield Reset()
        case "half_open":
            yield HalfOpen()


def _swap(steps: _Steps, _fault: Swap) -> _Steps:
    first = yield from _next_event(steps)
    if first is None:
        return
    second = yield from _next_event(steps)
    if second is not None:
        yield second
    yield first
    yield from steps


def _omit(steps: _Steps, fault: Omit) -> _Steps:
    left = fault.count
    for step in steps:
        if left != 0 and _counts(step) and (fault.types is None or _data(step)[1] in fault.types):
            left = None if left is None else left - 1
            continue
        yield step


def _spoil_output(steps: _Steps, fault: SpoilOutput) -> _Steps:
    for step in steps:
        event = _fields(step) if _counts(step) else None
        response = event.get("response") if event is not None else None
        if event is None or not isinstance(response, dict) or response.get("status") in _GOING_ON:
            yield step
            continue
        if fault.output == "missing":
            response.pop("output", None)
        else:
            response["output"] = None if fault.output == "null" else []
        yield _with_data(step, _encoded(event) or _data(step)[0])


_GOING_ON: Final = ("queued", "in_progress")


def _each(changes: Mapping[str, Any], steps: _Steps, count: int | None) -> _Steps:
    for step in steps:
        if count == 0 or not _counts(step):
            yield step
            continue
        count = None if count is None else count - 1
        message = step if isinstance(step, Message) else Message(cast("bytes", step))
        yield attrs.evolve(message, **changes)


def _binary(steps: _Steps, fault: BinaryFrames) -> _Steps:
    return _each({"binary": True}, steps, fault.count)


def _fragment(steps: _Steps, fault: Fragment) -> _Steps:
    return _each({"fragment": fault.size, "pings": fault.pings}, steps, fault.count)


def _error(steps: _Steps, fault: ErrorEvent, lane: str | None) -> _Steps:
    events = 0
    first: Step | None = None

    def watched() -> _Steps:
        nonlocal events, first
        for step in steps:
            if _counts(step):
                events += 1
                first = step if first is None else first
            yield step

    rest = yield from _before(watched(), fault)
    if rest is None:
        return
    # The event that `before` waited for has passed by too.
    number = events - (fault.before is not None)
    response = (_fields(first) or {}).get("response") if first is not None else None
    make = partial(error_event, fault, sequence_number=number, lane=lane)
    data = _encoded(make(response=response)) or orjson.dumps(make(response=None))
    yield Message(data, counts=False)
    if fault.ends:
        yield fault
        return
    yield from rest


_STRIKES: Final[Mapping[type[ResponseFault], Callable[[_Steps, Any], _Steps]]] = {
    BinaryFrames: _binary,
    CloseSocket: _act,
    Drop: _act,
    Duplicate: partial(_change_next, _duplicate),
    Fragment: _fragment,
    HalfOpen: _act,
    Insert: _insert,
    KeepAlive: _keep_alive,
    Malformed: partial(_change_next, _malform),
    Omit: _omit,
    Oversize: partial(_change_next, _oversize),
    PingStorm: _act,
    Reset: _act,
    SpoilOutput: _spoil_output,
    Stall: _act,
    Swap: _swap,
    Truncate: partial(_change_next, _truncate),
}
