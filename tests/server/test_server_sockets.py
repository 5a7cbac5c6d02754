"""The server on real sockets, and real clients against it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from server_client import Client, Closed, create
from trio_websocket import open_websocket_url

from descriptors import open_descriptors
from triplane.server import OptionError, serve, serve_stream

OPENAI_CLIENT = Path(__file__).with_name("openai_client.py")


async def dial(handle) -> Client:
    return await Client(await trio.open_tcp_stream(handle.host, handle.port)).connect()


async def test_the_handle(listening):
    async with listening() as handle:
        assert handle.host == "127.0.0.1"
        assert handle.url == f"ws://127.0.0.1:{handle.port}/v1/responses"
        assert handle.http_url == f"http://127.0.0.1:{handle.port}/v1"
        async with open_websocket_url(handle.url) as client:
            await client.send_message(json.dumps(create("hello")))
            assert json.loads(await client.get_message())["type"] == "response.created"
        assert handle.statistics().responses_created == 1


@pytest.mark.parametrize(
    ("host", "netloc"), [("localhost", None), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
async def test_hosts(listening, host, netloc):
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        async with listening(host=host) as handle:
            assert netloc is None or handle.url == f"ws://{netloc}:{handle.port}/v1/responses"
            async with open_websocket_url(handle.url):
                pass
    except* OSError:
        if ":" not in host:
            raise
        pytest.skip("no IPv6 here")


async def test_a_port_that_is_taken(listening):
    async with listening() as handle:
        with pytest.raises(OSError, match="[Aa]ddress already in use"):
            await serve(port=handle.port)


async def test_a_bad_option_is_reported_to_start(nursery):
    with pytest.raises(OptionError):
        await nursery.start(lambda task_status: serve(model="no such", task_status=task_status))


async def test_serve_without_start(nursery):
    """`serve` can be started with `start_soon` by those who choose the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nursery.start_soon(lambda: serve(port=port))
    await trio.testing.wait_all_tasks_blocked()

    async with open_websocket_url(f"ws://127.0.0.1:{port}/responses"):
        pass
    nursery.cancel_scope.cancel()


async def test_serve_stream(nursery):
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(lambda: serve_stream(theirs, model="directive"))
    client = await Client(ours).connect()

    assert (await client.ask("hello", model="any")).text == "echo: hello"
    await client.close()


async def test_many_clients_at_once(listening):
    texts = {}

    async def one(handle, number):
        client = await dial(handle)
        call = await client.ask(f"CALL t {number}")
        turn = await client.ask(call.outputs(call.calls[0]["arguments"]), previous_response_id=call.id)
        texts[number] = turn.text
        await client.close()
        await client.stream.aclose()

    async with listening() as handle:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, handle, number)
        assert texts == {number: f'RESULT: "{number}"' for number in range(50)}
        statistics = handle.statistics()
        assert (statistics.connections_opened, statistics.turns) == (50, 100)


async def test_cancelling_leaves_no_socket_behind(listening):
    before = open_descriptors("socket:")
    async with listening(close_timeout=0.05) as handle:
        streams = [await trio.open_tcp_stream(handle.host, handle.port)]  # says nothing
        streams.append(await trio.open_tcp_stream(handle.host, handle.port))
        await streams[-1].send_all(b"GET /v1/resp")
        busy = await dial(handle)
        await busy.send(create("SAY 999999999 x"))  # and does not read
        idle = await dial(handle)  # and does not answer our close frame
        streams += [busy.stream, idle.stream]
        with trio.fail_after(5):
            while not handle.statistics().events_sent:  # noqa: ASYNC110 - there is no event for this
                await trio.sleep(0.01)
        started = trio.current_time()

    assert trio.current_time() - started < 1
    assert len(open_descriptors("socket:") - before) == len(streams)
    for stream in streams:
        await stream.aclose()
    assert not open_descriptors("socket:") - before
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream(handle.host, handle.port)


async def test_clients_see_the_end_of_the_server(listening, nursery):
    ends = []

    async def read(client):
        with pytest.raises(Closed) as caught:
            await client.receive()
        ends.append(caught.value.code)
        await client.stream.aclose()

    async with listening() as handle:
        for _ in range(3):
            nursery.start_soon(read, await dial(handle))

    assert ends == [1001] * 3


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("too_large", [False, True])
async def test_sixteen_mebibytes(listening, too_large):
    """OpenAI's limit. A client that has a few bytes more must get the close frame and not a reset."""
    empty = '{"type":"response.create","model":"directive","input":""}'
    message = empty[:-2] + "x" * (16 * MEBIBYTE - len(empty) + too_large) + empty[-2:]
    async with listening() as handle:
        client = await dial(handle)
        with trio.fail_after(10):
            await client.send(message)
            if too_large:
                with pytest.raises(Closed) as caught:
                    await client.receive()
                assert caught.value.code == 1009
            else:
                assert (await client.turn()).text == "echo: " + "x" * 60
        await client.stream.aclose()


@pytest.mark.parametrize("flavour", ["sync", "async"])
async def test_the_openai_client(listening, flavour):
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    async with listening(model="directive", api_key="sk-test") as handle:
        with trio.fail_after(60):
            done = await trio.run_process(
                [sys.executable, str(OPENAI_CLIENT), flavour, handle.http_url],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=environment,
            )
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout) == {
            "text": "hm hm hm ",
            "calls": [["look", '{"at":"x"}'], ["look", "y"]],
            "result": 'RESULT: "seen 0"; "seen 1"',
            "cached": True,
            "warm_up": [[], 0],
            "after_warm_up": "echo: hello",
            "unknown": ["error", 400, "previous_response_not_found", "previous_response_id"],
            "last": "echo: still there?",
        }
        statistics = handle.statistics()
        assert (statistics.upgrades, statistics.turns, statistics.requests_refused) == (1, 5, 1)


URLLIB = """
import sys, urllib.request, urllib.error
print(urllib.request.urlopen(sys.argv[1] + "/models").read().decode())
try:
    urllib.request.urlopen(sys.argv[1] + "/responses", data=b"{}" * 100_000)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


async def test_plain_http_tools(listening):
    """curl, health checks and the like."""
    async with listening() as handle:
        done = await trio.run_process(
            [sys.executable, "-c", URLLIB, handle.http_url],
            capture_stdout=True,
            env={**os.environ, "no_proxy": "*"},
        )
    models, refused = done.stdout.decode().splitlines()
    assert [model["id"] for model in json.loads(models)["data"]] == [
        "directive",
        "echo",
        "mender",
        "surveyor",
    ]
    assert refused.startswith("415 {")


def test_the_openai_client_knows_nothing_of_us():
    assert "import triplane" not in OPENAI_CLIENT.read_text()
    subprocess.run([sys.executable, "-m", "py_compile", str(OPENAI_CLIENT)], check=True)
