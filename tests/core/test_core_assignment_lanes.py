"""The pool planner where connections have several lanes, and where lanes are read off."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from triplane.core.assignment import (
    MAX_IN_FLIGHT,
    MAX_NAMES,
    Assign,
    ConnectionView,
    Cut,
    Dial,
    LaneView,
    Open,
    Waiter,
    plan,
    spare_lanes,
)


def lane(name: str, state: str = "leased", caches: str | None = None, *, live: bool = False) -> LaneView:
    return LaneView(name, state, caches, None, live)  # type: ignore[arg-type]


def connection(name: str, *lanes: LaneView, spare: int = 0, may_be_cut: bool = False) -> ConnectionView:
    return ConnectionView(name, lanes, spare, may_be_cut)


def waiters(count: int) -> list[Waiter]:
    return [Waiter(ticket) for ticket in range(count)]


# --- new lanes


def test_a_new_lane_comes_before_a_new_connection() -> None:
    busy = connection("c1", lane("c1/1"), spare=2)

    assert [Open(0, "c1"), Open(1, "c1"), Dial()] == plan(
        [busy], waiters(3), dialling=0, max_connections=2, lanes_per_dial=3
    )


def test_a_free_lane_comes_before_a_new_one_unless_a_live_run_will_come_back_to_it() -> None:
    """A name is used up for ever; a chain that finds its lane taken pays a request with full input."""
    for free in (lane("c1/1", "free"), lane("c1/1", "free", "resp_0")):
        assert [Assign(0, "c1/1")] == plan(
            [connection("c1", free, spare=1)], waiters(1), dialling=0, max_connections=1
        )
    live = lane("c1/1", "free", "resp_1", live=True)

    assert [Open(0, "c1")] == plan(
        [connection("c1", live, spare=1)], waiters(1), dialling=0, max_connections=1
    )
    assert [Assign(0, "c1/1")] == plan([connection("c1", live)], waiters(1), dialling=0, max_connections=1)


def test_the_lane_that_caches_the_head_comes_before_everything() -> None:
    one = connection("c1", lane("c1/1", "free"), spare=3)
    other = connection("c2", lane("c2/1", "free", "resp_1", live=True))

    assert [Assign(7, "c2/1")] == plan([one, other], [Waiter(7, "resp_1")], dialling=0, max_connections=2)


def test_the_oldest_connection_is_filled_first() -> None:
    both = [connection("c1", spare=1), connection("c2", spare=1)]

    assert [Open(0, "c1"), Open(1, "c2")] == plan(both, waiters(2), dialling=0, max_connections=2)


@pytest.mark.parametrize(
    ("waiting", "dialling", "dials"), [(1, 0, 1), (8, 0, 1), (9, 0, 2), (8, 1, 0), (9, 1, 1), (99, 0, 4)]
)
def test_a_dial_is_for_as_many_as_it_will_have_lanes_for(waiting, dialling, dials) -> None:
    assert [Dial()] * dials == plan(
        [], waiters(waiting), dialling=dialling, max_connections=4, lanes_per_dial=8
    )


def test_connections_are_counted_and_not_their_lanes() -> None:
    full = connection("c1", *(lane(f"c1/{number}") for number in range(8)))

    assert [Dial()] == plan([full], waiters(3), dialling=0, max_connections=2, lanes_per_dial=8)


def test_a_reserved_lane_is_taken_last_here_too() -> None:
    full = connection("c1", lane("c1/1", "reserved", "resp_1", live=True), lane("c1/2"))

    assert [] == plan([full], waiters(8), dialling=1, max_connections=2, lanes_per_dial=8)
    assert [Assign(0, "c1/1")] == plan([full], waiters(9), dialling=1, max_connections=2, lanes_per_dial=8)


# --- near a response

HOME = [
    connection("c1", lane("c1/1", "free"), spare=2),
    connection("c2", lane("c2/1", "reserved", "resp_1", live=True), lane("c2/2", "free", "resp_0"), spare=1),
]


def test_a_fork_goes_where_its_parent_is_cached() -> None:
    forks = [Waiter(ticket, near="resp_1") for ticket in range(3)]

    assert [Assign(0, "c2/2"), Open(1, "c2"), Assign(2, "c1/1")] == plan(
        HOME, forks, dialling=0, max_connections=2
    )


def test_a_fork_leaves_the_lane_of_its_parent_alone() -> None:
    source = connection("c1", lane("c1/1", "free", "resp_1"), spare=1)
    elsewhere = connection("c2", lane("c2/1", "free"))
    fork = Waiter(0, near="resp_1")

    assert [Open(0, "c1")] == plan([elsewhere, source], [fork], dialling=0, max_connections=2)
    assert [Assign(0, "c2/1")] == plan(
        [elsewhere, attrs.evolve(source, spare=0)], [fork], dialling=0, max_connections=2
    )


def test_a_fork_of_something_that_nobody_caches_is_a_waiter_like_any_other() -> None:
    assert [Assign(0, "c1/1")] == plan(HOME, [Waiter(0, near="resp_gone")], dialling=0, max_connections=2)


# --- lanes that are read off

DRAINING = connection("c1", lane("c1", "draining"), may_be_cut=True)


def test_a_connection_that_only_drains_is_cut_for_whoever_has_no_other_hope() -> None:
    assert [Cut("c1")] == plan([DRAINING], waiters(1), dialling=0, max_connections=1)


@pytest.mark.parametrize(
    ("connections", "more"),
    [
        ([DRAINING, connection("c2", lane("c2", "free"))], {"max_connections": 2}),
        ([DRAINING, connection("c2", lane("c2/1"), spare=1)], {"max_connections": 2}),
        ([DRAINING], {"max_connections": 2}),
        ([DRAINING], {"max_connections": 2, "dialling": 1}),
        ([DRAINING], {"max_connections": 1, "closing": 1}),
        ([attrs.evolve(DRAINING, may_be_cut=False)], {"max_connections": 1}),
        ([connection("c1", lane("c1/1", "draining"), lane("c1/2"), may_be_cut=True)], {"max_connections": 1}),
    ],
    ids=["free lane", "new lane", "dial", "dial under way", "cut under way", "not replaceable", "shared"],
)
def test_else_it_is_left_alone(connections, more) -> None:
    actions = plan(connections, waiters(1), **{"dialling": 0, **more})

    assert not any(isinstance(action, Cut) for action in actions)


def test_no_more_are_cut_than_somebody_waits_for() -> None:
    three = [attrs.evolve(DRAINING, connection=f"c{number}") for number in range(3)]

    assert [Cut("c0"), Cut("c1")] == plan(three, waiters(2), dialling=0, max_connections=3)
    assert [Cut("c0")] == plan(three, waiters(2), dialling=0, max_connections=3, lanes_per_dial=8)


def test_an_answer_that_nobody_wants_goes_before_a_lane_that_somebody_has_reserved() -> None:
    kept = connection("c2", lane("c2", "reserved", "resp_1", live=True))

    assert [Cut("c1")] == plan([DRAINING, kept], waiters(1), dialling=0, max_connections=2)
    assert [Assign(0, "c2"), Cut("c1")] == plan([DRAINING, kept], waiters(2), dialling=0, max_connections=2)


# --- how many there may be


@pytest.mark.parametrize(
    ("lanes", "unfinished", "names", "wanted", "spare"),
    [
        (0, 0, 0, 8, 8),
        (8, 0, 8, 8, 0),
        (7, 0, 8, 8, 1),
        (0, 0, 0, 16, 16),
        (10, 6, 16, 16, 0),
        (9, 6, 16, 16, 1),
        (5, 0, 32, 16, 0),
        (5, 0, 31, 16, 1),
        (5, 14, 20, 16, 0),
    ],
)
def test_how_many_more_lanes(lanes, unfinished, names, wanted, spare) -> None:
    assert spare == spare_lanes(lanes=lanes, unfinished=unfinished, names=names, lanes_per_connection=wanted)


@attrs.define
class Conn:
    lanes: dict[str, LaneView] = attrs.Factory(dict)
    names: int = 0
    ghosts: int = 0


class PoolModel(RuleBasedStateMachine):
    """A pool of shared connections whose planner is `plan`, held against what it promises after every step."""

    max_connections = 2

    def __init__(self) -> None:
        super().__init__()
        self.connections: dict[str, Conn] = {}
        self.queue: list[Waiter] = []
        self.dialling = 0
        self.tickets = 0
        self.opened = 0
        self.responses = 0
        self.live: set[str] = set()
        self.served: list[int] = []
        self.gave_up: set[int] = set()

    @initialize(lanes=st.sampled_from([1, 2, 3, 16]))
    def begin(self, lanes: int) -> None:
        self.lanes_per_connection = lanes

    def views(self) -> list[ConnectionView]:
        return [
            ConnectionView(
                name,
                tuple(each.lanes.values()),
                spare=spare_lanes(
                    lanes=len(each.lanes),
                    unfinished=each.ghosts,
                    names=each.names,
                    lanes_per_connection=self.lanes_per_connection,
                ),
            )
            for name, each in self.connections.items()
            # As in the pool: one that has lost lanes and has no more names takes nothing new.
            if each.names < MAX_NAMES or len(each.lanes) == self.lanes_per_connection
        ]

    def plan(self, queue):
        return plan(
            self.views(),
            iter(queue),
            dialling=self.dialling,
            max_connections=self.max_connections,
            lanes_per_dial=self.lanes_per_connection,
        )

    def replan(self) -> None:
        waited = [waiter.ticket for waiter in self.queue]
        actions = self.plan(self.queue)
        given = [action.ticket for action in actions if isinstance(action, (Assign, Open))]
        assert given == waited[: len(given)], "a waiter was overtaken, or served twice"
        taken = [action.lane for action in actions if isinstance(action, Assign)]
        assert len(set(taken)) == len(taken), "one lane for two waiters"
        for action in actions:
            if isinstance(action, Assign):
                where = self.where(action.lane)
                assert where.lanes[action.lane].state in ("free", "reserved")
                self.show(action.lane, "leased")
            elif isinstance(action, Open):
                where = self.connections[action.connection]
                where.names += 1
                name = f"{action.connection}/{where.names}"
                where.lanes[name] = lane(name)
            elif isinstance(action, Dial):
                self.dialling += 1
        self.served += given
        self.queue = [waiter for waiter in self.queue if waiter.ticket not in given]

    def where(self, name: str) -> Conn:
        return self.connections[name.partition("/")[0]]

    def show(self, name: str, state: str, caches: str | None = ...) -> None:  # type: ignore[assignment]
        lanes = self.where(name).lanes
        kept = lanes[name].caches if caches is ... else caches
        lanes[name] = lane(name, state, kept, live=kept in self.live)

    def named(self, *states: str) -> list[str]:
        return sorted(
            view.lane
            for each in self.connections.values()
            for view in each.lanes.values()
            if view.state in states
        )

    @rule(data=st.data(), count=st.integers(1, 6))
    def some_come(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            self.tickets += 1
            known = st.none() | st.sampled_from(sorted(self.live)) if self.live else st.none()
            self.queue.append(Waiter(self.tickets, data.draw(known), None, data.draw(known)))
        self.replan()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def one_gives_up(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.queue))
        self.queue.remove(gone)
        self.gave_up.add(gone.ticket)
        self.replan()

    @precondition(lambda self: self.dialling)
    @rule(works=st.booleans())
    def a_dial_ends(self, works: bool) -> None:  # noqa: FBT001
        self.dialling -= 1
        if works:
            self.opened += 1
            self.connections[f"c{self.opened}"] = Conn()
        self.replan()

    @precondition(lambda self: self.named("leased"))
    @rule(data=st.data(), then=st.sampled_from(["reserved", "free", "draining"]))
    def a_turn_ends(self, data: st.DataObject, then: str) -> None:
        name = data.draw(st.sampled_from(self.named("leased")))
        self.responses += 1
        response = f"resp_{self.responses}"
        if then == "reserved":
            self.live.add(response)
        self.show(name, then, None if then == "draining" else response)
        self.replan()

    @precondition(lambda self: self.named("reserved"))
    @rule(data=st.data())
    def a_run_goes_on(self, data: st.DataObject) -> None:
        self.show(data.draw(st.sampled_from(self.named("reserved"))), "leased")
        self.replan()

    @precondition(lambda self: self.named("draining"))
    @rule(data=st.data(), whole=st.booleans())
    def a_drain_ends(self, data: st.DataObject, whole: bool) -> None:  # noqa: FBT001
        name = data.draw(st.sampled_from(self.named("draining")))
        if whole:
            self.show(name, "free", None)
        else:
            where = self.where(name)
            del where.lanes[name]
            where.ghosts += 1
        self.replan()

    @precondition(lambda self: any(each.ghosts for each in self.connections.values()))
    @rule()
    def a_late_answer_ends(self) -> None:
        next(each for each in self.connections.values() if each.ghosts).ghosts -= 1
        self.replan()

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def a_connection_is_lost(self, data: st.DataObject) -> None:
        del self.connections[data.draw(st.sampled_from(sorted(self.connections)))]
        self.replan()

    @invariant()
    def first_come_first_served(self) -> None:
        assert sorted(self.served) == self.served

    @invariant()
    def limits_hold(self) -> None:
        takers = [view.connection for view in self.views()]
        assert len(takers) + self.dialling <= max(self.max_connections, len(takers))
        for each in self.connections.values():
            assert len(each.lanes) <= self.lanes_per_connection
            assert len(each.lanes) + each.ghosts <= MAX_IN_FLIGHT
            assert each.names <= MAX_NAMES

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """After the actions are carried out there is nothing more to do: a pool cannot spin, nor sleep over a lane."""
        if not hasattr(self, "lanes_per_connection"):
            return
        assert [] == self.plan(self.queue)
        if self.queue:
            assert not any(view.spare for view in self.views())
            assert not [view for each in self.views() for view in each.lanes if view.state == "free"]


TestPool = PoolModel.TestCase
TestPool.settings = settings(stateful_step_count=25)


def test_a_long_queue_is_not_read_to_its_end_here_either() -> None:
    read = Counter[str]()

    def queue():
        for ticket in range(100_000):
            read["waiters"] += 1
            yield Waiter(ticket)

    views = [connection("c1", lane("c1/1", "free"), spare=3), connection("c2", lane("c2/1", "reserved"))]
    plan(views, queue(), dialling=1, max_connections=4, lanes_per_dial=8)

    assert read["waiters"] == 4 + 8 + 8 + 1 + 1
