"""A WebSocket client for these tests: raw wsproto on any stream, so that it shares nothing with the server."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, get_args

import attrs
import orjson
import trio
import wsproto
from openai.types.beta import BetaResponsesServerEvent
from openai.types.responses import ResponsesServerEvent
from pydantic import BaseModel, TypeAdapter
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")


class Rejected(Exception):  # noqa: N818
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status, body)
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self) -> dict[str, Any]:
        return orjson.loads(self.body)["error"]


class Closed(Exception):  # noqa: N818
    """The WebSocket ended; `code` is None when there was no close frame."""

    def __init__(self, code: int | None, reason: str | None = None) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


@cache
def event_models() -> dict[str, type[BaseModel]]:
    """Every server event of the openai package by its type; the beta's where there is no other."""
    models = {}
    for events in (BetaResponsesServerEvent, ResponsesServerEvent):
        (union, *_) = get_args(events)
        for model in get_args(union):
            (name,) = get_args(model.model_fields["type"].annotation)
            models[name] = model
    return models


@cache
def adapter(event_type: str) -> TypeAdapter[BaseModel]:
    return TypeAdapter(event_models()[event_type])


def validate(event: dict[str, Any]) -> dict[str, Any]:
    """Check one event against openai's own model of it, strictly."""
    adapter(event["type"]).validate_python(event, strict=True)
    return event


@attrs.define
class Turn:
    """The events that answered one request."""

    events: list[dict[str, Any]]

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.events]

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def lane(self) -> str | None:
        """The lane that every event names."""
        (lane,) = {event.get("stream_id") for event in self.events}
        return lane

    @property
    def response(self) -> dict[str, Any]:
        return self.last["response"]

    @property
    def id(self) -> str:
        return self.response["id"]

    @property
    def error(self) -> dict[str, Any]:
        assert self.last["type"] == "error", self.last
        return {**self.last["error"], "status": self.last["status"]}

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [item for item in self.response["output"] if item["type"] == "function_call"]

    @property
    def text(self) -> str:
        messages = [item for item in self.response["output"] if item["type"] == "message"]
        return "".join(part["text"] for message in messages for part in message["content"])

    def outputs(self, *outputs: Any) -> list[dict[str, Any]]:
        """The items that answer this turn's calls."""
        return [
            {"type": "function_call_output", "call_id": call["call_id"], "output": output}
            for call, output in zip(self.calls, outputs, strict=True)
        ]


class Client:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self.pongs: list[bytes] = []
        self.reads = 0
        self.validates = True

    async def connect(self, target: str = "/v1/responses", **headers: str) -> Client:
        extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self.stream.send_all(
            self.ws.send(Request(host="localhost", target=target, extra_headers=extra))
        )
        event = await self._next()
        if isinstance(event, RejectConnection):
            body = b""
            while isinstance(data := await self._next(), RejectData):
                body += data.data
                if data.body_finished:
                    break
            fields = {name.decode().lower(): value.decode() for name, value in event.headers}
            raise Rejected(event.status_code, fields, body)
        assert isinstance(event, AcceptConnection), event
        return self

    async def _next(self) -> wsproto.events.Event:
        while True:
            for event in self.ws.events():
                match event:
                    case Pong(payload=payload):
                        self.pongs.append(bytes(payload))
                    case Ping():
                        await self.stream.send_all(self.ws.send(event.response()))
                    case _:
                        return event
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise Closed(None)
            self.reads += 1
            self.ws.receive_data(bytes(data))

    async def send(self, message: Any) -> None:
        """Send a dict as JSON, a str or bytes as they are."""
        if isinstance(message, dict):
            message = orjson.dumps(message).decode()
        event = BytesMessage(message) if isinstance(message, bytes) else TextMessage(message)
        await self.stream.send_all(self.ws.send(event))

    async def ping(self, payload: bytes) -> None:
        await self.stream.send_all(self.ws.send(Ping(payload)))

    async def receive(self) -> dict[str, Any]:
        parts: list[str] = []
        while True:
            event = await self._next()
            if isinstance(event, CloseConnection):
                if self.ws.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                    await self.stream.send_all(self.ws.send(event.response()))
                raise Closed(event.code, event.reason)
            assert isinstance(event, TextMessage), event
            parts.append(event.data)
            if event.message_finished:
                event = orjson.loads("".join(parts))
                return validate(event) if self.validates else event

    async def turn(self) -> Turn:
        """Receive up to the end of a response, and check that its events are numbered."""
        events = [await self.receive()]
        while events[-1]["type"] not in TERMINAL:
            events.append(await self.receive())
        if events[-1]["type"] != "error":
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
        return Turn(events)

    async def turns(self, count: int) -> list[Turn]:
        """Receive up to the end of this many responses, and check the numbers of each lane's events."""
        ended: list[Turn] = []
        lanes: dict[str | None, list[dict[str, Any]]] = {}
        while len(ended) < count:
            event = await self.receive()
            events = lanes.setdefault(event.get("stream_id"), [])
            events.append(event)
            if event["type"] in TERMINAL:
                if event["type"] != "error":
                    first = events[0]["sequence_number"]
                    numbers = [event["sequence_number"] for event in events]
                    assert numbers == list(range(first, first + len(events)))
                ended.append(Turn(lanes.pop(event.get("stream_id"))))
        return ended

    async def until(self, kind: str) -> dict[str, Any]:
        """Receive up to an event of this type, without its "response." at the beginning; return it."""
        while True:
            event = await self.receive()
            if event["type"].removeprefix("response.") == kind:
                return event

    async def steer(self, response_id: Any, input: Any, **fields: Any) -> None:  # noqa: A002
        """Send a `response.steer`."""
        frame = {"type": "response.steer", "previous_response_id": response_id, "input": input}
        await self.send({**frame, **fields})

    async def ask(self, input: Any = None, **fields: Any) -> Turn:  # noqa: A002
        """Send a create and receive its answer."""
        await self.send(create(input, **fields))
        return await self.turn()

    async def close(self, code: int = 1000) -> int | None:
        """Do the closing handshake and return the code of the answer."""
        await self.stream.send_all(self.ws.send(CloseConnection(code)))
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return closed.code


def create(input: Any = None, **fields: Any) -> dict[str, Any]:  # noqa: A002
    frame = {"type": "response.create", "model": "directive", "store": False, **fields}
    return frame if input is None else {**frame, "input": input}


def tokens(*values: Any) -> int:
    return math.ceil(sum(len(orjson.dumps(value)) for value in values) / 4)
