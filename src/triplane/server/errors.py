"""How this server says no: the error object of the API, and the exceptions that become one.

The messages, codes, statuses and parameters of the documented refusals stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs

__all__ = [
    "OptionError",
    "Refused",
    "busy",
    "connection_limit_reached",
    "error_body",
    "invalid_stream_id",
    "mutually_exclusive",
    "previous_response_not_found",
    "stream_limit_reached",
]


class OptionError(ValueError):
    """An option of the server has a value it cannot have."""


def error_body(*, code: str | None, message: str, param: str | None, error_type: str) -> dict[str, Any]:
    """Return the `error` object that both an `error` event and an HTTP error answer carry."""
    return {"type": error_type, "code": code, "message": message, "param": param}


@attrs.define
class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """A request is turned down before a response exists; the socket lives on.

    A model may raise it, up to its first step.

    Attributes:
        message: for people.
        code: for programs, where the API documents one.
        param: the field at fault.
        status: as in HTTP.
        error_type: the kind of error.
        headers: what an HTTP answer would carry as headers, such as `{"retry-after": "1"}`.
        of_connection: whether it concerns the connection rather than a request; it then belongs to no lane.
    """

    message: str
    code: str | None = None
    param: str | None = None
    status: int = 400
    error_type: str = "invalid_request_error"
    headers: Mapping[str, str] | None = None
    of_connection: bool = False

    def __str__(self) -> str:
        return self.message

    def event(self, *, stream_id: str | None = None, untyped: Collection[str] = ()) -> dict[str, Any]:
        """Return the `error` event that tells the client.

        Args:
            stream_id: the lane of the request, if it has a name.
            untyped: codes whose error object has no `type`; see `Dialect`.
        """
        error = error_body(code=self.code, message=self.message, param=self.param, error_type=self.error_type)
        if self.code in untyped:
            del error["type"]
        if self.headers:
            error["headers"] = dict(self.headers)
        event: dict[str, Any] = {"type": "error", "status": self.status, "error": error}
        if stream_id is not None and not self.of_connection:
            event["stream_id"] = stream_id
        return event


def previous_response_not_found(response_id: str) -> Refused:
    """The id is neither in the connection's cache nor stored."""
    return Refused(
        f"Previous response with id '{response_id}' not found.",
        code="previous_response_not_found",
        param="previous_response_id",
    )


def invalid_stream_id() -> Refused:
    """The name of the lane cannot be one, so the error cannot carry it."""
    return Refused(
        "Invalid 'stream_id': it must be non-empty, have at most 256 characters, and consist of letters, digits, "
        "'_', '-' and '.'.",
        code="invalid_stream_id",
        param="stream_id",
        of_connection=True,
    )


def stream_limit_reached(limit: int) -> Refused:
    """One name of a lane too many; the error carries it."""
    return Refused(
        f"A websocket connection can have at most {limit} distinct stream ids. Use one of them again, or another "
        "connection.",
        code="websocket_stream_limit_reached",
        param="stream_id",
    )


def connection_limit_reached(age: float) -> Refused:
    """The connection is `age` seconds old, and that is the limit."""
    return Refused(
        f"Responses websocket connection limit reached ({age / 60:g} minutes). Create a new websocket connection to "
        "continue.",
        code="websocket_connection_limit_reached",
        of_connection=True,
    )


def mutually_exclusive(one: str, other: str) -> Refused:
    """A request has two fields that cannot both be there."""
    return Refused(
        f"Mutually exclusive parameters: '{one}' and '{other}'. Provide only one of them.",
        code="mutually_exclusive_parameters",
        param=one,
    )


def busy() -> Refused:
    """A response is in flight, and this server does not queue."""
    return Refused(
        "A response is already in progress on this connection.", code="concurrent_request", status=409
    )
