"""Several lanes on real loopback sockets."""

from __future__ import annotations

from functools import partial

import pytest
import trio

import triplane
from triplane.protocol import ResponseCreate
from triplane.server import serve

AGENT = triplane.Agent("m")


def limits(**more) -> triplane.EngineOptions:
    return triplane.EngineOptions(**{"max_connections": 2, "lanes_per_connection": 8, **more})


async def test_200_runs_on_two_sockets(local_server) -> None:
    async with triplane.open_engine(triplane.Endpoint(local_server.url), options=limits()) as engine:
        inputs = [f"hello {number}" for number in range(200)]
        async with engine.fan_out(AGENT, inputs, max_runs=200) as results:
            texts = {result.index: result.result.text async for result in results}
        pool = engine.statistics().pool

    assert {number: f"echo: hello {number}" for number in range(200)} == texts
    assert (2, 0, 16, 0) == (pool.opened, pool.closed, pool.free, pool.dropped)
    assert {f"lane-{number}" for number in range(1, 9)} == {each.lane for each in local_server.requests}


@pytest.mark.parametrize("mode", ["azure", "spec"])
async def test_a_server_without_lanes(nursery, mode) -> None:
    server = await nursery.start(partial(serve, model="directive", mode=mode))
    async with triplane.open_engine(triplane.Endpoint(server.url), options=limits()) as engine:
        async with engine.fan_out(AGENT, ["hello"] * 20, max_runs=20) as results:
            texts = [result.result.text async for result in results]
        assert ["c1", "c2"] == sorted(lane.name for lane in engine.statistics().pool.lanes)

    assert ["echo: hello"] * 20 == texts


async def test_a_lane_that_is_not_read_beside_others_that_are(local_server) -> None:
    """The server goes on sending to the one, more than any buffer of the system holds, and answers the others."""
    endpoint = triplane.Endpoint(local_server.url, lanes="named")
    size = 8 * 2**20
    async with (
        triplane.open_engine(endpoint, options=limits(max_connections=1)) as engine,
        engine.lane() as slow,
    ):
        text = "x" * 2**16
        big = ResponseCreate(model="m", input=f"SAY {size // len(text)} {text}", store=False)
        turn = await slow.create(big)
        for number in range(20):
            assert f"echo: hi {number}" == (await engine.run(AGENT, f"hi {number}")).text
        with trio.fail_after(30):
            while engine.statistics().pool.connections[0].buffered < size:  # noqa: ASYNC110  # nothing tells
                await trio.sleep(0.01)
        assert size == len((await turn.wait()).text)
        assert 0 == engine.statistics().pool.connections[0].buffered


async def test_one_run_is_cancelled_and_its_neighbours_stream_on(local_server) -> None:
    endpoint = triplane.Endpoint(local_server.url, lanes="named")
    options = limits(max_connections=1, drain_timeout=0.02)
    async with triplane.open_engine(endpoint, options=options) as engine:
        texts: list[str] = []

        async def stream() -> None:
            texts.append((await engine.run(AGENT, "SAY 100 x\nWAIT 80\nSAY 100 y")).text)

        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(stream)
            async with engine.open_run(AGENT, "SAY 3 z\nWAIT 60\nSAY 3 z") as run:
                await anext(aiter(run))
        while engine.statistics().pool.draining:  # noqa: ASYNC110  # nothing tells
            await trio.sleep(0.01)
        assert "echo: hello" == (await engine.run(AGENT, "hello")).text
        assert (1, 0) == (engine.statistics().opened, engine.statistics().closed)

    assert ["x" * 100 + "y" * 100] * 7 == texts
