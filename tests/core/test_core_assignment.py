"""The pool planner: one test for each sentence of its contract, and a model that any sequence of events must agree with."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from triplane.core import assignment
from triplane.core.assignment import Action, Assign, ConnectionView, Dial, LaneView, Waiter


def plan(lanes, waiters, *, dialling: int, max_connections: int) -> list[Action]:
    """Where each connection has one lane."""
    connections = [ConnectionView(f"connection of {view.lane}", (view,)) for view in lanes]
    return assignment.plan(connections, waiters, dialling=dialling, max_connections=max_connections)


def free(lane: str, caches: str | None = None, *, warm: str | None = None, live: bool = False) -> LaneView:
    return LaneView(lane, "free", caches, warm, live)


LEASED = LaneView("leased", "leased")
RESERVED = LaneView("reserved", "reserved", "resp_r", None, caches_live_chain=True)


def served(actions: list[Action]) -> dict[int, str]:
    return {action.ticket: action.lane for action in actions if isinstance(action, Assign)}


# In the order of preference for a waiter that continues from resp_1 with the agent "me".
BEST_FIRST = [
    free("cached", "resp_1", live=True),
    free("warm", "resp_w", warm="me"),
    free("empty"),
    free("warm for others", "resp_v", warm="you"),
    free("of a live run", "resp_2", live=True),
]


@pytest.mark.parametrize("best", range(len(BEST_FIRST)))
def test_the_best_free_lane(best: int) -> None:
    """Whatever order the pool shows its lanes in."""
    for lanes in (BEST_FIRST[best:], BEST_FIRST[best:][::-1]):
        actions = plan(lanes, [Waiter(1, "resp_1", "me")], dialling=0, max_connections=9)

        assert actions == [Assign(1, BEST_FIRST[best].lane)]


def test_a_waiter_without_a_chain_leaves_the_lanes_of_live_runs_alone() -> None:
    lanes = [free("of a live run", "resp_2", live=True), free("of an ended run", "resp_0")]

    assert plan(lanes, [Waiter(1)], dialling=0, max_connections=2) == [Assign(1, "of an ended run")]


def test_a_lane_that_caches_nothing_is_no_match_for_a_chain_that_has_not_begun() -> None:
    """None equals None, and is no reason to prefer anything."""
    lanes = [free("warm", "resp_w", warm="me"), free("empty")]

    assert plan(lanes, [Waiter(1, None, "me")], dialling=0, max_connections=2) == [Assign(1, "warm")]
    assert plan(lanes, [Waiter(1, None, None)], dialling=0, max_connections=2) == [Assign(1, "empty")]


def test_among_equal_lanes_the_first_shown_is_taken() -> None:
    assert plan([free("a"), free("b")], [Waiter(1)], dialling=0, max_connections=2) == [Assign(1, "a")]


def test_first_come_first_served() -> None:
    """The one lane goes to the one who came first, though it caches the head of the second."""
    actions = plan(
        [free("a", "resp_2", live=True)], [Waiter(1), Waiter(2, "resp_2")], dialling=0, max_connections=1
    )

    assert actions == [Assign(1, "a")]


def test_a_waiter_with_no_free_lane_gets_a_connection_dialled() -> None:
    assert plan([LEASED], [Waiter(1)], dialling=0, max_connections=2) == [Dial()]


def test_as_many_dials_as_waiters_and_never_too_many_connections() -> None:
    waiters = [Waiter(ticket) for ticket in range(5)]

    assert plan([], waiters[:2], dialling=0, max_connections=4) == [Dial()] * 2
    assert plan([], waiters, dialling=0, max_connections=4) == [Dial()] * 4
    assert plan([LEASED], waiters, dialling=1, max_connections=4) == [Dial()] * 2
    assert plan([LEASED], waiters, dialling=3, max_connections=4) == []
    assert plan([LEASED], waiters, dialling=3, max_connections=0) == []


def test_a_dial_under_way_is_for_the_waiter_who_caused_it() -> None:
    assert plan([], [Waiter(1)], dialling=1, max_connections=4) == []


def test_nobody_waits_nothing_happens() -> None:
    assert plan([free("a"), RESERVED], [], dialling=0, max_connections=4) == []


def test_leased_and_lost_lanes_are_nobody_elses() -> None:
    lanes = [LEASED, LaneView("gone", "gone")]

    assert plan(lanes, [Waiter(1)], dialling=0, max_connections=2) == []


def test_a_new_connection_comes_before_a_reserved_lane() -> None:
    assert plan([RESERVED], [Waiter(1)], dialling=0, max_connections=2) == [Dial()]
    assert plan([RESERVED], [Waiter(1)], dialling=1, max_connections=2) == []


def test_a_reserved_lane_is_taken_when_there_may_be_no_more_connections() -> None:
    assert plan([RESERVED], [Waiter(1)], dialling=0, max_connections=1) == [Assign(1, "reserved")]


def test_the_oldest_takes_the_reserved_lane_and_the_youngest_waits_for_the_dial() -> None:
    actions = plan([RESERVED], [Waiter(1), Waiter(2)], dialling=1, max_connections=2)

    assert actions == [Assign(1, "reserved")]


def test_a_reserved_lane_that_caches_nothing_is_taken_first() -> None:
    lanes = [RESERVED, LaneView("evicted", "reserved")]

    assert plan(lanes, [Waiter(1)], dialling=0, max_connections=2) == [Assign(1, "evicted")]


def test_a_long_queue_is_not_read_to_its_end() -> None:
    """Every arrival plans again: reading the whole queue each time would be quadratic."""
    read = Counter[str]()

    def queue():
        for ticket in range(100_000):
            read["waiters"] += 1
            yield Waiter(ticket)

    plan([free("a"), RESERVED, LEASED], queue(), dialling=1, max_connections=5)

    assert read["waiters"] == 1 + 1 + 1 + 1 + 1  # free, reserved, under way, to be dialled, and one too many


class PoolModel(RuleBasedStateMachine):
    """A pool whose planner is `plan` and whose world is as simple as can be.

    Lanes are entries of a dict, runs hold them by ticket. After every step the planner's actions are carried out,
    and are held against what the queue and the lanes looked like before.
    """

    max_connections = 3

    def __init__(self) -> None:
        super().__init__()
        self.lanes: dict[str, LaneView] = {}
        self.holders: dict[str, int] = {}
        self.queue: list[Waiter] = []
        self.dialling = 0
        self.tickets = 0
        self.opened = 0
        self.responses = 0
        self.live: set[str] = set()

    def show(self, lane: str, state: str, caches: str | None) -> None:
        self.lanes[lane] = LaneView(lane, state, caches, None, caches in self.live)  # type: ignore[arg-type]

    def replan(self) -> None:
        before = dict(self.lanes)
        waited = list(self.queue)
        actions = plan(
            list(before.values()), iter(waited), dialling=self.dialling, max_connections=self.max_connections
        )
        given = served(actions)

        assert len(set(given.values())) == len(given), "one lane for two waiters"
        assert len(given) == sum(isinstance(action, Assign) for action in actions), "two lanes for one waiter"
        assert list(given) == [waiter.ticket for waiter in waited[: len(given)]], "a waiter was overtaken"
        for waiter in waited[: len(given)]:
            lane = before[given[waiter.ticket]]
            assert lane.state in ("free", "reserved")
            if waiter.head is not None and lane.caches != waiter.head and lane.state == "free":
                earlier = {
                    given[other.ticket]
                    for other in waited
                    if other.ticket < waiter.ticket and other.ticket in given
                }
                elsewhere = {
                    view.lane
                    for view in before.values()
                    if view.state == "free" and view.caches == waiter.head
                }
                assert elsewhere <= earlier, "a chain was not given the free lane that caches its head"
        taken = [lane for lane in given.values() if before[lane].state == "reserved"]
        dials = sum(isinstance(action, Dial) for action in actions)
        if taken:
            assert all(view.state != "free" or view.lane in given.values() for view in before.values())
            assert len(before) + self.dialling + dials == self.max_connections, (
                "taken though one may be dialled"
            )
        assert len(before) + self.dialling + dials <= max(self.max_connections, len(before) + self.dialling)
        left = len(waited) - len(given)
        if left:
            assert left <= self.dialling + dials or not any(
                view.state in ("free", "reserved") and view.lane not in given.values()
                for view in before.values()
            ), "somebody waits although a lane could be had"
            assert (
                left <= self.dialling + dials or len(before) + self.dialling + dials >= self.max_connections
            )

        self.dialling += dials
        for ticket, lane in given.items():
            self.queue = [waiter for waiter in self.queue if waiter.ticket != ticket]
            self.holders[lane] = ticket
            self.show(lane, "leased", before[lane].caches)

    def pick(self, data: st.DataObject, state: str) -> str:
        return data.draw(
            st.sampled_from(sorted(view.lane for view in self.lanes.values() if view.state == state))
        )

    def has(self, *states: str) -> bool:
        return any(view.state in states for view in self.lanes.values())

    @rule(data=st.data())
    def somebody_comes(self, data: st.DataObject) -> None:
        self.tickets += 1
        head = data.draw(st.none() | st.sampled_from(sorted(self.live))) if self.live else None
        self.queue.append(Waiter(self.tickets, head))
        self.replan()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def somebody_gives_up_waiting(self, data: st.DataObject) -> None:
        self.queue.remove(data.draw(st.sampled_from(self.queue)))
        self.replan()

    @precondition(lambda self: self.dialling)
    @rule()
    def a_connection_opens(self) -> None:
        self.dialling -= 1
        self.opened += 1
        self.show(f"lane {self.opened}", "free", None)
        self.replan()

    @precondition(lambda self: self.dialling)
    @rule()
    def a_dial_fails(self) -> None:
        self.dialling -= 1
        self.replan()

    @precondition(lambda self: self.has("leased"))
    @rule(data=st.data(), keep=st.booleans())
    def tools_start(self, data: st.DataObject, keep: bool) -> None:  # noqa: FBT001
        lane = self.pick(data, "leased")
        self.responses += 1
        head = f"resp_{self.responses}"
        if keep:
            self.live.add(head)
        self.show(lane, "reserved", head)
        self.replan()

    @precondition(lambda self: self.has("reserved"))
    @rule(data=st.data())
    def tools_end(self, data: st.DataObject) -> None:
        lane = self.pick(data, "reserved")
        self.show(lane, "leased", self.lanes[lane].caches)
        self.replan()

    @precondition(lambda self: self.has("leased", "reserved"))
    @rule(data=st.data())
    def a_run_ends(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(sorted(v.lane for v in self.lanes.values() if v.state != "free")))
        self.holders.pop(lane)
        self.show(lane, "free", self.lanes[lane].caches)
        self.replan()

    @precondition(lambda self: self.lanes)
    @rule(data=st.data())
    def a_connection_is_lost(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(sorted(self.lanes)))
        del self.lanes[lane]
        self.holders.pop(lane, None)
        self.replan()

    @invariant()
    def planning_again_changes_nothing(self) -> None:
        """After the actions are carried out there is nothing more to do: a pool cannot spin."""
        again = plan(
            list(self.lanes.values()),
            self.queue,
            dialling=self.dialling,
            max_connections=self.max_connections,
        )

        assert again == []

    def teardown(self) -> None:
        """Whatever happened, once runs only end and dials only succeed, everybody who waits is served."""
        for _ in range(3 * self.tickets + 3):
            if not self.queue:
                break
            if self.dialling:
                self.a_connection_opens()
            else:
                lane = next(view.lane for view in self.lanes.values() if view.state != "free")
                self.show(lane, "free", None)
                self.replan()

        assert self.queue == []


TestPool = PoolModel.TestCase
TestPool.settings = settings(stateful_step_count=30)
