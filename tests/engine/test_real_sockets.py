"""The same over real loopback sockets: nothing here is faked."""

from __future__ import annotations

import socket
from functools import partial

import pytest
import trio

import triplane
from descriptors import open_descriptors
from triplane.server import serve

AGENT = triplane.Agent("m", "Be terse.")


@triplane.tool(effect="read")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_a_run_with_tools(local_server) -> None:
    before = open_descriptors("socket:")
    async with triplane.open_engine(triplane.Endpoint(local_server.url)) as engine:
        agent = triplane.Agent("m", "", [add])
        result = await engine.run(agent, 'REPEAT 3 CALL add {"a": 1, "b": 2}')
        assert len(open_descriptors("socket:") - before) == 2

    assert 'RESULT: "3"' == result.text
    assert ("completed", 4) == (result.status, result.turns)
    assert (1, 1) == (engine.statistics().opened, engine.statistics().closed)


async def test_no_socket_is_left_behind(nursery) -> None:
    before = open_descriptors("socket:")
    async with trio.open_nursery() as servers:
        handle = await servers.start(partial(serve, model="directive"))
        async with triplane.open_engine(triplane.Endpoint.local(handle.port)) as engine:
            async with engine.fan_out(AGENT, ["SAY 5 x"] * 30, max_runs=30) as results:
                assert 30 == len([result async for result in results])
            assert open_descriptors("socket:") - before
        servers.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()

    assert not open_descriptors("socket:") - before
    assert 4 == engine.statistics().opened == engine.statistics().closed


async def test_a_dead_port_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    options = triplane.EngineOptions(dial_attempts=2, backoff_base=0.01)
    async with triplane.open_engine(triplane.Endpoint.local(port), options=options) as engine:
        with pytest.raises(triplane.ConnectFailed, match="is a server running there") as caught:
            await engine.run(AGENT, "hello")

    assert ("tcp", None, 2) == (caught.value.stage, caught.value.status, caught.value.attempts)
    assert ("nothing", "retry") == (caught.value.receipt.sent, caught.value.receipt.next)


async def test_a_name_that_does_not_resolve_is_one_clear_error() -> None:
    options = triplane.EngineOptions(dial_attempts=1)
    async with triplane.open_engine(triplane.Endpoint("ws://nowhere.invalid/v1"), options=options) as engine:
        with pytest.raises(triplane.ConnectFailed, match=r"nowhere\.invalid") as caught:
            await engine.run(AGENT, "hello")

    assert "dns" == caught.value.stage


async def test_a_wrong_key_is_one_clear_error(nursery) -> None:
    handle = await nursery.start(partial(serve, model="directive", api_key="right"))
    async with triplane.open_engine(triplane.Endpoint.local(handle.port, api_key="wrong")) as engine:
        with pytest.raises(triplane.ConnectFailed, match="check the API key") as caught:
            await engine.run(AGENT, "hello")
    async with triplane.open_engine(triplane.Endpoint.local(handle.port, api_key="right")) as engine:
        assert "echo: hello" == (await engine.run(AGENT, "hello")).text

    assert (401, "change") == (caught.value.status, caught.value.receipt.next)
    assert "Incorrect API key" in caught.value.body


async def test_a_path_that_has_no_websocket_is_one_clear_error(local_server) -> None:
    endpoint = triplane.Endpoint(f"http://127.0.0.1:{local_server.port}/elsewhere")
    async with triplane.open_engine(endpoint) as engine:
        with pytest.raises(triplane.ConnectFailed, match="check the path") as caught:
            await engine.run(AGENT, "hello")

    assert 404 == caught.value.status


async def test_a_server_that_speaks_something_else_is_one_clear_error(nursery) -> None:
    async def banner(stream: trio.SocketStream) -> None:
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        await stream.receive_some()

    (listener,) = await nursery.start(partial(trio.serve_tcp, banner, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    options = triplane.EngineOptions(dial_attempts=1, upgrade_timeout=5)
    async with triplane.open_engine(triplane.Endpoint.local(port), options=options) as engine:
        with pytest.raises(triplane.ConnectFailed) as caught:
            await engine.run(AGENT, "hello")

    assert "upgrade" == caught.value.stage
