"""Which library frames the bytes: a choice of the endpoint, imported only when it is used."""

from __future__ import annotations

import importlib.metadata
import logging
import subprocess
import sys

import pytest

from triplane import ConfigError, Endpoint
from triplane.net import wire as wires


@pytest.fixture
def forgetful():
    """`require_library` looks anew before and after the test."""
    wires.require_library.cache_clear()
    yield
    wires.require_library.cache_clear()


def test_a_missing_library_is_told_when_the_endpoint_is_made(monkeypatch, forgetful) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ConfigError, match=r"it is not installed: pip install 'triplane\[fast\]'"):
        Endpoint("ws://host/v1", wire="websockets")
    Endpoint("ws://host/v1")


@pytest.mark.parametrize(
    ("version", "fits"), [("14.2", False), ("15.0", True), ("17.9.1", True), ("18.0", False)]
)
def test_a_version_that_will_not_do_is_told(monkeypatch, forgetful, version, fits) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: version)
    if fits:
        Endpoint("ws://host/v1", wire="websockets")
    else:
        with pytest.raises(ConfigError, match=f"version 15 to 17, and {version} is installed"):
            Endpoint("ws://host/v1", wire="websockets")


def test_unknown_wires_and_compressions_are_told() -> None:
    with pytest.raises(ConfigError, match="'trio-websocket', 'websockets'"):
        Endpoint("ws://host/v1", wire="aiohttp")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match='takes "deflate" or None'):
        Endpoint("ws://host/v1", wire="websockets", compression="gzip")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="trio-websocket cannot compress"):
        Endpoint("ws://host/v1", compression="deflate")


def test_endpoints_of_two_wires_share_no_connection() -> None:
    assert Endpoint("ws://host/v1") != Endpoint("ws://host/v1", wire="websockets")


def test_no_library_is_imported_before_it_is_used() -> None:
    program = (
        "import sys, triplane; triplane.Endpoint('ws://host/v1', wire='websockets');"
        "print(sorted({'websockets', 'websockets.client', 'trio_websocket'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]" == printed.stdout.strip()


async def test_the_key_is_in_no_log_of_a_library(rig, nursery, autojump_clock, caplog) -> None:
    """`websockets` logs the headers of the upgrade when it is asked for details."""
    caplog.set_level(logging.DEBUG)
    for name in ("websockets", "websockets.client", "trio-websocket", "wsproto"):
        caplog.set_level(logging.DEBUG, name)
    r = rig(endpoint=Endpoint("ws://host/v1", api_key="sk-secret", headers={"X-Secret": "sk-secret"}))
    await r.open(nursery)
    r.connection.begin_use()
    await r.connection.send("request")
    await r.peer.text("answer")
    assert ("answer",) == await r.connection.receive()
    r.connection.close()
    nursery.start_soon(r.peer.answer)
    await r.ended.wait()

    assert "sk-secret" not in caplog.text
