"""The file: JSON Lines, one line for each thing that happened, in the order in which it happened. No sockets.

The first line is the header, `{"triplane_cassette": 1, "upstream": ..., "recorded": ...}`. Every other line has `at`
(seconds since the recording began), `channel` (the number of the HTTP exchange or WebSocket it belongs to, from 1) and
`kind`:

| kind | fields |
|---|---|
| `asked` | `method`, `target`, `headers`, `websocket`; content, if the request had a body |
| `answered` | `status`, `headers` |
| `sent` | `by` ("client" or "server") and content: a WebSocket message, a server-sent event or a body |
| `ended` | `by` ("client", "server" or "network"); `code` and `reason` of a WebSocket's close frame |

Content is `json`, `sse` with `json`, `text` or `base64`. Unknown fields are for later versions to add and are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import attrs
import orjson

from .content import Content, from_tape
from .errors import CassetteError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Answered", "Asked", "Channel", "Ended", "Sent", "Tape", "TapeLine", "TapeWriter", "read_tape"]

VERSION: Final = 1


@attrs.frozen
class Asked:
    """A client's request, or its upgrade."""

    method: str
    target: str
    headers: Mapping[str, str]
    websocket: bool
    content: Content | None = None


@attrs.frozen
class Answered:
    """The head of the answer; 101 for an upgrade that was accepted."""

    status: int
    headers: Mapping[str, str]


@attrs.frozen
class Sent:
    """Something that went over an open channel."""

    by: Literal["client", "server"]
    content: Content


@attrs.frozen
class Ended:
    """The end of a channel."""

    by: Literal["client", "server", "network"]
    code: int | None = None
    reason: str = ""


What: TypeAlias = Asked | Answered | Sent | Ended


@attrs.frozen
class TapeLine:
    """One line of a cassette."""

    at: float
    channel: int
    what: What


@final
@attrs.define(eq=False)
class Channel:
    """One HTTP exchange or one WebSocket, put together from its lines.

    Attributes:
        answered: None if there was no answer, as when the client went away before it.
        sent: what went over it, with the time of each.
        ended: None if the recording stopped first.
    """

    number: int
    began: float
    asked: Asked
    answered_at: float = 0.0
    answered: Answered | None = None
    sent: list[tuple[float, Sent]] = attrs.Factory(list)
    ended_at: float = 0.0
    ended: Ended | None = None

    @property
    def is_open(self) -> bool:
        """Whether this is a WebSocket whose upgrade was accepted."""
        return self.asked.websocket and self.answered is not None and self.answered.status == 101


@final
@attrs.frozen
class Tape:
    """A cassette in memory."""

    upstream: str
    recorded: str
    channels: tuple[Channel, ...]


@final
class TapeWriter:
    """Writes a cassette line by line, to a file beside it that takes its place once it is whole.

    A context manager: a block that raises leaves the cassette that was there, if there was one.
    """

    def __init__(self, path: Path, *, upstream: str, recorded: str) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._header = {"triplane_cassette": VERSION, "upstream": upstream, "recorded": recorded}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> TapeWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("wb")
        self._write(self._header)
        return self

    def write(self, line: TapeLine) -> None:
        """Append one line."""
        self._write({"at": round(line.at, 6), "channel": line.channel, **_fields(line.what)})

    def _write(self, fields: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)


def read_tape(path: Path) -> Tape:
    """Read a cassette.

    Raises:
        CassetteError: there is none, or it is not one that this version can read; the line is named.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CassetteError(f"there is no cassette at {path} ({error.strerror}); record it first") from error
    header = _object(path, 1, lines[0] if lines else b"")
    if header.get("triplane_cassette") != VERSION:
        raise CassetteError(
            f"{path} is not a cassette of version {VERSION}: its first line says"
            f" {header.get('triplane_cassette')!r}; record it anew"
        )
    channels: dict[int, Channel] = {}
    for number, line in _parsed(path, lines):
        _add(channels, line, f"{path}, line {number}")
    return Tape(str(header.get("upstream", "")), str(header.get("recorded", "")), tuple(channels.values()))


def _parsed(path: Path, lines: list[bytes]) -> Iterator[tuple[int, TapeLine]]:
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = _object(path, number, line)
        try:
            yield number, TapeLine(float(fields["at"]), int(fields["channel"]), _what(fields))
        except KeyError as error:
            raise CassetteError(f"{path}, line {number}: {error.args[0]!r} is missing") from error
        except (TypeError, ValueError) as error:
            raise CassetteError(f"{path}, line {number}: {error}") from error


def _object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CassetteError(f"{path}, line {number} is not JSON: {error}; record it anew") from None
    if not isinstance(fields, dict):
        raise CassetteError(f"{path}, line {number} is not a JSON object; record it anew")
    return fields


def _fields(what: What) -> dict[str, Any]:
    match what:
        case Asked(method, target, headers, websocket, content):
            fields = {
                "kind": "asked",
                "method": method,
                "target": target,
                "websocket": websocket,
                "headers": headers,
            }
            return fields | (content.to_tape() if content is not None else {})
        case Answered(status, headers):
            return {"kind": "answered", "status": status, "headers": headers}
        case Sent(by, content):
            return {"kind": "sent", "by": by, **content.to_tape()}
        case Ended(by, code, reason):
            return {"kind": "ended", "by": by, "code": code, "reason": reason}


def _what(fields: Mapping[str, Any]) -> What:
    content = from_tape(fields)
    match fields["kind"]:
        case "asked":
            headers = dict(fields["headers"])
            return Asked(fields["method"], fields["target"], headers, fields["websocket"] is True, content)
        case "answered":
            return Answered(int(fields["status"]), dict(fields["headers"]))
        case "sent":
            if content is None:
                raise ValueError("nothing was sent")
            return Sent("client" if fields["by"] == "client" else "server", content)
        case "ended":
            return Ended(fields["by"], fields.get("code"), fields.get("reason") or "")
        case kind:
            raise ValueError(f"a line of kind {kind!r} is unknown here")


def _add(channels: dict[int, Channel], line: TapeLine, where: str) -> None:
    channel = channels.get(line.channel)
    if isinstance(line.what, Asked):
        if channel is not None:
            raise CassetteError(f"{where}: channel {line.channel} began before")
        channels[line.channel] = Channel(line.channel, line.at, line.what)
        return
    if channel is None:
        raise CassetteError(f"{where}: channel {line.channel} has not begun")
    match line.what:
        case Answered():
            channel.answered_at, channel.answered = line.at, line.what
        case Sent():
            channel.sent.append((line.at, line.what))
        case Ended():
            channel.ended_at, channel.ended = line.at, line.what
