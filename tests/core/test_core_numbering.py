"""Sequence numbers: what is a repetition, what is reported, and that everything else is folded."""

from __future__ import annotations

import pytest
from core_wire import added, created, done, event, fold, lifecycle, message, text_delta, text_done
from hypothesis import given
from hypothesis import strategies as st

from triplane.core.numbering import Numbering


def piece(number: int | None, text: str = "a", **fields):
    return text_delta(text, **({} if number is None else {"sequence_number": number}), **fields)


def kinds(response) -> list[tuple[str, object, object]]:
    return [(each.kind, each.expected, each.found) for each in response.irregularities]


def test_the_same_event_with_the_same_number_is_dropped() -> None:
    response = fold(piece(0), piece(1), piece(1), piece(0), piece(2))

    assert response.text() == "aaa"
    assert response.irregularities == ()


@pytest.mark.parametrize("number", [None, -1, -7])
def test_without_a_number_nothing_is_a_repetition(number) -> None:
    """Some servers send -1 on all events."""
    response = fold(*[piece(number)] * 3)

    assert response.text() == "aaa"
    assert response.irregularities == ()


def test_events_without_a_number_do_not_disturb_those_that_have_one() -> None:
    response = fold(piece(0), piece(None), piece(-1), piece(1), piece(1))

    assert response.text() == "aaaa"
    assert response.irregularities == ()


def test_a_response_may_begin_with_any_number() -> None:
    assert fold(piece(7), piece(8), piece(7)).text() == "aa"
    assert fold(piece(7), piece(8)).irregularities == ()


def test_a_gap_is_reported_and_everything_is_folded() -> None:
    response = fold(piece(0), piece(4), piece(5), piece(9))

    assert response.text() == "aaaa"
    assert kinds(response) == [("gap", 1, 4), ("gap", 6, 9)]
    assert response.irregularities[0].type == "response.output_text.delta"
    assert response.snapshot().irregularities == response.irregularities


def test_repetitions_are_known_on_both_sides_of_a_gap() -> None:
    response = fold(piece(0), piece(1), piece(5), piece(6), piece(1), piece(5), piece(0))

    assert response.text() == "aaaa"
    assert kinds(response) == [("gap", 2, 5)]


@pytest.mark.parametrize("number", [3, 0, 1])
def test_a_number_that_comes_late_is_reported_and_folded(number: int) -> None:
    """Into a gap, or before the first."""
    response = fold(piece(2), piece(4), piece(number, "b"))

    assert response.text() == "aab"
    assert kinds(response)[-1] == ("backwards", 5, number)


@pytest.mark.parametrize(
    "other",
    [
        piece(0, "b"),
        piece(0, "a", output_index=1),
        piece(0, "a", content_index=1),
        event(
            "response.refusal.delta",
            item_id="m",
            output_index=0,
            content_index=0,
            delta="a",
            sequence_number=0,
        ),
        event("response.audio.delta", delta="a", sequence_number=0),
        event(
            "response.function_call_arguments.delta",
            item_id="m",
            output_index=0,
            delta="a",
            sequence_number=0,
        ),
        event(
            "response.custom_tool_call_input.delta", item_id="m", output_index=0, delta="a", sequence_number=0
        ),
        text_done("a", sequence_number=0),
        added(message("a"), sequence_number=0),
        event("keepalive", sequence_number=0),
    ],
    ids=lambda other: other.type,
)
def test_another_event_with_the_same_number_is_no_repetition(other) -> None:
    before = fold(piece(0))
    response = fold(piece(0), other)

    assert kinds(response) == [("backwards", 1, 0)]
    if other.type != "keepalive":
        assert response.canonical() != before.canonical()
        assert (
            response.snapshot().output != before.snapshot().output
            or response.snapshot().audio
            or other.type.endswith("done")
        )


def test_once_numbers_go_backwards_they_identify_nothing() -> None:
    """A server that gives every event the number 0 loses nothing."""
    response = fold(
        event("response.audio.delta", delta="UklG", sequence_number=0), *[piece(0)] * 3, piece(7), piece(7)
    )

    assert response.text() == "aaaaa"
    assert kinds(response) == [("backwards", 1, 0)]


@pytest.mark.parametrize(
    "twice",
    [
        event("response.created", response={"id": "resp_1"}, sequence_number=1),
        event("response.in_progress", response={"id": "resp_1"}, sequence_number=1),
        added(message("", content=[]), sequence_number=1),
        done(message("a"), sequence_number=1),
        text_delta("a", sequence_number=1),
        text_done("a", sequence_number=1),
        event("response.refusal.delta", item_id="m", output_index=0, content_index=0, delta="a", sequence_number=1),
        event("response.reasoning_text.delta", item_id="m", output_index=0, content_index=0, delta="a", sequence_number=1),
        event("response.reasoning_summary_text.delta", item_id="m", output_index=0, summary_index=0, delta="a", sequence_number=1),
        event("response.shell_call_command.delta", output_index=0, command_index=0, delta="a", sequence_number=1),
        event(
            "response.shell_call_output_content.delta",
            item_id="m", output_index=0, command_index=0, delta={"stdout": "a"}, sequence_number=1,
        ),
        event("response.audio.delta", delta="a", sequence_number=1),
        event("response.audio.transcript.delta", delta="a", sequence_number=1),
        event("keepalive", sequence_number=1, a=1),
    ],
    ids=lambda twice: twice.type,
)  # fmt: skip
def test_every_kind_of_event_can_be_repeated(twice) -> None:
    once = fold(piece(0, "x"), twice)
    response = fold(piece(0, "x"), twice, twice)

    assert response.canonical() == once.canonical()
    assert response.irregularities == ()


def test_a_repeated_delta_is_known_although_another_text_has_begun() -> None:
    """By its place: the last delta was for another one."""
    response = fold(
        piece(0), piece(1, content_index=1), piece(0), piece(2, content_index=1), piece(1, content_index=1)
    )

    assert response.text() == "aaa"
    assert response.irregularities == ()


def test_unknown_events_have_numbers_too() -> None:
    assert fold(piece(0), event("newer", sequence_number=1), piece(2)).irregularities == ()


def test_events_of_other_responses_have_other_numbers() -> None:
    foreign = event("response.in_progress", response={"id": "resp_2"}, sequence_number=40)
    response = fold(
        event("response.created", response={"id": "resp_1"}, sequence_number=0), foreign, piece(1)
    )

    assert [each.kind for each in response.irregularities] == ["foreign"]


def test_a_whole_stream_that_is_sent_again_changes_nothing() -> None:
    stream = [
        created(),
        lifecycle("in_progress"),
        *[piece(number, "xyz"[number % 3]) for number in range(30)],
    ]
    once = fold(*stream)

    assert fold(*stream, *stream).canonical() == once.canonical()


@given(st.lists(st.tuples(st.integers(-1, 8), st.integers(0, 2))))
def test_only_an_identical_event_with_a_known_number_is_a_repetition(events) -> None:
    """Held against a model that remembers everything."""
    numbering = Numbering()
    seen: dict[int, int] = {}
    trusted = True
    for number, mark in events:
        repeats = numbering.repeats(event("x", sequence_number=number), mark)

        assert repeats is (trusted and seen.get(number) == mark and number >= 0)
        trusted = trusted and (number < 0 or repeats or number > max(seen, default=-1))
        if number >= 0:
            seen.setdefault(number, mark)
