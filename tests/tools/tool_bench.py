"""What the tests of the tools share."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from hypothesis import settings

from triplane.core.outcome import ToolCall, ToolOutcome
from triplane.tools import Progress, Setting, Tool, Workbench, by_name, run_calls

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Wait for something outside of Trio: a thread, a process, a file."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  (no event comes from there)
            await trio.sleep(0.002)


def members(group: int) -> list[str]:
    """Who is left of a process group, zombies not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == group and state != "Z":
                found.append(entry.name)
    return found


def is_gone(group: int) -> bool:
    """Whether nobody is left of a process group in the end. Killed is not dead: a process needs a moment to go."""
    patience = time.monotonic() + 5
    while members(group):
        if time.monotonic() > patience:
            return False
        time.sleep(0.005)
    return True


# How long an example takes says more about the machine than about the code.
steady = settings(deadline=None)


class Recorder:
    """An observer that keeps what it was told, in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.keys: dict[str, str] = {}
        self.outcomes: dict[str, ToolOutcome] = {}
        self.reports: list[tuple[str, Progress, int, int]] = []
        self.queue: list[str] = []
        self.late: list[str] = []
        self.on_starting: Callable[[ToolCall], Any] | None = None

    def queued(self, call: ToolCall, tool: Tool) -> None:
        self.queue.append(call.call_id)

    def progress(self, call: ToolCall, progress: Progress, bytes_produced: int, skipped: int) -> None:
        self.reports.append((call.call_id, progress, bytes_produced, skipped))

    def dropped(self, call: ToolCall, seconds: float) -> None:
        self.late.append(call.call_id)

    async def starting(self, call: ToolCall, tool: Tool, idempotency_key: str) -> None:
        self.log.append(("starting", call.call_id))
        self.keys[call.call_id] = idempotency_key
        if self.on_starting is not None:
            await self.on_starting(call)

    def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        assert call.call_id not in self.outcomes, "told twice"
        self.log.append(("finished", call.call_id))
        self.outcomes[call.call_id] = outcome


class NoEngine:
    async def run(self, agent: Any, input: Any) -> Any:  # noqa: A002
        return f"{agent} ran on {input}"


def call(name: str, call_id: str = "c1", /, **arguments: Any) -> ToolCall:
    return ToolCall(call_id, name, json.dumps(arguments))


def told(outcome: ToolOutcome) -> ToolOutcome:
    """An outcome without how long it waited and how often it was tried."""
    return attrs.evolve(outcome, queue_seconds=0.0, attempts=0)


async def run_all(
    *calls: ToolCall,
    tools: Any,
    observer: Recorder | None = None,
    workbench: Workbench | None = None,
    **more: Any,
) -> tuple[ToolOutcome, ...]:
    observer = Recorder() if observer is None else observer
    setting = Setting(run_id="run", engine=NoEngine(), observer=observer, workbench=workbench or Workbench())
    outcomes = await run_calls(calls, by_name(tools), setting, **more)
    assert outcomes == tuple(observer.outcomes[one.call_id] for one in calls)
    return outcomes


async def run_one(
    tool: Tool,
    /,
    observer: Recorder | None = None,
    *,
    workbench: Workbench | None = None,
    one: ToolCall | None = None,
    **arguments: Any,
) -> ToolOutcome:
    one = call(tool.name, **arguments) if one is None else one
    (outcome,) = await run_all(one, tools=[tool], observer=observer, workbench=workbench)
    return outcome
