"""Life cycles: every (state, input) pair, illegal ones included, and what the tables promise as a whole."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from triplane.core.lifecycle import (
    CONNECTION_TRANSITIONS,
    LANE_TRANSITIONS,
    ConnectionInput,
    ConnectionState,
    IllegalTransition,
    LaneInput,
    LaneState,
    next_connection_state,
    next_lane_state,
)

# Written out once more, so that a change of the tables has to be meant. "-" is an illegal pair.
CONNECTION = """
            opened  dial_failed  drain     poison    lost      closed
dialling    open    closed       -         poisoned  -         -
open        -       -            draining  poisoned  poisoned  closed
draining    -       -            draining  poisoned  poisoned  closed
poisoned    -       -            poisoned  poisoned  poisoned  closed
closed      -       -            closed    closed    closed    closed
"""
LANE = """
            lease   reserve   resume  take    release  abandon   drained  lose
free        leased  -         -       -       -        -         -        gone
leased      -       reserved  -       -       free     draining  -        gone
reserved    -       -         leased  leased  free     -         -        gone
draining    -       -         -       -       -        -         free     gone
gone        -       gone      -       -       gone     gone      gone     gone
"""


def pairs(table: str) -> list[tuple[str, str, str]]:
    head, *rows = [line.split() for line in table.strip().splitlines()]
    return [(state, what, after) for state, *cells in rows for what, after in zip(head, cells, strict=True)]


@pytest.mark.parametrize(("state", "what", "after"), pairs(CONNECTION))
def test_connection(state, what, after) -> None:
    if after == "-":
        with pytest.raises(IllegalTransition, match=f"'{what}' in state '{state}'"):
            next_connection_state(state, what)
    else:
        assert next_connection_state(state, what) == after


@pytest.mark.parametrize(("state", "what", "after"), pairs(LANE))
def test_lane(state, what, after) -> None:
    if after == "-":
        with pytest.raises(IllegalTransition, match=f"'{what}' in state '{state}'"):
            next_lane_state(state, what)
    else:
        assert next_lane_state(state, what) == after


@pytest.mark.parametrize(
    ("table", "states", "inputs", "written"),
    [
        (CONNECTION_TRANSITIONS, ConnectionState, ConnectionInput, CONNECTION),
        (LANE_TRANSITIONS, LaneState, LaneInput, LANE),
    ],
    ids=["connection", "lane"],
)
def test_the_walk_above_knows_every_state_and_input(table, states, inputs, written) -> None:
    assert set(table) == set(get_args(states))
    assert {what for row in table.values() for what in row} == set(get_args(inputs))
    assert {pair[:2] for pair in pairs(written)} == set(product(get_args(states), get_args(inputs)))


def test_a_poisoned_connection_can_only_be_closed() -> None:
    assert set(CONNECTION_TRANSITIONS["poisoned"].values()) == {"poisoned", "closed"}
    assert set(CONNECTION_TRANSITIONS["closed"].values()) == {"closed"}


def test_a_connection_opens_once_and_a_lost_lane_never_comes_back() -> None:
    opening = [state for state, row in CONNECTION_TRANSITIONS.items() if "open" in row.values()]

    assert opening == ["dialling"]
    assert set(LANE_TRANSITIONS["gone"].values()) == {"gone"}


@pytest.mark.parametrize(
    ("table", "end"),
    [(CONNECTION_TRANSITIONS, "closed"), (LANE_TRANSITIONS, "gone")],
    ids=["connection", "lane"],
)
def test_the_end_can_be_reached_from_every_state(table, end) -> None:
    reached = {end}
    for _ in table:
        reached |= {state for state, row in table.items() if reached & set(row.values())}

    assert reached == set(table)
