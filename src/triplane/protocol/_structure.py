"""The converter of nested payloads: cattrs as the register of who reads what.

cattrs finds and caches the hook for an annotation; the hooks themselves are ours, because the wire asks for
more than cattrs' generated ones give: unknown keys, explicit nulls and misfitting optional values are kept,
an object that does not fit its class becomes the unknown member of its family instead of an error, and
nothing is coerced (cattrs would read ``5`` as the string ``"5"``).
"""

import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import cattrs

from ._compile import Misfit, compile_reader, without_none
from ._families import Family, family_of
from ._wire import Wire
from .errors import DecodeError

T = TypeVar("T", bound=Wire)
Hook = Callable[[Any, Any], Any]


def structure(raw: Mapping[str, Any], cls: type[T]) -> T:
    """Structure a JSON object as ``cls``, or as the member of the family ``cls`` that its ``type`` names.

    Raises:
        DecodeError: ``cls`` is not a family, and the object does not fit it.
    """
    try:
        result: T = _converter().get_structure_hook(cls)(raw, cls)
    except KeyError as exc:
        raise DecodeError("missing_field", f"{cls.__name__} has no {exc}") from None
    except Misfit as exc:
        raise DecodeError("wrong_type", f"{cls.__name__}: {exc}") from None
    return result


def reader(annotation: Any) -> Callable[[Any], Any]:
    """A function of one argument that reads a JSON value as ``annotation``."""
    hook = _converter().get_structure_hook(annotation)
    return lambda value: hook(value, annotation)


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    for scalar, name in _SCALARS.items():
        converter.register_structure_hook(scalar, _scalar_hook(scalar, name))
    converter.register_structure_hook_factory(_is_wire, _wire_hook)
    converter.register_structure_hook_factory(_is_union, _union_hook)
    converter.register_structure_hook_factory(_is_tuple, _tuple_hook)
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)
    return converter


_SCALARS: Final[Mapping[Any, str]] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
}


def _is_wire(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Wire)


def _is_union(annotation: Any) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union


def _is_tuple(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) is Mapping


def _scalar_hook(scalar: type, name: str) -> Hook:
    accepted = (float, int) if scalar is float else (scalar,)

    def read(value: Any, _: Any) -> Any:
        if type(value) not in accepted:
            raise Misfit(name, value)
        return value

    return read


def _mapping_hook(annotation: Any) -> Hook:
    (_key, element) = typing.get_args(annotation)
    check = None if element is Any else _converter().get_structure_hook(element)

    def read_mapping(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Misfit("an object", value)
        if check is not None:
            for inner in value.values():
                check(inner, element)
        return value

    return read_mapping


def _wire_hook(cls: type[Wire]) -> Hook:
    family = family_of(cls)
    if family is not None:
        return _family_hook(family)
    read = compile_reader(cls, reader)

    def read_object(value: Any, _: Any) -> Wire:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise Misfit("an object", value)
        return read(value)

    return read_object


def _family_hook(family: Family) -> Hook:
    readers: dict[Any, Callable[[Any], Wire]] = {}

    def read_member(value: Any, _: Any) -> Wire:
        if type(value) is not dict and not isinstance(value, Mapping):
            raise Misfit("an object", value)
        kind = family.kind_of(value)
        try:
            read = readers[kind]
        except (KeyError, TypeError):  # a TypeError if the kind is an array or an object
            cls = family.find(kind)
            if cls is None:
                return family.unknown(value)
            read = readers[kind] = compile_reader(cls, reader)
        try:
            return read(value)
        except (Misfit, KeyError, RecursionError):
            return family.unknown(value)

    return read_member


def _tuple_hook(annotation: Any) -> Hook:
    (element, _ellipsis) = typing.get_args(annotation)
    read = _converter().get_structure_hook(element)

    def read_array(value: Any, _: Any) -> Any:
        if type(value) is not list and type(value) is not tuple:
            raise Misfit("an array", value)
        return tuple([read(v, element) for v in value])

    return read_array


def _union_hook(annotation: Any) -> Hook:
    """Try the alternatives in the order they are written; they differ in their JSON type."""
    alternatives = [reader(a) for a in typing.get_args(without_none(annotation))]

    def read_either(value: Any, _: Any) -> Any:
        for read in alternatives:
            try:
                return read(value)
            except (Misfit, KeyError):
                pass
        raise Misfit("one of several shapes", value)

    return read_either
