"""Parallel fan-out: 12 questions over 4 connections, with limits that hold.

    python examples/fan_out.py
    python examples/fan_out.py --ledger runs.db     # keep the logs: triplane runs --ledger runs.db

Every question is a run of its own, eight at a time. One of them calls a tool that exceeds its deadline and one calls
a tool that exceeds its output cap: both become a message to the model, and the run goes on. The model is the local
server's `directive`, which does what the lines of a question say.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial

import trio

import triplane
from triplane.server import serve

CONNECTIONS = 4


@triplane.tool(timeout=0.5, effect="read")
async def look_up(topic: str, seconds: float) -> str:
    """Look something up in a slow archive.

    Args:
        topic: What to look up.
        seconds: How long the archive takes.
    """
    await trio.sleep(seconds)
    return f"{topic}: found after {seconds} s"


@triplane.tool(max_output=300, effect="read")
async def dump(lines: int) -> str:
    """Return a long listing.

    Args:
        lines: How many lines it has.
    """
    return "\n".join(f"line {number}" for number in range(lines))


agent = triplane.Agent(
    model="directive",
    instructions="Answer from the archive.",
    tools=[look_up, dump],
    name="archivist",
)

QUESTIONS = [
    *(f'CALL look_up {{"topic": "river {n}", "seconds": 0.1}}' for n in range(5)),
    *(f'REPEAT 2 CALL look_up {{"topic": "lake {n}", "seconds": 0.05}}' for n in range(3)),
    'CALL look_up {"topic": "left", "seconds": 0.1}\nCALL look_up {"topic": "right", "seconds": 0.2}',
    'CALL look_up {"topic": "a sea that nobody finds in time", "seconds": 60}',
    'CALL dump {"lines": 5000}',
    "SAY 20 nothing to look up. ",
]


async def main(ledger: str | None) -> None:
    """Ask, print each answer as it comes, and sum up."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, model="directive", latency=0.02))
        options = triplane.EngineOptions(max_connections=CONNECTIONS)
        endpoint = triplane.Endpoint(server.url)
        async with triplane.open_engine(endpoint, options=options, ledger=ledger) as engine:
            await ask_all(engine)
        print(f"connections: {engine.statistics().opened} opened, {engine.statistics().closed} closed")
        nursery.cancel_scope.cancel()


async def ask_all(engine: triplane.Engine) -> None:
    """Fan the questions out and report."""
    outcomes: Counter[str] = Counter()
    done = turns = 0
    started = trio.current_time()
    async with engine.fan_out(agent, QUESTIONS, max_runs=8) as results:
        async for result in results:
            done += 1
            state = result.result
            outcomes.update(finished.outcome.kind for finished in state.tool_calls)
            turns += state.turns
            answer = " ".join(state.text.split())
            print(f"{done:2}/{len(QUESTIONS)}  question {result.index:2}  {state.turns} turns  {answer[:70]}")
    seconds = trio.current_time() - started
    print(f"\n{len(QUESTIONS)} runs, {turns} turns and {outcomes.total()} tool calls in {seconds:.2f} s")
    print("tool calls:", ", ".join(f"{count} {kind}" for kind, count in outcomes.most_common()))


parser = argparse.ArgumentParser()
parser.add_argument("--ledger", metavar="FILE", help="keep the logs of the runs in this file")
trio.run(main, parser.parse_args().ledger)
