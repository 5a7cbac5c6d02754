"""Who has a claim, and whether they are known to be dead."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

_NUMBERS = count(1)
_generation = 0


def generation() -> int:
    """A number that is another one in a fork of this process. To ask the system who one is takes ten times as long."""
    return _generation


def _begin_generation() -> None:
    global _generation  # noqa: PLW0603  # a fact about the process
    _generation += 1


os.register_at_fork(after_in_child=_begin_generation)


def new_owner() -> str:
    """A name for one open ledger of this process: machine, process, and a number."""
    return f"{_machine()}/{os.getpid()}/{_started(os.getpid())}/{next(_NUMBERS)}"


def is_dead(owner: str) -> bool:
    """Whether it is certain that the process of this owner is no more.

    Only its own machine, and there only whoever sees the same processes, can tell; elsewhere nothing is certain and a
    claim ends with its deadline.
    """
    machine, _, rest = owner.partition("/")
    pid, _, rest = rest.partition("/")
    started, _, _ = rest.partition("/")
    if not started or not pid.isdecimal() or machine != _machine():
        return False
    # A process of the same number that started at another time is another one.
    return _started(int(pid)) != started


def _machine() -> str:
    """This boot of this machine, and whose processes are seen here; empty where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in the kernel's own count; empty if there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # After the name, which is in parentheses and may hold anything: the state is the first, the start the 20th.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]
