"""Records, outcomes and the canonical form: small values that everything else stands on."""

from __future__ import annotations

import inspect
from typing import get_args

import attrs
import pytest
from core_wire import user

from triplane.core import records, store
from triplane.core.canonical import canonical_json
from triplane.core.errors import Effect
from triplane.core.outcome import OutcomeKind, ToolOutcome
from triplane.core.records import Body, FramesReceived, InputAdded, Record, RunEnded, UndecodableFrame
from triplane.protocol import ResponseOutputTextDelta, UnknownEvent

TEXT = '{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"é"}'


def test_frames_are_decoded_in_their_order_each_once() -> None:
    frames = FramesReceived(
        "c1", (TEXT, '{"type":"newer"}', "{", "[]", '{"type":"response.output_text.delta"}')
    )
    text, newer, *broken = frames.events

    assert isinstance(text, ResponseOutputTextDelta)
    assert text.delta == "é"
    assert isinstance(newer, UnknownEvent)
    assert [type(each) for each in broken] == [UndecodableFrame] * 3
    assert [each.reason for each in broken] == ["invalid_json", "not_an_object", "missing_field"]
    assert frames.events == frames.events
    assert frames.events is not frames.events, "a log would keep them for ever"


def test_an_undecodable_frame_shows_little_of_itself() -> None:
    (frame,) = FramesReceived("c1", ('{"secret": "sk-abcdefghijklmnopqrstuvwxyz' + "x" * 1_000,)).events

    assert isinstance(frame, UndecodableFrame)
    assert len(frame.excerpt.encode()) <= 200
    assert "sk-abc" not in frame.excerpt


def test_the_size_of_a_record_is_what_a_reader_is_behind() -> None:
    assert Record(0, 0.0, FramesReceived("c1", (TEXT, "{}"))).size == len(TEXT) + 2
    assert Record(0, 0.0, FramesReceived("c1", ())).size == 0
    assert Record(0, 0.0, RunEnded("completed")).size == 256


def test_every_body_has_a_type_of_its_own_and_says_what_it_is() -> None:
    bodies = get_args(Body)

    assert len({body.type for body in bodies}) == len(bodies)
    for body in bodies:
        assert body.type.startswith("triplane.")
        assert inspect.getdoc(body)
        assert attrs.has(body)
    defined = {
        value for value in vars(records).values() if isinstance(value, type) and hasattr(value, "type")
    }
    assert defined == {*bodies, UndecodableFrame}


def test_records_are_values() -> None:
    assert Record(1, 2.0, InputAdded((user("a"),))) == Record(1, 2.0, InputAdded((user("a"),)))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Record(1, 2.0, RunEnded("completed")).sequence = 2  # type: ignore[misc]


@pytest.mark.parametrize("kind", get_args(OutcomeKind))
def test_which_outcomes_are_successes(kind) -> None:
    assert ToolOutcome(kind, "x").succeeded is (kind in ("ok", "truncated"))


def test_a_store_is_a_protocol_that_names_what_a_store_must_do() -> None:
    for protocol, methods in (
        (store.RunLog, "run_id read wait"),
        (store.ClaimedLog, "token append durable release"),
        (store.Ledger, "create claim open run_ids follow"),
    ):
        own = {name for name in vars(protocol) if not name.startswith("_")}

        assert own == set(methods.split())
        assert all(inspect.getdoc(getattr(protocol, name)) for name in own)


# The canonical form.


def test_equal_states_have_equal_bytes() -> None:
    assert canonical_json({"b": 1, "a": [(1, 2), None]}) == canonical_json({"a": [[1, 2], None], "b": 1})
    assert canonical_json({"b": 1, "a": "é\ud800"}) == b'{"a":"\\u00e9\\ud800","b":1}'


def test_attrs_instances_are_their_public_attributes() -> None:
    @attrs.frozen
    class State:
        """Something with a cache."""

        shown: Effect
        _hidden: object

    state = State(Effect("call_1", "look", "ok"), object())

    assert canonical_json(state) == b'{"shown":{"call_id":"call_1","outcome":"ok","tool":"look"}}'


def test_mappings_are_objects_and_anything_else_is_refused() -> None:
    class Frozen(dict):  # type: ignore[type-arg]
        """A mapping of another class."""

    import types

    assert canonical_json(types.MappingProxyType({"a": Frozen()})) == b'{"a":{}}'
    with pytest.raises(TypeError, match="object has no canonical form"):
        canonical_json({"a": object()})
