"""Who is silent, who listens, and who answers: pings of both sides in every state of the holder."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from wsproto.events import CloseConnection, Message, Ping, Pong

from triplane import CloseInfo, ConnectionLost, Stalled

KB64 = 65_536


async def test_a_dead_peer_is_found_within_two_heartbeats(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    r.connection.begin_use()
    started = trio.current_time()
    with pytest.raises(Stalled) as caught:
        await r.connection.receive()

    assert "heartbeat" == caught.value.phase
    assert 20 == trio.current_time() - started == caught.value.silence
    await r.ended.wait()


async def test_an_idle_connection_to_a_dead_peer_is_given_up(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    with trio.fail_after(21):
        await r.ended.wait()

    assert isinstance(r.connection.fault, Stalled)


async def test_a_peer_that_answers_pings_lives_for_hours(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    nursery.start_soon(r.peer.answer)
    await trio.sleep(3 * 3600)

    assert r.connection.is_usable
    assert 0 == r.connection.statistics().round_trip


async def test_no_ping_while_the_peer_speaks(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    r.connection.begin_use()
    heard: list[Message | Ping] = []

    async def listen() -> None:
        while True:
            heard.append(await r.peer.next_event())

    nursery.start_soon(listen)
    for _ in range(100):
        await trio.sleep(9)
        await r.peer.text("x")
        await r.connection.receive()

    assert [] == heard


async def test_bytes_that_are_no_pong_are_a_sign_of_life(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    r.connection.begin_use()
    for _ in range(20):
        with trio.move_on_after(15):
            await r.connection.receive()
        await r.peer.stream.send_all(b"\x8a\x00")

    assert r.connection.is_usable


async def test_the_round_trip_is_the_pongs(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    ping = await r.peer.next_event()
    await trio.sleep(0.5)
    await r.peer.say(ping.response())
    await trio.testing.wait_all_tasks_blocked()

    assert 0.5 == r.connection.statistics().round_trip


@pytest.mark.parametrize("looks_in_for", [0.2, 3, 11])
async def test_a_dead_peer_is_found_by_a_holder_that_looks_in_now_and_then(
    rig, nursery, autojump_clock, looks_in_for
) -> None:
    """Each look starts anew; the silence does not."""
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    r.connection.begin_use()
    started = trio.current_time()
    with pytest.raises(Stalled):
        while True:
            with trio.move_on_after(looks_in_for):
                await r.connection.receive()

    assert trio.current_time() - started <= 21 + looks_in_for


async def test_a_dead_peer_is_found_while_nobody_receives(rig, nursery, autojump_clock) -> None:
    r = rig(heartbeat_interval=10, heartbeat_timeout=10)
    await r.open(nursery)
    r.connection.begin_use()
    with trio.fail_after(22):
        await r.ended.wait()

    assert isinstance(r.connection.fault, Stalled)


@pytest.mark.parametrize("state", ["idle", "held", "held with messages", "receiving"])
async def test_the_peers_pings_are_answered_within_a_second_in_every_state(
    rig, nursery, autojump_clock, state
) -> None:
    """A holder that sleeps for a minute is no reason to hang up."""
    r = rig(heartbeat_interval=3600)
    await r.open(nursery)
    if state != "idle":
        r.connection.begin_use()
    if state == "receiving":
        nursery.start_soon(r.connection.receive)
    for number in range(6):
        if state == "held with messages":
            await r.peer.text("x" * 1_000)
        await r.peer.say(Ping(b"%d" % number))
        with trio.fail_after(1.001):
            pong = await r.peer.next_event()
        assert isinstance(pong, Pong)
        assert b"%d" % number == pong.payload
        await trio.sleep(10)
    if state == "held with messages":
        got: list[str] = []
        while len(got) < 6:
            got += await r.connection.receive()
        assert ["x" * 1_000] * 6 == got

    assert r.connection.is_usable


async def test_a_ping_is_answered_before_the_next_request(rig, nursery, autojump_clock) -> None:
    """What is due first goes out first."""
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.stream.send_all(b"\x89\x01p" + b"\x81\x04text")
    assert ("text",) == await r.connection.receive()
    await r.connection.send("echo")

    assert isinstance(await r.peer.next_event(), Pong)
    assert "echo" == (await r.peer.next_event()).data


async def test_a_close_is_noticed_while_the_holder_is_busy(rig, nursery, autojump_clock) -> None:
    """What came before it is not lost to a holder that comes back later."""
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.text("before")
    await r.peer.say(CloseConnection(1000, "bye"))
    with trio.fail_after(5):
        await r.ended.wait()
    assert not r.connection.is_usable
    await trio.sleep(60)
    assert ("before",) == await r.connection.receive()
    with pytest.raises(ConnectionLost) as caught:
        await r.connection.receive()

    assert CloseInfo(1000, "bye", "peer") == caught.value.close


async def test_what_waits_for_a_slow_holder_is_bounded_and_whole(rig, nursery, autojump_clock) -> None:
    """The peer waits for us then, which is no silence of the peer's, however long it takes."""
    r = rig(heartbeat_interval=10, heartbeat_timeout=10, max_unread=4 * KB64)
    await r.open(nursery)
    r.connection.begin_use()
    for number in range(100):
        await r.peer.text(f"{number:>{KB64}}")
    await trio.sleep(3600)

    assert r.connection.is_usable
    assert 0 == r.connection.statistics().silence
    assert 3 * KB64 < r.connection.statistics().bytes_down < 7 * KB64
    got: list[str] = []
    for _ in range(50):
        got += await r.connection.receive()
    assert r.connection.statistics().bytes_down < (len(got) + 7) * KB64
    while len(got) < 100:
        got += await r.connection.receive()
    assert list(range(100)) == list(map(int, got))
    nursery.start_soon(r.peer.answer)
    await trio.sleep(60)
    assert r.connection.is_usable


async def test_a_message_larger_than_what_may_wait_comes_through(rig, nursery, autojump_clock) -> None:
    r = rig(max_unread=1_000)
    await r.open(nursery)
    r.connection.begin_use()
    for size in (400_000, 10, 400_000):
        await r.peer.text("x" * size)
    await trio.sleep(10)
    got: list[str] = []
    while len(got) < 3:
        got += await r.connection.receive()

    assert [400_000, 10, 400_000] == list(map(len, got))


async def test_a_large_message_comes_through_to_who_began_to_wait_before_another_left(
    rig, nursery, autojump_clock
) -> None:
    """As where a demultiplexer takes over from what reads an idle connection: the order of tasks is Trio's to choose."""
    r = rig(max_unread=1_000)
    await r.open(nursery)
    got: list[str] = []

    async def receive() -> None:
        got.extend(await r.connection.receive())

    async with trio.open_nursery() as holder:
        holder.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        r.connection.begin_use()
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            await r.peer.text("x" * 400_000)
            await trio.testing.wait_all_tasks_blocked()
        holder.cancel_scope.deadline = trio.current_time() + 10

    assert [400_000] == list(map(len, got))


async def test_many_small_messages_wait_as_well(rig, nursery, autojump_clock) -> None:
    """More than trio-websocket's queue holds."""
    r = rig(heartbeat_interval=10, heartbeat_timeout=10, max_unread=10_000)
    await r.open(nursery)
    r.connection.begin_use()
    for number in range(3_000):
        await r.peer.stream.send_all(b"\x81\x04%04d" % number)
    await trio.sleep(3600)
    assert r.connection.is_usable
    got: list[str] = []
    while len(got) < 3_000:
        got += await r.connection.receive()

    assert list(range(3_000)) == list(map(int, got))


async def test_a_peer_that_closes_in_the_middle_of_our_request_is_heard(rig, nursery, autojump_clock) -> None:
    """1009 comes while we still write: its reason decides whether the same bytes are sent again."""
    r = rig(send_timeout=600)
    await r.open(nursery)
    r.connection.begin_use()
    cut = trio.Event()
    r.client.send_stream.close_hook = cut.set

    async def get_stuck() -> None:
        await cut.wait()
        raise trio.ClosedResourceError

    r.client.send_stream.send_all_hook = get_stuck
    await r.peer.say(CloseConnection(1009, "too big"))
    started = trio.current_time()
    with pytest.raises(ConnectionLost) as caught:
        await r.connection.send("x" * 100)

    assert CloseInfo(1009, "too big", "peer") == caught.value.close
    assert trio.current_time() - started < 5


async def test_the_reason_for_a_broken_send_is_read(rig, nursery, autojump_clock) -> None:
    """The close is there, unread, when our next write fails."""
    r = rig()
    await r.open(nursery)
    r.connection.begin_use()
    await r.peer.say(CloseConnection(1012, "restart"))

    async def fail() -> None:
        raise trio.BrokenResourceError

    r.client.send_stream.send_all_hook = fail
    with pytest.raises(ConnectionLost) as caught:
        await r.connection.send("x")

    assert CloseInfo(1012, "restart", "peer") == caught.value.close
