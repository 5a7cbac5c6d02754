"""What carries lanes: a WebSocket or requests over HTTP, as the endpoint says. To the pool both are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .connection import Connection

if TYPE_CHECKING:
    from triplane.core.options import EngineOptions

    from .endpoint import Endpoint
    from .http_connection import HttpConnection


def connection_to(endpoint: Endpoint, name: str, options: EngineOptions) -> Connection | HttpConnection:
    """A connection that is not open yet, by the endpoint's transport; ``"auto"`` has been decided by then."""
    if endpoint.transport == "http":
        from .http_connection import HttpConnection  # noqa: PLC0415  # its library is an extra

        return HttpConnection(name, endpoint, options)
    return Connection(name, endpoint, options)
