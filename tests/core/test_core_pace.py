"""The pace of opening connections: a law over every stretch of time, and the first one never waits."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from triplane.core.pace import Pace


def opened_at(pace: Pace, arrivals: list[float], jitters: list[float]) -> list[float]:
    """When each of those who arrive, one after the other, is let through."""
    moments = []
    now = 0.0
    for arrival, jitter in zip(arrivals, jitters, strict=True):
        now = max(now, arrival, pace.ready_at())
        pace.opened(now, jitter)
        moments.append(now)
    return moments


def test_the_first_ones_do_not_wait_and_the_rest_keep_the_rate() -> None:
    assert [0, 0, 0, 0.5, 1.0, 1.5] == opened_at(Pace(rate=2, burst=3), [0] * 6, [0] * 6)


def test_jitter_makes_gaps_longer_and_never_shorter() -> None:
    assert [0, 0.5, 1.25, 1.75] == opened_at(Pace(rate=2, burst=1), [0] * 4, [1, 1, 0, 0.5])


def test_a_rest_brings_the_burst_back_and_no_more() -> None:
    assert [0, 0, 100, 100, 101] == opened_at(Pace(rate=1, burst=2), [0, 0, 100, 100, 100], [0] * 5)


def test_when_the_server_asks_for_quiet_nobody_is_let_through() -> None:
    pace = Pace(rate=1, burst=5)
    pace.keep_quiet(30)
    pace.keep_quiet(20)

    assert [30, 30] == opened_at(pace, [0, 0], [0, 0])


def test_without_a_limit_all_go_at_once() -> None:
    assert [0] * 1_000 == opened_at(Pace(rate=math.inf, burst=1), [0] * 1_000, [1] * 1_000)


@given(
    st.floats(0.1, 100),
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), min_size=1, max_size=80),
)
def test_over_any_stretch_there_are_no_more_than_the_burst_and_the_rate_allow(rate, burst, steps) -> None:
    arrivals, now = [], 0.0
    for gap, _jitter in steps:
        now += gap
        arrivals.append(now)
    moments = opened_at(Pace(rate, burst), arrivals, [jitter for _gap, jitter in steps])

    for first in range(len(moments)):
        for last in range(first, len(moments)):
            stretch = moments[last] - moments[first]
            assert last - first + 1 <= burst + rate * stretch + 1e-6
