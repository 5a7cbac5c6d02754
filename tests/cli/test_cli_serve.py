"""The server as a command."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from cli_process import triplane

import triplane as package
from triplane import Agent, ConnectFailed, Endpoint, ServerError
from triplane.cli import main

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
