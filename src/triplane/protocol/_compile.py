"""Constructors from JSON objects, one generated for each wire class on first use.

A general loop over the fields costs several times what parsing the JSON does. So, as attrs does for ``__init__`` and
cattrs for its hooks, the source of one straight-line function is written for each class and compiled. It
sets the slots of the frozen instance through their descriptors, which is the fastest way CPython has.
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


class Misfit(Exception):  # noqa: N818 - never leaves this package
    """A JSON value has not the shape that its class needs."""

    def __init__(self, expected: str, value: object) -> None:
        found = _JSON_NAMES.get(value.__class__, value.__class__.__name__)
        super().__init__(f"expected {expected}, found {found}")


def without_none(annotation: Any) -> Any:
    """``X`` for ``X | None``, anything else as it is."""
    if isinstance(annotation, types.UnionType):
        rest = tuple(a for a in typing.get_args(annotation) if a is not types.NoneType)
        return rest[0] if len(rest) == 1 else typing.Union[rest]  # noqa: UP007 - made at run time
    return annotation


_TESTS: Final[Mapping[Any, str]] = {
    str: "{v}.__class__ is str",
    int: "{v}.__class__ is int",
    bool: "{v}.__class__ is bool",
    float: "({v}.__class__ is float or {v}.__class__ is int)",
}


def compile_reader(cls: type[T], reader_for: Callable[[Any], Read]) -> Callable[[Mapping[str, Any]], T]:
    """Write the function that turns a JSON object into an instance of ``cls``.

    The function raises ``KeyError`` for a required field that is missing and `Misfit` for one of the wrong
    shape. It does not look at ``type``: whoever calls it has.

    Args:
        cls: a wire class.
        reader_for: how to read a nested annotation.
    """
    fields = [a for a in attrs.fields(cls) if a.name != "extra"]
    required = [a for a in fields if a.default is attrs.NOTHING]
    env: dict[str, Any] = {
        "cls": cls,
        "new": object.__new__,
        "Misfit": Misfit,
        "NO_EXTRA": NO_EXTRA,
        "Payload": Payload,
        "set_extra": _setter(cls, "extra"),
        "attribute": {wire_name(a): a.name for a in fields},
    }
    body = ["self = new(cls)", "get = raw.get", f"n = {len(required) + cls.tagged}"]
    for i, a in enumerate(fields):
        key, kind = wire_name(a), without_none(a.type)
        env[f"set{i}"] = _setter(cls, a.name)
        optional = a.default is not attrs.NOTHING
        body.append(f"v = get({key!r})" if optional else f"v = raw[{key!r}]")
        if kind is Any:
            # A null counts as not taken, so that it goes into extra and comes back.
            body += ["if v is not None:", "    n += 1"] if optional else ["if v is None:", "    n -= 1"]
            body.append(f"set{i}(self, v)")
        elif kind in _TESTS:
            body += _scalar(kind, optional=optional)
            body.append(f"set{i}(self, v)")
        elif typing.get_origin(kind) is Payload:
            env[f"cls{i}"] = typing.get_args(kind)[0]
            body += ["if v.__class__ is not dict:", "    raise Misfit('an object', v)"]
            body.append(f"set{i}(self, Payload(cls{i}, v))")
        else:
            env[f"read{i}"] = reader_for(kind)
            body += _nested(i) if optional else [f"set{i}(self, read{i}(v))"]
    body += [
        "if len(raw) == n:",
        "    set_extra(self, NO_EXTRA)",
        "else:",
        f"    set_extra(self, leftover(self, raw, attribute, tagged={cls.tagged}))",
        "return self",
    ]
    env["leftover"] = _leftover
    source = "def read(raw):\n" + "\n".join("    " + line for line in body)
    exec(compile(source, f"<reader of {cls.__name__}>", "exec"), env)  # noqa: S102 - the source is made of our names
    read: Callable[[Mapping[str, Any]], T] = env["read"]
    return read


def _setter(cls: type[Wire], name: str) -> Any:
    return getattr(cls, name).__set__


def _scalar(kind: type, *, optional: bool) -> list[str]:
    test = _TESTS[kind].format(v="v")
    if not optional:
        return [f"if not ({test}):", f"    raise Misfit({_JSON_NAMES[kind]!r}, v)"]
    return ["if v is not None:", f"    if {test}:", "        n += 1", "    else:", "        v = None"]


def _nested(i: int) -> list[str]:
    return [
        "if v is not None:",
        "    try:",
        f"        v = read{i}(v)",
        "        n += 1",
        "    except (Misfit, KeyError):",
        "        v = None",
        f"set{i}(self, v)",
    ]


def _leftover(
    self: Wire, raw: Mapping[str, Any], attribute: Mapping[str, str], *, tagged: bool
) -> Mapping[str, Any]:
    """What of the JSON object no field has taken: unknown keys, nulls, and optional values that did not fit."""
    extra = {}
    for key, value in raw.items():
        name = attribute.get(key)
        if (name is None or getattr(self, name) is None) and not (tagged and key == "type"):
            extra[key] = value
    return extra or NO_EXTRA
