"""Damaged messages, frames and heads for the server, and what must hold whatever it is sent.

* The server lives on and raises nothing.
* On a connection whose frames are sound, whatever stands in them, a well-formed request is answered.
* After the client of a connection is gone, the connection ends, in bounded time.
* Everything that the server sends is a sound frame, and every text in it is a JSON object.

Everything follows from a seed. Run on a mock clock, or it takes long.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import orjson
import trio
from trio.testing import memory_stream_pair

from triplane.server import FunctionCall, Ids, NewMessage, Server, Text, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from triplane.server import ModelRequest, Step

FRAMES = 50
"""Damaged frames in an episode, which is one connection."""
PATIENCE = 30
"""Seconds of mock time in which a connection has to end, or to answer."""

UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"OpenAI-Beta: responses_multi_agent=v1\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PLAIN_UPGRADE = UPGRADE.replace(b"OpenAI-Beta: responses_multi_agent=v1\r\n", b"")

# What stands for the latest response of the connection, and for the latest call.
LATEST, CALL = "@latest", "@call"


class Fuzzed:
    """Answers with a bit of everything, and never with much."""

    name = "m"

    def respond(self, request: ModelRequest) -> Iterator[Step]:
        """See `Model`."""
        text = request.conversation.user_text[-40:].encode("utf-8", "replace").decode()
        if text.startswith("call"):
            yield FunctionCall("t", '{"a": 1}')
        if text.startswith("wait"):
            yield Wait(0.01)
        if text.startswith("new"):
            yield NewMessage("commentary")
        yield Text(f"echo: {text}")


class Broken(Exception):  # noqa: N818
    """What must hold does not."""


def create(**fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": "m", "store": False, **fields}


TOOL = {
    "type": "function",
    "name": "t",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
CORPUS: list[dict[str, Any]] = [
    create(input="hello"),
    create(input="call it", tools=[TOOL], tool_choice="auto", parallel_tool_calls=False),
    create(input="wait for it", stream_id="a", instructions="Be brief.", metadata={"k": "v"}),
    create(input="more", previous_response_id=LATEST, stream_id="b"),
    create(input=[], generate=False, store=True, prompt_cache_key="k", prompt_cache_options={"prewarm": True}),
    create(
        input=[
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "new"}]},
            {"type": "function_call", "call_id": "c", "name": "t", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"role": "assistant", "content": "said"},
        ],
        text={"format": {"type": "text"}, "verbosity": "low"},
        reasoning={"effort": "low", "summary": None},
        temperature=0.5,
        max_output_tokens=5,
        include=["reasoning.encrypted_content"],
    ),
    create(input=[{"type": "function_call_output", "call_id": CALL, "output": "1"}], previous_response_id=LATEST),
    create(input="x", stream=True, background=False, truncation="auto", service_tier="flex", top_logprobs=2, user="u"),
    create(input="x", max_tool_calls=3, client_metadata={"a": "b"}, conversation=None, safety_identifier="s"),
    {"type": "response.steer", "previous_response_id": LATEST, "input": "go left"},
    {"type": "response.inject", "response_id": LATEST, "input": [{"type": "function_call_output", "call_id": CALL, "output": "1"}]},
    {"type": "response.cancel", "response_id": LATEST},
]  # fmt: skip

ODDITIES = [orjson.dumps(value) for value in (
    None, True, False, 0, 1, -1, 2**31, 2**53 + 1, 2**64 - 1, -(2**63), 0.5, -0.0, 1e308, 1e-320, "", " ", "\0",
    "é\N{GRINNING FACE}", "x" * 257, "x" * 5000, "a b", "../..", LATEST, CALL, "resp_0", "default",
    [], {}, [[]], [{}], [None], {"": None}, {"type": None}, {"type": "message"}, {"type": "x" * 300},
    [1] * 300, {"a": {"b": {"c": {}}}}, "response.create", ["a", 1, None],
)]  # fmt: skip


# Damage.


def places(value: Any) -> list[tuple[Any, Any]]:
    """All (container, key) in a JSON value."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        container = pending.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                pending.append(container[key])
    return found


def deep(rng: Random) -> Any:
    value: Any = orjson.loads(rng.choice(ODDITIES))
    for _ in range(rng.choice((3, 30, 250, 260, 1000))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def damaged_json(rng: Random) -> bytes:
    """A client message with some of its values changed, dropped or doubled."""
    message = orjson.loads(orjson.dumps(rng.choice(CORPUS)))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        there = places(message)
        if not there:
            break
        container, key = rng.choice(there)
        kind = rng.random()
        if kind < 0.6:
            container[key] = orjson.loads(rng.choice(ODDITIES))
        elif kind < 0.75:
            del container[key]
        elif kind < 0.9 and isinstance(container, dict):
            container[rng.choice(("type", "input", "model", "stream_id", "role", "content", "x"))] = (
                container.pop(key)
            )
        elif isinstance(container, list):
            container += orjson.loads(orjson.dumps(container[:50])) * rng.randrange(3)
    data = orjson.dumps(message)
    if rng.random() < 0.02:
        nested = deep(rng)
        # orjson does not write what is nested as deeply as it reads.
        data = data[:-1] + b',"metadata":' + to_json(nested) + b"}"
    return data


def to_json(value: Any) -> bytes:
    """Like orjson, but of any depth."""
    opened, closed = b"", b""
    while isinstance(value, (list, dict)) and len(value) == 1 and (isinstance(value, list) or "a" in value):
        if isinstance(value, list):
            opened, closed, value = opened + b"[", b"]" + closed, value[0]
        else:
            opened, closed, value = opened + b'{"a":', b"}" + closed, value["a"]
    return opened + orjson.dumps(value) + closed


def damaged_bytes(rng: Random, data: bytes) -> bytes:
    """Some bytes with others flipped, dropped, inserted, doubled or cut off."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(damaged) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(damaged):
            damaged[at] = rng.randrange(256)
        elif kind == 2:
            del damaged[at : at + rng.randrange(1, 9)]
        elif kind == 3:
            damaged[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 4:
            damaged[at:at] = damaged[: rng.randrange(1, 40)]
        elif rng.random() < 0.2:
            del damaged[at:]
    return bytes(damaged)


def frame(payload: bytes, *, first: int = 0x81, mask: bytes = bytes(4), masked: bool = True) -> bytes:
    """A client's frame, as sound as its arguments."""
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if mask != bytes(4):
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return head + (mask if masked else b"") + payload


def sound_frame(rng: Random, message: bytes) -> bytes:
    """A message in sound frames; text that is no UTF-8 is made so."""
    mask = rng.randbytes(4) if len(message) < 200 and rng.random() < 0.1 else bytes(4)
    kind = rng.random()
    if kind < 0.1:
        return frame(message, first=0x82, mask=mask)
    text = message if message.isascii() else message.decode("utf-8", "replace").encode()
    if kind < 0.85:
        return frame(text, mask=mask)
    if kind < 0.9:
        return frame(rng.randbytes(rng.randrange(126)), first=rng.choice((0x89, 0x8A))) + frame(text)
    at = rng.randrange(len(text) + 1)
    ping = frame(b"p", first=0x89) if rng.random() < 0.3 else b""
    return frame(text[:at], first=0x01) + ping + frame(text[at:], first=0x80)


def unsound_frame(rng: Random, message: bytes) -> bytes:
    """Something that may end a WebSocket, or leave it in the middle of a frame."""
    match rng.randrange(9):
        case 0:
            return rng.randbytes(rng.randrange(1, 200))
        case 1:
            return damaged_bytes(rng, frame(message))
        case 2:
            return frame(message, first=rng.randrange(256), masked=rng.random() < 0.8)
        case 3:
            return frame(message, masked=False)
        case 4:
            code = struct.pack("!H", rng.choice((0, 999, 1000, 1004, 1005, 1006, 1015, 2999, 4000, 65535)))
            return frame((code + rng.randbytes(rng.randrange(130)))[: rng.randrange(140)], first=0x88)
        case 5:
            return frame(message, first=0x80)  # continues nothing
        case 6:
            return frame(message, first=0x01) + frame(message)  # never continued
        case 7:
            size = rng.choice((2**16, 2**24, 2**31, 2**63 - 1, 2**64 - 1))
            return struct.pack("!BBQ", 0x82, 0xFF, size) + message
        case _:
            return frame(rng.randbytes(10), first=0x81)  # seldom UTF-8


# The client.


class Peer:
    """A raw client of the server. Reads frames and checks them."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.stream, self._theirs = memory_stream_pair()
        self._server = server
        self._buffer = bytearray()
        self._ended = trio.Event()
        self.latest, self.call = "resp_0", "call_0"
        self.close_code: int | None = None
        nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        await self._server.handle(self._theirs)
        self._ended.set()

    async def upgrade(self, head: bytes = UPGRADE) -> bool:
        """Send a head and read the answer. Tell whether this is a WebSocket now."""
        await self.send(head)
        while b"\r\n\r\n" not in self._buffer:
            if not await self._read():
                break
        if self._buffer and not self._buffer.startswith(b"HTTP/1.1 "):
            raise Broken(f"not an answer: {bytes(self._buffer[:100])!r}")
        end = self._buffer.find(b"\r\n\r\n")
        accepted = self._buffer.startswith(b"HTTP/1.1 101 ")
        del self._buffer[: end + 4]
        return accepted

    async def send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)

    async def _read(self) -> bool:
        try:
            data = await self.stream.receive_some()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._buffer += data
        return bool(data)

    async def receive(self) -> dict[str, Any] | None:
        """The next event; None at the end."""
        buffer = self._buffer
        while True:
            if len(buffer) >= 2:
                size, start = buffer[1], 2
                if size == 126 and len(buffer) >= 4:
                    (size,), start = struct.unpack_from("!H", buffer, 2), 4
                elif size == 127 and len(buffer) >= 10:
                    (size,), start = struct.unpack_from("!Q", buffer, 2), 10
                elif size >= 126:
                    size = 10**18
                if len(buffer) >= start + size:
                    first, payload = buffer[0], bytes(buffer[start : start + size])
                    del buffer[: start + size]
                    if first == 0x81:
                        return self._event(payload)
                    if first == 0x88:
                        self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                    elif first != 0x8A:
                        raise Broken(f"not a frame that a server sends: {first:#x} {payload[:100]!r}")
                    continue
            if not await self._read():
                return None

    def _event(self, payload: bytes) -> dict[str, Any]:
        try:
            event = orjson.loads(payload)
            kind = event["type"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            raise Broken(f"not an event: {payload[:200]!r}") from None
        if kind == "response.completed":
            self.latest = event["response"]["id"]
            for item in event["response"]["output"]:
                self.call = item.get("call_id", self.call)
        return event

    def filled_in(self, message: bytes) -> bytes:
        return message.replace(LATEST.encode(), self.latest.encode()).replace(
            CALL.encode(), self.call.encode()
        )

    async def answers(self, token: str) -> bool:
        """Ask something well-formed; tell whether the answer came."""
        await self.send(frame(orjson.dumps(create(input=token))))
        wanted = f"echo: {token}"
        with trio.move_on_after(PATIENCE):
            while (event := await self.receive()) is not None:
                if event["type"] != "response.completed":
                    continue
                output = event["response"]["output"]
                if any(part.get("text") == wanted for item in output for part in item.get("content") or ()):
                    return True
        return False

    async def leave(self) -> None:
        """Be gone, and see that the server notices."""
        await self.stream.aclose()
        with trio.move_on_after(PATIENCE) as scope:
            await self._ended.wait()
        if scope.cancelled_caught:
            raise Broken("the connection outlives its client")


class Fuzzer:
    """One server, a witness whose connection is never damaged, and what came of it all."""

    def __init__(self, seed: int, nursery: trio.Nursery, **options: Any) -> None:
        self._seed = seed
        self._nursery = nursery
        self.server = Server(
            **{
                "model": {"m": Fuzzed()},
                "ids": Ids("fuzz"),
                "max_age": math.inf,
                # Soon full, so that what they hold is not mistaken for a leak.
                "max_stored": 64,
                "max_journal": 2 << 20,
                "max_message_size": 1 << 20,
                **options,
            }
        )
        self.frames: Counter[str] = Counter()
        self._witness: Peer | None = None

    async def episode(self, number: int) -> None:
        """One damaged connection.

        Raises:
            Broken: something that must hold does not.
        """
        rng = Random(f"{self._seed}/{number}")
        kind = rng.choices(("messages", "frames", "heads"), (70, 27, 3))[0]
        peer = Peer(self.server, self._nursery)
        try:
            if kind == "heads":
                await self._heads(rng, peer)
            elif kind == "messages":
                await self._messages(rng, peer, f"{number}")
            else:
                await self._unsound(rng, peer)
            await peer.leave()
            if self._witness is None:
                self._witness = Peer(self.server, self._nursery)
                await self._witness.upgrade()
            if not await self._witness.answers(f"witness {number}"):
                raise Broken("another connection gets no answer")
        except Broken as broken:
            raise Broken(f"{broken} (seed {self._seed}, episode {number}, {kind})") from broken

    async def close(self) -> None:
        """Let everybody go."""
        if self._witness is not None:
            await self._witness.leave()

    async def _messages(self, rng: Random, peer: Peer, token: str) -> None:
        beta = rng.random() < 0.3
        if not await peer.upgrade(UPGRADE if beta else PLAIN_UPGRADE):
            raise Broken("the upgrade was refused")
        left = FRAMES
        while left:
            some = min(left, rng.choice((1, 10, 25, 50)))
            left -= some
            data = b""
            for _ in range(some):
                message = peer.filled_in(damaged_json(rng))
                if rng.random() < 0.3:
                    message = damaged_bytes(rng, message)
                data += sound_frame(rng, message)
            self.frames["message"] += some
            await peer.send(data)
            if not await peer.answers(f"hello {token}.{left}"):
                # The one message that is documented to end a connection.
                if beta and peer.close_code is not None:
                    self.frames["ended"] += 1
                    return
                raise Broken(f"a connection of sound frames gets no answer, close code {peer.close_code}")

    async def _unsound(self, rng: Random, peer: Peer) -> None:
        left = FRAMES
        while left:
            if not await peer.upgrade():
                raise Broken("the upgrade was refused")
            for _ in range(min(left, rng.randrange(1, 12))):
                message = peer.filled_in(damaged_json(rng))
                sound = rng.random() < 0.5
                await peer.send(sound_frame(rng, message) if sound else unsound_frame(rng, message))
                self.frames["message" if sound else "unsound"] += 1
                left -= 1
            if rng.random() < 0.5:
                with trio.move_on_after(0.001):
                    while await peer.receive() is not None:
                        pass
            await peer.leave()
            peer = Peer(self.server, self._nursery)
        await peer.leave()

    async def _heads(self, rng: Random, peer: Peer) -> None:
        for _ in range(FRAMES):
            with trio.move_on_after(0.001):
                await peer.upgrade(damaged_bytes(rng, UPGRADE))
            self.frames["head"] += 1
            await peer.leave()
            peer = Peer(self.server, self._nursery)
        await peer.leave()


async def run(seed: int, episodes: range, **options: Any) -> Counter[str]:
    """Run some episodes on one server. Return how many frames of which kind were sent.

    Raises:
        Broken: something that must hold does not.
    """
    async with trio.open_nursery() as nursery:
        fuzzer = Fuzzer(seed, nursery, **options)
        for number in episodes:
            await fuzzer.episode(number)
        await fuzzer.close()
    return fuzzer.frames
