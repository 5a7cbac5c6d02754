"""What a function asks for: its parameters, their types, defaults and descriptions."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import inspect
import pathlib
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import attrs

from triplane.core.errors import ConfigError

from .context import ToolContext
from .extra import parameter_descriptions
from .secrets import Secret

NO_DEFAULT: Any = inspect.Parameter.empty

# Types that stand for one JSON scalar, or (Any) for whatever comes.
SCALARS: frozenset[Any] = frozenset((str, int, float, bool, type(None), Any))
# Types that are written as a string.
_TEXT_TYPES: Mapping[Any, tuple[str, Callable[[str], Any]]] = {
    dt.datetime: ("an ISO 8601 date and time", dt.datetime.fromisoformat),
    dt.date: ("an ISO 8601 date", dt.date.fromisoformat),
    dt.time: ("an ISO 8601 time", dt.time.fromisoformat),
    uuid.UUID: ("a UUID", uuid.UUID),
    pathlib.Path: ("a path", pathlib.Path),
}
# What each kind of array becomes.
ARRAYS: Mapping[Any, Callable[[list[Any]], Any]] = {
    list: list,
    Sequence: list,
    tuple: tuple,
    set: set,
    AbstractSet: set,
    frozenset: frozenset,
}
OBJECTS: frozenset[Any] = frozenset((dict, Mapping))

_SUPPORTED = (
    "str, int, float, bool, None, Any, datetime, date, time, UUID, Decimal, Path, Literal, an enum of strings or "
    "of ints, unions, list, tuple, set, dict with str keys, a TypedDict, a dataclass or an attrs class"
)


@attrs.frozen
class Parameter:
    """One parameter that the model fills in.

    Attributes:
        name: Its name.
        type: Its annotation, resolved, `Annotated` included.
        default: Its default, or `NO_DEFAULT`.
        description: What the docstring, or a string in `Annotated`, says of it.
        is_secret: Whether it is marked with `Secret`.
    """

    name: str
    type: Any
    default: Any
    description: str
    is_secret: bool = False

    @property
    def has_default(self) -> bool:
        """Whether a call may leave it out."""
        return self.default is not NO_DEFAULT


@attrs.frozen
class Signature:
    """What a function asks for.

    Attributes:
        parameters: What the model fills in, in order.
        context: The name of the parameter that takes the `ToolContext`, or None.
        classes: The attrs classes, dataclasses, TypedDicts that the types mention, each once.
    """

    parameters: tuple[Parameter, ...]
    context: str | None
    classes: tuple[type, ...]

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the parameters that are marked with `Secret`."""
        return frozenset(each.name for each in self.parameters if each.is_secret)


def read_signature(function: Callable[..., Any], *, tool: str, doc: str | None, annotated: bool) -> Signature:
    """Read the signature of `function`.

    Args:
        function: Any callable that `inspect.signature` understands.
        tool: The tool's name, for messages.
        doc: Its docstring.
        annotated: Whether the schema is to be read off it: then every parameter needs an annotation (without one
            it takes any JSON), and descriptions are read from `doc`.

    Raises:
        ConfigError: A parameter cannot be filled in from a JSON object, its type has no JSON schema, or the extra
            that reads docstrings is needed and not installed.
    """
    try:
        raws = inspect.signature(function).parameters.values()
    except (ValueError, TypeError) as error:
        raise ConfigError(f"tool {tool!r}: the signature of {function!r} cannot be read: {error}") from error
    names = _globals(function)
    descriptions = parameter_descriptions(doc) if annotated and raws else {}
    parameters: list[Parameter] = []
    contexts: list[str] = []
    classes: dict[type, None] = {}
    for raw in raws:
        where = f"parameter {raw.name!r} of tool {tool!r}"
        if raw.kind in (raw.VAR_POSITIONAL, raw.VAR_KEYWORD):
            stars = "*" if raw.kind is raw.VAR_POSITIONAL else "**"
            raise ConfigError(
                f"tool {tool!r} takes {stars}{raw.name}, but the model fills in named parameters only; "
                f"name each of them"
            )
        if raw.kind is raw.POSITIONAL_ONLY:
            raise ConfigError(
                f"{where} is positional-only, but arguments are passed by name; remove the '/' from the signature"
            )
        if raw.annotation is raw.empty:
            if annotated:
                hint = (
                    "; to make a tool of a method, pass the bound method: tool(obj.method)"
                    if raw.name in ("self", "cls")
                    else ""
                )
                raise ConfigError(f"{where} has no annotation; say which type it takes{hint}")
            annotation: Any = Any
        else:
            annotation = _resolve(raw.annotation, names, where)
        if _is_context(annotation):
            contexts.append(raw.name)
            continue
        try:
            _collect(annotation, classes)
        except (_UnsupportedError, NameError) as error:
            raise ConfigError(f"{where}: {error}") from error
        parameters.append(
            Parameter(
                raw.name,
                annotation,
                raw.default,
                annotated_text(annotation) or descriptions.get(raw.name, ""),
                is_secret(annotation),
            )
        )
    if len(contexts) > 1:
        raise ConfigError(f"tool {tool!r} takes more than one ToolContext ({', '.join(contexts)}); keep one")
    return Signature(tuple(parameters), contexts[0] if contexts else None, tuple(classes))


def annotated_text(annotation: Any) -> str:
    """The first string in ``Annotated[..., "text"]``, or the empty string."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return ""
    return next((extra for extra in annotation.__metadata__ if isinstance(extra, str)), "")


def is_secret(annotation: Any) -> bool:
    """Whether it is marked with `Secret`, itself or as a member of a union."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated and any(
            extra is Secret or isinstance(extra, Secret) for extra in annotation.__metadata__
        ):
            return True
        inner = _unwrapped(annotation)
        if inner is annotation:
            break
        annotation = inner
    members = alternatives(annotation)
    return len(members) > 1 and any(map(is_secret, members))


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only member."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def bare(annotation: Any) -> Any:
    """The type behind `Annotated`, `NewType`, ``type X = ...``, `Required` and `NotRequired`."""
    while (inner := _unwrapped(annotation)) is not annotation:
        annotation = inner
    return annotation


def _unwrapped(annotation: Any) -> Any:
    if hasattr(annotation, "__supertype__"):
        return annotation.__supertype__
    if hasattr(annotation, "__value__"):
        return annotation.__value__
    if typing.get_origin(annotation) in (typing.Annotated, typing.Required, typing.NotRequired):
        return typing.get_args(annotation)[0]
    return annotation


def text_type(annotation: Any) -> tuple[str, Callable[[str], Any]] | None:
    """What the string is that such a value is written as, and what parses it; None for other types."""
    if getattr(annotation, "__module__", None) == "decimal" and annotation.__name__ == "Decimal":
        # By its name: importing the module for this table costs every program some milliseconds at its start.
        return "a decimal number in a string", annotation
    return _TEXT_TYPES.get(annotation)


def is_class_with_fields(annotation: Any) -> bool:
    """Whether it is an attrs class, a dataclass or a TypedDict."""
    return isinstance(annotation, type) and (
        attrs.has(annotation)
        or hasattr(annotation, "__dataclass_fields__")
        or typing.is_typeddict(annotation)
    )


class _UnsupportedError(Exception):
    pass


def _unsupported(annotation: Any) -> _UnsupportedError:
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return _UnsupportedError(f"the annotation {shown} has no JSON schema; use {_SUPPORTED}")


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    """Where the names in the annotations mean something."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__globals__"):  # an object with a __call__
        function = type(function).__call__
    return getattr(function, "__globals__", {})


def _resolve(annotation: Any, names: dict[str, Any], where: str) -> Any:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["it"]
    except NameError as error:
        raise ConfigError(
            f"{where}: its annotation needs the name {error.name!r}, which is not there at run time; define or "
            f"import it at module level and outside `if TYPE_CHECKING:`"
        ) from error
    except (TypeError, SyntaxError, AttributeError) as error:
        raise ConfigError(f"{where}: its annotation {annotation!r} cannot be evaluated: {error}") from error


def _is_context(annotation: Any) -> bool:
    return any(bare(member) is ToolContext for member in alternatives(bare(annotation)))


def _collect_inner(annotation: Any, classes: dict[type, None]) -> None:
    if is_secret(annotation):
        raise _UnsupportedError(
            "a part of a value cannot be secret alone; mark the parameter: Annotated[…, triplane.Secret()]"
        )
    _collect(annotation, classes)


def _collect(annotation: Any, classes: dict[type, None]) -> None:
    annotation = bare(annotation)
    try:
        hash(annotation)
    except TypeError:  # so not a type
        raise _unsupported(annotation) from None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    members = alternatives(annotation)
    if len(members) > 1:
        for member in members:
            _collect(member, classes)
    elif origin is typing.Literal:
        if not all(value is None or type(value) in (str, int) for value in arguments):
            raise _unsupported(annotation)
    elif (origin or annotation) in ARRAYS:
        for argument in arguments:
            if argument is not Ellipsis:
                _collect_inner(argument, classes)
    elif (origin or annotation) in OBJECTS:
        if arguments:
            if bare(arguments[0]) is not str:
                raise _unsupported(annotation)
            _collect_inner(arguments[1], classes)
    elif is_class_with_fields(annotation):
        if annotation not in classes:
            classes[annotation] = None
            for field in typing.get_type_hints(annotation, include_extras=True).values():
                _collect_inner(field, classes)
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        kinds = {type(member.value) for member in annotation}
        if kinds not in ({str}, {int}):
            raise _unsupported(annotation)
    elif annotation not in SCALARS and text_type(annotation) is None:
        raise _unsupported(annotation)
