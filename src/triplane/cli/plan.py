"""Which runs a survey of a directory consists of: one for each folder in it, and some for the files beside them."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from triplane.cli.units import counted
from triplane.cli.untrusted import named

FILES_PER_RUN = 10

INSTRUCTIONS = """\
You survey source code with the tools of a workspace. List the files, read the largest ones, search for TODO and FIXME,
and count. Make calls that do not need each other's results side by side. Then report. The report begins with these
four lines, figures without separators, and goes on with at most five sentences:
files: how many regular files there are, hidden ones included
bytes: the sum of their sizes
lines: how many newline characters they contain, as `wc -l` counts
todo: how many lines contain TODO or FIXME
"""


class NothingToSurveyError(Exception):
    """A directory cannot be surveyed; the message says why."""


@attrs.frozen
class Job:
    """One run of a survey.

    Attributes:
        name: What people call it: the folder's path below the surveyed directory, or which files.
        folder: What the agent's workspace is.
        files: The only files of it to survey, else None for everything below the folder.
    """

    name: str
    folder: Path
    files: tuple[str, ...] | None = None

    @property
    def prompt(self) -> str:
        """What the agent is asked."""
        if self.files is None:
            return f"Survey the folder {self.name}. It is your workspace."
        return "\n".join(
            ["Survey only these files of your workspace:", *(f"file: {file}" for file in self.files)]
        )


@attrs.frozen
class Plan:
    """All runs of a survey.

    Attributes:
        root: The surveyed directory.
        jobs: One for each run, in the order of their names.
        notes: What is left out and why, in whole sentences.
    """

    root: Path
    jobs: tuple[Job, ...]
    notes: tuple[str, ...] = ()


@attrs.frozen
class _Entries:
    """The names in one directory."""

    folders: list[str]
    files: list[str]
    links: list[str]


def make_plan(root: Path, *, include_hidden: bool = False) -> Plan:
    """Look into a directory and decide on the runs. Together they cover every regular file below it.

    What is not covered is said in the plan's notes: hidden folders directly in the directory, unless they are asked
    for, and symbolic links, which are not followed. A directory that holds nothing but one folder is taken for that
    folder.

    Raises:
        NothingToSurveyError: The directory cannot be read, or there is nothing in it.
    """
    entries = _read(root)
    notes = []
    hidden = [] if include_hidden else [name for name in entries.folders if name.startswith(".")]
    if hidden:
        notes.append(
            f"Skipped {counted(len(hidden), 'hidden folder')}: {_list(hidden)}; --all includes them."
        )
    folders = [name for name in entries.folders if name not in hidden]
    files, links = entries.files, entries.links
    prefix = ""
    while len(folders) == 1 and not files and not links:
        prefix += f"{folders[0]}/"
        below = _read(root / prefix)
        if not below.folders and not below.files:
            prefix = prefix.removesuffix(f"{folders[0]}/")
            break
        folders, files, links = below.folders, below.files, below.links
    if links:
        notes.append(f"Skipped {counted(len(links), 'symbolic link')}: {_list(links)}.")
    unsayable = [name for name in files if named(name) != name or name != name.strip()]
    if unsayable:
        # A prompt is text and names one file on a line.
        notes.append(
            f"Skipped {counted(len(unsayable), 'file')} with a name that no prompt can hold: {_list(unsayable)}."
        )
    jobs = [Job(named(prefix + name), root / prefix / name) for name in folders]
    jobs += _jobs_for_files(root / prefix, prefix, [name for name in files if name not in unsayable])
    if not jobs:
        raise NothingToSurveyError(
            " ".join([f"there is nothing to survey in {named(str(root))}.", *notes]).removesuffix(".")
        )
    return Plan(root, tuple(jobs), tuple(notes))


def _jobs_for_files(folder: Path, prefix: str, files: list[str]) -> list[Job]:
    groups = [files[at : at + FILES_PER_RUN] for at in range(0, len(files), FILES_PER_RUN)]
    jobs = []
    for number, group in enumerate(groups):
        first = number * FILES_PER_RUN + 1
        last = first + len(group) - 1
        which = "files" if len(groups) == 1 else f"files {first}-{last}" if last > first else f"file {last}"
        jobs.append(Job(f"{named(prefix)}({which})", folder, tuple(group)))
    return jobs


def _read(directory: Path) -> _Entries:
    folders, files, links = [], [], []
    try:
        with os.scandir(directory) as scan:
            for entry in scan:
                if entry.is_symlink():
                    links.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry.name)
    except OSError as error:
        raise NothingToSurveyError(f"{named(str(directory))} cannot be read: {error.strerror}") from error
    return _Entries(sorted(folders), sorted(files), sorted(links))


def _list(names: list[str], most: int = 5) -> str:
    more = f", {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(named, names[:most])) + more
