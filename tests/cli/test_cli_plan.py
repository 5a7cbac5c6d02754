"""Which runs a directory becomes, and what is said about what is left out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from triplane.cli.plan import NothingToSurveyError, make_plan

if TYPE_CHECKING:
    from pathlib import Path


def fill(root: Path, *paths: str) -> Path:
    """Make files below `root`; a path that ends with a slash is a folder."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(exist_ok=True)
        else:
            (root / path).write_text("x\n")
    return root


def names(root: Path, **options: bool) -> list[str]:
    return [job.name for job in make_plan(root, **options).jobs]


def test_one_run_for_each_folder_and_one_for_the_files_beside_them(tmp_path: Path) -> None:
    plan = make_plan(fill(tmp_path, "b/x", "a/deep/y", "z.txt", ".hidden-file"))

    assert ["a", "b", "(files)"] == [job.name for job in plan.jobs]
    assert [tmp_path / "a", tmp_path / "b", tmp_path] == [job.folder for job in plan.jobs]
    assert [None, None, (".hidden-file", "z.txt")] == [job.files for job in plan.jobs]
    assert () == plan.notes


def test_files_are_surveyed_in_groups_of_ten(tmp_path: Path) -> None:
    plan = make_plan(fill(tmp_path, *(f"f{number:02}" for number in range(21))))

    assert ["(files 1-10)", "(files 11-20)", "(file 21)"] == [job.name for job in plan.jobs]
    assert [10, 10, 1] == [len(job.files or ()) for job in plan.jobs]
    assert ("f20",) == plan.jobs[2].files


def test_the_prompt_names_the_files_one_on_a_line(tmp_path: Path) -> None:
    (job,) = make_plan(fill(tmp_path, "a b.txt", "c")).jobs

    assert ["file: a b.txt", "file: c"] == job.prompt.splitlines()[1:]


def test_hidden_folders_are_left_out_and_it_says_so(tmp_path: Path) -> None:
    fill(tmp_path, ".git/", ".venv/", "src/x", "lib/y")

    assert ["lib", "src"] == names(tmp_path)
    assert ("Skipped 2 hidden folders: .git, .venv; --all includes them.",) == make_plan(tmp_path).notes
    assert [".git", ".venv", "lib", "src"] == names(tmp_path, include_hidden=True)
    assert () == make_plan(tmp_path, include_hidden=True).notes


def test_a_directory_with_one_folder_is_taken_for_that_folder(tmp_path: Path) -> None:
    """`src` of a src layout holds one package: its folders are what there is to see."""
    fill(tmp_path, "pkg/sub/a/x", "pkg/sub/b/y", "pkg/sub/.cache/z", "pkg/sub/m.py")

    assert ["pkg/sub/.cache", "pkg/sub/a", "pkg/sub/b", "pkg/sub/(files)"] == names(tmp_path)


def test_a_link_beside_the_only_folder_is_not_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "pkg/a/x", "pkg/b/y")
    (tmp_path / "link").symlink_to("pkg")

    assert ["pkg"] == names(tmp_path)
    assert ("Skipped 1 symbolic link: link.",) == make_plan(tmp_path).notes


def test_hidden_folders_deeper_down_belong_to_their_folder(tmp_path: Path) -> None:
    """Only the ones directly in the directory are left out, so the totals are those of the folders named."""
    fill(tmp_path, ".git/x", "pkg/.cache/x", "pkg/a/y")

    assert ["pkg/.cache", "pkg/a"] == names(tmp_path)
    assert ("Skipped 1 hidden folder: .git; --all includes them.",) == make_plan(tmp_path).notes


def test_an_empty_folder_is_a_run_all_the_same(tmp_path: Path) -> None:
    assert ["empty"] == names(fill(tmp_path, "empty/"))


def test_links_are_not_followed_and_it_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "a/x", "b/y")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")

    plan = make_plan(tmp_path)

    assert ["a", "b"] == [job.name for job in plan.jobs]
    assert ("Skipped 2 symbolic links: loop, passwd.",) == plan.notes


def test_a_file_name_that_is_no_line_of_text_is_left_out_and_it_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "good", "two\nlines", " leading")
    (tmp_path / os.fsdecode(b"bad\xff")).write_text("x")

    plan = make_plan(tmp_path)

    assert [("good",)] == [job.files for job in plan.jobs]
    assert (
        "Skipped 3 files with a name that no prompt can hold:  leading, bad\\xff, two\\nlines.",
    ) == plan.notes


def test_odd_folder_names_are_surveyed_under_a_name_that_can_be_shown(tmp_path: Path) -> None:
    fill(tmp_path, "two\nlines/x", "esc\x1b[31m/x")

    assert ["esc\\x1b[31m", "two\\nlines"] == names(tmp_path)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    fill(tmp_path, "src/x", *(f".h{number}/" for number in range(7)))

    assert ("Skipped 7 hidden folders: .h0, .h1, .h2, .h3, .h4, 2 more; --all includes them.",) == make_plan(
        tmp_path
    ).notes


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingToSurveyError, match="there is nothing to survey in"):
        make_plan(tmp_path)


def test_a_directory_with_hidden_folders_only_says_how_to_survey_them(tmp_path: Path) -> None:
    with pytest.raises(NothingToSurveyError, match="Skipped 1 hidden folder: .git; --all includes them"):
        make_plan(fill(tmp_path, ".git/x"))


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingToSurveyError, match="cannot be read: No such file or directory"):
        make_plan(tmp_path / "gone")
