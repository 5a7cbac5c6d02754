"""How long `import triplane` takes, beside the import of what it depends on.

CPU seconds of whole processes, in pairs, so that other load on the machine falls on both alike. Bytecode is kept, as
it is where a package is installed.

Usage: python scripts/bench_import.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from importlib.metadata import version

DEPENDENCIES = ("trio", "trio_websocket", "attrs", "cattrs", "orjson")
PROGRAMS = {
    "dependencies": f"import {', '.join(DEPENDENCIES)}",
    "triplane": "import triplane",
}
TARGET = 1.4


def cpu_seconds(program: str) -> float:
    """What one process takes that runs this program and nothing else."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{program!r} failed")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, and print what was measured."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for program in PROGRAMS.values():
        cpu_seconds(program)  # writes the bytecode
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, program in PROGRAMS.items():
            times[name].append(cpu_seconds(program))

    print(
        f"Python {sys.version.split()[0]}, attrs {version('attrs')}, {rounds} rounds in pairs; CPU milliseconds of a process"
    )
    for name, measured in times.items():
        low, middle, high = (1e3 * each for each in statistics.quantiles(measured, n=4))
        print(
            f"  {name:<14} median {middle:6.1f}   quartiles {low:6.1f} to {high:6.1f}   least {1e3 * min(measured):6.1f}"
        )
    ratios = [ours / theirs for theirs, ours in zip(*times.values(), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    least = min(times["triplane"]) / min(times["dependencies"])
    print(
        f"  triplane / dependencies: median {middle:.2f} (quartiles {low:.2f} to {high:.2f}), of the least times {least:.2f}"
    )
    print(f"  target: at most {TARGET}")


if __name__ == "__main__":
    main()
