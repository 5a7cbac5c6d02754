"""Whole runs on every wire: what a run does does not depend on the library that frames the bytes."""

from __future__ import annotations

import ssl

import pytest
import trio
import trustme

import triplane
from triplane.protocol import ResponseOutputTextDelta
from triplane.server import CloseSocket, Drop, Server, Stall

pytestmark = pytest.mark.parametrize("wire", ["trio-websocket", "websockets"])


@pytest.mark.parametrize(
    "fault",
    [
        Drop(0, nth=1),
        Drop(4, nth=2),
        CloseSocket(4, code=1000, nth=2),
        CloseSocket(2, code=1012, nth=1),
        Stall(3, nth=1),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_run_survives_what_happens_to_its_connection(bench, autojump_clock, wire, fault) -> None:
    executed: list[int] = []

    @triplane.tool
    async def note(number: int) -> str:
        """Do something that must happen once."""
        executed.append(number)
        return f"noted {number}"

    options = triplane.EngineOptions(first_event_timeout=30, idle_timeout=30)
    endpoint = triplane.Endpoint("ws://memory/v1", wire=wire)
    async with bench(options=options, endpoint=endpoint, faults=[fault]) as b:
        result = await b.engine.run(triplane.Agent("m", "", [note]), 'CALL note {"number": 1}')

    assert 'RESULT: "noted 1"' == result.text
    assert [1] == executed


async def test_a_request_that_is_too_large_is_not_sent_again(bench, autojump_clock, wire) -> None:
    endpoint = triplane.Endpoint("ws://memory/v1", wire=wire)
    async with bench(endpoint=endpoint, faults=[CloseSocket(0, code=1009)]) as b:
        with pytest.raises(triplane.ConnectionLost, match="the request is too large") as caught:
            await b.engine.run(triplane.Agent("m"), "hello")

    assert (1009, "peer") == (caught.value.close.code, caught.value.close.by)
    assert 1 == b.engine.statistics().opened


async def test_a_consumer_that_sleeps_for_a_minute_costs_no_connection(bench, autojump_clock, wire) -> None:
    options = triplane.EngineOptions(heartbeat_interval=5, heartbeat_timeout=5, max_unread=20_000)
    endpoint = triplane.Endpoint("ws://memory/v1", wire=wire)
    async with (
        bench(options=options, endpoint=endpoint) as b,
        b.engine.open_run(triplane.Agent("m"), "SAY 800 word ") as run,
    ):
        pieces: list[str] = []
        async for event in run:
            if isinstance(event, ResponseOutputTextDelta):
                if len(pieces) in (0, 300):
                    await trio.sleep(60)
                pieces.append(event.delta)

    assert "word " * 800 == "".join(pieces) == run.result.text
    assert 0 == run.result.reconnects
    assert 1 == b.engine.statistics().opened


async def test_many_runs_share_few_connections(bench, autojump_clock, wire) -> None:
    options = triplane.EngineOptions(max_connections=2)
    endpoint = triplane.Endpoint("ws://memory/v1", wire=wire)
    inputs = [f"input {number}" for number in range(20)]
    async with (
        bench(options=options, endpoint=endpoint) as b,
        b.engine.fan_out(triplane.Agent("m"), inputs, ordered=True) as results,
    ):
        texts = [each.result.text async for each in results]

    assert [f"echo: {text}" for text in inputs] == texts
    assert 2 == b.engine.statistics().opened


async def test_a_run_over_tls_on_a_real_socket(nursery, wire) -> None:
    authority = trustme.CA()
    served, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(served)
    authority.configure_trust(trusting)
    server = Server(model="directive")

    async def serve(*, task_status) -> None:
        await trio.serve_ssl_over_tcp(
            server.handle, 0, served, host="127.0.0.1", https_compatible=True, task_status=task_status
        )

    (listener,) = await nursery.start(serve)
    port = listener.transport_listener.socket.getsockname()[1]
    endpoint = triplane.Endpoint(f"wss://localhost:{port}/v1", wire=wire, ssl_context=trusting)
    async with triplane.open_engine(endpoint) as engine:
        result = await engine.run(triplane.Agent("m", "x" * 300_000), "SAY 500 word ")

    assert "word " * 500 == result.text
    nursery.cancel_scope.cancel()
