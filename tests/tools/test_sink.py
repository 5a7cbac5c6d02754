from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import steady

from triplane.tools import Sink

MARKER = r"\n\[… ([0-9,]+) bytes cut …\]\n"


def fill(max_output: int, *pieces: bytes) -> Sink:
    sink = Sink(max_output)
    for piece in pieces:
        sink.write(piece)
    return sink


@pytest.mark.parametrize(
    ("max_output", "pieces", "text", "produced", "kept"),
    [
        (8, [], "", 0, 0),
        (8, [b"abc", b"def"], "abcdef", 6, 6),
        (8, [b"abcdefgh"], "abcdefgh", 8, 8),
        (8, [b"abcdefghi"], "abcdef\n[… 1 bytes cut …]\nhi", 9, 8),
        (8, [b"a" * 6, b"b" * 12_345, b"yz"], "aaaaaa\n[… 12,345 bytes cut …]\nyz", 12_353, 8),
        (100, [b"a" * 100, b"b" * 100], f"{'a' * 75}\n[… 100 bytes cut …]\n{'b' * 25}", 200, 100),
        (1, [b"ab"], "a\n[… 1 bytes cut …]\n", 2, 1),
        (4, [b"abc", b"d", b"e", b"f"], "abc\n[… 2 bytes cut …]\nf", 6, 4),
        # Cuts fall between characters, in the head and in the tail.
        (8, ["aaaaaäxxäz".encode()], "aaaaa\n[… 6 bytes cut …]\nz", 12, 6),
        (4, ["€€".encode()], "€\n[… 3 bytes cut …]\n", 6, 3),
        # What is not UTF-8 becomes a character of three bytes.
        (8, [b"a\xffb"], "a\ufffdb", 5, 5),
        (8, [b"a\xe2\x82"], "a\ufffd", 4, 4),
        (8, [b"\xff" * 8], "\ufffd\ufffd\n[… 18 bytes cut …]\n", 24, 6),
        # A character may come in pieces.
        (8, [b"\xe2", b"\x82", b"\xac"], "€", 3, 3),
        (8, [b"\xe2", b"a"], "\ufffda", 4, 4),
    ],
)
def test_text(max_output: int, pieces: list[bytes], text: str, produced: int, kept: int) -> None:
    sink = fill(max_output, *pieces)

    assert sink.text() == text
    assert sink.text() == text
    assert (sink.bytes_produced, sink.bytes_kept) == (produced, kept)


def test_text_can_be_read_before_the_end() -> None:
    sink = fill(100, b"a\xe2")

    assert sink.text() == "a\ufffd"
    sink.write(b"b")
    assert sink.text() == "a\ufffdb"


def test_a_bytearray_is_taken() -> None:
    sink = Sink(100)
    sink.write(bytearray(b"abc"))

    assert sink.text() == "abc"


@pytest.mark.parametrize("max_output", [0, -1])
def test_a_budget_of_nothing_is_refused(max_output: int) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        Sink(max_output)


@steady
@given(st.integers(1, 64), st.lists(st.binary(max_size=80)))
def test_within_the_budget_whatever_is_written(max_output: int, pieces: list[bytes]) -> None:
    sink = fill(max_output, *pieces)
    whole = b"".join(pieces).decode(errors="replace")

    text = sink.text()

    assert sink.bytes_produced == len(whole.encode())
    assert sink.bytes_kept <= max_output
    if sink.bytes_produced <= max_output:
        assert text == whole
        assert sink.bytes_kept == sink.bytes_produced
    else:
        cut = sink.bytes_produced - sink.bytes_kept
        head, tail = text.split(f"\n[… {cut:,} bytes cut …]\n")
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert len((head + tail).encode()) == sink.bytes_kept
        # Nothing is given away but the rest of a character at each side of the cut.
        assert max_output - sink.bytes_kept <= 6


@steady
@given(st.text(), st.lists(st.integers(1, 7)))
def test_the_same_text_however_it_is_sliced(text: str, sizes: list[int]) -> None:
    data = text.encode(errors="replace")
    pieces = []
    rest = data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]

    assert fill(20, *pieces, rest).text() == fill(20, data).text()


def test_memory_is_bounded() -> None:
    sink = Sink(1000)
    for _ in range(100):
        sink.write(b"x" * 999_983)
        sink.write(b"y")

    held = sum(sys.getsizeof(part) for part in (sink._head, sink._tail))
    assert held < 3 * 1000
    assert sink.bytes_produced == 100 * 999_984
    assert len(sink.text()) < 1100
