"""How long things take: models by their pace, networks by their latency and bandwidth."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from server_client import Client, Closed, create
from trio.testing import lockstep_stream_pair, memory_stream_pair

from triplane.server import OptionError, Options, Server, steps
from triplane.server.physics import Physics
from triplane.server.shaping import shaped


async def times_of(client, message):
    """When each event came, in seconds since the message was sent, by type."""
    begin = trio.current_time()
    await client.send(message)
    times = []
    while not times or times[-1][0] not in ("response.completed", "response.incomplete"):
        event = await client.receive()
        times.append((event["type"], round(trio.current_time() - begin, 6)))
    return times


def deltas(times):
    return [time for kind, time in times if kind.endswith(".delta")]


async def test_a_default_server_takes_no_time(connect, autojump_clock):
    client = await connect()

    assert {time for _, time in await times_of(client, create("SAY 100 x"))} == {0}


async def test_the_first_token_is_late_and_created_is_not(connect, autojump_clock):
    client = await connect(first_token_delay=2)

    times = dict(await times_of(client, create("SAY 3 x")))

    assert (times["response.created"], times["response.in_progress"]) == (0, 0)
    assert times["response.output_item.added"] == times["response.completed"] == 2


async def test_tokens_take_their_time(connect, autojump_clock):
    client = await connect(tokens_per_second=10)

    # Two tokens each.
    assert deltas(await times_of(client, create("SAY 3 12345678"))) == [0.2, 0.4, 0.6]
    # Six tokens and one.
    assert deltas(await times_of(client, create(f"CALL a {'x' * 28}"))) == [0.6, 0.7]
    assert deltas(await times_of(client, create("REASON 12345678\nREFUSE 1234"))) == [0.2, 0.3]


async def test_jitter_is_bounded_and_the_same_for_the_same_seed(connect, autojump_clock):
    async def gaps(**options):
        client = await connect(tokens_per_second=1, jitter=0.5, **options)
        return [
            [later - sooner for sooner, later in itertools.pairwise([0, *deltas(times)])]
            for times in [await times_of(client, create("SAY 20 1234")) for _ in range(2)]
        ]

    one, again, other = await gaps(seed=1), await gaps(seed=1), await gaps(seed=2)

    assert one == again != other
    assert one[0] != one[1]
    every = [gap for response in one for gap in response]
    assert 0.5 <= min(every) < 0.8
    assert 1.2 < max(every) <= 1.5


def test_a_response_takes_as_long_whatever_others_do():
    physics = Physics(tokens_per_second=1, jitter=0.5, seed=3)
    first, second = physics.pace(1), physics.pace(2)

    mixed = [pace.before("1234") for _ in range(3) for pace in (first, second)]

    alone = physics.pace(2)
    assert mixed[1::2] == [alone.before("1234") for _ in range(3)]


def test_no_pace_costs_nothing():
    assert Physics(jitter=0.5, seed=1).pace(1) is None


async def test_a_model_that_waits_waits_as_well(connect, autojump_clock):
    client = await connect(delta_delay=1, first_token_delay=0.5)

    assert deltas(await times_of(client, create("WAIT 5000\nSAY 2 x"))) == [6.5, 7.5]


async def test_an_answer_comes_a_round_trip_later(connect, autojump_clock):
    client = await connect(network_latency=0.25)
    # The upgrade took as long.
    assert trio.current_time() == pytest.approx(0.5)

    assert {time for _, time in await times_of(client, create("hi"))} == {0.5}


async def test_real_sockets_wait_too(listening):
    async with listening(model="echo", network_latency=0.01, bandwidth=1_000_000) as handle:
        stream = await trio.open_tcp_stream(handle.host, handle.port)
        client = await Client(stream).connect()
        begin = trio.current_time()

        turn = await client.ask("hi", model="echo")

        assert turn.text == "hi"
        assert trio.current_time() - begin >= 0.02
        await client.close()
        await stream.aclose()


async def test_what_is_sent_together_travels_together(connect, autojump_clock):
    client = await connect(network_latency=0.25)
    begin = trio.current_time()
    for _ in range(3):
        await client.send(create("hi"))

    for _ in range(3):
        await client.turn()

    assert trio.current_time() - begin == pytest.approx(0.5)


async def test_bytes_take_their_time(connect, autojump_clock):
    client = await connect(bandwidth=1000)
    sent = client.server.statistics().bytes_sent
    begin = trio.current_time()

    turn = await client.ask("SAY 20 hello")

    assert turn.text == "hello" * 20
    sent = client.server.statistics().bytes_sent - sent
    assert trio.current_time() - begin == pytest.approx(sent / 1000)


async def test_a_slow_network_loses_nothing_when_one_stops_waiting(autojump_clock):
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"hello")
    async with shaped(theirs, latency=1, bandwidth=None) as slow:
        with trio.move_on_after(1.5) as scope:
            await slow.receive_some()
        assert scope.cancelled_caught
        await ours.send_all(b"!")
        assert await slow.receive_some(3) == b"hel"
        assert await slow.receive_some() == b"lo"
        assert trio.current_time() == 2
        assert await slow.receive_some() == b"!"
        assert trio.current_time() == 3.5
        await ours.send_eof()
        assert [await slow.receive_some() for _ in range(2)] == [b"", b""]
        await slow.send_eof()
        assert await ours.receive_some() == b""


async def test_a_slow_network_bounds_what_is_on_its_way(autojump_clock):
    ours, theirs = lockstep_stream_pair()
    sent = 0

    async def send():
        nonlocal sent
        while sent < 40:
            await ours.send_all(bytes(100_000))
            sent += 1

    async with trio.open_nursery() as nursery, shaped(theirs, latency=1, bandwidth=None) as slow:
        nursery.start_soon(send)
        await trio.sleep(5)
        assert 10 <= sent <= 12
        received = 0
        while received < 40 * 100_000:
            received += len(await slow.receive_some())


async def test_a_slow_network_breaks_like_its_stream(autojump_clock):
    _, theirs = lockstep_stream_pair()
    async with shaped(theirs, latency=1, bandwidth=None) as slow:
        await theirs.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await slow.receive_some()


async def test_what_is_raised_behind_a_slow_network_comes_out_as_it_is(autojump_clock):
    _, theirs = memory_stream_pair()

    with pytest.raises(ZeroDivisionError):
        async with shaped(theirs, latency=1, bandwidth=None):
            raise ZeroDivisionError
    with trio.move_on_after(1) as scope:
        async with shaped(theirs, latency=1, bandwidth=None):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_server_that_shuts_down_hears_the_answer_through_a_slow_network(connect, autojump_clock):
    client = await connect(network_latency=0.2, close_timeout=1)
    begin = trio.current_time()

    client.shut_down()
    with pytest.raises(Closed) as caught:
        await client.receive()
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(0.5)

    assert caught.value.code == 1001
    assert trio.current_time() - begin < 1
    assert client.server.statistics().connections_now == 0


async def test_a_network_without_limits_is_the_stream_itself():
    ours, _ = memory_stream_pair()

    async with shaped(ours, latency=0, bandwidth=None) as network:
        assert network is ours


@pytest.mark.parametrize(
    "options",
    [
        {"tokens_per_second": 0},
        {"tokens_per_second": "fast"},
        {"jitter": 1},
        {"jitter": -0.1},
        {"first_token_delay": -1},
        {"network_latency": -1},
        {"bandwidth": 0},
        {"seed": "a"},
    ],
)
def test_physics_that_cannot_be(options):
    with pytest.raises(OptionError):
        Server(**options)


def test_defaults():
    options = Options()

    assert (options.tokens_per_second, options.bandwidth, options.jitter, options.seed) == (None, None, 0, 0)
    assert steps.Wait(0).seconds == 0
