"""An HTTP client for these tests: raw h11 on any stream, so that it shares nothing with the server."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import attrs
import h11
import orjson
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

if TYPE_CHECKING:
    import trio


@cache
def sse_events() -> dict[str, TypeAdapter[Any]]:
    """Every server-sent event of the openai package by its type."""
    (union, *_) = get_args(ResponseStreamEvent)
    return {
        get_args(model.model_fields["type"].annotation)[0]: TypeAdapter(model) for model in get_args(union)
    }


def validate_response(response: dict[str, Any]) -> dict[str, Any]:
    """Check a response object against openai's own model of it, strictly."""
    Response.model_validate(response, strict=True)
    return response


@attrs.define
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        assert set(self.json) == {"error"}
        assert set(self.json["error"]) == {"type", "code", "message", "param"}
        return self.json["error"]

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(parse_events(self.content))

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.events]


def parse_events(content: bytes):
    assert content.endswith(b"\n\n"), content[-100:]
    for record in content.split(b"\n\n")[:-1]:
        if record.startswith(b":"):
            continue
        kind, data = record.split(b"\n")
        event = orjson.loads(data.removeprefix(b"data: "))
        assert kind == b"event: " + event["type"].encode()
        assert "stream_id" not in event
        sse_events()[event["type"]].validate_python(event, strict=True)
        yield event


class HttpClient:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.h11 = h11.Connection(h11.CLIENT)
        self.continues = 0

    async def ask(
        self, method: str, target: str, json: Any = None, *, body: bytes | None = None, **headers
    ) -> Answer:
        """Send a request and read its whole answer."""
        await self.send(method, target, json, body=body, **headers)
        return await self.answer()

    async def post(self, input: Any = None, **fields: Any) -> Answer:  # noqa: A002
        """Ask for a response."""
        body = (
            {"model": "directive", **fields}
            if input is None
            else {"model": "directive", "input": input, **fields}
        )
        return await self.ask("POST", "/v1/responses", body)

    async def send(
        self, method: str, target: str, json: Any = None, *, body: bytes | None = None, **headers
    ) -> None:
        if self.h11.our_state is h11.DONE:
            self.h11.start_next_cycle()
        content = orjson.dumps(json) if body is None and json is not None else body or b""
        fields = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if content and not {"Content-Length", "Transfer-Encoding"} & fields.keys():
            fields["Content-Length"] = str(len(content))
        data = self.h11.send(h11.Request(method=method, target=target, headers=list(fields.items())))
        if content:
            data += self.h11.send(h11.Data(data=content))
        await self.stream.send_all(data + self.h11.send(h11.EndOfMessage()))

    async def answer(self) -> Answer:
        response = await self.head()
        headers = {name.decode(): value.decode() for name, value in response.headers}
        return Answer(response.status_code, headers, b"".join([piece async for piece in self.pieces()]))

    async def head(self) -> h11.Response:
        while not isinstance(event := await self.next_event(), h11.Response):
            assert isinstance(event, h11.InformationalResponse), event
            self.continues += event.status_code == 100
        return event

    async def pieces(self):
        while isinstance(event := await self.next_event(), h11.Data):
            yield bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event

    async def next_event(self):
        while (event := self.h11.next_event()) is h11.NEED_DATA:
            self.h11.receive_data(await self.stream.receive_some(65536))
        return event
