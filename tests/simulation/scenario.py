"""What can happen in a simulation? Everything that one does, as data: what is asked and what goes wrong."""

from __future__ import annotations

import math
from typing import Any, Literal

import attrs

from triplane.server import Fault as ServerFault

Lines = tuple[str, ...]
"""A program for the server's directive model."""


@attrs.frozen
class NetworkFault:
    """Something that happens to the n-th attempt to connect, or to the connection that comes of it."""

    nth: int


@attrs.frozen
class RefuseDial(NetworkFault):
    """There is no TCP connection."""

    dns: bool = False


@attrs.frozen
class HangDial(NetworkFault):
    """Nothing answers."""


@attrs.frozen
class SlowDial(NetworkFault):
    """It takes a while."""

    seconds: float


@attrs.frozen
class ResetAt(NetworkFault):
    """The connection is reset at this byte of what goes up or down."""

    byte: int
    up: bool


@attrs.frozen
class BlackHole(NetworkFault):
    """From this byte on nothing arrives any more, and nobody is told."""

    byte: int
    up: bool


@attrs.frozen
class Slices(NetworkFault):
    """Bytes arrive in small pieces."""

    most: int


@attrs.frozen
class Latency(NetworkFault):
    """Bytes arrive late."""

    seconds: float


Fault = ServerFault | NetworkFault


@attrs.frozen
class Job:
    """Something that a program does with the engine.

    Attributes:
        at: When it begins, in virtual seconds.
        cancel_after: When it is cancelled, in virtual seconds after its beginning.
        cancel_at_step: At which step of the scheduler after its beginning it is cancelled.
    """

    at: float = attrs.field(default=0.0, kw_only=True)
    cancel_after: float | None = attrs.field(default=None, kw_only=True)
    cancel_at_step: int | None = attrs.field(default=None, kw_only=True)


Reader = Literal["none", "all", "two", "slow", "breaks", "leaves"]


@attrs.frozen
class Word:
    """Something that is said to a run while it goes on.

    Attributes:
        after: How many of its events have been read by then.
        how: By which method of `Run`; ``"stop"`` is `Run.cancel` after the turn.
        text: What is said.
    """

    after: int
    how: Literal["steer", "send", "fork", "cancel", "stop"]
    text: str = "SAY 1 thanks"


@attrs.frozen
class Run(Job):
    """One run.

    Attributes:
        lines: What the model is to do.
        reader: ``"none"`` is `Engine.run`; with the others the run is followed: to its end, by two, by one that
            sleeps, by one that stops reading and waits, by one that leaves.
        store: Whether the server stores the responses.
        hosted: Whether the server may do things itself that must not be done twice.
        words: What is said to it meanwhile, by its first reader.
    """

    lines: Lines
    reader: Reader = "none"
    store: bool = False
    hosted: bool = False
    words: tuple[Word, ...] = ()


@attrs.frozen
class FanOut(Job):
    """Several runs.

    Attributes:
        programs: What the model is to do in each of them.
        max_runs: How many at once.
        ordered: Whether results come in order.
        leave_after: After how many results the block is left.
    """

    programs: tuple[Lines, ...]
    max_runs: int = 8
    ordered: bool = False
    leave_after: int | None = None


@attrs.frozen
class Lane(Job):
    """Requests on a lane, by hand.

    Attributes:
        programs: What the model is to do, request by request; each continues the one before.
        leave_after: After how many events of the last turn the lane is left; None reads all.
    """

    programs: tuple[Lines, ...]
    leave_after: int | None = None


@attrs.frozen
class WarmUp(Job):
    """A warm-up of some lanes."""

    lanes: int = 1


@attrs.frozen
class Leaving:
    """How and when the engine is left before its jobs are done.

    Attributes:
        at: When, in virtual seconds.
        how: ``"cancelled"`` with its jobs, or ``"left"``, from under them.
        at_step: At which step of the scheduler it is cancelled, however far its opening has come.
    """

    at: float = math.inf
    how: Literal["cancelled", "left"] = "cancelled"
    at_step: int | None = None


@attrs.frozen
class Scenario:
    """One simulation.

    Attributes:
        seed: Of the order of tasks, and of every random number.
        jobs: What the program does.
        faults: What goes wrong.
        options: `EngineOptions`, where they are not the simulation's own.
        server: The server's options, likewise.
        endpoint: The endpoint's.
        leaving: Whether the engine is left early.
        warm: How many agents are warmed up when it is opened.
    """

    seed: int
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...] = ()
    options: dict[str, Any] = attrs.Factory(dict)
    server: dict[str, Any] = attrs.Factory(dict)
    endpoint: dict[str, Any] = attrs.Factory(dict)
    leaving: Leaving | None = None
    warm: int = 0


def is_of_network(fault: Fault) -> bool:
    """Whether it happens between engine and server."""
    return isinstance(fault, NetworkFault)


def as_code(value: object) -> str:
    """The Python that makes a scenario or a part of one, without what is as by default."""
    if isinstance(value, tuple):
        inside = ", ".join(map(as_code, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if not attrs.has(type(value)):
        return repr(value)
    parts: list[str] = []
    for field in attrs.fields(type(value)):
        given = getattr(value, field.name)
        default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type,misc]
        if field.default is attrs.NOTHING or given != default:
            parts.append(f"{field.name}={as_code(given)}")
    return f"{type(value).__name__}({', '.join(parts)})"
