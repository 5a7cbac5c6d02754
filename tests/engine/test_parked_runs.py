"""Runs that are parked in a ledger: nothing is forgotten, asked twice or done without approval; and what servers ask."""

from __future__ import annotations

import json

import attrs
import pytest
from approving import CALLS, HOSTED, Shop, kinds, ledger_state, park, parked, requests, told
from played_server import Played, call, message, open_stage
from resuming import add_cut_off

import triplane
from triplane.ledger.export import as_atif, as_input, as_line
from triplane.testing import crash_at_every_step

# Parked in a ledger.


async def test_run_raises_and_resume_goes_on(bench, autojump_clock) -> None:
    shop = Shop()
    ledger = triplane.MemoryLedger()
    async with bench(ledger=ledger) as b:
        parked = await park(b.engine, shop.agent(), f'{CALLS}\nCALL pay {{"amount": 3}}')
        assert ("finished", "resume") == (parked.receipt.sent, parked.receipt.next)
        first, second = (each.call_id for each in parked.approvals)
        log = ledger.logs[parked.run_id]
        there = len(log.records)
        assert 1 == len(requests(b))

    # In another engine, as if in another process.
    async with bench(ledger=ledger) as b:
        # Nothing decided: nothing is sent and nothing recorded.
        with pytest.raises(triplane.ApprovalRequired) as caught:
            await b.engine.resume(parked.run_id, shop.agent())
        assert parked.approvals == caught.value.approvals
        assert there == len(log.records)
        for wrong in ({"approve": ["x"]}, {"deny": ["x"]}, {"approve": [first, "x"]}):
            with pytest.raises(triplane.ConfigError, match="'x' waits for no approval"):
                await b.engine.resume(parked.run_id, shop.agent(), **wrong)
        assert there == len(log.records)

        # Half of it decided: that is kept.
        with pytest.raises(triplane.ApprovalRequired) as caught:
            await b.engine.resume(parked.run_id, shop.agent(), deny={first: "Not that."})
        assert [second] == [each.call_id for each in caught.value.approvals]
        assert ["run_resumed", "approval_given", "run_parked"] == kinds(log.records[there:])
        assert not b.network.opened

        result = await b.engine.resume(parked.run_id, shop.agent(), approve=[second])

        assert ["look 2", "pay 3"] == shop.done
        assert "completed" == result.status
        assert ["denied", "ok", "ok"] == sorted(each.outcome.kind for each in result.tool_calls)
        # The same may be said again, and nothing else.
        assert result == await b.engine.resume(parked.run_id, shop.agent(), approve=[second], deny=[first])
        with pytest.raises(triplane.ConfigError, match="was denied already"):
            await b.engine.resume(parked.run_id, shop.agent(), approve=[first])


async def test_at_once_in_the_same_file(bench, tmp_path) -> None:
    """The claim was given back when the error came, and can be taken again."""
    shop = Shop()
    async with bench(ledger=tmp_path / "runs.db") as b:
        for _ in range(3):
            waiting = await park(b.engine, shop.agent(), 'CALL pay {"amount": 1}')
            with pytest.raises(triplane.ApprovalRequired):
                await b.engine.resume(waiting.run_id, shop.agent())
            asked = [each.call_id for each in waiting.approvals]
            assert "completed" == (await b.engine.resume(waiting.run_id, shop.agent(), approve=asked)).status


@pytest.mark.parametrize(
    ("decisions", "words"),
    [
        ({"approve": "call_1"}, "approve= takes the ids of calls in a list"),
        ({"deny": "call_1"}, "deny= takes the ids of calls in a list"),
        ({"approve": [1]}, "ids of calls and reasons are text"),
        ({"deny": {"call_1": None}}, "ids of calls and reasons are text"),
        ({"approve": ["a"], "deny": ["a"]}, "cannot be both"),
    ],
)
async def test_what_is_no_decision(bench, decisions, words) -> None:
    async with bench() as b:
        with pytest.raises(triplane.ConfigError, match=words):
            await b.engine.resume("run_1", Shop().agent(), **decisions)


async def test_from_every_record_on_each_effect_happens_once_and_none_without_approval(
    bench, autojump_clock
) -> None:
    shop = Shop()
    agent = shop.agent(settings=HOSTED)
    text = f'{CALLS}\nCALL pay {{"amount": 3}}\nAPPROVE dice roll {{}}'
    ledger = triplane.MemoryLedger()

    def decide(asked: triplane.ApprovalAsked) -> bool:
        return "3" not in asked.arguments

    async with bench(ledger=ledger) as b, b.engine.open_run(agent, text) as run:
        for asked in await parked(run):
            if decide(asked):
                run.approve(asked.call_id)
            else:
                run.deny(asked.call_id, "No.")
        whole = await run.wait()
    records = run.log.records

    async with bench(ledger=ledger) as b:
        for length in range(1, len(records) + 1):
            run_id = f"{run.run_id}_{length}"
            add_cut_off(ledger, run_id, records, length)
            shop.done.clear()
            before = [each.body for each in records[:length]]
            approve: list[str] = []
            deny: dict[str, str] = {}
            while True:
                try:
                    state = await b.engine.resume(run_id, agent, approve=approve, deny=deny)
                    break
                except triplane.ApprovalRequired as error:
                    assert "pay 1" not in shop.done
                    approve = [each.call_id for each in error.approvals if decide(each)]
                    deny = {each.call_id: "No." for each in error.approvals if not decide(each)}
            assert whole.status == state.status
            kinds_then = sorted(each.outcome.kind for each in state.tool_calls)
            started = [body.arguments for body in before if isinstance(body, triplane.ToolStarted)]
            finished = [body.call_id for body in before if isinstance(body, triplane.ToolFinished)]
            if "interrupted" in kinds_then:
                assert '{"amount": 1}' in started
                assert "pay 1" not in shop.done
            else:
                assert sorted(each.outcome.kind for each in whole.tool_calls) == kinds_then
                assert whole.text == state.text
                paid = any(
                    isinstance(body, triplane.ToolFinished) and body.outcome.output == "paid 1"
                    for body in before
                )
                assert (0 if paid else 1) == shop.done.count("pay 1"), (length, finished)
            assert "pay 3" not in shop.done
            assert state == ledger_state(ledger, run_id)


async def test_following_a_resumed_run(bench, autojump_clock) -> None:
    shop = Shop()
    ledger = triplane.MemoryLedger()
    async with bench(ledger=ledger) as b:
        parked = await park(b.engine, shop.agent(), CALLS)
        async with b.engine.open_resumed(parked.run_id, shop.agent()) as run:
            async for event in run:
                if isinstance(event, triplane.RunParked):
                    run.approve(event.approvals[0])
            assert "completed" == run.result.status
    assert ["look 2", "pay 1"] == shop.done


async def test_in_a_fan_out_the_others_go_on(bench, autojump_clock) -> None:
    shop = Shop()
    async with bench() as b:
        agent = shop.agent()
        async with b.engine.fan_out(agent, [CALLS, "SAY 1 hi"], max_runs=1, ordered=True) as results:
            found = [each async for each in results]
        assert isinstance(found[0].error, triplane.ApprovalRequired)
        assert "hi" == found[1].result.text
        asked = [each.call_id for each in found[0].error.approvals]
        result = await b.engine.resume(found[0].run.run_id, agent, approve=asked)
    assert "completed" == result.status
    assert (0, 3) == (b.engine.statistics().runs_active, b.engine.statistics().runs_finished)


QUESTION = 'CALL clerk {"question": "CALL pay {\\"amount\\": 1}"}\nCALL look {"amount": 2}'


@pytest.mark.parametrize("approve", [True, False])
async def test_what_an_agent_as_a_tool_asks_its_parent_asks(bench, autojump_clock, approve) -> None:
    """Both are parked, and the parent goes on with the child once it is decided, each effect once."""
    shop = Shop()
    ledger = triplane.MemoryLedger()
    parent = triplane.Agent("m", tools=[shop.agent(name="clerk").as_tool(), shop.look])
    async with bench(ledger=ledger) as b:
        waiting = await park(b.engine, parent, QUESTION)
        assert ["look 2"] == shop.done
        parent_run, child_run = ledger.logs
        assert parent_run == waiting.run_id
        (asked,) = waiting.approvals
        (of_child,) = ledger_state(ledger, child_run).approvals
        started = [each.body for each in ledger.logs[parent_run].records if kinds([each]) == ["tool_started"]]
        (call,) = [each for each in started if each.name == "clerk"]
        assert attrs.evolve(of_child, in_call=call.call_id) == asked
        with pytest.raises(triplane.ApprovalRequired):
            await b.engine.resume(parent_run, parent)
    async with bench(ledger=ledger) as b:
        decision = {"approve": [asked.call_id]} if approve else {"deny": {asked.call_id: "No."}}
        result = await b.engine.resume(parent_run, parent, **decision)

    assert "completed" == result.status
    assert (["look 2", "pay 1"] if approve else ["look 2"]) == shop.done
    assert ("ok", 'RESULT: "paid 1"') == told(result)["clerk"] or not approve
    assert "not approved. The reason: No." in told(result)["clerk"][1] or approve
    assert "completed" == ledger_state(ledger, child_run).status
    assert result == ledger_state(ledger, parent_run)


async def test_generations_of_agents_ask_as_often_as_they_have_to(bench, autojump_clock) -> None:
    shop = Shop()
    child = triplane.Agent("m", tools=[shop.agent(name="clerk").as_tool()], name="manager")
    parent = triplane.Agent("m", tools=[child.as_tool(), shop.pay])
    inner = json.dumps({"question": 'CALL pay {"amount": 1}\nSAY 1 next\nCALL pay {"amount": 2}'})
    text = f'CALL manager {json.dumps({"question": f"CALL clerk {inner}"})}\nCALL pay {{"amount": 3}}'
    async with bench() as b, b.engine.open_run(parent, text) as run:
        seen: list[str] = []
        async for event in run:
            if isinstance(event, triplane.RunParked):
                for asked in run.approvals:
                    seen.append(asked.arguments)
                    run.approve(asked.call_id)
        assert "completed" == run.result.status

    assert ['{"amount": 1}', '{"amount": 2}', '{"amount": 3}'] == sorted(seen)
    assert ["pay 1", "pay 2", "pay 3"] == sorted(shop.done)


async def test_parent_and_child_may_die_at_any_moment(autojump_clock) -> None:
    shops: list[Shop] = []

    def make() -> triplane.Agent:
        shops.append(Shop())
        return triplane.Agent("m", tools=[shops[-1].agent(name="clerk").as_tool()])

    report = await crash_at_every_step(make, QUESTION.partition("\n")[0])

    report.check()
    assert {0, 1} >= {shop.done.count("pay 1") for shop in shops}
    assert len([shop for shop in shops if not shop.done]) <= 1


async def test_an_agent_that_is_a_tool_goes_on_as_what_it_is_now(bench, autojump_clock) -> None:
    """It is what the tool does; what it had done, and what was approved, are not lost."""
    shop = Shop()

    def parent(instructions: str) -> triplane.Agent:
        child = triplane.Agent("m", instructions, tools=shop.agent().tools, name="clerk")
        return triplane.Agent("m", tools=[child.as_tool()])

    async with bench() as b:
        parked = await park(b.engine, parent("Be brief."), QUESTION.partition("\n")[0])
        approve = [asked.call_id for asked in parked.approvals]
        result = await b.engine.resume(parked.run_id, parent("Be kind."), approve=approve)
        (child_id,) = [each for each in await b.engine.ledger.run_ids() if each != parked.run_id]
        changes = [
            record.body.changes
            async for record in b.engine.ledger.follow(child_id)
            if isinstance(record.body, triplane.RunResumed)
        ]

    assert "ok" == told(result)["clerk"][0]
    assert ["pay 1"] == shop.done
    assert ("the instructions changed",) == changes[0]


async def test_a_call_of_an_agent_can_wait_too(bench, autojump_clock) -> None:
    child = triplane.Agent("m", name="clerk")
    parent = triplane.Agent("m", tools=[child.as_tool(needs_approval=True)])
    async with bench() as b:
        parked = await park(b.engine, parent, 'CALL clerk {"question": "SAY 1 hi"}')
        result = await b.engine.resume(parked.run_id, parent, approve=[parked.approvals[0].call_id])
    assert ("ok", "hi") == told(result)["clerk"]


# What the server asks.


@pytest.mark.parametrize("approve", [True, False])
async def test_the_requests_of_a_server_are_asked_in_the_same_way(bench, autojump_clock, approve) -> None:
    agent = triplane.Agent("m", settings=HOSTED)
    async with bench() as b:
        parked = await park(b.engine, agent, 'APPROVE dice roll {"n":1}')
        (asked,) = parked.approvals
        assert ("roll", '{"n":1}', "dice") == (asked.name, asked.arguments, asked.server_label)
        decision = {"approve": [asked.call_id]} if approve else {"deny": {asked.call_id: "No games."}}
        result = await b.engine.resume(parked.run_id, agent, **decision)

    answer = {"type": "mcp_approval_response", "approval_request_id": asked.call_id, "approve": approve}
    assert answer | ({} if approve else {"reason": "No games."}) == requests(b)[1]["input"][-1]
    assert f'"approve":{str(approve).lower()}' in result.text


async def test_the_answer_to_a_server_comes_with_the_outputs(bench, autojump_clock) -> None:
    shop = Shop()
    agent = shop.agent(settings=HOSTED)
    async with bench() as b, b.engine.open_run(agent, f"APPROVE dice roll {{}}\n{CALLS}") as run:
        async for event in run:
            if isinstance(event, triplane.RunParked):
                assert 2 == len(event.approvals)
                await run.send("Soon.")
                for asked in run.approvals:
                    run.approve(asked.call_id)
        assert "completed" == run.result.status
    sent = requests(b)[1]["input"]
    assert ["function_call_output"] * 2 + ["mcp_approval_response", "message"] == [
        each["type"] for each in sent
    ]
    assert ["look 2", "pay 1"] == shop.done


async def test_a_parked_run_is_exported_as_it_stands(bench, autojump_clock) -> None:
    shop = Shop()
    agent = shop.agent(settings=HOSTED)
    async with bench() as b, b.engine.open_run(agent, f"APPROVE dice roll {{}}\n{CALLS}") as run:
        roll, pay = sorted(await parked(run), key=lambda asked: asked.name, reverse=True)
        waiting = run.log.records
        run.deny(roll.call_id, "No games.")
        run.approve(pay.call_id)
        await run.wait()

    assert ["message", "mcp_approval_request", "function_call", "function_call"] == [
        item["type"] for item in as_input(waiting)
    ]
    trajectory = as_atif(waiting)
    assert ["user", "agent"] == [step["source"] for step in trajectory["steps"]]
    assert "parked" == trajectory["extra"]["status"]
    assert {"pay", "roll"} == {asked["name"] for asked in trajectory["extra"]["approvals"]}
    lines = [as_line(run.run_id, record) for record in waiting]
    assert b'"type":"triplane.run_parked"' in lines[-1]

    steps = as_atif(run.log.records)["steps"]
    assert [("user", "Denied. No games.")] == [
        (step["source"], step["message"]) for step in steps if "mcp_approval_response" in str(step)
    ]
    assert "approvals" not in as_atif(run.log.records)["extra"]


async def test_what_a_server_asks_after_it_was_asked_in_vain_is_asked_again(autojump_clock) -> None:
    """A call that ran another agent was cancelled with its question open; then the run's own server asks the same."""
    asked = triplane.ApprovalAsked("mcpr_1", "roll", "{}", "dice", in_call="call_1")
    request = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "roll", "arguments": "{}"}

    async def play(peer: Played) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.answer("r1", call("look", "{}"))
            await peer.request()
            await peer.answer("r2", {**request, "server_label": "dice"})
        await peer.request()
        await peer.answer(f"r3_{peer.number}", message("Done."))

    @triplane.tool
    async def look() -> str:
        """Look."""
        return "seen"

    agent = triplane.Agent("m", tools=[look])
    async with open_stage(play) as stage, stage.engine.open_run(agent, "Go.") as run:
        await parked(run)
        records = [each.body for each in run.log.records]
    place = next(n for n, body in enumerate(records) if isinstance(body, triplane.ToolFinished))
    last = next(n for n, body in enumerate(records) if isinstance(body, triplane.ApprovalAsked))
    records.insert(place, asked)
    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    log = ledger.create(run.run_id)
    for body in records[: last + 1]:
        log.append(body)
    log.release()

    async with open_stage(play, ledger=ledger) as stage:
        with pytest.raises(triplane.ApprovalRequired) as caught:
            await stage.engine.resume(run.run_id, agent)
        assert [("mcpr_1", None)] == [(each.call_id, each.in_call) for each in caught.value.approvals]
        await stage.engine.resume(run.run_id, agent, approve=["mcpr_1"])

    assert "Done." == ledger_state(ledger, run.run_id).text
