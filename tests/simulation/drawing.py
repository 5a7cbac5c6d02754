"""Which scenario is a seed? Everything that `scenario` has, at random."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import attrs

from triplane.server import (
    Chaos,
    ErrorEvent,
    Fragment,
    HalfOpen,
    IgnoreUpgrade,
    Oversize,
    PingStorm,
    SlowClose,
    SlowPong,
    Stall,
)
from triplane.server.faults.catalogue import KINDS, ConnectionFault, ResponseFault

from .scenario import (
    BlackHole,
    FanOut,
    HangDial,
    Job,
    Lane,
    Latency,
    Leaving,
    RefuseDial,
    ResetAt,
    Run,
    Scenario,
    Slices,
    SlowDial,
    WarmUp,
    Word,
)

if TYPE_CHECKING:
    from triplane.server import Fault as ServerFault

    from .scenario import Fault, Lines, NetworkFault

_TOOLS = ("look", "look", "write", "write", "put", "fail", "hang", "cut", "large", "nothing", "risk", "order")


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = Random(f"scenario {seed}")
    calm = rng.random() < 0.1
    faults: tuple[Fault, ...] = (
        () if calm else tuple(_fault(rng) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 5))))
    )
    return Scenario(
        seed,
        tuple(_job(rng, number) for number in range(rng.choice((1, 2, 2, 3, 3, 4, 5)))),
        faults,
        _options(rng),
        server := _server(rng),
        _endpoint(rng, has_lanes="mode" not in server),
        rng.choice((None,) * 6 + (Leaving(_moment(rng), rng.choice(("cancelled", "left"))),)),
    )


def _moment(rng: Random) -> float:
    return round(rng.choice((0.0, rng.uniform(0, 0.2), rng.uniform(0, 3), rng.uniform(0, 30))), 3)


# What the program does.


def _job(rng: Random, number: int) -> Job:
    when: dict[str, Any] = {"at": rng.choice((0.0, 0.0, _moment(rng)))}
    if rng.random() < 0.2:
        when["cancel_after"] = _moment(rng)
    elif rng.random() < 0.2:
        when["cancel_at_step"] = int(10 ** rng.uniform(0, 3.2))
    kind = rng.random()
    if kind < 0.6:
        hosted = rng.random() < 0.07
        words = tuple(_word(rng) for _ in range(rng.choice((1, 1, 2)))) if rng.random() < 0.3 else ()
        return Run(
            _lines(rng, f"{number}c", calls=not hosted),
            "all" if words else rng.choice(("none", "none", "all", "two", "slow", "breaks", "leaves")),
            rng.random() < 0.15,
            hosted,
            words,
            **when,
        )
    if kind < 0.75:
        programs = tuple(_lines(rng, f"{number}f{each}") for each in range(rng.randint(1, 4)))
        leave_after = rng.choice((None, None, rng.randint(1, 3)))
        return FanOut(programs, rng.choice((1, 2, 8)), rng.random() < 0.5, leave_after, **when)
    if kind < 0.9:
        programs = tuple(_lines(rng, "", calls=False) for _ in range(rng.randint(1, 3)))
        return Lane(programs, rng.choice((None, None, rng.randint(1, 8))), **when)
    return WarmUp(rng.choice((1, 1, 2)), **when)


def _word(rng: Random) -> Word:
    text = rng.choice(("SAY 2 thanks ", 'CALL look {"number": 8}', "WAIT 300", "Go on."))
    return Word(rng.randint(1, 40), rng.choice(("steer", "steer", "send", "fork", "cancel", "stop")), text)


def _lines(rng: Random, child: str, *, calls: bool = True, depth: int = 0) -> Lines:
    """A program: turns with calls, and an end."""
    lines: list[str] = []
    for turn in range(rng.choice((0, 1, 1, 2, 3)) if calls else 0):
        if turn or rng.random() < 0.2:
            # It is what sets this turn's calls apart from those of the turn before.
            lines.append(f"SAY {rng.randint(1, 4)} well ")
        if rng.random() < 0.1:
            lines.append(f"REPEAT {rng.randint(2, 3)} {_call(rng, '', depth=9)}")
        else:
            lines.extend(
                _call(rng, f"{child}.{turn}.{each}", depth=depth)
                for each in range(rng.choice((1, 1, 1, 2, 3)))
            )
        if rng.random() < 0.1:
            lines.append(f"WAIT {rng.choice((1, 300, 5000, 25000))}")
    lines.extend(_ending(rng))
    return tuple(lines)


def _call(rng: Random, child: str, *, depth: int) -> str:
    if depth < 2 and rng.random() < 0.12:
        program = "\\n".join((f"#{child}", *_lines(rng, child, depth=depth + 1)))
        question = (
            program.replace('"', '\\"') if depth == 0 else program.replace("\\", "\\\\").replace('"', '\\"')
        )
        return f'CALL helper {{"question": "{question}"}}'
    tool = rng.choice(_TOOLS)
    arguments = (
        rng.choice(('{"number": 1', "{}")) if rng.random() < 0.03 else f'{{"number": {rng.randint(0, 9)}}}'
    )
    if tool == "order" and depth < 9:
        return f"ASYNC order {arguments}"
    return (
        f"APPROVE dice {tool} {arguments}"
        if tool == "risk" and depth == 0 and rng.random() < 0.2
        else f"CALL {tool} {arguments}"
    )


def _ending(rng: Random) -> list[str]:
    kind = rng.random()
    if kind < 0.35:
        return []
    if kind < 0.75:
        return [f"SAY {rng.choice((1, 3, 9, 40))} word "]
    if kind < 0.85:
        return [f"WAIT {rng.choice((1, 300, 5000, 25000))}", f"SAY {rng.randint(1, 5)} late "]
    return [
        rng.choice(
            (
                "INCOMPLETE max_output_tokens",
                "FAIL server_error asked for",
                "REJECT 400 bad_request asked for",
                "REJECT 429 rate_limit_exceeded asked for",
                "ERROR server_error asked for",
            )
        )
    ]


# What goes wrong.


def _fault(rng: Random) -> Fault:
    if rng.random() < 0.35:
        return _network_fault(rng)
    kind = KINDS[rng.choice(sorted(KINDS))]
    fault = _server_fault(rng, kind)
    nth = rng.randint(1, 3 if not issubclass(kind, ResponseFault) else 9)
    return attrs.evolve(fault, nth=nth)


def _server_fault(rng: Random, kind: type[ServerFault]) -> ServerFault:
    if kind is ErrorEvent and rng.random() < 0.3:
        return ErrorEvent(
            0, status=400, code="previous_response_not_found", error_type="invalid_request_error"
        )
    if kind is HalfOpen:
        return HalfOpen(rng.randrange(12))
    if kind is IgnoreUpgrade:
        return IgnoreUpgrade()
    if kind in (Stall, SlowClose, SlowPong) and rng.random() < 0.3:
        return kind()
    if kind is Oversize:
        return Oversize(rng.randrange(12), size=rng.choice((2_000, 70_000, 300_000)))
    if kind is PingStorm:
        return PingStorm(rng.randrange(12), pings=rng.randint(2, 30))
    if kind is Fragment:
        return Fragment(rng.randrange(12), size=rng.randint(50, 400), count=2, pings=rng.random() < 0.5)
    chaos = Chaos(str(rng.random()), rate=1, kinds=[name for name in KINDS if KINDS[name] is kind])
    if issubclass(kind, ResponseFault):
        made: ServerFault | None = chaos.of_response(1)
    elif issubclass(kind, ConnectionFault):
        made = chaos.of_connection(1)
    else:
        made = chaos.of_upgrade(1)
    assert made is not None
    return made


def _network_fault(rng: Random) -> NetworkFault:
    nth = rng.randint(1, 3)
    byte = rng.choice((rng.randrange(600), rng.randrange(3_000), rng.randrange(20_000)))
    up = rng.random() < 0.5
    return rng.choice(
        (
            RefuseDial(nth, rng.random() < 0.3),
            HangDial(nth),
            SlowDial(nth, round(rng.uniform(0, 6), 2)),
            ResetAt(nth, byte, up),
            ResetAt(nth, byte, up),
            BlackHole(nth, byte, up),
            BlackHole(nth, byte, up),
            Slices(nth, rng.randint(1, 200) + 50),
            Latency(nth, round(rng.uniform(0, 0.5), 3)),
        )
    )


def _options(rng: Random) -> dict[str, Any]:
    options: dict[str, Any] = {}

    def perhaps(share: float, name: str, *values: Any) -> None:
        if rng.random() < share:
            options[name] = rng.choice(values)

    perhaps(0.6, "max_connections", 1, 1, 3)
    perhaps(0.2, "acquire_timeout", 1.0, 10.0)
    perhaps(0.05, "max_waiters", 1)
    perhaps(0.3, "dial_attempts", 1, 2)
    perhaps(0.3, "replay_attempts", 0, 1, 2)
    perhaps(0.1, "max_message_size", 50_000)
    perhaps(0.05, "max_request_size", 4_000)
    perhaps(0.1, "max_unread", 1_000)
    perhaps(0.2, "close_timeout", 0.1, 5.0)
    perhaps(0.2, "close_grace", 0.1, 5.0)
    perhaps(0.1, "spare_connections", 1)
    perhaps(0.2, "rewarm", True)  # noqa: FBT003  # any value stands there
    perhaps(0.1, "ambiguous_sends", "raise")
    perhaps(0.4, "lanes_per_connection", 2, 4, 16)
    perhaps(0.2, "drain_timeout", 0, 0.5)
    perhaps(0.1, "slow_lane", "fail")
    perhaps(0.1, "max_lane_buffer", 2_000)
    perhaps(0.1, "max_connection_buffer", 5_000)
    return options


def _endpoint(rng: Random, *, has_lanes: bool) -> dict[str, Any]:
    endpoint: dict[str, Any] = {}
    if rng.random() < 0.4:
        endpoint["max_age"] = rng.choice((3.0, 20.0))
    else:
        endpoint["max_age"] = None
    if rng.random() < 0.15:
        endpoint["transport"] = rng.choice(("http", "auto"))
    if rng.random() < 0.3:
        endpoint["wire"] = "websockets"
    if rng.random() < 0.2:
        endpoint["lanes"] = "named" if has_lanes else "none"
    return endpoint


def _server(rng: Random) -> dict[str, Any]:
    server: dict[str, Any] = {}

    def perhaps(share: float, name: str, *values: Any) -> None:
        if rng.random() < share:
            server[name] = rng.choice(values)

    perhaps(0.3, "latency", 0.05, 0.5, 3.0)
    perhaps(0.2, "delta_delay", 0.01, 0.3)
    perhaps(0.1, "jitter", 0.5)
    perhaps(0.3, "mode", "azure", "xai", "spec", "rejecting")
    perhaps(0.1, "warm_up", "refuse")
    if rng.random() < 0.15:
        server["max_age"] = rng.choice((1.0, 5.0, 30.0))
        perhaps(0.7, "on_max_age", "announce", "cut", "next_create")
        perhaps(0.3, "max_age_close_code", None, 1001)
    perhaps(0.05, "max_message_size", 5_000)
    return server
