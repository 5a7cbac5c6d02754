"""Redirects of the upgrade: followed where they stay at the same origin, and nowhere else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import triplane
from triplane import ConnectFailed, Endpoint
from triplane.server import Server


class RedirectingNetwork:
    """Each connection is answered with the next redirect; after the last it is the server's."""

    def __init__(self, nursery, *locations: str) -> None:
        self._nursery = nursery
        self._locations = list(locations)
        self._server = Server(model="directive")
        self.heads: list[bytes] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if not self._locations:
            await self._server.handle(stream)
            return
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        self.heads.append(head)
        location = self._locations.pop(0)
        await stream.send_all(f"HTTP/1.1 307 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        await stream.aclose()


URL = "ws://api.example.com/old/responses?a=b"


@pytest.mark.parametrize(
    "locations",
    [
        ["/v1/responses"],
        ["../v1/responses"],
        ["ws://api.example.com/v1/responses"],
        ["http://api.example.com:80/v1/responses?x=1"],
        ["/1?q", "/2", "/3", "/4", "/v1/responses"],
        ["/é a?ü", "/v1/responses"],
    ],
)
@pytest.mark.parametrize("wire", ["trio-websocket", "websockets"])
async def test_at_the_same_origin_it_is_followed(nursery, autojump_clock, locations, wire) -> None:
    network = RedirectingNetwork(nursery, *locations)
    async with triplane.open_engine(Endpoint(URL, api_key="sk-1", wire=wire), network=network) as engine:
        assert "echo: hello" == (await engine.run(triplane.Agent("m"), "hello")).text
        assert 1 == engine.statistics().opened

    assert network.heads[0].startswith(b"GET /old/responses?a=b HTTP/1.1\r\n")
    if len(locations) > 1:
        assert network.heads[1].startswith((b"GET /1?q HTTP/1.1\r\n", b"GET /%C3%A9%20a?%C3%BC HTTP/1.1\r\n"))
    assert all(b"Bearer sk-1" in head for head in network.heads)


@pytest.mark.parametrize(
    "location",
    [
        "https://api.example.com/v1/responses",
        "ws://evil.example.com/v1/responses",
        "ws://api.example.com:81/v1/responses",
        "//evil.example.com/v1/responses",
        "ftp://api.example.com/",
        "http://[",
    ],
)
async def test_elsewhere_it_is_refused_and_the_key_stays(nursery, autojump_clock, location) -> None:
    network = RedirectingNetwork(nursery, location)
    async with triplane.open_engine(Endpoint(URL, api_key="sk-1"), network=network) as engine:
        with pytest.raises(
            ConnectFailed, match="it redirects to another place, which gets no credentials"
        ) as caught:
            await engine.run(triplane.Agent("m"), "hello")

    assert (307, location, "upgrade", False) == (
        caught.value.status,
        caught.value.location,
        caught.value.stage,
        caught.value.is_transient,
    )
    assert 1 == len(network.heads)


async def test_in_a_circle_it_ends(nursery, autojump_clock) -> None:
    network = RedirectingNetwork(nursery, *["/old/responses?a=b"] * 20)
    async with triplane.open_engine(Endpoint(URL), network=network) as engine:
        with pytest.raises(ConnectFailed, match="was redirected more than 5 times") as caught:
            await engine.run(triplane.Agent("m"), "hello")

    assert 307 == caught.value.status
    assert 6 == len(network.heads)
