"""Does the simulation find what is there? Parts of the engine are broken on purpose, and it must say which."""

from __future__ import annotations

import attrs
import pytest
import trio

from triplane.core.answers import answers_of
from triplane.core.continuation import LaneMemory, plan_turn
from triplane.core.conversation import ConversationBook
from triplane.core.records import ToolStarted
from triplane.engine import request
from triplane.engine.driver import Driver
from triplane.net import pool
from triplane.net.guarded_stream import GuardedStream
from triplane.net.lanes import Lanes
from triplane.tools.kinds import Awaiting

from .scenario import Lane, Latency, Run, Scenario, as_code
from .shrinking import shrunk, told
from .world import simulate

JOBS = (
    Run(('CALL write {"number": 1}', 'CALL look {"number": 2}', "SAY 1 well ", 'CALL put {"number": 2}')),
    Run(("SAY 2 well ", 'CALL write {"number": 3}', "SAY 3 word "), "all"),
)


def test_it_finds_a_tool_that_runs_before_its_start_is_durable(monkeypatch) -> None:
    async def starting(self, call, tool, idempotency_key):
        self._record(ToolStarted(call.call_id, call.name, call.arguments, tool.effect, idempotency_key))

    monkeypatch.setattr("triplane.engine.tool_calls.ToolCalls.starting", starting)

    assert "write ahead" == simulate(Scenario(1, JOBS)).found.which


@pytest.mark.parametrize("reader", ["none", "all"])
def test_it_finds_a_call_that_nobody_approved(monkeypatch, reader) -> None:
    scenario = Scenario(1, (Run(('CALL risk {"number": 3}', "SAY 1 well "), reader),))
    monkeypatch.setattr("triplane.engine.approvals.asks_first", lambda *_: None)

    assert "approval" == simulate(scenario).found.which


def test_it_finds_a_tool_that_runs_twice(monkeypatch) -> None:
    once = Awaiting.__call__

    async def twice(self, arguments, production):
        await once(self, arguments, production)
        return await once(self, arguments, production)

    monkeypatch.setattr(Awaiting, "__call__", twice)

    assert "at most once" == simulate(Scenario(1, JOBS)).found.which


def shouted(finished):
    return answers_of(
        (call, attrs.evolve(outcome, output=outcome.output.upper())) for call, outcome in finished
    )


def test_it_finds_an_output_that_is_not_the_logs(monkeypatch) -> None:
    monkeypatch.setattr("triplane.core.calls.answers_of", shouted)

    assert "one output" == simulate(Scenario(1, JOBS)).found.which


def test_it_finds_a_connection_that_is_not_closed(monkeypatch) -> None:
    async def aclose(self):
        self.ended.set()

    monkeypatch.setattr(GuardedStream, "aclose", aclose)

    assert "sockets" == simulate(Scenario(1, JOBS[:1])).found.which


def test_it_finds_a_lane_that_is_given_back_in_the_middle_of_a_response(monkeypatch) -> None:
    def drain(self, lane):
        lane.end_use()
        lane.become("release")

    monkeypatch.setattr(Lanes, "drain", drain)
    jobs = (Run(("WAIT 5000", "SAY 1 late"), cancel_after=1.0), Run(("SAY 1 next",), at=2.0))

    assert simulate(Scenario(1, jobs, options={"max_connections": 1})).found.which in (
        "busy lane",
        "delivery",
    )


def test_it_finds_a_response_continued_where_it_is_not_known(monkeypatch) -> None:
    """A head survives its connection, and every lane is thought to cache it."""
    monkeypatch.setattr(ConversationBook, "forget_connection", lambda self: None)

    def plan(history, head, lane, fingerprint, **others):
        assert head is None or lane
        return plan_turn(
            history, head, LaneMemory(head.connection, head.response_id) if head else lane, fingerprint
        )

    monkeypatch.setattr(request, "plan_turn", plan)

    assert "known id" == simulate(Scenario(1, (Run(('CALL cut {"number": 1}', "SAY 1 a")),))).found.which


def test_it_finds_a_waiter_that_is_overtaken(monkeypatch) -> None:
    plan = pool.plan
    monkeypatch.setattr(
        pool, "plan", lambda views, waiters, **limits: plan(views, reversed(list(waiters)), **limits)
    )
    jobs = tuple(Run(("WAIT 1000", "SAY 1 a"), at=number / 10) for number in range(4))

    assert "fairness" == simulate(Scenario(1, jobs, options={"max_connections": 1})).found.which


def test_it_finds_what_never_ends(monkeypatch) -> None:
    async def make_room(self, lease):
        await trio.sleep_forever()

    monkeypatch.setattr("simulation.world.PATIENCE", 60)

    monkeypatch.setattr("triplane.engine.feed.Feed.make_room", make_room)

    assert "liveness" == simulate(Scenario(1, JOBS[:1])).found.which


def test_it_finds_a_log_that_makes_another_state(monkeypatch) -> None:
    state = Driver.state
    monkeypatch.setattr(Driver, "state", lambda self: attrs.evolve(state(self), replays=7))

    assert "fold" == simulate(Scenario(1, JOBS[:1])).found.which


def test_what_fails_is_made_small_and_told(monkeypatch) -> None:
    monkeypatch.setattr("triplane.core.calls.answers_of", shouted)
    jobs = (*JOBS[:1], Lane((("SAY 1 a",),)))
    scenario, outcome = shrunk(Scenario(1, jobs, (Latency(1, 0.1),), {"max_connections": 1}), tries=60)

    assert (1, (), {}) == (len(scenario.jobs), scenario.faults, scenario.options)
    assert 1 == len(scenario.jobs[0].lines)
    story = told(scenario, outcome)
    assert "NOT SO: one output" in story
    assert as_code(scenario.jobs[0]) in story
    assert scenario == eval(as_code(scenario), {"Scenario": Scenario, "Run": Run})
