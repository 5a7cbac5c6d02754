"""Read a hundred thousand damaged ledgers: `nox -s fuzz -- ledger`. None may give a wrong state."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "ledger"))

import mutations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        verdicts = mutations.fuzz(Path(folder), options.files, options.seed, verbose=True)
    print(", ".join(f"{count:,} {verdict}" for verdict, count in sorted(verdicts.items())))
    return 1 if set(verdicts) - {"same", "older", "corrupt"} else 0


if __name__ == "__main__":
    sys.exit(main())
