"""Declares functions as tools: `tool`, `Tool`, `by_name`."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import attrs

from triplane.core.errors import ConfigError
from triplane.core.outcome import EffectClass

from .arguments import Arguments
from .schema import build_schema, first_paragraph, given_schema
from .signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Tool:
    """A function that a model may call. Made by `tool`; compared by identity.

    Attributes:
        name: What the model calls it: 1 to 64 letters, digits, underscores and dashes.
        description: What the model is told about it; may be empty.
        parameters: The JSON schema of its arguments. Shared: do not change it.
        strict: Whether the API may hold the model to the schema (OpenAI's strict mode).
        timeout: Seconds that a call may take, retries included; `math.inf` for no limit.
        max_output: Bytes of output that are kept; what comes beyond is cut out of the middle.
        effect: ``"read"`` changes nothing; ``"idempotent"`` may be repeated with the same idempotency key;
            ``"write"`` must happen at most once.
        retries: How many more attempts a call gets when the function raises an Exception.
        function: The function itself.
        is_async: Whether it is awaited; if not, it runs in a worker thread.
        arguments: Turns the arguments of a call, JSON text, into keyword arguments of the function.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool
    timeout: float
    max_output: int
    effect: EffectClass
    retries: int
    function: Callable[..., Any]
    is_async: bool
    arguments: Arguments
    _definition: dict[str, Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Write the definition once; it goes out with every full request."""
        definition = {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": self.strict,
        }
        object.__setattr__(self, "_definition", definition)

    def definition(self) -> dict[str, Any]:
        """The tool as the API takes it. The same dict every time: do not change it."""
        return self._definition

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class FunctionTool(Tool, Generic[P, R]):
    """A `Tool` that can still be called as the function it was made of."""

    function: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself: no thread, no timeout, no cap, no conversion of arguments."""
        return self.function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, R]:
        return self.function  # for inspect.signature


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 60,
    max_output: int = 65_536,
    effect: EffectClass = "write",
    retries: int = 0,
) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 60,
    max_output: int = 65_536,
    effect: EffectClass = "write",
    retries: int = 0,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    timeout: float = 60,
    max_output: int = 65_536,
    effect: EffectClass = "write",
    retries: int = 0,
) -> Any:
    """Make a tool of a function: ``@tool``, ``@tool(timeout=5)`` or ``tool(obj.method, timeout=5)``.

    The function may be async, or sync: then it runs in a worker thread. A sync tool that is cancelled or times out
    is left behind in its thread, and whatever it returns later is dropped; it can end itself sooner with
    `trio.from_thread.check_cancelled`. An async tool ends by Trio's cancellation, so it must let `trio.Cancelled`
    through.

    The JSON schema is read off the annotations and the docstring (Google, NumPy or Sphinx style, or
    ``Annotated[int, "what it means"]``), in OpenAI's strict subset where the types allow it. A parameter with a
    default becomes nullable, and null stands for the default. A parameter annotated with `ToolContext` is not
    shown to the model.

    What the function returns becomes the output: a str as it is, bytes as UTF-8, None as the empty string,
    anything else as JSON. An exception is told to the model: its type and message.

    Args:
        function: The function; omit it to use the result as a decorator.
        name: What the model calls it. Default: the function's name.
        description: What the model is told about it. Default: the first paragraph of its docstring.
        parameters: A JSON schema to use instead of the one read off the signature. Arguments are still
            converted to the annotations there are.
        timeout: Seconds a call may take, retries included; more than 0, `math.inf` for no limit.
        max_output: Bytes of output to keep, at least 1.
        effect: What a call does to the world: ``"read"``, ``"idempotent"`` or ``"write"``.
        retries: How many more attempts a call gets, within the same timeout, when the function raises an
            Exception. Only for tools whose effect is not ``"write"``.

    Raises:
        ConfigError: An option does not make sense, the signature cannot be filled in from JSON, or the extra
            ``triplane[tools]`` is not installed and `parameters` is not given.
    """
    if function is None:
        return functools.partial(
            tool,
            name=name,
            description=description,
            parameters=parameters,
            timeout=timeout,
            max_output=max_output,
            effect=effect,
            retries=retries,
        )
    if isinstance(function, staticmethod):
        function = function.__func__
    if isinstance(function, Tool):
        raise ConfigError(f"{function.name!r} is a tool already; apply tool(...) once, with all its options")
    if not callable(function):
        raise ConfigError(f"tool(...) takes a function, not {function!r}; pass its options by name")
    name = _check_name(getattr(function, "__name__", "") if name is None else name)
    _check_options(name, timeout=timeout, max_output=max_output, effect=effect, retries=retries)
    is_async = _check_kind(function, name)
    doc = None if isinstance(function, functools.partial) else inspect.getdoc(function)
    signature = read_signature(
        function,
        tool=name,
        doc=doc,
        annotated=parameters is None,
    )
    if parameters is None:
        schema, strict = build_schema(signature, tool=name)
    else:
        schema, strict = given_schema(parameters, tool=name)
    return FunctionTool(
        name=name,
        description=first_paragraph(doc) if description is None else description,
        parameters=schema,
        strict=strict,
        timeout=float(timeout),
        max_output=max_output,
        effect=effect,
        retries=retries,
        function=function,
        is_async=is_async,
        arguments=Arguments(signature),
    )


def by_name(tools: Iterable[Tool]) -> Mapping[str, Tool]:
    """The tools by their names, in the order given.

    Raises:
        ConfigError: Two have the same name, or one is not a tool.
    """
    table: dict[str, Tool] = {}
    for one in tools:
        if not isinstance(one, Tool):
            raise ConfigError(f"{one!r} is not a tool; decorate it with @triplane.tool")
        if one.name in table:
            raise ConfigError(f"two tools are named {one.name!r}; rename one with tool(..., name=...)")
        table[one.name] = one
    return table


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a tool name: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; give another one with name=..."
        )
    return name


def _check_options(name: str, *, timeout: Any, max_output: Any, effect: str, retries: Any) -> None:
    if (
        isinstance(timeout, bool)
        or not isinstance(timeout, int | float)
        or math.isnan(timeout)
        or timeout <= 0
    ):
        raise ConfigError(
            f"timeout of tool {name!r} is {timeout!r}; give seconds above 0, or math.inf for no limit"
        )
    if type(max_output) is not int or max_output < 1:
        raise ConfigError(f"max_output of tool {name!r} is {max_output!r}; give bytes, at least 1")
    if effect not in ("read", "idempotent", "write"):
        raise ConfigError(f"effect of tool {name!r} is {effect!r}; use 'read', 'idempotent' or 'write'")
    if type(retries) is not int or retries < 0:
        raise ConfigError(f"retries of tool {name!r} is {retries!r}; give a number of attempts, at least 0")
    if retries and effect == "write":
        raise ConfigError(
            f"tool {name!r} has retries={retries} with effect='write', which must happen at most once; remove the "
            f"retries, or say effect='read' or effect='idempotent' if that is true"
        )


def _check_kind(function: Callable[..., Any], name: str) -> bool:
    """Whether it is async."""
    call = type(function).__call__
    for kind in (function, call):
        if inspect.isasyncgenfunction(kind) or inspect.isgeneratorfunction(kind):
            raise ConfigError(
                f"tool {name!r} is a generator; streaming tools are not supported yet: return the whole output"
            )
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
