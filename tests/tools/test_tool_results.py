from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import pathlib
import time
import uuid
from typing import Any, cast

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tool_bench import steady

from triplane.tools import File, Image, Sink
from triplane.tools.results import (
    InvalidResultError,
    cap,
    describe_error,
    invalid_arguments,
    redact,
    render,
    timed_out,
    unknown_tool,
)


class Colour(enum.Enum):
    RED = "red"


class Mode(enum.StrEnum):
    FAST = "fast"


@attrs.frozen
class Point:
    x: int
    y: float
    colour: Colour = Colour.RED


@dataclasses.dataclass
class Box:
    corner: Point
    made: dt.date
    path: pathlib.Path


class Bad:
    def __str__(self) -> str:
        raise RuntimeError


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Fails(list[int]):
    """It fails when it is read."""

    def __iter__(self) -> Any:
        raise MuteError


class Short(str):
    __slots__ = ()

    def __len__(self) -> int:
        raise MuteError


class Closed(dict[str, int]):
    def items(self) -> Any:
        raise MuteError


def deep_group() -> ExceptionGroup[Exception]:
    group = ExceptionGroup("g", [ValueError("a")])
    for _ in range(3_000):
        group = ExceptionGroup("g", [group])
    return group


@attrs.define
class Half:
    """One of its fields is gone."""

    x: int = 1

    def __attrs_post_init__(self) -> None:
        del self.x


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("ä\n", "ä\n"),
        (Mode.FAST, "fast"),
        (b"a\xff", "a\ufffd"),
        (bytearray("ä".encode()), "ä"),
        pytest.param(memoryview(b"abc")[1:], "bc", id="memoryview"),
        (True, "true"),
        (3, "3"),
        (1.5, "1.5"),
        ([1, None, "a"], '[1,null,"a"]'),
        ((1, 2), "[1,2]"),
        ({"a": {1}}, '{"a":[1]}'),
        (frozenset({"x"}), '["x"]'),
        ({1: "a", Colour.RED: 2}, '{"1":"a","red":2}'),
        (Colour.RED, '"red"'),
        (Point(1, 2.0), '{"x":1,"y":2.0,"colour":"red"}'),
        ([Point(1, 2.0)], '[{"x":1,"y":2.0,"colour":"red"}]'),
        (
            Box(Point(1, 2.0), dt.date(2026, 1, 2), pathlib.Path("a/b")),
            '{"corner":{"x":1,"y":2.0,"colour":"red"},"made":"2026-01-02","path":"a/b"}',
        ),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (nested(100), "[" * 101 + "]" * 101),
    ],
    ids=lambda value: str(value)[:40],
)
def test_results(value: Any, text: str) -> None:
    rendered = render(value, 1000)

    assert rendered.text == text
    assert type(rendered.text) is str
    assert rendered.bytes_produced == rendered.bytes_kept == len(text.encode())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(
            object(),
            "its result, a object, cannot be written as JSON: Type is not JSON serializable: object",
            id="object",
        ),
        ({"a": float("nan")}, "a dict, cannot be written as JSON: NaN and infinities are not JSON"),
        ([[float("-inf")]], "NaN and infinities"),
        (float("inf"), "a float, .* NaN and infinities"),
        (2**70, "a int, .* exceeds 64-bit range"),
        (cyclic(), "it contains itself, or is nested too deeply"),
        (nested(3000), "nested too deeply"),
        ((x for x in "ab"), "a generator, "),
        ([b"bytes"], "not JSON serializable: bytes"),
        ("\ud800", "its result holds a lone surrogate, which is not text"),
        ("a" * 2000 + "\udfff", "a lone surrogate"),
        (["\ud800"], "a list, cannot be written as JSON"),
        ({(1, 2): 3}, "a dict, cannot be written as JSON"),
        (Half(), "a Half, cannot be written as JSON"),
        (Fails([1]), r"its result, a Fails, cannot be read: MuteError: \(its message cannot be shown\)"),
        (Short("a"), "its result, a Short, cannot be read: MuteError"),
        (Closed(a=1), r"its result, a Closed, cannot be written as JSON: \(its message"),
        (Image(url="\ud800"), "its input_image cannot be written as JSON: "),
        (File(b"x", "\udfff"), "its input_file cannot be written as JSON: "),
        (["a", Image(url=cast("str", 5))], "a list, cannot be read: TypeError"),
    ],
    ids=lambda value: str(type(value)),
)
def test_results_that_are_none(value: Any, words: str) -> None:
    with pytest.raises(InvalidResultError, match=words):
        render(value, 1000)


def test_a_coroutine_is_closed() -> None:
    async def later() -> None: ...

    coroutine = later()
    with pytest.raises(
        InvalidResultError, match="it returned a coroutine; declare the tool's function with `async def`"
    ):
        render(coroutine, 1000)

    assert coroutine.cr_frame is None


@pytest.mark.parametrize(
    "value", ["x" * 300, b"x" * 300, bytearray(b"x" * 300), ["x" * 296], "x" * 200_000, b"x" * 200_000]
)
def test_results_are_capped(value: Any) -> None:
    rendered = render(value, 100)

    assert rendered.bytes_produced == max(len(value), 300)
    assert rendered.bytes_kept == 100
    assert " bytes cut …]\n" in rendered.text
    assert len(rendered.text) < 140


def test_characters_count_by_their_bytes() -> None:
    rendered = render("ä" * 60, 100)

    assert (rendered.bytes_produced, rendered.bytes_kept) == (120, 98)


def test_a_sink_is_what_it_kept() -> None:
    sink = Sink(4)
    sink.write(b"abcdef")

    rendered = render(sink, 1000)

    assert rendered.text == sink.text()
    assert (rendered.bytes_produced, rendered.bytes_kept) == (6, 4)


@steady
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 30))
def test_any_text_within_any_budget(text: str, budget: int) -> None:
    rendered = render(text, budget)

    assert rendered.bytes_produced == len(text.encode())
    assert rendered.bytes_kept <= budget
    if rendered.bytes_produced <= budget:
        assert rendered.text == text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (ValueError(), "ValueError"),
        (KeyError("a"), "KeyError: 'a'"),
        (trio.TooSlowError("mine"), "TooSlowError: mine"),
        (ValueError(Bad()), "ValueError: (its message cannot be shown)"),
        (MuteError(), "MuteError: (its message cannot be shown)"),
        (deep_group(), "ValueError: a"),
        (ValueError("\ud800"), "ValueError: ?"),
        (
            ExceptionGroup("g", [ValueError("a"), ExceptionGroup("h", [OSError(2, "b")])]),
            "ValueError: a\nFileNotFoundError: [Errno 2] b",
        ),
        (
            ExceptionGroup("g", [ValueError(str(number)) for number in range(12)]),
            "\n".join([*(f"ValueError: {number}" for number in range(10)), "… 2 more"]),
        ),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_errors_in_words(error: BaseException, text: str) -> None:
    assert describe_error(error) == text


@pytest.mark.parametrize("length", [3_000, 100_000])
def test_errors_are_capped(length: int) -> None:
    text = describe_error(ValueError("x" * length))

    assert text.startswith("ValueError: xxx")
    assert " bytes cut …]" in text
    assert len(text.encode()) < 2_050


SECRET = "sk-proj-abcDEF_123-456"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"key {SECRET} is bad", "key sk-[redacted] is bad"),
        ("Authorization: Bearer abc.def-123==", "Authorization: Bearer [redacted]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic [redacted]"),
        ("https://user:pass@host/x", "https://[redacted]@host/x"),
        ("api_key=abcdef", "api_key=[redacted]"),
        ("'API-Key': 'abcdef', x", "'API-Key': '[redacted]', x"),
        ("password = hunter22 now", "password = [redacted] now"),
        ("client_secret_value: abcdef", "client_secret_value: [redacted]"),
        ("access_token=abcdef&x=1", "access_token=[redacted]&x=1"),
        # Words that only look like it.
        ("a task-force-of-eight", "a task-force-of-eight"),
        ("unexpected token: identifier", "unexpected token: identifier"),
        ("the bearer of news", "the bearer of news"),
        ("see https://host/a@b", "see https://host/a@b"),
    ],
)
def test_secrets(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@steady
@given(st.text(), st.text(), st.sampled_from([ValueError, OSError, ExceptionGroup]))
def test_no_secret_in_what_the_model_is_told(before: str, after: str, kind: Any) -> None:
    message = f"{before} {SECRET} {after}"
    error = ExceptionGroup("g", [ValueError(message)]) if kind is ExceptionGroup else kind(message)

    assert "abcDEF" not in describe_error(error)


@pytest.mark.parametrize("at", range(16_350, 16_390))
def test_no_half_secret_at_the_cut(at: int) -> None:
    text = describe_error(ValueError("." * at + " https://user:abcDEF123456@host/"))

    assert "abcDEF" not in text


@pytest.mark.parametrize(
    "piece", ["a-", "sk-", "://", "api_key ", "bearer ", "secret", "a" * 100 + "@", " = "]
)
def test_redaction_takes_linear_time(piece: str) -> None:
    begun = time.process_time()
    redact(piece * (50_000 // len(piece)))

    assert time.process_time() - begun < 1


def test_unknown_tool() -> None:
    assert unknown_tool("x", ["b", "a"]) == "There is no tool named 'x'. The tools are: a, b."
    assert unknown_tool("x", []) == "There is no tool named 'x': you have no tools."
    many = unknown_tool("x", [f"t{number:02}" for number in range(25)])
    assert many.endswith("t18, t19 and 5 more.")


@pytest.mark.parametrize("name", ["x" * 1_000_000, "\x1b[31m\u202e", "\ud800"])
def test_hostile_names_are_escaped(name: str) -> None:
    text = unknown_tool(name, ["a"])

    assert len(text) < 500
    assert text.replace("…", "").isascii()
    assert text.isprintable()


def test_other_sentences() -> None:
    assert timed_out(2.5, harmless=True) == "The tool timed out after 2.5 s."
    assert (
        timed_out(60.0, harmless=False)
        == "The tool timed out after 60 s. Part of its work may have been done."
    )
    assert invalid_arguments(["a: missing", "b: missing"]) == (
        "The tool was not run: its arguments do not fit.\na: missing\nb: missing"
    )
    assert len(cap("x" * 5_000)) < 2_050
