"""What folding costs: the same for each delta, however long the response has become.

Counted are calls and allocations, which are the same on every machine; times are for benchmarks.
"""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from core_wire import arguments_delta, created, event, text_delta

from triplane.core.accumulator import ResponseAccumulator
from triplane.core.records import FramesReceived, Record, RequestSent
from triplane.core.reducer import RunReducer
from triplane.core.turn import TurnAccumulator

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 200


def calls_of(work: Callable[[], None]) -> int:
    """How many functions are called, those written in C included."""
    count = 0

    def profile(_frame: object, what: str, _argument: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def bytes_of(work: Callable[[], None]) -> int:
    """How many bytes are allocated at most at the same time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def deltas(kind: str, begin: int, count: int, several: int) -> list:
    """Deltas that take turns among several items."""
    if kind == "text":
        return [text_delta("abcd", n % several, sequence_number=n) for n in range(begin, begin + count)]
    if kind == "arguments":
        return [arguments_delta("abcd", n % several, sequence_number=n) for n in range(begin, begin + count)]
    return [
        event(
            "response.reasoning_summary_text.delta",
            item_id="rs_1", output_index=n % several, summary_index=0, delta="abcd", sequence_number=n,
        )
        for n in range(begin, begin + count)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("accumulator", "kind", "several", "many"),
    [
        (TurnAccumulator, "text", 1, 200_000),
        (ResponseAccumulator, "text", 100, 20_000),
        (ResponseAccumulator, "arguments", 1, 20_000),
        (ResponseAccumulator, "summary", 3, 20_000),
    ],
)
def test_a_delta_costs_the_same_after_many(accumulator, kind, several, many) -> None:
    folding = accumulator()
    folding.apply(created())

    def fold(events: list) -> None:
        for each in events:
            folding.apply(each)

    fold(deltas(kind, 0, WINDOW, several))
    early = deltas(kind, WINDOW, WINDOW, several)
    calls, memory = (
        calls_of(lambda: fold(early)),
        bytes_of(lambda: fold(deltas(kind, 2 * WINDOW, WINDOW, several))),
    )
    some = deltas(kind, 0, WINDOW, several)
    for begin in range(3 * WINDOW, many, WINDOW):
        # The same events with other numbers would only make the test slower.
        for place, each in enumerate(some):
            object.__setattr__(each, "sequence_number", begin + place)
        fold(some)
    late = deltas(kind, many, WINDOW, several)

    assert calls_of(lambda: fold(late)) <= calls + 5
    # A list doubles now and then; a text that is copied would be a megabyte for each delta.
    grown = bytes_of(lambda: fold(deltas(kind, many + WINDOW, WINDOW, several)))
    assert grown <= memory + 4 * 8 * many


def test_looking_at_a_response_costs_its_length_and_not_the_number_of_looks_before() -> None:
    response = ResponseAccumulator()
    for each in deltas("text", 0, 2_000, 1):
        response.apply(each)
    first = calls_of(response.snapshot)

    for _ in range(5):
        assert calls_of(response.snapshot) == first


def test_a_log_of_many_turns_costs_the_same_for_each() -> None:
    reducer = RunReducer()

    def turn(number: int) -> None:
        answer = f'{{"type":"response.completed","response":{{"id":"resp_{number}","output":[{{"type":"message"}}]}}}}'
        sent = RequestSent(number, 1, "c1", "incremental", "head_cached", None, 1, 10)
        reducer.apply(Record(0, 0.0, sent))
        reducer.apply(Record(0, 0.0, FramesReceived("c1", (answer,))))

    for number in range(1, 20):
        turn(number)
    early = calls_of(lambda: turn(20))
    for number in range(21, 1_000):
        turn(number)

    assert calls_of(lambda: turn(1_000)) <= early + 5
