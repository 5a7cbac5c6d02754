"""What a WebSocket library has to do for a connection, and which library does it.

Everything above this seam sees text, errors and the way a WebSocket ended; which library frames the bytes is a
setting of the endpoint. Both wires pass the same tests.
"""

from __future__ import annotations

import functools
import importlib.metadata
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Literal

from triplane.core.errors import ConfigError, ConnectionLost, ProtocolViolation

if TYPE_CHECKING:
    import trio

    from triplane.core.errors import CloseInfo
    from triplane.core.options import EngineOptions

    from .endpoint import Endpoint
    from .guarded_stream import GuardedStream
    from .mask import Mask

# After how many seconds without a reader the wire reads for itself. Servers wait some 20 seconds for a pong.
PATIENCE: Final = 1.0
# For how many seconds the last frame, a close, may be written, and what the peer said last be read.
LAST_WORDS: Final = 1.0
# Bytes to read at once; what Trio reads from a socket by default.
MOST_AT_ONCE: Final = 65_536

WireName = Literal["trio-websocket", "websockets"]

# From which version on, and up to which, `websockets` has the sans-I/O client that the wire drives.
_WEBSOCKETS = (15, 18)


class Wire(ABC):
    """A client WebSocket over a stream of ours. `run` is its life; the other methods are for while it runs.

    One task at a time sends, and one at a time receives; `ping`, `aclose` and the wire's own answers to pings may
    happen beside them. Whatever the state of whoever holds the wire, the peer's pings are answered within
    a second: somebody reads also while nobody receives, until `max_unread` bytes wait.

    Args:
        mask: Takes our credentials out of what the peer says of what went wrong.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask: Final = mask

    @abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Shake hands, report started, and return once the WebSocket is over, however it ended.

        Raises:
            ConnectFailed: The upgrade was refused, or the stream ended before it was answered.
        """

    @abstractmethod
    async def send(self, message: str | bytes) -> None:
        """Send one message: text for a str, binary for bytes. Cancelling it breaks the stream for good.

        Raises:
            ConnectionLost: The WebSocket is over.
        """

    @abstractmethod
    async def receive_any(self) -> tuple[str | bytes, ...]:
        """The next messages, at least one: a str for text, bytes for binary. Cancelling it loses nothing.

        Raises:
            ConnectionLost: The WebSocket is over and everything received has been read.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Send a ping and wait for its pong, for ever if need be.

        Raises:
            ConnectionLost: The WebSocket is over.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the WebSocket with a closing handshake, for as long as the caller's deadline allows."""

    @abstractmethod
    def close_info(self) -> CloseInfo:
        """How it ended, as far as that is known now."""

    async def receive(self) -> tuple[str, ...]:
        """The next messages as text, at least one. Cancelling it loses nothing.

        Raises:
            ConnectionLost: The WebSocket is over and everything received has been read.
            ProtocolViolation: A binary message is not UTF-8 text.
        """
        return tuple([self.mask.frame(_as_text(message)) for message in await self.receive_any()])

    def lost(self) -> ConnectionLost:
        """The error for whoever still expected something."""
        close = self.close_info()
        words = f": {close.reason}" if close.reason else ""
        advice = ""
        if close.code == 1009:
            advice = (
                "; raise max_message_size to accept it"
                if close.by == "us"
                else "; the request is too large for it"
            )
        return ConnectionLost(f"the connection was closed with code {close.code}{words}{advice}", close=close)


def _as_text(message: str | bytes) -> str:
    if isinstance(message, str):
        return message
    # OpenAI sends text; some servers send the same JSON in binary messages.
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("the server sent a binary message that is not text") from None


def make_wire(stream: GuardedStream, endpoint: Endpoint, resource: str, options: EngineOptions) -> Wire:
    """The endpoint's wire over a stream. Imports its library, and no other.

    Args:
        stream: Where the bytes go; the wire closes it at its end.
        endpoint: Where and as whom, and by which library.
        resource: Path and query of the upgrade request.
        options: `max_message_size` and `max_unread`.
    """
    if endpoint.wire == "websockets":
        from .wire_websockets import WebsocketsWire  # noqa: PLC0415  # an extra

        return WebsocketsWire(stream, endpoint, resource, options)
    from .wire_trio_websocket import TrioWebSocketWire  # noqa: PLC0415  # it costs time; not everybody needs it

    return TrioWebSocketWire(stream, endpoint, resource, options)


@functools.cache
def require_library(wire: WireName) -> None:
    """Make sure that a wire's library is there, without importing it.

    Raises:
        ConfigError: It is not, or in a version that will not do.
    """
    if wire == "trio-websocket":
        return
    least, below = _WEBSOCKETS
    try:
        version = importlib.metadata.version("websockets")
    except importlib.metadata.PackageNotFoundError:
        found = "it is not installed"
    else:
        if least <= int(version.partition(".")[0]) < below:
            return
        found = f"{version} is installed"
    raise ConfigError(
        f'wire="websockets" needs the package websockets, version {least} to {below - 1}, and {found}:'
        " pip install 'triplane[fast]'"
    )
