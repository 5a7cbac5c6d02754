"""Frames that no server should send, and what must hold all the same. `scripts/fuzz_frames.py` runs a million of them.

Frames come in streams of `STREAM`, each made from the seed and its number alone, so that any of them can be made again:
frame N is the one at place N % STREAM of stream N // STREAM. A stream is a sensible response with events swapped, left
out, repeated and moved; most of its frames are then damaged, as JSON values or as bytes.
"""

from __future__ import annotations

import copy
import json
import random
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import orjson
from core_scripts import Nonsense
from core_wire import numbered

import triplane.protocol as tp
from triplane.core.accumulator import ResponseAccumulator
from triplane.core.items import text_of
from triplane.core.records import FramesReceived, Record, RequestSent, RunStarted, UndecodableFrame
from triplane.core.reducer import RunReducer
from triplane.core.turn import TurnAccumulator
from triplane.protocol._wire import Payload
from triplane.protocol.events._catalogue import CLASS_OF_TYPE

STREAM = 25
REASONS = {
    "too_large", "too_deep", "too_many_items", "invalid_unicode", "invalid_json", "not_an_object", "missing_type",
    "missing_field", "wrong_type",
}  # fmt: skip
DATA = Path(__file__).parents[1] / "protocol" / "data" / "wire_samples.jsonl"
KINDS = [*sorted(CLASS_OF_TYPE), "newer.event", ""]

Frame = str | bytes


# --- what is damaged


def _samples() -> dict[str, list[dict[str, Any]]]:
    samples: dict[str, list[dict[str, Any]]] = {"server_event": [], "client_event": [], "item": []}
    with DATA.open() as lines:
        next(lines)
        for line in lines:
            _surface, kind, _model, _form, data = json.loads(line)
            samples.get("item" if kind.endswith("_item") else kind, []).append(data)
    return samples


SAMPLES = _samples()


def _script() -> list[dict[str, Any]]:
    """One response with something of everything."""
    at = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    call = {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": "look",
        "arguments": '{"a":1}',
    }
    thought = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    summary = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    begun = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "summary": []}},
        {"type": "response.reasoning_summary_part.added", **summary, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **summary, "delta": "Hm."},
        {"type": "response.reasoning_summary_text.done", **summary, "text": "Hm."},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        {"type": "response.output_item.added", "output_index": 1, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **at, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **at, "delta": "Hel", "logprobs": []},
        {"type": "response.output_text.delta", **at, "delta": "lo", "logprobs": [{"token": "lo", "logprob": -0.5}]},
        {"type": "response.output_text.annotation.added", **at, "annotation_index": 0, "annotation": {"type": "file_path", "file_id": "f", "index": 0}},
        {"type": "response.output_text.done", **at, "text": "Hello", "logprobs": []},
        {"type": "response.content_part.done", **at, "part": part},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "response.output_item.added", "output_index": 2, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": '{"a"'},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 2, "delta": ":1}"},
        {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 2, "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 2, "item": call},
        {"type": "response.steer.accepted", "steer": {"id": "s1", "previous_response_id": "resp_1"}},
        {"type": "response.completed", "response": {**begun, "status": "completed", "output": [thought, message, call], "usage": usage}},
        {"type": "error", "status": 400, "error": {"code": "x", "message": "y"}},
    ]  # fmt: skip


SCRIPT = _script()
SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), float("-inf"), "", "a", "msg_1", "call_1", "completed", "message", "function_call",
    "\ud800", "\udfff\ud800", "é😀", "\x00\x1f", "a" * 700, "sk-1234567890abcdef", [], {}, [[]], {"type": "message"},
    {"type": ["x"]}, {"id": "x"}, {"": None},
]  # fmt: skip
KEYS = [
    "type", "id", "delta", "text", "item", "response", "output", "error", "extra", "sequence_number", "stream_id",
    "output_index", "content_index", "call_id", "name", "arguments", "logprobs", "obfuscation", "agent", "self", "",
]  # fmt: skip


class Mutator:
    """Streams of frames, made from a seed."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)
        self._nonsense = Nonsense(self._rng.randrange(2**63))

    def stream(self) -> list[Frame]:
        """`STREAM` frames."""
        rng = self._rng
        frames: list[dict[str, Any]] = numbered(copy.deepcopy(SCRIPT))
        for _ in range(rng.randint(0, 6)):
            at = rng.randrange(len(frames))
            match rng.randint(0, 4):
                case 0:
                    frames.insert(rng.randint(0, len(frames)), copy.deepcopy(frames[at]))
                case 1 if len(frames) > 1:
                    del frames[at]
                case 2:
                    frames.insert(rng.randint(0, len(frames)), frames.pop(at))
                case 3:
                    frames[at] = {**frames[at], "type": rng.choice(KINDS)}
                case _:
                    frames.insert(at, self._sample("server_event"))
        while len(frames) < STREAM:
            kind = rng.choice(KINDS)
            made = (
                self._sample("server_event") if rng.random() < 0.5 else json.loads(self._nonsense.frame(kind))
            )
            frames.insert(rng.randint(0, len(frames)), made)
        return [self._frame(frame) for frame in frames[:STREAM]]

    def item(self) -> Any:
        """An item, damaged or not. It need not have a JSON form."""
        return self._structural(self._sample("item"))

    def request(self) -> Any:
        """A request, damaged or not. It need not have a JSON form."""
        return self._structural(self._sample("client_event"))

    def _sample(self, kind: str) -> dict[str, Any]:
        sample: dict[str, Any] = copy.deepcopy(self._rng.choice(SAMPLES[kind]))
        return sample

    def _frame(self, frame: Any) -> Frame:
        rng = self._rng
        if rng.random() < 0.6:
            frame = self._structural(frame)
        # As Python writes it: with NaN, with escaped surrogates, and with integers of any length.
        text = json.dumps(frame, ensure_ascii=rng.random() < 0.7, separators=(",", ":"))
        chance = rng.random()
        if chance < 0.05:
            text = self._double_a_key(text)
        elif chance < 0.06:
            text = self._nest(text, rng.choice([199, 200, 1_100]))
        elif chance < 0.0602:
            text = self._nest(text, rng.choice([30_000, 100_001]))
        if rng.random() < 0.5:
            data = text.encode("utf-8", "surrogatepass")
            return self._bytewise(data) if rng.random() < 0.4 else data
        if rng.random() < 0.2:
            return self._bytewise(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogateescape")
        return text

    # JSON values.

    def _structural(self, value: Any) -> Any:
        for _ in range(self._rng.randint(0, 3)):
            value = self._change(value)
        return value

    def _change(self, value: Any) -> Any:
        """Change something somewhere in a value."""
        rng = self._rng
        if isinstance(value, dict) and value and rng.random() < 0.8:
            key = rng.choice(list(value))
            match rng.randint(0, 9):
                case 0:
                    return {k: v for k, v in value.items() if k != key}
                case 1:
                    return {**value, key: None}
                case 2:
                    return {**value, rng.choice(KEYS): self._value()}
                case 3:
                    return {rng.choice(KEYS) if k == key else k: v for k, v in value.items()}
                case 4:
                    return {**value, key: value[rng.choice(list(value))]}
                case 5:
                    return {**value, key: rng.choice(([], {"x": None}, [value[key]], {"type": value[key]}))}
                case _:
                    return {**value, key: self._change(value[key])}
        if isinstance(value, list) and value and rng.random() < 0.8:
            at = rng.randrange(len(value))
            match rng.randint(0, 3):
                case 0:
                    return value[:at] + value[at + 1 :]
                case 1:
                    return [*value, copy.deepcopy(value[at])]
                case _:
                    return [*value[:at], self._change(value[at]), *value[at + 1 :]]
        return self._value()

    def _value(self) -> Any:
        rng = self._rng
        if rng.random() < 0.05:
            value: Any = rng.choice(SCALARS)
            for _ in range(rng.choice([5, 100, 198, 205, 300])):
                value = [value] if rng.random() < 0.5 else {"type": value}
            return value
        if rng.random() < 0.1:
            return self._sample(rng.choice(["server_event", "client_event", "item"]))
        return copy.deepcopy(rng.choice(SCALARS))

    # Text and bytes.

    def _double_a_key(self, text: str) -> str:
        """The same object with a key twice."""
        key, value = json.dumps(self._rng.choice(KEYS)), json.dumps(self._rng.choice(SCALARS))
        return (
            text.replace("{", f"{{{key}:{value},", 1)
            if self._rng.random() < 0.5
            else f"{text[:-1]},{key}:{value}}}"
        )

    def _nest(self, text: str, count: int) -> str:
        """The same object with something deep or long in it."""
        opening, closing = self._rng.choice([("[", "]"), ('{"a":', "}")])
        inner = self._rng.choice([opening * count + "1" + closing * count, "[" + "1," * count + "1]"])
        return f'{text[:-1]},"more":{inner}}}'

    def _bytewise(self, data: bytes) -> bytes:
        rng = self._rng
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(changed))
            match rng.randint(0, 4):
                case 0 if at < len(changed):
                    changed[at] ^= 1 << rng.randrange(8)
                case 1:
                    del changed[at:]
                case 2:
                    changed[at:at] = rng.randbytes(rng.randint(1, 4))
                case 3:
                    other = json.dumps(rng.choice(SCRIPT)).encode()
                    changed[at:] = other[rng.randint(0, len(other)) :]
                case _:
                    changed[at:at] = rng.choice(
                        [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\u", b"\xef\xbb\xbf", b"null"]
                    )
        return bytes(changed)


# --- what must hold


class Folds:
    """Everything that folds, fed with the same events."""

    def __init__(self) -> None:
        self._response, self._again = ResponseAccumulator("resp_0"), ResponseAccumulator("resp_0")
        self._turn = TurnAccumulator("resp_0")
        self._run = RunReducer()
        self._run.apply(Record(0, 0.0, RunStarted("run_1", "agent", "model", "fingerprint", ())))
        self._run.apply(Record(1, 0.0, RequestSent(1, 1, "c1", "full", "first_turn", "resp_0", 1, 1)))

    def apply(self, event: tp.ServerEvent | UndecodableFrame, frame: Frame) -> None:
        """Fold one, and look at what there is now."""
        self._response.apply(event)
        self._again.apply(event)
        self._turn.apply(event)
        # Logs hold text.
        if isinstance(frame, str):
            self._run.apply(Record(2, 0.0, FramesReceived("c1", (frame,))))
        _check_response(self._response)

    def finish(self) -> None:
        """Compare what should be the same."""
        for response in (*self._turn.responses, self._run.response):
            _check_response(response)
        assert self._response.canonical() == self._again.canonical()
        assert json.loads(self._turn.canonical())
        assert json.loads(self._run.canonical())
        self._run.snapshot()


def _check_response(response: ResponseAccumulator) -> None:
    snapshot = response.snapshot()
    assert isinstance(snapshot.text, str)
    assert snapshot.text == text_of(snapshot.output)
    assert all(type(item) is dict for item in snapshot.output)
    assert response.is_over is (snapshot.status not in ("awaited", "in_progress"))
    assert response.shown >= len(snapshot.text)
    for call in response.calls():
        assert all(type(text) is str for text in (call.call_id, call.name, call.arguments))


def check_frame(frame: Frame) -> tp.ServerEvent | UndecodableFrame:
    """Decode a frame, and see that what comes of it is right. Returns the event."""
    try:
        event = tp.decode_event(frame)
    except tp.DecodeError as error:
        refused = UndecodableFrame(error.reason, error.excerpt)
        assert refused.reason in REASONS
        assert len(refused.excerpt.encode()) <= 200
        return refused
    assert len(tp.excerpt(frame).encode()) <= 200
    if len(frame) % 8 == 0:
        # Slow, so not for all.
        assert tp.redact(frame if isinstance(frame, str) else frame.decode())
    check_fields(event)
    assert repr(event)
    assert _same(orjson.loads(frame), tp.to_wire(event))
    again = tp.decode_event(tp.encode(event))
    assert event == again
    assert tp.encode(again) == tp.encode(event)
    return event


def check_object(raw: dict[str, Any], read: Callable[[Mapping[str, Any]], tp.Wire]) -> None:
    """Structure an object, and see that it is written as it was. It may have no JSON form."""
    obj = read(raw)
    check_fields(obj)
    try:
        written = tp.to_wire(obj)
    except tp.EncodeError:
        assert not _is_json(raw)
        return
    assert _same(raw, written)
    try:
        text = tp.encode(obj)
    except tp.EncodeError:
        assert not _is_json(raw)
        return
    assert orjson.loads(text) == orjson.loads(orjson.dumps(raw))


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON values, in which true is not 1; and not-a-number is itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or one != one)  # noqa: PLR0124


def _is_json(raw: Any) -> bool:
    try:
        return bool(orjson.loads(orjson.dumps(raw)) == raw)
    except (orjson.JSONEncodeError, RecursionError):
        return False


def check_fields(obj: tp.Wire) -> None:
    """See that every field holds what its annotation says, all the way down."""
    for name, annotation in _annotations(type(obj)):
        value = getattr(obj, name)
        assert _fits(value, annotation), f"{type(obj).__name__}.{name} is {value!r:.80}, not {annotation}"


_ANNOTATIONS: dict[type, list[tuple[str, Any]]] = {}


def _annotations(cls: type) -> list[tuple[str, Any]]:
    if cls not in _ANNOTATIONS:
        _ANNOTATIONS[cls] = [(a.name, a.type) for a in attrs.fields(cls)]
    return _ANNOTATIONS[cls]


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, argument) for argument in arguments)
    if annotation is types.NoneType:
        return value is None
    if annotation is float:
        return type(value) in (int, float)
    if origin is tuple:
        return type(value) is tuple and all(_fits(element, arguments[0]) for element in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            type(key) is str and _fits(element, arguments[1]) for key, element in value.items()
        )
    if origin is Payload:
        nested = arguments[0]
        cls = getattr(tp, nested.__forward_arg__) if isinstance(nested, typing.ForwardRef) else nested
        return type(value) is Payload and _fits(value.value, cls)
    if issubclass(annotation, tp.Wire):
        if not isinstance(value, annotation):
            return False
        check_fields(value)
        return True
    return type(value) is annotation


# --- running


class Failure(NamedTuple):
    """What did not hold, and where."""

    number: int
    frame: object
    error: BaseException


class Watch:
    """Is told what is worked on; the script's knows the time."""

    def begin(self, number: int, subject: object) -> None:
        """Work on a frame, or on what else belongs to its stream, begins."""

    def end(self, outcome: str) -> None:
        """It has ended."""


def run_stream(seed: int, number: int, watch: Watch) -> Failure | None:
    """Check one stream, and an item and a request with it."""
    mutator = Mutator(f"{seed}/{number}")
    first = number * STREAM
    folds = Folds()
    place, subject = first, None
    try:
        for place, subject in enumerate(mutator.stream(), first):
            watch.begin(place, subject)
            event = check_frame(subject)
            folds.apply(event, subject)
            watch.end(event.reason if isinstance(event, UndecodableFrame) else "decoded")
        folds.finish()
        for make, read in ((mutator.item, tp.item_from_wire), (mutator.request, tp.request_from_wire)):
            subject = make()
            if isinstance(subject, dict):
                watch.begin(place, subject)
                check_object(subject, read)
                watch.end("structured")
    except Exception as error:
        return Failure(place, subject, error)
    return None
