"""Every event, item and tool definition of the openai package, in and out of our classes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import attrs
import openai
import pydantic
import pytest
from openai.types import beta, responses
from protocol_samples import SAMPLES, Sample, class_name, fields, walk

import triplane.protocol as tp

ROOT = Path(__file__).parents[2]

COUNTS = {
    ("stable", "server_event"): 62,
    ("stable", "client_event"): 2,
    ("stable", "output_item"): 28,
    ("stable", "input_item"): 33,
    ("stable", "tool"): 16,
    ("beta", "server_event"): 64,
    ("beta", "client_event"): 3,
    ("beta", "output_item"): 31,
    ("beta", "input_item"): 36,
    ("beta", "tool"): 16,
}

UNIONS: dict[tuple[str, str], Any] = {
    ("stable", "server_event"): responses.ResponsesServerEvent,
    ("stable", "client_event"): responses.ResponsesClientEvent,
    ("stable", "output_item"): responses.ResponseOutputItem,
    ("stable", "input_item"): responses.ResponseInputItem,
    ("stable", "tool"): responses.Tool,
    ("beta", "server_event"): beta.BetaResponsesServerEvent,
    ("beta", "client_event"): beta.BetaResponsesClientEvent,
    ("beta", "output_item"): beta.BetaResponseOutputItem,
    ("beta", "input_item"): beta.BetaResponseInputItem,
    ("beta", "tool"): beta.BetaTool,
}

every_kind = pytest.mark.parametrize(("surface", "kind"), COUNTS)

OPENAI_CLASSES: dict[tuple[str, str, str], type[pydantic.BaseModel]] = {
    (*key, model.__qualname__): model
    for key, union in UNIONS.items()
    for model in get_args(get_args(union)[0])
}


def samples_of(surface: str, kind: str) -> list[Sample]:
    return [s for s in SAMPLES if (s.surface, s.kind) == (surface, kind)]


def test_samples_are_those_of_the_installed_package() -> None:
    """The file is what the script writes, so it cannot be edited by hand or grow old."""
    script = ROOT / "scripts" / "wire_samples.py"
    result = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)

    assert (0, "up to date\n") == (result.returncode, result.stdout)
    assert openai.__version__ == "3.52.0"


@every_kind
def test_every_class_of_openai_has_a_sample(surface: str, kind: str) -> None:
    models = {sample.model for sample in samples_of(surface, kind)}

    assert COUNTS[surface, kind] == len(models)
    assert COUNTS[surface, kind] == len(get_args(get_args(UNIONS[surface, kind])[0]))


@every_kind
def test_samples_are_read_as_their_class(surface: str, kind: str) -> None:
    """Nothing in it, however deep, is passed through raw."""
    for sample in samples_of(surface, kind):
        check_class(sample)


def check_class(sample: Sample) -> None:
    obj = sample.read()

    for inner in walk(obj):
        assert not type(inner).__name__.startswith("Unknown")
        beta_agent = {"agent"} if isinstance(inner, tp.ServerEvent) else set()
        assert {} == {k: v for k, v in inner.extra.items() if v is not None and k not in beta_agent}
    expected = sample.data.get("type")
    if expected is not None:
        assert expected == obj.type  # type: ignore[attr-defined]
    if sample.kind != "tool" and expected not in (None, "error", "message"):
        assert class_name(str(expected)) == type(obj).__name__
    by_a_model = sample.data.get("role") == "assistant" and isinstance(sample.data.get("content"), list)
    if sample.model.endswith("OutputMessage") or (expected == "message" and by_a_model):
        assert isinstance(obj, tp.OutputMessage)
    elif sample.model.endswith("Message") and "agent" not in str(expected):
        assert isinstance(obj, tp.InputMessage)


@every_kind
def test_samples_survive(surface: str, kind: str) -> None:
    """Read, taken apart, built from keywords, evolved, written, read: nothing changes on the way."""
    for sample in samples_of(surface, kind):
        check_survival(sample)


def check_survival(sample: Sample) -> None:
    obj = sample.read()
    built = type(obj)(**fields(obj))
    evolved = attrs.evolve(built, extra=dict(built.extra))

    assert sample.data == tp.to_wire(obj)
    assert obj == built == evolved
    assert hash(obj) == hash(built)
    assert sample.data == json.loads(tp.encode(evolved))
    again = Sample(sample.surface, sample.kind, sample.model, sample.form, json.loads(tp.encode(evolved)))
    assert obj == again.read()
    assert obj != attrs.evolve(built, extra={**built.extra, "more": 1})


@every_kind
def test_samples_agree_with_openai(surface: str, kind: str) -> None:
    """Field by field, what their model has is what our object has."""
    for sample in samples_of(surface, kind):
        check_agreement(sample)


def check_agreement(sample: Sample) -> None:
    theirs = OPENAI_CLASSES[sample.surface, sample.kind, sample.model].model_validate(sample.data)
    ours = sample.read()

    dumped = theirs.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert dumped == tp.to_wire(ours)
    for name, field in type(theirs).model_fields.items():
        key = field.alias or name
        if key in sample.data:
            assert dumped[key] == on_the_wire(ours, key)


def on_the_wire(obj: tp.Wire, key: str) -> Any:
    """The value of our field for a key."""
    if key == "agent" and isinstance(obj, tp.ServerEvent):
        return obj.agent_name and {"agent_name": obj.agent_name}
    value = getattr(obj, {"async": "async_"}.get(key, key))
    return None if value is None else json.loads(tp.encode(tp.UnknownItem("", extra={"": value})))[""]


def test_samples_show_every_class() -> None:
    """No class is without a sample, and so without a test; bases and unknown members have their own."""
    classes = {c for n in dir(tp) if isinstance(c := getattr(tp, n), type) and issubclass(c, tp.Wire)}
    seen = {type(inner) for sample in SAMPLES for inner in walk(sample.read())}
    bases = {c for c in classes if "family" in vars(c)} | {tp.Wire, tp.RequestOptions}
    unknown = {c for c in classes if c.__name__.startswith("Unknown")}

    assert {tp.ModelSettings, tp.ResponseErrorEvent, tp.UntypedErrorEvent} == classes - seen - bases - unknown
