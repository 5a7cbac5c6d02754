"""From Python objects to JSON text, and from JSON values to Python objects, without silent coercion."""

from __future__ import annotations

import enum
import functools
import math
import pathlib
import sys
import typing
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Annotated, Any

import cattrs
import cattrs.gen
import orjson

from .class_fields import fields_of
from .messages import message_of
from .signature import ARRAYS, OBJECTS, SCALARS, alternatives, bare, is_class_with_fields, text_type

Structure = Callable[[Any, Any], Any]


class UnserialisableError(Exception):
    """A value cannot be written as JSON; the message says why."""


class MismatchError(ValueError):
    """A JSON value is not what was expected.

    Attributes:
        expected: What was.
        value: What came.
    """

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(expected, value)
        self.expected = expected
        self.value = value


class FieldError(ValueError):
    """A field should not be there, or should; the message says which."""


class ItemsError(Exception):
    """Items of a list or an object are not what was expected.

    Attributes:
        errors: Which, by index or by key, and why.
    """

    def __init__(self, errors: list[tuple[int | str, Exception]]) -> None:
        super().__init__(errors)
        self.errors = errors


def to_json(value: Any) -> bytes:
    """Write `value` as JSON: attrs classes, dataclasses, enums, dates, sets and paths included.

    Raises:
        UnserialisableError: It holds something that JSON cannot say: another object, NaN or an infinity, a
            lone surrogate, an integer beyond 64 bits, or itself.
    """
    try:
        plain = _unstructurer().unstructure(value)
        data = orjson.dumps(plain, option=orjson.OPT_NON_STR_KEYS)
    except RecursionError:
        raise UnserialisableError("it contains itself, or is nested too deeply") from None
    except Exception as error:
        # Usually orjson's JSONEncodeError; but getting at the fields of an object can raise anything.
        raise UnserialisableError(message_of(error)) from error
    # orjson writes what is not a number as null, so only then is there something to look for.
    if b"null" in data and not _is_finite(plain):
        raise UnserialisableError("NaN and infinities are not JSON")
    return data


def structurer(annotation: Any) -> Structure:
    """What turns a JSON value into an `annotation`, as ``structure(value, annotation)``.

    It raises `MismatchError`; `ItemsError` and cattrs' `ClassValidationError`, which hold others; or whatever a
    class's own converter or validator raises.
    """
    return _structurer().get_structure_hook(annotation)


def expected(annotation: Any) -> str:
    """A type in the words of an error message."""
    annotation = bare(annotation)
    members = alternatives(annotation)
    if len(members) > 1:
        return " or ".join(dict.fromkeys(map(expected, members)))
    if annotation in SCALARS:
        return "null" if annotation is type(None) else getattr(annotation, "__name__", "any")
    written = text_type(annotation)
    if written is not None:
        return written[0]
    if typing.get_origin(annotation) is typing.Literal:
        return _one_of(typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _one_of([member.value for member in annotation])
    return "a list" if (typing.get_origin(annotation) or annotation) in ARRAYS else "an object"


def _one_of(values: Iterable[Any]) -> str:
    shown = [orjson.dumps(value).decode() for value in values]
    return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"


@functools.cache
def _unstructurer() -> cattrs.Converter:
    converter = cattrs.Converter(unstruct_collection_overrides={AbstractSet: list})
    converter.register_unstructure_hook(pathlib.PurePath, str)
    return converter


def _is_finite(plain: Any) -> bool:
    if isinstance(plain, float):
        return math.isfinite(plain)
    if isinstance(plain, dict):
        return all(map(_is_finite, plain.values()))
    return not isinstance(plain, list | tuple) or all(map(_is_finite, plain))


@functools.cache
def _structurer() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    # cattrs asks the hooks of classes before anything else, for their subclasses too: bool, or an enum of strings.
    for cls in (str, int, float, pathlib.Path):
        converter.register_structure_hook(cls, lambda value, kind: _plain(kind)(value, kind))
    # Of these the last one registered is asked first.
    converter.register_structure_hook_factory(_is_bare(is_class_with_fields), _class)
    converter.register_structure_hook_factory(_is_bare(_is_object), _object)
    converter.register_structure_hook_factory(_is_bare(_is_array), _array)
    converter.register_structure_hook_factory(_is_bare(_is_scalar), _scalar)
    converter.register_structure_hook_factory(_is_bare(_is_choice), _choice)
    converter.register_structure_hook_factory(_is_bare(_is_union), _union)
    converter.register_structure_hook_factory(lambda annotation: bool(_constraints(annotation)), _constrained)
    return converter


def _is_bare(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda annotation: test(bare(annotation))


def _is_union(annotation: Any) -> bool:
    return len(alternatives(annotation)) > 1


def _is_choice(annotation: Any) -> bool:
    if isinstance(annotation, type):
        return issubclass(annotation, enum.Enum)
    return typing.get_origin(annotation) is typing.Literal


def _is_scalar(annotation: Any) -> bool:
    return annotation in SCALARS or text_type(annotation) is not None


def _is_array(annotation: Any) -> bool:
    return (typing.get_origin(annotation) or annotation) in ARRAYS


def _is_object(annotation: Any) -> bool:
    return (typing.get_origin(annotation) or annotation) in OBJECTS


@functools.cache
def _plain(kind: type) -> Structure:
    return _choice(kind) if _is_choice(kind) else _scalar(kind)


def _scalar(annotation: Any) -> Structure:
    kind = bare(annotation)
    words = expected(kind)
    if kind is Any:
        return lambda value, _: value
    written = text_type(kind)
    if written is not None:
        parse = written[1]

        def text(value: Any, _: Any) -> Any:
            if type(value) is str:
                try:
                    return parse(value)
                except (ValueError, ArithmeticError):  # the latter is decimal's
                    pass
            raise MismatchError(words, value)

        return text

    def exact(value: Any, _: Any) -> Any:
        # `type(...) is`: a bool is not an int here, and a str is never parsed.
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise MismatchError(words, value)

    return exact


def _choice(annotation: Any) -> Structure:
    kind = bare(annotation)
    # By type as well: True is not 1, and 1.0 is not 1.
    if typing.get_origin(kind) is typing.Literal:
        table = {(type(value), value): value for value in typing.get_args(kind)}
    else:
        table = {(type(member.value), member.value): member for member in kind}

    def choose(value: Any, _: Any) -> Any:
        try:
            return table[type(value), value]
        except (KeyError, TypeError):  # the latter: not hashable
            raise MismatchError(expected(kind), value) from None

    return choose


def _union(annotation: Any, converter: cattrs.BaseConverter) -> Structure:
    kind = bare(annotation)
    # An exact int is an int even where the union says `float | int`.
    members = sorted(alternatives(kind), key=lambda member: bare(member) is float)
    hooks = [(member, converter.get_structure_hook(member)) for member in members]

    def try_each(value: Any, _: Any) -> Any:
        errors: list[tuple[Any, Exception]] = []
        for member, hook in hooks:
            try:
                return hook(value, member)
            except Exception as error:  # noqa: BLE001  (a class's own converter may raise anything)
                errors.append((member, error))
        # Where only one member is a list, or an object, as the value is, it knows best what is wrong inside; of several
        # classes the one that has most of the fields.
        near = [(member, error) for member, error in errors if _has_shape(value, bare(member))]
        if len(near) > 1 and isinstance(value, dict):
            most = max(_common_fields(value, member) for member, _ in near)
            near = [each for each in near if most and _common_fields(value, each[0]) == most]
            if len(near) != 1:
                raise MismatchError(_several(kind), value)
        raise near[0][1] if len(near) == 1 else MismatchError(expected(kind), value)

    return try_each


def _several(kind: Any) -> str:
    """What a union of several classes expects, by their fields."""
    classes = [bare(member) for member in alternatives(kind) if is_class_with_fields(bare(member))]
    return f"an object with {' or '.join(', '.join(typing.get_type_hints(cls)) for cls in classes)}"


def _common_fields(value: dict[str, Any], member: Any) -> int:
    cls = bare(member)
    return len(value.keys() & typing.get_type_hints(cls).keys()) if is_class_with_fields(cls) else 0


def _has_shape(value: Any, member: Any) -> bool:
    if isinstance(value, list):
        return _is_array(member)
    return isinstance(value, dict) and (_is_object(member) or is_class_with_fields(member))


def _array(annotation: Any, converter: cattrs.BaseConverter) -> Structure:
    kind = bare(annotation)
    make = ARRAYS[typing.get_origin(kind) or kind]
    arguments: tuple[Any, ...] = typing.get_args(kind) or (Any,)
    if make is tuple and len(arguments) > 1 and arguments[-1] is not Ellipsis:
        hooks = [(argument, converter.get_structure_hook(argument)) for argument in arguments]

        def fixed(value: Any, _: Any) -> Any:
            if type(value) is not list or len(value) != len(hooks):
                raise MismatchError(f"a list of {len(hooks)}", value)
            return tuple(_each(zip(range(len(hooks)), value, hooks, strict=True)))

        return fixed
    item = next(iter(arguments))
    hook = converter.get_structure_hook(item)

    def items(value: Any, _: Any) -> Any:
        if type(value) is not list:  # a string is iterable too
            raise MismatchError("a list", value)
        return make(_each(((index, one, (item, hook)) for index, one in enumerate(value))))

    return items


def _object(annotation: Any, converter: cattrs.BaseConverter) -> Structure:
    kind = bare(annotation)
    _, item = typing.get_args(kind) or (str, Any)
    hook = converter.get_structure_hook(item)

    def values(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise MismatchError("an object", value)
        return dict(zip(value, _each(((key, one, (item, hook)) for key, one in value.items())), strict=True))

    return values


def _each(
    items: Iterable[tuple[int | str, Any, tuple[Any, Structure]]],
    wrong: Iterable[tuple[int | str, Exception]] = (),
) -> list[Any]:
    """Structure each item; what is wrong with any of them is raised together with what is wrong already."""
    results: list[Any] = []
    errors = [*wrong]
    for index, value, (annotation, hook) in items:
        try:
            results.append(hook(value, annotation))
        except Exception as error:  # noqa: BLE001  (a class's own converter may raise anything)
            errors.append((index, error))
    if errors:
        raise ItemsError(errors)
    return results


def _class(annotation: Any, converter: cattrs.BaseConverter) -> Structure:
    cls = bare(annotation)
    if typing.is_typeddict(cls):
        return _typed_dict(cls, converter)
    fields = fields_of(cls)
    optional = frozenset(field.name for field in fields if field.is_optional)
    # Of a name that is quoted inside of a type, as in `Optional["Node"]`, cattrs makes nothing.
    quoted: dict[str, Any] = {
        field.name: cattrs.override(struct_hook=_as(field.type, converter))
        for field in fields
        if _is_quoted(field.written)
    }
    fill = cattrs.gen.make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **quoted,
    )
    return lambda value, _: fill(_present(value, optional), cls)


def _as(kind: Any, converter: cattrs.BaseConverter) -> Structure:
    # It looks its hook up when it is called, which lets a class mention itself.
    return lambda value, _: converter.structure(value, kind)


def _is_quoted(kind: Any) -> bool:
    """Whether there is a name in it that has not been looked up; of a type that is a text itself cattrs sees to that."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return False
    inner = arguments[:1] if origin is Annotated else arguments
    return isinstance(kind, typing.ForwardRef) or any(
        isinstance(each, str) or _is_quoted(each) for each in inner
    )


def _present(value: Any, optional: frozenset[str]) -> dict[str, Any]:
    """The fields that are there. Strict schemas cannot leave one out: null stands for that."""
    if type(value) is not dict:
        raise MismatchError("an object", value)
    return {key: one for key, one in value.items() if one is not None or key not in optional}


def _typed_dict(cls: Any, converter: cattrs.BaseConverter) -> Structure:
    fields = fields_of(cls)
    kinds = {field.name: field.type for field in fields}
    absent = frozenset(field.name for field in fields if field.is_optional)

    def structure(value: Any, _: Any) -> Any:
        present = _present(value, absent)
        wrong: list[tuple[int | str, Exception]] = [
            *((key, FieldError("missing")) for key in kinds if key not in present and key not in absent),
            *((key, FieldError("there is no such field")) for key in present if key not in kinds),
        ]
        known = [key for key in present if key in kinds]
        # `converter.structure` looks its hook up when it is called, which lets a class mention itself.
        items = ((key, present[key], (kinds[key], converter.structure)) for key in known)
        return dict(zip(known, _each(items, wrong), strict=True))

    return structure


def _constraints(annotation: Any) -> tuple[Any, ...]:
    """The `msgspec.Meta` objects in ``Annotated[...]``."""
    msgspec = sys.modules.get("msgspec")  # where nobody has imported it, nobody has made one
    extras = annotation.__metadata__ if typing.get_origin(annotation) is typing.Annotated else ()
    return tuple(extra for extra in extras if msgspec is not None and isinstance(extra, msgspec.Meta))


def _constrained(annotation: Any, converter: cattrs.BaseConverter) -> Structure:
    """Check the constraints with msgspec, which wrote them into the schema."""
    import msgspec  # noqa: PLC0415  (of the extra)

    inner = typing.get_args(annotation)[0]
    hook = converter.get_structure_hook(inner)
    constraints = _constraints(annotation)

    def check(value: Any, _: Any) -> Any:
        result = hook(value, inner)
        if result is not None:
            try:
                msgspec.convert(result, Annotated[(type(result), *constraints)])
            except msgspec.ValidationError as error:
                raise MismatchError(str(error).removeprefix("Expected ").replace("`", ""), value) from None
        return result

    return check
