"""What a replay answers next: the cassette as a set of channels that clients claim and play to their end. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from .content import Content, Json
from .drift import differences

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .tape import Channel, Tape

__all__ = ["Drifted", "Playback", "error_body", "first_message", "lane_of"]


class Drifted(Exception):  # noqa: N818 - an answer, not an accident; never leaves this package
    """The client asks for something that was not recorded."""


def lane_of(content: Content) -> str | None:
    """Return the lane that a WebSocket message belongs to; None for the default one."""
    lane = (
        content.value.get("stream_id")
        if isinstance(content, Json) and isinstance(content.value, dict)
        else None
    )
    return lane if isinstance(lane, str) else None


@final
class Playback:
    """Which parts of a cassette were played.

    HTTP exchanges may be asked for in any order, since programs that run several at once have none. A WebSocket that
    is refused is claimed in the order of the recording; one that is accepted is claimed with its first message.
    """

    def __init__(self, tape: Tape, *, ignore: Collection[str] = ()) -> None:
        self._left = list(tape.channels)
        self._ignore = ignore
        self._aside: list[Channel] = []
        self._open: dict[int, tuple[Channel, int]] = {}
        self.problems: list[str] = []

    def drift(self, problem: str) -> Drifted:
        """Note that the client differs, and return the exception that says so."""
        self.problems.append(problem)
        return Drifted(problem)

    def claim_exchange(self, method: str, target: str, content: Content | None) -> Channel:
        """Claim the recorded exchange that begins with this request.

        Raises:
            Drifted: there is none left.
        """
        where = f"{method} {target}"
        rest = [channel for channel in self._left if not channel.asked.websocket]
        alike = [
            channel for channel in rest if (channel.asked.method, channel.asked.target) == (method, target)
        ]
        for channel in alike:
            if not self.differences(channel.asked.content, content):
                self._left.remove(channel)
                return channel
        if alike:
            found = "; ".join(self.differences(alike[0].asked.content, content))
            raise self.drift(f"{where} differs from channel {alike[0].number}: {found}")
        raise self.drift(f"{where} was not recorded, or not that often; {_next(rest)}")

    def claim_upgrade(self, target: str) -> Channel:
        """Return the next recorded upgrade to this target; it is claimed only if it was refused.

        One that was accepted is set aside until `release`.

        Raises:
            Drifted: there is none left.
        """
        alike = [channel for channel in self._websockets(target) if channel not in self._aside]
        if not alike:
            raise self.drift(f"a WebSocket to {target} was not recorded, or not that often")
        if alike[0].is_open:
            self._aside.append(alike[0])
        else:
            self._left.remove(alike[0])
        return alike[0]

    def release(self, channel: Channel) -> None:
        """Let any client claim a channel that was set aside."""
        self._aside.remove(channel)

    def claim_websocket(self, target: str, first: Content | None) -> Channel:
        """Claim the accepted WebSocket that begins with this message; None is for one that says nothing.

        Raises:
            Drifted: there is none left.
        """
        alike = [channel for channel in self._websockets(target) if channel.is_open]
        for channel in alike:
            begins = first_message(channel)
            if (begins is None) == (first is None) and not self.differences(begins, first):
                break
        else:
            if not alike:
                raise self.drift(f"a WebSocket to {target} was not recorded, or not that often")
            # Its first message will be compared once more, and the differences told.
            channel = alike[0]
        self._left.remove(channel)
        self._open[channel.number] = (channel, len(channel.sent))
        return channel

    def _websockets(self, target: str) -> list[Channel]:
        return [
            channel for channel in self._left if channel.asked.websocket and channel.asked.target == target
        ]

    def played(self, channel: Channel) -> None:
        """Note that one more step of an open WebSocket was played."""
        _, left = self._open[channel.number]
        self._open[channel.number] = (channel, left - 1)

    def differences(self, recorded: Content | None, seen: Content | None) -> list[str]:
        """Compare a request with a recorded one, apart from what is ignored."""
        return differences(recorded, seen, self._ignore)

    def unused(self) -> list[str]:
        """Describe what of the cassette was not played yet."""
        waiting = [f"{_title(channel)} was not asked for" for channel in self._left]
        begun = [
            f"{left} of the {len(channel.sent)} messages of {_title(channel)} were not played"
            for channel, left in self._open.values()
            if left
        ]
        return begun + waiting


def first_message(channel: Channel) -> Content | None:
    """Return the first message of the client on a WebSocket."""
    return next((sent.content for _, sent in channel.sent if sent.by == "client"), None)


def _title(channel: Channel) -> str:
    what = "the WebSocket to" if channel.asked.websocket else channel.asked.method
    return f"{what} {channel.asked.target} (channel {channel.number})"


def _next(channels: Sequence[Channel]) -> str:
    return f"the next one recorded is {_title(channels[0])}" if channels else "no exchange is left"


def error_body(problem: str) -> dict[str, Any]:
    """Return the error object that tells a client of a drift."""
    return {"type": "invalid_request_error", "code": "cassette_drift", "message": problem, "param": None}
