"""One turn with a tool call, cut off at a byte: what is done, what must hold whatever comes of it.

Nothing is taken from the engine's word alone. That a tool ran is counted in the tool, what was sent is read off the
server's journal, and that connections are closed is seen at their streams.

Everything runs on memory streams under a mock clock, so waiting for an answer that never comes costs nothing.
"""

from __future__ import annotations

import importlib.util
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import attrs
import trio
import trio.testing
from fault_network import open_faulty_bench
from fault_toxics import BlackHole, Corrupt, HalfOpen, Link, Meter, Reset, Toxic

import triplane
from triplane.core.records import ToolStarted
from triplane.net.wire import WireName
from triplane.server import ClientRequest, ServerStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Direction = Literal["up", "down"]

FAULTS: Final[dict[str, Callable[[int], Toxic]]] = {
    "reset": Reset,
    "black_hole": BlackHole,
    "half_open": HalfOpen,
    "corrupt": Corrupt,
    "corrupt_high": partial(Corrupt, mask=0x80),
}
DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
# The libraries that frame WebSockets, and what goes without them.
WIRES: Final[tuple[str, ...]] = (*get_args(WireName), "http")

QUESTION: Final = 'CALL note {"number": 1}'
ANSWER: Final = 'RESULT: "noted 1"'

OPTIONS: Final = triplane.EngineOptions(first_event_timeout=30, idle_timeout=30)
# Damaged bytes can make a peer that lives and says nothing, time and again.
CORRUPT_WITHIN: Final = (1 + OPTIONS.replay_attempts) * (OPTIONS.first_event_timeout + OPTIONS.idle_timeout)

# What another connection mends, whatever the server has understood.
_PASSING: Final = (triplane.ConnectionLost, triplane.Stalled, triplane.ProtocolViolation)


def is_installed(wire: str) -> bool:
    """Whether the package of a wire is there; some are extras."""
    package = "httpcore2" if wire == "http" else wire.replace("-", "_")
    return importlib.util.find_spec(package) is not None


def endpoint_of(wire: str) -> triplane.Endpoint:
    """The endpoint that is spoken to in this way."""
    url = "ws://memory/v1"
    return triplane.Endpoint(url, transport="http") if wire == "http" else triplane.Endpoint(url, wire=wire)  # type: ignore[arg-type]


@attrs.frozen
class Case:
    """What goes wrong, and where.

    Attributes:
        wire: One of `WIRES`.
        direction: In which direction.
        fault: A key of `FAULTS`.
        byte: After how many bytes.
        retries: Whether the run may try again; else the first error ends it, and shows its receipt.
    """

    wire: str
    direction: Direction
    fault: str
    byte: int
    retries: bool = True

    @property
    def link(self) -> Link:
        """The link of the first connection; all later ones are clean."""
        return Link(**{self.direction: [FAULTS[self.fault](self.byte)]})

    @property
    def ends_within(self) -> float:
        """What may pass until the end of the run, which loses one connection; no server here takes any time."""
        if self.is_corrupt:
            return CORRUPT_WITHIN
        # Over HTTP there are no heartbeats.
        noticed = OPTIONS.heartbeat_interval + OPTIONS.heartbeat_timeout
        return 1.0 + (OPTIONS.first_event_timeout if self.wire == "http" else noticed)

    @property
    def is_corrupt(self) -> bool:
        """Whether what arrives may say something else."""
        return self.fault.startswith("corrupt")

    def __str__(self) -> str:
        return (
            f"{self.wire}, {self.fault} at byte {self.byte} {self.direction},"
            f" {'with' if self.retries else 'without'} retries"
        )


@attrs.frozen
class Evidence:
    """What happened: by the engine, by the tool, by the server, and by the network."""

    result: triplane.RunResult | None
    error: BaseException | None
    executed: list[int]
    recorded: int
    requests: list[ClientRequest]
    engine: triplane.EngineStatistics
    server: ServerStatistics
    left_open: int
    ended_after: float
    left_after: float


async def take_turn(wire: str, link: Link, options: triplane.EngineOptions) -> Evidence:
    """Ask for a tool call over a first connection with this link."""
    executed: list[int] = []

    @triplane.tool(effect="write")
    async def note(number: int) -> str:
        """Do something that must happen once."""
        executed.append(number)
        return f"noted {number}"

    result: triplane.RunResult | None = None
    error: BaseException | None = None
    agent = triplane.Agent("m", "", [note])
    began = trio.current_time()
    async with open_faulty_bench([link], endpoint=endpoint_of(wire), options=options) as b:
        try:
            result = await b.engine.run(agent, QUESTION)
        except Exception as caught:
            error = caught
        ended = trio.current_time()
    engine = b.engine
    logs = [engine.ledger.logs[run_id] for run_id in engine.ledger.logs]
    recorded = sum(isinstance(record.body, ToolStarted) for log in logs for record in log.records)
    return Evidence(
        result,
        error,
        executed,
        recorded,
        [request for request in b.server.requests if request.kind == "response.create"],
        engine.statistics(),
        b.server.statistics(),
        b.left_open,
        ended - began,
        b.left_at - ended,
    )


def run_turn(wire: str, link: Link, *, retries: bool = True) -> Evidence:
    """The same as a program of its own. The same arguments, the same schedule."""
    options = OPTIONS if retries else attrs.evolve(OPTIONS, replay_attempts=0, dial_attempts=1)
    with _seeded_scheduling(1):
        return trio.run(take_turn, wire, link, options, clock=trio.testing.MockClock(autojump_threshold=0))


def run_case(case: Case) -> tuple[str, list[str]]:
    """Run a case: in a word how it ended, and what did not hold."""
    evidence = run_turn(case.wire, case.link, retries=case.retries)
    ended = "a result" if evidence.error is None else type(evidence.error).__name__
    return ended, [*broken_laws(case, evidence)]


def broken_laws(case: Case, evidence: Evidence) -> Iterator[str]:
    """What does not hold of what happened."""
    error = evidence.error
    if error is not None and not isinstance(error, triplane.TriplaneError):
        yield f"the error is none of Triplane's: {error!r}"
    elif case.is_corrupt:
        # Damaged bytes may say something else, and nobody can see that.
        if case.retries and isinstance(error, _PASSING):
            yield f"it was not recovered from: {error!r}"
    elif error is not None:
        if case.retries:
            yield f"it was not recovered from: {error!r}"
        yield from _lies(error.receipt, evidence)
    else:
        assert evidence.result is not None
        told = (evidence.result.status, evidence.result.text)
        if told != ("completed", ANSWER):
            yield f"a wrong result: {told}"
        if evidence.executed != [1]:
            yield f"there is a result, and the tool ran {len(evidence.executed)} times"
    yield from _wrong_outputs(case, evidence)
    yield from _leftovers(case, evidence)


def _wrong_outputs(case: Case, evidence: Evidence) -> Iterator[str]:
    if len(evidence.executed) > 1:
        yield f"the tool ran {len(evidence.executed)} times"
    if len(evidence.executed) != evidence.recorded:
        yield f"the tool ran {len(evidence.executed)} times, and {evidence.recorded} times by the log"
    answers: dict[str, set[str]] = {}
    for request in evidence.requests:
        items = request.json.get("input") if isinstance(request.json, dict) else None
        outputs = [
            item
            for item in (items if isinstance(items, list) else ())
            if isinstance(item, dict) and item.get("type") == "function_call_output"
        ]
        names = [str(item.get("call_id")) for item in outputs]
        if len(names) != len(set(names)):
            yield f"a request answers a call more than once: {names}"
        for name, item in zip(names, outputs, strict=True):
            answers.setdefault(name, set()).add(str(item.get("output")))
    if not case.is_corrupt and len(answers) > len(evidence.executed):
        yield f"{len(answers)} calls were answered, and the tool ran {len(evidence.executed)} times"
    if not case.is_corrupt and any(len(outputs) > 1 for outputs in answers.values()):
        yield f"a call has different outputs: {answers}"


def _lies(receipt: triplane.Receipt, evidence: Evidence) -> Iterator[str]:
    """What a receipt says that is not so. Without retries each turn has one request."""
    turn = len(evidence.executed)
    arrived = evidence.requests[turn] if len(evidence.requests) > turn else None
    begun = arrived is not None and bool(arrived.events)
    outcomes = [effect.outcome for effect in receipt.effects]
    if outcomes != ["ok"] * len(evidence.executed):
        yield f"the receipt has the effects {outcomes}, and the tool ran {len(evidence.executed)} times"
    if receipt.sent == "nothing" and arrived is not None:
        yield "the receipt says that nothing was sent, and the server has the request"
    if receipt.sent == "accepted" and not begun:
        yield "the receipt says that the request was accepted, and the server has not answered it"
    if receipt.sent == "finished" and (arrived is None or not arrived.ended):
        yield "the receipt says that the response was finished, and it was not"
    shown = sum(len(event.get("delta", "")) for event in (arrived.events if arrived else ()))
    if receipt.shown > shown or (receipt.sent in ("nothing", "ambiguous") and receipt.shown):
        yield f"the receipt says that {receipt.shown} characters were shown, and {shown} were sent"
    if receipt.next == "retry" and (evidence.executed or receipt.sent != "nothing"):
        yield f"the receipt calls it safe to try the same again, after {receipt}"


def _leftovers(case: Case, evidence: Evidence) -> Iterator[str]:
    engine, pool = evidence.engine, evidence.engine.pool
    if pool.opened != pool.closed or evidence.left_open:
        yield f"{pool.opened} opened, {pool.closed} closed, {evidence.left_open} streams left open"
    left: Mapping[str, int] = {
        "runs": engine.runs_active,
        "leases": pool.leased + pool.reserved,
        "waiters": pool.waiting,
        "dials": pool.dialling,
        "connections": len(pool.connections),
        "lanes": len(pool.lanes),
        "connections of the server": evidence.server.connections_now,
    }
    if any(left.values()):
        yield f"something is left: {left}"
    if evidence.ended_after > case.ends_within:
        yield f"the run ended after {evidence.ended_after:g} s, which is more than {case.ends_within:g}"
    if evidence.left_after > OPTIONS.close_grace:
        yield f"leaving took {evidence.left_after:g} s, and close_grace is {OPTIONS.close_grace:g}"


@cache
def lengths(wire: str) -> dict[Direction, int]:
    """How many bytes the undisturbed turn has in each direction, both handshakes included."""
    meters = {direction: Meter() for direction in DIRECTIONS}
    evidence = run_turn(wire, Link(up=[meters["up"]], down=[meters["down"]]))
    assert evidence.result is not None and evidence.result.text == ANSWER, evidence
    return {direction: meter.passed for direction, meter in meters.items()}


@contextmanager
def _seeded_scheduling(seed: int) -> Iterator[None]:
    """Have Trio choose between tasks that can run by a seed, as its plugin for Hypothesis does."""
    run: Any = trio._core._run
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        run._r.setstate(before[1])
