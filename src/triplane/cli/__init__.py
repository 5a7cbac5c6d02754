"""The command line: what a person at a terminal can do with Triplane without writing a program.

This module is cheap to import and needs no extra; the commands themselves need ``triplane[cli]``.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

# What the extra brings, at the level of imports.
_EXTRA = ("click", "rich", "msgspec", "docstring_parser")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``triplane`` and return its exit status. A failure is told in words, never as a traceback.

    Args:
        arguments: What stands after ``triplane`` on the command line, by default that of this process.

    Returns:
        0 for success, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C.
    """
    if any(find_spec(name) is None for name in _EXTRA):
        print("triplane's commands need the extra: python -m pip install 'triplane[cli]'", file=sys.stderr)
        return 1
    try:
        from triplane.cli.commands import execute  # noqa: PLC0415  # needs the extra

        return execute(arguments)
    except KeyboardInterrupt:
        # Before a command handles signals itself, or after.
        print("interrupted", file=sys.stderr)
        return 130
