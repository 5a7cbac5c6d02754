"""Processes that are killed while they run agents, and others that go on with what they left in the ledger.

Each life is a fork of this process, which has imported everything and runs no thread: so a life costs milliseconds. It
has its own server in memory, which dies with it. What tools do is written by the tools themselves to a file that is only
ever appended to; what a life was promised to be durable it writes to another one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

import triplane
from triplane.core.reducer import RunReducer
from triplane.server import Drop, ErrorEvent
from triplane.testing import open_server
from triplane.tools import results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What a life waits for that nobody kills; more than that is a hang.
_LIFE_SECONDS = 30.0
_OPTIONS = triplane.EngineOptions(
    backoff_base=0.01, backoff_limit=0.02, close_timeout=0.1, close_grace=0.2, dial_rate=1_000
)


def _limit_reached() -> ErrorEvent:
    """The server ends a connection for its age, in the words that it has for that."""
    code = "websocket_connection_limit_reached"
    return ErrorEvent(2, nth=2, status=400, code=code, error_type="invalid_request_error")


_ONE_OF_EACH = 'CALL pay {"n": 1}\nCALL put {"n": 2}\nCALL look {"n": 3}'


@attrs.frozen
class Scenario:
    """What is run, and by what it is disturbed.

    Attributes:
        inputs: What is asked, one run for each.
        faults: What goes wrong on the server, in each life.
        max_age: After how many seconds the engine opens another connection at the end of a turn, None for never.
            The server knows nothing of it: one that is slow today still comes to its end.
        sends: What is sent to the run while it goes on.
        steers: What it is steered with.
    """

    inputs: tuple[str, ...]
    faults: tuple[Callable[[], Any], ...] = ()
    max_age: float | None = None
    sends: str = ""
    steers: str = ""

    def endpoint(self, url: str) -> triplane.Endpoint:
        """The server."""
        return triplane.Endpoint(url, max_age=self.max_age)


SCENARIOS = {
    "a tool with an effect": Scenario(('CALL pay {"n": 1}',)),
    "idempotent tools": Scenario(('REPEAT 2 CALL put {"n": 1}',)),
    "calls side by side": Scenario((_ONE_OF_EACH,)),
    "one call after another": Scenario((_ONE_OF_EACH.replace("\n", "\nSAY 1 next\n"),)),
    "an agent as a tool": Scenario(('CALL ask {"question": "CALL pay {\\"n\\": 1}"}',)),
    "input while it goes on": Scenario(('CALL look {"n": 1}\nSAY 3 word ',), sends='CALL pay {"n": 7}'),
    "a steer": Scenario(("SAY 9 word ",), steers='CALL pay {"n": 7}'),
    "rotation": Scenario(
        ('REPEAT 3 CALL put {"n": 1}\nCALL pay {"n": 1}',), faults=(_limit_reached,), max_age=0.002
    ),
    "fan-out": Scenario(('CALL pay {"n": 1}', 'CALL put {"n": 2}', "SAY 2 word ")),
    "a retry after a drop": Scenario((_ONE_OF_EACH,), faults=(lambda: Drop(5, nth=2),)),
    "a failed response": Scenario((_ONE_OF_EACH,), faults=(lambda: ErrorEvent(4, nth=1, shape="failed"),)),
    "approval": Scenario(
        ('CALL spend {"n": 1}\nCALL pay {"n": 2}\nCALL waste {"n": 3}\nAPPROVE dice roll {}',)
    ),
    "approval inside of an agent": Scenario(
        ('CALL ask {"question": "CALL spend {\\"n\\": 1}"}\nCALL pay {"n": 2}',)
    ),
    "long outputs": Scenario(('CALL long {"n": 200000}\nSAY 1 next\nCALL pay {"n": 1}',)),
}


@attrs.frozen
class Place:
    """The files of one run of a scenario."""

    folder: Path

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.folder / "runs.db"

    def append(self, name: str, **facts: object) -> None:
        """Append a line to a file; one write, so that no death tears it."""
        line = json.dumps(facts).encode() + b"\n"
        handle = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, line)
        os.close(handle)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What was appended."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def make_agent(place: Place) -> triplane.Agent:
    """An agent whose tools write down what they do."""

    def did(context: triplane.ToolContext) -> None:
        place.append("effects", tool=context.tool, key=context.idempotency_key)

    @triplane.tool(effect="write")
    async def pay(n: int, context: triplane.ToolContext) -> str:
        """Happens at most once."""
        did(context)
        await trio.lowlevel.checkpoint()
        return f"paid {n}"

    @triplane.tool(effect="idempotent")
    async def put(n: int, context: triplane.ToolContext) -> str:
        """May be repeated with the same key."""
        did(context)
        await trio.lowlevel.checkpoint()
        return f"put {n}"

    @triplane.tool(effect="read")
    async def look(n: int, context: triplane.ToolContext) -> str:
        """May be repeated."""
        did(context)
        return f"saw {n}"

    @triplane.tool(effect="read", max_output=300_000)
    async def long(n: int) -> str:
        """Say much."""
        return "x" * n

    @triplane.tool(effect="write", needs_approval=True)
    async def spend(n: int, context: triplane.ToolContext) -> str:
        """Happens at most once, and only if it is approved."""
        did(context)
        await trio.lowlevel.checkpoint()
        return f"spent {n}"

    @triplane.tool(effect="read", needs_approval=lambda _: True)
    async def waste(n: int, context: triplane.ToolContext) -> str:
        """Never happens, since it is never approved."""
        did(context)
        return f"wasted {n}"

    child = triplane.Agent("directive", "A child.", [pay, spend], name="ask")
    tools = [pay, put, look, long, spend, waste, child.as_tool(name="ask")]
    return triplane.Agent("directive", "Be careful.", tools)


def decide(place: Place, asked: triplane.ApprovalAsked) -> bool:
    """What the person says, who writes down that it was asked."""
    place.append("asked", call=asked.call_id)
    return asked.name != "waste"


class DyingLedger:
    """A ledger that kills its process at one of its writes.

    Args:
        ledger: The real one.
        place: Where it is told what was promised.
        death: The number of the write, and whether it dies as soon as the record was handed over or once it is durable.
    """

    def __init__(
        self, ledger: Any, place: Place, death: tuple[int, Literal["appended", "durable"]] | None
    ) -> None:
        self._ledger = ledger
        self.place = place
        self.death = death
        self.writes = 0

    def create(self, run_id: str) -> DyingLog:
        """See `Ledger.create`."""
        return DyingLog(self, self._ledger.create(run_id))

    async def claim(self, run_id: str) -> DyingLog:
        """See `Ledger.claim`."""
        return DyingLog(self, await self._ledger.claim(run_id))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class DyingLog:
    """A log of it."""

    def __init__(self, ledger: DyingLedger, log: Any) -> None:
        self._ledger = ledger
        self._log = log
        self._last = -1
        self._is_last_hour = False

    def append(self, body: Any) -> Any:
        """See `ClaimedLog.append`."""
        record = self._log.append(body)
        self._last = record.sequence
        self._ledger.writes += 1
        death = self._ledger.death
        if death is not None and death[0] < self._ledger.writes:
            if death[1] == "appended":
                os.kill(os.getpid(), signal.SIGKILL)
            self._is_last_hour = True
        return record

    async def durable(self) -> None:
        """See `ClaimedLog.durable`."""
        last = self._last
        await self._log.durable()
        self._ledger.place.append("promised", run=self._log.run_id, last=last)
        if self._is_last_hour:
            os.kill(os.getpid(), signal.SIGKILL)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


async def begin(scenario: Scenario, place: Place, death: Any) -> int:
    """The first life: run everything. Returns the number of writes."""
    agent = make_agent(place)
    async with (
        open_server(faults=[make() for make in scenario.faults]) as (local, network),
        triplane.open_ledger(place.ledger) as store,
        triplane.open_engine(
            scenario.endpoint(local.url),
            options=_OPTIONS,
            ledger=(ledger := DyingLedger(store, place, death)),
            network=network,
        ) as engine,
    ):
        if len(scenario.inputs) > 1:
            async with engine.fan_out(agent, scenario.inputs) as results:
                async for _ in results:
                    pass
            return ledger.writes
        async with engine.open_run(agent, scenario.inputs[0]) as run:
            said = False
            async for event in run:
                if isinstance(event, triplane.ApprovalAsked):
                    if decide(place, event):
                        run.approve(event.call_id)
                    else:
                        run.deny(event.call_id)
                if event.type in ("response.output_text.delta", "triplane.tool_finished"):
                    if said:
                        continue
                    said = True
                    if scenario.sends:
                        await run.send(scenario.sends)
                    if scenario.steers:
                        await run.steer(scenario.steers)
            _ = run.result
        return ledger.writes


async def go_on(scenario: Scenario, place: Place) -> None:
    """The second life: resume everything, and write down what came of it."""
    agent = make_agent(place)
    async with (
        open_server() as (local, network),
        triplane.open_ledger(place.ledger) as ledger,
        triplane.open_engine(
            scenario.endpoint(local.url), options=_OPTIONS, ledger=ledger, network=network
        ) as engine,
    ):
        for run_id in await ledger.run_ids():
            records = await (await ledger.open(run_id)).read(-1, 100_000)
            first = records[0].body if records else None
            if not isinstance(first, triplane.RunStarted) or first.agent != agent.name:
                place.append("found", run=run_id, records=len(records))
                continue
            began = time.perf_counter()
            state = await resume(engine, run_id, agent, place)
            seconds = time.perf_counter() - began
            after = await (await ledger.open(run_id)).read(-1, 100_000)
            replayed = RunReducer()
            for record in after:
                replayed.apply(record)
            place.append(
                "found",
                run=run_id,
                records=len(records),
                seconds=seconds,
                status=state.status,
                text=state.text[-300:],
                kinds=[(each.call.name, each.outcome.kind) for each in state.tool_calls],
                is_equal=replayed.snapshot() == state,
            )


async def resume(
    engine: triplane.Engine, run_id: str, agent: triplane.Agent, place: Place
) -> triplane.RunState:
    """Resume a run, and decide what it asks."""
    answers: dict[str, list[str]] = {}
    while True:
        try:
            return await engine.resume(run_id, agent, **answers)
        except triplane.ApprovalRequired as parked:
            verdicts = {asked.call_id: decide(place, asked) for asked in parked.approvals}
            answers = {
                "approve": [call_id for call_id, verdict in verdicts.items() if verdict],
                "deny": [call_id for call_id, verdict in verdicts.items() if not verdict],
            }


def live(life: Callable[[], Any]) -> int:
    """Let a fork of this process live, and return how it ended: 0, or the negative number of a signal."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        signal.alarm(int(_LIFE_SECONDS))
        life()
        status = 0
    except BaseException as error:  # nothing of the parent's may run here any more
        traceback.print_exception(error)
    finally:
        sys.stderr.flush()
        os._exit(status)


@attrs.frozen
class Kill:
    """One death.

    Attributes:
        scenario: The name of what is run.
        death: See `DyingLedger`, or after how many seconds it dies wherever it is.
        name: What to call this in a problem.
        texts: See `judge`.
    """

    scenario: str
    death: tuple[int, str] | float
    name: str
    texts: frozenset[str]


@attrs.frozen
class Outcome:
    """What came of a death.

    Attributes:
        is_killed: Whether it was in time; a life may be over before.
        slowest: The slowest resumption, in seconds.
        problems: What was wrong, in words.
    """

    is_killed: bool
    slowest: float = 0.0
    problems: tuple[str, ...] = ()


def live_undisturbed(scenario: Scenario, folder: Path) -> tuple[int, frozenset[str]]:
    """How many writes a life has that nobody ends, and what its runs say in the end."""
    place = Place(folder)

    def whole() -> None:
        place.append("writes", count=trio.run(begin, scenario, place, None))
        trio.run(go_on, scenario, place)

    if live(whole):
        raise AssertionError("nobody was killed, and yet it did not go well")
    (line,) = place.lines("writes")
    texts = {found["text"] for found in place.lines("found") if "text" in found}
    return int(line["count"]), frozenset() if scenario.sends or scenario.steers else frozenset(texts)


def carry_out(kill: Kill, folder: Path) -> Outcome:
    """Kill one life in an empty folder, let another one go on, and judge."""
    scenario = SCENARIOS[kill.scenario]
    place = Place(folder)

    def first() -> None:
        at_write = kill.death
        if isinstance(at_write, float):
            timer = threading.Timer(at_write, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
            at_write = None
        trio.run(begin, scenario, place, at_write)

    status = live(first)
    is_killed = status == -signal.SIGKILL
    if status not in (0, -signal.SIGKILL):
        return Outcome(is_killed, problems=(f"{kill.name}: the first life ended with {status}",))
    if not place.ledger.exists():
        return Outcome(is_killed)
    if status := live(lambda: trio.run(go_on, scenario, place)):
        return Outcome(is_killed, problems=(f"{kill.name}: the second life ended with {status}",))
    return Outcome(
        is_killed,
        max((found.get("seconds", 0.0) for found in place.lines("found")), default=0.0),
        tuple(f"{kill.name}: {words}" for words in judge(place, kill.texts)),
    )


def judge(place: Place, texts: frozenset[str]) -> list[str]:
    """What is wrong about what two lives have left.

    Args:
        place: Where they lived.
        texts: What runs say in the end that nobody disturbs; empty if that depends on the moment.
    """
    problems = []
    found = {line["run"]: line for line in place.lines("found")}
    for line in place.lines("promised"):
        if line["run"] in found and found[line["run"]]["records"] <= line["last"]:
            problems.append(f"record {line['last']} of {line['run']} was promised, and is not there")
        if line["run"] not in found:
            problems.append(f"{line['run']} was promised, and is not there")
    effects = place.lines("effects")
    paid = [line["key"] for line in effects if line["tool"] in ("pay", "spend")]
    if len(paid) != len(set(paid)):
        problems.append("a payment was made twice")
    if any(line["tool"] == "waste" for line in effects):
        problems.append("what was denied was done")
    if any(line["tool"] == "spend" for line in effects) and not place.lines("asked"):
        problems.append("nobody was asked")
    for line in found.values():
        if "status" not in line:
            continue
        kinds = [kind for _, kind in line["kinds"]]
        if line["status"] != "completed":
            problems.append(f"the run ended as {line['status']}")
        if not line["is_equal"]:
            problems.append("the log does not make the state that the engine had")
        # An agent that is a tool passes on what it was told of a call of its own.
        in_doubt = "interrupted" in kinds or results.interrupted() in line["text"]
        if not in_doubt and texts and line["text"] not in texts:
            problems.append(f"the run said {line['text']!r}")
        if any(
            kind not in ("ok", "interrupted", "denied" if name == "waste" else "")
            for name, kind in line["kinds"]
        ):
            problems.append(f"calls ended as {kinds}")
        if not line["text"]:
            problems.append("the run said nothing")
    told = sum(
        name in ("pay", "spend") and kind == "ok"
        for line in found.values()
        for name, kind in line.get("kinds", ())
    )
    if len(paid) < told:
        problems.append(f"the model was told of {told} payments, and {len(paid)} were made")
    return problems


def kills_of(
    folder: Path, names: Sequence[str], *, step: int, random_kills: int, seed: int
) -> Iterator[Kill]:
    """A kill at every `step`-th write of these scenarios, and some at random besides.

    Args:
        folder: An empty folder, in which each scenario is lived undisturbed once.
        names: The scenarios.
        step: One is every write.
        random_kills: How many at a random moment of a random scenario.
        seed: What makes those the same again.
    """
    said: dict[str, frozenset[str]] = {}
    for number, name in enumerate(names):
        place = folder / str(number)
        place.mkdir()
        writes, said[name] = live_undisturbed(SCENARIOS[name], place)
        for write in range(0, writes, step):
            for how in ("appended", "durable"):
                yield Kill(name, (write, how), f"{name}, {how} {write}", said[name])
    rng = random.Random(seed)
    for number in range(random_kills):
        name = rng.choice(list(names))
        after = rng.uniform(0.001, 0.15)
        yield Kill(name, after, f"{name}, random {number} of seed {seed}", said[name])
