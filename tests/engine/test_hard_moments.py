"""Moments in which something once went wrong: each test is a fault that was found by trying to break the engine."""

from __future__ import annotations

import asyncio
import gc
import ssl

import pytest
import trio
import trio.testing

import triplane
from triplane.protocol import ResponseCreate
from triplane.server import Drop, Malformed, RefuseUpgrade, SpoilOutput

AGENT = triplane.Agent("m")


async def test_an_engine_opened_in_a_cancelled_scope_is_left_at_once(autojump_clock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with triplane.open_engine(triplane.Endpoint("ws://memory/v1")):
            await trio.sleep_forever()

    assert scope.cancelled_caught


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_lane_that_dies_just_after_a_failed_dial_loses_no_waiter(
    bench, autojump_clock, attempts
) -> None:
    """The second connection is refused; then the only lane there is dies, and its run has to dial again."""

    @triplane.tool(effect="read")
    async def cut() -> str:
        """Cut the network."""
        await b.network.streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        return "cut"

    options = triplane.EngineOptions(dial_attempts=attempts)
    faults = [RefuseUpgrade(503, nth=nth) for nth in range(2, 2 + attempts)]
    async with bench(options=options, faults=faults) as b:
        with trio.fail_after(300), pytest.raises(triplane.ConnectFailed) as caught:
            await b.engine.run(triplane.Agent("m", "", [cut]), "CALL cut {}")
        assert ["cut"] == [effect.tool for effect in caught.value.receipt.effects]
        # A tool has run, so the same call again is not what is safe.
        assert "resume" == caught.value.receipt.next
        assert "echo: after" == (await b.engine.run(AGENT, "after")).text


async def test_a_second_run_dials_again_while_the_first_holds_its_lane(bench, autojump_clock) -> None:
    async with bench(faults=[RefuseUpgrade(403, nth=2)]) as b, b.engine.lane():
        with trio.fail_after(60):
            assert "echo: x" == (await b.engine.run(AGENT, "x")).text


async def test_a_warm_up_that_cannot_have_all_its_lanes_is_told(bench, autojump_clock) -> None:
    async with bench(faults=[RefuseUpgrade(403, nth=2)]) as b:
        with trio.fail_after(60), pytest.raises(triplane.ConnectFailed):
            await b.engine.warm_up(AGENT, lanes=2)
        assert 0 == b.engine.statistics().pool.leased


async def test_two_warm_agents_have_two_lanes(bench, autojump_clock) -> None:
    agents = [triplane.Agent("m", "One."), triplane.Agent("m", "Two.")]
    async with bench() as b:
        endpoint = triplane.Endpoint("ws://memory/v1")
        async with triplane.open_engine(endpoint, network=b.network, warm=agents) as engine:
            assert 2 == engine.statistics().opened
            for agent in agents:
                async with engine.open_run(agent, "x") as run:
                    await run.wait()
                (sent,) = [
                    each.body for each in run.log.records if isinstance(each.body, triplane.RequestSent)
                ]
                assert "warm" == sent.plan


async def test_a_long_upload_is_no_silence_of_the_peers(bench, autojump_clock) -> None:
    """Half a minute of sending on a slow line, and a heartbeat of ten seconds."""
    async with bench() as b:
        await b.engine.run(AGENT, "hello")
        stream = b.network.streams[0].send_stream
        pump = stream.send_all_hook

        async def slowly() -> None:
            await trio.sleep(30)
            await pump()

        stream.send_all_hook = slowly
        result = await b.engine.run(AGENT, "x" * 1000)

    assert ("completed", 0) == (result.status, result.reconnects)
    assert 1 == b.engine.statistics().opened


async def test_leaving_is_bounded_by_close_grace_whatever_close_timeout_says(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(close_timeout=30, close_grace=2)
    async with bench() as b:
        endpoint = triplane.Endpoint("ws://memory/v1")
        async with triplane.open_engine(endpoint, options=options, network=b.network) as engine:
            await engine.run(AGENT, "hello")
            b.network.streams[0].send_stream.send_all_hook = None
            left_at = trio.current_time()
        assert left_at + 2 == trio.current_time()


class BlackHole:
    """A network in which nothing is answered."""

    dials = 0

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        self.dials += 1
        await trio.sleep_forever()
        raise AssertionError


async def test_leaving_ends_what_is_being_dialled(autojump_clock) -> None:
    network = BlackHole()
    with trio.move_on_after(1):
        async with triplane.open_engine(triplane.Endpoint("ws://memory/v1"), network=network) as engine:
            await engine.run(AGENT, "hello")

    assert 1 == trio.current_time()
    assert 0 == engine.statistics().pool.dialling


async def test_leaving_ends_a_wait_for_the_next_attempt(bench, autojump_clock) -> None:
    with trio.move_on_after(5):
        async with bench(faults=[RefuseUpgrade(503, headers={"Retry-After": "20"})]) as b:
            await b.engine.run(AGENT, "hello")

    assert (1, 0) == (b.network.opened, b.engine.statistics().pool.dialling)


async def test_a_broken_off_loop_does_not_hold_the_run_back(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_unread=20_000)
    async with bench(options=options) as b, b.engine.open_run(AGENT, "SAY 2000 word ") as run:
        async for _event in run:
            break
        gc.collect()
        with trio.fail_after(60):
            assert "word " * 2000 == (await run.wait()).text


async def test_a_stored_chain_notes_a_lost_connection_once(bench, autojump_clock) -> None:
    agent = triplane.Agent("m", store=True)
    async with bench(faults=[Drop(2, nth=1)]) as b:
        result = await b.engine.run(agent, "hello")

    assert (1, 1) == (result.reconnects, result.replays)


async def test_heads_of_lost_connections_are_forgotten(bench, autojump_clock) -> None:
    @triplane.tool(effect="read")
    async def look() -> str:
        """Look."""
        return "seen"

    async with bench(faults=[Drop(2, nth=nth) for nth in range(2, 40, 3)]) as b:
        await b.engine.run(triplane.Agent("m", "", [look]), "REPEAT 20 CALL look {}")

        assert set() == b.engine._pool._live_heads


async def test_each_task_gets_an_error_of_its_own(bench, autojump_clock) -> None:
    errors: list[triplane.TriplaneError] = []

    async def wait(run: triplane.Run) -> None:
        try:
            await run.wait()
        except triplane.TriplaneError as error:
            errors.append(error)

    async with bench(model={"known": "directive"}) as b:
        async with b.engine.open_run(triplane.Agent("unknown"), "x") as run, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait, run)

    assert 3 == len({id(error) for error in errors})
    assert {"model_not_found"} == {error.code for error in errors}
    assert [None] * 3 == [error.__context__ for error in errors]


async def test_a_fan_out_whose_engine_is_left_gives_errors_and_raises_none(bench, autojump_clock) -> None:
    async with bench() as b:
        fan_out = b.engine.fan_out(AGENT, ["a", "b"])
    async with fan_out as results:
        errors = [result.error async for result in results]

    assert [triplane.EngineClosed] * 2 == [type(error) for error in errors]


async def test_a_lane_that_is_gone_before_a_request_says_that_nothing_was_sent(bench, autojump_clock) -> None:
    async with bench() as b, b.engine.lane() as lane:
        await b.network.streams[0].aclose()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(triplane.ConnectionLost) as caught:
            await lane.create(ResponseCreate(model="m", input="x", store=False))

    assert ("nothing", "retry") == (caught.value.receipt.sent, caught.value.receipt.next)


@pytest.mark.parametrize("inputs", ["one text", {"role": "user", "content": "x"}])
async def test_a_fan_out_over_one_input_by_mistake_is_told(bench, autojump_clock, inputs) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match="one for each run"):
            b.engine.fan_out(AGENT, inputs)


async def test_a_cancelled_run_says_so(bench, autojump_clock) -> None:
    async with bench() as b:
        async with b.engine.open_run(AGENT, "WAIT 1000\nSAY 1 x") as run:
            pass
        with pytest.raises(triplane.RunFailed, match="was cancelled"):
            _ = run.result


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ws://host/v1",), "open_engine takes an Endpoint, not str"),
        (
            (triplane.Endpoint("ws://host/v1"), {"max_connections": 1}),
            "options= takes EngineOptions, not dict",
        ),
    ],
)
async def test_wrong_arguments_of_open_engine_are_told(arguments, words) -> None:
    endpoint, *options = arguments
    with pytest.raises(triplane.ConfigError, match=words):
        async with triplane.open_engine(endpoint, options=options[0] if options else None):
            pass


@pytest.mark.parametrize("ledger", [5, True, object(), b"runs.db", triplane.open_ledger("runs.db")])
async def test_what_is_no_ledger_is_told_before_the_block(ledger) -> None:
    with pytest.raises(triplane.ConfigError, match="ledger= takes the path of a file"):
        async with triplane.open_engine(triplane.Endpoint("ws://host/v1"), ledger=ledger):
            pytest.fail("it was entered")


@pytest.mark.parametrize(
    "context", [True, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)], ids=["true", "for servers"]
)
def test_a_wrong_ssl_context_is_told(context) -> None:
    with pytest.raises(triplane.ConfigError, match="ssl_context must be"):
        triplane.Endpoint("wss://host/v1", ssl_context=context)


@pytest.mark.parametrize("blank", [" ", "\t", "\n"])
def test_a_key_with_a_blank_behind_it_is_refused(blank) -> None:
    with pytest.raises(triplane.ConfigError, match="no blanks at its ends") as caught:
        triplane.Endpoint("ws://host/v1", api_key=f"sk-canary{blank}")

    assert "canary" not in str(caught.value)


def test_outside_of_trio_it_says_so() -> None:
    async def main() -> None:
        async with triplane.open_engine(triplane.Endpoint("ws://host/v1")):
            pass

    with pytest.raises(triplane.ConfigError, match=r"trio\.run"):
        asyncio.run(main())


async def test_a_conversation_with_a_call_that_nobody_answers_is_refused_before_it_is_sent(
    bench, autojump_clock
) -> None:
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    async with bench() as b:
        with pytest.raises(triplane.RunFailed, match="call_1") as caught:
            await b.engine.run(AGENT, [{"role": "user", "content": "x"}, call])

    assert ("unanswered_calls", "nothing", "change") == (
        caught.value.code,
        caught.value.receipt.sent,
        caught.value.receipt.next,
    )


@pytest.mark.parametrize("close_code", [1000, None])
async def test_a_lane_whose_connection_reached_its_limit_is_given_to_nobody(
    bench, autojump_clock, close_code
) -> None:
    """The server announces it in the middle of a response and lets that go on: it is nobody's answer any more."""
    options = triplane.EngineOptions(max_connections=1)
    server = {"max_age": 5.0, "on_max_age": "announce", "max_age_close_code": close_code}
    async with bench(options=options, **server) as b:
        with pytest.raises(triplane.ServerError, match="limit_reached"):
            async with b.engine.lane() as lane:
                text = "SAY 1 early\nWAIT 10000\nSAY 1 not for you"
                await (await lane.create(ResponseCreate(model="m", input=text, store=False))).wait()
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text


async def test_a_run_that_gives_up_at_the_limit_leaves_the_connection_to_nobody(
    bench, autojump_clock
) -> None:
    options = triplane.EngineOptions(max_connections=1, replay_attempts=0)
    server = {"max_age": 5.0, "on_max_age": "announce", "max_age_close_code": None}
    async with bench(options=options, **server) as b:
        with pytest.raises(triplane.ServerError, match="limit_reached"):
            await b.engine.run(AGENT, "SAY 1 early\nWAIT 10000\nSAY 1 not for you")
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text


async def test_a_warm_up_at_the_limit_leaves_the_connection_to_nobody(bench, autojump_clock) -> None:
    options = triplane.EngineOptions(max_connections=1)
    server = {"max_age": 5.0, "on_max_age": "next_create", "max_age_close_code": None}
    async with bench(options=options, **server) as b:
        await b.engine.run(AGENT, "x")
        await trio.sleep(6)
        assert 0 == await b.engine.warm_up(AGENT)
        assert ("echo: y", 0) == ((state := await b.engine.run(AGENT, "y")).text, state.replays)


async def test_a_bare_lane_that_gets_no_event_says_how_far_it_came(bench, autojump_clock) -> None:
    async with bench(faults=[Malformed(4)]) as b, b.engine.lane() as lane:
        turn = await lane.create(ResponseCreate(model="m", input="SAY 9 word ", store=False))
        with pytest.raises(triplane.ProtocolViolation) as caught:
            await turn.wait()

    assert ("accepted", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)


async def test_what_was_streamed_is_not_lost_to_an_empty_list_at_the_end(bench, autojump_clock) -> None:
    async with bench(faults=[SpoilOutput(output="empty")]) as b:
        assert "word word " == (await b.engine.run(AGENT, "SAY 2 word ")).text


async def test_an_abandoned_response_that_outlives_the_announced_limit_is_nobodys_answer(
    bench, autojump_clock
) -> None:
    options = triplane.EngineOptions(max_connections=1, drain_timeout=30)
    server = {"max_age": 5.0, "on_max_age": "announce", "max_age_close_code": None}
    async with bench(options=options, **server) as b:
        with trio.move_on_after(1):
            await b.engine.run(AGENT, "SAY 1 early\nWAIT 10000\nSAY 1 not for you")
        await trio.sleep(5)
        assert "echo: x" == (await b.engine.run(AGENT, "x")).text
