"""The Codex CLI with the local server as its provider, over WebSocket: `codex exec` runs a shell command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = """
model = "directive"
model_provider = "local"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.local]
name = "local"
base_url = "{base_url}"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
supports_websockets = true
request_max_retries = 0
stream_max_retries = 0
"""
CODEX = Path("node_modules") / ".bin" / "codex"

with tempfile.TemporaryDirectory() as folder:
    home, work = Path(folder, "home"), Path(folder, "work")
    home.mkdir()
    work.mkdir()
    (home / "config.toml").write_text(CONFIG.format(base_url=os.environ["OPENAI_BASE_URL"]))
    arguments = json.dumps({"cmd": "echo made by codex | tee made.txt"})
    done = subprocess.run(
        [CODEX.resolve(), "exec", "--json", "--skip-git-repo-check", f"CALL exec_command {arguments}"],
        cwd=work,
        env={**os.environ, "CODEX_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        sys.exit(f"codex exec ended with status {done.returncode}\n{done.stdout}\n{done.stderr}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    items = [event["item"] for event in events if event["type"] == "item.completed"]

    (command,) = [item for item in items if item["type"] == "command_execution"]
    assert (command["exit_code"], command["aggregated_output"]) == (0, "made by codex\n"), command
    assert (work / "made.txt").read_text() == "made by codex\n"
    (answer,) = [item["text"] for item in items if item["type"] == "agent_message"]
    assert answer.startswith("RESULT: ")
    assert "made by codex" in answer
    assert events[-1]["type"] == "turn.completed"

print("codex exec ran a shell command, over WebSocket")
