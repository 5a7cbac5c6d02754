"""The planner of the next request: each way to continue, each reason not to, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import attrs
import pytest
from core_wire import answer, call, completed, error, failed, fold, incomplete, message, reasoning, user

from triplane.core.continuation import ChainHead, LaneMemory, Plan, plan_turn
from triplane.core.records import PlanKind, PlanReason

HISTORY = [user("Hi"), reasoning(), call(), answer()]
HEAD = ChainHead("resp_1", "c1", 3)
STORED = attrs.evolve(HEAD, stored=True)
CACHED = LaneMemory("c1", "resp_1")
EMPTY = LaneMemory("c1")
OTHER = LaneMemory("c2", "resp_9")
SIBLING = LaneMemory("c1", "resp_9", neighbours=frozenset({"resp_1", "resp_8"}))
WARM = LaneMemory("c2", "resp_w", warm_for="me")


def plan(head: ChainHead | None, memory: LaneMemory, history=HISTORY, **arguments) -> Plan:
    return plan_turn(history, head, memory, "me", **arguments)


# In the order of the table: what the lane remembers, and what becomes of a chain that goes on.


@pytest.mark.parametrize(
    ("head", "memory", "kind", "reason", "previous"),
    [
        (HEAD, CACHED, "incremental", "head_cached", "resp_1"),
        (STORED, CACHED, "incremental", "head_cached", "resp_1"),
        (HEAD, SIBLING, "fork", "head_on_other_lane", "resp_1"),
        (STORED, SIBLING, "fork", "head_on_other_lane", "resp_1"),
        (STORED, EMPTY, "incremental", "head_stored", "resp_1"),
        (STORED, OTHER, "incremental", "head_stored", "resp_1"),
        (STORED, WARM, "incremental", "head_stored", "resp_1"),
        (HEAD, WARM, "warm", "lane_warmed", "resp_w"),
        (None, WARM, "warm", "lane_warmed", "resp_w"),
        (HEAD, EMPTY, "full", "lane_changed", None),
        (HEAD, OTHER, "full", "lane_changed", None),
        (HEAD, attrs.evolve(SIBLING, neighbours=frozenset()), "full", "lane_changed", None),
        (HEAD, attrs.evolve(SIBLING, connection="c2"), "full", "lane_changed", None),
        (HEAD, LaneMemory("c2", "resp_1"), "full", "lane_changed", None),
        (HEAD, LaneMemory("c1", keeps=False), "full", "nothing_kept", None),
        (HEAD, attrs.evolve(WARM, warm_for="you"), "full", "lane_changed", None),
        (None, EMPTY, "full", "first_turn", None),
        (None, OTHER, "full", "first_turn", None),
        (None, LaneMemory("c1", None, "me"), "full", "first_turn", None),
    ],
)
def test_how_a_chain_goes_on(head, memory, kind, reason, previous) -> None:
    planned = plan(head, memory)

    assert (planned.kind, planned.reason, planned.previous_response_id) == (kind, reason, previous)
    assert list(planned.items) == ([answer()] if kind in ("incremental", "fork") else HISTORY)


@pytest.mark.parametrize("lost", ["connection_lost", "head_evicted"])
def test_why_a_chain_begins_again(lost) -> None:
    assert plan(None, EMPTY, head_lost=lost).reason == lost
    assert plan(None, WARM, head_lost=lost).kind == "warm"


def test_a_fork_has_a_barrier_unless_its_parent_is_stored() -> None:
    """The lane that caches the parent may drop it as soon as it goes on."""
    assert plan(HEAD, SIBLING).barrier == "resp_1"
    assert plan(STORED, SIBLING).barrier is None
    assert plan(HEAD, CACHED).barrier is None


def test_a_first_request_may_carry_nothing() -> None:
    assert plan(None, EMPTY, []) == Plan("full", "first_turn", None, ())


def test_what_is_new_may_be_nothing() -> None:
    """After a warm-up with the whole input there is only the answer to be asked for."""
    assert plan(ChainHead("resp_1", "c1", 1), CACHED, [user("Hi")]).items == ()


# Items that cannot be sent as they are.


def test_new_items_are_tidied() -> None:
    new = [
        user("a", id="x" * 65),
        {"type": "configuration_update", "text": 1},
        {"type": "configuration_update", "reasoning": 2},
    ]
    planned = plan(HEAD, CACHED, [*HISTORY, *new])

    assert planned.items == (
        answer(), user("a"), {"type": "configuration_update", "text": 1, "reasoning": 2},
    )  # fmt: skip


def test_the_whole_conversation_is_what_can_be_replayed() -> None:
    compaction = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"}

    assert plan(None, EMPTY, [*HISTORY, compaction, user("Go on.")]).items == (compaction, user("Go on."))
    assert plan(None, WARM, [*HISTORY, compaction, user("Go on.")]).items == (compaction, user("Go on."))


def test_a_chain_that_ends_in_a_call_nobody_can_answer_begins_again() -> None:
    history = [user("Hi"), message("Let me look."), call(arguments='{"a', status="incomplete"), user("Well?")]
    planned = plan(HEAD, CACHED, history)

    assert (planned.kind, planned.reason) == ("full", "call_cut_off")
    assert list(planned.items) == [user("Hi"), message("Let me look."), user("Well?")]


# Refusals.


@pytest.mark.parametrize(
    ("head", "memory"), [(HEAD, CACHED), (HEAD, SIBLING), (STORED, OTHER), (None, EMPTY), (None, WARM)]
)
def test_a_call_without_an_answer_is_refused(head, memory) -> None:
    planned = plan(head, memory, [user("Hi"), reasoning(), call()])

    assert planned == Plan("refuse", "unanswered_calls", None, (), unanswered=("call_1",))


def test_all_calls_without_an_answer_are_named() -> None:
    calls = [call(f"call_{n}", identity=f"fc_{n}") for n in range(4)]
    history = [user("Hi"), *calls, answer("call_2")]

    assert plan(ChainHead("resp_1", "c1", 5), CACHED, history).unanswered == ("call_0", "call_1", "call_3")
    assert plan(None, EMPTY, history).unanswered == ("call_0", "call_1", "call_3")


def test_a_call_of_an_async_tool_may_stay_open() -> None:
    assert plan(HEAD, CACHED, [user("Hi"), reasoning(), call(**{"async": True})]).kind == "incremental"


def test_answers_before_the_head_count() -> None:
    """The latest response said nothing, so the calls before it are seen again."""
    history = [*HISTORY, user("And?")]

    assert plan(ChainHead("resp_2", "c1", 4), LaneMemory("c1", "resp_2"), history).items == (user("And?"),)


def test_calls_before_a_steer_need_their_answers() -> None:
    steered = [user("Hi"), call(), user("Be brief.")]

    assert plan(ChainHead("resp_1", "c1", 3), CACHED, steered).unanswered == ("call_1",)
    assert plan(ChainHead("resp_1", "c1", 3), CACHED, [*steered, answer()]).items == (answer(),)


def test_a_request_that_is_too_large_is_refused() -> None:
    size = plan(None, EMPTY, max_bytes=10_000, other_bytes=50).size
    assert size is not None
    assert size > 50

    assert plan(None, EMPTY, max_bytes=size, other_bytes=50).kind == "full"
    assert plan(None, EMPTY, max_bytes=size - 1, other_bytes=50) == Plan(
        "refuse", "too_large", None, (), size=size
    )


def test_a_chain_goes_on_though_the_conversation_is_too_large() -> None:
    history = [user("x" * 1_000), *HISTORY[1:]]

    assert plan(HEAD, CACHED, history, max_bytes=500).kind == "incremental"
    assert plan(HEAD, OTHER, history, max_bytes=500).reason == "too_large"


def test_what_is_no_json_is_refused_where_it_is_measured() -> None:
    assert plan(None, EMPTY, [user("\ud800")], max_bytes=500) == Plan("refuse", "not_json", None, ())
    assert plan(None, EMPTY, [user("\ud800")]).kind == "full"


def test_a_refusal_is_not_measured() -> None:
    assert plan(None, EMPTY, [call()], max_bytes=1).reason == "unanswered_calls"


def test_every_kind_and_reason_is_planned_above() -> None:
    source = Path(__file__).read_text()

    assert [
        word for literal in (PlanKind, PlanReason) for word in get_args(literal) if f'"{word}"' not in source
    ] == []


# What a lane remembers afterwards.


@pytest.mark.parametrize("kind", ["incremental", "warm", "full", "fork"])
@pytest.mark.parametrize("end", [completed([], "resp_2"), incomplete("x", "resp_2")])
def test_a_lane_remembers_its_latest_response(kind, end) -> None:
    memory = attrs.evolve(SIBLING, warm_for="me").after(kind, fold(end))

    assert memory == attrs.evolve(SIBLING, response_id="resp_2")


@pytest.mark.parametrize("end", [failed(), error("invalid_type", 400), error(None, 500)])
def test_an_error_evicts_what_its_own_lane_had(end) -> None:
    for kind in ("incremental", "warm", "full"):
        assert attrs.evolve(CACHED, warm_for="me").after(kind, fold(end)) == EMPTY
    assert SIBLING.after("fork", fold(end)) == SIBLING
