"""The surveyor model, driven through whole surveys by tools that keep its contract."""

from __future__ import annotations

import itertools
import re
import subprocess

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triplane.server import FunctionCall, ModelRequest, NewMessage, Text
from triplane.server.conversation import Conversation
from triplane.server.models import Surveyor

PROPERTIES = {
    "list_files": {"path": {"type": "string"}, "pattern": {"type": "string"}},
    "read_text": {"path": {"type": "string"}, "start": {"type": "integer"}, "lines": {"type": "integer"}},
    "search_text": {"pattern": {"type": "string"}, "path": {"type": "string"}},
    "run_command": {"command": {"type": "string"}},
}


def definition(name, **parameters):
    properties = PROPERTIES[name]
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "name": name, "strict": True, "parameters": {**schema, **parameters}}


ALL = [definition(name) for name in PROPERTIES]


class Folder:
    """The four tools over a real folder, written for these tests from the contract alone."""

    def __init__(self, root):
        self.root = root

    def files(self):
        return sorted((path for path in self.root.rglob("*") if path.is_file()), key=str)

    def list_files(self, path, pattern):
        assert (path, pattern) == (".", "**/*")
        sizes = [(file.stat().st_size, file.relative_to(self.root)) for file in self.files()]
        lines = [f"{size}\t{name}" for size, name in sizes]
        return "\n".join([*lines, f"{len(sizes)} files, {sum(size for size, _ in sizes)} bytes"])

    def read_text(self, path, start, lines):
        assert (start, lines) == (1, 400)
        text = (self.root / path).read_text().splitlines()
        return "\n".join(
            [f"{path}: lines 1-{min(400, len(text))} of {len(text)}"]
            + [f"{number}\t{line}" for number, line in enumerate(text[:400], 1)]
        )

    def search_text(self, pattern, path):
        found = [
            f"{file.relative_to(self.root)}:{number}:{line}"
            for file in self.files()
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
            if re.search(pattern, line)
        ]
        return "\n".join(
            [*found, f"{len(found)} matches in {len({line.split(':')[0] for line in found})} files"]
        )

    def run_command(self, command):
        done = subprocess.run(command, shell=True, cwd=self.root, capture_output=True, text=True, check=False)
        return f"{done.stdout}{done.stderr}[exit status {done.returncode}]"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "src").mkdir()
    for number in range(7):
        (tmp_path / f"src/module_{number}.py").write_text("x = 1\n" * (10 * number) + "# TODO: more\n")
    (tmp_path / "README.md").write_text("# Title\n\nTODO and FIXME on one line\nno newline at the end")
    (tmp_path / ".hidden").write_text("FIXME\n")
    (tmp_path / "logo.PNG").write_bytes(bytes(5000))
    (tmp_path / "empty.txt").write_text("")
    return Folder(tmp_path)


def survey(answer, tools=ALL, *, parallel=True, text="Survey this folder."):
    """Run a survey to its end; returns the turns of calls, the report and the commentary."""
    items = [{"type": "message", "role": "user", "content": text}]
    numbers = itertools.count()
    turns, commentary = [], []
    for _ in range(40):
        request = ModelRequest("m", None, tools, Conversation().extended(items), [], parallel)
        steps = list(Surveyor().respond(request))
        assert steps == list(Surveyor().respond(request))
        said = "".join(step.text for step in steps if isinstance(step, Text))
        calls = [step for step in steps if isinstance(step, FunctionCall)]
        if not calls:
            return turns, said, commentary
        assert steps[0] == NewMessage("commentary")
        commentary.append(said)
        turns.append([(call.name, orjson.loads(call.arguments)) for call in calls])
        made = [
            {
                "type": "function_call",
                "call_id": f"c{next(numbers)}",
                "name": call.name,
                "arguments": call.arguments,
            }
            for call in calls
        ]
        items += made
        for call, (name, arguments) in zip(made, turns[-1], strict=True):
            items.append(
                {
                    "type": "function_call_output",
                    "call_id": call["call_id"],
                    "output": answer(name, arguments),
                }
            )
    raise AssertionError("the survey does not end")


def by(folder):
    return lambda name, arguments: getattr(folder, name)(**arguments)


def figures(report):
    lines = report.split("\n")
    block = lines[: lines.index("")]
    pairs = [line.split(": ", 1) for line in block]
    largest = [value for key, value in pairs if key == "largest"]
    return {key: value for key, value in pairs if key != "largest"}, largest


def shell(folder, command):
    return subprocess.run(
        command, shell=True, cwd=folder.root, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_survey(folder):
    turns, report, commentary = survey(by(folder))

    values, largest = figures(report)
    assert values == {
        "files": shell(folder, "find . -type f | wc -l"),
        "bytes": shell(folder, "find . -type f -exec cat {} + | wc -c"),
        "lines": shell(folder, "find . -type f -exec cat {} + | wc -l"),
        "todo": shell(folder, "grep -rE 'TODO|FIXME' . | wc -l"),
    }
    assert values["todo"] == "9"  # the line with both counts once
    assert largest[0] == "logo.PNG (5000)"
    assert largest[1] == "src/module_6.py (373)"
    assert len(largest) == 5
    assert [[name for name, _ in turn] for turn in turns] == [
        ["list_files"],
        ["read_text"] * 5,
        ["search_text"] * 2,
        ["run_command"] * 3,
    ]
    assert sum(map(len, turns)) >= 8
    # The largest texts, side by side in one response; a picture is not text, an empty file not worth a call.
    assert [arguments["path"] for _, arguments in turns[1]] == [f"src/module_{n}.py" for n in (6, 5, 4, 3, 2)]
    assert len(commentary) == len(turns)


def test_one_call_at_a_time_makes_the_same_survey(folder):
    turns, report, _ = survey(by(folder))
    single, same_report, _ = survey(by(folder), parallel=False)

    assert [len(turn) for turn in single] == [1] * sum(map(len, turns))
    assert [call for turn in single for call in turn] == [call for turn in turns for call in turn]
    assert same_report == report


def test_without_tools(folder):
    unknown = [
        {"type": "web_search"},
        {"type": "function", "name": "other"},
        {"type": "custom", "name": "list_files"},
    ]

    for tools in ([], unknown):
        turns, report, _ = survey(by(folder), tools)
        assert turns == []
        assert report == (
            "I have no tool to survey anything with. I know list_files, read_text, search_text, run_command."
        )


@pytest.mark.parametrize("count", range(1, 5))
def test_any_subset_of_the_tools(folder, count):
    for tools in itertools.combinations(ALL, count):
        names = [tool["name"] for tool in tools]
        turns, report, _ = survey(by(folder), tools)

        assert [turn[0][0] for turn in turns] == names
        values, largest = figures(report)
        assert (values["files"] != "unknown") == bool({"list_files", "run_command"} & set(names))
        assert (values["bytes"] != "unknown") == bool({"list_files", "run_command"} & set(names))
        assert (values["lines"] != "unknown") == ("run_command" in names)
        assert (values["todo"] != "unknown") == bool({"search_text", "run_command"} & set(names))
        assert bool(largest) == ("list_files" in names)
        if values["todo"] != "unknown":
            assert values["todo"] == "9"


def test_lines_without_commands_only_if_all_files_were_read(tmp_path):
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "b.txt").write_text("3\n")

    _, report, _ = survey(by(Folder(tmp_path)), ALL[:2])

    assert figures(report)[0] == {"files": "2", "bytes": "6", "lines": "3", "todo": "unknown"}


def test_a_file_with_more_lines_than_were_counted():
    def answer(name, arguments):
        return "5\ta\n1 files, 5 bytes" if name == "list_files" else "a: lines 1-400 of 999+\n1\tx"

    _, report, _ = survey(answer, ALL[:2])

    assert figures(report)[0]["lines"] == "unknown"
    assert "I read a." in report
    assert "did not work" not in report


def test_named_files_alone(folder):
    (folder.root / "a b.txt").write_text("TODO\nFIXME\n\n")
    prompt = "Survey:\nfile: a b.txt\nfile: src/module_1.py"

    def answer(name, arguments):
        if name == "list_files":
            return (
                f"{(folder.root / arguments['path']).stat().st_size}\t{arguments['path']}\n1 files, 1 bytes"
            )
        if name == "search_text":
            return (
                folder.run_command(f"grep -Hn {arguments['pattern']} '{arguments['path']}'")
                + "\n1 matches in 1 files"
            )
        return by(folder)(name, arguments)

    turns, report, _ = survey(answer, text=prompt)

    values, largest = figures(report)
    assert (values["files"], values["bytes"], values["lines"]) == ("2", "85", "14")
    assert largest == ["src/module_1.py (73)", "a b.txt (12)"]
    assert [arguments["path"] for _, arguments in turns[0]] == ["a b.txt", "src/module_1.py"]


def test_an_empty_folder(tmp_path):
    turns, report, _ = survey(by(Folder(tmp_path)))

    assert figures(report) == ({"files": "0", "bytes": "0", "lines": "0", "todo": "0"}, [])
    assert "read_text" not in [turn[0][0] for turn in turns]
    assert "empty" in report


@pytest.mark.parametrize(
    "output",
    [
        "Error: the tool timed out",
        "",
        "\n",
        [{"type": "input_text", "text": "denied"}],
        [],
        "12\n[exit status 1]",
        "a\nb",
    ],
)
def test_tools_that_fail(output):
    turns, report, _ = survey(lambda *_: output)

    assert figures(report) == (dict.fromkeys(("files", "bytes", "lines", "todo"), "unknown"), [])
    assert "This did not work: list_files: " in report
    assert [turn[0][0] for turn in turns] == ["list_files", "search_text", "run_command"]


def test_one_tool_that_fails(folder):
    def answer(name, arguments):
        return "Error: no such command" if name == "run_command" else by(folder)(name, arguments)

    _, report, _ = survey(answer)

    assert figures(report)[0] == {
        "files": "11",
        "bytes": str(5000 + len_of(folder)),
        "lines": "unknown",
        "todo": "9",
    }
    assert "This did not work: run_command: Error: no such command" in report


def len_of(folder):
    return sum(file.stat().st_size for file in folder.files() if file.suffix != ".PNG")


def test_outputs_cut_in_the_middle(folder):
    def cut(name, arguments):
        lines = by(folder)(name, arguments).split("\n")
        if len(lines) < 6:
            return "\n".join(lines)
        return "\n".join([*lines[:2], "[... 999 bytes left out, see artifact a1 ...]", *lines[-2:]])

    _, report, _ = survey(cut)

    assert figures(report)[0] == figures(survey(by(folder))[1])[0]


@pytest.mark.parametrize("counted", [2, 5])
def test_a_list_that_was_cut(counted):
    """Whether its last line counts what was listed, or all there is."""
    listing = f"10\ta.py\n20\tb.py\n… 3 more\n{counted} files, 30 bytes"

    _, report, _ = survey(lambda *_: listing, ALL[:1])

    assert figures(report) == (
        {"files": "5", "bytes": "30", "lines": "unknown", "todo": "unknown"},
        ["b.py (20)", "a.py (10)"],
    )


def test_a_list_without_hidden_files_is_reported_as_such(folder):
    def answer(name, arguments):
        if name == "list_files":
            return "373\tsrc/module_6.py\n1 files, 373 bytes"
        return by(folder)(name, arguments)

    _, report, _ = survey(answer)

    assert figures(report)[0]["files"] == "11"
    assert "The list of files has 1 of the 11." in report


def test_names_with_spaces_colons_and_other_oddities():
    listing = "5\ta b.txt\n7\td:1:e\n3\té\n3 files, 15 bytes"
    turns, report, _ = survey(lambda name, _: listing if name == "list_files" else "")

    assert [arguments["path"] for _, arguments in turns[1]] == ["d:1:e", "a b.txt", "é"]
    assert figures(report)[1] == ["d:1:e (7)", "a b.txt (5)", "é (3)"]


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (definition("list_files")["parameters"], {"path": ".", "pattern": "**/*"}),
        ({"type": "object", "properties": {"path": {}}}, {"path": "."}),
        ({"type": "object", "properties": {}}, {}),
        ({}, {"path": ".", "pattern": "**/*"}),
        (None, {"path": ".", "pattern": "**/*"}),
        (
            {
                "properties": {
                    "path": {"type": "string"},
                    "limit": {"type": "integer"},
                    "mode": {"enum": ["a", "b"]},
                    "deep": {"type": "boolean", "default": True},
                    "maybe": {"type": ["string", "null"]},
                    "odd": True,
                },
                "required": ["path", "limit", "mode", "deep", "maybe", "odd", "ghost"],
            },
            {"path": ".", "limit": 0, "mode": "a", "deep": True, "maybe": None, "odd": None, "ghost": None},
        ),
    ],
)
def test_arguments_fit_the_schema(parameters, arguments):
    turns, _, _ = survey(
        lambda *_: "", [{"type": "function", "name": "list_files", "parameters": parameters}]
    )

    assert turns == [[("list_files", arguments)]]


@pytest.mark.parametrize("arguments", ["", "not json", "[]"])
def test_calls_of_others_in_the_history(arguments):
    """A history may hold calls that some other model made."""
    items = [
        {"type": "message", "role": "user", "content": "Survey."},
        {"type": "function_call", "call_id": "c", "name": "run_command", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c", "output": "12\n[exit status 0]"},
    ]

    steps = list(Surveyor().respond(ModelRequest("m", None, ALL[:1], Conversation().extended(items), [])))

    assert [step.name for step in steps if isinstance(step, FunctionCall)] == ["list_files"]


def test_a_second_question_starts_over(folder):
    _, report, _ = survey(by(folder), text="First.")
    items = [
        {"type": "message", "role": "user", "content": "First."},
        {"type": "function_call", "call_id": "c", "name": "list_files", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "0 files, 0 bytes"},
        {"type": "message", "role": "assistant", "content": report},
        {"type": "message", "role": "user", "content": "Again."},
    ]
    steps = list(Surveyor().respond(ModelRequest("m", None, ALL, Conversation().extended(items), [])))

    assert [step.name for step in steps if isinstance(step, FunctionCall)] == ["list_files"]


line = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["5\ta.py", "0 files, 0 bytes", "… 7 more", "a.py: lines 1-2 of 3", "a.py:3:TODO", "2 matches in 1 files", "12", "[exit status 0]"]
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(line, max_size=6).map("\n".join), min_size=1, max_size=5), st.booleans())
def test_whatever_the_tools_say_the_survey_ends(outputs, parallel):
    answers = itertools.cycle(outputs)

    turns, report, _ = survey(lambda *_: next(answers), parallel=parallel)

    assert list(figures(report)[0]) == ["files", "bytes", "lines", "todo"]
    assert sum(map(len, turns)) <= 11
