from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import httpx2
import pytest
import trio
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Request

from triplane.bridges.cassette import record
from triplane.server import serve

TERMINAL = ("response.completed", "response.failed", "response.incomplete", "error")


class Closed(Exception):  # noqa: N818
    """The WebSocket ended; `code` is None when there was no close frame."""

    def __init__(self, code, reason=None) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Talk:
    """A client's WebSocket of these tests: raw wsproto, so that it shares nothing with what is tested."""

    def __init__(self, stream, address) -> None:
        self.stream = stream
        self.address = address
        self.protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)

    async def connect(self, target, headers) -> None:
        extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        request = Request(host=self.address, target=target, extra_headers=extra)
        await self.stream.send_all(self.protocol.send(request))
        assert isinstance(await self._next(), AcceptConnection)

    async def _next(self):
        while True:
            for event in self.protocol.events():
                if isinstance(event, Ping):
                    await self.stream.send_all(self.protocol.send(event.response()))
                    continue
                return event
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise Closed(None)
            self.protocol.receive_data(data)

    async def send_raw(self, message) -> None:
        await self.stream.send_all(self.protocol.send(Message(message)))

    async def send(self, text="hello", **fields) -> None:
        event = {"type": "response.create", "model": "directive", "input": text, **fields}
        await self.send_raw(json.dumps(event))

    async def receive(self):
        text = ""
        while True:
            event = await self._next()
            if isinstance(event, CloseConnection):
                await self.stream.send_all(self.protocol.send(event.response()))
                raise Closed(int(event.code), event.reason)
            text += event.data
            if event.message_finished:
                return json.loads(text)

    async def ask(self, text="hello", **fields) -> list[dict]:
        await self.send(text, **fields)
        events = [await self.receive()]
        while events[-1]["type"] not in TERMINAL:
            events.append(await self.receive())
        return events

    async def closed(self):
        """How the other side ends it."""
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return closed.code, closed.reason

    async def close(self) -> None:
        """Say good-bye, and wait for the answer."""
        try:
            await self.stream.send_all(self.protocol.send(CloseConnection(1000)))
            while not isinstance(await self._next(), CloseConnection):
                pass
        except (Closed, trio.BrokenResourceError, wsproto.utilities.LocalProtocolError):
            pass


@pytest.fixture
def talk():
    @asynccontextmanager
    async def talk(server, *, key="sk-something-that-is-secret", target="/v1/responses", **headers):
        parts = urlsplit(server.url)
        async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream:
            client = Talk(stream, parts.netloc)
            await client.connect(target, {"authorization": f"Bearer {key}", **headers})
            yield client
            with trio.fail_after(2):
                await client.close()

    return talk


@pytest.fixture
async def http():
    async with httpx2.AsyncClient(timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
async def upstream(nursery):
    """Start a server to record."""

    async def upstream(**options):
        return await nursery.start(partial(serve, **{"model": "directive", "close_timeout": 0.05, **options}))

    yield upstream
    nursery.cancel_scope.cancel()


@pytest.fixture
def tape(tmp_path):
    return tmp_path / "some" / "cassette.jsonl"


@pytest.fixture
def recorded(tape, upstream):
    """Record what a function does with a proxy."""

    async def recorded(play, *, server=None, redaction=None, **options):
        server = server or await upstream(**options)
        async with record(tape, upstream=server.http_url, redaction=redaction) as proxy:
            with trio.fail_after(10):
                return await play(proxy)

    return recorded
