"""What does a program do with the engine? Runs with tools, fan-outs, lanes by hand, warm-ups."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import attrs
import orjson
import trio

import triplane
from triplane.protocol import ModelSettings, ResponseCreate

from . import people
from .scenario import FanOut, Job, Lane, Run, WarmUp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from triplane.core.run_state import RunState

    from .scenario import Lines, Reader, Word
    from .world import World

HERE: trio.lowlevel.RunVar[World] = trio.lowlevel.RunVar("world")
"""The simulation whose tools are running."""

LABEL = re.compile(r"#(\S+)")
"""What every input begins with: whose it is. The server sees it and the log holds it."""


# Tools. Each says what it did to a list that the engine knows nothing of.


@triplane.tool(effect="read")
async def look(number: int, context: triplane.ToolContext) -> str:
    """Look at something."""
    HERE.get().effect(context)
    await trio.lowlevel.checkpoint()
    return f"seen {number}"


@triplane.tool(effect="write", timeout=30)
async def write(number: int, context: triplane.ToolContext) -> str:
    """Do something once, which takes a while."""
    HERE.get().effect(context)
    await trio.sleep(number % 5)
    return f"written {number}"


@triplane.tool(effect="idempotent", retries=1)
async def put(number: int, context: triplane.ToolContext) -> str:
    """Do something that may be done again, and has to be."""
    again = HERE.get().effect(context)
    await trio.sleep(0.5)
    if number % 2 and not again:
        raise RuntimeError("not this time")
    return f"put {number}"


@triplane.tool
async def fail(number: int, context: triplane.ToolContext) -> str:
    """Do something and fail."""
    HERE.get().effect(context)
    await trio.lowlevel.checkpoint()
    raise RuntimeError(f"failed {number}")


@triplane.tool(timeout=2)
async def hang(number: int, context: triplane.ToolContext) -> str:
    """Do something and never come back."""
    HERE.get().effect(context)
    await trio.sleep_forever()
    return str(number)


@triplane.tool(effect="read")
async def cut(number: int, context: triplane.ToolContext) -> str:
    """Cut the network from inside a tool."""
    world = HERE.get()
    world.effect(context)
    world.network.cut_latest()
    for _ in range(number % 8):
        await trio.lowlevel.checkpoint()
    return f"cut {number}"


@triplane.tool(effect="write")
async def large(number: int, context: triplane.ToolContext) -> str:
    """Return a lot."""
    HERE.get().effect(context)
    await trio.lowlevel.checkpoint()
    return "x" * (number % 7) * 10_000


@triplane.tool(
    effect="read", needs_approval=lambda arguments: people.needs_approval("risk", orjson.dumps(arguments))
)
async def risk(number: int, context: triplane.ToolContext) -> str:
    """Do something that a person may have to approve."""
    HERE.get().effect(context)
    await trio.lowlevel.checkpoint()
    return f"risked {number}"


@triplane.tool(async_=True, timeout=40)
async def order(number: int, context: triplane.ToolContext) -> str:
    """Do something that the model does not wait for."""
    HERE.get().effect(context)
    await trio.sleep(number * 3)
    return f"ordered {number}"


TOOLS = (look, write, put, fail, hang, cut, large, risk, order)
HELPER = triplane.Agent("m", "Help.", TOOLS, name="helper")
AGENT = triplane.Agent("m", "Work.", (*TOOLS, HELPER.as_tool()))
STORING = attrs.evolve(AGENT, store=True)
HOSTED = attrs.evolve(
    AGENT, settings=ModelSettings(extra={"tools": [{"type": "mcp", "server_label": "tracker"}]}), tools=()
)


def text_of(label: str, lines: Lines) -> str:
    """The input for a program."""
    return "\n".join((f"#{label}", *lines))


async def do(world: World, label: str, job: Job) -> None:
    """Do one job. What ends a run is noted by the world; whatever else is raised is a bug."""
    match job:
        case Run():
            await _run(world, label, job)
        case FanOut():
            await _fan_out(world, label, job)
        case Lane():
            await _lane(world, label, job)
        case WarmUp():
            with world.expecting(label):
                await world.engine.warm_up(AGENT, job.lanes)


async def _run(world: World, label: str, job: Run) -> None:
    agent = STORING if job.store else HOSTED if job.hosted else AGENT
    text = text_of(label, job.lines)
    with world.expecting(label):
        if job.reader == "none":
            world.result(label, job.lines, await people.run(world.engine, agent, text))
            return
        async with world.engine.open_run(agent, text) as run:
            shown: list[str] = []
            async with trio.open_nursery() as nursery:
                if job.reader != "leaves" and any("risk" in line or "APPROVE" in line for line in job.lines):
                    nursery.start_soon(people.watch, run)
                for number in range(2 if job.reader == "two" else 1):
                    words = () if number else job.words
                    nursery.start_soon(_read, run, job.reader, shown, partial(_say, world, label, run, words))
            if job.reader == "leaves":
                return
            state = await run.wait()
            world.result(label, () if job.words else job.lines, state)
            if job.reader != "breaks":
                for text in shown:
                    world.shown(label, text, state)


async def _say(world: World, label: str, run: triplane.Run, words: tuple[Word, ...], count: int) -> None:
    for word in words:
        if word.after != count:
            continue
        world.tell(f"{label} is told to {word.how}")
        try:
            match word.how:
                case "steer":
                    await run.steer(text_of(label, (word.text,)))
                case "send":
                    await run.send(text_of(label, (word.text,)))
                case "cancel":
                    run.cancel()
                case "stop":
                    run.cancel("after_turn")
        except triplane.RunFailed:
            # It may have ended meanwhile.
            world.require("errors", run.state.status not in ("waiting", "model", "tools"), "it goes on")
        if word.how == "fork":
            with world.expecting(f"{label}f"):
                async with run.fork(text_of(f"{label}f", (word.text,))) as fork:
                    await fork.wait()


async def _read(
    run: triplane.Run, how: Reader, shown: list[str], say: Callable[[int], Awaitable[None]]
) -> None:
    """Read a run's events and add the text that they leave standing.

    Not where they say that it is not what counts: that a piece was left out, or came twice.
    """
    text = ""
    count = 0
    differs = False
    try:
        async for event in run:
            count += 1
            anew = isinstance(event, triplane.RequestSent | triplane.ResponseRetracted)
            if anew or event.type == "response.created":
                # A response that was steered is followed by another one without a request.
                text = ""
            elif event.type in ("response.output_text.delta", "response.refusal.delta"):
                text += event.delta
            elif isinstance(event, triplane.DifferencesFound):
                differs = True
            await say(count)
            if count == 5 and how in ("breaks", "leaves"):
                return
            if how == "slow":
                await trio.sleep(0.3)
    except triplane.TriplaneError:
        return  # `Run.wait` tells it once more
    if not differs:
        shown.append(text)


async def _fan_out(world: World, label: str, job: FanOut) -> None:
    inputs = [text_of(f"{label}.{number}", lines) for number, lines in enumerate(job.programs)]
    seen: list[int] = []
    with world.expecting(label):
        async with world.engine.fan_out(AGENT, inputs, max_runs=job.max_runs, ordered=job.ordered) as results:
            async for each in results:
                seen.append(each.index)
                with world.expecting(f"{label}.{each.index}"):
                    world.result(f"{label}.{each.index}", job.programs[each.index], each.result)
                if len(seen) == job.leave_after:
                    return
        world.require("fan-out", sorted(seen) == list(range(len(inputs))), f"{label} gave results for {seen}")
        if job.ordered:
            world.require("fan-out", seen == sorted(seen), f"{label} gave results in the order {seen}")


async def _lane(world: World, label: str, job: Lane) -> None:
    parent: str | None = None
    # Over HTTP nothing can be continued but what was stored.
    store = world.scenario.endpoint.get("transport", "websocket") != "websocket"
    with world.expecting(label):
        async with world.engine.lane() as lane:
            for number, lines in enumerate(job.programs):
                request = ResponseCreate(
                    model="m", input=text_of(label, lines), store=store, previous_response_id=parent
                )
                turn = await lane.create(request)
                last = number == len(job.programs) - 1
                count = 0
                async for _event in turn:
                    count += 1
                    if last and count == job.leave_after:
                        return
                response = turn.response
                world.turn(label, response.id)
                if response.status != "completed":
                    return
                parent = response.id


def expected_text(lines: Lines, state: RunState) -> str | None:
    """What a completed run must say, if that can be told from its program and its outcomes."""
    if any(line.startswith("ASYNC") for line in lines):
        # The last word is about whatever came last.
        return None
    asks = [place for place, line in enumerate(lines) if {"CALL", "APPROVE"} & set(line.split(" "))]
    last = max(asks, default=-1)
    tail = [line for line in lines[last + 1 :] if line.startswith("SAY ")]
    if len(tail) == 1:
        _, count, text = tail[0].split(" ", 2)
        return int(count) * text
    if tail or last < 0 or any(line.startswith("APPROVE") for line in lines):
        return None
    calls = 1
    if lines[last].startswith("CALL"):
        while last - calls >= 0 and lines[last - calls].startswith("CALL"):
            calls += 1
    # Outcomes stand in the order in which they came; the answer is in the order of the calls.
    outputs = [orjson.dumps(each.outcome.output).decode() for each in state.tool_calls[-calls:]]
    return f"RESULT: {outputs[0]}" if calls == 1 and outputs else None
