"""Sizes, times and counts as people read them."""

from __future__ import annotations

import pytest

from triplane.cli.units import clock, counted, seconds, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1234, "1.2 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (120_400, "120 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3_400_000_000, "3.4 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_have_two_or_three_digits(count: int, text: str) -> None:
    assert text == size(count)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (123, "2 min 03 s"),
    ],
)
def test_durations_never_show_sixty_seconds(value: float, text: str) -> None:
    assert text == seconds(value)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0 s"), (12.34, "12.3 s"), (59.97, "1:00"), (123, "2:03"), (6003, "1:40:03")]
)
def test_a_growing_duration_stays_short(value: float, text: str) -> None:
    assert text == clock(value)


def test_counts_agree_with_their_noun() -> None:
    assert ["0 runs", "1 run", "1,000 runs"] == [counted(count, "run") for count in (0, 1, 1000)]
    assert "2 matches" == counted(2, "match", "matches")
