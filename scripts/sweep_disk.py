"""Let every single write, sync and open of a ledger fail once, and from there on: `nox -s sweep -- disk`.

For each of them an engine makes a run with a tool that has an effect, the disk recovers, and it makes another run.
"""

from __future__ import annotations

import argparse
import errno
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "ledger"))

from disk_sweep import Fault, compiled, tried, wrong

EVERY = 100
"""After so many faults a line says how far it is."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every n-th operation")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = compiled(folder)
        if library is None:
            print("this needs Linux and a C compiler")
            return 1

        def attempt(fault: Fault) -> tuple[Fault, dict[str, object], list[str]]:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                found = tried(library, Path(place), fault)
            return fault, found, wrong(found)

        faults = []
        for kind in ("write", "sync", "open"):
            # How many there are depends on what the thread that writes finds when it begins a group.
            operations = 0
            for _ in range(3):
                _, found, said = attempt(Fault(kind, 0))
                assert not said, said
                operations = max(operations, int(str(found["operations"])))
            print(f"{kind}: {operations} operations without faults")
            errors = (errno.EIO, errno.ENOSPC) if kind == "write" else (errno.EIO,)
            faults += [
                Fault(kind, number, error, stays)
                for number in range(1, operations + 1, options.every)
                for error in errors
                for stays in (False, True)
            ]
        failures = refused = unnoticed = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            for number, (fault, found, said) in enumerate(pool.map(attempt, faults), 1):
                refused += bool(found["errors"])
                unnoticed += not found["errors"]
                if said:
                    failures += 1
                    print(f"WRONG {fault}: {said} {found}", flush=True)
                if number % EVERY == 0:
                    print(f"{number} of {len(faults)}", flush=True)
    print(f"{len(faults)} faults: {refused} ended in one error, {unnoticed} without one, {failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
