"""Which lane each frame of a shared connection belongs to, and how much may wait for each.

All lanes of a shared connection have names, and so does every event of a response made on one of them. An ``error``
without a name is the connection's. What belongs to no lane is dropped and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import attrs

from triplane.protocol import (
    DecodeError,
    ErrorDetail,
    UnknownEvent,
    address_of,
    decode_event,
    normalise_error,
)

from .errors import ProtocolViolation
from .unasked import judge_unasked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .options import SlowLane

ERROR_TYPES: Final = frozenset({"error", "response.error"})
TERMINAL_TYPES: Final = ERROR_TYPES | {"response.completed", "response.incomplete", "response.failed"}
# After these the server takes nothing more on the connection, or no new name.
_RETIRING_CODES: Final = frozenset({"websocket_connection_limit_reached", "websocket_stream_limit_reached"})
_VAGUE_CODES: Final = frozenset({None, "invalid_request_error", "unknown_parameter", "unsupported_parameter"})
MailboxFault = Literal["overflow", "stray"]


@attrs.define(eq=False)
class Mailbox:
    """What has come for one lane and was not taken yet.

    Attributes:
        stream_id: The lane's name.
        asked: Whether an answer is expected on it.
        begun: Whether some of that answer has come.
        frames: What waits.
        size: Its bytes.
        fault: Why the lane can no longer be used: ``"overflow"``, more came than may wait; ``"stray"``, an event came
            though nothing was asked, which would be taken for the answer to the next request.
    """

    stream_id: str
    asked: bool = False
    begun: bool = False
    frames: list[str] = attrs.Factory(list)
    size: int = 0
    fault: MailboxFault | None = None


class Router:
    """Sorts the frames of one connection. No I/O.

    Args:
        slow_lane: What happens when more than `lane_limit` waits for one lane: ``"spill"``, it may use what the others
            leave of `limit`; ``"fail"``, it is given up.
        lane_limit: Bytes that may wait for one lane, where that is a limit.
        limit: Bytes that may wait for all lanes together. Beyond it the lane with most of them is given up.

    Attributes:
        dropped: Frames that were given to nobody.
        size: The bytes that wait.
        retire: Whether the server has said that it takes nothing new on the connection.
        lacks_lanes: Whether it has answered without any name, so that it has no lanes.
    """

    def __init__(self, *, slow_lane: SlowLane, lane_limit: int, limit: int) -> None:
        self._lane_limit = lane_limit if slow_lane == "fail" else limit
        self._limit = limit
        self._mailboxes: dict[str, Mailbox] = {}
        self._unfinished: set[str] = set()
        self._echoed = False
        self.dropped = 0
        self.size = 0
        self.retire = False
        self.lacks_lanes = False

    @property
    def unfinished(self) -> int:
        """Lanes that were given up in mid-response and whose response the server has not ended yet."""
        return len(self._unfinished)

    def open(self, stream_id: str, *, asked: bool = False) -> Mailbox:
        """Begin to keep what comes for a lane; `asked` if some of an answer has come already."""
        mailbox = self._mailboxes[stream_id] = Mailbox(stream_id, asked=asked, begun=asked)
        return mailbox

    def close(self, mailbox: Mailbox) -> None:
        """Drop what has come and what will come for a lane."""
        if self._mailboxes.pop(mailbox.stream_id, None) is None:
            return
        if mailbox.asked:
            self._unfinished.add(mailbox.stream_id)
        self._empty(mailbox)

    def ask(self, mailbox: Mailbox) -> None:
        """An answer is expected from now on."""
        mailbox.asked, mailbox.begun = True, False

    def settle(self, mailbox: Mailbox) -> None:
        """Nothing is expected any more. What is left, after the end of the answer, is dropped."""
        mailbox.asked = False
        self._empty(mailbox)

    def take(self, mailbox: Mailbox) -> tuple[str, ...]:
        """All that waits for a lane, in order."""
        frames = tuple(mailbox.frames)
        mailbox.frames.clear()
        self.size -= mailbox.size
        mailbox.size = 0
        return frames

    def route(self, frame: str) -> Sequence[Mailbox]:
        """Take one frame in, and return the mailboxes in which something has changed.

        Raises:
            ProtocolViolation: It cannot be told whose it is, so none can be trusted to be complete.
        """
        try:
            address = address_of(frame)
        except DecodeError as error:
            raise _violation(error.reason, error.excerpt) from None
        if address.stream_id is None:
            return self._route_untagged(frame, address.type)
        self._echoed = True
        mailbox = self._mailboxes.get(address.stream_id)
        if mailbox is None:
            self.dropped += 1
            if address.type in TERMINAL_TYPES:
                self._unfinished.discard(address.stream_id)
            return ()
        if not mailbox.asked:
            self.dropped += 1
            match judge_unasked(frame):
                case "violation":
                    mailbox.fault = "stray"
                    return (mailbox,)
                case "retire":
                    self.retire = True
            return ()
        if address.type in ERROR_TYPES and _detail(frame).code in _RETIRING_CODES:
            self.retire = True
        return self._put(mailbox, frame)

    def _route_untagged(self, frame: str, kind: str) -> Sequence[Mailbox]:
        if kind in ERROR_TYPES:
            changed = [
                each for mailbox in self._audience(_detail(frame)) for each in self._put(mailbox, frame)
            ]
            self.dropped += not changed
            return changed
        if not kind:
            raise _violation("missing_type", "")
        if not self._echoed and _is_known(frame):
            self.lacks_lanes = True
            raise ProtocolViolation(
                f"the server answered a request with a stream_id by {kind} without one: it has no lanes;"
                ' use Endpoint(lanes="auto") or "none"'
            )
        self.dropped += 1
        return ()

    def _audience(self, detail: ErrorDetail) -> list[Mailbox]:
        """Who hears of an error without a name."""
        in_flight = [mailbox for mailbox in self._mailboxes.values() if mailbox.asked]
        is_about_a_request = detail.status is not None and 400 <= detail.status < 500
        if is_about_a_request and detail.code not in _RETIRING_CODES:
            # It did not begin, whichever it was. Responses that are being made are not concerned.
            return [mailbox for mailbox in in_flight if not mailbox.begun]
        self.retire = True
        return in_flight

    def _put(self, mailbox: Mailbox, frame: str) -> Sequence[Mailbox]:
        size = len(frame) if frame.isascii() else len(frame.encode())
        mailbox.frames.append(frame)
        mailbox.begun = True
        mailbox.size += size
        self.size += size
        if self.size <= self._limit and mailbox.size <= self._lane_limit:
            return (mailbox,)
        largest = mailbox
        if mailbox.size <= self._lane_limit:
            largest = max(self._mailboxes.values(), key=lambda each: each.size)
        # One message may be larger than all limits: that is what `max_message_size` is for.
        if len(largest.frames) > 1:
            largest.fault = "overflow"
            self._empty(largest)
        return (mailbox,) if largest is mailbox else (mailbox, largest)

    def _empty(self, mailbox: Mailbox) -> None:
        self.dropped += len(mailbox.frames)
        self.take(mailbox)


def what_it_tells(frame: str) -> Literal["named", "unnamed", "refused"] | None:
    """What the answer to the first request with a ``stream_id`` tells of a server.

    Returns:
        ``"named"``: it has lanes. ``"unnamed"``: it ignores the name. ``"refused"``: it does not take a request with a
        name. None: nothing.
    """
    try:
        address = address_of(frame)
    except DecodeError:
        return None
    if address.stream_id is not None:
        return "named"
    if address.type in ERROR_TYPES:
        detail = _detail(frame)
        if "stream_id" in (detail.param or "") or "stream_id" in (detail.code or ""):
            return "refused"
        # A server with lanes names the lane in a complaint about a request. One that complains without a name, and
        # without saying about what, may mean the name itself: the model has not run, so asking again is harmless.
        is_vague = detail.param is None and detail.code in _VAGUE_CODES
        return "refused" if is_vague and detail.status in (400, 422) else None
    return "unnamed" if _is_known(frame) else None


def _is_known(frame: str) -> bool:
    """Whether a frame can be taken for a part of an answer: it is no keepalive, and no vendor's own event."""
    try:
        return not isinstance(decode_event(frame), UnknownEvent)
    except DecodeError:
        return True


def _detail(frame: str) -> ErrorDetail:
    try:
        return normalise_error(decode_event(frame))
    except (DecodeError, ValueError):
        return ErrorDetail()


def _violation(reason: str, excerpt: str) -> ProtocolViolation:
    return ProtocolViolation(f"the server sent a frame that is not an event ({reason})", excerpt=excerpt)
