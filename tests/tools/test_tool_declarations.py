"""What a declaration says to the model: unions of classes, docstrings of all styles on functions and classes, errors."""

from __future__ import annotations

import dataclasses
import enum
import logging
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import msgspec
import pytest
import trio
from tool_bench import run_one

from triplane.tools import ToolContext, tool
from triplane.tools.arguments import InvalidArgumentsError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Circle:
    """A circle.

    Args:
        radius: Half of it.
        colour: What it looks like.
    """

    radius: float
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Square:
    """A square.

    Parameters
    ----------
    side : float
        How long
        each side is.
    """

    side: float


class Dot(TypedDict):
    """A dot.

    :param x: How far right.
    """

    x: int
    label: NotRequired[str]


@attrs.frozen
class Tagged:
    kind: Literal["tagged"]
    radius: float


def lines(made: Any, text: str) -> list[str]:
    with pytest.raises(InvalidArgumentsError) as caught:
        made.arguments.structure(text)
    return caught.value.lines


@tool(effect="read")
async def draw(
    shape: Circle | Square,
    more: tuple[Annotated[Circle | Dot | str, "One."], ...] = (),
    last: Circle | Tagged | None = None,
) -> str:
    """Draw.

    Args:
        shape: What to draw.
    """
    await trio.lowlevel.checkpoint()
    return f"{shape} {more} {last}"


def test_a_union_of_classes_is_strict() -> None:
    assert draw.strict
    properties = draw.parameters["properties"]
    assert properties["shape"] == {
        "anyOf": [{"$ref": "#/$defs/Circle"}, {"$ref": "#/$defs/Square"}],
        "description": "What to draw.",
    }
    assert properties["more"]["items"]["anyOf"] == [
        {"$ref": "#/$defs/Circle"},
        {"$ref": "#/$defs/Dot"},
        {"type": "string"},
    ]
    assert properties["last"]["anyOf"] == [
        {"$ref": "#/$defs/Circle"},
        {"$ref": "#/$defs/Tagged"},
        {"type": "null"},
    ]
    assert {"Circle", "Colour", "Dot", "Square", "Tagged"} == draw.parameters["$defs"].keys()


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{"shape": {"side": 3}}', {"shape": Square(3.0)}),
        ('{"shape": {"radius": 3}}', {"shape": Circle(3.0)}),
        (
            (
                '{"shape": {"side": 1}, "more": [{"x": 1, "label": null}, {"radius": 2, "colour": "blue"}, "z"],'
                ' "last": {"kind": "tagged", "radius": 1}}'
            ),
            {
                "shape": Square(1.0),
                "more": ({"x": 1}, Circle(2.0, Colour.BLUE), "z"),
                "last": Tagged("tagged", 1.0),
            },
        ),
    ],
)
def test_the_class_that_fits_is_taken(text: str, result: Any) -> None:
    assert result == draw.arguments.structure(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"shape": {"side": "3"}}', ['shape.side: expected float, got "3"']),
        (
            '{"shape": {"radius": 1, "colour": "green"}}',
            ['shape.colour: expected one of "red", "blue", got "green"'],
        ),
        (
            '{"shape": {"what": 3}}',
            ['shape: expected an object with radius, colour or side, got {"what":3}'],
        ),
        ('{"shape": 3}', ["shape: expected an object, got 3"]),
        (
            '{"shape": {"side": 1}, "more": ["a", {"x": "1", "label": 2}]}',
            ['more[1].x: expected int, got "1"', "more[1].label: expected str, got 2"],
        ),
    ],
)
def test_the_class_that_is_meant_says_what_is_wrong(text: str, said: list[str]) -> None:
    assert said == lines(draw, text)


def test_docstrings_of_classes_are_read_in_every_style() -> None:
    definitions = draw.parameters["$defs"]

    assert "Half of it." == definitions["Circle"]["properties"]["radius"]["description"]
    assert "How long each side is." == definitions["Square"]["properties"]["side"]["description"]
    assert "How far right." == definitions["Dot"]["properties"]["x"]["description"]
    assert ["A circle.", "A square.", "A dot."] == [
        definitions[name]["description"] for name in ("Circle", "Square", "Dot")
    ]


def test_constraints_are_told_and_kept() -> None:
    @tool(effect="read")
    async def f(
        few: Annotated[int, msgspec.Meta(ge=1, le=5), "How many."],
        names: Annotated[list[Annotated[str, msgspec.Meta(min_length=2)]], msgspec.Meta(max_length=2)],
    ) -> None: ...

    assert {"type": "integer", "minimum": 1, "maximum": 5, "description": "How many."} == f.parameters[
        "properties"
    ]["few"]
    assert 2 == f.parameters["properties"]["names"]["maxItems"]
    assert ["few: expected int <= 5, got 9", 'names[1]: expected str of length >= 2, got "b"'] == lines(
        f, '{"few": 9, "names": ["ab", "b"]}'
    )
    assert lines(f, '{"few": 1, "names": ["ab", "bc", "cd"]}')[0].startswith(
        "names: expected array of length <= 2"
    )


async def test_what_a_tool_may_know_of_its_call(caplog: pytest.LogCaptureFixture) -> None:
    known: list[Any] = []

    @tool(effect="read", timeout=50)
    async def f(number: int, context: ToolContext) -> str:
        await trio.lowlevel.checkpoint()
        context.logger.warning("number %s", number)
        context.progress("half", done=1, total=2)
        known.append((context.run_id, context.call_id, context.tool, context.attempt, context.artifacts))
        known.append((len(context.idempotency_key), 0 < context.seconds_left() <= 50))
        return "done"

    with caplog.at_level(logging.INFO, logger="triplane.tools"):
        outcome = await run_one(f, number=3)

    assert ["number"] == list(f.parameters["properties"])
    assert [("run", "c1", "f", 1, None), (32, True)] == known
    (record,) = caplog.records
    assert ("number 3", "run", "c1", "f") == (
        record.getMessage(),
        *(getattr(record, name) for name in ("run_id", "call_id", "tool")),
    )
    assert "done" == outcome.output
