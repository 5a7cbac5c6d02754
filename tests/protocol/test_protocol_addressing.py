"""Whose a frame is: the quick way and the sure way must agree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triplane.protocol import DecodeError, address_of, decode_event, without_stream_id


@pytest.mark.parametrize(
    ("frame", "address"),
    [
        ('{"type":"response.created","stream_id":"a","response":{}}', ("response.created", "a")),
        ('{"type": "response.created", "stream_id": "a"}', ("response.created", "a")),
        ('{"type":"x","sequence_number":3,"stream_id":"a.b-c_1","n":1}', ("x", "a.b-c_1")),
        ('{"type":"x","delta":"d","sequence_number":3,"stream_id":"a"}', ("x", "a")),
        ('{"type": "x", "n": 1, "stream_id": "a"}', ("x", "a")),
        ('{"type":"x","response":{"n":1,"stream_id":"no"}}', ("x", None)),
        ('{"type":"x","a,\\"stream_id":"no"}', ("x", None)),
        ('{"type":"x","delta":",\\"stream_id\\":\\"no\\"}"}', ("x", None)),
        ('{"stream_id":"a","type":"x"}', ("x", "a")),
        ('{"type":"x","response":{"metadata":{"stream_id":"no"}}}', ("x", None)),
        ('{"type":"x","delta":"\\"stream_id\\":\\"no\\"","stream_id":"a"}', ("x", "a")),
        ('{"type":"x\\"y","stream_id":"a"}', ('x"y', "a")),
        ('{"type":"x","stream_id":null}', ("x", None)),
        ('{"type":"x","stream_id":7}', ("x", None)),
        ('{"error":{"message":"no"},"stream_id":"a"}', ("error", "a")),
        ('{"stream_id":"a"}', ("", "a")),
    ],
)
def test_an_address(frame, address) -> None:
    assert address == tuple(address_of(frame))


@pytest.mark.parametrize(
    ("frame", "reason"), [("", "invalid_json"), ('{"type":', "invalid_json"), ("[1]", "not_an_object")]
)
def test_a_frame_that_is_nobodys(frame, reason) -> None:
    with pytest.raises(DecodeError) as caught:
        address_of(frame)

    assert reason == caught.value.reason


keys = st.sampled_from(["type", "stream_id", "sequence_number", "delta", "response", "metadata"])
values = st.recursive(
    st.none() | st.integers(0, 9) | st.text(max_size=8) | st.sampled_from(['"stream_id":"x"', "a", "lane-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(keys, values, max_size=6), st.booleans(), st.randoms(use_true_random=False))
def test_it_is_the_address_that_decoding_gives(body, spaced, rng) -> None:
    """In whatever order the keys stand, and whatever stands in the values."""
    body = {"type": "vendor.event", **body}
    pairs = list(body.items())
    rng.shuffle(pairs)
    frame = json.dumps(dict(pairs), separators=None if spaced else (",", ":"))
    if not isinstance(body["type"], str) or not body["type"]:
        return

    event = decode_event(frame) if body["type"] == "vendor.event" else None

    address = address_of(frame)
    assert body["type"] == address.type
    if event is not None:
        assert event.stream_id == address.stream_id


def test_a_request_without_its_name() -> None:
    request = '{"type":"response.create","stream_id":"a","metadata":{"stream_id":"mine"},"input":[]}'

    assert {
        "type": "response.create",
        "metadata": {"stream_id": "mine"},
        "input": [],
    } == json.loads(without_stream_id(request))
