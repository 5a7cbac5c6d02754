"""How the fields of steps are checked: what is wrong with a step is told where it is made, and not when it is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import attrs

__all__ = [
    "count",
    "json_object",
    "json_objects",
    "name",
    "text",
    "texts",
    "to_json_text",
    "to_objects",
    "to_texts",
]


def text(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Any string that JSON can hold."""
    # A lone surrogate is legal in a Python string and not in JSON. Refusing it here makes it the model's
    # error, at the step that holds it, and not an encoding error of the whole event later on.
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str, not {type(value).__name__}")
    value.encode()


def name(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Such a string that is not empty."""
    text(instance, attribute, value)
    if not value:
        raise ValueError(f"{attribute.name} is empty")


def count(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be an int, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"{attribute.name} is negative")


def json_object(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A mapping that is an object in JSON."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{attribute.name} must be a mapping, not {type(value).__name__}")
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        raise ValueError(f"{attribute.name} is not JSON: {exc}") from None


def texts(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A tuple of strings."""
    for each in _tuple(attribute, value):
        text(instance, attribute, each)


def json_objects(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """A tuple of mappings that are objects in JSON."""
    for each in _tuple(attribute, value):
        json_object(instance, attribute, each)


def _tuple(attribute: attrs.Attribute[Any], value: object) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise TypeError(f"{attribute.name} must be a sequence, not {type(value).__name__}")
    return value


# What a frozen step holds cannot be changed. What cannot be converted is left to the validator.


def to_texts(value: Sequence[str]) -> tuple[str, ...]:
    """Make a tuple of a sequence that is not itself a string."""
    converted: tuple[str, ...] = _to_tuple(value)
    return converted


def to_objects(value: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Make a tuple of a sequence."""
    converted: tuple[Mapping[str, Any], ...] = _to_tuple(value)
    return converted


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else value


def to_json_text(value: str | Mapping[str, Any]) -> str:
    """Encode a mapping."""
    return orjson.dumps(value).decode() if isinstance(value, Mapping) else value
