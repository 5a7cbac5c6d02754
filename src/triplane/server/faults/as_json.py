"""Faults as JSON objects, such as {"fault": "drop", "after_events": 3}, for those who are not Python."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import attrs

from triplane.server.errors import OptionError

from .catalogue import KINDS, Fault

__all__ = ["InvalidFault", "fault_from_json", "fault_to_json"]

_NAMES: Final = {kind: name for name, kind in KINDS.items()}


class InvalidFault(OptionError):  # noqa: N818 - it says which fault
    """A JSON object that is no fault.

    Attributes:
        param: the field at fault; "fault" if it is not known which fault is meant.
    """

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message)
        self.param = param


def fault_from_json(data: object) -> Fault:
    """Return the fault that `data` describes.

    Its "fault" is a name of `KINDS`; its other fields are the fault's attributes. Bytes are a string, which is encoded
    as UTF-8, or {"base64": "…"}.

    Raises:
        InvalidFault: there is no such fault, or it has no such field, or one with another value.
    """
    if not isinstance(data, Mapping):
        raise InvalidFault("A fault must be a JSON object.", param="fault")
    kind = KINDS.get(name) if isinstance(name := data.get("fault"), str) else None
    if kind is None:
        raise InvalidFault(
            f"There is no fault {name!r}. There are: {', '.join(sorted(KINDS))}.", param="fault"
        )
    fields = attrs.fields_dict(kind)
    arguments = {}
    for key, value in data.items():
        if key == "fault":
            continue
        if key not in fields:
            known = ", ".join(fields)
            raise InvalidFault(f"The fault {name!r} has no field {key!r}. It has: {known}.", param=str(key))
        arguments[key] = _to_bytes(key, value) if fields[key].metadata.get("bytes") else value
    for key, field in fields.items():
        if field.default is attrs.NOTHING and key not in arguments:
            raise InvalidFault(f"The fault {name!r} needs the field {key!r}.", param=key)
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as exc:
        # attrs puts the message first and the particulars of its validator after it.
        message = str(exc.args[0])
        param = next((key for key in fields if f"'{key}'" in message or message.startswith(key)), "fault")
        raise InvalidFault(message, param=param) from None


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Return what `fault_from_json` makes `fault` of: its name and the attributes that are not as by default."""
    data: dict[str, Any] = {"fault": _NAMES[type(fault)]}
    for field in attrs.fields(type(fault)):
        value = getattr(fault, field.name)
        default: Any = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, which the annotations hide
            default = default.factory()
        if value != default:
            data[field.name] = _plain(value)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _to_bytes(key: str, value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, Mapping) and isinstance(encoded := value.get("base64"), str):
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise InvalidFault(f"{key} is not base64.", param=key) from None
    return value
