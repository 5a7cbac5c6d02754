"""What the fields of a fault may hold: checks that say which field is wrong, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, cast

import attrs
import orjson
from attrs import validators

__all__ = [
    "BYTES",
    "CLOSE_CODES",
    "fits_a_close_frame",
    "flag",
    "headers",
    "json_object",
    "not_empty",
    "optional",
    "seconds",
    "strings",
    "text",
    "to_types",
    "whole",
]

# What wsproto, and RFC 6455, let an endpoint send.
CLOSE_CODES: Final = (*range(1000, 1004), *range(1007, 1015), *range(3000, 5000))

# A field that JSON writes as a string, or as {"base64": …} where it is no text.
BYTES: Final = {"bytes": True}

_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def whole(least: int, most: int | None = None) -> _Validator:
    """Check for an integer that is at least `least`, and at most `most`."""

    def check(_instance: object, attribute: attrs.Attribute[int], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{attribute.name} must be a whole number, not {type(value).__name__}")
        if value < least:
            raise ValueError(f"{attribute.name} must be at least {least}, not {value}")
        if most is not None and value > most:
            raise ValueError(f"{attribute.name} must be at most {most}, not {value}")

    return check


def seconds(_instance: object, attribute: attrs.Attribute[float], value: object) -> None:
    """Check for a finite time that is not negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{attribute.name} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{attribute.name} must be seconds from 0, not {value}")


def fits_a_close_frame(_instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    """Check for a reason that a close frame has room for."""
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str, not {type(value).__name__}")
    if len(value.encode()) > 123:
        raise ValueError(f"{attribute.name} is longer than the 123 bytes of a close frame")


def headers(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check for names and values that cannot end the line they stand in."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{attribute.name} must be a mapping, not {type(value).__name__}")
    for part in (*value.keys(), *value.values()):
        if not isinstance(part, str):
            raise TypeError(f"{attribute.name} must be strings, not {part!r}")
        if not part.isascii() or not part.isprintable():
            raise ValueError(f"{attribute.name} must be printable ASCII, not {part!r}")


def json_object(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check for an object that can be sent."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{attribute.name} must be a JSON object, not {type(value).__name__}")
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as exc:
        raise ValueError(f"{attribute.name} must be JSON: {exc}") from None


def text(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that this is a str that JSON can hold, which one with a lone surrogate is not."""
    if not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{attribute.name} must be text that UTF-8 can hold, not {value!r}") from None


def not_empty(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Check that this is a str with something in it."""
    text(instance, attribute, value)
    if not value:
        raise ValueError(f"{attribute.name} must not be empty")


def to_types(types: Iterable[str] | None) -> tuple[str, ...] | None:
    """Make a tuple of a list of event types; what is no list is left to the check."""
    no_list = isinstance(types, str) or not isinstance(types, Iterable)
    return cast("tuple[str, ...] | None", types) if no_list else tuple(types or ())


strings: Final = validators.deep_iterable(text, validators.instance_of(tuple))
flag: Final = validators.instance_of(bool)


def optional(validator: _Validator) -> _Validator:
    """Let None pass as well."""
    return validators.optional(validator)
