"""One text for one state: how folded states are compared, whatever order their dicts were built in."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs


def canonical_json(state: object) -> bytes:
    """JSON with sorted keys and no spaces, in ASCII: equal states give equal bytes, on every machine and version.

    Besides JSON it takes attrs instances, mappings and tuples. An attribute whose name begins with an underscore is no
    part of the state.

    Raises:
        TypeError: Something in it is none of these.
    """
    return json.dumps(state, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def _plain(value: object) -> object:
    cls = type(value)
    if attrs.has(cls):
        names = (field.name for field in attrs.fields(cls))
        return {name: getattr(value, name) for name in names if not name.startswith("_")}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{cls.__name__} has no canonical form")
