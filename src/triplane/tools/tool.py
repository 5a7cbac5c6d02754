"""Declares functions as tools: `tool`, `Tool`, `by_name`."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, overload
from weakref import WeakValueDictionary

import attrs

from triplane.core.errors import ConfigError
from triplane.core.outcome import CallKind, EffectClass

from .arguments import Arguments, ReadsArguments
from .kinds import Awaiting, Producer, is_generator, producer_of
from .options import ErrorText, NeedsApproval, OnError, Siblings, ToolOptions, checked
from .schema import build_schema, first_paragraph, given_schema
from .signature import read_signature

if TYPE_CHECKING:
    from triplane.core.outcome import ToolCall

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class Namespace:
    """A group of tools, by the name of which the model calls them.

    Attributes:
        name: What the model calls it.
        description: What the model is told about it.
    """

    name: str
    description: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Tool:
    """Something that a model may call. Made by `tool`, `process_tool` and the like; compared by identity.

    Attributes:
        name: What the model calls it: 1 to 64 letters, digits, underscores and dashes.
        description: What the model is told about it; may be empty.
        parameters: The JSON schema of its arguments. Shared: do not change it.
        strict: Whether the API may hold the model to the schema (OpenAI's strict mode).
        arguments: Turns the arguments of a call, JSON text, into what `producer` takes.
        producer: Runs it.
        timeout: See `ToolOptions`, as for all that follow.
        is_counted: Whether its calls count against the engine's `max_tool_concurrency`.
        kind: The type of the items by which the model calls it.
        namespace: The group of tools that it is one of, None for none; see `namespace`.
        is_offered: Whether requests have its definition. One that does not is called once a search has found it.
        wire: What the API is told of a tool that is no function, else None.
        secrets: The names of the parameters that are marked with `Secret`.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool
    arguments: ReadsArguments
    producer: Producer
    timeout: float
    max_output: int
    max_artifact: int
    effect: EffectClass
    max_concurrency: float
    retries: int
    retry_on: type[Exception] | tuple[type[Exception], ...]
    retry_delay: float
    early: bool
    on_error: OnError | None
    siblings: Siblings | None
    error_text: ErrorText | None
    hide_errors: type[Exception] | tuple[type[Exception], ...]
    async_: bool
    defer_loading: bool
    needs_approval: NeedsApproval = False
    is_counted: bool = True
    kind: CallKind = "function_call"
    namespace: Namespace | None = None
    is_offered: bool = True
    wire: Mapping[str, Any] | None = None
    secrets: frozenset[str] = frozenset()
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
        if self.wire is not None:
            definition = dict(self.wire)
        if self.async_:
            definition["async"] = True
        if self.defer_loading:
            definition["defer_loading"] = True
        object.__setattr__(self, "_definition", definition)

    @property
    def full_name(self) -> str:
        """What tells it from all others of an agent; see `ToolCall.full_name`."""
        return self.name if self.namespace is None else f"{self.namespace.name}.{self.name}"

    @cached_property
    def shown(self) -> frozenset[str]:
        """The names of the parameters that are not secret."""
        return frozenset(self.parameters.get("properties", ())) - self.secrets

    def definition(self) -> dict[str, Any]:
        """The tool as the API takes it. The same dict every time: do not change it."""
        return self._definition

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.full_name}>"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class FunctionTool(Tool, Generic[P, R]):
    """A `Tool` that can still be called as the function it was made of.

    Attributes:
        function: The function itself.
    """

    function: Callable[P, R]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself: no thread, no timeout, no cap, no conversion of arguments."""
        return self.function(*args, **kwargs)

    @property
    def __wrapped__(self) -> Callable[P, R]:
        return self.function  # for inspect.signature

    @property
    def is_async(self) -> bool:
        """Whether it is awaited; if not, it yields its output, or runs in a worker thread."""
        return isinstance(self.producer, Awaiting)


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[ToolOptions],
) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[ToolOptions],
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Unpack[ToolOptions],
) -> Any:
    """Make a tool of a function: ``@tool``, ``@tool(timeout=5)`` or ``tool(obj.method, timeout=5)``.

    The function may be async; or an async generator (or anything else that gives an async iterator), whose str, bytes
    and `Progress` are taken as they come; or sync: then it runs in a worker thread. A sync tool that is cancelled or
    times out is left behind in its thread, and whatever it returns later is dropped; it can end itself sooner with
    `trio.from_thread.check_cancelled`. An async tool ends by Trio's cancellation, so it must let `trio.Cancelled`
    through.

    Of a method, a function whose first parameter is ``self``, it makes a `ToolMethod`: ``obj.method`` is the tool, and
    `tools_of` gives all those of an object.

    The JSON schema is read off the annotations and the docstring (Google, NumPy or Sphinx style, or
    ``Annotated[int, "what it means"]``), in OpenAI's strict subset where the types allow it. A parameter with a
    default becomes nullable, and null stands for the default. A parameter annotated with `ToolContext` is not
    shown to the model.

    What the function returns becomes the output: a str as it is, bytes as UTF-8, None as the empty string, an `Image`,
    a `File` or a list with such as parts of their own, anything else as JSON. An exception is told to the model: its
    type and message.

    Args:
        function: The function; omit it to use the result as a decorator.
        name: What the model calls it. Default: the function's name.
        description: What the model is told about it. Default: the first paragraph of its docstring.
        parameters: A JSON schema to use instead of the one read off the signature. Arguments are still
            converted to the annotations there are.
        options: See `ToolOptions`.

    Raises:
        ConfigError: An option does not make sense, the signature cannot be filled in from JSON, or the extra
            ``triplane[tools]`` is not installed and `parameters` is not given.
    """
    if function is None:
        return functools.partial(tool, name=name, description=description, parameters=parameters, **options)
    if isinstance(function, staticmethod):
        function = function.__func__
    if isinstance(function, Tool):
        raise ConfigError(f"{function.name!r} is a tool already; apply tool(...) once, with all its options")
    if not callable(function):
        raise ConfigError(f"tool(...) takes a function, not {function!r}; pass its options by name")
    name = check_name(getattr(function, "__name__", "") if name is None else name)
    settings = checked(name, options)
    if is_generator(function):
        raise ConfigError(
            f"tool {name!r} is a generator; make it an async one (`async def`), whose output is taken as it comes,"
            f" or return the whole output"
        )
    doc = None if isinstance(function, functools.partial) else inspect.getdoc(function)
    is_method = takes_self(function)
    # A method's signature is the one that its callers see.
    seen = functools.partial(function, None) if is_method else function
    made = FunctionTool(
        **described(seen, name, doc=doc, description=description, parameters=parameters),
        producer=producer_of(function, name),
        function=function,
        **settings,
    )
    return ToolMethod(made) if is_method else made


def described(
    function: Callable[..., Any],
    name: str,
    *,
    doc: str | None,
    description: str | None,
    parameters: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What the model is told about a function, and how its arguments are read: fields of `Tool`."""
    if not isinstance(description, str | None):
        raise ConfigError(f"description of tool {name!r} is {description!r}; give a text")
    signature = read_signature(function, tool=name, doc=doc, annotated=parameters is None)
    if parameters is None:
        schema, strict = build_schema(signature, tool=name)
    else:
        schema, strict = given_schema(parameters, tool=name)
    return {
        "name": name,
        "description": first_paragraph(doc) if description is None else description,
        "parameters": schema,
        "strict": strict,
        "arguments": Arguments(signature),
        "secrets": signature.secrets,
    }


class ToolMethod:
    """A method that was declared as a tool. Of an object, ``obj.method`` is the `FunctionTool`, always the same one.

    Of an object with slots it is the same one as long as somebody has it, an agent say.

    Args:
        unbound: The tool as if its function were called without ``self``.
    """

    def __init__(self, unbound: FunctionTool[..., Any]) -> None:
        self._unbound = unbound
        self._attribute = unbound.name
        # Those of objects without a __dict__, by the objects' ids. A tool holds its object, so an id that is here is
        # nobody else's.
        self._made: WeakValueDictionary[int, FunctionTool[..., Any]] = WeakValueDictionary()

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = name

    def __repr__(self) -> str:
        return f"<ToolMethod {self._unbound.name}>"

    @overload
    def __get__(self, instance: None, owner: type) -> ToolMethod: ...
    @overload
    def __get__(self, instance: object, owner: type) -> FunctionTool[..., Any]: ...
    def __get__(self, instance: object | None, owner: type) -> ToolMethod | FunctionTool[..., Any]:
        if instance is None:
            return self
        if (known := self._made.get(id(instance))) is not None:
            return known
        bound = self._unbound.function.__get__(instance, owner)
        made = attrs.evolve(self._unbound, function=bound, producer=producer_of(bound, self._unbound.name))
        # As `functools.cached_property` does: from here on the instance answers itself.
        with_dict = getattr(instance, "__dict__", None)
        if with_dict is not None:
            with_dict[self._attribute] = made
        else:
            self._made[id(instance)] = made
        return made


def tools_of(instance: object) -> tuple[Tool, ...]:
    """The tools of an object: its methods that were declared with ``@tool``, those of its bases first, in order.

    Raises:
        ConfigError: It has none, or it is a class.
    """
    if isinstance(instance, type):
        raise ConfigError(
            f"tools_of takes an object, not the class {instance.__name__}; make one: {instance.__name__}(…)"
        )
    names: dict[str, None] = {}
    for cls in reversed(type(instance).__mro__):
        names |= dict.fromkeys(name for name, value in vars(cls).items() if isinstance(value, ToolMethod))
    found = [getattr(instance, name) for name in names]
    tools = tuple(each for each in found if isinstance(each, Tool))
    if not tools:
        raise ConfigError(
            f"{type(instance).__name__} has no tools; declare methods of it with @triplane.tool"
        )
    return tools


def by_name(tools: Iterable[Tool]) -> Mapping[str, Tool]:
    """The tools by their full names, in the order given.

    Raises:
        ConfigError: Two have the same name, or one is not a tool.
    """
    if not isinstance(tools, Iterable):
        raise ConfigError(f"tools are given in a list, not as {tools!r}")
    table: dict[str, Tool] = {}
    for one in tools:
        if isinstance(one, ToolMethod):
            raise ConfigError(
                f"{one!r} is a method of no object in particular; pass tools_of(obj), or obj.method"
            )
        if not isinstance(one, Tool):
            raise ConfigError(f"{one!r} is not a tool; decorate it with @triplane.tool")
        if one.full_name in table:
            raise ConfigError(f"two tools are named {one.full_name!r}; rename one with tool(..., name=...)")
        table[one.full_name] = one
    return table


def tool_for(call: ToolCall, tools: Mapping[str, Tool]) -> Tool | None:
    """The tool that a call is of, None if there is none of that name or it is called in another way."""
    found = tools.get(call.full_name)
    return found if found is not None and found.kind == call.kind else None


def check_name(name: Any) -> str:
    """The name, if it is one.

    Raises:
        ConfigError: It is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a tool name: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; give another one with name=..."
        )
    return name


def takes_self(function: Callable[..., Any]) -> bool:
    """Whether it is a method as it stands in a class's body."""
    if not inspect.isfunction(function):
        return False
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return first is not None and first.name == "self" and first.annotation is first.empty
