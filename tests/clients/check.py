"""Run the programs of one client against `triplane serve`, each in a process of its own.

usage: check.py FOLDER

The programs are the `.py` and `.mjs` files of FOLDER that are not called `common`; they find the server in
OPENAI_BASE_URL, print one line about what they did, and exit with a status other than 0 when something was wrong.
The server's journal says whether their requests came as they claim: over HTTP if that is in the program's name, over
WebSocket otherwise.
If the page about testing has tests for this client, they are run too, with a server of their own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

SECONDS = 180
PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def programs(folder: Path) -> list[list[str]]:
    interpreters = {".py": sys.executable, ".mjs": "node"}
    found = [
        [interpreters[path.suffix], path.name]
        for path in sorted(folder.iterdir())
        if path.suffix in interpreters and path.stem != "common" and not path.name.startswith("test_")
    ]
    name = f"test_{folder.name}.py"
    if tests := re.search(rf"```py\n# {name}\n(.*?)```", PAGE.read_text(), re.DOTALL):
        (folder / name).write_text(tests[1])
        found.append([sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", name])
    return found


def control(base_url: str, resource: str, method: str = "GET") -> dict:
    url = f"{base_url.removesuffix('/v1')}/_triplane/{resource}"
    with build_opener(ProxyHandler({})).open(Request(url, method=method), timeout=10) as answer:
        return json.load(answer)


def transports(base_url: str) -> Counter[str]:
    """How the requests for responses came, by the server's journal."""
    found: Counter[str] = Counter()
    page = {"has_more": True, "last": 0}
    while page["has_more"]:
        page = control(base_url, f"journal?after={page['last']}")
        for entry in page["entries"]:
            if entry["kind"] == "message" and entry["direction"] == "in":
                found["WebSocket"] += entry.get("json", {}).get("type") == "response.create"
            elif entry["kind"] == "request" and entry["method"] == "POST":
                found["HTTP"] += entry["target"].partition("?")[0].endswith("/responses")
    return +found


def main(folder: Path) -> int:
    # Nothing of the machine's own settings may send a client elsewhere.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OPENAI_") and not name.lower().endswith("_proxy")
    }
    command = [sys.executable, "-m", "triplane", "serve", "--model", "directive", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    failures = 0
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            sys.exit("the server did not start")
        base_url = url.replace("ws://", "http://").removesuffix("/responses")
        environment |= {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "local"}
        for program in programs(folder):
            name = f"{folder.name}/{program[-1]}"
            control(base_url, "journal", "DELETE")
            try:
                done = subprocess.run(
                    program,
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
                status, words = (
                    done.returncode,
                    done.stdout.strip() + (done.stderr if done.returncode else ""),
                )
            except subprocess.TimeoutExpired as error:
                status, words = -1, f"did not end within {SECONDS} s\n{error.stdout}\n{error.stderr}"
            requests = transports(base_url)
            wanted = (
                set()
                if program[-1].startswith("test_")
                else {"HTTP" if "http" in program[-1] else "WebSocket"}
            )
            if status == 0 and requests.keys() != wanted:
                status = 1
            words += (
                f" ({', '.join(f'{number} over {way}' for way, number in requests.items()) or 'own server'})"
            )
            failures += status != 0
            print(f"{'ok' if status == 0 else 'FAILED'} {name}: {words.strip()}", flush=True)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
