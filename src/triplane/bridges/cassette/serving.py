"""A listening cassette: what recording and replaying have in common."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Address", "listening"]


@attrs.frozen
class Address:
    """Where clients find a cassette."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The WebSocket URL of the Responses endpoint."""
        return f"ws://{self._netloc}/v1/responses"

    @property
    def base_url(self) -> str:
        """The base URL for clients that take one, such as `openai.OpenAI(base_url=...)`."""
        return f"http://{self._netloc}/v1"

    @property
    def http_url(self) -> str:
        """The same as `base_url`."""
        return self.base_url

    @property
    def _netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@asynccontextmanager
async def listening(
    handle: Callable[[trio.SocketStream], Awaitable[object]], *, host: str, port: int
) -> AsyncIterator[Address]:
    """Give each connection to `handle` for as long as the block lasts; what is open at its end is cancelled.

    What the block raises comes out as it is, and not in a group.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    for listener in listeners[1:]:
        listener.socket.close()  # with port 0 they would be on other ports
    address = listeners[0].socket.getsockname()
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, listeners[:1])
        try:
            yield Address(address[0], address[1])
        except Exception as error:  # noqa: BLE001 - raised below
            raised = error
        nursery.cancel_scope.cancel(reason="the cassette is over")
    if raised is not None:
        raise raised
