from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import run_one, steady, until

from triplane.core.errors import ConfigError
from triplane.tools import Sink, Tool, by_name, run_process, thread_statistics, workspace
from triplane.tools import workspace as workspace_function
from triplane.tools.workspace import commands, files
from triplane.tools.workspace.glob import glob
from triplane.tools.workspace.scan import confined, search, walk
from triplane.tools.workspace.scan.confined import Confined

if TYPE_CHECKING:
    from pathlib import Path

package = sys.modules["triplane.tools.workspace"]

FILES = {
    "README.md": b"# Hello\n\nTODO: words\n",
    "src/main.py": b"import os\nprint('TODO')\n",
    "src/a-b/deep.py": b"x = 1",
    "src/a/deep.py": b"",
    "src/a.txt": b"caf\xc3\xa9\r\nna\xefve\r\n",
    ".git/config": b"[core]\n",
    ".hidden": b"TODO\n",
    "data.bin": b"TODO\0\x01",
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "place"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (tmp_path / "outside.txt").write_text("secret\n")
    (root / "link.md").symlink_to("README.md")
    (root / "out.txt").symlink_to("../outside.txt")
    (root / "out").symlink_to("..")
    (root / "src" / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture
def tools(place: Path) -> Any:
    return by_name(workspace(place, commands=True))


async def told(tool: Tool, **arguments: Any) -> str:
    """What the model is told; the tool must have worked."""
    outcome = await run_one(tool, **arguments)
    assert outcome.succeeded, outcome
    return outcome.output


async def refused(tool: Tool, **arguments: Any) -> str:
    outcome = await run_one(tool, **arguments)
    assert (outcome.kind, outcome.reason) == ("failed", "exception")
    return outcome.output.removeprefix("The tool failed. ")


def test_which_tools(place: Path) -> None:
    tools = workspace(place)

    assert [(tool.name, tool.effect, tool.timeout) for tool in tools] == [
        ("list_files", "read", 60),
        ("read_text", "read", 60),
        ("search_text", "read", 60),
    ]
    assert [tool.name for tool in workspace(place, commands=True)][3:] == ["run_command"]
    assert workspace(place, commands=True)[3].effect == "write"
    for tool in workspace(place, commands=True):
        assert tool.strict
        assert tool.description
        assert all("description" in schema for schema in tool.parameters["properties"].values())


@pytest.mark.parametrize("name", ["README.md", "nothing"])
def test_only_directories(place: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}' is not a directory"):
        workspace_function(place / name)


class TestListFiles:
    async def test_all(self, tools: Any, place: Path) -> None:
        assert await told(tools["list_files"]) == (
            "7\t.git/config\n5\t.hidden\n21\tREADME.md\n6\tdata.bin\n5\tsrc/a-b/deep.py\n14\tsrc/a.txt\n0\tsrc/a/deep.py\n"
            "24\tsrc/main.py\n8 files, 82 bytes"
        )  # fmt: skip

    async def test_it_agrees_with_find(self, tools: Any, place: Path) -> None:
        find = "find . -type f -printf '%s\\t%P\\n' | LC_ALL=C sort -t '\t' -k2"
        found = (await run_process(find, cwd=place)).output

        listed = await told(tools["list_files"])

        assert listed.rpartition("\n")[0] + "\n" == found

    @pytest.mark.parametrize(
        ("path", "pattern", "names"),
        [
            ("src", "**/*", ["src/a-b/deep.py", "src/a.txt", "src/a/deep.py", "src/main.py"]),
            ("src/", "*.py", ["src/main.py"]),
            (".", "*.md", ["README.md"]),
            (".", "**/*.py", ["src/a-b/deep.py", "src/a/deep.py", "src/main.py"]),
            (".", "src/*/deep.py", ["src/a-b/deep.py", "src/a/deep.py"]),
            (".", "src/a?b/*", ["src/a-b/deep.py"]),
            (".", "**/a/**", ["src/a/deep.py"]),
            (".", "[!a-z]*", [".hidden", "README.md"]),
            (".", "nothing", []),
            (".", "", []),
            ("src/main.py", "*.py", ["src/main.py"]),
            ("src/up/src/a", "**", ["src/a/deep.py"]),
            ("link.md", "**/*", ["README.md"]),
            ("fifo", "**/*", []),
        ],
    )
    async def test_part(self, tools: Any, path: str, pattern: str, names: list[str]) -> None:
        *entries, last = (await told(tools["list_files"], path=path, pattern=pattern)).split("\n")

        assert [entry.split("\t")[1] for entry in entries] == names
        assert last == f"{len(names)} files, {sum(len(FILES[name]) for name in names)} bytes"

    async def test_many(self, tmp_path: Path) -> None:
        for number in range(2_345):
            (tmp_path / f"{number:04}").write_bytes(b"x")
        list_files = workspace(tmp_path)[0]

        lines = (await told(list_files)).split("\n")

        assert len(lines) == 2_002
        assert lines[1_999:] == ["1\t1999", "… 345 more", "2345 files, 2345 bytes"]

    async def test_long_names(self, tmp_path: Path) -> None:
        """The whole stays within the tool's budget, so that the last line is never cut off."""
        for number in range(300):
            (tmp_path / f"{number:03}{'x' * 240}").write_bytes(b"")
        list_files = workspace(tmp_path)[0]

        outcome = await run_one(list_files)

        assert outcome.kind == "ok"
        assert re.fullmatch(r".*\n… \d+ more\n300 files, 0 bytes", outcome.output, re.DOTALL)

    async def test_odd_names(self, tmp_path: Path) -> None:
        for name in (b"new\nline", b"tab\t", b"not-utf8-\xff", "\u202e".encode(), "schön".encode()):
            (tmp_path / os.fsdecode(name)).write_bytes(b"")

        assert await told(workspace(tmp_path)[0]) == (
            "0\tnew\\nline\n0\tnot-utf8-\\xff\n0\tschön\n0\ttab\\t\n0\t\\u202e\n5 files, 0 bytes"
        )

    async def test_what_cannot_be_read_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch, tools: Any, place: Path
    ) -> None:
        scandir = os.scandir

        def picky(directory: int) -> Any:
            if os.path.samestat(os.fstat(directory), os.stat(place / "src" / "a")):
                raise PermissionError
            return scandir(directory)

        monkeypatch.setattr(os, "scandir", picky)

        assert "src/a/deep.py" not in await told(tools["list_files"])

    def test_what_goes_while_it_is_looked_at_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Gone:
            name = "gone"

            def is_dir(self, *, follow_symlinks: bool) -> bool:
                raise FileNotFoundError

        class Scan(list[Any]):
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None: ...

        monkeypatch.setattr(os, "scandir", lambda _: Scan([Gone()]))

        assert [] == list(walk.walk(Confined("/"), (), lambda: None))

    async def test_a_big_tree_can_be_cancelled(self, monkeypatch: pytest.MonkeyPatch, tools: Any) -> None:
        before = thread_statistics()
        polled = trio.Event()
        token = trio.lowlevel.current_trio_token()
        check = trio.from_thread.check_cancelled

        def endless() -> None:
            token.run_sync_soon(polled.set)
            while True:
                check()

        monkeypatch.setattr(trio.from_thread, "check_cancelled", endless)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tools["list_files"])
            await polled.wait()
            nursery.cancel_scope.cancel()

        await until(lambda: thread_statistics().abandoned == before.abandoned)

    async def test_a_pattern_may_not_be_endless(self, tools: Any) -> None:
        assert "at most 1000 characters" in await refused(tools["list_files"], pattern="*" * 1_001)


@steady
@given(st.text("ab/", max_size=8), st.text("ab*?/", max_size=8))
def test_glob_against_a_plain_definition(path: str, pattern: str) -> None:
    def match(names: list[str], parts: list[str]) -> bool:
        if not parts:
            return not names
        if parts[0] == "**":
            return match(names, parts[1:]) or (bool(names) and match(names[1:], parts))
        inside = re.escape(parts[0]).replace(r"\*", ".*").replace(r"\?", ".")
        return bool(names) and bool(re.fullmatch(inside, names[0])) and match(names[1:], parts[1:])

    assert glob(pattern)(path) == match(path.split("/"), pattern.split("/"))


def test_glob_takes_no_exponential_time() -> None:
    assert not glob("/".join(["**", "*a*"] * 100))("a/" * 300 + "b")
    assert not glob("*a" * 100)("a" * 250 + "b")


class TestReadText:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"path": "README.md"}, "README.md: lines 1-3 of 3\n1\t# Hello\n2\t\n3\tTODO: words"),
            ({"path": "README.md", "start": 2, "lines": 1}, "README.md: lines 2-2 of 3\n2\t"),
            ({"path": "README.md", "start": 3}, "README.md: lines 3-3 of 3\n3\tTODO: words"),
            ({"path": "./src/../README.md", "lines": 1}, "README.md: lines 1-1 of 3\n1\t# Hello"),
            ({"path": "link.md", "lines": 1}, "README.md: lines 1-1 of 3\n1\t# Hello"),
            ({"path": "src/a-b/deep.py"}, "src/a-b/deep.py: lines 1-1 of 1\n1\tx = 1"),
            ({"path": "src/a/deep.py"}, "src/a/deep.py: lines 0-0 of 0"),
            ({"path": "src/a.txt"}, "src/a.txt: lines 1-2 of 2\n1\tcafé\n2\tna\ufffdve"),
        ],
        ids=str,
    )
    async def test_lines(self, tools: Any, arguments: dict[str, Any], text: str) -> None:
        assert await told(tools["read_text"], **arguments) == text

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"path": "../outside.txt"}, "PermissionError: '../outside.txt' leads outside of the workspace; give a path inside it"),
            ({"path": "out.txt"}, "PermissionError: 'out.txt' leads outside"),
            ({"path": "out/outside.txt"}, "PermissionError: 'out/outside.txt' leads outside"),
            ({"path": "src/up/../../outside.txt"}, "PermissionError"),
            ({"path": "/etc/passwd"}, "PermissionError: '/etc/passwd' leads outside"),
            ({"path": "/dev/zero"}, "PermissionError"),
            ({"path": "a\0b"}, "ValueError: a path cannot contain NUL"),
            ({"path": "nothing"}, "FileNotFoundError: there is no 'nothing' in the workspace"),
            ({"path": "dangling"}, "FileNotFoundError: there is no 'dangling'"),
            ({"path": "README.md/x"}, "FileNotFoundError"),
            ({"path": "x" * 5000}, "there is no"),
            ({"path": "loop"}, "loop' "),
            ({"path": "src"}, "IsADirectoryError: 'src' is a directory; use list_files"),
            ({"path": ""}, "IsADirectoryError"),
            ({"path": "fifo"}, "ValueError: 'fifo' is not a regular file"),
            ({"path": "data.bin"}, "ValueError: 'data.bin' is a binary file of 6 bytes"),
            ({"path": "README.md", "start": 4}, "ValueError: 'README.md' has 3 lines; start=4 is beyond its end"),
            ({"path": "src/a/deep.py", "start": 2}, "has 0 lines; start=2"),
            ({"path": "README.md", "start": 0}, "ValueError: start=0, lines=400: both count from 1"),
            ({"path": "README.md", "lines": 0}, "ValueError: start=1, lines=0"),
        ],
        ids=str,
    )  # fmt: skip
    async def test_refusals(self, tools: Any, arguments: dict[str, Any], words: str, place: Path) -> None:
        message = await refused(tools["read_text"], **arguments)

        assert words in message
        assert str(place.parent) not in message

    async def test_an_absolute_path_inside_is_fine(self, tools: Any, place: Path) -> None:
        assert (await told(tools["read_text"], path=str(place / "README.md"))).startswith("README.md: ")

    async def test_a_name_that_begins_like_the_workspace_is_not_inside(self, tools: Any, place: Path) -> None:
        other = place.with_name(place.name + "-other")
        other.mkdir()
        (other / "file").write_text("secret")

        assert "leads outside" in await refused(tools["read_text"], path=f"../{other.name}/file")

    async def test_not_ours_to_read(self, monkeypatch: pytest.MonkeyPatch, tools: Any) -> None:
        opened = os.open

        def deny(name: str, *args: Any, **options: Any) -> int:
            if name == "README.md":
                raise PermissionError(13, "Permission denied")
            return opened(name, *args, **options)

        monkeypatch.setattr(os, "open", deny)

        message = await refused(tools["read_text"], path="README.md")
        assert message == "PermissionError: 'README.md' cannot be read: Permission denied"

    async def test_a_fifo_that_took_the_place_of_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tools: Any, place: Path
    ) -> None:
        """Between the look and the opening: it must not hang there, and it must not be read."""
        look = os.stat

        def stale(name: Any, **options: Any) -> os.stat_result:
            return look("README.md" if name == "fifo" else name, **options)

        monkeypatch.setattr(os, "stat", stale)

        assert "is not a regular file" in await refused(tools["read_text"], path="fifo")

    async def test_a_socket(self, tools: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(place)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")

            assert "is not a regular file" in await refused(tools["read_text"], path="socket")

    async def test_long_lines(self, place: Path, tools: Any) -> None:
        (place / "long").write_bytes(b"x" * 5_000 + b"\r\nshort\n" + b"y" * 2_000 + b"\n" + b"z" * 2_001)

        assert await told(tools["read_text"], path="long") == (
            f"long: lines 1-4 of 4\n1\t{'x' * 2_000} [… 3,001 bytes cut …]\n2\tshort\n3\t{'y' * 2_000}\n"
            f"4\t{'z' * 2_000} [… 1 bytes cut …]"
        )

    async def test_many_lines(self, place: Path, tools: Any) -> None:
        (place / "many").write_text("".join(f"line {number}\n" for number in range(1, 5_001)) + "end")

        output = await told(tools["read_text"], path="many", start=4_000)

        assert output.startswith("many: lines 4000-4399 of 5001\n4000\tline 4000\n")
        assert output.endswith("\n4399\tline 4399")

    async def test_as_much_as_fits(self, place: Path, tools: Any) -> None:
        """The header says where it ended: the runtime would cut the middle out."""
        (place / "wide").write_text((("ä" * 500) + "\n") * 300)

        outcome = await run_one(tools["read_text"], path="wide")

        assert outcome.kind == "ok"
        header = re.match(r"wide: lines 1-(\d+) of 300\n", outcome.output)
        assert header
        assert outcome.output.count("\n") == int(header[1]) == 58

    async def test_a_huge_file_is_read_in_little_memory(self, place: Path, tools: Any) -> None:
        with (place / "huge").open("wb") as file:
            file.write(b"begin" + b"x" * 10_000 + b"\n")
            file.truncate(30 * 1024 * 1024)
        tracemalloc = pytest.importorskip("tracemalloc")
        tracemalloc.start()
        try:
            output = await told(tools["read_text"], path="huge", lines=1)
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()

        assert output.startswith("huge: lines 1-1 of 2\n1\tbegin")

    async def test_an_endless_line_can_be_cancelled(
        self, place: Path, tools: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The thread that was left ends by itself."""
        before = thread_statistics()
        polled = trio.Event()
        token = trio.lowlevel.current_trio_token()
        check = trio.from_thread.check_cancelled

        def slowly() -> None:
            token.run_sync_soon(polled.set)
            time.sleep(0.01)
            check()

        monkeypatch.setattr(trio.from_thread, "check_cancelled", slowly)
        with (place / "endless").open("wb") as file:
            file.write(b"begin")
            file.truncate(10**12)
        monkeypatch.setattr(files, "is_binary", lambda file: False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tools["read_text"], "endless")
            await polled.wait()
            nursery.cancel_scope.cancel()

        await until(lambda: thread_statistics().abandoned == before.abandoned)

    async def test_counting_ends_somewhere(
        self, place: Path, tools: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_COUNTED", 10)
        (place / "many").write_text("a\n" * 300_000)

        output = await told(tools["read_text"], path="many", lines=1)

        assert re.fullmatch(r"many: lines 1-1 of \d{6}\+\n1\ta", output)


class TestSearchText:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"pattern": "TODO"}, ".hidden:1:TODO\nREADME.md:3:TODO: words\nsrc/main.py:2:print('TODO')\n3 matches in 3 files"),
            ({"pattern": "TODO", "path": "src"}, "src/main.py:2:print('TODO')\n1 matches in 1 files"),
            ({"pattern": "^import|^p", "path": "src/main.py"}, "src/main.py:1:import os\nsrc/main.py:2:print('TODO')\n2 matches in 1 files"),
            ({"pattern": "nowhere at all"}, "0 matches in 0 files"),
            ({"pattern": "caf\u00e9$"}, "src/a.txt:1:café\n1 matches in 1 files"),
            ({"pattern": "-v"}, "0 matches in 0 files"),
            ({"pattern": "(?i)hello", "path": "link.md"}, "README.md:1:# Hello\n1 matches in 1 files"),
        ],
        ids=str,
    )  # fmt: skip
    async def test_matches(self, tools: Any, arguments: dict[str, Any], text: str) -> None:
        assert await told(tools["search_text"], **arguments) == text

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"pattern": "("}, "ValueError: '(' is not a regular expression that Python takes: missing )"),
            ({"pattern": "a{99999999999999999999}"}, "is not a regular expression that Python takes"),
            ({"pattern": "(" * 900}, "is not a regular expression that Python takes"),
            ({"pattern": "a\0"}, "ValueError: the pattern must be at most 1000 characters, without NUL"),
            ({"pattern": "a" * 1_001}, "the pattern must be at most 1000 characters"),
            ({"pattern": "a", "path": ".."}, "leads outside of the workspace"),
            ({"pattern": "a", "path": "out"}, "leads outside of the workspace"),
            ({"pattern": "a", "path": "nothing"}, "there is no 'nothing'"),
        ],
        ids=lambda value: str(value)[:40],
    )
    async def test_refusals(self, tools: Any, arguments: dict[str, Any], words: str) -> None:
        assert words in await refused(tools["search_text"], **arguments)

    async def test_a_pattern_that_never_ends_blocks_nobody(self, place: Path) -> None:
        """It would hold the GIL for years, and cannot be interrupted: it has to be another process."""
        (place / "bait").write_text("a" * 60 + "b\n")
        search_text = workspace(place)[2]
        with trio.move_on_after(0.1) as scope:
            await search_text("(a+)+$", "bait")

        assert scope.cancelled_caught

    async def test_many(self, place: Path, tools: Any) -> None:
        (place / "many").write_text("needle\n" * 345)

        lines = (await told(tools["search_text"], pattern="needle")).split("\n")

        assert len(lines) == 202
        assert lines[199:] == ["many:200:needle", "… 145 more", "345 matches in 1 files"]

    async def test_long_lines(self, place: Path, tools: Any) -> None:
        (place / "long").write_bytes(b"needle" + b"x" * 2_000_000 + b"needle\nneedle" + b"y" * 400)

        assert await told(tools["search_text"], pattern="needle", path="long") == (
            f"long:1:needle{'x' * 294} [… 1,048,276 characters cut …]\nlong:2:needle{'y' * 294} [… 106 characters cut …]\n"
            "2 matches in 1 files"
        )  # fmt: skip

    async def test_when_the_search_itself_breaks(self, tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")

        assert "the search ended with exit status 1" in await refused(tools["search_text"], pattern="a")

    def test_what_cannot_be_read_is_left_out(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = confined.open_regular

        def picky(directory: int, name: str) -> Any:
            if name == "README.md":
                raise PermissionError(name)
            return None if name == ".hidden" else opened(directory, name)

        monkeypatch.setattr(confined, "open_regular", picky)

        found = search.search(Confined(str(place)), "", "TODO", 10, 1_000)
        assert "src/main.py:2:print('TODO')\n1 matches in 1 files" == found

    def test_the_program(self, place: Path, capfdbinary: Any) -> None:
        """What the child process does, in this one."""
        assert 0 == search.main([str(place), "src", "TODO", "5", "1000", ""])
        assert 2 == search.main([str(place), "src", "(", "5", "1000", "ignored"])

        assert b"src/main.py:2:print('TODO')\n1 matches in 1 files'('" in capfdbinary.readouterr().out

    def test_the_program_needs_nothing_of_ours(self, place: Path) -> None:
        command = search.command(str(place), "", "TODO", "1", "9", "", library=package._library())
        at = command.index("-c")
        found = subprocess.run(
            [*command[:at], "-X", "importtime", *command[at:]], capture_output=True, text=True, check=True
        )

        assert found.stdout == "… 3 more\n3 matches in 3 files"
        assert not re.search(r"triplane|trio|attrs", found.stderr)


class TestRunCommand:
    @pytest.mark.parametrize(
        ("command", "output"),
        [
            ("cat README.md; exit 3", "# Hello\n\nTODO: words\n[exit status 3]"),
            ("printf x", "x\n[exit status 0]"),
            ("true", "[exit status 0]"),
            ("kill -TERM $$", "[exit status -15]"),
            ("find . -type f | wc -l | tr -d ' '", "8\n[exit status 0]"),
            ("not-a-command", re.compile(r".*not found\n\[exit status 127\]")),
        ],
    )
    async def test_output_and_status(self, tools: Any, command: str, output: Any) -> None:
        told_output = await told(tools["run_command"], command=command)

        assert re.fullmatch(output if isinstance(output, re.Pattern) else re.escape(output), told_output)

    async def test_the_status_is_there_however_much_it_writes(self, tools: Any) -> None:
        outcome = await run_one(tools["run_command"], command="yes | head -c 300000")

        assert (outcome.kind, outcome.bytes_produced, outcome.bytes_kept) == ("truncated", 300_015, 65_536)
        assert outcome.output.endswith("y\n[exit status 0]")

    async def test_a_flood_is_stopped(self, tools: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        async def less(*args: Any, **options: Any) -> Any:
            return await run_process(*args, **options, max_produced=100_000)

        monkeypatch.setattr(commands, "run_process", less)

        output = await told(tools["run_command"], command="yes")
        assert output.endswith("y\n[stopped: more than 67,108,864 bytes of output]\n[exit status -9]")

    async def test_called_directly(self, tools: Any) -> None:
        sink = await tools["run_command"]("echo hi")

        assert isinstance(sink, Sink)
        assert sink.text() == "hi\n[exit status 0]"


@pytest.mark.parametrize(
    ("max_lines", "max_bytes", "text"),
    [
        (9, 99, "long line\nb\nc\nlast"),
        (2, 99, "long line\nb\n… 1 more\nlast"),
        (9, 12, "long line\nb\n… 1 more\nlast"),
        # After the first line that does not fit, none is shown, however short.
        (9, 9, "… 3 more\nlast"),
        (0, 99, "… 3 more\nlast"),
    ],
)
def test_lines_that_fit(max_lines: int, max_bytes: int, text: str) -> None:
    lines = walk.Lines(max_lines, max_bytes)
    for line in ("long line", "b", "c"):
        lines.add(line)

    assert lines.text("last") == text


class TestIgnored:
    """What git would ignore is not searched, unless it is asked for."""

    @pytest.fixture
    def search_text(self, tmp_path: Path) -> Any:
        for name, text in {
            ".gitignore": "*.log\n!keep.log\n/build/\n!\nnot-[a-pattern\n# x.txt\nescaped\\ \n",
            "x.txt": "", "a.log": "", "keep.log": "", "build/out": "", "sub/build/in": "", "escaped ": "",
            "sub/.gitignore": "!a.log\nkeep.log\ndeep/\n",
            "sub/a.log": "", "sub/keep.log": "", "sub/deep/file": "", "sub/deep/.gitignore": "!file\n",
            "build/.gitignore": "out.log\n", "build/out.log": "", "build/.hidden": "",
            ".git/config": "", "sub/.git": "",
        }.items():  # fmt: skip
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}needle\n")
        return workspace(tmp_path)[2]

    @pytest.mark.parametrize(
        ("arguments", "names"),
        [
            ({}, ".gitignore keep.log sub/.gitignore sub/a.log sub/build/in x.txt"),
            ({"path": "sub"}, "sub/.gitignore sub/a.log sub/build/in"),
            # What is asked for by name is searched, by the rules of its own.
            ({"path": "build"}, "build/.gitignore build/.hidden build/out"),
            ({"path": "sub/deep"}, "sub/deep/.gitignore sub/deep/file"),
            ({"path": "a.log"}, "a.log"),
            ({"path": "sub", "ignored": True}, "sub/.git sub/.gitignore sub/a.log sub/build/in sub/deep/.gitignore sub/deep/file sub/keep.log"),
        ],
    )  # fmt: skip
    async def test_search(self, search_text: Any, arguments: dict[str, Any], names: str) -> None:
        *found, _ = (await told(search_text, pattern="needle", **arguments)).splitlines()

        assert names.split() == [line.split(":")[0] for line in found]

    def test_it_agrees_with_git(self, search_text: Any, tmp_path: Path) -> None:
        (tmp_path / "sub" / ".git").unlink()
        (tmp_path / ".git" / "config").unlink()
        try:
            subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, timeout=30)
        except FileNotFoundError:
            pytest.skip("there is no git")
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--others", "--exclude-standard"],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip

        *found, _ = search.search(Confined(str(tmp_path)), "", "needle", 99, 9_999).splitlines()

        assert sorted(filter(None, listed)) == [line.rsplit(":", 2)[0] for line in found]

    async def test_a_gitignore_is_read_through_no_link(self, tmp_path: Path) -> None:
        (tmp_path / "place").mkdir()
        (tmp_path / "rules").write_text("*\n")
        (tmp_path / "place" / ".gitignore").symlink_to("../rules")
        (tmp_path / "place" / "file").write_text("needle\n")

        assert "file:1:needle\n1 matches in 1 files" == await told(
            workspace(tmp_path / "place")[2], pattern="needle"
        )


def test_a_pattern_that_takes_too_much_memory(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    def greedy(*args: Any, **options: Any) -> str:
        raise MemoryError

    monkeypatch.setattr(search, "search", greedy)

    assert search.TOO_MUCH == search.main([str(place), "", "a", "1", "9", ""])
    assert b"'a' takes too much memory; use a simpler one" == capfdbinary.readouterr().out


def test_the_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"pip install 'triplane\[tools\]'"):
        workspace_function(tmp_path)
