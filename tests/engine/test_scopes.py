"""Scopes that end early, or badly: what is left of them, and who hears of it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triplane
from triplane.core.records import RunEnded, ToolFinished
from triplane.protocol import ResponseCreate
from triplane.server import IgnoreUpgrade, SlowClose

AGENT = triplane.Agent("m")
ONE = triplane.EngineOptions(max_connections=1)
REQUEST = ResponseCreate(model="m", input="SAY 30 x", store=False)


# --- between having a lane and using it


async def test_a_lane_that_was_not_used_goes_back_as_it_was(bench, autojump_clock) -> None:
    async with bench(options=ONE) as b:
        for _ in range(3):
            with trio.CancelScope() as scope:
                async with b.engine.lane():
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
        async with b.engine.lane() as lane:
            await (await lane.create(REQUEST)).wait()
            # Used to the end, and cancelled before it was given back.
            scope.cancel()
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text
        assert 1 == b.engine.statistics().opened


async def test_a_lane_whose_answer_is_on_its_way_does_not_go_back(bench, autojump_clock) -> None:
    async with bench(options=ONE, delta_delay=1) as b:
        with trio.move_on_after(5):
            async with b.engine.lane() as lane:
                turn = await lane.create(REQUEST)
                async for event in turn:
                    if event.type == "response.output_text.delta":
                        break
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text
        assert 2 == b.engine.statistics().opened


async def test_a_lease_that_is_given_back_twice_frees_its_lane_once(bench, autojump_clock) -> None:
    async with bench(options=ONE) as b:
        lease, other = (b.engine._pool.lease(triplane.Endpoint("ws://memory/v1"), "x") for _ in range(2))
        await lease.acquire()
        lease.release()
        await other.acquire()
        # What is held by somebody else by now.
        lease.release()
        lease.abandon(triplane.ConnectionLost("x"))
        assert "open" == b.engine.statistics().pool.connections[0].state
        assert 1 == b.engine.statistics().pool.leased
        other.release()
        assert (0, 1) == (b.engine.statistics().pool.leased, b.engine.statistics().pool.free)


async def test_two_tasks_that_read_one_turn_are_told(bench, autojump_clock) -> None:
    ends: list[object] = []

    async def read(turn) -> None:
        try:
            ends.append((await turn.wait()).text)
        except trio.BusyResourceError as error:
            ends.append(error)

    async with bench(delta_delay=1) as b, b.engine.lane() as lane:
        turn = await lane.create(REQUEST)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(read, turn)

    assert "x" * 30 == ends[1]
    assert isinstance(ends[0], trio.BusyResourceError)


# --- a connection that is being opened


@pytest.mark.parametrize("others", [0, 1])
async def test_a_connection_that_nobody_waits_for_any_more(bench, autojump_clock, others) -> None:
    """It comes to its end all the same, for whoever asks next."""
    async with bench(options=ONE, network_latency=2) as b:
        with trio.move_on_after(1) as scope:
            await b.engine.run(AGENT, "first")
        assert scope.cancelled_caught
        assert (1, 0) == (b.engine.statistics().pool.dialling, b.engine.statistics().pool.waiting)
        for _ in range(others):
            assert "echo: next" == (await b.engine.run(AGENT, "next")).text
        await trio.sleep(10)
        now = b.engine.statistics().pool
        assert (0, 1, 0) == (now.dialling, now.free, now.leased)

    assert 1 == b.network.opened == b.engine.statistics().closed


async def test_leaving_tears_down_what_is_being_opened(bench, autojump_clock) -> None:
    async with bench(faults=[IgnoreUpgrade()]) as b:
        with trio.move_on_after(3):
            await b.engine.run(AGENT, "x")
    assert 3 == trio.current_time()
    now = b.engine.statistics().pool

    assert (0, 0, 0) == (now.dialling, now.opened, len(now.connections))


async def test_a_connection_that_the_server_closes_while_it_is_idle_is_not_handed_out(
    bench, autojump_clock
) -> None:
    async with bench(max_age=60) as b:
        await b.engine.run(AGENT, "x")
        await trio.sleep(61)
        assert () == b.engine.statistics().pool.connections
        result = await b.engine.run(AGENT, "x")

    assert (0, 0) == (result.reconnects, result.replays)
    assert 2 == b.engine.statistics().opened == b.engine.statistics().closed


# --- somebody else's error


async def test_an_error_in_a_task_beside_comes_out_alone_and_closes_everything(bench, autojump_clock) -> None:
    ended_at = 0.0

    async def fail() -> None:
        nonlocal ended_at
        await trio.sleep(5)
        ended_at = trio.current_time()
        raise ZeroDivisionError

    async with bench(delta_delay=1) as b:
        endpoint = triplane.Endpoint("ws://memory/v1")
        with pytest.RaisesGroup(ZeroDivisionError):
            async with (
                trio.open_nursery() as nursery,
                triplane.open_engine(endpoint, network=b.network) as engine,
            ):
                nursery.start_soon(fail)
                nursery.start_soon(engine.run, AGENT, "SAY 100 x")
                nursery.start_soon(engine.run, AGENT, "SAY 100 x")
                async with engine.fan_out(AGENT, ["SAY 100 x"] * 3, max_runs=3) as results:
                    async for _ in results:
                        pass
        assert ended_at <= trio.current_time() <= ended_at + triplane.EngineOptions().close_grace

    now = engine.statistics()
    assert (0, 0) == (now.runs_active, len(now.pool.connections))
    assert now.opened == now.closed > 0


class Alarm(BaseException):
    """Nothing that a tool has to do with."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Alarm])
async def test_what_is_no_exception_goes_through_a_tool_and_leaves_nothing(
    bench, autojump_clock, kind
) -> None:
    @triplane.tool(effect="write")
    async def sound() -> str:
        """Raise it."""
        raise kind

    async with bench() as b:
        endpoint = triplane.Endpoint("ws://memory/v1")
        try:
            async with triplane.open_engine(endpoint, network=b.network) as engine:
                await engine.run(triplane.Agent("m", "", [sound]), "CALL sound {}")
        except BaseException as raised:
            error = raised
        while isinstance(error, BaseExceptionGroup):
            (error,) = error.exceptions

    assert kind is type(error)
    assert engine.statistics().opened == engine.statistics().closed == 1
    # The log has what is known, and the model is told nothing.
    (run_id,) = engine.ledger.logs
    bodies = [record.body for record in engine.ledger.logs[run_id].records]
    assert (
        "stopped the program"
        in next(body for body in bodies if isinstance(body, ToolFinished)).outcome.output
    )
    assert RunEnded("cancelled") == bodies[-1]
    assert 1 == len(b.server.requests)


# --- leaving


async def test_a_second_cancellation_hurries_nothing_and_holds_nothing_up(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(close_timeout=1.5, close_grace=2)
    async with bench(faults=[SlowClose()]) as b:
        endpoint = triplane.Endpoint("ws://memory/v1")
        with trio.move_on_after(5) as outer, trio.move_on_after(4) as inner:
            async with triplane.open_engine(endpoint, options=options, network=b.network) as engine:
                await engine.run(AGENT, "x")
                await trio.sleep_forever()
        # The closing handshake has its time, whoever is impatient.
        assert 5.5 == trio.current_time()
        assert (True, True) == (outer.cancelled_caught, inner.cancel_called)

    assert 1 == engine.statistics().opened == engine.statistics().closed


async def test_leaving_in_good_order_waits_for_runs_no_longer_than_they_are_wanted(
    bench, autojump_clock
) -> None:
    """A run of another task, in mid-response, when the engine is left: it hears of it at once."""
    heard: list[BaseException] = []

    async def ask(b) -> None:
        try:
            await b.engine.run(AGENT, "WAIT 1000000\nSAY 1 x")
        except triplane.TriplaneError as error:
            heard.append(error)

    async with trio.open_nursery() as nursery:
        async with bench() as b:
            nursery.start_soon(ask, b)
            await trio.sleep(5)
    assert 5 <= trio.current_time() <= 5 + triplane.EngineOptions().close_grace

    assert [triplane.EngineClosed] == [type(error) for error in heard]
    assert ("accepted", "resume") == (heard[0].receipt.sent, heard[0].receipt.next)
