"""An engine behind networks that refuse, are silent, crawl, or die without a word."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing
from fault_network import open_fault_proxy, open_faulty_bench
from fault_relay import memory_pair
from fault_toxics import Bandwidth, BlackHole, HalfOpen, Link, Meter, Reset, Slicer, SlowClose

import triplane
from triplane.server import SlowClose as NeverAnswersAClose

AGENT = triplane.Agent("m")
ONCE = triplane.EngineOptions(dial_attempts=1, replay_attempts=0)

lockstep_pair = partial(memory_pair, trio.testing.lockstep_stream_pair)


# --- connecting


async def test_a_refused_connection_is_tried_again_until_somebody_listens(local_server) -> None:
    options = triplane.EngineOptions(dial_attempts=1_000, backoff_base=0.001, backoff_limit=0.01)
    texts = []

    async def ask(engine: triplane.Engine) -> None:
        texts.append((await engine.run(AGENT, "hello")).text)

    async with open_fault_proxy(local_server.port, listening=False) as proxy:
        async with triplane.open_engine(triplane.Endpoint.local(proxy.port), options=options) as engine:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, engine)
                while engine.statistics().pool.dial_failures < 3:
                    await trio.lowlevel.checkpoint()
                proxy.listen()

    assert ["echo: hello"] == texts
    assert 1 == proxy.accepted == engine.statistics().opened


async def test_an_upgrade_in_single_bytes_is_one(autojump_clock) -> None:
    crumbs = Link([Slicer(1)], [Slicer(1)])
    async with open_faulty_bench(then=crumbs) as b:
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text


@pytest.mark.parametrize("down", [[BlackHole(0)], [BlackHole(100)], [Slicer(1, gap=1)]])
async def test_an_upgrade_that_does_not_come_to_its_end_is_given_up(autojump_clock, down) -> None:
    """No answer, half of one, and one byte each second. No other deadline is as short."""
    options = triplane.EngineOptions(dial_attempts=1, upgrade_timeout=4)
    async with open_faulty_bench([Link(down=down)], options=options) as b:
        with pytest.raises(triplane.ConnectFailed, match="option upgrade_timeout") as caught:
            await b.engine.run(AGENT, "hello")
        assert 4 == trio.current_time()
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text

    assert ("upgrade", "nothing", "retry") == (
        caught.value.stage,
        caught.value.receipt.sent,
        caught.value.receipt.next,
    )
    assert 0 == b.left_open


# --- an open connection


async def test_a_reset_in_the_middle_of_a_frame(local_server) -> None:
    executed = []

    @triplane.tool
    async def note() -> str:
        """Do something that must happen once."""
        executed.append(1)
        return "noted"

    # In the first event, in the terminal event of the first response, and in the second response.
    links = [Link(down=[Reset(byte)]) for byte in (700, 4_000, 7_000)]
    async with open_fault_proxy(local_server.port, links) as proxy:
        async with triplane.open_engine(triplane.Endpoint.local(proxy.port)) as engine:
            result = await engine.run(triplane.Agent("m", "", [note]), "CALL note {}")

    assert ('RESULT: "noted"', "completed", 3) == (result.text, result.status, result.reconnects)
    assert [1] == executed
    assert 4 == proxy.accepted == engine.statistics().opened == engine.statistics().closed


async def test_a_connection_that_died_while_it_was_idle_is_not_handed_out(autojump_clock) -> None:
    meter = Meter()
    async with open_faulty_bench([Link(down=[meter])]) as b:
        await b.engine.run(AGENT, "hello")
        # Before the connection is closed, which takes bytes as well.
        passed = meter.passed
    async with open_faulty_bench([Link(down=[HalfOpen(passed)])]) as b:
        await b.engine.run(AGENT, "hello")
        assert 1 == len(b.engine.statistics().pool.connections)
        idle_since = trio.current_time()
        await trio.sleep(21)
        # Two heartbeats, and the closing handshake that nobody answers.
        assert () == b.engine.statistics().pool.connections
        await trio.sleep_until(idle_since + 3600)
        result = await b.engine.run(AGENT, "hello")
        assert idle_since + 3600 == trio.current_time()

    assert ("echo: hello", 0, 2) == (result.text, result.reconnects, b.network.opened)
    assert 0 == b.left_open


@pytest.mark.parametrize("where", ["on the way", "in the server"])
async def test_a_close_that_is_not_answered_holds_nobody_up(autojump_clock, where) -> None:
    options = triplane.EngineOptions(close_timeout=0.5)
    slow = Link(down=[SlowClose(3600)]) if where == "on the way" else Link()
    faults = [NeverAnswersAClose()] if where == "in the server" else []
    async with open_faulty_bench([slow], options=options, faults=faults) as b:
        await b.engine.run(AGENT, "hello")
        leaves_at = trio.current_time()

    assert leaves_at <= b.left_at <= leaves_at + 0.5
    assert 0 == b.left_open


async def test_a_server_that_reads_slowly_holds_up_nobody_else(autojump_clock) -> None:
    """A request of a megabyte on a line that takes a kilobyte each second."""
    options = triplane.EngineOptions(send_timeout=60, replay_attempts=0, max_connections=2)
    thin = Link(up=[Bandwidth(1_000)])
    failures = []

    async def ask(engine: triplane.Engine) -> None:
        with pytest.raises(triplane.Stalled) as caught:
            await engine.run(AGENT, "x" * 1_000_000)
        failures.append((trio.current_time(), caught.value))

    async with open_faulty_bench([thin], options=options, pair=lockstep_pair) as b:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, b.engine)
            await trio.sleep(5)
            asked_at = trio.current_time()
            assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text
            assert asked_at == trio.current_time()

    ((at, stalled),) = failures
    assert ("send", 60, "ambiguous") == (stalled.phase, stalled.silence, stalled.receipt.sent)
    assert 60 <= at < 62
    assert 0 == b.left_open


async def test_a_cancelled_upload_ends_its_connection(autojump_clock) -> None:
    async with open_faulty_bench([Link(up=[Bandwidth(1_000)])], pair=lockstep_pair) as b:
        with trio.move_on_after(20) as scope:
            await b.engine.run(AGENT, "x" * 1_000_000)
        assert scope.cancelled_caught
        assert 20 == trio.current_time()
        # What the server has of the request would swallow the beginning of the next one.
        assert "echo: hello" == (await b.engine.run(AGENT, "hello")).text
        assert 20 == trio.current_time()

    assert ["hello"] == [request.json["input"][0]["content"] for request in b.server.requests]
    assert (2, 0) == (b.network.opened, b.left_open)


async def test_bytes_that_come_slowly_are_no_silence(autojump_clock) -> None:
    """A response of a few kilobytes over a line of ten bytes a second: it takes minutes, and is whole."""
    slow = Link(down=[Slicer(10), Bandwidth(20)])
    options = triplane.EngineOptions(upgrade_timeout=60, first_event_timeout=120, idle_timeout=120)
    async with open_faulty_bench([slow], options=options) as b:
        result = await b.engine.run(AGENT, "hello")

    assert ("echo: hello", 0) == (result.text, result.reconnects)
    assert trio.current_time() > 120


@pytest.mark.parametrize(
    ("byte", "sent", "arrived"),
    [(50, "nothing", 0), (200, "ambiguous", 1), (2_000, "accepted", 1), (5_000, "accepted", 2)],
)
async def test_when_nothing_can_be_opened_any_more_an_error_says_how_far_it_had_got(
    autojump_clock, byte, sent, arrived
) -> None:
    """The first connection is lost, and after it the network. The request was not sent again, and had been sent."""
    executed = []

    @triplane.tool
    async def note() -> str:
        """Do something that must happen once."""
        executed.append(1)
        return "noted"

    async with open_faulty_bench([Link(down=[Reset(byte)])], then=Link(up=[Reset(0)])) as b:
        with pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(triplane.Agent("m", "", [note]), "CALL note {}")

    receipt = caught.value.receipt
    assert (sent, len(executed)) == (receipt.sent, len(receipt.effects))
    assert arrived == len(b.server.requests)
    assert ("retry" if sent == "nothing" else "resume") == receipt.next
