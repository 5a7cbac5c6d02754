from __future__ import annotations

import builtins
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import importlib
import json
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, Required, TypedDict, Union

import attrs
import msgspec
import pytest
from openai.lib._pydantic import _ensure_strict_json_schema

from triplane.core.errors import ConfigError
from triplane.tools import ToolContext, tool

UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "fast"


class Mixed(enum.Enum):
    A = "a"
    B = 1


@attrs.frozen
class Limits:
    """How far to go.

    And more words.

    Attributes:
        max: The largest.
    """

    max: int
    min: Annotated[int, "The smallest."] = 0
    tags: list[str] = attrs.field(factory=list)
    made: int = attrs.field(default=3, init=False)


@dataclasses.dataclass
class Node:
    name: str
    next: Node | None = None
    seen: int = dataclasses.field(default=0, init=False)


class Range(TypedDict, total=False):
    first: Required[int]
    last: int
    step: NotRequired[int]


class Holder(TypedDict):
    anything: dict[str, Any]


def schema_of(annotation: Any, default: Any = ..., doc: str | None = None) -> tuple[dict[str, Any], bool]:
    """The schema of the only parameter of a tool, and whether the tool is strict."""

    def function(value): ...

    function.__annotations__["value"] = annotation
    function.__doc__ = doc
    if default is not ...:
        function.__defaults__ = (default,)
    made = tool(function)
    return made.parameters["properties"]["value"], made.strict


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (UserId, {"type": "integer"}),
        (pathlib.Path, {"type": "string", "description": "A path."}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (dt.date, {"type": "string", "format": "date"}),
        (dt.datetime, {"type": "string", "description": "An ISO 8601 date and time."}),
        (dt.time, {"type": "string", "description": "An ISO 8601 time."}),
        (decimal.Decimal, {"type": "string", "description": "A decimal number in a string."}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1, None], {"type": ["null", "integer", "string"], "enum": [None, 1, "a"]}),  # noqa: PYI061
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            frozenset[int],
            {"type": "array", "items": {"type": "integer"}, "description": "No item twice."},
        ),
        (list[Colour], {"type": "array", "items": {"$ref": "#/$defs/Colour"}}),
        (Annotated[int, "How many."], {"type": "integer", "description": "How many."}),
        (
            Annotated[int, msgspec.Meta(ge=1, lt=9, description="How many.")],
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "description": "How many."},
        ),
        (
            Annotated[str, msgspec.Meta(min_length=2, max_length=3, pattern="^a")],
            {"type": "string", "pattern": "^a", "description": "At least 2 characters. At most 3 characters."},
        ),
        (Annotated[list[int], msgspec.Meta(min_length=2)], {"type": "array", "items": {"type": "integer"}, "minItems": 2}),
        (Limits, {"$ref": "#/$defs/Limits"}),
        (Annotated[Limits, "Bounds."], {"anyOf": [{"$ref": "#/$defs/Limits"}], "description": "Bounds."}),
    ],
    ids=str,
)  # fmt: skip
def test_strict_types(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == (schema, True)


@pytest.mark.parametrize(
    ("annotation", "default", "schema"),
    [
        (int, 3, {"type": ["integer", "null"], "description": "Null means the default, 3."}),
        (str, "x", {"type": ["string", "null"], "description": 'Null means the default, "x".'}),
        (int | None, None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | None, 3, {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "Null means the default, 3."}),
        (int | str, 3, {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}], "description": "Null means the default, 3."}),
        (Literal["a"], "a", {"type": ["string", "null"], "enum": ["a", None], "description": 'Null means the default, "a".'}),
        (Literal["a", None], None, {"type": ["null", "string"], "enum": [None, "a"]}),  # noqa: PYI061
        (Colour, Colour.RED, {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}], "description": 'Null means the default, "red".'}),
        (Limits | None, None, {"anyOf": [{"$ref": "#/$defs/Limits"}, {"type": "null"}]}),
        (pathlib.Path, pathlib.Path(), {"type": ["string", "null"], "description": 'A path. Null means the default, ".".'}),
        (float, float("nan"), {"type": ["number", "null"], "description": "Null leaves it out."}),
        pytest.param(
            int,
            object(),
            {"type": ["integer", "null"], "description": "Null leaves it out."},
            id="a default that is no JSON",
        ),
        (Annotated[int, "How many?"], 1, {"type": ["integer", "null"], "description": "How many? Null means the default, 1."}),
        (Annotated[int, "How many"], 1, {"type": ["integer", "null"], "description": "How many. Null means the default, 1."}),
    ],
    ids=str,
)  # fmt: skip
def test_a_default_makes_it_nullable(annotation: Any, default: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation, default) == (schema, True)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Mapping[str, Limits], {"type": "object", "additionalProperties": {"$ref": "#/$defs/Limits"}}),
        (dict, {"type": "object"}),
        (Any, {}),
        (list, {"type": "array"}),
        (list[dict], {"type": "array", "items": {"type": "object"}}),
        (int | dict, {"anyOf": [{"type": "integer"}, {"type": "object"}]}),
        (
            tuple[int, str],
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": False,
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
            },
        ),
        (Holder, {"$ref": "#/$defs/Holder"}),
    ],
    ids=str,
)
def test_types_that_cannot_be_strict(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == (schema, False)


def test_a_tool_that_is_not_strict() -> None:
    @tool
    async def store(values: dict[str, int], where: Limits, times: int = 2, much: Any = None) -> None: ...

    assert not store.strict
    assert store.parameters == {
        "type": "object",
        "properties": {
            "values": {"type": "object", "additionalProperties": {"type": "integer"}},
            "where": {"$ref": "#/$defs/Limits"},
            "times": {"type": "integer", "default": 2},
            "much": {"default": None},
        },
        "required": ["values", "where"],
        "additionalProperties": False,
        "$defs": {
            "Limits": {
                "description": "How far to go.",
                "type": "object",
                "properties": {
                    "max": {"type": "integer", "description": "The largest."},
                    "min": {"type": "integer", "default": 0, "description": "The smallest."},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["max"],
                "additionalProperties": False,
            }
        },
    }


def test_classes() -> None:
    @tool
    async def walk(limits: Limits, node: Node, span: Range) -> None: ...

    assert walk.strict
    assert walk.parameters["$defs"] == {
        "Limits": {
            "description": "How far to go.",
            "type": "object",
            "properties": {
                "max": {"type": "integer", "description": "The largest."},
                "min": {
                    "type": ["integer", "null"],
                    "description": "The smallest. Null means the default, 0.",
                },
                "tags": {
                    "type": ["array", "null"],
                    "items": {"type": "string"},
                    "description": "Null leaves it out.",
                },
            },
            "required": ["max", "min", "tags"],
            "additionalProperties": False,
        },
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            },
            "required": ["name", "next"],
            "additionalProperties": False,
        },
        "Range": {
            "type": "object",
            "properties": {
                "first": {"type": "integer"},
                "last": {"type": ["integer", "null"], "description": "Null leaves it out."},
                "step": {"type": ["integer", "null"], "description": "Null leaves it out."},
            },
            "required": ["first", "last", "step"],
            "additionalProperties": False,
        },
    }


def test_strict_schemas_are_what_the_openai_client_makes_of_them() -> None:
    """The official client would change nothing about ours."""

    @tool
    async def everything(
        a: str,
        limits: Annotated[Limits, "Bounds."],
        node: Node,
        colour: Colour,
        when: dt.datetime,
        span: Range | None = None,
        level: Level = Level.LOW,
        many: list[Node | int] | None = None,
    ) -> None: ...

    assert everything.strict
    theirs = _ensure_strict_json_schema(
        copy.deepcopy(everything.parameters), path=(), root=everything.parameters
    )
    assert theirs == everything.parameters


GOOGLE = """Do it.

    Args:
        value (int): How
            many.
    """
NUMPY = """Do it.

    Parameters
    ----------
    value : int
        How
        many.
    """
SPHINX = """Do it.

    :param int value: How
        many.
    """


@pytest.mark.parametrize("doc", [GOOGLE, NUMPY, SPHINX])
def test_docstrings(doc: str) -> None:
    assert schema_of(int, doc=doc)[0] == {"type": "integer", "description": "How many."}


def test_names_that_share_a_description() -> None:
    @tool
    async def f(x: int, y: int) -> None:
        """Do it.

        Parameters
        ----------
        x, y : int
            Where.
        """

    told = {"type": "integer", "description": "Where."}
    assert {"x": told, "y": told} == f.parameters["properties"]


def test_annotated_wins_over_the_docstring() -> None:
    assert schema_of(Annotated[int, "Number."], doc=GOOGLE)[0]["description"] == "Number."


@pytest.mark.parametrize("doc", ["Args:\n    :broken", ":param:", "Args:\n    value\n", ":    :"])
def test_prose_that_is_no_docstring_does_no_harm(doc: str) -> None:
    assert schema_of(int, doc=doc)[0] == {"type": "integer"}


def test_the_context_is_hidden() -> None:
    @tool
    async def one(context: ToolContext, path: str) -> None: ...

    @tool
    async def two(path: str, context: ToolContext | None = None) -> None: ...

    assert list(one.parameters["properties"]) == list(two.parameters["properties"]) == ["path"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
def test_type_statements() -> None:
    names: dict[str, Any] = {}
    exec("type Count = int", names)

    assert schema_of(names["Count"]) == ({"type": "integer"}, True)
    assert schema_of(list.__class_getitem__(names["Count"])) == (
        {"type": "array", "items": {"type": "integer"}},
        True,
    )


@attrs.define
class Torn:
    """What is one or the other."""

    of: Limits | Node
    more: list[Limits | Node | Torn] = attrs.field(factory=list)
    paths: dict[str, pathlib.Path | Limits] | None = None
    made: Limits | Node | None = attrs.field(default=None, init=False)


REFERENCES = [{"$ref": f"#/$defs/{name}"} for name in ("Limits", "Node", "Torn")]


def test_a_field_that_is_a_union_of_classes() -> None:
    @tool
    async def f(value: Torn) -> None: ...

    assert f.parameters["$defs"]["Torn"] == {
        "description": "What is one or the other.",
        "type": "object",
        "properties": {
            "of": {"anyOf": REFERENCES[:2]},
            "more": {"type": "array", "items": {"anyOf": REFERENCES}},
            "paths": {
                "anyOf": [
                    {
                        "type": "object",
                        "additionalProperties": {"anyOf": [{"type": "string"}, REFERENCES[0]]},
                    },
                    {"type": "null"},
                ],
                "default": None,
            },
        },
        "required": ["of"],
        "additionalProperties": False,
    }
    given = '{"value": {"of": {"name": "a"}, "more": [{"of": {"max": 1}}], "paths": {"a": "b"}}}'
    node = Node("a")
    assert f.arguments.structure(given) == {"value": Torn(node, [Torn(Limits(1))], {"a": pathlib.Path("b")})}


class Strict(TypedDict, total=False):
    of: Required[Limits | Node]
    or_: Annotated[list[int] | list[Node], "Of one kind."]


def test_such_fields_in_strict_schemas() -> None:
    made, is_strict = schema_of(Strict)

    assert made == {"$ref": "#/$defs/Strict"}
    assert is_strict


@pytest.mark.parametrize("cls", [Limits, Node, Range, Holder])
def test_a_class_is_the_same_beside_one_with_such_a_field(cls: type) -> None:
    """Then it is read here and not by msgspec."""

    def f(value, torn): ...

    f.__annotations__ |= {"value": cls, "torn": Torn}

    def g(value, anything): ...

    g.__annotations__ |= {"value": cls, "anything": dict[str, Any]}
    ours, theirs = tool(f), tool(g)

    assert not ours.strict
    assert theirs.parameters["$defs"][cls.__name__] == ours.parameters["$defs"][cls.__name__]


def test_two_classes_of_one_name_beside_such_a_field() -> None:
    other = dataclasses.make_dataclass("Node", [("of", Torn)])

    with pytest.raises(ConfigError, match="two of its classes are named Node; rename one"):
        schema_of(other)


class Opaque:
    pass


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Opaque, "'value' of tool 'function': the annotation Opaque has no JSON schema; use str, int"),
        (bytes, "the annotation bytes"),
        (complex, "the annotation complex"),
        (dict[int, str], r"the annotation dict\[int, str\]"),
        (list[Opaque], "the annotation Opaque"),
        (Mixed, "the annotation Mixed"),
        (Literal[b"x"], "the annotation typing.Literal"),
        (Literal[True], "the annotation typing.Literal"),
        ("Missing", "needs the name 'Missing', which is not there at run time; define or import it at module level"),
        ("list[Missing]", "needs the name 'Missing'"),
        ("not a type", "cannot be evaluated"),
        ("dt.nothing", "cannot be evaluated"),
        (Annotated[int, msgspec.Meta(pattern="a")], "have no JSON schema"),
        (Literal[(1, [])], "has no JSON schema"),
        ([], r"the annotation \[\] has no JSON schema"),
    ],
    ids=str,
)  # fmt: skip
def test_annotations_that_do_not_work(annotation: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        schema_of(annotation)


@attrs.define
class Broken:
    field: Missing  # noqa: F821


def test_a_class_whose_fields_cannot_be_resolved() -> None:
    with pytest.raises(ConfigError, match="'value' of tool 'function': name 'Missing' is not defined"):
        schema_of(Broken)


def test_a_class_with_a_field_without_a_type() -> None:
    loose = attrs.make_class("Loose", {"a": attrs.field(), "b": attrs.field(default=None)})

    with pytest.raises(
        ConfigError, match="tool 'function' takes, the field 'a' has no annotation; say which"
    ):
        schema_of(loose)

    def f(value): ...

    f.__annotations__["value"] = loose
    # Of what somebody else describes it takes what comes.
    made = tool(f, parameters={"type": "object"})
    assert {"value": loose([1], "x")} == made.arguments.structure('{"value": {"a": [1], "b": "x"}}')


def test_a_schema_of_ones_own() -> None:
    given = {"type": "object", "properties": {"a": {"type": "string"}}}

    @tool(parameters=given)
    async def f(a): ...

    assert f.parameters == given
    assert not f.strict
    given["properties"]["b"] = {}
    assert "b" not in f.parameters["properties"], "a copy was made"


STRICT = {
    "type": "object",
    "properties": {"b": {"type": ["integer", "null"], "title": "B"}, "a": {"$ref": "#/$defs/A"}},
    "required": ["a", "b"],
    "additionalProperties": False,
    "$defs": {"A": {"type": "string", "enum": ["x"]}},
}


@pytest.mark.parametrize(
    ("change", "strict"),
    [
        ({}, True),
        ({"required": ["a"]}, False),
        ({"additionalProperties": True}, False),
        ({"patternProperties": {}}, False),
        ({"$defs": {"A": {"enum": ["x"]}}}, False),
        ({"$defs": {"A": {"type": "string", "minLength": 1}}}, False),
        ({"$defs": {"A": {"type": "string", "default": "x"}}}, False),
        ({"$defs": {"A": {"type": "array"}}}, False),
        ({"$defs": {"A": {"description": "?"}}}, False),
        ({"$defs": {"A": True}}, False),
        ({"properties": 3}, False),
        ({"$defs": {"A": {"type": ["object", "null"]}}}, False),
        ({"$defs": {"A": {"type": ["array", "null"]}}}, False),
        ({"$defs": {"A": {"type": ["array", "null"], "items": {"type": "string"}}}}, True),
    ],
    ids=str,
)
def test_a_schema_of_ones_own_is_strict_if_it_is_in_the_subset(change: Any, strict: Any) -> None:
    made = tool(lambda: None, name="f", parameters={**STRICT, **change})

    assert made.strict is strict
    assert made.parameters == {**STRICT, **change}


def test_a_schema_of_ones_own_that_is_open_is_not_strict() -> None:
    opened = {key: value for key, value in STRICT.items() if key != "additionalProperties"}

    assert not tool(lambda: None, name="f", parameters=opened).strict


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"type": "string"}, "must be the schema of an object"),
        ([], "must be the schema of an object"),
        (3, "must be a JSON schema"),
        ("type", "must be a JSON schema"),
        ({"type": "object", "properties": {"a": object()}}, "must be a JSON schema"),
    ],
)
def test_a_schema_of_ones_own_that_does_not_work(parameters: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tool(lambda: None, name="f", parameters=parameters)


@pytest.mark.parametrize("missing", ["msgspec.json", "docstring_parser"])
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def import_module(name: str) -> Any:
        if name == missing:
            raise ModuleNotFoundError(name)
        return builtins.__import__(name, fromlist=["x"])

    monkeypatch.setattr(importlib, "import_module", import_module)

    async def count(n: int) -> None:
        """Count."""

    async def nothing() -> None:
        """Do nothing."""

    with pytest.raises(ConfigError, match=r"python -m pip install 'triplane\[tools\]', or pass parameters="):
        tool(count)
    assert tool(count, parameters={"type": "object"}).description == "Count."
    assert tool(nothing).parameters["properties"] == {}


def test_the_extra_is_imported_only_when_it_is_needed() -> None:
    code = """
import json, sys
from triplane.tools import tool
@tool(parameters={"type": "object"})
async def f(a: int): "Doc."
f.arguments.structure('{"a": 1}')
print(json.dumps([name for name in ("msgspec", "docstring_parser") if name in sys.modules]))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert json.loads(found) == []
