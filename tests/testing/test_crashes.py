"""A user's agent dies at every moment there is: what is right passes, and what is wrong is found."""

from __future__ import annotations

import runpy
from pathlib import Path

import attrs
import pytest
import trio

import triplane
from triplane.server import Drop
from triplane.testing import crash_at_every_step

PROMPT = 'CALL look {"n": 1}\nCALL pay {"n": 2}\nCALL put {"n": 3}'


def make_agent() -> triplane.Agent:
    @triplane.tool(effect="read")
    async def look(n: int) -> str:
        """Look."""
        return str(n)

    @triplane.tool(effect="write")
    async def pay(n: int) -> str:
        """Pay."""
        return str(n)

    @triplane.tool(effect="idempotent")
    async def put(n: int, context: triplane.ToolContext) -> str:
        """Put."""
        return f"{n} {len(context.idempotency_key)}"

    return triplane.Agent("m", "", [look, pay, put])


@pytest.mark.parametrize("faults", [[], [Drop(4, nth=2)]], ids=["nothing else", "a lost connection"])
async def test_what_is_right_passes(autojump_clock, faults) -> None:
    report = await crash_at_every_step(make_agent, PROMPT, faults=faults)

    report.check()
    assert {"before", "after"} == {each.when for each in report.crashes}
    kinds = {each.type for each in report.crashes}
    assert {
        "triplane.run_started",
        "triplane.request_sent",
        "triplane.tool_started",
        "triplane.run_ended",
    } < kinds


async def test_calls_that_need_approval(autojump_clock) -> None:
    def make() -> triplane.Agent:
        tools = [attrs.evolve(tool, needs_approval=tool.name != "look") for tool in make_agent().tools]
        return triplane.Agent("m", "", tools)

    report = await crash_at_every_step(make, PROMPT, approve=lambda asked: asked.name == "pay")

    report.check()
    kinds = {each.type for each in report.crashes}
    assert {"triplane.approval_asked", "triplane.approval_given", "triplane.run_parked"} < kinds


async def test_an_effect_that_happens_twice_is_found(autojump_clock, monkeypatch) -> None:
    """By an engine that is broken: it runs again whatever had started."""
    monkeypatch.setattr("triplane.engine.resumption.Resumption._must_not_run_again", lambda *_: False)

    report = await crash_at_every_step(make_agent, 'CALL pay {"n": 2}')

    assert {"before"} == {each.when for each in report.problems}
    assert ("pay(n=2) was called twice and not once",) == report.problems[0].problems


async def test_what_is_wrong_is_told(autojump_clock) -> None:
    """A tool whose work depends on how often it was asked is another one after a death."""
    asked = 0

    def make() -> triplane.Agent:
        @triplane.tool(effect="read")
        async def count() -> str:
            """Count how often it is asked, in all lives."""
            nonlocal asked
            asked += 1
            return str(asked)

        nonlocal asked
        asked = 0
        return triplane.Agent("m", "", [count])

    report = await crash_at_every_step(make, "CALL count {}")

    assert report.problems
    assert all("""it said 'RESULT: "2"' and not 'RESULT: "1"'""" in each.problems for each in report.problems)
    with pytest.raises(AssertionError, match=r"deaths went wrong:\n(before|after) record \d+"):
        report.check()


async def test_an_agent_that_fails_by_itself_fails(autojump_clock) -> None:
    agent = attrs.evolve(make_agent(), limits=triplane.RunLimits(max_turns=1))
    with pytest.raises(triplane.LimitReached):
        await crash_at_every_step(agent, PROMPT)


async def test_our_own_example_survives(autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(trio, "run", lambda *_args, **_settings: None)
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "first_run.py"))

    report = await crash_at_every_step(example["agent"], 'CALL add {"a": 20, "b": 22}')

    report.check()
    assert len(report.crashes) > 10
