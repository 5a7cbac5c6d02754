"""The samples that `scripts/wire_samples.py` writes, and what the tests do with them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

import triplane.protocol as tp
from triplane.protocol._structure import structure

DATA = Path(__file__).parent / "data" / "wire_samples.jsonl"


@attrs.frozen
class Sample:
    """One JSON object that openai's own class accepts."""

    surface: str
    kind: str
    model: str
    form: str
    data: dict[str, Any] = attrs.field(repr=False)

    def read(self) -> tp.Wire:
        """Our object for it."""
        if self.kind == "server_event":
            return tp.decode_event(json.dumps(self.data))
        if self.kind == "client_event":
            return tp.request_from_wire(self.data)
        if self.kind == "tool":
            return structure(self.data, tp.ToolDefinition)
        return tp.item_from_wire(self.data)


def samples() -> list[Sample]:
    with DATA.open() as lines:
        next(lines)
        return [Sample(*json.loads(line)) for line in lines]


SAMPLES = samples()


def fields(obj: tp.Wire) -> dict[str, Any]:
    """What the object's constructor takes, by name."""
    return {a.alias: getattr(obj, a.alias) for a in attrs.fields(type(obj))}


def walk(value: Any) -> Iterator[tp.Wire]:
    """All wire objects in a value, itself first."""
    if isinstance(value, tp.Wire):
        yield value
        for name, inner in fields(value).items():
            if name != "extra":
                yield from walk(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from walk(inner)


def class_name(wire_type: str) -> str:
    """The class for a type: ``response.output_text.delta`` -> ``ResponseOutputTextDelta``."""
    return "".join(word.capitalize() for word in wire_type.replace(".", "_").split("_"))
