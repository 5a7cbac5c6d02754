"""Which states a connection and a lane can be in, and what moves them: two tables.

Everything that decides about these states is in this file, as data; the code around it only looks things up. A pair
that is not in a table is a bug in the caller and raises `IllegalTransition`.
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar

ConnectionState = Literal["dialling", "open", "draining", "poisoned", "closed"]
ConnectionInput = Literal["opened", "dial_failed", "drain", "poison", "lost", "closed"]

LaneState = Literal["free", "leased", "reserved", "draining", "gone"]
LaneInput = Literal["lease", "reserve", "resume", "take", "release", "abandon", "drained", "lose"]

# draining: finishes what it has, takes nothing new. poisoned: what the peer or we have sent is no longer known to be
# whole, so the only thing left to do is to close.
CONNECTION_TRANSITIONS: Final[dict[ConnectionState, dict[ConnectionInput, ConnectionState]]] = {
    "dialling": {"opened": "open", "dial_failed": "closed", "poison": "poisoned"},
    "open": {"drain": "draining", "poison": "poisoned", "lost": "poisoned", "closed": "closed"},
    "draining": {"drain": "draining", "poison": "poisoned", "lost": "poisoned", "closed": "closed"},
    "poisoned": {"drain": "poisoned", "poison": "poisoned", "lost": "poisoned", "closed": "closed"},
    "closed": {"drain": "closed", "poison": "closed", "lost": "closed", "closed": "closed"},
}

# reserved: the run's tools are running; the lane still caches the head of its chain and is given back to it when it
# resumes, unless somebody who waited took it in the meantime. draining: its holder left in mid-response; what is still
# coming would be taken for the answer to the next request, so it is read and dropped first.
LANE_TRANSITIONS: Final[dict[LaneState, dict[LaneInput, LaneState]]] = {
    "free": {"lease": "leased", "lose": "gone"},
    "leased": {"reserve": "reserved", "release": "free", "abandon": "draining", "lose": "gone"},
    "reserved": {"resume": "leased", "take": "leased", "release": "free", "lose": "gone"},
    "draining": {"drained": "free", "lose": "gone"},
    "gone": {"release": "gone", "reserve": "gone", "abandon": "gone", "drained": "gone", "lose": "gone"},
}

State = TypeVar("State", ConnectionState, LaneState)
Input = TypeVar("Input", ConnectionInput, LaneInput)


class IllegalTransition(AssertionError):  # noqa: N818  # it says what happened
    """A state was given an input that it cannot take: a bug in Triplane."""


def next_connection_state(state: ConnectionState, what: ConnectionInput) -> ConnectionState:
    """The state after `what`.

    Raises:
        IllegalTransition: The table has no such pair.
    """
    return _look_up(CONNECTION_TRANSITIONS, state, what)


def next_lane_state(state: LaneState, what: LaneInput) -> LaneState:
    """The state after `what`.

    Raises:
        IllegalTransition: The table has no such pair.
    """
    return _look_up(LANE_TRANSITIONS, state, what)


def _look_up(table: dict[State, dict[Input, State]], state: State, what: Input) -> State:
    try:
        return table[state][what]
    except KeyError:
        raise IllegalTransition(f"{what!r} in state {state!r}") from None
