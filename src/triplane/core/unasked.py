"""What to make of a message that comes while nobody has asked for anything, or too late for whoever had asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from triplane.protocol import DecodeError, ErrorEvent, UnknownEvent, decode_event, normalise_error

if TYPE_CHECKING:
    from collections.abc import Collection

# They say whose they are, so they cannot be taken for a part of the next answer.
_NAME_THEIR_RESPONSE: Final = frozenset(
    {
        "response.queued",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
        "response.failed",
    }
)


def judge_unasked(frame: str) -> Literal["harmless", "retire", "violation"]:
    """What a message means that nobody asked for.

    Returns:
        ``"harmless"``: a keepalive, a vendor's own event, or the end of a response once more. ``"retire"``: the
        server takes nothing new on this connection. ``"violation"``: it could be taken for an answer to the next
        request.
    """
    try:
        event = decode_event(frame)
    except DecodeError:
        return "violation"
    if isinstance(event, UnknownEvent):
        return "harmless"
    if isinstance(event, ErrorEvent):
        code = normalise_error(event).code
        return "retire" if code == "websocket_connection_limit_reached" else "violation"
    response = getattr(event, "raw_response", None) if event.type in _NAME_THEIR_RESPONSE else None
    return "harmless" if response is not None and isinstance(response.get("id"), str) else "violation"


def repeats_what_ended(frame: str, ended: Collection[str]) -> bool:
    """Whether a message tells once more of one of these responses, which have ended, and not of the next one.

    A response that uses the id of one of them again says so by beginning with ``response.created``.
    """
    if not any(response_id in frame for response_id in ended):
        return False
    try:
        event = decode_event(frame)
    except DecodeError:
        return False
    response = getattr(event, "raw_response", None) if event.type in _NAME_THEIR_RESPONSE else None
    identity = None if response is None else response.get("id")
    return isinstance(identity, str) and identity in ended
