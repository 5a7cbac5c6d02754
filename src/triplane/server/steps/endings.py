"""Waits, endings other than the usual one, and whatever has no step of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs
from attrs.validators import ge, in_, optional

from . import _checks as checks

__all__ = ["AnyEvent", "AnyItem", "Fail", "Incomplete", "StreamError", "Wait"]


@final
@attrs.frozen
class Wait:
    """Send nothing for `seconds`; what was said before is on its way to the client by then."""

    seconds: float = attrs.field(validator=ge(0))


@final
@attrs.frozen
class Incomplete:
    """End here with `response.incomplete`; a message that is open is cut off."""

    reason: Literal["max_output_tokens", "max_messages", "content_filter"] = attrs.field(
        default="content_filter",
        validator=in_(("max_output_tokens", "max_messages", "content_filter")),
    )


@final
@attrs.frozen
class Fail:
    """End here with `response.failed`."""

    code: str = attrs.field(default="server_error", validator=checks.text)
    message: str = attrs.field(default="The model failed, as it was told to.", validator=checks.text)


@final
@attrs.frozen
class StreamError:
    """End here with an `error` event, as a service does whose stream broke. No event of the response follows."""

    code: str | None = attrs.field(default=None, validator=optional(checks.text))
    message: str = attrs.field(
        default="An error occurred while processing the request.", validator=checks.text
    )
    error_type: str = attrs.field(default="server_error", kw_only=True)
    param: str | None = attrs.field(default=None, kw_only=True, validator=optional(checks.text))


@final
@attrs.frozen
class AnyItem:
    """An output item as it stands, as `response.output_item.added` and `done`; an id is made if it has none."""

    item: Mapping[str, Any] = attrs.field(validator=checks.json_object)


@final
@attrs.frozen
class AnyEvent:
    """An event of this type with these fields, as they stand; its `sequence_number` is filled in."""

    type: str = attrs.field(validator=checks.name)
    payload: Mapping[str, Any] = attrs.field(factory=dict, validator=checks.json_object)
