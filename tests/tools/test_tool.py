from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import attrs
import pytest

from triplane.core.errors import ConfigError
from triplane.tools import FunctionTool, Tool, ToolContext, by_name, tool


class Shelf:
    async def find(self, title: str) -> str:
        """Find a book.

        On the shelf.
        """
        return f"{self!r} {title}"

    def __repr__(self) -> str:
        return "shelf"

    async def __call__(self, title: str) -> str:
        """Call the shelf."""
        return f"called {title}"


def test_a_bare_decorator() -> None:
    @tool
    async def read_text(path: str) -> str:
        """Read a UTF-8 text file
        of the workspace.

        With more words.

        Args:
            path: Where it is.
        """
        return path

    assert isinstance(read_text, FunctionTool)
    assert read_text.definition() == {
        "type": "function",
        "name": "read_text",
        "description": "Read a UTF-8 text file of the workspace.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string", "description": "Where it is."}},
            "required": ["path"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    assert read_text.definition() is read_text.definition()
    assert attrs.asdict(
        read_text, filter=attrs.filters.include("timeout", "max_output", "effect", "retries")
    ) == {
        "timeout": 60,
        "max_output": 65_536,
        "effect": "write",
        "retries": 0,
    }
    assert repr(read_text) == "<FunctionTool read_text>"


def test_options() -> None:
    @tool(
        name="other-name",
        description="Other words.",
        parameters={"type": "object"},
        timeout=math.inf,
        max_output=1,
        effect="idempotent",
        retries=2,
    )
    def read_text(path: str) -> str:
        """Read."""
        return path

    assert read_text.definition() == {
        "type": "function",
        "name": "other-name",
        "description": "Other words.",
        "parameters": {"type": "object"},
        "strict": False,
    }
    assert (read_text.timeout, read_text.max_output) == (math.inf, 1)
    assert (read_text.effect, read_text.retries, read_text.is_async) == ("idempotent", 2, False)


async def test_it_stays_callable() -> None:
    @tool
    async def double(text: str, times: int = 2) -> str:
        return text * times

    @tool(effect="read")
    def half(number: float) -> float:
        return number / 2

    assert await double("ab") == "abab"
    assert await double("ab", times=3) == "ababab"
    assert half(3) == 1.5
    assert list(inspect.signature(double).parameters) == ["text", "times"]


async def test_bound_methods() -> None:
    find = tool(Shelf().find, effect="read", timeout=5)

    assert find.name == "find"
    assert find.description == "Find a book."
    assert find.is_async
    assert await find("Emma") == "shelf Emma"
    assert list(find.parameters["properties"]) == ["title"]


async def test_other_callables() -> None:
    shelf = tool(Shelf(), name="shelf")
    partial = tool(functools.partial(Shelf().find, title="Emma"), name="emma")
    bound = tool(functools.partial(Shelf.find, Shelf()), name="bound", description="Bound.")

    assert shelf.is_async
    assert partial.is_async
    assert await shelf("x") == "called x"
    assert await partial() == "shelf Emma"
    assert (partial.description, bound.description) == ("", "Bound.")
    assert list(bound.parameters["properties"]) == ["title"]
    assert tool(staticmethod(Shelf().find)).is_async


def test_a_description_may_be_empty() -> None:
    @tool
    async def nothing() -> None: ...

    assert nothing.description == ""


def test_a_decorated_function() -> None:
    """The signature is the one of the function inside, and so are the names in its annotations."""

    @tool
    @functools.wraps(documented)
    async def wrapper(*args: Any, **kwargs: Any) -> str:
        return await documented(*args, **kwargs)

    assert wrapper.name == "documented"
    assert wrapper.parameters["properties"]["path"] == {"type": "string", "description": "Where."}


async def documented(path: str) -> str:
    """Read.

    Args:
        path: Where.
    """
    return path


def no_annotation(path): ...
def star_args(*paths: str): ...
def star_kwargs(**paths: str): ...
def positional(path: str, /): ...
def two_contexts(a: ToolContext, b: ToolContext): ...
def fine(path: str) -> str: ...
def generator(path: str):
    yield path


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (fine, {"max_output": 0}, "max_output of tool 'fine' is 0; give bytes, at least 1"),
        (fine, {"max_output": 1.5}, "max_output of tool 'fine' is 1.5"),
        (fine, {"max_output": True}, "max_output of tool 'fine' is True"),
        (fine, {"timeout": 0}, "timeout of tool 'fine' is 0; give seconds above 0, or math.inf for no limit"),
        (fine, {"timeout": -1}, "is -1"),
        (fine, {"timeout": math.nan}, "is nan"),
        (fine, {"timeout": None}, "is None"),
        (fine, {"timeout": True}, "is True"),
        (fine, {"retries": 1}, "retries=1 with effect='write', which must happen at most once; remove the retries"),
        (fine, {"retries": -1}, "retries of tool 'fine' is -1"),
        (fine, {"retries": 1.0, "effect": "read"}, "retries of tool 'fine' is 1.0"),
        (fine, {"retries": True, "effect": "read"}, "retries of tool 'fine' is True"),
        (fine, {"effect": "delete"}, "effect of tool 'fine' is 'delete'; use 'read', 'idempotent' or 'write'"),
        (fine, {"name": ""}, "'' is not a tool name"),
        (fine, {"name": "a b"}, "'a b' is not a tool name: 1 to 64 of A-Z"),
        (fine, {"name": "ä"}, "is not a tool name"),
        (fine, {"name": "a\n"}, "is not a tool name"),
        (fine, {"name": "a" * 65}, "is not a tool name"),
        (fine, {"name": 3}, "3 is not a tool name"),
        (lambda: None, {}, "'<lambda>' is not a tool name: .*give another one with name="),
        (functools.partial(fine), {}, "'' is not a tool name"),
        (no_annotation, {}, "parameter 'path' of tool 'no_annotation' has no annotation; say which type it takes"),
        (star_args, {}, "tool 'star_args' takes \\*paths, but the model fills in named parameters only"),
        (star_kwargs, {}, "takes \\*\\*paths, but"),
        (star_kwargs, {"parameters": {"type": "object"}}, "takes \\*\\*paths, but"),
        (positional, {}, "parameter 'path' of tool 'positional' is positional-only"),
        (two_contexts, {}, "takes more than one ToolContext \\(a, b\\); keep one"),
        (generator, {}, "tool 'generator' is a generator; make it an async one"),
        (3, {}, "tool\\(...\\) takes a function, not 3; pass its options by name"),
        (classmethod(fine), {}, "takes a function, not <classmethod"),
        (dict, {}, "tool 'dict': the signature of <class 'dict'> cannot be read"),
        (tool(fine), {"timeout": 3}, "'fine' is a tool already"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_tool(function: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        tool(function, **options)

    assert caught.value.receipt.next == "change"


def test_by_name() -> None:
    one, two = tool(fine), tool(fine, name="other")

    table = by_name([one, two])

    assert list(table.items()) == [("fine", one), ("other", two)]
    assert by_name(()) == {}
    assert isinstance(one, Tool)


def test_by_name_refuses() -> None:
    with pytest.raises(ConfigError, match="two tools are named 'fine'; rename one with tool"):
        by_name([tool(fine), tool(fine)])
    with pytest.raises(ConfigError, match="is not a tool; decorate it with @triplane.tool"):
        by_name([fine])  # type: ignore[list-item]
