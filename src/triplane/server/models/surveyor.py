r"""The `surveyor` model surveys a folder with whatever tools it is offered and reports what it found.

It is an agent's brain by rules: it lists the files, reads the largest ones side by side, searches for marks of
unfinished work, counts with commands, and writes a report in which every figure comes from an output of a tool. It
knows these function tools, uses those that are offered and leaves out what the others would have found:

| tool | the output it understands |
|---|---|
| `list_files(path, pattern)` | `<bytes>\t<path>` lines, perhaps `… <n> more`, then `<n> files, <n> bytes` |
| `read_text(path, start, lines)` | `<path>: lines <a>-<b> of <n>` (`<n>+` if it has more), then the lines |
| `search_text(pattern, path)` | `<path>:<line>:<text>` lines, then `<n> matches in <n> files` |
| `run_command(command)` | what the command wrote, then `[exit status <n>]` |

Lines it does not understand are passed over, so an output that was cut in the middle still counts; an output without
any figure, such as an error message, is mentioned in the report.

When the user's message has lines `file: <path>`, it surveys these files and nothing else of the folder.

It keeps no state: where the survey stands is read off the calls and outputs since the last user message.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

import attrs

from triplane.server.conversation import Item, item_text
from triplane.server.model import FunctionCall, ModelRequest, NewMessage, Step, Text

from .tool_calls import Arguments, Call, fit, made_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Surveyor"]

_KNOWN: Final = ("list_files", "read_text", "search_text", "run_command")
_MARKS: Final = ("TODO", "FIXME")
_FILES_READ: Final = 5
_LARGEST: Final = 5

_ENTRY: Final = re.compile(r"([0-9]+)\t(.+)")
_MORE: Final = re.compile(r"… ([0-9]+) more\b.*")
_LIST_FOOTER: Final = re.compile(r"([0-9]+) files?, ([0-9]+) bytes?")
_READ_HEADER: Final = re.compile(r"(.+): lines [0-9]+-[0-9]+ of ([0-9]+)(\+?)")
_MATCH: Final = re.compile(r"(.+?:[0-9]+):.*")
_SEARCH_FOOTER: Final = re.compile(r"([0-9]+) match(?:es)? in [0-9]+ files?")
_COUNT: Final = re.compile(r"\s*([0-9]+)\s*")
_EXIT_STATUS: Final = re.compile(r"\[exit status (-?[0-9]+)\]")

_NAMED_FILE: Final = re.compile(r"file: (.+)")

# File names that do not promise text.
_BINARY: Final = re.compile(
    r".*\.(7z|a|bin|bmp|bz2|class|db|dll|exe|gif|gz|ico|jar|jpe?g|mp[34]|o|otf|pdf|png|pyc|so|sqlite3?|tar|ttf|wasm|wav"
    r"|webp|whl|woff2?|xz|zip|zst)",
    re.IGNORECASE,
)


@attrs.frozen
class _Stage:
    """A few calls of one tool that can be made side by side."""

    tool: str
    says: str
    calls: list[Arguments]


@attrs.frozen
class _Scope:
    """What is surveyed: the whole folder, or some files of it."""

    files: tuple[str, ...] = ()

    @classmethod
    def of(cls, prompt: str) -> _Scope:
        """Return what the user's message asks for."""
        matches = map(_NAMED_FILE.fullmatch, prompt.splitlines())
        return cls(tuple(dict.fromkeys(match[1] for match in matches if match)))

    @property
    def paths(self) -> tuple[str, ...]:
        return self.files or (".",)

    @property
    def _words(self) -> str:
        """The paths as a shell's words; with "./" before a file none is taken for an option."""
        return " ".join(shlex.quote(f"./{path}") for path in self.files) or "."

    # These count what `find` and `wc` count: all regular files, hidden ones included, and newline characters.

    @property
    def count_files(self) -> str:
        return f"find {self._words} -type f | wc -l"

    @property
    def count_lines(self) -> str:
        return f"find {self._words} -type f -exec cat {{}} + | wc -l"

    @property
    def count_bytes(self) -> str:
        return f"find {self._words} -type f -exec cat {{}} + | wc -c"

    @property
    def count_marks(self) -> str:
        return f"grep -rIE 'TODO|FIXME' {self._words} | wc -l"


@attrs.frozen
class Surveyor:
    """Surveys a folder and reports. See the module's docstring."""

    name: str = "surveyor"

    def respond(self, request: ModelRequest) -> Iterator[Step]:
        """Yield the calls of the stage that is due, or the report; a pure function of the conversation."""
        tools = {
            tool["name"]: tool
            for tool in request.tools
            if tool.get("type") == "function" and tool.get("name") in _KNOWN
        }
        if not tools:
            yield Text(f"I have no tool to survey anything with. I know {', '.join(_KNOWN)}.")
            return
        conversation = request.conversation
        user = conversation[conversation.last_user] if conversation.last_user is not None else {}
        survey = _Survey(made_calls(conversation.since_user()), _Scope.of(item_text(user)))
        for stage in _plan(survey, tools):
            # Counting calls, and not comparing them, ends the survey whatever becomes of them on the way.
            made = len(survey.calls_of(stage.tool))
            due = stage.calls[made:] if request.parallel_tool_calls else stage.calls[made : made + 1]
            if due:
                yield NewMessage("commentary")
                yield Text(stage.says)
                for arguments in due:
                    yield FunctionCall(stage.tool, fit(arguments, tools[stage.tool]))
                return
        for line in _report(survey):
            yield Text(line + "\n")


def _plan(survey: _Survey, tools: Mapping[str, Item]) -> Iterator[_Stage]:
    if "list_files" in tools:
        calls: list[Arguments] = [{"path": path, "pattern": "**/*"} for path in survey.scope.paths]
        yield _Stage("list_files", "First I list the files.", calls)
    if "read_text" in tools:
        # Without a list there is one file that is worth a guess.
        guess = list(survey.scope.files[:_FILES_READ]) or ["README.md"]
        paths = survey.largest_texts() if "list_files" in tools else guess
        calls = [{"path": path, "start": 1, "lines": 400} for path in paths]
        yield _Stage("read_text", f"Now I read the {len(calls)} largest text files.", calls)
    if "search_text" in tools:
        calls = [{"pattern": mark, "path": path} for path in survey.scope.paths for mark in _MARKS]
        yield _Stage("search_text", "Next I search for unfinished work.", calls)
    if "run_command" in tools:
        scope = survey.scope
        commands = [scope.count_files, scope.count_lines, scope.count_bytes]
        if "search_text" not in tools:
            commands.append(scope.count_marks)
        yield _Stage(
            "run_command", "Last I count everything.", [{"command": command} for command in commands]
        )


class _Survey:
    """What the outputs so far tell."""

    def __init__(self, calls: list[Call], scope: _Scope) -> None:
        self._calls = calls
        self.scope = scope
        self.entries: list[tuple[int, str]] = []
        self._more = 0
        self._listed: tuple[int, int] | None = None
        self.failures: list[str] = []
        for call in self.calls_of("list_files"):
            self._read_list(call)
        self.totals = self._read_totals()
        self._counts = {
            call.arguments.get("command"): count
            for call in self.calls_of("run_command")
            if (count := self._read_count(call)) is not None
        }
        self.marks = self._read_marks()

    def calls_of(self, tool: str) -> list[Call]:
        return [call for call in self._calls if call.name == tool]

    @property
    def files(self) -> int | None:
        return self._counts.get(self.scope.count_files, self.listed_files)

    @property
    def listed_files(self) -> int | None:
        if self._listed is None:
            return None
        files = self._listed[0]
        # The footer counts what was listed, which is all there is unless the list was cut.
        return files + self._more if len(self.entries) == files else files

    @property
    def bytes(self) -> int | None:
        return self._counts.get(self.scope.count_bytes, self._listed and self._listed[1])

    @property
    def lines(self) -> int | None:
        if (counted := self._counts.get(self.scope.count_lines)) is not None:
            return counted
        # Only if all files were read is the sum of their lines the number asked for.
        exact = [total for total in self.totals.values() if total is not None]
        return sum(exact) if len(exact) == self.files else None

    def largest(self) -> list[tuple[int, str]]:
        return sorted(self.entries, key=lambda entry: (-entry[0], entry[1]))

    def largest_texts(self) -> list[str]:
        texts = [path for size, path in self.largest() if size and not _BINARY.fullmatch(path)]
        return texts[:_FILES_READ]

    def _failed(self, call: Call) -> None:
        line = call.lines[0][:120] if call.lines else "no output"
        self.failures.append(f"{call.name}: {line}")

    def _read_list(self, call: Call) -> None:
        for line in call.lines:
            if match := _ENTRY.fullmatch(line):
                self.entries.append((int(match[1]), match[2]))
            elif match := _MORE.fullmatch(line):
                self._more += int(match[1])
            elif match := _LIST_FOOTER.fullmatch(line):
                files, size = self._listed or (0, 0)
                self._listed = files + int(match[1]), size + int(match[2])
                return
        self._failed(call)

    def _read_totals(self) -> dict[str, int | None]:
        """Return the lines of each file that was read; None where there may be more."""
        totals: dict[str, int | None] = {}
        for call in self.calls_of("read_text"):
            match = call.lines and _READ_HEADER.fullmatch(call.lines[0])
            if match:
                totals[match[1]] = None if match[3] else int(match[2])
            else:
                self._failed(call)
        return totals

    def _read_count(self, call: Call) -> int | None:
        status = [match for line in call.lines if (match := _EXIT_STATUS.fullmatch(line))]
        counts = [match for line in call.lines if (match := _COUNT.fullmatch(line))]
        if len(counts) == 1 and status and status[-1][1] == "0":
            return int(counts[0][1])
        self._failed(call)
        return None

    def _read_marks(self) -> int | None:
        """Count the lines with a mark; a line with both is one line."""
        searches = self.calls_of("search_text")
        if not searches:
            return self._counts.get(self.scope.count_marks)
        places: list[str] = []
        total: int | None = None
        for call in searches:
            footer = [match for line in call.lines if (match := _SEARCH_FOOTER.fullmatch(line))]
            if not footer:
                self._failed(call)
                continue
            total = (total or 0) + int(footer[-1][1])
            places += [match[1] for line in call.lines if (match := _MATCH.fullmatch(line))]
        return None if total is None else total - (len(places) - len(set(places)))


def _report(survey: _Survey) -> Iterator[str]:
    """Yield the lines of the report: figures as `key: value` first, for programs, then prose."""
    figures = {"files": survey.files, "bytes": survey.bytes, "lines": survey.lines, "todo": survey.marks}
    for key, value in figures.items():
        yield f"{key}: {'unknown' if value is None else value}"
    largest = survey.largest()[:_LARGEST]
    for size, path in largest:
        yield f"largest: {path} ({size})"
    yield ""
    if survey.totals:
        yield f"I read {', '.join(survey.totals)}."
    listed = survey.listed_files
    if survey.files is not None and listed is not None and listed != survey.files:
        yield f"The list of files has {listed} of the {survey.files}."
    if survey.files == 0:
        yield "The folder is empty."
    for failure in survey.failures:
        yield f"This did not work: {failure}"
