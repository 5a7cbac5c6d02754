"""A server that is played by the test itself, frame by frame: for what no server of ours would ever say."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import orjson
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

import triplane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

Frame = dict[str, Any]


class Played:
    """The server's end of one WebSocket."""

    def __init__(self, websocket: WebSocketConnection, number: int) -> None:
        self._websocket = websocket
        self.number = number
        self._begun = 0

    async def request(self) -> Frame:
        """The client's next message."""
        frame: Frame = orjson.loads(await self._websocket.get_message())
        return frame

    async def say(self, kind: str, **fields: Any) -> None:
        await self._websocket.send_message(orjson.dumps({"type": kind, **fields}).decode())

    async def created(self, response_id: str, **response: Any) -> None:
        await self.say(
            "response.created",
            response={"id": response_id, "status": "in_progress", "output": [], **response},
        )

    async def done(self, item: Frame, index: int = 0) -> None:
        await self.say("response.output_item.done", output_index=index, item=item)

    async def completed(self, response_id: str, *output: Frame, **response: Any) -> None:
        body = {"id": response_id, "status": "completed", "output": list(output), **response}
        await self.say("response.completed", response=body)

    async def answer(self, response_id: str, *output: Frame, **response: Any) -> None:
        """A whole response of these items."""
        await self.created(response_id)
        for index, item in enumerate(output):
            await self.done(item, index)
        await self.completed(response_id, *output, **response)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._websocket.aclose(code=code, reason=reason)


def message(text: str, identity: str = "msg_1") -> Frame:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": identity,
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def call(name: str, arguments: str = "{}", call_id: str = "call_1", identity: str = "fc_1") -> Frame:
    return {
        "type": "function_call",
        "id": identity,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


class Play(Protocol):
    """What the test does with each connection."""

    def __call__(self, peer: Played) -> Awaitable[None]: ...


@attrs.frozen
class Stage:
    engine: triplane.Engine
    requests: list[Frame]


class _PlayedNetwork:
    def __init__(self, nursery: trio.Nursery, play: Play, requests: list[Frame]) -> None:
        self._nursery = nursery
        self._play = play
        self._requests = requests
        self._opened = 0

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        client, served = trio.testing.memory_stream_pair()
        self._opened += 1
        self._nursery.start_soon(self._serve, served, self._opened)
        return client

    async def _serve(self, stream: trio.abc.Stream, number: int) -> None:
        # What the engine closes in the middle of a play ends it.
        async with trio.open_nursery() as nursery:
            websocket = await (await wrap_server_stream(nursery, stream)).accept()
            peer = Played(websocket, number)
            listen = peer.request

            async def request() -> Frame:
                frame = await listen()
                self._requests.append(frame)
                return frame

            peer.request = request  # type: ignore[method-assign]
            try:
                await self._play(peer)
                await websocket.get_message()
            except ConnectionClosed:
                pass
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_stage(
    play: Play, *, ledger: triplane.Ledger | None = None, **options: Any
) -> AsyncIterator[Stage]:
    requests: list[Frame] = []
    async with trio.open_nursery() as nursery:
        network = _PlayedNetwork(nursery, play, requests)
        async with triplane.open_engine(
            triplane.Endpoint("ws://memory/v1"),
            options=triplane.EngineOptions(**options),
            ledger=ledger,
            network=network,
            rng=random.Random(7),
        ) as engine:
            yield Stage(engine, requests)
        nursery.cancel_scope.cancel()


async def run_on_stage(
    agent: triplane.Agent, play: Play, **more: Any
) -> tuple[triplane.RunState, list[Any], list[Frame]]:
    """Run an agent on what is played: its result, its events, and what the engine asked."""
    failure: triplane.TriplaneError | None = None
    async with open_stage(play, **more) as stage:
        try:
            async with stage.engine.open_run(agent, "Go.") as running:
                events = [event async for event in running]
        except triplane.TriplaneError as error:
            failure = error
    if failure is not None:  # out here, where the stage does not put it into a group
        raise failure
    return running.result, events, stage.requests
