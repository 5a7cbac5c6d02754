"""Nothing outside is read, listed, found, written or removed: whatever the tree, whatever the path, whoever interferes."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import run_one, steady

from descriptors import none_left_open
from triplane.tools import by_name, workspace
from triplane.tools.workspace.scan import confined
from triplane.tools.workspace.scan.confined import Confined, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "the-secret-of-outside"

# Names that mean something to a shell, a terminal, git or a path; none that a directory cannot have.
NAMES = st.sampled_from(
    [
        "a",
        "b",
        "place",
        "outside",
        "...",
        "-rf",
        " ",
        "a\n",
        "*",
        "\\",
        "\x1b[2J",
        "\udcff",
        "é",
        ".git",
        "~",
        "$HOME",
    ]
) | st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=5).filter(
    lambda name: name not in (".", "..")
)
STEPS = st.sampled_from(["..", ".", "", "up", "a", "b", "place", "outside", "secret", "link"]) | NAMES
TARGETS = st.lists(STEPS, min_size=1, max_size=6).map("/".join) | st.sampled_from(
    [
        "..",
        "../outside",
        "../outside/secret",
        "ABSOLUTE",
        "ABSOLUTE/secret",
        "ROOT",
        "ROOT/..",
        "ROOT/../outside",
        "/",
        ".",
    ]
)
ENTRIES = st.one_of(
    st.just(("file", "")),
    st.just(("directory", "")),
    st.just(("fifo", "")),
    TARGETS.map(lambda target: ("link", target)),
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), ENTRIES, max_size=12)
PATHS = st.lists(STEPS, max_size=8).map("/".join) | st.sampled_from(
    ["ABSOLUTE", "ROOT/../outside/secret", "/etc/passwd"]
)


@contextmanager
def grown(tree: dict[str, tuple[str, str]]) -> Iterator[tuple[Path, Path]]:
    """A workspace with that tree, and what lies beside it."""
    # Not tmp_path, which all examples would share.
    top = Path(os.path.realpath(tempfile.mkdtemp()))
    try:
        root, outside = top / "place", top / "outside"
        root.mkdir()
        outside.mkdir()
        (outside / "secret").write_text(SECRET)
        (root / "up").symlink_to("..")
        for name, (kind, target) in tree.items():
            path = root / name
            # What the tree itself leads outside is not grown there.
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.parent.resolve().is_relative_to(root):
                    continue
                if kind == "file":
                    path.write_text("inside\n")
                elif kind == "directory":
                    path.mkdir(exist_ok=True)
                elif kind == "fifo":
                    os.mkfifo(path)
                else:
                    path.symlink_to(named(target, root))
            except (OSError, RuntimeError):
                continue
        yield root, outside
    finally:
        shutil.rmtree(top)


def named(path: str, root: Path) -> str:
    return path.replace("ABSOLUTE", str(root.parent / "outside")).replace("ROOT", str(root))


def everything(outside: Path) -> list[Any]:
    """What is outside, to the inode and the time of the last change."""
    return [
        (path.name, path.read_text() if path.is_file() else "", path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in [outside, *sorted(outside.rglob("*"))]
    ] + sorted(os.listdir(outside.parent))


@steady
@given(TREES, st.lists(PATHS, min_size=1, max_size=5))
def test_no_path_of_any_tree_leads_outside(tree: dict[str, tuple[str, str]], paths: list[str]) -> None:
    with grown(tree) as (root, outside):
        before = everything(outside)
        place = Confined(str(root))
        links = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink()]
        for path in [named(path, root) for path in paths] + links:
            try:
                with place.reach(path, make=True) as reached:
                    way = root.joinpath(*reached.names)
                    # The way it names has no link in it, and is the very thing that its descriptor has.
                    assert way.parent.resolve() == way.parent or reached.name is None
                    assert way.is_relative_to(root)
                    assert os.path.samestat(
                        os.fstat(reached.directory), os.stat(way if reached.name is None else way.parent)
                    )
                    if reached.status is not None and stat.S_ISREG(reached.status.st_mode):
                        file = confined.open_regular(reached.directory, str(reached.name))
                        assert file is not None
                        with file:
                            assert SECRET.encode() not in file.read()
                    if reached.name is not None and (
                        reached.status is None or stat.S_ISREG(reached.status.st_mode)
                    ):
                        confined.replace(reached, b"new")
                        assert b"new" == way.read_bytes()
            except (OutsideError, OSError, ValueError):
                pass
        assert before == everything(outside)


@steady
@given(TREES, PATHS)
def test_what_leads_inside_is_found(tree: dict[str, tuple[str, str]], path: str) -> None:
    """The confinement says the same as the operating system, of every path that never leaves the directory."""
    with grown(tree) as (root, _):
        given_path = named(path, root)
        try:
            with Confined(str(root)).reach(given_path) as place:
                found = root.joinpath(*place.names) if place.status is not None else None
        except (OutsideError, OSError, ValueError):
            found = None
        try:
            real = Path(os.path.realpath(root / given_path, strict=True))
        except (OSError, ValueError):
            real = None
        if found is not None:
            assert real == found
        if real is not None and found is None:
            assert not real.is_relative_to(root) or leaves(root, given_path)


def leaves(root: Path, path: str) -> bool:
    """Whether the way there leads outside in between: that is refused, wherever it ends."""
    todo = [part for part in reversed(path.split("/")) if part]
    here = root if not path.startswith("/") else Path("/")
    if path.startswith("/"):
        if not f"{path}/".startswith(f"{root}/"):
            return True
        todo, here = [part for part in reversed(path[len(str(root)) :].split("/")) if part], root
    for _ in range(200):
        if not todo:
            return False
        step = todo.pop()
        there = here / step if step not in ("..", ".") else (here.parent if step == ".." else here)
        if there.is_symlink():
            target = os.readlink(there)
            if target.startswith("/"):
                if not f"{target}/".startswith(f"{root}/"):
                    return True
                here, target = root, target[len(str(root)) :]
            todo += [part for part in reversed(target.split("/")) if part]
        else:
            here = there
        if not here.is_relative_to(root):
            return True
    return True


async def test_no_tool_of_a_hostile_tree_shows_or_changes_what_is_outside() -> None:
    tree = {
        "file": ("link", "../outside/secret"),
        "folder": ("link", "../outside"),
        "far": ("link", "ABSOLUTE"),
        "again": ("link", "ROOT/../outside"),
        "twice": ("link", "up/outside"),
        "deep/in": ("link", "../../outside"),
        "new": ("link", "../outside/not-there-yet"),
        "pipe": ("fifo", ""),
    }
    with grown(tree) as (root, outside):
        (root / "real").write_text("inside\n")
        before = everything(outside)
        tools = by_name(workspace(root, write=True))
        doors = ["file", "folder/secret", "far/secret", "again/secret", "twice/secret", "deep/in/secret", "up/outside/secret",
                 "../outside/secret", str(outside / "secret"), "new", "folder/new", "/dev/zero", "/proc/self/environ"]  # fmt: skip
        for path in doors:
            patches = [
                f"*** Begin Patch\n*** Delete File: {path}\n*** End Patch",
                f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch",
                f"*** Begin Patch\n*** Update File: {path}\n-{SECRET}\n+x\n*** End Patch",
                f"*** Begin Patch\n*** Update File: real\n*** Move to: {path}\n-inside\n+x\n*** End Patch",
                f"--- {path}\n+++ {path}\n@@ -1 +1 @@\n-{SECRET}\n+x\n",
            ]
            for name, arguments in [
                ("read_text", {"path": path}),
                ("list_files", {"path": path}),
                ("search_text", {"path": path, "pattern": "secret"}),
                ("write_text", {"path": path, "content": "x"}),
                *(("apply_patch", {"patch": patch}) for patch in patches),
            ]:
                if (name, path) == ("search_text", "new"):
                    continue
                outcome = await run_one(tools[name], **arguments)
                assert "failed" == outcome.kind, (name, path, outcome)
                assert "leads outside of the workspace" in outcome.output
                assert SECRET not in outcome.output
        listed = (await run_one(tools["list_files"])).output
        found = (await run_one(tools["search_text"], pattern="secret|inside", ignored=True)).output

        assert listed == "7\treal\n1 files, 7 bytes"
        assert found == "real:1:inside\n1 matches in 1 files"
        assert before == everything(outside)


class TestRaces:
    """Between a look and an opening somebody else acts."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        root = tmp_path / "place"
        (root / "folder").mkdir(parents=True)
        (root / "folder" / "file").write_text("inside\n")
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "file").write_text(SECRET)
        return root

    @pytest.fixture(params=["folder", "file", "file again"])
    def swap(self, request: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        """As soon as a name was looked at, once or once again, what it is is replaced by a link to outside."""
        look = os.stat
        name, _, again = request.param.partition(" ")
        left = 2 if again else 1

        def and_swap(path: Any, **options: Any) -> os.stat_result:
            nonlocal left
            found = look(path, **options)
            left -= path == name
            if path == name and not left:
                there = place / "folder" if path == "folder" else place / "folder" / "file"
                there.rename(place / "moved")
                there.symlink_to(place.parent / "outside" / ("" if path == "folder" else "file"))
            return found

        monkeypatch.setattr(os, "stat", and_swap)
        return request.param

    async def test_reading(self, place: Path, swap: str) -> None:
        outcome = await run_one(by_name(workspace(place))["read_text"], path="folder/file")

        assert "failed" == outcome.kind
        assert SECRET not in outcome.output

    async def test_writing(self, place: Path, swap: str) -> None:
        tools = by_name(workspace(place, write=True))
        outcome = await run_one(tools["write_text"], path="folder/file", content="new")

        assert SECRET == (place.parent / "outside" / "file").read_text()
        # The link itself was replaced, or the way there refused.
        assert ("failed" if swap == "folder" else "ok") == outcome.kind

    def test_walking(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A directory that was listed as one, and is a link when it is its turn."""
        entries = Confined.entries

        def and_swap(self: Confined, names: Any) -> Any:
            found = entries(self, names)
            if not names:
                (place / "folder").rename(place / "moved")
                (place / "folder").symlink_to("../outside")
            return found

        monkeypatch.setattr(Confined, "entries", and_swap)
        from triplane.tools.workspace.scan.search import search

        assert "0 matches in 0 files" == search(Confined(str(place)), "", "secret", 9, 999, ignored=True)

    def test_a_directory_that_is_moved_away_is_still_what_was_reached(self, place: Path) -> None:
        with Confined(str(place)).reach("folder/file") as reached:
            (place / "folder").rename(place.parent / "moved")
            (place / "folder").symlink_to("outside")
            confined.replace(reached, b"new")

        assert SECRET == (place.parent / "outside" / "file").read_text()
        assert "new" == (place.parent / "moved" / "file").read_text()


class TestWriting:
    async def test_a_file_with_another_name_outside_keeps_its_content_there(self, tmp_path: Path) -> None:
        (tmp_path / "place").mkdir()
        (tmp_path / "outside").write_text("kept")
        os.link(tmp_path / "outside", tmp_path / "place" / "file")
        tools = by_name(workspace(tmp_path / "place", write=True))

        outcome = await run_one(tools["write_text"], path="file", content="new\n")

        assert "replaced file: 1 lines, 4 bytes" == outcome.output
        assert "kept" == (tmp_path / "outside").read_text()
        assert "new\n" == (tmp_path / "place" / "file").read_text()

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            (".git/hooks/pre-commit", "git repository's own files"),
            ("sub/.GIT/config", "git repository's own files"),
            ("fifo", "is not a regular file"),
            ("folder", "is a directory"),
            (".", "is a directory"),
            ("fifo/x", "there is no"),
            ("new/../x", "there is no"),
            ("/".join("d" * 120), "cannot be reached: more than 100"),
        ],
    )
    async def test_refusals(self, tmp_path: Path, path: str, words: str) -> None:
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "fifo")
        tools = by_name(workspace(tmp_path, write=True))

        outcome = await run_one(tools["write_text"], path=path, content="x")

        assert "failed" == outcome.kind
        assert words in outcome.output

    async def test_half_a_character(self, tmp_path: Path) -> None:
        write_text: Any = by_name(workspace(tmp_path, write=True))["write_text"]

        with pytest.raises(ValueError, match="cannot be a path"):
            await write_text("\ud800", "x")
        with pytest.raises(ValueError, match="half a surrogate pair"):
            await write_text("x", "\ud800")
        assert [] == os.listdir(tmp_path)

    async def test_directories_are_made_and_modes_kept(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("old")
        (tmp_path / "script").chmod(0o750)
        (tmp_path / "link").symlink_to("script")
        tools = by_name(workspace(tmp_path, write=True))

        made = await run_one(tools["write_text"], path="a/b/c.txt", content="é")
        kept = await run_one(tools["write_text"], path="link", content="new")

        assert ["created a/b/c.txt: 0 lines, 2 bytes", "replaced script: 0 lines, 3 bytes"] == [
            made.output,
            kept.output,
        ]
        assert 0o750 == stat.S_IMODE((tmp_path / "script").stat().st_mode)
        assert (tmp_path / "link").is_symlink()
        assert ["a", "link", "script"] == sorted(os.listdir(tmp_path))

    async def test_nothing_is_left_of_what_failed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("old")

        def full(*args: Any, **options: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        tools = by_name(workspace(tmp_path, write=True))

        outcome = await run_one(tools["write_text"], path="file", content="new")

        assert "'file' cannot be written: No space left on device" in outcome.output
        assert ["file"] == os.listdir(tmp_path)
        assert "old" == (tmp_path / "file").read_text()


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "again").symlink_to(tmp_path)
    with none_left_open():
        place = Confined(str(tmp_path))
        for path in ("a/b", "a/../a/../a/b", "again/a", "a/x/y", "round", "a/../..", "again/" * 50):
            try:
                with place.reach(path):
                    pass
            except (OutsideError, OSError):
                pass
        place.entries(("a", "b"))


def test_the_names_of_arguments_are_what_the_model_is_told(tmp_path: Path) -> None:
    tools = workspace(tmp_path, write=True, commands=True)
    shown = {tool.name: sorted(tool.parameters["properties"]) for tool in tools}

    assert {
        "list_files": ["path", "pattern"],
        "read_text": ["lines", "path", "start"],
        "search_text": ["ignored", "path", "pattern"],
        "write_text": ["content", "path"],
        "apply_patch": ["patch"],
        "run_command": ["command"],
    } == shown
    assert {"write"} == {tool.effect for tool in tools[3:]}
    assert json.dumps([tool.definition() for tool in tools])
