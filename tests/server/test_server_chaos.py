"""Chaos: the same faults for the same seed, and a server that survives its own."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial

import orjson
import pytest
import trio
from server_client import create
from trio.testing import MockClock, memory_stream_pair

from triplane.server import (
    Chaos,
    ConnectionFault,
    Drop,
    Ids,
    ResponseFault,
    Server,
    ServerStatistics,
    UpgradeFault,
)
from triplane.server.faults.catalogue import KINDS
from triplane.server.faults.chaos import CHAOS_KINDS
from triplane.server.faults.plan import FaultPlan


def drawn(chaos: Chaos, count: int = 300) -> list:
    return [
        (chaos.of_upgrade(number), chaos.of_connection(number), chaos.of_response(number))
        for number in range(1, count)
    ]


def test_the_same_seed_has_the_same_faults():
    assert drawn(Chaos(7, rate=0.5)) == drawn(Chaos(7, rate=0.5))
    assert drawn(Chaos("seven")) == drawn(Chaos("seven"))


def test_another_seed_has_other_faults():
    assert drawn(Chaos(7, rate=0.5)) != drawn(Chaos(8, rate=0.5))


def test_what_a_seed_means_does_not_change():
    """A seed that found something finds it again in the next version, or the change log says so."""
    struck = [type(fault).__name__ for fault in map(Chaos(1, rate=1).of_response, range(1, 13))]

    assert struck == [
        "Swap",
        "Fragment",
        "Truncate",
        "Malformed",
        "Swap",
        "Fragment",
        "PingStorm",
        "BinaryFrames",
        "Omit",
        "Fragment",
        "Fragment",
        "CloseSocket",
    ]


def test_the_rate():
    hits = sum(fault is not None for faults in drawn(Chaos(3, rate=0.2), 2000) for fault in faults)

    assert hits == pytest.approx(0.2 * 3 * 1999, rel=0.15)
    assert not any(any(faults) for faults in drawn(Chaos(3, rate=0)))
    assert all(all(faults) for faults in drawn(Chaos(3, rate=1)))


def test_all_kinds_come_up_and_no_others():
    seen = Counter(type(fault) for faults in drawn(Chaos(5, rate=1), 600) for fault in faults)

    assert set(seen) == {KINDS[name] for name in CHAOS_KINDS}
    only = Chaos(5, rate=1, kinds=["drop", "half_open"])
    assert {type(fault) for faults in drawn(only) for fault in faults if fault} == {Drop, KINDS["half_open"]}


@pytest.mark.parametrize("family", [UpgradeFault, ConnectionFault, ResponseFault])
def test_a_family_of_which_nothing_may_strike(family):
    names = [name for name in CHAOS_KINDS if not issubclass(KINDS[name], family)]

    index = (UpgradeFault, ConnectionFault, ResponseFault).index(family)
    assert all(faults[index] is None for faults in drawn(Chaos(1, rate=1, kinds=names), 20))


def test_chaos_comes_on_top():
    plan = FaultPlan([drop := Drop(nth=1)], Chaos(1, rate=1, kinds=["stall"]))

    first, second = plan.of_response(), plan.of_response()

    assert first[0] == drop
    assert [type(fault).__name__ for fault in (*first[1:], *second)] == ["Stall", "Stall"]


UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def ask(number: int) -> bytes:
    payload = orjson.dumps(create(str(number)))
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


async def talk(seed: int, connections: int) -> tuple[list[bytes], ServerStatistics]:
    """What a client receives that takes everything as it comes, and what the server counted."""
    server = Server(ids=Ids(""), epoch=0, chaos=Chaos(seed, rate=0.6), handshake_timeout=5)
    received: list[bytes] = []

    async def read(stream, data: bytearray) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await stream.receive_some():
                data.extend(piece)

    async with trio.open_nursery() as nursery:
        for number in range(connections):
            ours, theirs = memory_stream_pair()
            data = bytearray()
            nursery.start_soon(server.handle, theirs)
            nursery.start_soon(read, ours, data)
            with suppress(trio.BrokenResourceError):
                await ours.send_all(UPGRADE)
                for _ in range(3):
                    await trio.sleep(3)
                    await ours.send_all(ask(number))
            await trio.sleep(3)
            await ours.aclose()
            received.append(bytes(data))
            # Whatever it was that happened, the server lets go.
            await trio.sleep(5)
            assert server.statistics().connections_now == 0
    return received, server.statistics()


def test_a_server_survives_its_own_chaos_and_repeats_it():
    run = partial(talk, 11, 20)
    first, statistics = trio.run(run, clock=MockClock(autojump_threshold=0))
    second, _ = trio.run(run, clock=MockClock(autojump_threshold=0))

    assert first == second
    assert statistics.upgrades_refused > 3
    assert statistics.responses_completed > 5
    assert statistics.responses_created > statistics.responses_completed


async def test_without_chaos_nothing_goes_wrong(connect):
    client = await connect(chaos=Chaos(1, rate=0))

    for number in range(5):
        await client.send(create(str(number)))
        assert (await client.turn()).text == f"echo: {number}"
