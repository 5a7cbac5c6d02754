"""What a session and the transport under it tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.client._transport import TransportStreams

# The longest message that is taken from a server, in bytes. What a model is given has limits of its own, far below.
MAX_MESSAGE = 16 * 1024 * 1024
# Of what is no message so many bytes are looked through for secrets; less is shown.
LOOKED_AT = 4_096


@final
class Wire:
    """One transport, from its opening to its end.

    Attributes:
        streams: What the session reads from and writes to; set by the transport.
        conceal: Takes secrets out of what a server says. To be used before it is cut or quoted: half a secret, or one
            with an escape in it, is not found again.
        grace: Seconds that the server gets to end by itself when the transport is left.
        ended: Set when nothing more can come; the session is to be left then.
        reason: Why, in words that follow "the server"; empty if it just ended.
        is_refused: Whether the latest request was refused in a way that no repetition changes.
        remark: What else may explain it, in words; empty for nothing.
        exit_status: How the server's process ended, if there is one, once the transport has been left.
        stderr: The end of what that process wrote to stderr.
    """

    streams: TransportStreams

    def __init__(self, grace: float, conceal: Callable[[str], str]) -> None:
        self.conceal = conceal
        self.grace = grace
        self.ended = trio.Event()
        self.reason = ""
        self.is_refused = False
        self.remark = ""
        self.exit_status: int | None = None
        self.stderr = bytearray()

    def end(self, reason: str = "") -> None:
        """Nothing more can come. The first reason counts. Not a checkpoint."""
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()
