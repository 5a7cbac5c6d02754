"""Calls that wait for a person: they run when they are approved, once, and never before."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from approving import CALLS, Shop, kinds, park, parked, requests, told

import triplane

# Within `open_run`.


async def test_a_run_goes_on_by_itself_when_everything_is_decided(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b, b.engine.open_run(shop.agent(), f'{CALLS}\nCALL send {{"amount": 500}}') as run:
        async for event in run:
            match event:
                case triplane.ApprovalAsked(call_id=call_id, name="send"):
                    assert '{"amount": 500}' == event.arguments
                    run.deny(call_id, "Too much.")
                case triplane.RunParked(approvals=(call_id,)):
                    assert ["look 2"] == shop.done
                    (asked,) = run.approvals
                    assert (call_id, "pay", None, "") == (
                        asked.call_id,
                        asked.name,
                        asked.server_label,
                        asked.note,
                    )
                    assert "parked" == run.state.status
                    assert [None] == [lane.holder for lane in b.engine.statistics().pool.lanes]
                    run.approve(call_id)
                    assert () == run.approvals
        result = run.result

    assert ["look 2", "pay 1"] == shop.done
    assert {
        "pay": ("ok", "paid 1"),
        "look": ("ok", "saw 2"),
        "send": ("denied", "The tool was not run: the call was not approved. The reason: Too much."),
    } == told(result)
    assert "completed" == result.status
    assert () == result.approvals
    assert [
        "run_started",
        "request_sent",
        "approval_asked",
        "approval_asked",
        "tool_started",
        "approval_given",
        "tool_finished",
        "run_parked",
        "approval_given",
        "tool_finished",
        "tool_started",
        "tool_finished",
        "request_sent",
        "run_ended",
    ] == kinds(run.log.records)
    # Outputs are in the order of the calls, whatever came first.
    outputs = [each["output"] for each in requests(b)[1]["input"]]
    assert ["paid 1", "saw 2"] == outputs[:2]


async def test_who_decides_before_the_others_have_finished_does_not_park_it(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b, b.engine.open_run(shop.agent(), CALLS) as run:
        async for event in run:
            if isinstance(event, triplane.ApprovalAsked):
                run.approve(event.call_id)
        await run.wait()

    assert "run_parked" not in kinds(run.log.records)
    assert ["look 2", "pay 1"] == shop.done


async def test_a_parked_run_holds_nothing(bench, autojump_clock) -> None:
    """Another run has the only lane meanwhile, and the parked one continues with its whole conversation."""
    shop = Shop()
    options = triplane.EngineOptions(max_connections=1)
    async with bench(options=options) as b, b.engine.open_run(shop.agent(), CALLS) as run:
        await parked(run)
        other = await b.engine.run(triplane.Agent("m"), "SAY 1 other")
        assert "other" == other.text
        (asked,) = run.approvals
        run.approve(asked.call_id)
        result = await run.wait()

    assert "completed" == result.status
    assert ["look 2", "pay 1"] == shop.done


async def test_leaving_a_parked_run_leaves_it_parked(bench, autojump_clock) -> None:
    shop = Shop()
    ledger = triplane.MemoryLedger()
    async with bench(ledger=ledger) as b:
        seen: list[str] = []
        async with trio.open_nursery() as nursery:

            async def read(run: triplane.Run) -> None:
                seen.extend([event.type async for event in run])

            with trio.fail_after(60):
                async with b.engine.open_run(shop.agent(), CALLS) as run:
                    # From outside of the block: a reader must not wait for what nobody writes.
                    nursery.start_soon(read, run)
                    await parked(run)
            assert "parked" == run.state.status
            for ask in (lambda: run.result, lambda: run.approve(run.approvals[0].call_id)):
                with pytest.raises(triplane.TriplaneError) as caught:
                    ask()
                assert "engine.resume" in str(caught.value)
        assert "triplane.run_parked" == seen[-1]
        assert [event.type async for event in run] == seen

        # Whoever has the ledger goes on.
        result = await b.engine.resume(run.run_id, shop.agent(), approve=[run.state.approvals[0].call_id])

    assert ("completed", ["look 2", "pay 1"]) == (result.status, shop.done)


async def test_a_decision_is_about_one_call_by_its_id(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b, b.engine.open_run(shop.agent(), CALLS) as run:
        await parked(run)
        (asked,) = run.approvals
        for decide in (run.approve, run.deny):
            for wrong in ([asked.call_id], {asked.call_id: "Too much."}, asked, None):
                with pytest.raises(triplane.ConfigError, match="the id of one call, .* once for each"):
                    decide(wrong)
        for wrong in ({"approve": [[asked.call_id]]}, {"deny": [asked]}, {"deny": {asked.call_id: ["why"]}}):
            with pytest.raises(triplane.ConfigError, match="ids of calls and reasons are text"):
                await b.engine.resume(run.run_id, shop.agent(), **wrong)
        # The model would have to be told.
        with pytest.raises(triplane.ConfigError, match=r"reasons are text, and .* holds a lone surrogate"):
            run.deny(asked.call_id, "no \ud800")
        assert (asked,) == run.approvals
        run.cancel()


async def test_cancelling_a_parked_run_ends_it(bench, autojump_clock) -> None:
    shop = Shop()
    for when in ("now", "after_turn"):
        async with bench() as b, b.engine.open_run(shop.agent(), CALLS) as run:
            await parked(run)
            run.cancel(when)
            with pytest.raises(triplane.RunFailed):
                await run.wait()
            assert "cancelled" == run.state.status
            with pytest.raises(triplane.RunFailed) as caught:
                run.approve(run.approvals[0].call_id)
            assert "run_ended" == caught.value.code


async def test_what_is_said_while_it_is_parked_comes_with_the_outputs(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b, b.engine.open_run(shop.agent(), CALLS) as run:
        await parked(run)
        await run.send("And be quick.")
        assert triplane.Steered("queued", "no_response") == await run.steer("Really.")
        assert "parked" == run.state.status
        run.approve(run.approvals[0].call_id)
        await run.wait()

    sent = requests(b)[1]["input"]
    assert ["paid 1", "saw 2", "And be quick.", "Really."] == [
        each.get("output", each.get("content")) for each in sent
    ]


async def test_a_fork_does_not_wait_for_the_person(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b, b.engine.open_run(shop.agent(), CALLS) as run:
        await parked(run)
        with trio.fail_after(10):
            async with run.fork("SAY 1 elsewhere") as fork:
                assert "elsewhere" == (await fork.wait()).text
        assert "parked" == run.state.status
        run.deny(run.approvals[0].call_id)
        assert "completed" == (await run.wait()).status
        # Before the response that asked.
        assert ["user", "user"] == [item["role"] for item in fork.log.records[0].body.input]


async def test_once_the_engine_is_left_nothing_is_decided(bench, autojump_clock) -> None:
    shop = Shop()
    ledger = triplane.MemoryLedger()
    runs: list[triplane.Run] = []
    async with trio.open_nursery() as nursery:
        async with bench(ledger=ledger) as b:

            async def hold(*, task_status: trio.TaskStatus[None]) -> None:
                async with b.engine.open_run(shop.agent(), CALLS) as run:
                    runs.append(run)
                    await parked(run)
                    task_status.started()
                    await trio.sleep_forever()

            await nursery.start(hold)
        with pytest.raises(triplane.EngineClosed):
            runs[0].approve(runs[0].approvals[0].call_id)
        nursery.cancel_scope.cancel()

    assert "run_parked" == kinds(ledger.logs[runs[0].run_id].records)[-1]


# What is asked, and what not.


async def test_what_does_not_fit_is_not_asked_about(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b:
        result = await b.engine.run(shop.agent(), 'CALL pay {"amount": "much"}')

    assert "failed" == told(result)["pay"][0]
    assert "were not run" not in told(result)["pay"][1]
    assert [] == shop.done


async def test_a_predicate_sees_the_arguments(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b:
        result = await b.engine.run(shop.agent(), 'CALL send {"amount": 100}')
        assert ("ok", "sent 100") == told(result)["send"]
        parked = await park(b.engine, shop.agent(), 'CALL send {"amount": 101}')
    assert [("send", '{"amount": 101}')] == [(each.name, each.arguments) for each in parked.approvals]
    assert ["send 100"] == shop.done


async def _answer() -> bool:
    raise AssertionError("it ran")


def answer_later(_: Any) -> Any:
    return _answer()


@pytest.mark.parametrize(
    ("predicate", "note"),
    [
        (answer_later, "needs_approval returned a coroutine and not True or False"),
        (lambda _: 1 / 0, "needs_approval could not tell: ZeroDivisionError: division by zero"),
        (lambda _: None, "needs_approval returned a NoneType and not True or False"),
        (lambda _: 0, "needs_approval returned a int and not True or False"),
    ],
)
async def test_who_cannot_tell_asks(bench, autojump_clock, predicate, note) -> None:
    @triplane.tool(needs_approval=predicate)
    async def risk() -> str:
        """Risk it."""
        raise AssertionError("it ran")

    async with bench() as b:
        parked = await park(b.engine, triplane.Agent("m", tools=[risk]), "CALL risk {}")

    assert [note] == [each.note for each in parked.approvals]


async def test_a_call_that_waits_never_starts_early(bench, autojump_clock) -> None:
    began: list[int] = []

    @triplane.tool(effect="read", early=True, needs_approval=lambda arguments: arguments["n"] > 1)
    async def peek(n: int) -> str:
        """Peek."""
        began.append(n)
        return str(n)

    text = 'CALL peek {"n": 2}\nCALL peek {"n": 1}\nCALL peek {"n": 1}'
    async with bench() as b, b.engine.open_run(triplane.Agent("m", tools=[peek]), text) as run:
        (asked,) = await parked(run)
        assert [1, 1] == began
        run.approve(asked.call_id)
        await run.wait()
    assert [1, 1, 2] == began


@pytest.mark.parametrize("error", ["report", "raise"])
async def test_a_sibling_that_fails_cancels_the_one_that_waits(bench, autojump_clock, error) -> None:
    shop = Shop()
    agent = shop.agent(siblings="cancel", on_error=error)
    async with bench() as b:
        running = b.engine.run(agent, 'CALL pay {"amount": 1}\nCALL fail {"amount": 2}')
        if error == "raise":
            with pytest.raises(triplane.RunFailed):
                await running
        else:
            result = await running
            assert ("cancelled", "The call was cancelled because fail failed.") == told(result)["pay"]
            assert () == result.approvals
    assert ["fail 2"] == shop.done


async def test_decisions_that_nobody_waits_for(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b, b.engine.open_run(shop.agent(), f'{CALLS}\nCALL pay {{"amount": 3}}') as run:
        first, second = await parked(run)
        looked = next(each.call.call_id for each in run.state.tool_calls)
        for call_id in ("nothing", looked):
            with pytest.raises(triplane.ConfigError, match=r"waits for no approval; what is open: pay \("):
                run.approve(call_id)
        run.approve(first.call_id)
        with pytest.raises(triplane.ConfigError, match="was approved already, which cannot be taken back"):
            run.deny(first.call_id)
        assert "parked" == run.state.status
        run.deny(second.call_id)
        with pytest.raises(triplane.ConfigError, match="was denied already.*what is open: nothing"):
            run.approve(second.call_id)
        await run.wait()
    assert ["look 2", "pay 1"] == shop.done


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"needs_approval": 1}, "give True, False, or a function"),
        ({"needs_approval": "always"}, "give True, False, or a function"),
        ({"needs_approval": True, "early": True, "effect": "read"}, "can never start early"),
    ],
)
def test_options_that_make_no_sense(option, words) -> None:
    with pytest.raises(triplane.ConfigError, match=words):

        @triplane.tool(**option)
        async def one() -> None:
            """One."""


def test_a_predicate_is_not_async() -> None:
    async def later(arguments: dict[str, Any]) -> bool:
        raise NotImplementedError

    with pytest.raises(triplane.ConfigError, match="not an async one"):
        triplane.process_tool(lambda: ["true"], name="one", needs_approval=later)
