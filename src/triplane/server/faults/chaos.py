"""Faults at random, the same ones for the same seed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Final, TypeAlias, TypeVar, cast, final, get_args

import attrs
from attrs.validators import deep_iterable, ge, in_, instance_of, le, min_len

from .catalogue import (
    KINDS,
    SETUP_EVENTS,
    AnswerUpgrade,
    BinaryFrames,
    CloseAtOnce,
    CloseSocket,
    ConnectionFault,
    CutAtByte,
    Drop,
    Duplicate,
    ErrorEvent,
    ErrorShape,
    Fault,
    Fragment,
    HalfOpen,
    IgnoreUpgrade,
    Insert,
    KeepAlive,
    Malformed,
    Omit,
    Oversize,
    PingStorm,
    RedirectUpgrade,
    RefuseUpgrade,
    Reset,
    ResponseFault,
    SlowClose,
    SlowPong,
    SpoilOutput,
    Stall,
    Swap,
    Truncate,
    UpgradeFault,
)

__all__ = ["CHAOS_KINDS", "Chaos"]

_F = TypeVar("_F", bound=Fault)
_Make: TypeAlias = Callable[[Random], Fault]

# A short answer has nine events.
_EVENTS: Final = 12
_CLOSE_CODES: Final = (1000, 1001, 1008, 1011, 1012, 1013)


def _then(rng: Random) -> Any:
    return rng.choice(("drop", "reset"))


def _refuse(rng: Random) -> Fault:
    status = rng.choice((401, 403, 404, 426, 429, 429, 500, 502, 503, 503))
    headers = {"Retry-After": "1"} if status in (429, 503) else {}
    return RefuseUpgrade(status, headers, delay=rng.choice((0, 0.2)))


def _error(rng: Random) -> Fault:
    status, code, kind = rng.choice(
        (
            (500, "server_error", "server_error"),
            (503, "server_is_overloaded", "server_error"),
            (429, "rate_limit_exceeded", "requests"),
            (400, "websocket_connection_limit_reached", "invalid_request_error"),
        )
    )
    shape = rng.choice(get_args(ErrorShape))
    headers = {"retry-after": "1"} if status == 429 else {}
    return ErrorEvent(
        rng.randrange(_EVENTS), shape=shape, status=status, code=code, error_type=kind, headers=headers
    )


# In the order of their names, which decides what a seed means.
_MAKERS: Final[Mapping[type[Fault], _Make]] = {
    AnswerUpgrade: lambda rng: AnswerUpgrade(b"HTTP/1.1 101 Switching Prot"[: rng.randrange(28)]),
    BinaryFrames: lambda rng: BinaryFrames(rng.randrange(_EVENTS)),
    CloseAtOnce: lambda rng: CloseAtOnce(rng.choice(_CLOSE_CODES), delay=round(rng.uniform(0, 0.5), 3)),
    CloseSocket: lambda rng: CloseSocket(rng.randrange(_EVENTS), code=rng.choice(_CLOSE_CODES)),
    CutAtByte: lambda rng: CutAtByte(rng.randrange(8000), then=_then(rng)),
    Drop: lambda rng: Drop(rng.randrange(_EVENTS)),
    Duplicate: lambda rng: Duplicate(rng.randrange(_EVENTS)),
    ErrorEvent: _error,
    Fragment: lambda rng: Fragment(size=rng.randint(1, 64), pings=rng.random() < 0.5),
    HalfOpen: lambda rng: HalfOpen(rng.randrange(_EVENTS)),
    IgnoreUpgrade: lambda _rng: IgnoreUpgrade(),
    Insert: lambda rng: Insert(rng.randrange(_EVENTS)),
    KeepAlive: lambda rng: KeepAlive(rng.randrange(_EVENTS), times=rng.randint(1, 5)),
    Malformed: lambda rng: Malformed(rng.randrange(_EVENTS)),
    Omit: lambda rng: rng.choice((Omit(rng.randrange(_EVENTS)), Omit(count=None, types=SETUP_EVENTS))),
    Oversize: lambda rng: Oversize(rng.randrange(_EVENTS), size=rng.choice((100_000, 1 << 20, 5 << 20))),
    PingStorm: lambda rng: PingStorm(rng.randrange(_EVENTS), pings=rng.randint(2, 2000)),
    RedirectUpgrade: lambda rng: RedirectUpgrade(
        f"http://elsewhere.invalid/v1/responses?{rng.randrange(100)}"
    ),
    RefuseUpgrade: _refuse,
    Reset: lambda rng: Reset(rng.randrange(_EVENTS)),
    SlowClose: lambda rng: SlowClose(round(rng.uniform(0, 2), 3)),
    SlowPong: lambda rng: SlowPong(round(rng.uniform(0, 2), 3)),
    SpoilOutput: lambda rng: SpoilOutput(output=rng.choice(("null", "empty", "missing"))),
    Stall: lambda rng: Stall(rng.randrange(_EVENTS), seconds=round(rng.uniform(0, 2), 3)),
    Swap: lambda rng: Swap(rng.randrange(_EVENTS)),
    Truncate: lambda rng: Truncate(rng.randrange(_EVENTS), keep=rng.randint(1, 120), then=_then(rng)),
}

# Only a client's own time limit ends these.
_ENDLESS: Final = (HalfOpen, IgnoreUpgrade)

CHAOS_KINDS: Final = tuple(sorted(name for name, kind in KINDS.items() if kind not in _ENDLESS))
"""What chaos picks from unless it is told: all kinds of faults but those that never end."""


def _to_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    if isinstance(kinds, str):
        raise TypeError(f"kinds must be a list of names, not {kinds!r}")
    return tuple(sorted(set(kinds)))


@final
@attrs.frozen
class Chaos:
    """A source of faults at random, the same for the same seed.

    Every upgrade, connection and response has the chance `rate` to be struck by one of `kinds`. Which one is decided
    by the seed and by its number alone, so the same requests in the same order meet the same faults.

    Attributes:
        seed: of all decisions.
        rate: from 0 to 1.
        kinds: names of faults; by default `CHAOS_KINDS`.
    """

    seed: int | str = attrs.field(validator=instance_of((int, str)))
    rate: float = attrs.field(default=0.1, kw_only=True, validator=[instance_of((int, float)), ge(0), le(1)])
    kinds: tuple[str, ...] = attrs.field(
        default=CHAOS_KINDS,
        kw_only=True,
        converter=_to_kinds,
        validator=[min_len(1), deep_iterable(in_(tuple(KINDS)))],
    )

    def of_upgrade(self, number: int) -> UpgradeFault | None:
        """Return what happens to the server's upgrade of this number."""
        return self._pick(UpgradeFault, number)

    def of_connection(self, number: int) -> ConnectionFault | None:
        """Return what is wrong with the server's WebSocket of this number."""
        return self._pick(ConnectionFault, number)

    def of_response(self, number: int) -> ResponseFault | None:
        """Return what goes wrong with the server's response of this number."""
        return self._pick(ResponseFault, number)

    def _pick(self, family: type[_F], number: int) -> _F | None:
        kinds = [KINDS[name] for name in self.kinds if issubclass(KINDS[name], family)]
        rng = Random(f"{self.seed} {family.__name__} {number}")  # noqa: S311 - nothing to guess
        if not kinds or rng.random() >= self.rate:
            return None
        return cast("_F", _MAKERS[rng.choice(kinds)](rng))
