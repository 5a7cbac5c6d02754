"""Reads a patch, and says what a file is after it. Text in, text out; files are somebody else's.

Two formats are understood: unified diffs, as `diff -u` and git write them, and the one that begins with
``*** Begin Patch``, which OpenAI's models are trained on
(https://cookbook.openai.com/examples/gpt4-1_prompting_guide#reference-implementation-apply_patchpy describes it).

Lines are matched exactly; only their ends are not compared, and a new line gets the end that the file's lines have. Where
a hunk belongs is decided by its lines. The numbers of a unified diff, which models often get wrong, only choose between
several places; without a choice that is certain the patch is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

_RANGE = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@.*")
_SECTION = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
_MOVE = "*** Move to: "
_BEGIN, _END, _END_OF_FILE = "*** Begin Patch", "*** End Patch", "*** End of File"
_NO_NEWLINE = "\\"
# What git puts below a patch that is to be mailed.
_SIGNATURE = "-- "
_SHOWN = 120


class PatchError(ValueError):
    """The patch cannot be read, or does not fit; the message says where and what to do."""


@attrs.frozen
class Hunk:
    """One place to change.

    Attributes:
        edits: Lines, each with a space, "-" or "+" for what becomes of it.
        line: Where it begins, from 1, as the patch says; without lines of before, after which line. None if it does
            not say.
        anchors: Lines before it, from outer to inner, after each of which the search goes on.
        at_end: Whether it ends with the file.
        newline: Whether the file ends with a line break afterwards; None if the patch does not say.
    """

    edits: tuple[tuple[str, str], ...]
    line: int | None = None
    anchors: tuple[str, ...] = ()
    at_end: bool = False
    newline: bool | None = None

    @property
    def before(self) -> list[str]:
        """The lines it replaces, context included."""
        return [text for sign, text in self.edits if sign != "+"]


@attrs.frozen
class Change:
    """What becomes of one file."""

    kind: Literal["add", "update", "delete"]
    path: str
    hunks: tuple[Hunk, ...] = ()
    move_to: str | None = None


def counted(change: Change) -> tuple[int, int]:
    """How many lines a change adds and removes."""
    signs = [sign for hunk in change.hunks for sign, _ in hunk.edits]
    return signs.count("+"), signs.count("-")


def parse(patch: str) -> list[Change]:
    """What a patch changes, file by file.

    Raises:
        PatchError: It is in neither format, or changes nothing.
    """
    # Not splitlines: a form feed, say, is part of a line.
    lines = [line.removesuffix("\r") for line in patch.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    first = next((line.strip() for line in lines if line.strip()), "")
    changes = _parse_sections(lines) if first == _BEGIN else _parse_unified(lines)
    if not changes:
        raise PatchError(
            "there is no change in the patch; give a unified diff with '--- a/file', '+++ b/file' and '@@' lines, or "
            "'*** Begin Patch', '*** Update File: file' and '*** End Patch'"
        )
    return changes


def operation_change(kind: Literal["add", "update", "delete"], path: str, diff: str) -> Change:
    """The change of one file that an operation of the API's ``apply_patch`` tool stands for.

    Its diff is a section of the second format without the lines around it. Models also write whole patches there, and
    the API's own types call it a unified diff; both are taken if they are about that file alone.

    Raises:
        PatchError: The diff cannot be read, or is about something else.
    """
    if kind == "delete":
        return Change("delete", path)
    lines = [line.removesuffix("\r") for line in diff.split("\n")]
    first = next((line for line in lines if line.strip()), "")
    if first.strip() == _BEGIN or first.startswith(("--- ", "diff --git ")):
        changes = parse(diff)
        if len(changes) != 1 or changes[0].kind != kind or changes[0].move_to is not None:
            raise PatchError(f"the diff must change {path!r} and nothing else")
        return attrs.evolve(changes[0], path=path)
    return _parse_section("Add" if kind == "add" else "Update", path, lines, 0, len(lines))


def changed(change: Change, text: str) -> str:
    """What a file with `text` is after `change`; "" for a file that is not there yet.

    Raises:
        PatchError: The change does not fit.
    """
    lines = text.split("\n")
    ends_with_newline = not lines[-1]
    if ends_with_newline:
        lines.pop()
    has_returns = sum(line.endswith("\r") for line in lines) * 2 > len(lines)
    plain = [line.removesuffix("\r") for line in lines]
    result: list[str] = []
    done = 0
    # How many lines further down things are than the numbers say, by the last hunk.
    drift = 0
    for number, hunk in enumerate(change.hunks, 1):
        place = _find(hunk, plain, done, drift, f"hunk {number} of {change.path!r}")
        if hunk.line is not None and hunk.before:
            drift = place - (hunk.line - 1)
        result += lines[done:place]
        for sign, line in hunk.edits:
            if sign != "+":
                if sign == " ":
                    result.append(lines[place])
                place += 1
            else:
                result.append(line + "\r" if has_returns else line)
        done = place
        if hunk.newline is not None and place == len(lines):
            ends_with_newline = hunk.newline
    result += lines[done:]
    return "\n".join(result) + ("\n" if result and ends_with_newline else "")


def _find(hunk: Hunk, lines: Sequence[str], start: int, drift: int, whose: str) -> int:
    """Where a hunk belongs, at `start` or after."""
    for anchor in hunk.anchors:
        start = _after_anchor(anchor, lines, start, whose)
    before = hunk.before
    if not before:
        return _insertion(hunk, lines, start, whose)
    size = len(before)
    places = [at for at in range(start, len(lines) - size + 1) if lines[at : at + size] == before]
    if hunk.at_end:
        places = [at for at in places if at + size == len(lines)]
    if not places:
        raise PatchError(_mismatch(before, lines, start, whose))
    if len(places) == 1 or hunk.anchors:
        return places[0]
    if hunk.line is not None and hunk.line - 1 + drift in places:
        return hunk.line - 1 + drift
    found = ", ".join(str(at + 1) for at in places[:5])
    raise PatchError(f"{whose} fits at several places, lines {found}; give more lines of context")


def _after_anchor(anchor: str, lines: Sequence[str], start: int, whose: str) -> int:
    exact = [at for at in range(start, len(lines)) if lines[at] == anchor]
    loose = [at for at in range(start, len(lines)) if lines[at].strip() == anchor.strip()]
    for at in exact or loose:
        return at + 1
    raise PatchError(
        f"{whose}: there is no line {_shown(anchor)} from line {start + 1} on, as its '@@' line says"
    )


def _insertion(hunk: Hunk, lines: Sequence[str], start: int, whose: str) -> int:
    if hunk.anchors:
        return start
    if hunk.at_end or not lines:
        return len(lines)
    if hunk.line is not None and start <= hunk.line <= len(lines):
        return hunk.line
    raise PatchError(
        f"{whose} has only new lines, and nothing says where they belong; give a line of context"
    )


def _mismatch(before: Sequence[str], lines: Sequence[str], start: int, whose: str) -> str:
    """Say how far the lines fit at the place where they fit best."""
    best, where = 0, None
    for at in range(start, len(lines)):
        if lines[at] == before[0]:
            fitting = 0
            for wanted, line in zip(before, lines[at:], strict=False):
                if wanted != line:
                    break
                fitting += 1
            if fitting > best:
                best, where = fitting, at
    if where is None:
        elsewhere = " (only before the hunk above it)" if before[0] in lines[:start] else ""
        return f"{whose} does not fit: its first line {_shown(before[0])} is not in the file{elsewhere}; read it again"
    if best == len(before):  # only its end is wrong
        return f"{whose} does not fit: its lines are at line {where + 1}, not at the end of the file"
    at = where + best
    there = _shown(lines[at]) if at < len(lines) else "the end of the file"
    return f"{whose} does not fit: at line {at + 1} it expects {_shown(before[best])}, and there is {there}"


def _shown(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")


def _parse_unified(lines: Sequence[str]) -> list[Change]:
    changes: list[Change] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("diff --git "):
            at, change = _parse_git(lines, at)
            if change is not None:
                changes.append(change)
        elif line.startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ "):
            at, change = _parse_file(lines, at, moved=False)
            changes.append(change)
        elif line.startswith("@@"):
            raise PatchError(
                f"line {at + 1} of the patch begins a hunk, and no '--- ' and '+++ ' lines say of which file"
            )
        elif changes and line[:1] in (" ", "-", "+") and line != _SIGNATURE:
            raise PatchError(f"line {at + 1} of the patch is {_shown(line)}, and belongs to no hunk")
        else:
            at += 1
    return changes


def _parse_git(lines: Sequence[str], at: int) -> tuple[int, Change | None]:
    """One section of git's: the header, and the hunks if it has any."""
    header: dict[str, str] = {}
    words = (
        "rename from ",
        "rename to ",
        "copy from ",
        "GIT binary patch",
        "Binary files ",
        "new file",
        "deleted file",
    )
    title = at
    at += 1
    while at < len(lines) and not lines[at].startswith(("diff --git ", "--- ", "@@")):
        for word in words:
            if lines[at].startswith(word):
                header[word.strip()] = lines[at].removeprefix(word)
        at += 1
    if {"copy from", "GIT binary patch", "Binary files"} & set(header):
        raise PatchError(
            f"line {title + 1} of the patch: copies and binary files cannot be patched; write them anew"
        )
    if at < len(lines) and lines[at].startswith("--- "):
        return _parse_file(lines, at, moved="rename from" in header)
    if "rename from" in header and "rename to" in header:
        return at, Change("update", header["rename from"], (), header["rename to"])
    match = re.fullmatch(r"diff --git a/(.+) b/\1", lines[title])
    if match and "new file" in header:
        return at, Change("add", match[1])
    if match and "deleted file" in header:
        return at, Change("delete", match[1])
    raise PatchError(f"line {title + 1} of the patch: nothing is changed that can be; modes of files cannot")


def _parse_file(lines: Sequence[str], at: int, *, moved: bool) -> tuple[int, Change]:
    """A '--- ' line, a '+++ ' line, and hunks."""
    if at + 1 >= len(lines) or not lines[at + 1].startswith("+++ "):
        raise PatchError(f"line {at + 2} of the patch: after '--- ' there must be a '+++ ' line")
    old, new = _name(lines[at], "--- "), _name(lines[at + 1], "+++ ")
    nowhere = "/dev/null"
    if (old == nowhere or old.startswith("a/")) and (new == nowhere or new.startswith("b/")):
        old, new = old.removeprefix("a/"), new.removeprefix("b/")
    at += 2
    hunks: list[Hunk] = []
    while at < len(lines) and (match := _RANGE.fullmatch(lines[at])):
        at, hunk = _parse_hunk(lines, at + 1, match)
        hunks.append(hunk)
    if at < len(lines) and lines[at].startswith("@@"):
        raise PatchError(f"line {at + 1} of the patch is no '@@ -line,count +line,count @@' line")
    if not hunks and not moved:
        raise PatchError(f"the patch has no '@@ -line,count +line,count @@' line for {old!r}")
    if old == nowhere:
        if any(hunk.before for hunk in hunks):
            raise PatchError(f"{new!r} is to be a new file, and has lines that are not added")
        return at, Change("add", new, tuple(hunks))
    if new == nowhere:
        return at, Change("delete", old, tuple(hunks))
    return at, Change("update", old, tuple(hunks), new if new != old else None)


def _name(line: str, sign: str) -> str:
    """The path on a '--- ' or '+++ ' line. `diff` puts a tab and a time behind it."""
    return line.removeprefix(sign).partition("\t")[0].strip()


def _parse_hunk(lines: Sequence[str], at: int, match: re.Match[str]) -> tuple[int, Hunk]:
    # The counts are used where lines could be read both ways, and else are not insisted on.
    old, new = (int(match[group] or 1) for group in (2, 4))
    edits: list[tuple[str, str]] = []
    newline: bool | None = None
    while at < len(lines):
        line = lines[at]
        if old <= 0 and new <= 0:
            following = lines[at + 1] if at + 1 < len(lines) else ""
            if line == _SIGNATURE or (line.startswith("--- ") and following.startswith("+++ ")):
                break
        if line.startswith(_NO_NEWLINE):
            if edits and edits[-1][0] != "-":
                newline = False
            elif edits:
                newline = True
        elif line[:1] in (" ", "-", "+"):
            edits.append((line[0], line[1:]))
            old -= line[0] != "+"
            new -= line[0] != "-"
        elif not line and old > 0 and new > 0:
            # Editors and models lose the space of an empty line.
            edits.append((" ", ""))
            old -= 1
            new -= 1
        else:
            break
        at += 1
    if not edits:
        raise PatchError(f"line {at + 1} of the patch: the hunk before it is empty")
    is_short = old > 0 or new > 0
    if is_short and at < len(lines) and lines[at] and not lines[at].startswith(("@@", "diff ")):
        raise PatchError(
            f"line {at + 1} of the patch is {_shown(lines[at])}; lines of a hunk begin with ' ', '-' or '+'"
        )
    return at, Hunk(tuple(edits), line=int(match[1]), newline=newline)


def _parse_sections(lines: Sequence[str]) -> list[Change]:
    begin = next(at for at, line in enumerate(lines) if line.strip() == _BEGIN)
    end = next((at for at, line in enumerate(lines) if line.strip() == _END), len(lines))
    changes: list[Change] = []
    at = begin + 1
    while at < end:
        match = _SECTION.fullmatch(lines[at].rstrip())
        if match is None:
            if lines[at].strip():
                raise PatchError(
                    f"line {at + 1} of the patch is {_shown(lines[at])}; there must be '*** Add File: ', "
                    "'*** Update File: ' or '*** Delete File: '"
                )
            at += 1
            continue
        stop = next((n for n in range(at + 1, end) if _SECTION.fullmatch(lines[n].rstrip())), end)
        changes.append(_parse_section(match[1], match[2].strip(), lines, at + 1, stop))
        at = stop
    return changes


def _parse_section(kind: str, path: str, lines: Sequence[str], at: int, stop: int) -> Change:
    if kind == "Delete":
        return Change("delete", path)
    if kind == "Add":
        while stop > at and not lines[stop - 1]:
            stop -= 1
        for number in range(at, stop):
            if not lines[number].startswith("+"):
                raise PatchError(f"line {number + 1} of the patch: each line of a new file begins with '+'")
        edits = tuple(("+", line[1:]) for line in lines[at:stop])
        return Change("add", path, (Hunk(edits),) if edits else ())
    move_to = None
    if at < stop and lines[at].startswith(_MOVE):
        move_to = lines[at].removeprefix(_MOVE).strip()
        at += 1
    hunks = _parse_update(lines, at, stop)
    if not hunks and move_to is None:
        raise PatchError(f"the patch changes nothing in {path!r}")
    return Change("update", path, tuple(hunks), move_to)


def _parse_update(lines: Sequence[str], at: int, stop: int) -> list[Hunk]:
    hunks: list[Hunk] = []
    # Empty lines between sections are for the eye.
    while stop > at and not lines[stop - 1]:
        stop -= 1
    while at < stop:
        anchors: list[str] = []
        while at < stop and lines[at].startswith("@@"):
            # A range, as unified diffs have them, is no line of the file.
            if (anchor := lines[at][2:].removeprefix(" ")).strip() and not _RANGE.fullmatch(lines[at]):
                anchors.append(anchor)
            at += 1
        edits: list[tuple[str, str]] = []
        while at < stop and (lines[at][:1] in (" ", "-", "+") or not lines[at]):
            edits.append((lines[at][:1] or " ", lines[at][1:]))
            at += 1
        at_end = at < stop and lines[at].rstrip() == _END_OF_FILE
        at += at_end
        if edits:
            hunks.append(Hunk(tuple(edits), anchors=tuple(anchors), at_end=at_end))
        elif at < stop and not lines[at].startswith("@@"):
            raise PatchError(
                f"line {at + 1} of the patch is {_shown(lines[at])}; lines of an update begin with ' ', '-', '+' or '@@'"
            )
    return hunks
