"""Steps by their names, as plain data: for script files and for the `directive` model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, get_args

import attrs

from triplane.server.faults.as_json import fault_from_json

from . import Step, Strike

__all__ = ["STEPS", "step_of"]


def _name(kind: type[Any]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


STEPS: Final[Mapping[str, type[Any]]] = {_name(kind): kind for kind in get_args(Step)}
"""The classes of steps by their names: `FunctionCall` is "function_call"."""

# What is a keyword of Python.
_ALIASES: Final = {"async": "asynchronous"}


def step_of(name: str, value: Any = None) -> Step:
    """Return the step that is called `name`.

    Args:
        name: one of `STEPS`.
        value: a mapping of its fields; or its first field alone, if that is not a mapping; or None for none.

    Raises:
        ValueError: there is no such step, or it has no such field, or one with another value.
    """
    kind = STEPS.get(name)
    if kind is None:
        raise ValueError(f"no step {name!r}; there are {', '.join(sorted(STEPS))}")
    if kind is Strike:
        value = {"fault": fault_from_json(value)}
    fields = attrs.fields_dict(kind)
    first = next(iter(fields))
    match value:
        case None:
            given: dict[str, Any] = {}
        case Mapping():
            given = {_ALIASES.get(str(key), str(key)): each for key, each in value.items()}
        case _:
            given = {first: value}
    if unknown := [key for key in given if key not in fields]:
        raise ValueError(f"{name} has no field {unknown[0]!r}; it has {', '.join(fields)}")
    missing = [key for key, field in fields.items() if field.default is attrs.NOTHING and key not in given]
    if missing:
        raise ValueError(f"{name} needs a value for {missing[0]!r}")
    try:
        step: Step = kind(**given)
    except (TypeError, ValueError) as exc:
        # attrs puts the message first and the particulars of its validator after it.
        raise ValueError(f"{name}: {exc.args[0]}") from exc
    return step
