"""A real client, recorded and replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from triplane.bridges.cassette import read_tape, record, replay

PROGRAM = Path(__file__).with_name("openai_events.py")


@pytest.fixture
async def client(nursery):
    """Let the program play with a server; returns the events that it saw."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await trio.lowlevel.open_process(
        [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )

    async def play(server):
        with trio.fail_after(60):
            await process.stdin.send_all(f"{server.base_url}\n".encode())
            line = bytearray()
            while not line.endswith(b"\n"):
                data = await process.stdout.receive_some()
                assert data, "the program failed"
                line += data
        return json.loads(line)

    async with process.stdin, process.stdout:
        yield play
    await process.wait()


async def test_openai_python_sees_the_same_events_in_a_replay(upstream, tape, client):
    server = await upstream()
    async with record(tape, upstream=server.http_url) as proxy:
        live = await client(proxy)
    async with replay(tape) as player:
        replayed = await client(player)

    assert replayed == live
    kinds = [event.get("type", event.get("object")) for event in live]
    assert kinds.count("response.completed") == 4
    assert kinds.count("error") == 1
    assert kinds[-1] == "response"
    assert [channel.asked.websocket for channel in read_tape(tape).channels] == [True, False, False]
    assert "sk-the-key" not in tape.read_text()
