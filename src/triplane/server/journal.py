"""What went over the server's connections, as far back as there is room. No I/O.

Recording appends a tuple and does nothing else: what it means is worked out when somebody looks at it. So a server that
nobody looks at pays next to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import attrs
import orjson

from .redaction import hide_fields, hide_headers, hide_target

if TYPE_CHECKING:
    from .http.head import Head

__all__ = ["Direction", "Journal", "JournalEntry", "Kind", "Recorder"]

Direction: TypeAlias = Literal["in", "out"]
Kind: TypeAlias = Literal["request", "answer", "upgrade", "message", "event", "close"]

_Record: TypeAlias = tuple[int, float, int, Direction, Kind, int, Mapping[str, Any], str | bytes]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

# What an entry costs beside its data, about.
_OVERHEAD: Final = 256


@final
@attrs.frozen(eq=False)
class JournalEntry:
    """Something that was received or sent.

    Attributes:
        number: of the entry, from 1; numbers are never used again.
        time: in seconds since the epoch, as the server's clock has it.
        connection: the number of the TCP connection, from 1.
        direction: "in" from the client, "out" to it.
        kind: "request" and "answer" are HTTP; "upgrade" is the request for a WebSocket or the answer to it; "message"
            is a whole message of a WebSocket; "event" is a server-sent event; "close" is the end of a
            WebSocket.
        size: bytes of the body, the message or the event.
        fields: what there is beside the data: of a request `method`, `target` and `headers`, of an answer `status` and
            `headers`, of a refused upgrade `fault`, of a close `code` and `reason`. Headers that hold secrets are left
            out.
    """

    number: int
    time: float
    connection: int
    direction: Direction
    kind: Kind
    size: int
    fields: Mapping[str, Any]
    _data: str | bytes = attrs.field(repr=False)
    _secret: str | None = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """The data as text; what is not UTF-8 is replaced."""
        text = self._data if isinstance(self._data, str) else self._data.decode(errors="replace")
        return text if self._secret is None else text.replace(self._secret, "[hidden]")

    @cached_property
    def json(self) -> Any:
        """The data, parsed; None if it is not JSON. The values of fields that hold secrets are hidden."""
        return self._parsed()

    def _parsed(self) -> Any:
        try:
            return hide_fields(orjson.loads(self._data), self._secret)
        except orjson.JSONDecodeError:
            return None

    def shown(self, *, parsed: bool = True) -> dict[str, Any]:
        """Return the entry as a JSON object, with the data as `json` if it is that and to be `parsed`, or as `text`."""
        shown: dict[str, Any] = {
            "number": self.number,
            "time": self.time,
            "connection": self.connection,
            "direction": self.direction,
            "kind": self.kind,
            "size": self.size,
            **self.fields,
        }
        if self._data:
            # Not `json`, which would be kept.
            value = self._parsed() if parsed else None
            shown |= {"text": self.text} if value is None else {"json": value}
        return shown


@final
class Journal:
    """The latest entries of a server; the oldest go when there is no more room.

    Args:
        max_size: how much room there is, in bytes; with 0 nothing is recorded.
        now: the time in seconds since the epoch.
        secret: what may not appear in it, the server's key.

    Attributes:
        dropped: how many entries have gone for want of room.
    """

    def __init__(self, max_size: int, now: Callable[[], float], *, secret: str | None = None) -> None:
        self._max_size = max_size
        self._now = now
        self._secret = secret
        self._records: deque[_Record] = deque()
        self._size = 0
        self._number = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} entries, {self.dropped} dropped>"

    @property
    def entries(self) -> Sequence[JournalEntry]:
        """All entries, oldest first."""
        return tuple(map(self._entry, self._records))

    def after(self, number: int, connection: int | None = None) -> Sequence[JournalEntry]:
        """Return the entries with higher numbers, of one connection or of all."""
        found: list[JournalEntry] = []
        for record in reversed(self._records):
            if record[0] <= number:
                break
            if connection is None or record[2] == connection:
                found.append(self._entry(record))
        found.reverse()
        return found

    def _entry(self, record: _Record) -> JournalEntry:
        return JournalEntry(*record, self._secret)

    def clear(self) -> None:
        """Forget all entries. Their numbers are not used again."""
        self._records.clear()
        self._size = 0
        self.dropped = 0

    def recorder(self, connection: int) -> Recorder | None:
        """Return what records this connection; None if nothing is recorded."""
        return Recorder(self, connection) if self._max_size else None

    def append(
        self,
        connection: int,
        direction: Direction,
        kind: Kind,
        data: str | bytes = b"",
        fields: Mapping[str, Any] = _NOTHING,
    ) -> None:
        """Append an entry."""
        self._number += 1
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        self._records.append((self._number, self._now(), connection, direction, kind, size, fields, data))
        self._size += size + _OVERHEAD
        while self._size > self._max_size:
            self._size -= self._records.popleft()[5] + _OVERHEAD
            self.dropped += 1


@final
@attrs.frozen
class Recorder:
    """Records what one connection receives and sends."""

    _journal: Journal
    _connection: int

    def request(self, head: Head, content: bytes, *, upgrade: bool = False) -> None:
        """Note a request with its body."""
        fields = {
            "method": head.method,
            "target": hide_target(head.target),
            "headers": hide_headers(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.items()
            ),
        }
        self._journal.append(self._connection, "in", "upgrade" if upgrade else "request", content, fields)

    def answer(
        self, status: int, headers: Mapping[str, str], content: bytes = b"", *, upgrade: bool = False
    ) -> None:
        """Note an answer with its body; one that goes on with events has none."""
        fields = {"status": status, "headers": hide_headers(headers.items())}
        self._journal.append(self._connection, "out", "upgrade" if upgrade else "answer", content, fields)

    def received(self, message: str | bytes) -> None:
        """Note a message of the client."""
        self._journal.append(self._connection, "in", "message", message)

    def sent(self, messages: Iterable[bytes]) -> None:
        """Note messages to the client."""
        for message in messages:
            self._journal.append(self._connection, "out", "message", message)

    def event(self, event: bytes) -> None:
        """Note a server-sent event."""
        self._journal.append(self._connection, "out", "event", event)

    def struck(self, fault: Mapping[str, Any]) -> None:
        """Note what happened instead of an upgrade."""
        self._journal.append(self._connection, "out", "upgrade", b"", {"fault": fault})

    def closed(self, direction: Direction, code: int | None, reason: str) -> None:
        """Note the end of the WebSocket, with the close frame that was received or sent; None for none."""
        self._journal.append(self._connection, direction, "close", b"", {"code": code, "reason": reason})
