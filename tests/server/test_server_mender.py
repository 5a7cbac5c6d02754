"""The mender model, driven by tools that keep its contract."""

from __future__ import annotations

import itertools
import re

import orjson
import pytest

from triplane.server import FunctionCall, ModelRequest, Text
from triplane.server.conversation import Conversation
from triplane.server.models import Mender

NAMES = ("list_files", "read_text", "search_text", "apply_patch", "run_command")
ALL = [{"type": "function", "name": name} for name in NAMES]
PROMPT = "Mend it.\ntests: run"

FAILURE = """\
F.
======================================================================
FAIL: test_twice (tests.test_x.XTest.test_twice)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/p/tests/test_x.py", line 9, in test_twice
    self.assertEqual(twice(2), 4)
AssertionError: 2 != 4

----------------------------------------------------------------------
Ran 2 tests in 0.123s

FAILED (failures=1)
[exit status 1]"""
SUCCESS = "..\nRan 2 tests in 0.1s\n\nOK\n[exit status 0]"


class Project:
    """The tools over files in memory. The tests pass as soon as no file has the word "wrong"."""

    def __init__(self, files):
        self.files = files
        self.patches = []

    def list_files(self, path, pattern):
        lines = [f"{len(text)}\t{name}" for name, text in self.files.items()]
        return "\n".join([*lines, f"{len(lines)} files, 0 bytes"])

    def read_text(self, path, start, lines):
        text = self.files[path].splitlines()
        shown = [f"{number}\t{line}" for number, line in enumerate(text, 1)][start - 1 : start - 1 + lines]
        return "\n".join([f"{path}: lines {start}-{len(text)} of {len(text)}", *shown])

    def search_text(self, pattern, path):
        found = [
            f"{name}:{number}:{line}"
            for name, text in self.files.items()
            for number, line in enumerate(text.splitlines(), 1)
            if re.search(pattern, line)
        ]
        return "\n".join([*found, f"{len(found)} matches"])

    def apply_patch(self, patch):
        self.patches.append(patch)
        path = re.search("File: (.+)", patch)[1]
        old, new = re.search("^-(.*)", patch, re.MULTILINE)[1], re.search(r"^\+(.*)", patch, re.MULTILINE)[1]
        self.files[path] = self.files[path].replace(f"{old}\n", f"{new}\n")
        return "1 files changed"

    def run_command(self, command):
        return FAILURE if any("wrong" in text for text in self.files.values()) else SUCCESS


def mend(answer, tools=ALL, *, parallel=True, text=PROMPT):
    """Run it to its end; returns the turns of calls and the description."""
    items = [{"type": "message", "role": "user", "content": text}]
    numbers = itertools.count()
    turns = []
    for _ in range(100):
        request = ModelRequest("m", None, tools, Conversation().extended(items), [], parallel)
        steps = list(Mender().respond(request))
        assert steps == list(Mender().respond(request))
        calls = [step for step in steps if isinstance(step, FunctionCall)]
        if not calls:
            return turns, "".join(step.text for step in steps if isinstance(step, Text))
        turns.append([call.name for call in calls])
        made = [(f"c{next(numbers)}", call) for call in calls]
        items += [
            {"type": "function_call", "call_id": key, "name": call.name, "arguments": call.arguments}
            for key, call in made
        ]
        items += [
            {
                "type": "function_call_output",
                "call_id": key,
                "output": answer(call.name, orjson.loads(call.arguments)),
            }
            for key, call in made
        ]
    raise AssertionError("it does not end")


def by(project):
    return lambda name, arguments: getattr(project, name)(**arguments)


def project(code, spec="`twice(n)` returns `FACTOR * n`; `FACTOR` is `2`.\n"):
    return Project({"SPEC.md": spec, "x.py": code, "data.bin": "x", "empty.py": ""})


def test_a_function_that_returns_something_else() -> None:
    one = project("FACTOR = 2\n\n\ndef twice(n):\n    return n  # wrong\n\n\ndef thrice(n):\n    return 3\n")

    turns, said = mend(by(one))

    assert [
        "*** Begin Patch\n*** Update File: x.py\n@@ def twice(n):\n-    return n  # wrong\n+    return FACTOR * n\n*** End Patch"
    ] == one.patches
    assert [["list_files"], ["read_text", "read_text"], ["run_command"], ["search_text"], ["read_text"], ["apply_patch"],
            ["run_command"], ["run_command"]] == turns  # fmt: skip
    assert said.startswith("# Make `twice` do what SPEC.md says\n")
    assert "- `tests.test_x.XTest.test_twice` failed: AssertionError: 2 != 4\n" in said
    assert "- before: Ran 2 tests, FAILED (failures=1)\n- after: Ran 2 tests, OK\n" in said


def test_a_constant_that_it_uses() -> None:
    one = project("FACTOR: int = 'wrong'\n\n\ndef twice(n):\n    return FACTOR * n\n")

    turns, said = mend(by(one), parallel=False)

    assert [
        "*** Begin Patch\n*** Update File: x.py\n-FACTOR: int = 'wrong'\n+FACTOR: int = 2\n*** End Patch"
    ] == one.patches
    assert {1} == set(map(len, turns))
    assert "`FACTOR` was `'wrong'`; SPEC.md says `2`." in said


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (project("FACTOR = 2\n\n\ndef twice(n):\n    return FACTOR * n  # wrong\n", "`FACTOR` is `2`."), "I know no rule"),
        (project("# wrong\n"), "# I found nothing to mend"),
        (project("x = 1\n"), "The tests pass. There is nothing to mend."),
    ],
)  # fmt: skip
def test_it_says_when_it_knows_no_further(one, words) -> None:
    _turns, said = mend(by(one))

    assert words in said
    assert [] == one.patches


def test_a_patch_that_changes_nothing_is_not_made_twice() -> None:
    one = project("def twice(n):\n    return 'wrong'\n")
    one.apply_patch = lambda patch: "The tool failed."

    turns, said = mend(by(one))

    assert 1 == sum(turn == ["apply_patch"] for turn in turns)
    assert "This is not done" in said


@pytest.mark.parametrize(
    ("tools", "text", "words"),
    [
        (ALL[:3], PROMPT, "I cannot mend anything without apply_patch, run_command."),
        (ALL, "Mend it.", "I need a line 'tests: <command>'"),
    ],
)
def test_what_it_needs(tools, text, words) -> None:
    turns, said = mend(None, tools, text=text)

    assert [] == turns
    assert words in said


@pytest.mark.parametrize(
    "output", ["", "The tool failed.", "a\tb", "[exit status 1]", "FAIL: x (y)\n[exit status 1]"]
)
def test_outputs_that_it_does_not_understand(output: str) -> None:
    _, said = mend(lambda name, arguments: output)

    assert said.startswith("# I found nothing to mend")
