"""Servers for tests: beside a Trio test, and for tests on other loops or on none."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest
import trio

import triplane
from triplane.server import Drop, OptionError, Text, Turn
from triplane.testing import open_server, start_server

pytest_plugins = ["pytest_triplane"]


async def test_a_server_on_the_clock_of_the_test(autojump_clock):
    async with open_server(latency=300) as (server, network):
        async with triplane.open_engine(triplane.Endpoint(server.url), network=network) as engine:
            result = await engine.run(triplane.Agent("any"), "SAY 2 hm ")
        assert result.text == "hm hm "
        server.expect(count=1, model="any", text="SAY", transport="websocket")
    assert trio.current_time() >= 300


async def test_faults_can_be_added_to_a_running_server(autojump_clock):
    async with open_server() as (server, network):
        server.faults.add(Drop(after_events=3, nth=1), Drop(nth=99))
        async with triplane.open_engine(triplane.Endpoint(server.url), network=network) as engine:
            result = await engine.run(triplane.Agent("any"), "hello")
        assert result.reconnects == 1
        assert len(server.faults.pending) == 1
        server.faults.clear()
        assert server.faults.pending == ()


async def test_a_script_that_is_not_used_up_fails_when_the_block_is_left():
    with pytest.raises(AssertionError, match="turn 1 was not used"):
        async with open_server() as (server, _):
            server.script("hello")


async def test_the_blocks_own_error_comes_out_as_it_is():
    with pytest.raises(KeyError, match="mine"):
        async with open_server() as (server, network):
            server.script("hello")
            await network.connect()
            raise KeyError("mine")


async def test_a_trio_test_can_use_the_fixture(responses_server):
    async with triplane.open_engine(triplane.Endpoint(responses_server.url)) as engine:
        assert (await engine.run(triplane.Agent("any"), "SAY 1 from trio")).text == "from trio"
    assert responses_server.statistics().turns == 1


HELLO = json.dumps({"model": "any", "input": "SAY 1 hello"}).encode()
POST = (
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(HELLO)
) + HELLO


def test_an_asyncio_test_can_use_the_fixture(responses_server):
    async def main():
        host, _, port = responses_server.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(POST)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        # All of this blocks the loop for next to no time.
        assert responses_server.requests[0].response["status"] == "completed"
        responses_server.faults.clear()
        return answer

    assert b'"hello"' in asyncio.run(main())


def test_a_server_stops_at_once_though_a_client_is_connected():
    with start_server() as server:
        host, _, port = server.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
        client = socket.create_connection((host, int(port)))
        started = time.monotonic()
    with client:
        assert time.monotonic() - started < 5
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_wrong_options_are_told_at_once():
    with pytest.raises(OptionError, match="no model 'no such model'"), start_server(model="no such model"):
        pass


def test_one_of_several_models_cannot_be_replaced():
    with start_server(model={"a": "directive"}) as server:
        with pytest.raises(RuntimeError, match="several models"):
            server.script("x")
        with pytest.raises(RuntimeError, match="several models"):
            server.use("echo")
        server.check()


def test_another_built_in_model_can_take_over(responses_server):
    responses_server.use("surveyor")
    with pytest.raises(KeyError, match="no such"):
        responses_server.use("no such")


def test_a_model_may_look_at_its_own_server(responses_server):
    def says(request):
        return [Text(f"request number {len(responses_server.requests)}")]

    responses_server.script(Turn(says))
    host, _, port = responses_server.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(POST)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b'"request number 1"' in answer
