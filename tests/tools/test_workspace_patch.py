"""What a patch says, what a file is after it, and why it does not fit."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import run_one, steady

from triplane.tools import by_name, workspace
from triplane.tools.workspace.patch import Change, PatchError, changed, parse

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "one\ntwo\nthree\nfour\nfive\ntwo\nthree\nsix\n"


def after(patch: str, text: str = TEXT) -> str:
    (change,) = parse(patch)
    return changed(change, text)


def unified(body: str) -> str:
    return f"--- a/f\n+++ b/f\n{body}"


def sections(body: str) -> str:
    return f"*** Begin Patch\n*** Update File: f\n{body}*** End Patch"


@pytest.mark.parametrize(
    ("patch", "lines"),
    [
        (unified("@@ -1,2 +1,2 @@\n one\n-two\n+2\n"), "one 2 three four five two three six"),
        # The numbers choose between places.
        (unified("@@ -6,2 +6,2 @@\n-two\n+2\n three\n"), "one two three four five 2 three six"),
        (unified("@@ -2,2 +2,2 @@ def f():\n-two\n+2\n three\n"), "one 2 three four five two three six"),
        # Wrong numbers do no harm where the lines are enough; nor do wrong counts.
        (unified("@@ -99,9 +98,9 @@\n-four\n+4\n five\n"), "one two three 4 five two three six"),
        (unified("@@ -4 +4 @@\n-four\n+4\n five\n"), "one two three 4 five two three six"),
        # The second hunk's numbers are off by as much as the first one's.
        (unified("@@ -2 +2 @@\n-four\n+4\n@@ -4 +4 @@\n-two\n+2\n"), "one two three 4 five 2 three six"),
        (unified("@@ -3,0 +4,2 @@\n+a\n+b\n"), "one two three a b four five two three six"),
        (unified("@@ -0,0 +1 @@\n+a\n"), "a one two three four five two three six"),
        (unified("@@ -8 +7,0 @@\n-six\n"), "one two three four five two three"),
        ("Here it is:\n```diff\n" + unified("@@ -1 +1 @@\n-one\n+1\n```\n"), "1 two three four five two three six"),
        ("diff --git a/f b/f\nindex 1..2 100644\n" + unified("@@ -1 +1 @@\n-one\n+1\n-- \n2.40\n"), "1 two three four five two three six"),
        (sections("@@\n-four\n+4\n five\n"), "one two three 4 five two three six"),
        (sections("-four\n+4\n"), "one two three 4 five two three six"),
        (sections("@@ five\n-two\n+2\n"), "one two three four five 2 three six"),
        (sections("@@ two\n@@   four\n-two\n+2\n"), "one two three four five 2 three six"),
        (sections("@@ four\n+4.5\n"), "one two three four 4.5 five two three six"),
        (sections("-one\n+1\n@@\n-six\n+6\n"), "1 two three four five two three 6"),
        (sections("+seven\n*** End of File\n"), "one two three four five two three six seven"),
        (sections("@@ -1,1 +1,1 @@\n-one\n+1\n\n"), "1 two three four five two three six"),
    ],
)  # fmt: skip
def test_it_fits(patch: str, lines: str) -> None:
    assert lines.split() == after(patch).splitlines()


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("", "there is no change in the patch; give a unified diff"),
        ("*** Begin Patch\n*** End Patch", "there is no change in the patch"),
        ("@@ -1 +1 @@\n-one\n+1\n", "line 1 of the patch begins a hunk, and no '--- '"),
        (unified("-one\n+1\n"), "the patch has no '@@ -line,count +line,count @@' line for 'f'"),
        (unified("@@ one @@\n-one\n"), "line 3 of the patch is no '@@ -line,count"),
        (unified("@@ -1 +1 @@\n"), "the hunk before it is empty"),
        (unified("@@ -1,3 +1,3 @@\n-one\n+1\ntwo\n"), "line 6 of the patch is 'two'; lines of a hunk begin with"),
        (unified("@@ -1 +1 @@\n-one\n+1\ntwo\n-three\n"), "line 7 of the patch is '-three', and belongs to no hunk"),
        (unified("@@ -2 +2 @@\n-ten\n+10\n"), "hunk 1 of 'f' does not fit: its first line 'ten' is not in the file; read it again"),
        (unified("@@ -1,3 +1,2 @@\n one\n two\n-tree\n"), "hunk 1 of 'f' does not fit: at line 3 it expects 'tree', and there is 'three'"),
        (unified("@@ -8,2 +8 @@\n six\n-seven\n"), "at line 9 it expects 'seven', and there is the end of the file"),
        (unified("@@ -3 +3 @@\n-two\n+2\n"), "hunk 1 of 'f' fits at several places, lines 2, 6; give more lines of context"),
        (unified("@@ -4 +4 @@\n-four\n+4\n@@ -1 +1 @@\n-one\n+1\n"), "hunk 2 of 'f' does not fit: its first line 'one' is not in the file (only before"),
        (unified("@@ -99,0 +99 @@\n+x\n"), "has only new lines, and nothing says where they belong"),
        ("diff --git a/f b/f\nold mode 100644\nnew mode 100755\n", "modes of files cannot"),
        ("diff --git a/f b/f\nBinary files a/f and b/f differ\n", "binary files cannot be patched"),
        ("--- /dev/null\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n", "'f' is to be a new file, and has lines that are not added"),
        (sections("@@ nowhere\n-two\n+2\n"), "there is no line 'nowhere' from line 1 on, as its '@@' line says"),
        (sections("-two\n+2\n"), "fits at several places, lines 2, 6"),
        (sections("-one\n+1\n*** End of File\n"), "its lines are at line 1, not at the end of the file"),
        (sections("+x\n"), "has only new lines"),
        (sections("two\n"), "line 3 of the patch is 'two'; lines of an update begin with"),
        (sections(""), "the patch changes nothing in 'f'"),
        ("*** Begin Patch\n*** Add File: f\nx\n*** End Patch", "line 3 of the patch: each line of a new file begins with '+'"),
        ("*** Begin Patch\n*** Rename File: f\n*** End Patch", "there must be '*** Add File: '"),
    ],
)  # fmt: skip
def test_it_does_not_fit(patch: str, words: str) -> None:
    with pytest.raises(PatchError) as caught:
        after(patch)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "patch", "result"),
    [
        ("a\r\nb\r\n", unified("@@ -2 +2 @@\n-b\n+c\n"), "a\r\nc\r\n"),
        ("a\nb", unified("@@ -2 +2 @@\n-b\n\\ No newline at end of file\n+c\n"), "a\nc\n"),
        ("a\nb\n", unified("@@ -2 +2 @@\n-b\n+c\n\\ No newline at end of file\n"), "a\nc"),
        ("a\nb", unified("@@ -1 +1 @@\n-a\n+c\n"), "c\nb"),
        ("a\nb", sections("-a\n+c\n"), "c\nb"),
        ("a\x0cb\nc\n", sections("-c\n+d\n"), "a\x0cb\nd\n"),
        ("a\n\nb\n", unified("@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n"), "a\n\nc\n"),
        ("a\n", unified("@@ -1 +0,0 @@\n-a\n"), ""),
        ("", sections("+a\n"), "a\n"),
        ("-- x\n", unified("@@ -1 +1 @@\n--- x\n+++ x\n"), "++ x\n"),
    ],
)
def test_ends_of_lines_and_files(text: str, patch: str, result: str) -> None:
    assert result == after(patch, text)


LINES = st.lists(st.sampled_from(["a", "b", "", " ", "-", "+x", "@@", "--- a", "é\x0c"]), max_size=12)


@steady
@given(LINES, LINES, st.integers(0, 3))
def test_what_difflib_writes_is_what_we_read(old: list[str], new: list[str], context: int) -> None:
    before, wanted = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    diff = list(difflib.unified_diff(old, new, "a/f", "b/f", n=context, lineterm=""))
    if diff:
        assert wanted == after("\n".join(diff), before)


def test_what_git_says_of_files() -> None:
    patch = (
        "diff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\n"
        "diff --git a/gone b/gone\ndeleted file mode 100644\nindex 1..0\n"
        "diff --git a/empty b/empty\nnew file mode 100644\nindex 0..1\n"
        "diff --git a/x b/y\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-1\n+2\n"
        "--- /dev/null\n+++ b/made\t2026-01-01\n@@ -0,0 +1 @@\n+x\n--- lost\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
    )
    said = [(change.kind, change.path, change.move_to) for change in parse(patch)]

    assert [
        ("update", "old", "new"),
        ("delete", "gone", None),
        ("add", "empty", None),
        ("update", "x", "y"),
        ("add", "made", None),
        ("delete", "lost", None),
    ] == said
    assert [Change("delete", "f")] == parse("*** Begin Patch\n*** Delete File: f\n")


class TestTheTool:
    @pytest.fixture
    def apply_patch(self, tmp_path: Path) -> Any:
        (tmp_path / "f").write_text(TEXT)
        (tmp_path / "g").write_bytes(b"caf\xe9\nx\n")
        return by_name(workspace(tmp_path, write=True))["apply_patch"]

    async def test_several_files(self, tmp_path: Path, apply_patch: Any) -> None:
        patch = (
            "*** Begin Patch\n*** Update File: f\n*** Move to: sub/f\n-one\n+1\n+1.5\n*** Update File: g\n-x\n+y\n"
            "*** Add File: h\n+new\n*** End Patch"
        )
        outcome = await run_one(apply_patch, patch=patch)

        said = "updated f: +2 -1, moved to sub/f\nupdated g: +1 -1\nadded h: +1\n3 files changed"
        assert said == outcome.output
        assert ["g", "h", "sub"] == sorted(os.listdir(tmp_path))
        assert (tmp_path / "sub" / "f").read_text().startswith("1\n1.5\ntwo\n")
        assert b"caf\xe9\ny\n" == (tmp_path / "g").read_bytes()
        assert "new\n" == (tmp_path / "h").read_text()

    @pytest.mark.parametrize(
        ("section", "words"),
        [
            ("*** Update File: g\n-z\n+y\n", "PatchError: hunk 1 of 'g' does not fit"),
            ("*** Update File: no\n-z\n+y\n", "FileNotFoundError: there is no 'no' in the workspace"),
            ("*** Add File: g\n+y\n", "'g' is there already; update it instead"),
            ("*** Update File: f\n-six\n+6\n", "'f' is changed twice"),
            ("*** Update File: g\n*** Move to: f\n-x\n+y\n", "'f' is there already"),
            ("*** Update File: bin\n-x\n+y\n", "'bin' is a binary file of 1 bytes"),
            ("*** Delete File: .\n", "'.' is a directory"),
        ],
    )
    async def test_all_or_nothing(self, tmp_path: Path, apply_patch: Any, section: str, words: str) -> None:
        (tmp_path / "bin").write_bytes(b"\0")
        patch = f"*** Begin Patch\n*** Update File: f\n-one\n+1\n{section}*** End Patch"

        outcome = await run_one(apply_patch, patch=patch)

        assert "failed" == outcome.kind
        assert words in outcome.output
        assert TEXT == (tmp_path / "f").read_text()

    async def test_deleting_with_a_diff_needs_the_lines(self, tmp_path: Path, apply_patch: Any) -> None:
        diff = "--- a/f\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n"

        assert "has lines that the patch does not remove" in (await run_one(apply_patch, patch=diff)).output
        assert (tmp_path / "f").exists()
        await run_one(apply_patch, patch="*** Begin Patch\n*** Delete File: f\n*** End Patch")
        assert not (tmp_path / "f").exists()
