"""How this server says no: the error object of the API, and the exception that becomes one."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["OptionError", "Refused", "error_body"]


class OptionError(ValueError):
    """An option of the server has a value it cannot have."""


def error_body(*, code: str | None, message: str, param: str | None, error_type: str) -> dict[str, Any]:
    """Return the `error` object that both an `error` event and an HTTP error answer carry."""
    return {"type": error_type, "code": code, "message": message, "param": param}


@attrs.define
class Refused(Exception):  # noqa: N818 - an answer, not an accident; never leaves this package
    """A request is turned down before a response exists; the socket lives on."""

    message: str
    code: str | None = None
    param: str | None = None
    status: int = 400
    error_type: str = "invalid_request_error"

    def __str__(self) -> str:
        return self.message

    def event(self) -> dict[str, Any]:
        """Return the `error` event that tells the client."""
        error = error_body(code=self.code, message=self.message, param=self.param, error_type=self.error_type)
        return {"type": "error", "status": self.status, "error": error}
