"""What clients asked and what they were answered, read off the journal. Pure.

Over a WebSocket nothing says which request an event answers. They are matched as a client has to match them: by lane,
and on a lane by order.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, final

import attrs

if TYPE_CHECKING:
    from .journal import JournalEntry

__all__ = ["ClientRequest", "client_requests"]

_TERMINAL: Final = ("response.completed", "response.failed", "response.incomplete")
# What ends the answer to a request, of whatever kind it is.
_LAST: Final = (
    *_TERMINAL,
    "error",
    "response.steer.failed",
    "response.inject.created",
    "response.inject.failed",
)
_CREATE: Final = "response.create"
_LANE: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")


@final
@attrs.define(eq=False)
class ClientRequest:
    """One message of a client over a WebSocket, or one POST over HTTP.

    Attributes:
        number: of its entry in the journal; requests are numbered in the order in which they came, with gaps.
        connection: the number of the TCP connection, from 1.
        transport: how it came.
        kind: the message's `type`, such as "response.create", which a POST to `/v1/responses` is called too; of other
            POSTs such as "POST /v1/responses/compact"; "" of a message that has no type.
        json: the message or body, parsed; None if it is not JSON.
        text: the message or body as it came.
        headers: of the request, or of the upgrade of its WebSocket, by their names in lower case and without those
            that hold secrets.
        lane: its `stream_id`; None is the default lane.
        status: of the answer over HTTP.
        events: what answered it: the events of its response, or the error, in order. Empty for an answer over HTTP
            that is not a stream of events.
        response: the response object as it was sent last, if there was one.
        error: the error object that it was answered with, if it was.
        ended: whether its answer is complete.
    """

    number: int
    connection: int
    transport: Literal["websocket", "http"]
    kind: str
    json: Any
    text: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    lane: str | None = None
    status: int | None = None
    events: list[dict[str, Any]] = attrs.field(factory=list, repr=False)
    response: dict[str, Any] | None = attrs.field(default=None, repr=False)
    error: dict[str, Any] | None = None
    ended: bool = False

    @property
    def response_id(self) -> str | None:
        """The id of the response that answered it, if one did."""
        return None if self.response is None else self.response.get("id")

    def answer(self, event: dict[str, Any]) -> None:
        """Take an event that answers it; for `client_requests` alone."""
        self.events.append(event)
        if isinstance(response := event.get("response"), dict):
            self.response = response
            if isinstance(error := response.get("error"), dict):
                self.error = error
        kind = event.get("type")
        if kind in ("error", "response.steer.failed", "response.inject.failed"):
            # The error is an object over a WebSocket, and flat over HTTP.
            error = event.get("error")
            self.error = error if isinstance(error, dict) else event
        self.ended = self.ended or kind in _LAST


def client_requests(entries: Iterable[JournalEntry]) -> list[ClientRequest]:
    """Return the requests among `entries`, with what answered them."""
    requests: list[ClientRequest] = []
    connections: dict[int, _Http | _WebSocket] = {}
    for entry in entries:
        connection = connections.get(entry.connection)
        if entry.kind == "upgrade" and entry.direction == "in":
            connections[entry.connection] = _WebSocket(entry.fields["headers"])
        elif connection is None:
            # The upgrade may not be in the journal any more.
            connection = connections[entry.connection] = (
                _WebSocket({}) if entry.kind == "message" else _Http()
            )
        if connection is not None and entry.kind not in ("close", "upgrade"):
            request = connection.take(entry)
            if request is not None:
                requests.append(request)
    return requests


class _Http:
    def __init__(self) -> None:
        self._current: ClientRequest | None = None

    def take(self, entry: JournalEntry) -> ClientRequest | None:
        """Take the next entry of the connection. Return the request that it is, if it is one."""
        if entry.kind == "request":
            self._current = None
            if entry.fields["method"] == "POST":
                path = entry.fields["target"].partition("?")[0]
                kind = _CREATE if path.removeprefix("/v1") == "/responses" else f"POST {path}"
                self._current = ClientRequest(
                    entry.number,
                    entry.connection,
                    "http",
                    kind,
                    entry.json,
                    entry.text,
                    entry.fields["headers"],
                )
            return self._current
        request = self._current
        if request is None:
            return None
        content = entry.json
        if entry.kind == "answer":
            request.status = entry.fields["status"]
            streams = entry.fields["headers"].get("content-type", "").startswith("text/event-stream")
            request.ended = not streams
            if isinstance(content, dict):
                if content.get("object") == "response":
                    request.response = content
                error = content.get("error")
                request.error = error if isinstance(error, dict) else None
        elif isinstance(content, dict):
            request.answer(content)
        return None


class _WebSocket:
    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        # By lane: creates without an answer, and what the events of the lane answer now.
        self._waiting: defaultdict[str | None, deque[ClientRequest]] = defaultdict(deque)
        self._running: dict[str | None, list[ClientRequest]] = {}
        # Steers and injects by the response they are about, and what is about nothing.
        self._others: defaultdict[str | None, list[ClientRequest]] = defaultdict(list)

    def take(self, entry: JournalEntry) -> ClientRequest | None:
        """Take the next entry of the connection. Return the request that it is, if it is one."""
        if entry.direction == "in":
            return self._receive(entry)
        event = entry.json
        if isinstance(event, dict):
            for request in self._addressees(event, str(event.get("type"))):
                request.answer(event)
        return None

    def _receive(self, entry: JournalEntry) -> ClientRequest:
        message = entry.json
        fields: dict[str, Any] = message if isinstance(message, dict) else {}
        kind, lane = fields.get("type"), fields.get("stream_id")
        request = ClientRequest(
            entry.number,
            entry.connection,
            "websocket",
            kind if isinstance(kind, str) else "",
            message,
            entry.text,
            self._headers,
            lane=lane if isinstance(lane, str) else None,
        )
        if kind == _CREATE and (lane is None or (isinstance(lane, str) and _LANE.fullmatch(lane))):
            self._waiting[request.lane].append(request)
        else:
            about = fields.get("previous_response_id", fields.get("response_id"))
            self._others[about if isinstance(about, str) else None].append(request)
        return request

    def _addressees(self, event: dict[str, Any], kind: str) -> Iterable[ClientRequest]:
        lane = event.get("stream_id")
        if kind.startswith("response.steer."):
            steer = event.get("steer", {})
            return self._of_other("response.steer", steer.get("previous_response_id"), steer.get("id"))
        if kind.startswith("response.inject."):
            return self._of_other("response.inject", event.get("response_id"), None)
        if kind == "error":
            return self._of_error(event, lane)
        if kind == "response.created":
            self._running[lane] = self._of_created(event.get("response") or {}, lane)
        requests = self._running.get(lane, [])
        if kind in _TERMINAL:
            self._running.pop(lane, None)
        return requests

    def _of_other(self, kind: str, about: str | None, steer_id: str | None) -> list[ClientRequest]:
        unanswered: list[ClientRequest] = []
        for request in self._others[about]:
            if request.kind != kind:
                continue
            if not request.events:
                unanswered.append(request)
            elif steer_id is not None and request.events[0].get("steer", {}).get("id") == steer_id:
                return [request]
        return unanswered[:1]

    def _of_created(self, response: dict[str, Any], lane: str | None) -> list[ClientRequest]:
        parent, waiting = response.get("previous_response_id"), self._waiting[lane]
        if waiting and (waiting[0].json.get("previous_response_id") == parent or not self._others[parent]):
            return [waiting.popleft()]
        # It succeeds a response that was steered, and answers the steers.
        return [request for request in self._others[parent] if request.kind == "response.steer"]

    def _of_error(self, event: dict[str, Any], lane: str | None) -> list[ClientRequest]:
        error = event.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        waiting = self._waiting[lane]
        if lane in self._running and not (waiting and code == "concurrent_request"):
            return self._running.pop(lane)
        # What is no request at all, or of no possible lane, is answered without a lane and before its turn.
        odd = [] if lane is not None else [request for request in self._others[None] if not request.ended]
        if odd:
            return odd[:1]
        if waiting:
            return [waiting.pop() if code == "concurrent_request" else waiting.popleft()]
        return []
