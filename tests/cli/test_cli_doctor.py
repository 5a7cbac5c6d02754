"""``triplane doctor``: what it writes, its exit status, and that no key is in it."""

from __future__ import annotations

import json
import signal
from functools import partial

import pytest
import trio
from cli_process import triplane

from triplane import Endpoint
from triplane.cli import main
from triplane.cli.doctor import examine_once
from triplane.cli.screen import Screen
from triplane.server import RefuseUpgrade, serve

KEY = "sk-very-secret-indeed"


@pytest.fixture
def examined(nursery, capfd):
    """Examines a local server with some options, as the command does; exit status, standard output and error."""

    async def make(*, as_json: bool = False, key: str | None = KEY, **options) -> tuple[int, str, str]:
        handle = await nursery.start(partial(serve, **options))
        endpoint = Endpoint(handle.url, api_key=key)
        status = await examine_once(endpoint, Screen([key]), model=None, patience=30, as_json=as_json)
        captured = capfd.readouterr()
        assert KEY not in captured.out + captured.err
        return status, captured.out, captured.err

    return make


async def test_a_healthy_server(examined) -> None:
    status, out, err = await examined(api_key=KEY)

    assert 0 == status
    assert err.startswith("Examining ws://127.0.0.1:")
    lines = out.splitlines()
    assert "10 ok, 4 skipped" == lines[-1]
    assert lines[0].startswith("url           ok                ws://127.0.0.1:")
    assert "auth          ok                the key was accepted" in lines
    # Skipped for different reasons, so each on its own line.
    assert "proxy         skipped           none: the way is direct" in lines
    # For a pipe there are no colours, and a line stays a line.
    assert "\x1b" not in out
    assert 16 == len(lines)


async def test_a_server_that_refuses_the_key(examined) -> None:
    status, out, _err = await examined(api_key="another-key")

    assert 1 == status
    assert "2 checks failed, 2 ok, 10 skipped" == out.splitlines()[-1]
    assert "auth          failed            the server at ws://127.0.0.1:" in out
    assert "→ check that the key is whole" in out
    # Those that were skipped for one reason share a line.
    assert "skipped           ping, turn, continuation, warm-up, lanes: the key was refused" in out


async def test_what_a_server_says_is_told_without_the_key_in_it(examined) -> None:
    """Some servers repeat the key in their refusal; and none may move the cursor."""
    body = json.dumps({"error": {"message": f"\x1b[2J wrong key {KEY}"}}).encode()
    status, out, _err = await examined(faults=[RefuseUpgrade(401, body=body)], as_json=True)

    assert 1 == status
    report = json.loads(out)
    (auth,) = [check for check in report["checks"] if check["check"] == "auth"]
    assert "wrong key ***" in auth["facts"]["body"]


async def test_the_report_as_json(examined) -> None:
    status, out, _err = await examined(api_key=KEY, as_json=True, mode="xai")

    report = json.loads(out)
    assert (0, True, 14) == (status, report["healthy"], len(report["checks"]))
    checks = {check["check"]: check for check in report["checks"]}
    assert ("skipped", {"lanes": False}) == (checks["lanes"]["status"], checks["lanes"]["facts"])
    assert ("ok", "echo") == (checks["turn"]["status"], checks["turn"]["facts"]["model"])
    assert 0 < checks["ping"]["facts"]["round_trip_seconds"] == checks["ping"]["seconds"]
    assert checks["auth"]["advice"] is None


def test_a_url_that_cannot_be_one(capsys, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert 1 == main(["doctor", "--url", "ftp://example.com"])
    out = capsys.readouterr().out
    assert "url           failed" in out
    assert "1 check failed, 0 ok, 13 skipped" in out


def test_a_key_that_cannot_be_one(capsys, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-with a newline\n")

    assert 1 == main(["doctor", "--url", "ws://127.0.0.1:9/v1", "--json"])
    report = json.loads(capsys.readouterr().out)
    failed = [check for check in report["checks"] if check["status"] == "failed"]
    assert ["auth"] == [check["check"] for check in failed]
    assert "newline" not in failed[0]["found"]


def test_a_variable_that_is_not_set(capsys, monkeypatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)

    assert 2 == main(["doctor", "--api-key-env", "NO_SUCH_KEY"])
    assert "NO_SUCH_KEY of --api-key-env is not set" in capsys.readouterr().err


def test_without_a_url_it_is_openai(capsys, monkeypatch) -> None:
    """Where its name leads is none of this machine's business here."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    assert 1 == main(["doctor"])
    captured = capsys.readouterr()
    assert "Examining wss://api.openai.com/v1/responses" in captured.err
    assert "no TCP connection to 127.0.0.1 port 9" in captured.out
    assert "60 min, as documented" in captured.out


def test_ctrl_c_ends_it(tmp_path) -> None:
    """A server that accepts and says nothing."""

    async def silence(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async def interrupted() -> int:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, silence, 0, host="127.0.0.1"))
            url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"

            def run() -> int:
                with triplane(tmp_path, "doctor", "--url", url) as process:
                    process.wait_for("tcp ")
                    status, _took = process.end(signal.SIGINT)
                    assert "interrupted; nothing is left running" in process.err
                    return status

            status = await trio.to_thread.run_sync(run)
            nursery.cancel_scope.cancel()
        return status

    assert 130 == trio.run(interrupted)
