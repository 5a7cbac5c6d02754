"""A sample of what `nox -s fuzz` does."""

from __future__ import annotations

from collections import Counter

from core_fuzz import STREAM, Mutator, Watch, run_stream


class Count(Watch):
    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def end(self, outcome: str) -> None:
        self.outcomes[outcome] += 1


def test_damaged_frames_are_decoded_as_they_are_or_refused() -> None:
    watch = Count()
    failures = [run_stream(1, number, watch) for number in range(100)]

    assert [] == [failure for failure in failures if failure is not None]
    # Most get through, and every way of being refused is there.
    assert watch.outcomes["decoded"] > 100 * STREAM // 3
    assert len(watch.outcomes) > 6


def test_frames_are_made_again_from_seed_and_number() -> None:
    one, again, other = (Mutator(seed).stream() for seed in ("1/1", "1/1", "1/2"))

    assert one == again != other
    assert len(one) == STREAM
