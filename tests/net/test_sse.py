"""Server-sent events from bytes: the standard's rules, wherever the network cuts."""

from __future__ import annotations

import contextlib
import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from triplane.net.sse import EventStreamParser, EventTooLarge

LARGE = 1 << 20


def parse(*chunks: bytes, max_size: int = LARGE) -> list[str]:
    parser = EventStreamParser(max_size=max_size)
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", ["one", "two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", ["one", "two"]),
        (b"data: one\r\rdata: two\r\r", ["one", "two"]),
        (b"data: one\r\n\ndata: two\n\r", ["one", "two"]),
        (b"event: response.created\ndata: {}\nid: 7\nretry: 10\n\n", ["{}"]),
        (b"data: a\ndata: b\ndata:\ndata:  c\n\n", ["a\nb\n\n c"]),
        (b"data:a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b"\n\xef\xbb\xbfdata: a\n\ndata: b\n\n", ["b"]),
        (b": a comment\n\n:\n\ndata: a\n: in between\ndata: b\n\n", ["a\nb"]),
        (b"data: [DONE]\n\n", []),
        (b"data\n\ndata:\n\ndata: \n\nevent: ping\n\n", []),
        (b"Data: a\n\ndatum: b\n\n data: c\n\n", []),
        (b"data: not ended", []),
        (b"data: not ended\n", []),
        ("data: zwölf \u2028 Boxkämpfer\n\n".encode(), ["zwölf \u2028 Boxkämpfer"]),
        (b"data: a\x0bb\x0cc\x1cd\n\n", ["a\x0bb\x0cc\x1cd"]),
        (b"", []),
    ],
)
def test_what_a_stream_says(stream, events) -> None:
    assert events == parse(stream)
    for cut in range(len(stream) + 1):
        assert events == parse(stream[:cut], stream[cut:])
    assert events == parse(*(stream[place : place + 1] for place in range(len(stream))))


def test_an_event_is_there_as_soon_as_its_last_byte_is() -> None:
    parser = EventStreamParser(max_size=LARGE)

    assert [] == parser.feed(b"data: a\r")
    assert ["a"] == parser.feed(b"\r")
    # Whether this belongs to the line end before cannot have been waited for.
    assert [] == parser.feed(b"\n")
    assert ["b"] == parser.feed(b"data: b\n\n")


LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8).map(
        lambda text: b"data: " + text.encode()
    ),
    st.sampled_from(
        [b"", b"", b"data", b"data:", b": ping", b"event: x", b"id: 1", b"nonsense", b"data: [DONE]"]
    ),
)


@given(
    st.booleans(),
    st.lists(st.tuples(LINES, LINE_ENDS), max_size=20),
    st.lists(st.integers(0, 400), max_size=12),
)
@example(bom=False, lines=[(b"data: a", b"\r"), (b"", b"\n")], cuts=[8])
def test_it_does_not_matter_where_the_network_cuts(bom, lines, cuts) -> None:
    stream = b"\xef\xbb\xbf" * bom + b"".join(line + end for line, end in lines)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    assert parse(stream) == parse(*(stream[a:b] for a, b in itertools.pairwise(places)))


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1), max_size=6),
    LINE_ENDS,
)
def test_what_was_written_is_read(texts, end) -> None:
    stream = b"".join(b"event: e" + end + b"data: " + text.encode() + end + end for text in texts)

    assert [text for text in texts if text != "[DONE]"] == parse(stream)


@given(st.binary())
def test_no_bytes_make_it_fail_otherwise_than_it_says(data) -> None:
    with contextlib.suppress(EventTooLarge, UnicodeDecodeError):
        parse(data, max_size=16)


@pytest.mark.parametrize("chunks", [[b"data: 12345678\n\n"], [b"data: 12", b"345678\n\n"]])
def test_an_event_has_a_greatest_size(chunks) -> None:
    assert ["12345678"] == parse(*chunks, max_size=14)
    with pytest.raises(EventTooLarge):
        parse(*chunks, max_size=8)


@pytest.mark.parametrize("line", [b"data: 12\n", b": 12345678901234"])
def test_what_never_ends_is_not_collected_for_ever(line) -> None:
    parser = EventStreamParser(max_size=100)
    with pytest.raises(EventTooLarge):
        for _ in range(1_000):
            parser.feed(line)


def test_what_is_not_text_is_never_made_into_something_else() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse(b"data: \xff\n\n")
    with pytest.raises(UnicodeDecodeError):
        parse(b"data: caf\xc3\n\n")


def test_a_long_event_costs_its_length() -> None:
    """Collected piece by piece; a copy of the whole for each piece would take minutes here."""
    parser = EventStreamParser(max_size=64 << 20)
    piece = b"x" * 16_384
    assert [] == parser.feed(b"data: ")
    for _ in range(1_024):
        assert [] == parser.feed(piece)
    (event,) = parser.feed(b"\n\n")

    assert 16 << 20 == len(event)
