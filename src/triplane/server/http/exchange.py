"""One request over HTTP and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

import orjson

from triplane.server.errors import Refused

from . import sse
from .head import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from triplane.server.journal import Recorder
    from triplane.server.origin import Peer

    from .connection import HttpConnection
    from .head import Head

__all__ = ["Exchange"]

_JSON: Final = "application/json"
_FLUSH: Final = 32 * 1024


@final
class Exchange:
    """Reads one request's body and writes its answer, and has both recorded.

    Args:
        connection: where the request came from.
        head: the request's head.
        peer: whom it came from.
        recorder: notes what goes in and out; None if nobody wants to know.

    Attributes:
        connection: see above.
        head: see above.
        peer: see above.
        headers: what the answer carries beside its own.
    """

    def __init__(
        self,
        connection: HttpConnection,
        head: Head,
        *,
        peer: Peer,
        recorder: Recorder | None,
    ) -> None:
        self.connection = connection
        self.head = head
        self.peer = peer
        self.headers: dict[str, str] = {}
        self._recorder = recorder
        self._recorded = False
        self._records = bytearray()
        self._unrecorded: list[bytes] = []

    def off_the_record(self) -> None:
        """Have nothing of this recorded."""
        self._recorder = None

    async def json(self) -> dict[str, Any]:
        """Read the body, which has to be a JSON object; see `json_value`."""
        body = await self.json_value()
        if not isinstance(body, dict):
            raise BadRequest(400, "The body must be a JSON object.", code="invalid_type")
        return body

    async def json_value(self) -> Any:
        """Read the body, which has to be JSON; one that is empty stands for an empty object.

        Raises:
            BadRequest: it cannot be read, or is something else.
            ClientGone: the connection is lost.
        """
        headers = self.head.headers
        coding = headers.get(b"content-encoding", b"identity").lower()
        if coding != b"identity":
            raise BadRequest(
                415,
                "This server does not decompress bodies; send them without a Content-Encoding.",
                code="unsupported_content_encoding",
                headers={"Accept-Encoding": "identity"},
            )
        kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if not (kind == b"application/json" or kind.endswith(b"+json")):
            raise BadRequest(415, "The body must be JSON, with Content-Type: application/json.")
        content = await self.connection.body()
        self.record_request(content)
        try:
            return orjson.loads(content or b"{}")
        except orjson.JSONDecodeError as exc:
            raise BadRequest(400, f"The body is not valid JSON: {exc}.", code="invalid_json") from None

    async def reply(
        self, status: int, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole answer: an object as JSON, or bytes that are JSON or should be.

        Raises:
            BadRequest: the object cannot be encoded.
            ClientGone: the connection is lost.
        """
        try:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
        except orjson.JSONEncodeError:
            # What a client nested just deeply enough is a level deeper here.
            raise BadRequest(500, "The answer is nested too deeply to be encoded.") from None
        fields = {"Content-Type": _JSON, **self.headers, **(headers or {})}
        self.record_request()
        if self._recorder is not None:
            self._recorder.answer(status, fields, content)
        await self.connection.answer(status, content, fields)

    async def refuse(self, refused: Refused | BadRequest) -> None:
        """Send an error.

        Raises:
            ClientGone: the connection is lost.
        """
        bad = BadRequest.of(refused) if isinstance(refused, Refused) else refused
        await self.reply(bad.status, bad.body(), bad.headers)

    async def event(self, event: bytes) -> None:
        """Send a server-sent event, not necessarily at once: `flush` sends what is left.

        Raises:
            ClientGone: the connection is lost.
        """
        if self._recorder is not None:
            self._unrecorded.append(event)
        self._records += sse.encode(event)
        if len(self._records) >= _FLUSH:
            await self.flush()

    async def raw(self, records: bytes) -> None:
        """Send something that is no event, or only a part of one, where events are sent.

        Raises:
            ClientGone: the connection is lost.
        """
        self._records += records
        await self.flush()

    async def flush(self) -> None:
        """Send what has not been sent yet, and first of all the head, unless there is nothing to send.

        Raises:
            ClientGone: the connection is lost.
        """
        if not self._records:
            return
        await self._begin()
        records, self._records = bytes(self._records), bytearray()
        if self._recorder is not None:
            for event in self._unrecorded:
                self._recorder.event(event)
            self._unrecorded.clear()
        await self.connection.send(records)

    async def finish(self) -> None:
        """Send what is left of the events, and their end.

        Raises:
            ClientGone: the connection is lost.
        """
        await self.flush()
        await self._begin()
        await self.connection.end()

    async def _begin(self) -> None:
        if self.connection.answering:
            return
        fields = {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-cache",
            **self.headers,
        }
        if self._recorder is not None:
            self._recorder.answer(200, fields)
        await self.connection.begin(200, fields)

    def discard(self) -> None:
        """Forget what has not been sent yet."""
        self._records.clear()
        self._unrecorded.clear()

    def record_request(self, content: bytes = b"", *, upgrade: bool = False) -> None:
        """Note the request with this body, unless that has been done."""
        if not self._recorded and self._recorder is not None:
            self._recorded = True
            self._recorder.request(self.head, content, upgrade=upgrade)
