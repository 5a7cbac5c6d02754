"""Records as bytes: one form for each, read for ever, whatever wrote them."""

from __future__ import annotations

import attrs
import pytest
import record_samples
from hypothesis import example, given
from hypothesis import strategies as st

from triplane.core.outcome import ToolOutcome
from triplane.core.records import (
    ConnectionDropped,
    FramesReceived,
    InputAdded,
    StillWaiting,
    ToolFinished,
    UnknownRecord,
)
from triplane.ledger import encoding
from triplane.ledger.encoding import Encoded, EncodingError, decode, encode, kinds

SAMPLES = record_samples.read()

# Surrogates and all: what is text in Python, though not in Unicode.
TEXT = st.text(st.characters(codec=None, exclude_categories=()))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.one_of(
    st.builds(FramesReceived, TEXT, st.lists(TEXT, max_size=4).map(tuple)),
    st.builds(InputAdded, st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=2).map(tuple)),
    st.builds(ConnectionDropped, TEXT, st.integers(), TEXT),
    st.builds(ToolFinished, TEXT, TEXT, st.builds(ToolOutcome, st.just("ok"), TEXT)),
)


@given(BODIES)
@example(FramesReceived("\ud800", ("\ud800", "é")))
def test_every_body_comes_back_and_has_one_form(body) -> None:
    encoded = encode(body)

    assert body == decode(encoded)
    assert encoded == encode(decode(encoded))


@given(st.dictionaries(TEXT, JSON, max_size=6))
def test_equal_bodies_have_equal_bytes(item) -> None:
    assert encode(InputAdded((item,))) == encode(InputAdded((dict(reversed(item.items())),)))


def test_one_and_one_point_nought_are_written_alike() -> None:
    whole = StillWaiting(1, "c", "model_thinking", 1, 2, None)
    point = StillWaiting(1, "c", "model_thinking", 1.0, 2.0, None)

    assert whole == point
    assert encode(whole) == encode(point)
    outcomes = [ToolFinished("c", "n", ToolOutcome("ok", "x", None, seconds)) for seconds in (1, 1.0)]
    assert encode(outcomes[0]) == encode(outcomes[1])


def test_frames_stand_in_it_as_they_came() -> None:
    frame = '{"type" : "x",\n"text":"é\\u0000"}'

    assert frame.encode() in encode(FramesReceived("c1", ("{}", frame))).data


@pytest.mark.parametrize(
    ("encoded", "fields", "reads_as"), SAMPLES, ids=lambda each: getattr(each, "kind", "")
)
def test_what_any_version_wrote_is_read_as_ever(encoded: Encoded, fields, reads_as) -> None:
    body = decode(encoded)

    assert reads_as == repr(body)
    assert repr(decode(encode(body))) == reads_as
    if encoded.version == kinds()[encoded.kind].version:
        assert encoded == encode(body)
        assert fields == [field.name for field in attrs.fields(type(body))], (
            "the fields have changed: give the kind a new version, and run tests/ledger/record_samples.py"
        )


def test_every_kind_and_version_has_a_sample() -> None:
    expected = {(kind.name, version) for kind in kinds().values() for version in range(1, kind.version + 1)}

    assert expected == {(encoded.kind, encoded.version) for encoded, _, _ in SAMPLES}


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which a kind has been changed twice."""

    def second(fields):
        return {**fields, "code": fields["code"] + 1}

    def third(fields):
        return {**fields, "reason": fields["reason"].upper()}

    monkeypatch.setattr(encoding, "_CHANGED", {"connection_dropped": (second, third)})
    monkeypatch.setattr(encoding, "_KIND_OF", encoding._KindOf())
    kinds.cache_clear()
    yield
    kinds.cache_clear()


@pytest.mark.usefixtures("changed")
def test_older_versions_are_brought_up_to_date_step_by_step() -> None:
    data = b'{"code":1006,"connection":"c1","reason":"gone"}'

    assert ConnectionDropped("c1", 1007, "GONE") == decode(
        Encoded("connection_dropped", 1, essential=True, data=data)
    )
    assert ConnectionDropped("c1", 1006, "GONE") == decode(
        Encoded("connection_dropped", 2, essential=True, data=data)
    )
    assert ConnectionDropped("c1", 1006, "gone") == decode(
        Encoded("connection_dropped", 3, essential=True, data=data)
    )
    assert 3 == encode(ConnectionDropped("c1", 1006, "gone")).version


@pytest.mark.parametrize(
    "encoded",
    [
        Encoded("wish_granted", 1, essential=True, data=b"\x00 whatever"),
        Encoded("still_waiting", 99, essential=False, data=b"{}"),
    ],
)
def test_what_a_newer_version_wrote_is_kept_as_it_is(encoded: Encoded) -> None:
    body = decode(encoded)

    assert UnknownRecord(encoded.kind, encoded.version, encoded.essential, encoded.data) == body
    assert encoded == encode(body)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("run_ended", b'{"message":"","reason":"","status":"fine"}'),
        ("run_ended", b'{"message":"","reason":1,"status":"failed"}'),
        ("run_ended", b'{"message":"","reason":"","status":"failed","more":1}'),
        ("run_ended", b'["failed"]'),
        ("run_ended", b"{"),
        ("request_sent", b'{"turn":true}'),
        ("tool_finished", b'{"call_id":"c","name":"n","outcome":{"kind":"ok","output":"x","seconds":"1"}}'),
        ("frames_received", b'{"connection":"c","frames":[3]}\n{}'),
        ("frames_received", b'{"connection":"c","frames":[1]}\n{}'),
        ("frames_received", b'{"connection":"c","frames":[-1,3]}\n{}'),
        ("frames_received", b'{"connection":"c","frames":[2]}'),
        ("frames_received", b'{"connection":"c","frames":[1]}\n\xff'),
        ("frames_received", b'{"connection":1,"frames":[]}\n'),
        ("frames_received", b""),
    ],
)
def test_anything_else_is_refused(kind: str, data: bytes) -> None:
    with pytest.raises(EncodingError):
        decode(Encoded(kind, 1, essential=True, data=data))
