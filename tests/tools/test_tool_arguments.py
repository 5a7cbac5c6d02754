from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, Required, TypedDict

import attrs
import cattrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import steady

from triplane.tools import tool
from triplane.tools.arguments import InvalidArgumentsError

UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Mode(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"


@attrs.frozen
class Limits:
    max: int
    min: int = 0
    tags: list[str] = attrs.field(factory=list)
    made: int = attrs.field(default=7, init=False)


@dataclasses.dataclass
class Node:
    name: str
    next: Node | None = None
    children: list[Node] = dataclasses.field(default_factory=list)


class Range(TypedDict, total=False):
    first: Required[int]
    last: int
    step: NotRequired[int | None]


class Strict(TypedDict):
    first: int
    last: NotRequired[int]


class Tree(TypedDict):
    children: list[Tree]


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def refuse(value: int) -> int:
    raise KeyError if value == 1 else MuteError


@attrs.frozen
class Picky:
    value: int = attrs.field(converter=refuse)


@attrs.define
class Even:
    value: int = attrs.field()

    @value.validator
    def _check(self, attribute: Any, value: int) -> None:
        if value % 2:
            raise ValueError(f"{value} is odd")


@attrs.define
class Upper:
    text: str = attrs.field(converter=str.upper)


def structure(annotation: Any, value: Any, default: Any = ...) -> Any:
    """What a parameter of a tool becomes; `...` if it is left to its default."""

    def function(it): ...

    function.__annotations__["it"] = annotation
    if default is not ...:
        function.__defaults__ = (default,)
    return tool(function).arguments.structure(json.dumps({"it": value})).get("it", ...)


def lines_of(function: Any, text: str) -> list[str]:
    with pytest.raises(InvalidArgumentsError) as caught:
        tool(function, name="f").arguments.structure(text)
    return caught.value.lines


ID = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("annotation", "value", "result"),
    [
        (str, "x", "x"),
        (int, 3, 3),
        (float, 1.5, 1.5),
        (float, 2, 2.0),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": [1]}, {"a": [1]}),
        (UserId, 4, 4),
        (int | None, None, None),
        (int | None, 3, 3),
        (int | str, "x", "x"),
        (float | int, 3, 3),
        (float | None, 3, 3.0),
        (Limits | str, {"max": 1}, Limits(1)),
        (list[int] | dict[str, int], {"a": 1}, {"a": 1}),
        (list[int] | dict[str, int], [1], [1]),
        (Literal["a", 1], 1, 1),
        (Literal["a", None], None, None),  # noqa: PYI061
        (Colour, "red", Colour.RED),
        (Level, 1, Level.LOW),
        (Mode, "fast", Mode.FAST),
        (dt.datetime, "2026-01-02T03:04:05Z", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        (dt.date, "2026-01-02", dt.date(2026, 1, 2)),
        (dt.time, "03:04", dt.time(3, 4)),
        (uuid.UUID, ID, uuid.UUID(ID)),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (list, [1, "a"], [1, "a"]),
        (list[int], [1, 2], [1, 2]),
        (Sequence[int], [1, 2], [1, 2]),
        (tuple, [1, 2], (1, 2)),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int], [1], (1,)),
        (set[int], [1, 1], {1}),
        (frozenset[str], ["a"], frozenset({"a"})),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
        (Mapping[str, Colour], {"a": "red"}, {"a": Colour.RED}),
        (Limits, {"max": 1}, Limits(1)),
        (Limits, {"max": 1, "min": None, "tags": None}, Limits(1)),
        (Limits, {"max": 1, "min": 2, "tags": ["x"]}, Limits(1, 2, ["x"])),
        (Node, {"name": "a", "next": {"name": "b"}}, Node("a", Node("b"))),
        (Node, {"name": "a", "children": [{"name": "b"}]}, Node("a", None, [Node("b")])),
        (Range, {"first": 1, "last": None, "step": None}, {"first": 1}),
        (Strict, {"first": 1, "last": None}, {"first": 1}),
        (Strict, {"first": 1, "last": 2}, {"first": 1, "last": 2}),
        (Upper, {"text": "a"}, Upper("a")),
        (Annotated[int, "text"], 3, 3),
        (Annotated[int, msgspec.Meta(ge=3)], 3, 3),
        (Annotated[float, msgspec.Meta(gt=1.5)], 3, 3.0),
        (Annotated[int, msgspec.Meta(ge=3)] | None, None, None),
        (Range, {"first": 1, "last": 5, "step": 2}, {"first": 1, "last": 5, "step": 2}),
        (Tree, {"children": [{"children": []}]}, {"children": [{"children": []}]}),
        (Annotated[list[Limits], msgspec.Meta(min_length=1)], [{"max": 1}], [Limits(1)]),
        (Annotated[str, msgspec.Meta(pattern="^a")], "ab", "ab"),
    ],
    ids=str,
)
def test_values(annotation: Any, value: Any, result: Any) -> None:
    structured = structure(annotation, value)

    assert structured == result
    assert type(structured) is type(result)


@pytest.mark.parametrize(
    ("annotation", "value", "lines"),
    [(annotation, value, lines) for annotation, value, *lines in [
        (str, 5, "it: expected str, got 5"),
        (int, "5", 'it: expected int, got "5"'),
        (int, True, "it: expected int, got true"),
        (int, 1.5, "it: expected int, got 1.5"),
        (int, 2.0, "it: expected int, got 2.0"),
        (int, None, "it: expected int, got null"),
        (int, 2**70, "it: expected int, got 1.1805916207174113e+21"),
        (float, True, "it: expected float, got true"),
        (float, "1", 'it: expected float, got "1"'),
        (bool, 1, "it: expected bool, got 1"),
        (bool, "true", 'it: expected bool, got "true"'),
        (None, 0, "it: expected null, got 0"),
        (UserId, "a", 'it: expected int, got "a"'),
        (int | None, "a", 'it: expected int or null, got "a"'),
        (int | str, [1], "it: expected int or str, got [1]"),
        (Limits | None, {"max": "a"}, 'it.max: expected int, got "a"'),
        (dict[str, int] | list[int], {"a": "b"}, 'it.a: expected int, got "b"'),
        (dict[str, int] | list[int], ["b"], 'it[0]: expected int, got "b"'),
        (Tree, {"children": [{"children": [{}]}]}, "it.children[0].children[0].children: missing"),
        (Strict, {"first": 1, "limit": 2, "last": "a"}, "it.limit: there is no such field", 'it.last: expected int, got "a"'),
        (dt.date | int, "b", 'it: expected an ISO 8601 date or int, got "b"'),
        (dt.date | int, True, "it: expected an ISO 8601 date or int, got true"),
        (Literal["a", 1], True, 'it: expected one of "a", 1, got true'),
        (Literal[1], 1.0, "it: expected 1, got 1.0"),
        (Literal["a"], ["a"], 'it: expected "a", got ["a"]'),
        (Colour, "green", 'it: expected one of "red", "blue", got "green"'),
        (Colour, {}, 'it: expected one of "red", "blue", got {}'),
        (Level, True, "it: expected 1, got true"),
        (Mode, 3, 'it: expected one of "fast", "slow", got 3'),
        (dt.datetime, "soon", 'it: expected an ISO 8601 date and time, got "soon"'),
        (dt.datetime, 3, "it: expected an ISO 8601 date and time, got 3"),
        (dt.time, "25:00", 'it: expected an ISO 8601 time, got "25:00"'),
        (uuid.UUID, "x", 'it: expected a UUID, got "x"'),
        (decimal.Decimal, "x", 'it: expected a decimal number in a string, got "x"'),
        (decimal.Decimal, 1.1, "it: expected a decimal number in a string, got 1.1"),
        (pathlib.Path, 1, "it: expected a path, got 1"),
        (list[str], "abc", 'it: expected a list, got "abc"'),
        (list[str], {"a": 1}, 'it: expected a list, got {"a":1}'),
        (tuple[int, str], [1], "it: expected a list of 2, got [1]"),
        (tuple[int, str], [1, 2], "it[1]: expected str, got 2"),
        (set[int], ["a"], 'it[0]: expected int, got "a"'),
        (set[list[int]], [[1]], "it: TypeError: unhashable type: 'list'"),
        (dict[str, int], [1], "it: expected an object, got [1]"),
        (dict[str, int], {"a": "1"}, 'it.a: expected int, got "1"'),
        (dict[str, int], {"a b": "1"}, 'it."a b": expected int, got "1"'),
        (Limits, 3, "it: expected an object, got 3"),
        (Limits, {}, "it.max: missing"),
        (Limits, {"max": 1, "most": 2}, "it.most: there is no such field"),
        (Limits, {"max": 1, "made": 2}, "it.made: there is no such field"),
        (Limits, {"max": 1, "tags": [2]}, "it.tags[0]: expected str, got 2"),
        (Node, {"name": "a", "next": {"name": 1}}, "it.next.name: expected str, got 1"),
        (Node, {"name": "a", "children": [{"name": 1}]}, "it.children[0].name: expected str, got 1"),
        (Range, {}, "it.first: missing"),
        (Range, {"first": 1, "a": 2}, "it.a: there is no such field"),
        (Even, {"value": 3}, "it: ValueError: 3 is odd"),
        (Picky, {"value": 1}, "it: KeyError: "),
        (Picky, {"value": 2}, "it: MuteError: (its message cannot be shown)"),
        (Annotated[int, msgspec.Meta(ge=3)], 2, "it: expected int >= 3, got 2"),
        (Annotated[int, msgspec.Meta(ge=3)], "2", 'it: expected int, got "2"'),
        (Annotated[list[Limits], msgspec.Meta(min_length=1)], [], "it: expected array of length >= 1, got []"),
        (list[Annotated[str, msgspec.Meta(max_length=1)]], ["ab"], 'it[0]: expected str of length <= 1, got "ab"'),
        (str, ["x" * 500], f'it: expected str, got ["{"x" * 78}…'),
    ]],
    ids=str,
)  # fmt: skip
def test_values_that_do_not_fit(annotation: Any, value: Any, lines: list[str]) -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        structure(annotation, value)

    assert caught.value.lines == lines


@pytest.mark.parametrize(
    ("annotation", "default"), [(int, 3), (int | None, 3), (Limits | None, None), (str, "x")], ids=str
)
def test_null_stands_for_the_default(annotation: Any, default: Any) -> None:
    assert structure(annotation, None, default) is ...


def everything(path: str, limits: Limits, count: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("{}", ["path: missing", "limits: missing"]),
        ("", ["path: missing", "limits: missing"]),
        ('{"path": 1, "limits": {"max": "a", "min": "b"}, "nope": 1, "count": "c"}', [
            "path: expected str, got 1",
            'limits.max: expected int, got "a"',
            'limits.min: expected int, got "b"',
            "nope: there is no such parameter; the parameters are: path, limits, count",
            'count: expected int, got "c"',
        ]),
        ('{"a b": 1, "path": "", "limits": {"max": 1}}', [
            '"a b": there is no such parameter; the parameters are: path, limits, count',
        ]),
        ("[1]", ["expected a JSON object, got [1]"]),
        ("null", ["expected a JSON object, got null"]),
        ('{"path": "a", "path": "b", "limits": {"max": 1}}', ["path: given twice"]),
        ('{"path": ":", "limits": {"max": 1, "m\\u0061x": 2}}', ["max: given twice"]),
    ],
)  # fmt: skip
def test_texts_that_do_not_fit(text: str, lines: list[str]) -> None:
    assert lines_of(everything, text) == lines


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "x",
        "{'path': 1}",
        '{"path": NaN}',
        '{"path": Infinity}',
        '{"path": "\\ud800"}',
        '{"path": "\ud800"}',
        '{"path": 01}',
        '{"path": "a"} x',
        "[" * 5000,
    ],
)
def test_texts_that_are_not_json(text: str) -> None:
    (line,) = lines_of(everything, text)

    assert line.startswith("not valid JSON: ")
    assert len(line) < 200


def test_a_colon_in_a_string_is_no_second_key() -> None:
    arguments = tool(everything).arguments.structure('{"path": "a:b::c", "limits": {"max": 1}}')

    assert arguments == {"path": "a:b::c", "limits": Limits(1)}


def test_a_tool_without_parameters() -> None:
    def nothing() -> None: ...

    assert tool(nothing).arguments.structure("") == {}
    assert lines_of(nothing, '{"a": 1}') == ["a: there is no such parameter; the parameters are: none"]


def test_constraints_without_a_schema_of_ours() -> None:
    def f(it: Annotated[int | None, msgspec.Meta(ge=3)]) -> None: ...

    arguments = tool(f, parameters={"type": "object"}).arguments

    assert arguments.structure('{"it": null}') == {"it": None}
    assert arguments.structure('{"it": 3}') == {"it": 3}
    with pytest.raises(InvalidArgumentsError):
        arguments.structure('{"it": 2}')


def test_nested_beyond_what_can_be_shown_as_json() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        structure(str, json.loads("[" * 300 + "]" * 300))

    assert caught.value.lines == [f"it: expected str, got {'[' * 80}…"]


def test_nested_too_deeply() -> None:
    def anything(it: Any) -> None: ...

    def strictly(it: str) -> None: ...

    deep = '{"it": ' + "[" * 1000 + "]" * 1000 + "}"
    assert lines_of(anything, deep) == ["the arguments are nested too deeply"]
    assert lines_of(strictly, deep) == ["the arguments are nested too deeply"]


def test_too_long() -> None:
    assert lines_of(everything, " " * (4 * 1024 * 1024 + 1)) == [
        "the arguments are longer than 4,194,304 characters"
    ]


def test_many_errors_are_counted() -> None:
    def many(it: list[int]) -> None: ...

    lines = lines_of(many, json.dumps({"it": ["x"] * 100}))

    assert lines[0] == 'it[0]: expected int, got "x"'
    assert len(lines) == 20
    assert lines[-1] == "… 81 more"


def test_without_annotations_anything_goes() -> None:
    made = tool(lambda a, b=1: None, name="f", parameters={"type": "object"})

    assert made.arguments.structure('{"a": {"x": [1]}, "b": null}') == {"a": {"x": [1]}}


def test_with_a_schema_of_ones_own_annotations_still_count() -> None:
    def f(when: dt.date) -> None: ...

    made = tool(f, parameters={"type": "object"})

    assert made.arguments.structure('{"when": "2026-01-02"}') == {"when": dt.date(2026, 1, 2)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("max"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


class Everything(TypedDict):
    a: int | str | None
    b: list[float]
    c: dict[str, Limits | bool]


@steady
@given(JSON)
def test_whatever_comes_is_taken_as_it_is_or_refused(value: Any) -> None:
    """No value is ever changed into another one on its way in, and nothing but the one error comes out."""

    def f(*, it: int | bool | str | list[Any] | dict[str, Any] | None) -> None: ...

    try:
        result = tool(f).arguments.structure(json.dumps({"it": value}))["it"]
    except InvalidArgumentsError:
        assert isinstance(value, float)
    else:
        assert (result, type(result)) == (value, type(value))


@steady
@given(JSON)
def test_nothing_but_the_one_error_comes_out(value: Any) -> None:
    def f(it: Everything, limits: Limits) -> None: ...

    with pytest.raises(InvalidArgumentsError) as caught:
        tool(f).arguments.structure(json.dumps({"it": value, "limits": value}))

    assert 1 <= len(caught.value.lines) <= 20
    assert all(len(line) < 400 for line in caught.value.lines)


@steady
@given(st.text())
def test_no_text_does_harm(text: str) -> None:
    with pytest.raises(InvalidArgumentsError):
        tool(everything).arguments.structure(text)


@steady
@given(
    st.builds(
        Limits,
        st.integers(-(2**63), 2**63),
        st.integers(0, 9),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    )
)
def test_there_and_back(limits: Limits) -> None:
    plain = cattrs.unstructure(limits)
    plain.pop("made", None)

    assert structure(Limits, plain) == limits


def test_an_infinite_default_is_told() -> None:
    def f(limit: float = math.inf) -> None: ...

    assert tool(f).parameters["properties"]["limit"]["description"] == "Null leaves it out."


# As it is written without `from __future__ import annotations`.
Quoted = dataclasses.make_dataclass(
    "Quoted", [("name", str), ("next", Optional["Quoted"], None), ("all", list["Quoted"], dataclasses.field(default_factory=list))],
    namespace={"__module__": __name__},
)  # fmt: skip


def test_a_class_that_mentions_itself_in_quotes() -> None:
    given = {"name": "a", "next": {"name": "b"}, "all": [{"name": "c"}]}

    assert structure(Quoted, given) == Quoted("a", Quoted("b"), [Quoted("c")])
    with pytest.raises(InvalidArgumentsError) as caught:
        structure(Quoted, {"name": "a", "all": [{"name": 3}]})
    assert caught.value.lines == ["it.all[0].name: expected str, got 3"]
