"""A server of a test's own: a coroutine for each connection says, message by message, what happens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import trio
import trio.testing
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage

import triplane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Peer:
    """The server's end of one WebSocket."""

    def __init__(self, stream: trio.abc.Stream, number: int) -> None:
        self.number = number
        self.received: list[dict[str, Any]] = []
        self._stream = stream
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._events: list[Any] = []
        self._text = ""

    async def open(self) -> None:
        assert isinstance(await self._next(), Request)
        await self._stream.send_all(self._protocol.send(AcceptConnection()))

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        while True:
            event = await self._next()
            if isinstance(event, Ping):
                await self._stream.send_all(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                if event.code != 1006:
                    await self._stream.send_all(self._protocol.send(event.response()))
                await self._stream.aclose()
                raise trio.ClosedResourceError
            elif isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    message: dict[str, Any] = orjson.loads(self._text)
                    self._text = ""
                    self.received.append(message)
                    return message

    async def say(self, *events: dict[str, Any]) -> None:
        for event in events:
            await self._stream.send_all(self._protocol.send(TextMessage(orjson.dumps(event).decode())))

    async def close(self, code: int) -> None:
        await self._stream.send_all(self._protocol.send(CloseConnection(code)))
        await self._stream.aclose()

    async def drop(self) -> None:
        await self._stream.aclose()

    async def _next(self) -> Any:
        while not self._events:
            data = await self._stream.receive_some()
            self._protocol.receive_data(data or None)
            self._events.extend(self._protocol.events())
            if not data and not self._events:
                raise trio.ClosedResourceError
        return self._events.pop(0)


class ScriptedNetwork:
    """A network to a script. The script gets each connection as a `Peer`; they are numbered from 1."""

    def __init__(self, nursery: trio.Nursery, script: Callable[[Peer], Awaitable[None]]) -> None:
        self.peers: list[Peer] = []
        self._nursery = nursery
        self._script = script

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        peer = Peer(theirs, len(self.peers) + 1)
        self.peers.append(peer)
        self._nursery.start_soon(self._serve, peer)
        return ours

    async def _serve(self, peer: Peer) -> None:
        try:
            await peer.open()
            await self._script(peer)
            # Whatever else comes is read and not answered.
            while True:
                await peer.receive()
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass


@asynccontextmanager
async def open_scripted(
    script: Callable[[Peer], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[triplane.Engine, ScriptedNetwork]]:
    """An engine whose server is a script."""
    async with trio.open_nursery() as nursery:
        network = ScriptedNetwork(nursery, script)
        async with triplane.open_engine(
            triplane.Endpoint("ws://memory/v1"), network=network, options=triplane.EngineOptions(**options)
        ) as engine:
            yield engine, network
        nursery.cancel_scope.cancel()


def created(response_id: str) -> dict[str, Any]:
    return {
        "type": "response.created",
        "response": {"id": response_id, "status": "in_progress", "output": []},
    }


def said(text: str, identity: str = "msg_1") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": identity, "role": "assistant", "status": "completed", "content": content}


def called(call_id: str, name: str = "look") -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": "{}",
        "status": "completed",
    }


def delta(text: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": text,
    }


def ended(response_id: str, *output: dict[str, Any], steered: bool = False) -> dict[str, Any]:
    response: dict[str, Any] = {"id": response_id, "output": list(output)}
    if steered:
        response |= {"status": "incomplete", "incomplete_details": {"reason": "steered"}}
        return {"type": "response.incomplete", "response": response}
    return {"type": "response.completed", "response": response | {"status": "completed"}}


def accepted(steer: dict[str, Any], steer_id: str = "steer_1") -> dict[str, Any]:
    about = {"id": steer_id, "previous_response_id": steer["previous_response_id"]}
    return {"type": "response.steer.accepted", "steer": about}
