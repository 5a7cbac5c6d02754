"""A run that was cut off after any record of its log goes on to the right answer, and nothing is done twice."""

from __future__ import annotations

import attrs
import pytest
import trio
from resuming import Effects, add_cut_off, cut_off, dues, run_id_of

import triplane
from triplane.core.reducer import RunReducer
from triplane.server import Drop, ErrorEvent

ONE_OF_EACH = "\n".join(f'CALL {name} {{"amount": {n}}}' for n, name in enumerate(("pay", "put", "look")))
SCENARIOS = {
    "no tools": ("SAY 3 word ", {}),
    "calls side by side": (ONE_OF_EACH, {}),
    "one call after another": (ONE_OF_EACH.replace("\nCALL", "\nSAY 1 next\nCALL"), {}),
    "the same call again and again": ('REPEAT 3 CALL pay {"amount": 1}', {}),
    "a lost connection": (ONE_OF_EACH, {"faults": [Drop(5, nth=2)]}),
    "a call nobody can make": ('CALL nothing {}\nCALL pay {"amount": 1}', {}),
    "an early end": ("SAY 3 word \nINCOMPLETE max_output_tokens", {}),
}


def places(records):
    """Where to cut: after each record, though not in the middle of many frames in a row."""
    frames = [isinstance(each.body, triplane.FramesReceived) for each in records]
    for length in range(1, len(records) + 1):
        if not all(frames[max(0, length - 3) : length + 2]):
            yield length


async def record(bench, agent, run_input, **options):
    """The records of a run that goes through, and its result."""
    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    async with bench(ledger=ledger, **options) as b:
        result = await b.engine.run(agent, run_input)
    return ledger.logs[result.run_id].records, result


@pytest.mark.parametrize("name", SCENARIOS)
async def test_from_every_record_on_the_answer_is_right_and_each_effect_happens_once(
    bench, autojump_clock, name
) -> None:
    run_input, options = SCENARIOS[name]
    effects = Effects()
    agent = effects.agent()
    records, whole = await record(bench, agent, run_input, **options)

    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    async with bench(ledger=ledger) as b:
        for length in places(records):
            run_id = f"{whole.run_id}_{length}"
            add_cut_off(ledger, run_id, records, length)
            effects.done.clear()
            result = await b.engine.resume(run_id, agent)

            due = dues(run_id, records, length)
            # What the model had not asked for yet it asks for anew, by other ids.
            run = sorted(name for name, _ in effects.done)
            assert sorted(each.tool for each in due.values() if each.again) == run
            again = {key for key, each in due.items() if each.is_open and each.again}
            assert again <= {key for _, key in effects.done}
            told = [each.outcome.kind for each in result.tool_calls]
            assert sum(each.doubtful for each in due.values()) == told.count("interrupted")
            if "interrupted" not in told:
                assert whole.text == result.text
            assert (whole.status, whole.turns) == (result.status, result.turns)
            # What is in the log is what the engine had in its hands.
            replayed = RunReducer()
            for each in ledger.logs[run_id].records:
                replayed.apply(each)
            assert result == replayed.snapshot()


async def test_what_is_over_is_given_again(bench) -> None:
    effects = Effects()
    agent = effects.agent()
    records, whole = await record(bench, agent, 'CALL pay {"amount": 1}')
    ledger = cut_off(records, len(records))

    async with bench(ledger=ledger) as b:
        result = await b.engine.resume(whole.run_id, agent)
        async with b.engine.open_resumed(whole.run_id, agent) as run:
            events = [event async for event in run]

    assert whole == result == run.result
    assert [triplane.RunEnded("completed")] == events
    assert 0 == b.network.opened
    assert records == ledger.logs[whole.run_id].records


async def test_a_cancelled_run_goes_on(bench, autojump_clock) -> None:
    ledger = triplane.MemoryLedger()
    agent = Effects().agent()
    async with bench(ledger=ledger, latency=200) as b:
        with trio.move_on_after(0.3):
            await b.engine.run(agent, "SAY 50 word ")
        run_id = run_id_of(ledger)
        assert "cancelled" == ledger.logs[run_id].records[-1].body.status
        result = await b.engine.resume(run_id, agent)

    assert "completed" == result.status
    assert "word " * 50 == result.text
    assert result.turns == 1


async def test_a_failed_run_goes_on(bench, autojump_clock) -> None:
    ledger = triplane.MemoryLedger()
    agent = Effects().agent(limits=triplane.RunLimits(max_turns=2))
    async with bench(ledger=ledger) as b:
        with pytest.raises(triplane.LimitReached) as caught:
            await b.engine.run(agent, 'REPEAT 3 CALL pay {"amount": 1}')
        assert "resume" == caught.value.receipt.next
        more = attrs.evolve(agent, limits=triplane.RunLimits())
        result = await b.engine.resume(run_id_of(ledger), more)

    assert "completed" == result.status
    assert 4 == result.turns
    assert ["ok"] * 3 == [each.outcome.kind for each in result.tool_calls]


async def test_a_failed_response_is_tried_again(bench, autojump_clock) -> None:
    ledger = triplane.MemoryLedger()
    agent = Effects().agent()
    options = triplane.EngineOptions(replay_attempts=0)
    async with bench(ledger=ledger, options=options, faults=[ErrorEvent(4, nth=1, shape="failed")]) as b:
        with pytest.raises(triplane.RunFailed):
            await b.engine.run(agent, "SAY 3 word ")
        async with b.engine.open_resumed(run_id_of(ledger), agent) as run:
            events = [event async for event in run]

    assert "word word word " == run.result.text
    assert isinstance(events[0], triplane.RunResumed)
    assert triplane.ResponseRetracted(1, "resumed", events[1].shown, ambiguous=True) == events[1]
    (sent,) = [event for event in events if isinstance(event, triplane.RequestSent)]
    assert (1, 2) == (sent.turn, sent.attempt)


async def test_input_that_was_not_sent_is_sent(bench, autojump_clock) -> None:
    agent = Effects().agent()
    records, whole = await record(bench, agent, "SAY 1 first")
    # It came while the response was made, and died with the process.
    ledger = cut_off(records, 3)
    log = await ledger.claim(whole.run_id)
    log.append(triplane.InputAdded(({"type": "message", "role": "user", "content": "SAY 1 second"},)))
    log.release()

    async with bench(ledger=ledger) as b:
        result = await b.engine.resume(whole.run_id, agent)

    assert "second" == result.text


async def test_another_agent_is_refused_with_the_difference(bench) -> None:
    effects = Effects()
    agent = effects.agent(settings=triplane.ModelSettings(temperature=0.1))
    records, whole = await record(bench, agent, 'CALL pay {"amount": 1}')
    ledger = cut_off(records, 3)

    @triplane.tool
    async def extra() -> str:
        """One more."""
        return ""

    other = attrs.evolve(
        agent,
        model="n",
        instructions="Be quick.",
        tools=[*agent.tools[1:], extra],
        settings=triplane.ModelSettings(temperature=0.2),
    )
    async with bench(ledger=ledger) as b:
        with pytest.raises(triplane.ConfigError) as caught:
            await b.engine.resume(whole.run_id, other)
        assert records[:3] == ledger.logs[whole.run_id].records
        # Nothing is held after that.
        result = await b.engine.resume(whole.run_id, other, allow_changes=True)

    differences = (
        "the instructions changed",
        "the model changed",
        "the setting temperature changed",
        "the tool 'extra' is new",
        "the tool 'pay' is gone",
    )
    assert "; ".join(differences) in caught.value.message
    (resumed,) = [
        each.body for each in ledger.logs[whole.run_id].records if isinstance(each.body, triplane.RunResumed)
    ]
    assert differences == resumed.changes
    assert "completed" == result.status


async def test_a_log_of_a_fingerprint_alone_says_that_much(bench) -> None:
    agent = Effects().agent()
    records, whole = await record(bench, agent, "hi")
    begun = attrs.evolve(records[0], body=attrs.evolve(records[0].body, parts={}))
    ledger = cut_off([begun], 1)

    async with bench(ledger=ledger) as b:
        with pytest.raises(triplane.ConfigError, match="its fingerprint is another"):
            await b.engine.resume(whole.run_id, attrs.evolve(agent, model="n"))


@pytest.mark.parametrize("effect", ["read", "idempotent", "write"])
async def test_a_tool_that_has_become_more_dangerous_is_not_run_again(bench, autojump_clock, effect) -> None:
    effects = Effects()
    agent = effects.agent()
    records, whole = await record(bench, agent, 'CALL look {"amount": 1}')
    length = next(n for n, each in enumerate(records, 1) if isinstance(each.body, triplane.ToolStarted))
    ledger = cut_off(records, length)
    now = attrs.evolve(
        agent,
        tools=[each if each.name != "look" else attrs.evolve(each, effect=effect) for each in agent.tools],
    )
    effects.done.clear()
    async with bench(ledger=ledger) as b:
        result = await b.engine.resume(whole.run_id, now)

    assert ("interrupted" if effect == "write" else "ok") == result.tool_calls[0].outcome.kind
    assert (0 if effect == "write" else 1) == len(effects.done)


@pytest.mark.parametrize(
    ("policy", "outcome"), [("raise", "refused"), ("replay", "done"), ("replay_if_harmless", "done")]
)
async def test_a_request_that_was_under_way_is_repeated_by_policy(
    bench, autojump_clock, policy, outcome
) -> None:
    agent = Effects().agent(ambiguous_sends=policy)
    records, whole = await record(bench, agent, "SAY 3 word ")
    ledger = cut_off(records, 2)

    async with bench(ledger=ledger) as b:
        if outcome == "done":
            assert whole.text == (await b.engine.resume(whole.run_id, agent)).text
        else:
            with pytest.raises(triplane.RunFailed) as caught:
                await b.engine.resume(whole.run_id, agent)
            assert "ambiguous_send" == caught.value.code
            assert ("ambiguous", "inspect") == (caught.value.receipt.sent, caught.value.receipt.next)
            assert records[:2] == ledger.logs[whole.run_id].records
            boldly = attrs.evolve(agent, ambiguous_sends="replay")
            assert whole.text == (await b.engine.resume(whole.run_id, boldly)).text


async def test_two_engines_never_drive_one_run(bench, autojump_clock) -> None:
    ledger = triplane.MemoryLedger()
    agent = Effects().agent()
    async with (
        bench(ledger=ledger, latency=500) as b,
        b.engine.open_run(agent, "SAY 3 word ") as run,
        bench(ledger=ledger) as other,
    ):
        with pytest.raises(triplane.LedgerFailed) as caught:
            await other.engine.resume(run.run_id, agent)
        assert "claimed" == caught.value.reason
        assert "word word word " == (await run.wait()).text
        assert "word word word " == (await other.engine.resume(run.run_id, agent)).text


async def test_who_has_lost_the_claim_does_nothing_more(bench, autojump_clock) -> None:
    """The store has given it to somebody else, since this engine seemed to be dead."""
    ledger = triplane.MemoryLedger()
    effects = Effects()
    lost = []

    @triplane.tool(effect="read")
    async def lose() -> str:
        """Lose the claim."""
        if not lost:
            lost.append(True)
            ledger.logs[run_id_of(ledger)].claimed_by = 99
        return ""

    agent = effects.agent(lose)
    async with bench(ledger=ledger) as b:
        with pytest.raises(triplane.LedgerFailed) as caught:
            await b.engine.run(agent, 'CALL lose {}\nSAY 1 next\nCALL pay {"amount": 1}')
        assert "claim_lost" == caught.value.reason
        assert "resume" == caught.value.receipt.next
        sent = len(b.server.requests)
        log = ledger.logs[run_id_of(ledger)]
        log.claimed_by = 0
        assert [] == effects.done
        assert 1 == sent
        assert "completed" == (await b.engine.resume(log.run_id, agent)).status
    assert ["pay"] == [name for name, _ in effects.done]


async def test_what_cannot_be_resumed(bench) -> None:
    ledger = triplane.MemoryLedger()
    agent = Effects().agent()
    ledger.create("run_empty").release()
    newer = ledger.create("run_newer")
    newer.append(triplane.UnknownRecord("future", 1, essential=True, data=b"{}"))
    newer.release()

    async with bench(ledger=ledger) as b:
        with pytest.raises(triplane.ConfigError, match="no run 'run_none'"):
            await b.engine.resume("run_none", agent)
        with pytest.raises(triplane.ConfigError, match="nothing to resume"):
            await b.engine.resume("run_empty", agent)
        with pytest.raises(
            triplane.ConfigError, match="record 0 of run run_newer is a 'future' of version 1"
        ):
            await b.engine.resume("run_newer", agent)
        with pytest.raises(triplane.ConfigError, match="what runs is an Agent"):
            await b.engine.resume("run_empty", "agent")
    with pytest.raises(triplane.EngineClosed):
        await b.engine.resume("run_empty", agent)
