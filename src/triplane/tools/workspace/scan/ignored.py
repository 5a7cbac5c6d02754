"""Which files git would ignore, by the `.gitignore` files of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pathspec import GitIgnoreSpec

    from .confined import Confined

_NAME = ".gitignore"
_LARGEST = 256 * 1024


class Ignored:
    """Says, directory by directory of a walk, which names git would leave out; `.git` itself is one.

    The deepest file that says anything about a path decides, and in it the last line. Only files of the workspace count:
    nothing above it, and no settings of the user's or the repository's own. A start that is itself ignored was asked
    for by name, so that only what the files in it say counts.
    """

    def __init__(self, confined: Confined, start: tuple[str, ...]) -> None:
        self._confined = confined
        self._specs: dict[tuple[str, ...], GitIgnoreSpec | None] = {}
        self._top = 0
        for depth in range(len(start)):
            self._load(start[:depth])
        for depth in range(len(start)):
            if self._is_ignored(start[:depth], f"{start[depth]}/"):
                self._top = len(start)

    def __call__(
        self, names: Sequence[str], entries: Sequence[tuple[str, int | None]]
    ) -> Callable[[str], bool]:
        """What is ignored in one directory."""
        here = tuple(names)
        if any(name == _NAME and size is not None for name, size in entries):
            self._load(here)
        return lambda name: name.rstrip("/") == ".git" or self._is_ignored(here, name)

    def _load(self, names: tuple[str, ...]) -> None:
        try:
            file = self._confined.open((*names, _NAME))
        except OSError:
            return
        if file is None:
            return
        with file:
            lines = file.read(_LARGEST).decode("utf-8", "replace").splitlines()
        self._specs[names] = _spec(line for line in lines if _is_pattern(line))

    def _is_ignored(self, names: tuple[str, ...], name: str) -> bool:
        for depth in range(len(names), self._top - 1, -1):
            spec = self._specs.get(names[:depth])
            if spec is not None:
                verdict = spec.check_file("/".join([*names[depth:], name])).include
                if verdict is not None:
                    return verdict
        return False


def _is_pattern(line: str) -> bool:
    """Like git, we pass over lines that are no patterns."""
    try:
        _spec([line])
    except ValueError:
        return False
    return True


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  (of the extra, which a program without a workspace need not have)

    return GitIgnoreSpec.from_lines(lines)
