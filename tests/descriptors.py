"""What this process has open, so that a test can tell what it left.

Counting is not enough: a descriptor that a test before has left to the garbage collector, or to a thread that nobody
waits for any more, may be closed while another test runs, and the count falls although that test did everything right.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def open_descriptors(kind: str = "") -> frozenset[tuple[int, str]]:
    """The number of each open descriptor and what it leads to, as Linux says it; elsewhere none.

    Args:
        kind: How what it leads to must begin, such as `"socket:"`.
    """
    found = set()
    if not os.path.isdir("/proc/self/fd"):
        return frozenset()
    for number in os.listdir("/proc/self/fd"):
        # The one that read the folder is closed by now.
        with suppress(FileNotFoundError):
            found.add((int(number), os.readlink(f"/proc/self/fd/{number}")))
    return frozenset(each for each in found if each[1].startswith(kind))


@contextmanager
def none_left_open() -> Iterator[None]:
    """Fail if something that was opened inside is still open in the end."""
    before = open_descriptors()
    yield
    assert not open_descriptors() - before
