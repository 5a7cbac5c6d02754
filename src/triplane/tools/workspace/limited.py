"""Sets limits on itself and becomes another program: what a command of a workspace starts as.

Run as ``python -I -S limited.py LIMITS PROGRAM ARGUMENT…``, LIMITS as ``NAME=NUMBER,…``. A program of its own, since a
limit cannot be set from outside before a command begins, and code between fork and exec is not safe beside threads.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

CANNOT_START = 126


def main(arguments: list[str]) -> str:
    """Become the program; returns what is wrong if that cannot be."""
    limits, *command = arguments
    for limit in filter(None, limits.split(",")):
        name, _, number = limit.partition("=")
        kind = getattr(resource, f"RLIMIT_{name}")
        value = int(number)
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            # The hard one as well, so that what is started cannot raise it again.
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError) as error:
            return f"RLIMIT_{name} cannot be set here: {error}"
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores these, and a program that is started goes on ignoring what its predecessor ignored.
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606  # that is what this is for
    except OSError as error:
        return f"{command[0]} cannot be started: {error.strerror}"


if __name__ == "__main__":  # pragma: no cover  (in a process of its own)
    sys.stderr.write(f"{main(sys.argv[1:])}\n")
    sys.exit(CANNOT_START)
