"""Runs with an id of the caller's own: asked for again they go on, and so do the children of a run that is resumed."""

from __future__ import annotations

import pytest
import trio
from resuming import Effects, add_cut_off

import triplane
from triplane.tools import idempotency_key

JOB = 'CALL pay {"amount": 1}'


async def test_asked_for_again_it_gives_its_result_again(bench) -> None:
    effects = Effects()
    agent = effects.agent()
    ledger = triplane.MemoryLedger()
    async with bench(ledger=ledger) as b:
        first = await b.engine.run(agent, JOB, run_id="job-17")
    async with bench(ledger=ledger) as b:
        again = await b.engine.run(agent, JOB, run_id="job-17")

    assert "job-17" == first.run_id
    assert first == again
    assert ["pay"] == [name for name, _ in effects.done]
    assert 0 == b.network.opened


async def test_a_log_that_nothing_was_written_to_is_begun(bench) -> None:
    ledger = triplane.MemoryLedger()
    ledger.create("job-17").release()
    async with bench(ledger=ledger) as b:
        result = await b.engine.run(Effects().agent(), JOB, run_id="job-17")

    assert "completed" == result.status
    assert ["job-17"] == list(ledger.logs)


async def test_cut_off_anywhere_it_goes_on(bench, autojump_clock) -> None:
    effects = Effects()
    agent = effects.agent()
    recorded = triplane.MemoryLedger(clock=lambda: 0.0)
    async with bench(ledger=recorded) as b:
        whole = await b.engine.run(agent, JOB, run_id="whole")
    records = recorded.logs["whole"].records

    ledger = triplane.MemoryLedger(clock=lambda: 0.0)
    async with bench(ledger=ledger) as b:
        for length in range(1, len(records) + 1):
            add_cut_off(ledger, f"job-{length}", records, length)
            effects.done.clear()
            result = await b.engine.run(agent, JOB, run_id=f"job-{length}")
            assert (whole.status, whole.turns) == (result.status, result.turns)
            assert len(effects.done) <= 1


async def test_what_began_otherwise_is_refused_and_left_alone(bench) -> None:
    agent = Effects().agent()
    ledger = triplane.MemoryLedger()
    async with bench(ledger=ledger) as b:
        await b.engine.run(agent, JOB, run_id="job-17")
        before = ledger.logs["job-17"].records

        with pytest.raises(triplane.ConfigError, match=r"'job-17' .* began with another input"):
            await b.engine.run(agent, "Something else.", run_id="job-17")
        with pytest.raises(triplane.ConfigError, match="an Agent, not str"):
            await b.engine.run("agent", JOB, run_id="job-18")
        assert before == ledger.logs["job-17"].records
        assert ["job-17"] == list(ledger.logs)

        # Nobody has been left with the claim.
        (await ledger.claim("job-17")).release()


async def test_another_agent_is_refused_while_it_is_not_over(bench) -> None:
    agent = Effects().agent()
    recorded = triplane.MemoryLedger()
    async with bench(ledger=recorded) as b:
        await b.engine.run(agent, JOB, run_id="whole")
    ledger = triplane.MemoryLedger()
    add_cut_off(ledger, "job-17", recorded.logs["whole"].records, 2)

    async with bench(ledger=ledger) as b:
        with pytest.raises(triplane.ConfigError, match="instructions"):
            await b.engine.run(triplane.Agent("m", "Be quick."), JOB, run_id="job-17")

    assert 2 == len(ledger.logs["job-17"].records)


async def test_two_at_once_are_one_run(bench, autojump_clock) -> None:
    effects = Effects()
    agent = effects.agent()
    refused = []

    async def ask() -> None:
        try:
            await b.engine.run(agent, JOB, run_id="job-17")
        except triplane.LedgerFailed as error:
            refused.append(error.reason)

    async with bench() as b, trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)

    assert ["claimed"] == refused
    assert 1 == len(effects.done)


@pytest.mark.parametrize("engines", [1, 2])
async def test_two_at_once_are_one_run_on_disk_as_well(bench, tmp_path, engines) -> None:
    """Of one engine, or of two that have the same file as two processes would."""
    effects = Effects()
    agent = effects.agent()
    refused = []

    async def ask(engine: triplane.Engine) -> None:
        try:
            await engine.run(agent, JOB, run_id="job-17")
        except triplane.LedgerFailed as error:
            refused.append(error)

    path = tmp_path / "runs.db"
    async with (
        triplane.open_ledger(path) as ledger,
        triplane.open_ledger(path) as other,
        bench(ledger=ledger) as a,
        bench(ledger=other) as b,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, a.engine)
        nursery.start_soon(ask, (a, b)[engines - 1].engine)

    (error,) = refused
    assert ("claim", "claimed") == (error.operation, error.reason)
    assert "ait for it to end, then ask again" in str(error)
    assert 1 == len(effects.done)


async def test_on_disk_as_well(bench, tmp_path) -> None:
    effects = Effects()
    agent = effects.agent()
    for _ in range(2):
        async with triplane.open_ledger(tmp_path / "runs.db") as ledger, bench(ledger=ledger) as b:
            result = await b.engine.run(agent, JOB, run_id="job-17")
            assert "completed" == result.status
            with pytest.raises(triplane.ConfigError, match="1 to 200 printable characters"):
                await b.engine.run(agent, JOB, run_id="")

    assert 1 == len(effects.done)


async def test_the_child_of_a_resumed_run_goes_on_where_its_own_log_ends(bench, autojump_clock) -> None:
    """The parent's log ends after it began to ask, the child's anywhere: nothing is done twice, and no call is given up
    that the child can account for."""
    effects = Effects()
    child = triplane.Agent("m", "A child.", effects.agent().tools, name="child")
    parent = triplane.Agent("m", "A parent.", [child.as_tool()])
    question = 'CALL child {"question": "CALL pay {\\"amount\\": 1}"}'
    recorded = triplane.MemoryLedger(clock=lambda: 0.0)
    async with bench(ledger=recorded) as b:
        whole = await b.engine.run(parent, question, run_id="parent")
    (asked,) = whole.tool_calls
    key = idempotency_key("parent", asked.call.call_id)
    assert {"parent", f"run_{key}"} == set(recorded.logs)
    records = recorded.logs["parent"].records
    begun = 1 + next(
        place for place, each in enumerate(records) if isinstance(each.body, triplane.ToolStarted)
    )
    of_child = recorded.logs[f"run_{key}"].records

    for length in range(len(of_child) + 1):
        ledger = triplane.MemoryLedger(clock=lambda: 0.0)
        add_cut_off(ledger, "parent", records, begun)
        if length:
            add_cut_off(ledger, f"run_{key}", of_child, length)
        kept = [each.body for each in of_child[:length]]
        had_begun = any(isinstance(each, triplane.ToolStarted) for each in kept)
        effects.done.clear()
        async with bench(ledger=ledger) as b:
            result = await b.engine.resume("parent", parent)

        assert 2 == len(ledger.logs)
        assert ["ok"] == [each.outcome.kind for each in result.tool_calls]
        assert "completed" == result.status
        # What may have happened does not happen again; the child's model is told so, and the child answers.
        assert (0 if had_begun else 1) == len(effects.done)


async def test_it_can_be_followed(bench) -> None:
    agent = Effects().agent()
    ledger = triplane.MemoryLedger()
    async with bench(ledger=ledger) as b:
        async with b.engine.open_run(agent, JOB, run_id="job-17") as run:
            first = [event async for event in run]
        async with b.engine.open_run(agent, JOB, run_id="job-17") as run:
            again = [event async for event in run]

    assert isinstance(first[0], triplane.RunStarted)
    assert [triplane.RunEnded("completed")] == again == first[-1:]
