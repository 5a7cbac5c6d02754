"""The fields of an attrs class, a dataclass or a TypedDict that the model fills in: all three told alike."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import attrs

from .signature import NO_DEFAULT


@attrs.frozen
class ClassField:
    """One field.

    Attributes:
        name: Its name.
        type: Its annotation, all names in it looked up, `Annotated` included; `Required` and `NotRequired` are not.
        is_optional: Whether it may be left out.
        default: What it is then, or `NO_DEFAULT`, also where that is made anew each time.
        written: Its annotation as it was written.
    """

    name: str
    type: Any
    is_optional: bool
    default: Any
    written: Any


def fields_of(cls: Any) -> list[ClassField]:
    """The fields of `cls`, in their order. Those that its ``__init__`` does not take are none of them.

    Raises:
        NameError: A name in an annotation means nothing.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    if typing.is_typeddict(cls):
        return [
            ClassField(key, _without_marks(hint), _may_be_absent(cls, key, hint), NO_DEFAULT, hint)
            for key, hint in hints.items()
        ]
    if attrs.has(cls):
        return [
            ClassField(
                each.name,
                hints.get(each.name, each.type or Any),  # one may have been declared without
                each.default is not attrs.NOTHING,
                _value(each.default),
                each.type,
            )
            for each in attrs.fields(cls)
            if each.init
        ]
    return [
        ClassField(
            each.name,
            hints[each.name],
            each.default is not dataclasses.MISSING or each.default_factory is not dataclasses.MISSING,
            _value(each.default),
            each.type,
        )
        for each in dataclasses.fields(cls)
        if each.init
    ]


def _may_be_absent(cls: Any, key: str, hint: Any) -> bool:
    # Neither the class itself nor cattrs sees a NotRequired in annotations that are strings:
    # https://docs.python.org/3/library/typing.html#typing.TypedDict.__required_keys__
    mark = typing.get_origin(hint)
    return mark is typing.NotRequired or (key in cls.__optional_keys__ and mark is not typing.Required)


def _without_marks(annotation: Any) -> Any:
    while typing.get_origin(annotation) in (typing.Required, typing.NotRequired):
        (annotation,) = typing.get_args(annotation)
    return annotation


def _value(default: Any) -> Any:
    is_none = default is attrs.NOTHING or default is dataclasses.MISSING
    is_made = isinstance(default, attrs.Factory)  # type: ignore[arg-type]  # a class, which the annotations hide
    return NO_DEFAULT if is_none or is_made else default
