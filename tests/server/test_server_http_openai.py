"""The openai package over HTTP, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import trio

CLIENT = Path(__file__).with_name("openai_http_client.py")


async def test_the_openai_clients_over_http(listening):
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    async with listening(model="directive", api_key="sk-test") as handle:
        with trio.fail_after(60):
            done = await trio.run_process(
                [sys.executable, str(CLIENT), handle.http_url],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=environment,
            )
        statistics = handle.statistics()

    assert done.returncode == 0, done.stderr.decode()
    synchronous, asynchronous = json.loads(done.stdout)
    assert synchronous == {
        "text": ["hm hm hm ", True],
        "events": [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ],
        "stream": ["echo: and now?", True],
        "retrieved": True,
        "input_items": [["user", "and now?"]],
        "background": ["queued", "cancelled"],
        "read_again": True,
        "compacted": ["message", "message", "compaction"],
        "after_compaction": "completed",
        "input_tokens": True,
        "models": ["directive", "echo", "mender", "surveyor"],
        "model": "directive",
        "deleted": [True, 404],
        "unknown": [True, "previous_response_not_found", "previous_response_id"],
    }
    assert asynchronous == synchronous
    assert (statistics.requests_refused, statistics.connections_opened) == (2, 2)


def test_the_openai_client_knows_nothing_of_us():
    assert "import triplane" not in CLIENT.read_text()
