"""The server as a command."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio
from cli_process import triplane

import triplane as package
from triplane import Agent, ConnectFailed, Endpoint, ServerError
from triplane.cli import main
from triplane.server.options import Options

if TYPE_CHECKING:
    from pathlib import Path


async def ask(url: str, model: str, prompt: str, key: str | None = None) -> str:
    async with package.open_engine(Endpoint(url, api_key=key)) as engine:
        return (await engine.run(Agent(model), prompt)).text


def test_the_ready_line_is_the_url_and_it_works(tmp_path: Path) -> None:
    with triplane(tmp_path / "p", "serve", "--model", "directive") as process:
        process.wait_for("\n")
        url = process.out.removesuffix("\n")

        assert url.startswith("ws://127.0.0.1:")
        assert url.endswith("/v1/responses")
        assert "hello" == trio.run(ask, url, "any-name", "SAY 1 hello")


def test_a_strict_server_with_a_key(tmp_path: Path) -> None:
    options = ("--model", "directive", "--strict-models", "--api-key-env", "MY_KEY")
    with triplane(tmp_path / "p", "serve", *options, MY_KEY="sk-the-server-key") as process:
        process.wait_for("\n")
        url = process.out.strip()

        assert "echo: hi" == trio.run(ask, url, "directive", "hi", "sk-the-server-key")
        with pytest.raises(ServerError, match="model_not_found"):
            trio.run(ask, url, "any-name", "hi", "sk-the-server-key")
        with pytest.raises(ConnectFailed) as refused:
            trio.run(ask, url, "directive", "hi", "sk-another-key")
        process.end()
        assert "the-server-key" not in process.out + process.err
    assert 401 == refused.value.status


def test_a_port_in_use_is_one_line(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert 1 == main(["serve", "--port", str(port)])

    captured = capsys.readouterr()
    assert f"triplane: cannot listen on 127.0.0.1 port {port}: Address already in use\n" == captured.err
    assert "" == captured.out


def test_a_host_that_is_not_ours_is_one_line(capsys) -> None:
    assert 1 == main(["serve", "--host", "192.0.2.1"])

    assert (
        "triplane: cannot listen on 192.0.2.1 port 0: Cannot assign requested address\n"
        == capsys.readouterr().err
    )


def test_faults_and_chaos(tmp_path: Path) -> None:
    faults = ("--fault", '{"fault":"refuse_upgrade","status":403}', "--chaos", "7", "--chaos-rate", "0")
    with triplane(tmp_path / "p", "serve", "--model", "directive", *faults) as process:
        process.wait_for("\n")

        with pytest.raises(ConnectFailed) as refused:
            trio.run(ask, process.out.strip(), "any-name", "hi")

    assert 403 == refused.value.status


def test_who_else_is_let_in(monkeypatch) -> None:
    given = {}

    async def serve(_screen, **options) -> None:
        given.update(options)

    monkeypatch.setattr("triplane.cli.serve.serve_until_interrupted", serve)
    page = "https://app.example"
    main(["serve", "--allow-host", "box", "--allow-host", "box.lan", "--allow-origin", page])

    assert (("box", "box.lan"), (page,)) == (given["allowed_hosts"], given["allowed_origins"])


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("explode", "There is no fault 'explode'."),
        ('{"fault":', "--fault is not JSON"),
        ('{"fault":"drop","after_events":"x"}', "after_events must be a whole number, not str"),
    ],
)
def test_a_fault_that_is_none_is_one_line(capsys, fault: str, complaint: str) -> None:
    assert 2 == main(["serve", "--fault", fault])

    captured = capsys.readouterr()
    assert complaint in captured.err
    assert 1 == captured.err.count("\n")


def test_how_it_behaves_can_be_said(monkeypatch) -> None:
    class GivenUpError(Exception):
        pass

    async def serve(*, host: str, port: int, task_status: object, **given: Any) -> None:
        await trio.lowlevel.checkpoint()
        options = Options(**given)
        said = (options.mode, options.max_age, options.delta_delay, options.seed)
        raise GivenUpError(repr(said))

    monkeypatch.setattr("triplane.cli.serve.serve", serve)

    arguments = ["--mode", "azure", "--max-age", "90", "--delta-delay", "0.05", "--seed", "3"]
    with pytest.raises(GivenUpError) as caught:
        main(["serve", *arguments])

    assert "('azure', 90.0, 0.05, 3)" == str(caught.value)


@pytest.mark.parametrize("arguments", [["--mode", "bing"], ["--max-age", "0"], ["--seed", "x"]])
def test_what_it_cannot_be_is_one_line(capsys, arguments) -> None:
    assert 2 == main(["serve", *arguments])
    assert f"triplane serve: Invalid value for '{arguments[0]}'" in capsys.readouterr().err
