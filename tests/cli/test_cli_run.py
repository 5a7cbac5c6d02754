"""One run on the command line: the answer on one stream, everything else on the other."""

from __future__ import annotations

import json
import os
import pty
import sys
from functools import partial

import attrs
import pytest
import trio
from cli_process import CLEAN

from triplane import Agent, Endpoint
from triplane.cli.run import run_once
from triplane.cli.screen import Screen
from triplane.server import CloseSocket, Drop, RefuseUpgrade, serve
from triplane.tools import workspace

KEY = "sk-very-secret-indeed"


@attrs.frozen
class Ended:
    """What a run left: its exit status and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(capfd):
    """Run in this process; `wanted_json` and `tools` are what the options of the command make of them."""

    async def run(url: str, prompt: str, *, tools=(), wanted_json: bool = False) -> Ended:
        agent = Agent("m", tools=tools)
        status = await run_once(agent, prompt, Endpoint(url, api_key=KEY), Screen([KEY]), as_json=wanted_json)
        return Ended(status, *capfd.readouterr())

    return run


@pytest.fixture
async def directive(nursery):
    return await nursery.start(partial(serve, model="directive"))


async def test_the_final_text_alone_is_the_output(run, directive, tmp_path) -> None:
    (tmp_path / "file.txt").write_text("x\n")
    prompt = 'SAY 2 thinking\nCALL list_files {"path": "."}\nCALL nonesuch {}\nCALL read_text {"path": "/etc/passwd"}'

    ended = await run(directive.url, prompt, tools=workspace(tmp_path))

    assert 0 == ended.status, ended.err
    assert ended.out.startswith('RESULT: "2\\tfile.txt')
    assert 1 == ended.out.count("\n")
    for line in (
        "turn 1: 1 item, ",
        '] list_files {"path": "."}',
        "] ok (",
        "[-] nonesuch failed (There is no tool named 'nonesuch'",
        "] failed (",
        "turn 2: 3 items, ",
        "completed after 2 turns and 3 tool calls; ",
    ):
        assert line in ended.err
    assert "\x1b" not in ended.err


async def test_a_failed_run_says_what_is_safe_next(run, nursery) -> None:
    handle = await nursery.start(partial(serve, model=None))

    ended = await run(handle.url, "hi")

    assert (1, "") == (ended.status, ended.out)
    first, second = ended.err.splitlines()[-2:]
    assert first.startswith("ServerError: the server answered model_not_found")
    assert second.startswith("the server had answered; safe next: change the request")


async def test_lost_connections_and_retries_are_told(run, nursery) -> None:
    handle = await nursery.start(partial(serve, model="directive", faults=[Drop(after_events=5, nth=1)]))

    ended = await run(handle.url, "SAY 3 abc")

    assert (0, "abcabcabc\n") == (ended.status, ended.out)
    assert "lost connection c1 (1006" in ended.err
    assert "turn 1 is tried again (connection lost)" in ended.err
    assert "turn 1, attempt 2: " in ended.err
    assert "1 reconnect" in ended.err.splitlines()[-1]


async def test_as_a_command_it_goes_by_the_transport_that_it_is_told(nursery) -> None:
    handle = await nursery.start(partial(serve, model="directive", faults=[RefuseUpgrade(426)]))
    over_http = await command(handle, "--transport", "http", "SAY 1 x")
    automatic = await command(handle, "--transport", "auto", "SAY 1 x")

    assert [(0, "x\n")] * 2 == [(ended.status, ended.out) for ended in (over_http, automatic)]
    assert "goes on over" not in over_http.err
    assert "goes on over HTTP (websocket unsupported)" in automatic.err


async def test_json_is_one_event_on_a_line_and_nothing_else(run, directive, tmp_path) -> None:
    ended = await run(
        directive.url, 'CALL list_files {"path": "."}', tools=workspace(tmp_path), wanted_json=True
    )

    events = [json.loads(line) for line in ended.out.splitlines()]
    kinds = [event["type"] for event in events]
    assert ["triplane.run_started", "triplane.request_sent", "response.created"] == kinds[:3]
    assert "triplane.run_ended" == kinds[-1]
    assert kinds.index("triplane.tool_started") < kinds.index("triplane.tool_finished")
    finished = next(event for event in events if event["type"] == "triplane.tool_finished")
    assert ("list_files", "ok") == (finished["name"], finished["outcome"]["kind"])
    assert (0, "") == (ended.status, ended.err)


async def test_json_of_a_failed_run_ends_with_its_end(run, nursery) -> None:
    handle = await nursery.start(
        partial(serve, model="directive", faults=[CloseSocket(after_events=2, code=1008)])
    )

    ended = await run(handle.url, "hi", wanted_json=True)

    last = json.loads(ended.out.splitlines()[-1])
    assert 1 == ended.status
    assert ("triplane.run_ended", "failed", "ConnectionLost") == (
        last["type"],
        last["status"],
        last["reason"],
    )
    assert ended.err.startswith("ConnectionLost: ")


async def test_a_server_that_echoes_the_key_does_not_show_it(run, nursery) -> None:
    """A wrong URL can be anybody's server; what it says comes back in errors."""

    async def echo(stream: trio.SocketStream) -> None:
        request = await stream.receive_some(65536)
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization"))
        body = b"bad key: " + key
        await stream.send_all(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await stream.aclose()

    (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))

    ended = await run(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1", "hi")

    assert 1 == ended.status
    assert "ConnectFailed: " in ended.err
    assert "very-secret" not in ended.err + ended.out


async def command(handle, *arguments: str, stdin: bytes = b"") -> Ended:
    ended = await trio.run_process(
        [sys.executable, "-m", "triplane", "run", "--model", "m", "--url", handle.url, *arguments],
        stdin=stdin,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=CLEAN,
    )
    return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


async def test_as_a_command_it_runs_commands_only_when_allowed(directive, tmp_path) -> None:
    call = 'CALL run_command {"command": "echo it ran"}'
    ended = {}

    async def attempt(name: str, *options: str) -> None:
        ended[name] = await command(directive, "--tools", f"workspace:{tmp_path}", *options, call)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, "refused")
        nursery.start_soon(attempt, "allowed", "--allow-commands")

    assert "There is no tool named 'run_command'" in ended["refused"].out
    assert "it ran" in ended["allowed"].out
    assert [0, 0] == [each.status for each in ended.values()]


async def test_as_a_command_it_reads_its_prompt_from_standard_input(directive) -> None:
    ended = {}

    async def attempt(name: str, stdin: bytes) -> None:
        ended[name] = await command(directive, "-", stdin=stdin)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, "text", "SAY 1 from a pipe é".encode())
        nursery.start_soon(attempt, "bytes", b"\xff")

    assert (0, "from a pipe é\n") == (ended["text"].status, ended["text"].out)
    assert Ended(2, "", "triplane run: the prompt is not UTF-8.\n") == ended["bytes"]


async def test_on_a_terminal_text_appears_as_it_is_written_and_cannot_command_it(directive) -> None:
    master, slave = pty.openpty()
    process = await trio.lowlevel.open_process(
        [
            *(sys.executable, "-m", "triplane", "run", "--model", "m", "--url", directive.url),
            "SAY 3 ab\x1b[2J\x1b]0;x\x07c ",
        ],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**CLEAN, "TERM": "xterm", "COLUMNS": "200"},
    )
    os.close(slave)
    written = b""
    with trio.fail_after(20):
        try:
            while chunk := await trio.to_thread.run_sync(os.read, master, 65536, abandon_on_cancel=True):
                written += chunk
        except OSError:  # how Linux says that the last writer has gone
            pass
        status = await process.wait()
    os.close(master)

    assert 0 == status
    assert b"ab]0;xc ab]0;xc ab]0;xc \r\n" in written
    assert b"\x1b[2J" not in written
    assert b"\x1b]" not in written
