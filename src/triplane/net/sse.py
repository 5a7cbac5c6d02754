"""Server-sent events from bytes, wherever the network cut them. Pure.

What a stream of events is, is the WHATWG HTML standard's section 9.2.6. Of an event only its data is kept: the type
that the Responses API puts into ``event:`` is in the data as well, and ids are for browsers that reconnect.
"""

from __future__ import annotations

from typing import Final, final

_BOM: Final = b"\xef\xbb\xbf"
# Not of the standard: what some endpoints send after the last event (OpenAI's chat API, and servers modelled on it).
_DONE: Final = "[DONE]"


class EventTooLarge(ValueError):  # noqa: N818  # it says what happened
    """An event is larger than allowed."""


@final
class EventStreamParser:
    """Finds the events in a stream of bytes.

    Args:
        max_size: How many bytes the data of one event, or one line, may have.
    """

    def __init__(self, *, max_size: int) -> None:
        self._max_size = max_size
        # The line that has not ended yet.
        self._line = bytearray()
        # The data of the event that has not ended yet, and how much it is.
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes and return the data of the events that are complete now.

        Events without data, which servers send to keep a connection alive, are left out, and so is ``[DONE]``.

        Raises:
            EventTooLarge: See `max_size`.
            UnicodeDecodeError: The data is not UTF-8.
        """
        if not self._begun:
            chunk = self._without_bom(chunk)
        if not chunk:
            return []
        if self._after_cr:
            # The CR has ended its line already; the LF of a CRLF that was cut apart there ends no other.
            chunk = chunk.removeprefix(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        events: list[str] = []
        for line in chunk.splitlines(keepends=True):
            content = line.rstrip(b"\r\n")
            is_whole = len(content) < len(line)
            if self._line or not is_whole:
                self._line += content
                if len(self._line) > self._max_size:
                    raise EventTooLarge
                if not is_whole:
                    continue
                content = bytes(self._line)
                self._line.clear()
            if (event := self._take(content)) is not None:
                events.append(event)
        return events

    def _without_bom(self, chunk: bytes) -> bytes:
        self._line += chunk
        beginning = bytes(self._line)
        if len(beginning) < len(_BOM) and _BOM.startswith(beginning):
            return b""
        self._begun = True
        self._line.clear()
        return beginning.removeprefix(_BOM)

    def _take(self, line: bytes) -> str | None:
        """Take one line. Returns the data of the event that it ends, if it does."""
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            self._size += len(value) + 1
            if self._size > self._max_size:
                raise EventTooLarge
            self._data.append(value)
        return None

    def _dispatch(self) -> str | None:
        text = b"\n".join(self._data).decode()
        self._data.clear()
        self._size = 0
        return text if text and text != _DONE else None
