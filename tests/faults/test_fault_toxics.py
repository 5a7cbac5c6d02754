"""The toxics: which bytes pass, when, and what comes after them, however the bytes are cut into pieces."""

from __future__ import annotations

import pytest
from fault_toxics import (
    Bandwidth,
    BlackHole,
    Corrupt,
    HalfOpen,
    Latency,
    Parcel,
    Reset,
    Slicer,
    SlowClose,
    row,
)
from hypothesis import given
from hypothesis import strategies as st

PIECES = st.lists(st.binary(max_size=9), max_size=9)


def sent(pieces: list[bytes], *, gap: float = 0.0) -> list[Parcel]:
    """A link's parcels: the empty one with which it begins, the data, and the end."""
    return [
        Parcel(0.0),
        *(Parcel(gap * number, piece) for number, piece in enumerate(pieces, 1)),
        Parcel(gap * (len(pieces) + 1), then="end"),
    ]


def through(toxics, parcels: list[Parcel]) -> list[Parcel]:
    stage = row(toxics)
    return [outcome for parcel in parcels for outcome in stage(parcel)]


def arrivals(parcels: list[Parcel]) -> list[tuple[float, bytes]]:
    return [(parcel.at, parcel.data) for parcel in parcels if parcel.data]


def test_latency_delays_and_does_not_slow_down() -> None:
    parcels = through([Latency(5)], sent([b"a", b"b", b"c"], gap=1))

    assert [(6, b"a"), (7, b"b"), (8, b"c")] == arrivals(parcels)
    assert (9, "end") == (parcels[-1].at, parcels[-1].then)


@given(PIECES, st.integers(0, 9))
def test_jitter_changes_no_order_and_comes_again(pieces, seed) -> None:
    toxics = [Latency(1, jitter=10, seed=seed)]
    parcels = through(toxics, sent(pieces, gap=0.1))

    assert through(toxics, sent(pieces, gap=0.1)) == parcels
    assert sorted(parcel.at for parcel in parcels) == [parcel.at for parcel in parcels]
    assert b"".join(pieces) == b"".join(parcel.data for parcel in parcels)


def test_bandwidth_is_shared_by_what_comes_at_once() -> None:
    parcels = through([Bandwidth(2)], [Parcel(10, b"abcd"), Parcel(10, b"ef"), Parcel(20, b"gh")])

    assert [(12, b"abcd"), (13, b"ef"), (21, b"gh")] == arrivals(parcels)


def test_a_slicer_cuts_and_spaces() -> None:
    parcels = through([Slicer(2, gap=3)], [Parcel(1, b"abcde"), Parcel(2, b"f", "end")])

    assert [(1, b"ab"), (4, b"cd"), (7, b"e"), (10, b"f")] == arrivals(parcels)
    assert ["more", "more", "more", "end"] == [parcel.then for parcel in parcels]


def test_toxics_in_a_row_compose() -> None:
    parcels = through([Slicer(1), Bandwidth(1), Latency(10)], [Parcel(0, b"abc")])

    assert [(11, b"a"), (12, b"b"), (13, b"c")] == arrivals(parcels)


def test_a_slow_close_delays_nothing_but_the_end() -> None:
    parcels = through([SlowClose(30)], [Parcel(1, b"a"), Parcel(2, b"b", "end")])

    assert [(1, b"a"), (2, b"b")] == arrivals(parcels)
    assert (32, "end") == (parcels[-1].at, parcels[-1].then)


@given(PIECES, st.integers(0, 90), st.integers(1, 255))
def test_one_byte_is_corrupted(pieces, byte, mask) -> None:
    before = b"".join(pieces)
    after = b"".join(parcel.data for parcel in through([Corrupt(byte, mask)], sent(pieces)))

    assert len(before) == len(after)
    expected = {byte: before[byte] ^ mask} if byte < len(before) else {}
    assert expected == {n: new for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}


@pytest.mark.parametrize(("toxic", "then"), [(Reset, "reset"), (HalfOpen, "freeze"), (BlackHole, "more")])
@given(pieces=PIECES, byte=st.integers(0, 90))
def test_so_many_bytes_pass_and_then_it_is_cut(toxic, then, pieces, byte) -> None:
    whole = b"".join(pieces)
    parcels = through([toxic(byte)], sent(pieces))

    assert whole[:byte] == b"".join(parcel.data for parcel in parcels)
    if byte > len(whole):
        assert "end" == parcels[-1].then
    else:
        # A black hole swallows the end as well.
        assert [then] == [parcel.then for parcel in parcels][-1:] or (then == "more" and not parcels)


def test_a_cut_at_the_first_byte_waits_for_none() -> None:
    assert [Parcel(0.0, then="reset")] == through([Reset(0)], [Parcel(0.0)])
