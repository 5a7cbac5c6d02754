"""From a specification to the description of a change: an agent mends a repository whose tests fail.

    python examples/spec_to_pr.py

It makes a small repository in a temporary directory, and lets an agent list, read, search and patch the files there, and run
the tests, but nothing else. Before and after, the tests are run without the agent, to see for ourselves. The model is the
local server's `mender`, which decides by rules from what the tools tell it. With a real one:

    OPENAI_API_KEY=... python examples/spec_to_pr.py --model gpt-5.5
    OPENAI_API_KEY=... python examples/spec_to_pr.py --model NAME --url wss://HOST/v1

The exit status is 0 if the tests failed before, and pass afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import triplane
from triplane.server import serve
from triplane.tools import CommandLimits, workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = {
    "README.md": "# till\n\nWhat a till adds up. `SPEC.md` says what it has to do.\n",
    "SPEC.md": """\
# What the till does

Money is whole cents.

- `as_text(cents)` returns `f"{cents // 100}.{cents % 100:02}"`.
- `BULK_FROM` is `10`, and `BULK_PERCENT` is `10`.
- `discount(count, total)` returns `total * BULK_PERCENT // 100 if count >= BULK_FROM else 0`.
- `FREE_DELIVERY_FROM` is `5000`, and `DELIVERY` is `495`.
- `delivery(total)` returns `0 if total >= FREE_DELIVERY_FROM else DELIVERY`.
- `receipt(name, count, price)` returns `f"{count} x {name}: {as_text(count * price)}"`.
""",
    "till/__init__.py": "",
    "till/money.py": '''\
"""Money, in whole cents."""


def as_text(cents: int) -> str:
    """Cents as people write them."""
    return f"{cents // 100}.{cents % 100}"
''',
    "till/discount.py": '''\
"""What is taken off."""

BULK_FROM = 10
BULK_PERCENT = 15


def discount(count: int, total: int) -> int:
    """The discount on many of the same."""
    return total * BULK_PERCENT // 100 if count >= BULK_FROM else 0
''',
    "till/delivery.py": '''\
"""What is put on."""

FREE_DELIVERY_FROM = 5000
DELIVERY = 495


def delivery(total: int) -> int:
    """The cost of sending an order home."""
    return 0 if total > FREE_DELIVERY_FROM else DELIVERY
''',
    "till/receipt.py": '''\
"""What is printed."""

from till.money import as_text


def receipt(name: str, count: int, price: int) -> str:
    """One line."""
    return f"{count} x {name}: {as_text(count * price)}"
''',
    "tests/__init__.py": "",
    "tests/test_delivery.py": """\
import unittest

from till.delivery import delivery


class DeliveryTest(unittest.TestCase):
    def test_small_orders_pay(self):
        self.assertEqual(delivery(4999), 495)

    def test_it_is_free_from_fifty(self):
        self.assertEqual(delivery(5000), 0)
""",
    "tests/test_discount.py": """\
import unittest

from till.discount import discount


class DiscountTest(unittest.TestCase):
    def test_nine_are_not_many(self):
        self.assertEqual(discount(9, 900), 0)

    def test_ten_are_a_tenth_cheaper(self):
        self.assertEqual(discount(10, 1000), 100)
""",
    "tests/test_receipt.py": """\
import unittest

from till.receipt import receipt


class ReceiptTest(unittest.TestCase):
    def test_whole_amounts(self):
        self.assertEqual(receipt("tea", 3, 450), "3 x tea: 13.50")

    def test_small_change(self):
        self.assertEqual(receipt("pin", 1, 5), "1 x pin: 0.05")
""",
}

TESTS = f"{shlex.quote(sys.executable)} -m unittest"

INSTRUCTIONS = """\
You mend a repository with the tools of a workspace. Read the specification, the code and the tests; run the tests; change
the code with small patches until it does what the specification says and the tests pass; run the tests again. Never
change a test. When you are done, write the description of the change for its reviewers, as Markdown: a title, why, what,
and how it was checked, with the results of the tests before and after.
"""
TASK = f"""\
The tests of this repository fail. Make the code do what SPEC.md says, and describe the change.
tests: {TESTS}
"""


def make_repository(place: Path) -> None:
    """Write the files."""
    for name, text in REPOSITORY.items():
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def tests_pass(place: Path) -> bool:
    """Run the tests without the agent."""
    command = [sys.executable, "-B", "-m", "unittest", "--quiet"]
    return subprocess.run(command, cwd=place, capture_output=True, check=False).returncode == 0  # noqa: S603  # our own


def make_agent(model: str, place: Path) -> triplane.Agent:
    """An agent that may change the repository and run its tests."""
    tools = workspace(
        place,
        write=True,
        commands=[TESTS],
        limits=CommandLimits(timeout=60, memory=2 * 1024**3, file_size=10 * 1024**2),
        # Files that change twice in a second, and keep their size, would be taken for what was compiled before.
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    limits = triplane.RunLimits(max_turns=100, max_tool_calls=200)
    return triplane.Agent(model, INSTRUCTIONS, tools, name="mender", limits=limits)


async def mend(agent: triplane.Agent, endpoint: triplane.Endpoint) -> str:
    """Run the agent, tell what it does, and return its description."""
    calls = 0
    about: dict[str, str] = {}
    async with triplane.open_engine(endpoint) as engine, engine.open_run(agent, TASK) as run:
        async for event in run:
            match event:
                case triplane.ToolStarted():
                    about[event.call_id] = subject(event.name, event.arguments)
                case triplane.ToolFinished():
                    calls += 1
                    told = event.outcome.output.splitlines() or [""]
                    said = ending(event.name, event.outcome.kind, told)
                    print(f"{calls:3}  {event.name:12} {about.get(event.call_id, ''):34} {said[:58]}")
        result = run.result
    print(f"\n{calls} tool calls, {result.turns} turns, {result.bytes_up:,} bytes up\n")
    return result.text


def subject(name: str, arguments: str) -> str:
    """What a call is about, on a part of a line."""
    try:
        values = json.loads(arguments)
        text = str(
            values["command" if name == "run_command" else "pattern" if name == "search_text" else "path"]
        )
    except (ValueError, TypeError, LookupError):
        text = ""
    # Of a command its end says more, behind the path of the interpreter.
    text = text.replace(TESTS, "tests")
    return text if len(text) <= 34 else f"{text[:12]}…{text[-21:]}"


def ending(name: str, kind: str, lines: Sequence[str]) -> str:
    """What came of a call, on a part of a line."""
    if kind not in ("ok", "truncated"):
        return f"{kind}: {lines[0]}"
    if name == "run_command":
        return next((line for line in reversed(lines[:-1]) if line.strip()), lines[-1])
    return lines[-1] if name == "list_files" else lines[0]


async def main(url: str | None, model: str | None) -> int:
    """Make the repository, mend it, and look at it."""
    with tempfile.TemporaryDirectory(prefix="till-") as folder:
        place = Path(folder)
        make_repository(place)
        before = await trio.to_thread.run_sync(tests_pass, place)
        print(f"before: the tests {'pass' if before else 'fail'}\n")
        async with trio.open_nursery() as nursery:
            if url is not None:
                endpoint = triplane.Endpoint(url, api_key=os.environ.get("OPENAI_API_KEY"))
            elif model is not None:
                endpoint = triplane.Endpoint.from_env()
            else:
                server = await nursery.start(partial(serve, model="mender"))
                endpoint = triplane.Endpoint(server.url)
            print(await mend(make_agent(model or "mender", place), endpoint))
            nursery.cancel_scope.cancel()
        after = await trio.to_thread.run_sync(tests_pass, place)
    print(f"after: the tests {'pass' if after else 'fail'}")
    return 0 if after and not before else 1


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="An agent mends a small repository and describes the change."
    )
    parser.add_argument(
        "--url", help="the endpoint; without it OpenAI's, or the local server's without --model too"
    )
    parser.add_argument("--model", help="the model's name")
    arguments = parser.parse_args()
    if arguments.url and not arguments.model:
        parser.error("--url needs --model")
    return arguments


if __name__ == "__main__":
    arguments = read_arguments()
    sys.exit(trio.run(main, arguments.url, arguments.model))
