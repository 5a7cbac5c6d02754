"""What the planner is shown of a place: enough for it to decide as if it saw all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from triplane import Endpoint
from triplane.core.assignment import Waiter, plan
from triplane.net.place import Place, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADS = st.sampled_from([None, "r1", "r2", "r3", "r4"])
WARM = st.sampled_from([None, None, "f1", "f2"])


@attrs.frozen
class SomeLane:
    name: str
    state: str
    caches: str | None
    warm_for: str | None


@attrs.frozen
class SomeLanes:
    connection: Any
    lanes: tuple[SomeLane, ...]
    spare: int
    is_shared: bool

    def __iter__(self) -> Iterator[SomeLane]:
        return iter(self.lanes)

    @property
    def only_lane(self) -> SomeLane | None:
        return None if self.is_shared else self.lanes[0]


@st.composite
def connections(draw: st.DrawFn) -> list[SomeLanes]:
    found = []
    for number in range(draw(st.integers(0, 14))):
        is_shared = draw(st.integers(0, 4)) == 0
        lanes = tuple(
            SomeLane(
                f"c{number}/{each}",
                draw(st.sampled_from(["free", "free", "free", "leased", "reserved", "draining"])),
                draw(HEADS),
                draw(WARM),
            )
            for each in range(draw(st.integers(0, 3)) if is_shared else 1)
        )
        spare = draw(st.integers(0, 2)) if is_shared else 0
        found.append(SomeLanes(SimpleNamespace(name=f"c{number}"), lanes, spare, is_shared))
    return found


@given(
    connections(),
    st.lists(st.tuples(HEADS, WARM, HEADS), max_size=6),
    st.sets(st.sampled_from(["r1", "r2", "r3", "r4"])),
    st.integers(0, 3),
    st.integers(0, 20),
    st.booleans(),
)
def test_the_planner_decides_as_if_it_saw_all(there, wanted, live, dialling, most, may_dial) -> None:
    queue: Any = [
        Waiting(ticket, SimpleNamespace(), *each, patient=True) for ticket, each in enumerate(wanted)
    ]
    place = Place(Endpoint("ws://memory/v1"), there, queue)
    waiters = [Waiter(each.ticket, each.head, each.fingerprint, each.near) for each in queue]

    def planned(shown: Any, max_connections: int) -> Any:
        views = place.views(shown, live, may_dial=may_dial)
        return plan(views, waiters, dialling=dialling, max_connections=max_connections)

    shown = place.that_matter(there, live)

    assert planned(there, most) == planned(shown, most - (len(there) - len(shown)))


def test_of_a_thousand_that_are_alike_it_sees_as_many_as_wait() -> None:
    lanes = [SomeLane(f"c{number}", "free", None, None) for number in range(1_000)]
    lanes[100:200] = [SomeLane(each.name, "leased", None, None) for each in lanes[100:200]]
    lanes[200:300] = [SomeLane(each.name, "free", "r_dead", None) for each in lanes[200:300]]
    lanes[300:400] = [SomeLane(each.name, "free", "r_live", "f_other") for each in lanes[300:400]]
    lanes[700] = SomeLane("c700", "free", "r1", None)
    lanes[800] = SomeLane("c800", "free", "r_dead", "f1")
    lanes[900] = SomeLane("c900", "reserved", "r_live", None)
    there: Any = [SomeLanes(SimpleNamespace(name=each.name), (each,), 0, is_shared=False) for each in lanes]
    queue: Any = [Waiting(ticket, SimpleNamespace(), "r1", "f1", None, patient=True) for ticket in range(2)]
    place = Place(Endpoint("ws://memory/v1"), there, queue)

    shown = place.that_matter(there, {"r_live"})

    names = [each.connection.name for each in shown]
    assert ["c0", "c1", "c200", "c201", "c300", "c301", "c700", "c800", "c900"] == names
