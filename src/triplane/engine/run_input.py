"""What a caller may give as input, and the input items it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from triplane.core.errors import ConfigError

if TYPE_CHECKING:
    from triplane.core.records import Item

    RunInput = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def as_items(run_input: object) -> tuple[Item, ...]:
    """The input items for what a caller gave: copies, so that what is recorded stays as it was.

    Args:
        run_input: A user message as text, one input item, or several.

    Raises:
        ConfigError: It is none of these, or holds what JSON cannot.
    """
    if isinstance(run_input, str):
        items: list[Item] = [{"type": "message", "role": "user", "content": run_input}]
    elif isinstance(run_input, Mapping):
        items = [dict(run_input)]
    elif isinstance(run_input, Sequence) and not isinstance(run_input, (bytes, bytearray)) and run_input:
        for place, item in enumerate(run_input):
            if not isinstance(item, Mapping):
                raise ConfigError(f"item {place} of a run's input is {type(item).__name__}, not a dict")
        items = [dict(item) for item in run_input]
    else:
        given = "an empty list" if isinstance(run_input, Sequence) else type(run_input).__name__
        raise ConfigError(f"a run's input is text, one input item as a dict, or a list of them, not {given}")
    try:
        copies: list[Item] = orjson.loads(orjson.dumps(items))
    except TypeError as error:
        raise ConfigError(f"a run's input must be what JSON can hold: {error}") from None
    return tuple(copies)
