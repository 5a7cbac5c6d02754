"""Runs the command ``triplane`` as a process, and looks at what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Whatever the environment of the tests says, the commands see none of it.
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("OPENAI_", "PYTEST", "COV"))
    and name not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")
}


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.02)


class Process:
    """A running command whose output can be looked at while it runs."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "triplane", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**CLEAN, **environment},
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, what: str) -> None:
        """Wait until the output holds some words."""
        wait_until(lambda: what in self.out + self.err or self.popen.poll() is not None, repr(what))
        assert what in self.out + self.err, self.err

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; return the exit status and how many seconds it took."""
        began = time.monotonic()
        self.popen.send_signal(number)
        status = self.popen.wait(10)
        return status, time.monotonic() - began


@contextmanager
def triplane(folder: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    """Run ``triplane`` beside the block; whatever is left at its end is killed."""
    folder.mkdir(exist_ok=True)
    process = Process(folder, arguments, environment)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()


def processes_with(mark: str) -> list[int]:
    """The ids of all processes with a word in their command line, zombies excepted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
