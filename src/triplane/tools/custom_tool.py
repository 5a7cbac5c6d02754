"""Tools that take free text instead of arguments, perhaps text of a grammar."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, final, overload

import attrs

from triplane.core.errors import ConfigError

from .arguments import MAX_ARGUMENTS, InvalidArgumentsError
from .kinds import is_generator, producer_of
from .options import ToolOptions, checked
from .schema import first_paragraph
from .signature import bare, read_signature
from .tool import FunctionTool, Tool, ToolMethod, check_name, takes_self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

P = ParamSpec("P")
R = TypeVar("R")


@overload
def custom_tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    lark: str | None = None,
    regex: str | None = None,
    **options: Unpack[ToolOptions],
) -> FunctionTool[P, R]: ...


@overload
def custom_tool(
    *,
    name: str | None = None,
    description: str | None = None,
    lark: str | None = None,
    regex: str | None = None,
    **options: Unpack[ToolOptions],
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def custom_tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    lark: str | None = None,
    regex: str | None = None,
    **options: Unpack[ToolOptions],
) -> Any:
    """Make a custom tool of a function: the model writes free text, which the function gets as its one argument.

    ::

        @custom_tool(effect="read", regex=r"SELECT [^;]*;")
        async def query(statement: str) -> list[dict]:
            '''Ask the database.'''

    In all else it is as with `tool`: the function may be async, an async generator, sync or a method, what it returns
    becomes the output, and a parameter annotated with `ToolContext` is not shown to the model.

    The server holds the model to the grammar, in its own dialects of Lark and of regular expressions; nothing is checked
    here.

    Args:
        function: The function; omit it to use the result as a decorator.
        name: What the model calls it. Default: the function's name.
        description: What the model is told about it. Default: the first paragraph of its docstring.
        lark: A grammar that the text is of, in Lark's language.
        regex: Or a regular expression that it matches. Default: any text.
        options: See `ToolOptions`.

    Raises:
        ConfigError: The function does not take one text, or a secret one, both grammars are given, or an option does not
            make sense.
    """
    if function is None:
        return functools.partial(
            custom_tool, name=name, description=description, lark=lark, regex=regex, **options
        )
    if isinstance(function, staticmethod):
        function = function.__func__
    if isinstance(function, Tool) or not callable(function):
        raise ConfigError(f"custom_tool(...) takes a function, not {function!r}")
    name = check_name(getattr(function, "__name__", "") if name is None else name)
    settings = checked(name, options)
    if is_generator(function):
        raise ConfigError(f"tool {name!r} is a generator; make it an async one (`async def`)")
    is_method = takes_self(function)
    seen = functools.partial(function, None) if is_method else function
    signature = read_signature(seen, tool=name, doc=None, annotated=False)
    texts = [parameter for parameter in signature.parameters if not parameter.has_default]
    if any(parameter.is_secret for parameter in texts):
        raise ConfigError(
            f"the text of the custom tool {name!r} cannot be secret; let a @triplane.tool take it as a parameter"
        )
    if len(texts) != 1 or bare(texts[0].type) not in (str, Any):
        raise ConfigError(
            f"the custom tool {name!r} gets a text: its function must take one str, and no more"
        )
    if not isinstance(description, str | None):
        raise ConfigError(f"description of tool {name!r} is {description!r}; give a text")
    doc = None if isinstance(function, functools.partial) else inspect.getdoc(function)
    described = first_paragraph(doc) if description is None else description
    wire: dict[str, Any] = {"type": "custom", "name": name, "description": described}
    if (form := _format(name, lark, regex)) is not None:
        wire["format"] = form
    made: FunctionTool[..., Any] = FunctionTool(
        name=name,
        description=described,
        parameters={},
        strict=False,
        arguments=ReadsText(texts[0].name, signature.context),
        producer=producer_of(function, name),
        function=function,
        kind="custom_tool_call",
        wire=wire,
        **settings,
    )
    return ToolMethod(made) if is_method else made


@final
@attrs.frozen
class ReadsText:
    """Hands on the text of a call as it is.

    Attributes:
        name: The parameter that takes it.
        context: The one that takes the `ToolContext`, or None.
    """

    name: str
    context: str | None

    def structure(self, text: str) -> dict[str, Any]:
        """See `ReadsArguments`."""
        if len(text) > MAX_ARGUMENTS:
            raise InvalidArgumentsError([f"the text is longer than {MAX_ARGUMENTS:,} characters"])
        return {self.name: text}


def _format(name: str, lark: object, regex: object) -> Mapping[str, Any] | None:
    given = {"lark": lark, "regex": regex}
    found = {syntax: definition for syntax, definition in given.items() if definition is not None}
    if len(found) > 1:
        raise ConfigError(f"tool {name!r} has two grammars; give lark= or regex=")
    for syntax, definition in found.items():
        if not isinstance(definition, str) or not definition:
            raise ConfigError(f"{syntax}= of tool {name!r} is {definition!r}; give a grammar as text")
        return {"type": "grammar", "syntax": syntax, "definition": definition}
    return None
