"""Write a JSON sample of every event, item and tool definition that the installed openai package knows.

    python scripts/wire_samples.py            # rewrite tests/protocol/data/wire_samples.jsonl python
    scripts/wire_samples.py --check    # fail if the file is not what would be written

The samples are made by walking openai's own pydantic models, stable and beta, so the tests compare our
classes with theirs and not with what we think of them. For each model there is a sample with the required
fields only, one with every optional field null, and as many full ones as it takes to see every member of
every union inside it.
"""

import argparse
import itertools
import json
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
from openai.types import beta, responses

DATA = Path(__file__).parent.parent / "tests" / "protocol" / "data" / "wire_samples.jsonl"

MOST = 9
"""How many samples of one model are enough."""

UNIONS = {
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


def bare(annotation: Any) -> Any:
    """An annotation without `Annotated` and without a name of its own."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def members(annotation: Any) -> list[Any]:
    """The members of a union, nested ones included, without None; of anything else, itself."""
    annotation = bare(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return list(itertools.chain.from_iterable(members(a) for a in typing.get_args(annotation)))
    return [] if annotation is type(None) else [annotation]


def is_large(options: list[Any]) -> bool:
    """Whether a union is one of those of items or tools, whose members have samples of their own."""
    return len(options) > 10


def is_model(annotation: Any) -> bool:
    """Whether an annotation is one of openai's models."""
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def shape_of(annotation: Any) -> str:
    """An annotation as text, the same for a stable class and its beta twin."""
    return re.sub(r"[a-z_.]*\.(?:Beta)?", "", str(bare(annotation)).replace("typing.", ""))


def count(annotation: Any, depth: int = 0) -> int:
    """How many samples it takes to see every member of every union inside."""
    options = members(annotation)
    if depth > 8 or is_large(options):
        return 1
    if len(options) > 1:
        return len(options) * max(count(option, depth + 1) for option in options)
    (option,) = options
    if is_model(option):
        fields = option.model_fields
        tags = typing.get_args(fields["type"].annotation) if "type" in fields else ()
        return max(len(tags), 1, *(count(field.annotation, depth + 1) for field in fields.values()))
    if typing.get_origin(option) in (list, dict):
        return count(typing.get_args(option)[-1], depth + 1)
    return 1


def value(annotation: Any, name: str, number: int, depth: int = 0) -> Any:
    """A value of an annotation; ``number`` says which members of unions."""
    options = members(annotation)
    option = options[number % len(options)]
    number = 0 if is_large(options) else number // len(options)
    origin = typing.get_origin(option)
    if is_model(option):
        return sample(option, number, depth + 1)
    if origin is typing.Literal:
        literals = typing.get_args(option)
        return literals[number % len(literals)]
    if origin is list:
        return [value(typing.get_args(option)[-1], name, number, depth + 1)]
    if origin is dict:
        return {f"{name}_key": value(typing.get_args(option)[-1], name, number, depth + 1)}
    if option is object or option is Any:
        return {"anything": [name, 1, None]}
    return {str: f"{name}-{number}", int: len(name) + number, float: 0.5 + number, bool: number % 2 == 0}[
        option
    ]


def sample(
    model: type[pydantic.BaseModel], number: int, depth: int = 0, *, optional: str = "full"
) -> dict[str, Any]:
    """A JSON object of a model, with its optional fields ``full``, ``null`` or ``absent``."""
    result = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        nullable = type(None) in typing.get_args(bare(field.annotation))
        if (
            field.is_required()
            or (optional == "full" and depth < 6)
            or (optional == "null" and key == "type")
        ):
            result[key] = value(field.annotation, key, number, depth)
        elif optional == "null" and nullable:
            result[key] = None
    return result


def samples() -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    """All samples: surface, kind, openai's class, form, data."""
    seen = set()
    for (surface, kind), union in UNIONS.items():
        for model in members(union):
            # Models with the fields of another one, such as most of the beta's, need not show all their unions again.
            shape = (
                kind,
                *sorted(
                    (n, shape_of(f.annotation))
                    for n, f in model.model_fields.items()
                    if n not in ("type", "agent")
                ),
            )
            made = [
                ("full", sample(model, number))
                for number in range(1 if shape in seen else min(count(model), MOST))
            ]
            if shape not in seen:
                made += [(form, sample(model, 0, optional=form)) for form in ("absent", "null")]
            seen.add(shape)
            for form, data in made:
                yield surface, kind, model.__qualname__, form, data


def text() -> str:
    """The file: the version, then one sample a line."""
    lines = (["openai", openai.__version__], *samples())
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def main() -> int:
    """Write the samples, or check them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only compare")
    if not parser.parse_args().check:
        DATA.parent.mkdir(parents=True, exist_ok=True)
        DATA.write_text(text())
        return 0
    same = DATA.exists() and DATA.read_text() == text()
    print("up to date" if same else f"{DATA} is out of date: run {Path(__file__).name}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
