"""Which proxy leads to an endpoint, and what happens at it."""

from __future__ import annotations

import base64
import socket
import ssl
from functools import partial

import pytest
import trio
import trio.testing
import trustme

import triplane
from triplane import ConfigError, ConnectFailed, Endpoint, EngineOptions
from triplane.net.dial import Dialler, TcpNetwork
from triplane.net.proxy import Proxy, proxy_for
from triplane.server import Server

WSS = Endpoint("wss://api.example.com/v1")
WS = Endpoint("ws://api.example.com:8080/v1")


@pytest.mark.parametrize(
    ("endpoint", "environ", "expected"),
    [
        (WSS, {}, None),
        (WSS, {"HTTPS_PROXY": "http://p:3128"}, Proxy("p", 3128)),
        (WSS, {"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:2"}, Proxy("lower", 1)),
        (WSS, {"HTTP_PROXY": "http://p:3128"}, None),
        (WS, {"HTTP_PROXY": "http://p:3128"}, Proxy("p", 3128)),
        (WS, {"HTTPS_PROXY": "http://p:3128"}, None),
        (WSS, {"ALL_PROXY": "p"}, Proxy("p", 80)),
        (WSS, {"HTTPS_PROXY": " "}, None),
        (WSS, {"HTTPS_PROXY": "https://p"}, Proxy("p", 443, uses_tls=True)),
        (WSS, {"HTTPS_PROXY": "http://[::1]:8"}, Proxy("::1", 8)),
        # Not the way to this machine.
        (Endpoint("ws://localhost:1"), {"ALL_PROXY": "http://p"}, None),
        (Endpoint("ws://127.0.0.9:1"), {"ALL_PROXY": "http://p"}, None),
        (Endpoint("ws://[::1]:1"), {"ALL_PROXY": "http://p"}, None),
        # What the endpoint says counts.
        (Endpoint("wss://a/v1", proxy=None), {"ALL_PROXY": "http://p"}, None),
        (
            Endpoint("wss://a/v1", proxy="http://q:1"),
            {"ALL_PROXY": "http://p", "NO_PROXY": "*"},
            Proxy("q", 1),
        ),
        (Endpoint("ws://localhost/v1", proxy="http://q:1"), {}, Proxy("q", 1)),
    ],
)
def test_which_proxy(endpoint, environ, expected) -> None:
    assert expected == proxy_for(endpoint, environ)


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "api.example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "api.example.com", True),
        ("EXAMPLE.com", "api.example.com", True),
        ("api.example.com", "api.example.com", True),
        ("ample.com", "api.example.com", False),
        ("other.com, example.com", "api.example.com", True),
        ("other.com example.com", "api.example.com", True),
        ("example.com:443", "api.example.com", True),
        ("example.com:80", "api.example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "[fd00::1]", True),
        ("[fd00::1]", "[fd00::1]", True),
        (",", "api.example.com", False),
        ("", "api.example.com", False),
    ],
)
def test_what_needs_no_proxy(no_proxy, host, direct) -> None:
    environ = {"HTTPS_PROXY": "http://p", "NO_PROXY": no_proxy}

    assert direct is (proxy_for(Endpoint(f"wss://{host}/v1"), environ) is None)


@pytest.mark.parametrize(
    "url", ["socks5://p:1", "http://", "http://p:0", "http://p:x", "http://u:hunter2@p:99999", ""]
)
def test_a_proxy_that_cannot_be_one_is_refused_without_its_password(url) -> None:
    with pytest.raises(
        ConfigError, match="the proxy's URL in proxy= (must be of the form|cannot be read)"
    ) as caught:
        Endpoint("wss://a/v1", proxy=url)

    assert "hunter2" not in str(caught.value)


def test_other_things_are_no_proxy() -> None:
    with pytest.raises(ConfigError, match='proxy= takes a URL, None or "environment", not int'):
        Endpoint("wss://a/v1", proxy=3128)


def test_a_password_is_shown_nowhere() -> None:
    endpoint = Endpoint("wss://a/v1", proxy="http://name:hunter2@p:1")
    proxy = proxy_for(endpoint, {})

    assert proxy is not None
    assert b"Basic " + base64.b64encode(b"name:hunter2") == proxy.authorization
    for shown in (repr(endpoint), repr(proxy), str(proxy)):
        assert "hunter2" not in shown
        assert base64.b64encode(b"name:hunter2").decode() not in shown


async def test_a_bad_proxy_in_the_environment_fails_the_dial_and_nothing_else() -> None:
    dialler = Dialler(TcpNetwork(), EngineOptions(), {"HTTPS_PROXY": "socks5://name:hunter2@p"})
    with pytest.raises(ConnectFailed, match="the proxy's URL in HTTPS_PROXY must be") as caught:
        await dialler.dial(WSS)

    assert ("url", False) == (caught.value.stage, caught.value.is_transient)
    assert "hunter2" not in str(caught.value)


class ProxyNetwork:
    """A network in which everything is a proxy that answers as it was told."""

    def __init__(self, nursery, answer) -> None:
        self._nursery = nursery
        self._answer = answer
        self.asked: list[tuple[str, int]] = []
        self.requests: list[bytes] = []
        self.streams: list[trio.abc.Stream] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.asked.append((host, port))
        ours, theirs = trio.testing.memory_stream_pair()
        self.streams.append(ours)
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        self.requests.append(head)
        await self._answer(stream)


def saying(*chunks: bytes):
    async def answer(stream: trio.abc.Stream) -> None:
        for chunk in chunks:
            await trio.lowlevel.checkpoint()
            await stream.send_all(chunk)
        await stream.aclose()

    return answer


def through(network) -> tuple[Dialler, Endpoint]:
    return Dialler(network, EngineOptions(), {}), Endpoint(
        "ws://api.example.com/v1", proxy="http://u:p%40ss@proxy:3128"
    )


async def test_a_run_goes_through_the_tunnel(nursery, autojump_clock) -> None:
    server = Server(model="directive")

    async def lead_on(stream: trio.abc.Stream) -> None:
        # In pieces, as networks deliver.
        for byte in b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n":
            await stream.send_all(bytes([byte]))
        await server.handle(stream)

    network = ProxyNetwork(nursery, lead_on)
    endpoint = Endpoint("ws://api.example.com/v1", proxy="http://u:p%40ss@proxy:3128", api_key="sk-endpoint")
    async with triplane.open_engine(endpoint, network=network) as engine:
        assert "echo: hello" == (await engine.run(triplane.Agent("m"), "hello")).text

    assert [("proxy", 3128)] == network.asked
    (request,) = network.requests
    assert request.startswith(b"CONNECT api.example.com:80 HTTP/1.1\r\n")
    assert b"Basic " + base64.b64encode(b"u:p@ss") in request
    # The endpoint's key is not the proxy's business.
    assert b"sk-endpoint" not in request


@pytest.mark.parametrize(
    ("answer", "status", "transient", "words"),
    [
        (
            saying(b"HTTP/1.1 407 No\r\nContent-Length: 4\r\n\r\nwho?"),
            407,
            False,
            "it wants a name and a password",
        ),
        (saying(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), 403, False, "does not allow"),
        (
            saying(b"HTTP/1.1 502 Bad\r\n\r\n", b"no", b"body end"),
            502,
            True,
            "refused to connect to api.example.com:80",
        ),
        (saying(b"HTTP/1.1 502 Bad\r\nContent-Length: 100\r\n\r\nshort"), 502, True, "HTTP status 502"),
        (saying(b"HTTP/1.1 500 Bad\r\n\r\n", b"x" * 5_000), 500, True, "HTTP status 500"),
        (saying(b"SSH-2.0-OpenSSH\r\n\r\n"), None, True, "did not answer in HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000), None, True, "did not answer in HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\n\r\nHello"), None, True, "bytes that are not the endpoint's"),
        (saying(), None, True, "closed the connection|did not answer in HTTP"),
    ],
)
async def test_a_refusal_says_what_to_do(nursery, answer, status, transient, words) -> None:
    network = ProxyNetwork(nursery, answer)
    dialler, endpoint = through(network)
    with pytest.raises(ConnectFailed, match=words) as caught:
        await dialler.dial(endpoint)

    failure = caught.value
    assert ("proxy", status, transient) == (failure.stage, failure.status, failure.is_transient)
    assert len(failure.body) <= 2_000
    assert "p@ss" not in str(failure) + repr(failure)
    with pytest.raises(trio.ClosedResourceError):
        await network.streams[0].send_all(b"x")


async def test_a_refusal_that_repeats_the_request_repeats_no_password(nursery) -> None:
    async def repeat(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 407 x\r\n\r\n" + network.requests[0])
        await stream.aclose()

    network = ProxyNetwork(nursery, repeat)
    dialler, endpoint = through(network)
    with pytest.raises(ConnectFailed) as caught:
        await dialler.dial(endpoint)

    assert "Proxy-Authorization: Basic ***" in caught.value.body


async def test_an_answer_that_is_not_http_repeats_no_password(nursery) -> None:
    async def repeat(stream: trio.abc.Stream) -> None:
        said = network.requests[0].replace(b"\r\n", b" ")
        await stream.send_all(b"HTTP/1.1 407 x\r\nYou said " + said + b"\r\n\r\n")

    network = ProxyNetwork(nursery, repeat)
    dialler, endpoint = through(network)
    with pytest.raises(ConnectFailed, match="did not answer in HTTP") as caught:
        await dialler.dial(endpoint)

    assert "Basic ***" in str(caught.value)


async def test_a_silent_proxy_has_a_deadline_of_its_own(nursery, autojump_clock) -> None:
    async def say_nothing(_stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    dialler, endpoint = through(ProxyNetwork(nursery, say_nothing))
    with pytest.raises(ConnectFailed, match="did not lead on to api.example.com within 10 s") as caught:
        await dialler.dial(endpoint)

    assert (10.0, "proxy") == (trio.current_time(), caught.value.stage)
    nursery.cancel_scope.cancel()


async def test_tls_goes_through_a_tunnel_in_tls(nursery) -> None:
    """An encrypted way to the proxy, and inside it one to the endpoint, each with its own name."""
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def serving(name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(context)
        return context

    async def proxy(raw: trio.abc.Stream) -> None:
        stream = trio.SSLStream(raw, serving("proxy.example"), server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        assert head.startswith(b"CONNECT api.example.com:443 ")
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        inner = trio.SSLStream(stream, serving("api.example.com"), server_side=True)
        await inner.send_all(b"secret " + await inner.receive_some())

    class ToTheProxy:
        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            assert ("proxy.example", 443) == (host, port)
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(proxy, theirs)
            return ours

    dialler = Dialler(ToTheProxy(), EngineOptions(), {})
    dialler._default_context = trusting
    stream = await dialler.dial(
        Endpoint("wss://api.example.com/v1", ssl_context=trusting, proxy="https://proxy.example")
    )
    await stream.send_all(b"hello")

    assert b"secret hello" == await stream.receive_some()
    await trio.aclose_forcefully(stream)


async def test_a_proxy_on_a_real_socket(nursery) -> None:
    """Bytes both ways through a proxy that does nothing else."""
    handle = await nursery.start(
        partial(triplane.server.serve, model="directive", allowed_hosts=["api.example.com"])
    )

    async def proxy(client: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive_some()
        assert head.startswith(b"CONNECT api.example.com:80 ")
        async with (
            await trio.open_tcp_stream(handle.host, handle.port) as server,
            trio.open_nursery() as both,
        ):
            await client.send_all(b"HTTP/1.0 200 OK\r\n\r\n")

            async def pump(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
                async for data in source:
                    await target.send_all(data)
                both.cancel_scope.cancel()

            both.start_soon(pump, client, server)
            both.start_soon(pump, server, client)

    listeners = await nursery.start(trio.serve_tcp, proxy, 0)
    port = listeners[0].socket.getsockname()[1]
    endpoint = Endpoint("ws://api.example.com/v1", proxy=f"http://127.0.0.1:{port}")
    async with triplane.open_engine(endpoint) as engine:
        assert "echo: through" == (await engine.run(triplane.Agent("m"), "through")).text
    nursery.cancel_scope.cancel()


class Unreachable:
    """A network on which nothing can be reached."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise self._error


@pytest.mark.parametrize(
    ("endpoint", "environ", "named_by"),
    [
        (WSS, {"HTTPS_PROXY": "http://name:canary@proxy.example:3128"}, "HTTPS_PROXY"),
        (WS, {"all_proxy": "http://name:canary@proxy.example:3128"}, "all_proxy"),
        (Endpoint("wss://a/v1", proxy="http://name:canary@proxy.example:3128"), {}, "proxy="),
    ],
)
@pytest.mark.parametrize(
    ("error", "stage"),
    [(ConnectionRefusedError("Connection refused"), "tcp"), (socket.gaierror(-2, "unknown"), "dns")],
)
async def test_a_proxy_that_is_not_there_is_called_one(endpoint, environ, named_by, error, stage) -> None:
    """Whoever sees the error may not know that there is one: the environment names it."""
    dialler = Dialler(Unreachable(error), EngineOptions(), environ)
    with pytest.raises(ConnectFailed) as caught:
        await dialler.dial(endpoint)

    words = f"the proxy proxy.example port 3128, named by {named_by}, cannot be used: "
    assert str(caught.value).startswith(words)
    assert (stage, True) == (caught.value.stage, caught.value.is_transient)
    assert "canary" not in repr(caught.value)


async def test_where_there_is_no_proxy_none_is_called_so() -> None:
    dialler = Dialler(Unreachable(ConnectionRefusedError("Connection refused")), EngineOptions(), {})
    with pytest.raises(ConnectFailed) as caught:
        await dialler.dial(WS)

    assert "proxy" not in str(caught.value)
