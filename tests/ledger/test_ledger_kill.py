"""Processes that are killed lose nothing that was promised, and do nothing twice: a sample of `nox -s sweep -- kill`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "sweep_kill.py"


def test_a_sample_of_all_kills() -> None:
    # Not in this process, which may run threads: its forks would inherit their locks.
    words = [sys.executable, str(SCRIPT), "--scenario", "calls side by side", "--step", "9", "--random", "2"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert ", 0 problems" in ended.stdout
    assert not ended.stdout.startswith("0 processes")
