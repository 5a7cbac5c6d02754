"""By which transport a request goes, where that is left open: WebSocket if it can, HTTP if it must.

A WebSocket is what everything else is built for, so HTTP is never more than what is done meanwhile: because the server
has no WebSocket mode, until it is asked again, or because one request is too large, for that request. What merely went
wrong in passing, such as a lost connection or a server that is busy, is no reason.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from .errors import ConnectFailed, ConnectionLost

Transport = Literal["websocket", "http"]
TransportSetting = Literal["websocket", "http", "auto"]
TransportReason = Literal["configured", "websocket_unsupported", "request_too_large", "websocket_again"]


@attrs.define
class TransportMemory:
    """What was learned about one endpoint, by all who use it.

    Attributes:
        http_until: Until when nobody asks for a WebSocket, because there was none; ``-inf`` when there is no such fact.
        refused_size: The smallest request that the server closed a WebSocket for, in bytes; ``inf`` when it never did.
    """

    http_until: float = -math.inf
    refused_size: float = math.inf

    def choose(self, now: float) -> Transport:
        """What to try first."""
        return "http" if now < self.http_until else "websocket"

    def note_failure(self, failure: ConnectFailed, now: float, retry_interval: float) -> bool:
        """Take note that no WebSocket could be opened. Returns whether HTTP is to be used instead.

        It is when the server has no WebSocket mode. It stays so when a later attempt fails for whatever reason: HTTP
        was good enough until then.

        Args:
            failure: Why.
            now: The time.
            retry_interval: How long to leave WebSockets alone.
        """
        if not failure.is_unsupported and self.http_until == -math.inf:
            return False
        self.http_until = now + retry_interval
        return True

    def note_open(self) -> None:
        """Take note that there are WebSockets."""
        self.http_until = -math.inf

    def note_refused(self, size: int) -> None:
        """Take note that a WebSocket was closed because a request was too large."""
        self.refused_size = min(self.refused_size, size)

    def fits(self, size: int, limit: int) -> bool:
        """Whether a request may go over a WebSocket.

        Args:
            size: Its bytes.
            limit: How many are known to be too many for any WebSocket.
        """
        return size <= limit and size < self.refused_size


def is_too_large(lost: ConnectionLost) -> bool:
    """Whether the server closed a WebSocket because of the size of what it was sent (RFC 6455, code 1009)."""
    return lost.close.code == 1009 and lost.close.by == "peer"
