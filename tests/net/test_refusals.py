"""Upgrades that are refused: by status, what is done about it and when, and what the error says as a fact."""

from __future__ import annotations

import itertools
import random
from email.utils import formatdate

import pytest
import trio
import trio.testing

import triplane
from triplane import ConnectFailed, Endpoint, EngineOptions, Network
from triplane.net.dial import Dialler
from triplane.net.refusal import refused
from triplane.server import RefuseUpgrade

AGENT = triplane.Agent("m")


@pytest.mark.parametrize("status", [404, 405, 426, 200, 204])
async def test_a8_no_websocket_mode_is_a_fact_and_not_tried_again(bench, autojump_clock, status) -> None:
    async with bench(faults=[RefuseUpgrade(status)]) as b:
        with pytest.raises(ConnectFailed) as caught:
            await b.engine.run(AGENT, "hello")
        assert 1 == b.network.opened

    assert (status, True, False, False, "change") == (
        caught.value.status,
        caught.value.is_unsupported,
        caught.value.is_transient,
        caught.value.is_auth_refusal,
        caught.value.receipt.next,
    )


async def test_a6_a_403_is_not_tried_again_unless_asked(bench, autojump_clock) -> None:
    async with bench(faults=[RefuseUpgrade(403, nth=1)]) as b:
        with pytest.raises(ConnectFailed, match="too many connections"):
            await b.engine.run(AGENT, "hello")

    assert (0, 1) == (trio.current_time(), b.network.opened)


async def test_a6_a_403_gets_one_cooled_retry_if_asked(bench, autojump_clock) -> None:
    options = EngineOptions(forbidden_delay=20)
    async with bench(options=options, faults=[RefuseUpgrade(403, nth=1)]) as b:
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text
        assert (20, 2) == (trio.current_time(), b.network.opened)


async def test_a6_a_403_that_stays_ends_it_after_one_cooled_retry(bench, autojump_clock) -> None:
    options = EngineOptions(forbidden_delay=20)
    async with bench(options=options, faults=[RefuseUpgrade(403)]) as b:
        with pytest.raises(ConnectFailed):
            await b.engine.run(AGENT, "hello")

    assert (20, 2) == (trio.current_time(), b.network.opened)


async def test_a6_nobody_else_dials_while_a_403_cools(bench, autojump_clock) -> None:
    options = EngineOptions(forbidden_delay=20, max_connections=4)
    async with (
        bench(options=options, faults=[RefuseUpgrade(403, nth=1)]) as b,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(b.engine.run, AGENT, "hello")
        await trio.sleep(1)
        for _ in range(3):
            nursery.start_soon(b.engine.run, AGENT, "hello")
        await trio.sleep(18)
        assert 1 == b.network.opened


DATE = "Fri, 27 Nov 2026 06:00:00 GMT"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "asked", "waited"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"retry-after-ms": "1500"}, 1.5, 1.5),
        ({"Retry-After": "Fri, 27 Nov 2026 06:00:09 GMT", "Date": DATE}, 9, 9),
        # Obeyed as far as `backoff_limit`, and what was asked for is there to read.
        ({"Retry-After": "1000000"}, 1_000_000, 30),
        ({"Retry-After": "Sat, 27 Nov 2027 06:00:00 GMT", "Date": DATE}, 365 * 86_400, 30),
        # In the past, or no duration at all: as if nothing had been said.
        ({"Retry-After": "Thu, 26 Nov 2026 06:00:00 GMT", "Date": DATE}, 0, 0),
        ({"Retry-After": "-5"}, 0, 0),
        ({"Retry-After": "soon"}, None, 0),
        ({"Retry-After": "nan"}, None, 0),
    ],
)
async def test_a7_retry_after_is_obeyed(bench, autojump_clock, status, headers, asked, waited) -> None:
    options = EngineOptions(dial_attempts=2)
    async with bench(options=options, faults=[RefuseUpgrade(status, headers=headers)]) as b:
        with pytest.raises(ConnectFailed) as caught:
            await b.engine.run(AGENT, "hello")

    assert (status, asked, 2, True) == (
        caught.value.status,
        caught.value.retry_after,
        caught.value.attempts,
        caught.value.is_transient,
    )
    assert (waited, 2) == (trio.current_time(), b.network.opened)


def test_a7_a_date_is_measured_by_the_servers_own_clock() -> None:
    """Ours may be wrong by hours. Without a ``Date`` ours has to do."""
    at = [(b"Retry-After", formatdate(1_000_060, usegmt=True).encode())]
    by_theirs = [*at, (b"Date", formatdate(1_000_000, usegmt=True).encode())]

    assert 60 == refused("u", 503, by_theirs, b"", now=5e9).retry_after
    assert 30 == refused("u", 503, at, b"", now=1_000_030).retry_after


async def test_a7_a_waiters_deadline_comes_first(bench, autojump_clock) -> None:
    options = EngineOptions(acquire_timeout=4)
    async with bench(options=options, faults=[RefuseUpgrade(429, headers={"Retry-After": "20"})]) as b:
        with pytest.raises(triplane.LimitReached) as caught:
            await b.engine.run(AGENT, "hello")
        assert ("acquire_timeout", 4) == (caught.value.which, trio.current_time())
        with trio.move_on_after(3) as scope:
            await b.engine.run(AGENT, "hello")
        assert scope.cancelled_caught
        assert (7, 1) == (trio.current_time(), b.network.opened)


async def test_a7_nobody_else_dials_while_the_server_wants_quiet(bench, autojump_clock) -> None:
    async with (
        bench(faults=[RefuseUpgrade(503, headers={"Retry-After": "10"}, nth=1)]) as b,
        trio.open_nursery() as nursery,
    ):
        for _ in range(4):
            nursery.start_soon(b.engine.run, AGENT, "hello")
            await trio.sleep(2)
        assert 1 == b.network.opened
        await trio.sleep(3)
        assert 1 < b.network.opened


class Opens:
    """A network that notes when each stream was opened."""

    def __init__(self, network: Network | None = None) -> None:
        self._network = network
        self.moments: list[float] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        self.moments.append(trio.current_time())
        if self._network is not None:
            return await self._network.connect(host, port)
        await trio.lowlevel.checkpoint()
        return trio.testing.memory_stream_pair()[0]


def assert_paced(moments: list[float], *, rate: float, burst: int) -> None:
    """Over no stretch were there more than the burst and the rate allow; and they did not come in step."""
    for first, earlier in enumerate(moments):
        for last in range(first, len(moments), 41):
            assert last - first + 1 <= burst + rate * (moments[last] - earlier) + 1e-6
    crowd = len(moments)
    assert (crowd - burst) / rate <= moments[-1] - moments[0] <= 1.5 * crowd / rate
    gaps = {round(later - earlier, 6) for earlier, later in itertools.pairwise(moments[burst:])}
    assert len(gaps) > 0.9 * (crowd - burst)


async def test_d6_a_thousand_that_dial_at_once_keep_the_rate_and_the_first_does_not_wait(
    autojump_clock,
) -> None:
    network = Opens()
    options = EngineOptions(dial_rate=50, dial_burst=10)
    dialler = Dialler(network, options, {}, random.Random(3))
    async with trio.open_nursery() as nursery:
        for _ in range(1_000):
            nursery.start_soon(dialler.opening(Endpoint("ws://memory")).next_stream)

    assert pytest.approx([0] * 10) == network.moments[:10]
    assert_paced(network.moments, rate=50, burst=10)


async def test_d6_who_gives_up_while_waiting_for_its_turn_costs_the_others_nothing(autojump_clock) -> None:
    network = Opens()
    dialler = Dialler(network, EngineOptions(dial_rate=1, dial_burst=1), {}, random.Random(3))

    async def impatient() -> None:
        with trio.move_on_after(0.5):
            await dialler.opening(Endpoint("ws://memory")).next_stream()

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(impatient)
    await dialler.opening(Endpoint("ws://memory")).next_stream()

    assert 2 == len(network.moments)
    assert 1 <= trio.current_time() <= 1.5


async def test_d6_sessions_that_lose_their_sockets_at_once_come_back_at_the_rate(
    bench, autojump_clock
) -> None:
    crowd = 24
    options = EngineOptions(max_connections=crowd, dial_rate=5, dial_burst=4)
    async with bench() as b:
        network = Opens(b.network)
        async with (
            triplane.open_engine(Endpoint("ws://memory"), options=options, network=network) as engine,
            engine.fan_out(AGENT, ["WAIT 60000\nSAY 1 back"] * crowd, max_runs=crowd) as results,
        ):
            await trio.sleep(1.5 * crowd / 5)
            for stream in b.network.streams:
                await trio.aclose_forcefully(stream)
            texts = [result.result.text async for result in results]

    assert ["back"] * crowd == [text.strip() for text in texts]
    assert 2 * crowd <= len(network.moments) <= 2.5 * crowd
    assert_paced(network.moments[:crowd], rate=5, burst=4)
    assert_paced(network.moments[crowd:], rate=5, burst=4)
