"""Constructors from JSON objects: one is written and compiled for each wire class, when it is first needed.

A general loop over the fields costs more than parsing the JSON does, and so does the ``__init__`` of a frozen
class, which sets every slot through ``object.__setattr__``. So the source of a straight-line function is
generated, as attrs does for ``__init__``, and the function fills a *twin*: an instance of a class with the
same slots that is not frozen. Assigning ``__class__`` then makes it an instance of the frozen class, which
CPython allows between classes of equal layout.
"""

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from ._wire import NO_EXTRA, Payload, Wire, wire_name

T = TypeVar("T", bound=Wire)
Read = Callable[[Any], Any]

_JSON_NAMES: Final[Mapping[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    types.NoneType: "null",
}
# JSON values have no odd classes, and `v.__class__` is cheaper than `type(v)`.
_TESTS: Final[Mapping[Any, str]] = {
    str: "v.__class__ is str",
    int: "v.__class__ is int",
    bool: "v.__class__ is bool",
    float: "v.__class__ is float or v.__class__ is int",
}


class Misfit(Exception):  # noqa: N818 - never leaves this package
    """A JSON value has not the shape that its class needs.

    Says what it is, never its value, which may be secret.
    """

    def __init__(self, expected: str, value: object, key: str | None = None) -> None:
        found = _JSON_NAMES.get(type(value), type(value).__name__)
        super().__init__(f"expected {expected}, found {found}" + (f" in {key!r}" if key else ""))


def without_none(annotation: Any) -> Any:
    """``X`` for ``X | None``, anything else as it is."""
    if isinstance(annotation, types.UnionType):
        rest = tuple(a for a in typing.get_args(annotation) if a is not types.NoneType)
        return rest[0] if len(rest) == 1 else typing.Union[rest]  # noqa: UP007 - made at run time
    return annotation


def compile_reader(cls: type[T], reader_for: Callable[[Any], Read]) -> Callable[[Mapping[str, Any]], T]:
    """Write the function that turns a JSON object into an instance of ``cls``.

    The function raises ``KeyError`` if a required key is missing and `Misfit` if its value has the wrong
    shape. It counts the keys that fields have taken; only if the object has more is ``extra`` made. It does
    not look at ``type``: whoever calls it has.

    Args:
        cls: a wire class.
        reader_for: gives the function that reads a nested annotation.
    """
    fields = [a for a in attrs.fields(cls) if a.name != "extra"]
    required = sum(a.default is attrs.NOTHING for a in fields)
    env: dict[str, Any] = {
        "cls": cls,
        "twin": _twin(cls),
        "Misfit": Misfit,
        "NO_EXTRA": NO_EXTRA,
        "Payload": Payload,
        "leftover": _leftover,
        "attributes": {wire_name(a): a.name for a in fields} | ({"type": None} if cls.tagged else {}),
    }
    body = ["self = twin()", f"n = {required + cls.tagged}"]
    fields.sort(key=_rank)
    for a in fields[:-1]:
        body += _read_field(a, env, reader_for)
    end = ["self.extra = NO_EXTRA if len(raw) == n else leftover(self, raw, n, attributes)"]
    for a in fields[-1:]:
        end = [*_read_field(a, env, reader_for), *end]
        if a.default is not attrs.NOTHING:
            # Once all keys are taken, it cannot be there.
            body += ["if len(raw) == n:", f"    self.{a.name} = None", "    self.extra = NO_EXTRA", "else:"]
            end = ["    " + line for line in end]
    body += [*end, "self.__class__ = cls", "return self"]
    source = "def read(raw):\n" + "\n".join("    " + line for line in body)
    exec(compile(source, f"<reader of {cls.__name__}>", "exec"), env)  # noqa: S102 - the source is made of our names
    read: Callable[[Mapping[str, Any]], T] = env["read"]
    return read


def _twin(cls: type[Wire]) -> type[Any]:
    """A class with the slots of ``cls`` that begins empty and lets attributes be set."""
    owner = next(c for c in cls.__mro__ if c.__dict__.get("__slots__"))
    thaw = {name: getattr(object, name) for name in ("__init__", "__setattr__", "__delattr__")}
    return type(f"{cls.__name__}Twin", owner.__bases__, {"__slots__": owner.__dict__["__slots__"], **thaw})


def _rank(a: "attrs.Attribute[Any]") -> int:
    """Where in the function a field is read: what is rarely there comes last. Most connections name no lane."""
    return 0 if a.default is attrs.NOTHING else 2 if a.name == "stream_id" else 1


def _read_field(
    a: "attrs.Attribute[Any]", env: dict[str, Any], reader_for: Callable[[Any], Read]
) -> list[str]:
    """Lines that set a field."""
    key, kind = wire_name(a), without_none(a.type)
    if a.default is attrs.NOTHING:
        value = [f"v = raw[{key!r}]", *_required(a.name, key, kind, env, reader_for)]
    else:
        value = [f"v = raw.get({key!r})", *_optional(a.name, kind, env, reader_for)]
    return [*value, f"self.{a.name} = v"]


def _required(
    name: str, key: str, kind: Any, env: dict[str, Any], reader_for: Callable[[Any], Read]
) -> list[str]:
    """Lines that check ``v`` and make it what the field holds."""
    if kind is Any:
        # A null counts as not taken, so that it goes into extra and comes back.
        return ["if v is None:", "    n -= 1"]
    if kind in _TESTS:
        return [f"if not ({_TESTS[kind]}):", f"    raise Misfit({_JSON_NAMES[kind]!r}, v, {key!r})"]
    if typing.get_origin(kind) is Payload:
        (nested,) = typing.get_args(kind)
        env[f"kind_{name}"] = nested.__forward_arg__ if isinstance(nested, typing.ForwardRef) else nested
        return [
            "if v.__class__ is not dict:",
            f"    raise Misfit('an object', v, {key!r})",
            f"v = Payload(kind_{name}, v)",
        ]
    env[f"read_{name}"] = reader_for(kind)
    return [f"v = read_{name}(v)"]


def _optional(name: str, kind: Any, env: dict[str, Any], reader_for: Callable[[Any], Read]) -> list[str]:
    """Lines that make ``v`` what the field holds: None if it is absent, null or of another shape."""
    if kind is Any:
        return ["if v is not None:", "    n += 1"]
    if kind in _TESTS:
        return [f"if {_TESTS[kind]}:", "    n += 1", "else:", "    v = None"]
    env[f"read_{name}"] = reader_for(kind)
    lines = [
        "if v is not None:",
        "    try:",
        f"        v = read_{name}(v)",
        "        n += 1",
        "    except (Misfit, KeyError):",
        "        v = None",
    ]
    if typing.get_origin(kind) is tuple:
        # Most arrays, such as the log probabilities of every delta, are empty.
        lines = ["if v.__class__ is list and not v:", "    v = ()", "    n += 1", "el" + lines[0], *lines[1:]]
    return lines


def _leftover(
    self: Wire, raw: Mapping[str, Any], taken: int, attributes: Mapping[str, str | None]
) -> Mapping[str, Any]:
    """What no field has taken: unknown keys, nulls, and optional values that did not fit.

    Args:
        self: the object, whose fields are set.
        raw: the JSON object.
        taken: how many of its keys fields have taken, and ``type``.
        attributes: the field for each known key; None for ``type``.
    """
    # Not a comprehension, which is a call: the padding of every delta comes here.
    extra = {}
    for key in raw:
        if key not in attributes:
            extra[key] = raw[key]
    if taken + len(extra) < len(raw):
        for key, name in attributes.items():
            if name is not None and key in raw and getattr(self, name) is None:
                extra[key] = raw[key]
    return extra or NO_EXTRA
