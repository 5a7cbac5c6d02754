"""How large a frame may be, and how deep and long its parts."""

from typing import Any, Final

import attrs

from .errors import DecodeError
from .redaction import excerpt


@attrs.frozen
class Limits:
    """How much of a server is believed. A frame beyond a limit is a `DecodeError`."""

    max_bytes: int = attrs.field(default=64 * 2**20, validator=attrs.validators.gt(0))
    """The size of a frame in bytes of UTF-8.

    A final event repeats the whole output, with its images, so it is large.
    """
    max_depth: int = attrs.field(default=200, validator=attrs.validators.gt(0))
    """How deep objects and arrays may be nested.

    The JSON writer stops at 254, and what came must go into the log.
    """
    max_items: int = attrs.field(default=100_000, validator=attrs.validators.gt(0))
    """How many elements an array may have."""

    # A character takes at most four bytes, an object or array at least two, an element at least two.
    harmless: int = attrs.field(
        init=False,
        repr=False,
        eq=False,
        default=attrs.Factory(
            lambda self: min(self.max_bytes // 4, 2 * self.max_depth, 2 * self.max_items), takes_self=True
        ),
    )
    """A frame of at most that many characters cannot break a limit."""


DEFAULT_LIMITS: Final = Limits()


def check_size(data: str | bytes, limits: Limits) -> None:
    """Raise if the frame has too many bytes."""
    size = len(data)
    if size <= limits.max_bytes and isinstance(data, str) and 4 * size > limits.max_bytes:
        size = len(data.encode("utf-8", "surrogatepass"))
    if size > limits.max_bytes:
        raise DecodeError(
            "too_large", f"frame of {size} bytes, the limit is {limits.max_bytes}", excerpt(data)
        )


def check_shape(data: str | bytes, raw: Any, limits: Limits) -> None:
    """Raise if the frame is nested too deep or has too long an array.

    Most frames have too few brackets and commas to be either, or are too short; only for the others it takes a walk.
    """
    is_short = len(data) <= 2 * limits.max_items
    if isinstance(data, str):
        openers, commas = data.count("[") + data.count("{"), 0 if is_short else data.count(",")
    else:
        openers, commas = data.count(b"[") + data.count(b"{"), 0 if is_short else data.count(b",")
    if openers <= limits.max_depth and commas < limits.max_items:
        return
    level = [raw]
    for _ in range(limits.max_depth):
        if any(len(c) > limits.max_items for c in level if type(c) is list):
            raise DecodeError(
                "too_many_items", f"array of more than {limits.max_items} elements", excerpt(data)
            )
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise DecodeError("too_deep", f"frame is nested deeper than {limits.max_depth}", excerpt(data))
