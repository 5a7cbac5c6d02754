"""The shapes in which servers of the Responses API are known to report errors. Pure.

A client has to understand all of them, and documented is only one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triplane.server.errors import error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .catalogue import ErrorEvent

__all__ = ["error_event"]


def error_event(
    fault: ErrorEvent, *, sequence_number: int, lane: str | None, response: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the event that `fault` asks for.

    Args:
        fault: what it says, and in which shape.
        sequence_number: its place among the events of its response.
        lane: the lane it belongs to; None is the default one, which is not named.
        response: the response as its first event had it; None if there was none yet.
    """
    error = error_body(code=fault.code, message=fault.message, param=fault.param, error_type=fault.error_type)
    event: dict[str, Any]
    match fault.shape:
        case "envelope":
            event = {"type": "error", "status": fault.status, "error": _with(error, headers=fault.headers)}
        case "no_status":
            event = {"type": "error", "sequence_number": sequence_number, "error": error}
        case "flat":
            flat = {"code": fault.code, "message": fault.message, "param": fault.param}
            event = {"type": "error", **flat, "sequence_number": sequence_number}
        case "status_code":
            event = {"type": "error", "status_code": fault.status, "error": error}
        case "headers":
            event = {"type": "error", "status": fault.status, "error": error, "headers": dict(fault.headers)}
        case "detail":
            event = {"type": "error", "status": fault.status, "error": {"detail": fault.message}}
        case "usage_limit":
            limit = {"type": "usage_limit_reached", "message": fault.message}
            # Fixed, so that the same run has the same bytes.
            event = {
                "type": "error",
                "status": fault.status,
                "error": {**limit, "plan_type": "plus", "resets_at": 4_102_444_800},
            }
        case "failed":
            failed = {"id": "resp_failed", "object": "response", "output": [], **(response or {})}
            failed |= {"status": "failed", "error": {"code": fault.code, "message": fault.message}}
            event = {"type": "response.failed", "sequence_number": sequence_number, "response": failed}
        case "response_error":
            event = {"type": "response.error", "sequence_number": sequence_number, "error": error}
        case "untyped":
            event = {"error": error}
    return event if lane is None else {**event, "stream_id": lane}


def _with(error: dict[str, Any], *, headers: Mapping[str, str]) -> dict[str, Any]:
    return {**error, "headers": dict(headers)} if headers else error
