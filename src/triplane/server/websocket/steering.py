"""Steering: user input for a response that is being made. No I/O.

A steer is first accepted, which means that the server owns its input, and later committed: by the `response.created`
of the successor that has it as input. The successor is made by the server once the response has ended; where the
response ended in calls of the client's tools, by the client's own continuation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from triplane.server.conversation import Item
from triplane.server.errors import error_body
from triplane.server.requests import user_message

if TYPE_CHECKING:
    from triplane.server.requests import Create

__all__ = [
    "Steer",
    "SteerFailed",
    "check_steerable",
    "parse_steer",
    "steer_failure",
]

_FIELDS: Final = frozenset({"type", "previous_response_id", "input"})
_MESSAGE_FIELDS: Final = frozenset({"type", "role", "content"})
# The parts a message may have, and the fields of which each needs one.
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "input_text": ("text",),
    "input_image": ("image_url", "file_id"),
    "input_file": ("file_id", "file_data", "file_url"),
}


@attrs.frozen
class SteerFailed(Exception):  # noqa: N818 - an answer, not an accident; never leaves this package
    """A steer comes to nothing."""

    code: str
    message: str


@final
@attrs.frozen
class Steer:
    """One steer.

    Attributes:
        id: what the events about it call it.
        response_id: the response it steers.
        input: as the client sent it.
        items: the same as input items.
    """

    id: str
    response_id: str
    input: object
    items: Sequence[Item]

    def shown(self) -> dict[str, Any]:
        """Return the `steer` object of the events about it."""
        return {"id": self.id, "previous_response_id": self.response_id}


def parse_steer(frame: Mapping[str, Any], *, id: str) -> Steer:  # noqa: A002 - as the wire has it
    """Check a `response.steer`, which is to have this id.

    Raises:
        SteerFailed: it is not one that can be accepted by any response.
    """
    extra = sorted(frame.keys() - _FIELDS)
    if extra:
        raise _invalid(f"Unknown field '{extra[0][:100]}'.")
    response_id = frame.get("previous_response_id")
    if not isinstance(response_id, str):
        raise _invalid("'previous_response_id' must be the id of the response to steer.")
    value = frame.get("input")
    return Steer(id, response_id, value, _items(value))


def _items(value: object) -> list[Item]:
    if isinstance(value, str):
        return [user_message(value)]
    if not isinstance(value, list) or not value:
        raise _invalid("'input' must be a string or a non-empty array of user messages.")
    for item in value:
        _check_message(item)
    return [{"type": "message", **item} for item in value]


def _check_message(item: object) -> None:
    if not isinstance(item, dict) or item.get("type", "message") != "message" or item.get("role") != "user":
        raise _invalid("Only messages with the role 'user' can steer a response.")
    extra = sorted(item.keys() - _MESSAGE_FIELDS)
    if extra:
        raise _invalid(f"Unknown field '{extra[0][:100]}' of a message.")
    content = item.get("content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise _invalid("The 'content' of a message must be a string or an array.")
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        fields = _PARTS.get(kind) if isinstance(kind, str) else None
        if fields is None or not any(isinstance(part.get(field), str) for field in fields):
            raise _invalid(f"A part of a message must be one of {', '.join(_PARTS)}, with what it needs.")


def _invalid(message: str) -> SteerFailed:
    return SteerFailed("invalid_input", message)


def check_steerable(create: Create, models: Collection[str]) -> None:
    """Check that a response to `create` can be steered.

    Args:
        create: its request.
        models: patterns of the names of the models that can be.

    Raises:
        SteerFailed: it cannot.
    """
    reason = None
    if not any(fnmatchcase(create.model, pattern) for pattern in models):
        reason = f"the model '{create.model}'"
    elif create.conversation_id is not None:
        reason = "responses that belong to a conversation"
    elif create.compacts:
        reason = "responses with automatic compaction"
    elif create.multi_agent:
        reason = "multi-agent responses"
    if reason is not None:
        raise SteerFailed("steering_not_supported", f"Steering is not supported for {reason}.")


def steer_failure(failed: SteerFailed, *, response_id: object, input: object, id: str = "") -> dict[str, Any]:  # noqa: A002 - as the wire has it
    """Return the fields of the `response.steer.failed` that hands `input` back.

    Args:
        failed: why.
        response_id: what was to be steered.
        input: of the steer, as the client sent it.
        id: of the steer, if it was accepted.
    """
    error = error_body(
        code=failed.code, message=failed.message, param=None, error_type="invalid_request_error"
    )
    del error["param"]
    steer = {"previous_response_id": response_id if isinstance(response_id, str) else "", "input": input}
    return {"steer": {"id": id, **steer} if id else steer, "error": error}
