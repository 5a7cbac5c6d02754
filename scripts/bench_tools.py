"""What a tool call costs apart from what the tool does, beside two other libraries that call the same function.

    python scripts/bench_tools.py [--rounds 9] [--calls 2000] [--limit 150]

The function is async, takes a string and a number, and returns a short string; its schema is made beforehand, and no
thread is used. Each library gets the arguments as JSON text, checks them, calls the function under a timeout, and gives
back what the model would get:

* triplane, all limits: `run_calls` with a timeout, an output cap, an artifact store, a limit for the tool and one for the
  engine, retries, and an observer;
* triplane, defaults: `run_calls` as it comes;
* openai-agents: `invoke_function_tool` with a timeout;
* pydantic-ai: the toolset's validator and `call_tool`, with a timeout.

The libraries take turns in each round, with the garbage collector off as `timeit` has it. What counts is processor time.
Shown are medians over the rounds in microseconds a call, and quartiles in brackets. With `--limit` the exit status is 1
if the first of them takes longer.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import platform
import statistics
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import trio

from triplane.core.outcome import ToolCall
from triplane.ledger import FileArtifacts
from triplane.tools import Setting, Workbench, by_name, run_calls, tool

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENTS = '{"city": "Uppsala", "days": 3}'
EXPECTED = "21 degrees in Uppsala, 3 days"


async def weather(city: str, days: int) -> str:
    """Say what the weather will be.

    Args:
        city: Where.
        days: How far ahead.
    """
    return f"21 degrees in {city}, {days} days"


class Observer:
    """One that keeps nothing."""

    def queued(self, call: Any, tool: Any) -> None: ...
    async def starting(self, call: Any, tool: Any, idempotency_key: str) -> None: ...
    def progress(self, call: Any, progress: Any, bytes_produced: int, skipped: int) -> None: ...
    def finished(self, call: Any, outcome: Any) -> None: ...
    def dropped(self, call: Any, seconds: float) -> None: ...


def triplane(*, with_limits: bool) -> Callable[[int], float]:
    limits: Any = {
        "effect": "read",
        "timeout": 30,
        "max_output": 16_384,
        "max_concurrency": 8 if with_limits else math.inf,
        "retries": 2 if with_limits else 0,
    }
    tools = by_name([tool(weather, **limits)])
    observer = Observer()
    calls = [ToolCall("call_1", "weather", ARGUMENTS)]

    async def main(count: int) -> float:
        workbench = Workbench(max_concurrency=64, artifacts=FileArtifacts()) if with_limits else Workbench()
        began = time.process_time()
        for _ in range(count):
            (outcome,) = await run_calls(
                calls, tools, Setting(run_id="run", engine=None, observer=observer, workbench=workbench)
            )
        spent = time.process_time() - began
        assert outcome.output == EXPECTED
        return spent

    return lambda count: trio.run(main, count)


def openai_agents() -> Callable[[int], float]:
    from agents import function_tool  # noqa: PLC0415
    from agents.tool import invoke_function_tool  # noqa: PLC0415
    from agents.tool_context import ToolContext  # noqa: PLC0415

    made = function_tool(weather, timeout=30)

    async def main(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            context = ToolContext(
                context=None, tool_name="weather", tool_call_id="call_1", tool_arguments=ARGUMENTS
            )
            output = await invoke_function_tool(function_tool=made, context=context, arguments=ARGUMENTS)
        spent = time.process_time() - began
        assert output == EXPECTED
        return spent

    return lambda count: asyncio.run(main(count))


def pydantic_ai() -> Callable[[int], float]:
    from pydantic_ai import RunContext  # noqa: PLC0415
    from pydantic_ai.models.test import TestModel  # noqa: PLC0415
    from pydantic_ai.toolsets import FunctionToolset  # noqa: PLC0415
    from pydantic_ai.usage import RunUsage  # noqa: PLC0415

    toolset: Any = FunctionToolset(timeout=30)
    toolset.add_function(weather, takes_ctx=False)

    async def main(count: int) -> float:
        context: Any = RunContext(deps=None, model=TestModel(), usage=RunUsage())
        made = (await toolset.get_tools(context))["weather"]
        began = time.process_time()
        for _ in range(count):
            arguments = made.args_validator.validate_json(ARGUMENTS)
            output = await toolset.call_tool("weather", arguments, context, made)
        spent = time.process_time() - began
        assert output == EXPECTED
        return spent

    return lambda count: asyncio.run(main(count))


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--limit", type=float, help="microseconds that a call with all limits may take")
    options = parser.parse_args()
    ways: dict[str, Callable[[int], float]] = {
        "triplane, all limits": triplane(with_limits=True),
        "triplane, defaults": triplane(with_limits=False),
    }
    for name, package, make in (
        ("openai-agents", "openai-agents", openai_agents),
        ("pydantic-ai", "pydantic-ai-slim", pydantic_ai),
    ):
        try:
            ways[f"{name} {version(package)}"] = make()
        except ImportError as error:
            print(f"{name} is not installed ({error}); run this as nox -s bench -- tools", file=sys.stderr)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(200)
    for _ in range(options.rounds):
        for name, way in ways.items():
            gc.collect()
            gc.disable()
            try:
                spent[name].append(way(options.calls) / options.calls * 1e6)
            finally:
                gc.enable()
    print(f"Python {platform.python_version()}, trio {version('trio')}; µs of processor time a call")
    for name, times in spent.items():
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"  {name:28} {middle:7.1f}  [{low:.1f}, {high:.1f}]")
    median = statistics.median(spent["triplane, all limits"])
    return 1 if options.limit and median > options.limit else 0


if __name__ == "__main__":
    sys.exit(main())
