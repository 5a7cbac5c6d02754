"""From an endpoint to a stream: which stage failed, and that nothing is left of it."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing
import trustme

from triplane import ConnectFailed, Endpoint, EngineOptions
from triplane.net.dial import Dialler, TcpNetwork


class Network:
    """Answers a connect with what it was told."""

    def __init__(self, answer) -> None:
        self._answer = answer

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if isinstance(self._answer, BaseException):
            raise self._answer
        if self._answer is None:
            await trio.sleep_forever()
        return self._answer


@pytest.mark.parametrize(
    ("answer", "stage", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "dns", "could not be resolved"),
        (OSError("Connection refused"), "tcp", "is a server running there"),
        (None, "tcp", "within 10 s"),
    ],
)
async def test_a_connection_that_fails(autojump_clock, answer, stage, words) -> None:
    dialler = Dialler(Network(answer), EngineOptions())
    with pytest.raises(ConnectFailed, match=words) as caught:
        await dialler.dial(Endpoint("ws://host/v1"))

    assert stage == caught.value.stage
    assert caught.value.is_transient


async def test_all_causes_of_a_failed_race_are_told() -> None:
    failure = OSError("all attempts failed")
    failure.__cause__ = ExceptionGroup("x", [OSError("refused"), OSError("unreachable"), OSError("refused")])

    with pytest.raises(ConnectFailed, match=r"\(refused; unreachable\); is a server"):
        await Dialler(Network(failure), EngineOptions()).dial(Endpoint("ws://host/v1"))


async def test_plain_text_is_not_wrapped() -> None:
    stream, _other = trio.testing.memory_stream_pair()

    assert stream is await Dialler(Network(stream), EngineOptions()).dial(Endpoint("ws://host/v1"))


async def test_a_silent_peer_fails_the_tls_handshake_in_time(autojump_clock) -> None:
    stream, other = trio.testing.memory_stream_pair()
    started = trio.current_time()
    with pytest.raises(ConnectFailed, match="tls_timeout") as caught:
        await Dialler(Network(stream), EngineOptions(tls_timeout=3)).dial(Endpoint("wss://host/v1"))

    assert ("tls", 3.0) == (caught.value.stage, trio.current_time() - started)
    assert not caught.value.is_transient
    # The stream is closed: the peer sees its end.
    while await other.receive_some():
        pass


async def test_a_cancelled_tls_handshake_closes_the_stream(autojump_clock) -> None:
    stream, other = trio.testing.memory_stream_pair()
    with trio.move_on_after(1):
        await Dialler(Network(stream), EngineOptions()).dial(Endpoint("wss://host/v1"))
    with trio.fail_after(1):
        while await other.receive_some():
            pass


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that only those who are told trust."""
    return trustme.CA()


async def serve_tls(nursery, authority) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def echo(stream: trio.SSLStream) -> None:
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass

    async def serve(*, task_status) -> None:
        await trio.serve_ssl_over_tcp(
            echo, 0, context, host="127.0.0.1", https_compatible=True, task_status=task_status
        )

    (listener,) = await nursery.start(serve)
    return listener.transport_listener.socket.getsockname()[1]


async def test_an_authority_of_ones_own(nursery, authority) -> None:
    port = await serve_tls(nursery, authority)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    endpoint = Endpoint(f"wss://localhost:{port}/v1", ssl_context=trusting)

    stream = await Dialler(TcpNetwork(), EngineOptions()).dial(endpoint)
    await stream.send_all(b"ping")
    assert b"ping" == await stream.receive_some()
    await trio.aclose_forcefully(stream)


async def test_a_stranger_is_not_trusted(nursery, authority) -> None:
    port = await serve_tls(nursery, authority)
    dialler = Dialler(TcpNetwork(), EngineOptions())
    with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await dialler.dial(Endpoint(f"wss://localhost:{port}/v1"))

    assert ("tls", False) == (caught.value.stage, caught.value.is_transient)
    # Building a context costs tens of milliseconds, so there is one for all.
    assert dialler._context(None) is dialler._context(None)


async def test_a_certificate_for_another_name_is_not_trusted(nursery, authority) -> None:
    port = await serve_tls(nursery, authority)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with pytest.raises(ConnectFailed, match="IP address mismatch|Hostname mismatch|doesn't match"):
        await Dialler(TcpNetwork(), EngineOptions()).dial(
            Endpoint(f"wss://127.0.0.1:{port}/v1", ssl_context=trusting)
        )
