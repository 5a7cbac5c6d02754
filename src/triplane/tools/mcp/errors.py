"""How a call failed that an MCP server did answer."""

from __future__ import annotations


class McpToolError(Exception):
    """The server says that the call failed, or what it says cannot be understood.

    Attributes:
        code: The code of the protocol's error; None if the tool itself says so (``isError``).
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
