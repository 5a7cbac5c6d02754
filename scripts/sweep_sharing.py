"""Two and then eight processes share one ledger at full speed, 30 seconds each: `nox -s sweep -- sharing`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "ledger"))

import sharing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 8])
    options = parser.parse_args()
    failed = False
    for processes in options.processes:
        with tempfile.TemporaryDirectory() as folder:
            total, wrong = sharing.share(Path(folder) / "shared.db", processes, options.seconds)
        failed = failed or bool(wrong)
        print(
            f"{processes} processes: {total:,} records acknowledged in {options.seconds:g} s, {len(wrong)} wrong"
        )
        for words in wrong[:20]:
            print(f"  {words}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
