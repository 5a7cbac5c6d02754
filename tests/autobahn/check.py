"""Run Autobahn's fuzzing server, take its cases on both wires, and hold the failures against `expected.json`.

    python tests/autobahn/check.py PYTHON_2 SUITE [--bare] [WIRE ...]

PYTHON_2 is a Python 2.7, SUITE the folder into which the suite was installed with ``pip install --target``.
What the list knows must still happen, else the list is out of date; what it does not know must not. Cases in which
a library may answer before or after it has noticed a fault, which Autobahn calls non-strict, may come out either way.
Beside each entry stands what the bare library makes of the case; `--bare` takes the cases with that as well, and tells
what it makes of those on the list.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
PASSED = {"OK", "INFORMATIONAL"}
# `pip install --target` leaves namespace packages to `site`.
RUN_SUITE = (
    "import sys, site; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()"
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            sys.exit(f"the fuzzing server ended with {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the fuzzing server does not listen")


def verdicts(wire: str, results: dict[str, dict[str, str]], expected: dict[str, dict[str, str]]) -> list[str]:
    """What is not as the list says."""
    wrong = []
    for case, result in results.items():
        behavior = result["behavior"]
        if behavior in PASSED and result["behaviorClose"] not in PASSED:
            behavior = result["behaviorClose"]
        known = expected.get(case, {}).get("behavior", "OK")
        if behavior in PASSED | {"NON-STRICT"} and known == "NON-STRICT":
            continue
        if behavior != known and not (behavior in PASSED and known == "OK"):
            wrong.append(f"{wire}: case {case} is {behavior}, and {known} was expected")
    return wrong


def main(python: str, suite: str, wires: list[str], *, bare: bool) -> None:
    expected = json.loads((HERE / "expected.json").read_text())
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        spec = Path(folder) / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "url": f"ws://127.0.0.1:{port}",
                    "outdir": folder,
                    "cases": CASES,
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
            )
        )
        server = subprocess.Popen(
            [python, "-c", RUN_SUITE, str(Path(suite).resolve()), "-m", "fuzzingserver", "-s", str(spec)],
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            wait_for(port, server)
            for wire in wires:
                for client in ("client.py", "bare.py") if bare else ("client.py",):
                    subprocess.run([sys.executable, str(HERE / client), str(port), wire], check=True)
            results = json.loads((Path(folder) / "index.json").read_text())
        finally:
            server.kill()
            server.wait()
    for wire in wires:
        wrong += verdicts(wire, results[wire], expected[wire])
        counts: dict[str, int] = {}
        for result in results[wire].values():
            counts[result["behavior"]] = counts.get(result["behavior"], 0) + 1
        if bare:
            for case, entry in expected[wire].items():
                print(
                    f"{wire}, bare: case {case} is {results[f'bare-{wire}'][case]['behavior']}, {entry['bare']} on the list"
                )
        print(f"{wire}: " + ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    named = [argument for argument in sys.argv[3:] if argument != "--bare"]
    main(sys.argv[1], sys.argv[2], named or ["trio-websocket", "websockets"], bare="--bare" in sys.argv)
