r"""The `mender` model mends a small Python project whose tests fail, and describes what it changed.

It is an agent's brain by rules, like `surveyor`: it lists the files and reads them, runs the tests, follows the first
failing assertion from the function that is called there to the code that differs from what is specified, patches that, and
runs the tests again, until they pass or it knows no further. What it patches, and every word of its description that
depends on the project, comes from outputs of tools. It needs these function tools:

| tool | the output it understands |
|---|---|
| `list_files(path, pattern)` | `<bytes>\t<path>` lines |
| `read_text(path, start, lines)` | `<path>: lines <a>-<b> of <n>`, then `<line>\t<text>` lines |
| `search_text(pattern, path)` | `<path>:<line>:<text>` lines |
| `apply_patch(patch)` | anything |
| `run_command(command)` | what `unittest` writes, then `[exit status <n>]` |

A line `tests: <command>` of the user's message says how the tests are run; a test's name is put behind it to run that alone.
What it takes for a specification are phrases of Markdown files, each in one line: `` `name(arguments)` returns
`expression` `` and `` `NAME` is `value` ``.

It keeps no state: its plan is gone through anew for every request, with the outputs that there are by now.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from triplane.server.conversation import item_text
from triplane.server.model import FunctionCall, ModelRequest, NewMessage, Step, Text

from .tool_calls import Arguments, Call, fit, made_calls

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["Mender"]

_TOOLS: Final = ("list_files", "read_text", "search_text", "apply_patch", "run_command")
_MOST_FILES: Final = 20
_MOST_PATCHES: Final = 8
_DEFINITION: Final = 40

_TESTS: Final = re.compile(r"tests: (.+)")
_ENTRY: Final = re.compile(r"([0-9]+)\t(.+)")
_HEADER: Final = re.compile(r"(.+): lines [0-9]+-[0-9]+ of [0-9]+\+?")
_NUMBERED: Final = re.compile(r"([0-9]+)\t(.*)")
_MATCH: Final = re.compile(r"(.+?):([0-9]+):(.*)")
_RETURNS: Final = re.compile(r"`([A-Za-z_]\w*)\([^`]*\)` returns `([^`]+)`")
_IS: Final = re.compile(r"`([A-Z][A-Z0-9_]*)` is `([^`]+)`")
_FAILED: Final = re.compile(r"(?:FAIL|ERROR): (\w+) \(([\w.]+)\)")
_RAN: Final = re.compile(r"Ran [0-9]+ tests?\b")
_SUMMARY: Final = re.compile(r"(?:OK|FAILED)(?: \(.+\))?")
_STATUS: Final = re.compile(r"\[exit status (-?[0-9]+)\]")
_CALLED: Final = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\(")
_CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9_]*\b")


@attrs.frozen
class _Batch:
    """Calls that can be made side by side."""

    says: str
    tool: str
    calls: tuple[Arguments, ...]


# A plan asks for calls and gets what came back; at its end it has the lines of the description.
_Plan: TypeAlias = "Generator[_Batch, list[Call], list[str]]"


@attrs.frozen
class Mender:
    """Mends a project and describes the change. See the module's docstring."""

    name: str = "mender"

    def respond(self, request: ModelRequest) -> Iterator[Step]:
        """Yield the calls that are due, or the description; a pure function of the conversation."""
        tools = {str(tool.get("name")): tool for tool in request.tools if tool.get("type") == "function"}
        conversation = request.conversation
        user = conversation[conversation.last_user] if conversation.last_user is not None else {}
        command = next(filter(None, map(_TESTS.fullmatch, item_text(user).splitlines())), None)
        if missing := [name for name in _TOOLS if name not in tools]:
            yield Text(f"I cannot mend anything without {', '.join(missing)}.")
            return
        if command is None:
            yield Text("I need a line 'tests: <command>' that says how the tests are run.")
            return
        made = made_calls(conversation.since_user())
        plan = _mend(command[1])
        try:
            batch = next(plan)
            # Which calls were made is not compared but counted: so this ends, whatever becomes of them on the way.
            while len(made) >= len(batch.calls):
                done, made = made[: len(batch.calls)], made[len(batch.calls) :]
                batch = plan.send(done)
        except StopIteration as end:
            for line in end.value:
                yield Text(f"{line}\n")
            return
        due = batch.calls[len(made) :]
        yield NewMessage("commentary")
        yield Text(batch.says)
        for arguments in due if request.parallel_tool_calls else due[:1]:
            yield FunctionCall(batch.tool, fit(arguments, tools[batch.tool]))


@attrs.frozen
class _Spec:
    """What the project is to do, as far as the rules understand it."""

    returns: Mapping[str, str]
    values: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def read(cls, texts: Mapping[str, Sequence[str]]) -> _Spec:
        returns: dict[str, str] = {}
        values: dict[str, str] = {}
        sources: dict[str, str] = {}
        for path, lines in texts.items():
            for line in lines if path.endswith(".md") else ():
                for pattern, table in ((_RETURNS, returns), (_IS, values)):
                    for match in pattern.finditer(line):
                        table.setdefault(match[1], match[2])
                        sources.setdefault(match[1], path)
        return cls(returns, values, sources)


@attrs.frozen
class _Run:
    """A run of the tests."""

    call: Call

    @property
    def passed(self) -> bool:
        return any((match := _STATUS.fullmatch(line)) and match[1] == "0" for line in self.call.lines)

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """The test's dotted name, the line of it that failed, and what was wrong."""
        found: list[tuple[str, str, str]] = []
        lines = self.call.lines
        for at, line in enumerate(lines):
            if match := _FAILED.match(line):
                name = match[2] if match[2].endswith(f".{match[1]}") else f"{match[2]}.{match[1]}"
                rest = lines[at + 1 :]
                end = next((n for n, each in enumerate(rest) if each.startswith("=====")), len(rest))
                place = f"in {match[1]}"
                source = [rest[n + 1].strip() for n in range(end - 1) if rest[n].endswith(place)]
                wrong = [each for each in rest[:end] if re.match(r"\w+(Error|Exception)\b", each)]
                found.append((name, source[-1] if source else "", wrong[-1] if wrong else ""))
        return found

    @property
    def summary(self) -> str:
        """What it says at its end."""
        said = [line for line in self.call.lines if _RAN.match(line) or _SUMMARY.fullmatch(line)]
        return ", ".join(re.sub(r" in [0-9.]+s$", "", line) for line in said) or "no result"


@attrs.frozen
class _Fix:
    """What is wrong, and the patch for it."""

    name: str
    path: str
    old: str
    new: str
    patch: str


def _mend(command: str) -> _Plan:
    """The whole plan."""
    (listing,) = yield _Batch("I look at what there is.", "list_files", ({"path": ".", "pattern": "**/*"},))
    entries = [match for line in listing.lines if (match := _ENTRY.fullmatch(line)) and match[1] != "0"]
    paths = sorted(match[2] for match in entries if match[2].endswith((".md", ".py")))[:_MOST_FILES]
    texts: dict[str, list[str]] = {}
    if paths:
        asked: tuple[Arguments, ...] = tuple({"path": path, "start": 1, "lines": 400} for path in paths)
        for call in (yield _Batch(f"I read the {len(paths)} files of text and code.", "read_text", asked)):
            texts |= _text(call)
    spec = _Spec.read(texts)
    (call,) = yield _Batch(
        "Before I change anything I run the tests.", "run_command", ({"command": command},)
    )
    first = last = _Run(call)
    fixes: list[_Fix] = []
    while not last.passed and last.failures and len(fixes) < _MOST_PATCHES:
        test, source, wrong = last.failures[0]
        fix = yield from _find(spec, test, source, wrong)
        if fix is None or fix in fixes:
            break
        says = f"{spec.sources[fix.name]} says otherwise of {fix.name}: I patch {fix.path}."
        yield _Batch(says, "apply_patch", ({"patch": fix.patch},))
        fixes.append(fix)
        yield _Batch(f"Does {test} pass now?", "run_command", ({"command": f"{command} {test}"},))
        (call,) = yield _Batch("And all of them?", "run_command", ({"command": command},))
        last = _Run(call)
    return _described(command, spec, first, last, fixes)


def _find(spec: _Spec, test: str, source: str, wrong: str) -> Generator[_Batch, list[Call], _Fix | None]:
    """Follow the calls from the line that failed to the first thing that is not as specified."""
    todo = [name for name in _CALLED.findall(source) if not name.startswith("assert")]
    seen: set[str] = set()
    says = f"{test} fails: {wrong}."
    while todo:
        name = todo.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if _CONSTANT.fullmatch(name):
            (found,) = yield _Batch(
                f"Is {name} as specified?", "search_text", ({"pattern": f"^{name}\\b.* = ", "path": "."},)
            )
            fix = _constant(spec, name, found)
        else:
            says = f"{says} I look for {name}."
            (found,) = yield _Batch(
                says.strip(), "search_text", ({"pattern": f"^def {name}\\(", "path": "."},)
            )
            says = ""
            place = next(filter(None, map(_MATCH.fullmatch, found.lines)), None)
            if place is None:
                continue
            asked: Arguments = {"path": place[1], "start": int(place[2]), "lines": _DEFINITION}
            (call,) = yield _Batch(f"I read {name}.", "read_text", (asked,))
            head, body = _function(_text(call).get(place[1], []))
            fix = _returned(spec, name, place[1], head, body)
            # What the function uses may be at fault as well; what calls, before what is called by that.
            words = "\n".join(body)
            todo += [each for each in _CONSTANT.findall(words) if each in spec.values]
            todo += [each for each in _CALLED.findall(words) if each in spec.returns]
        if fix is not None:
            return fix
    return None


def _text(call: Call) -> dict[str, list[str]]:
    """The lines that were read, by their file."""
    header = _HEADER.fullmatch(call.lines[0]) if call.lines else None
    if header is None:
        return {}
    return {header[1]: [match[2] for line in call.lines[1:] if (match := _NUMBERED.fullmatch(line))]}


def _function(lines: Sequence[str]) -> tuple[str, list[str]]:
    """The first line of a function, and the others that belong to it."""
    if not lines:
        return "", []
    end = next((n for n, line in enumerate(lines) if n and line and not line[0].isspace()), len(lines))
    return lines[0], list(lines[1:end])


def _returned(spec: _Spec, name: str, path: str, head: str, body: Sequence[str]) -> _Fix | None:
    """What to change in a function that does not return what it should."""
    wanted = spec.returns.get(name)
    returns = [line for line in body if line.lstrip().startswith("return ")]
    if wanted is None or len(returns) != 1:
        return None
    line = returns[0]
    old = line.strip().removeprefix("return ")
    if old == wanted:
        return None
    indent = line[: len(line) - len(line.lstrip())]
    patch = _patch(path, f"@@ {head}", f"-{line}", f"+{indent}return {wanted}")
    return _Fix(name, path, old, wanted, patch)


def _constant(spec: _Spec, name: str, found: Call) -> _Fix | None:
    """What to change where a constant has not the value that it should have."""
    wanted = spec.values[name]
    place = next(filter(None, map(_MATCH.fullmatch, found.lines)), None)
    if place is None:
        return None
    left, _, old = place[3].partition(" = ")
    if old == wanted:
        return None
    return _Fix(name, place[1], old, wanted, _patch(place[1], f"-{left} = {old}", f"+{left} = {wanted}"))


def _patch(path: str, *lines: str) -> str:
    return "\n".join(["*** Begin Patch", f"*** Update File: {path}", *lines, "*** End Patch"])


def _described(command: str, spec: _Spec, first: _Run, last: _Run, fixes: Sequence[_Fix]) -> list[str]:
    if first.passed:
        return ["The tests pass. There is nothing to mend."]
    sources = " and ".join(dict.fromkeys(spec.sources[fix.name] for fix in fixes))
    names = ", ".join(f"`{fix.name}`" for fix in fixes)
    lines = [
        f"# Make {names} do what {sources} says" if fixes else "# I found nothing to mend",
        "",
        "## Why",
        "",
    ]
    lines += [f"- `{test}` failed: {wrong or source}" for test, source, wrong in first.failures]
    lines += ["", "## What", ""]
    lines += [
        f"- `{fix.path}`: `{fix.name}` was `{fix.old}`; {spec.sources[fix.name]} says `{fix.new}`."
        for fix in fixes
    ]
    lines += ["", "## Checked", "", f"`{command}`", ""]
    lines += [f"- before: {first.summary}", f"- after: {last.summary}"]
    if not last.passed:
        lines += ["", "This is not done: I know no rule for what still fails."]
    return lines
