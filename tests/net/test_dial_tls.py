"""TLS on real sockets: whom to trust is never silently nobody's business."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from functools import partial

import pytest
import trio
import trustme

import triplane
from triplane import ConnectFailed, Endpoint, EngineOptions
from triplane.net.dial import Dialler, TcpNetwork
from triplane.server import Server

AGENT = triplane.Agent("m")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def serve(nursery, authority):
    """Serves the local server over TLS with a certificate, and gives the port."""

    async def start(certificate: trustme.LeafCert | None = None) -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (certificate or authority.issue_cert("localhost")).configure_cert(context)
        server = Server(model="directive", allowed_hosts=["localhost"])

        async def handle(stream: trio.abc.Stream) -> None:
            # Who does not trust us goes away in the middle of the handshake.
            with contextlib.suppress(trio.BrokenResourceError):
                await server.handle(stream)

        (listener,) = await nursery.start(
            partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=True)
        )
        port: int = listener.transport_listener.socket.getsockname()[1]
        return port

    return start


async def fail_to_dial(port: int, context: ssl.SSLContext | None, host: str = "localhost") -> ConnectFailed:
    endpoint = Endpoint(f"wss://{host}:{port}/v1", ssl_context=context)
    with pytest.raises(ConnectFailed) as caught:
        await Dialler(TcpNetwork(), EngineOptions(), {}).dial(endpoint)
    assert ("tls", False, "change") == (
        caught.value.stage,
        caught.value.is_transient,
        caught.value.receipt.next,
    )
    return caught.value


async def test_a3_a_stranger_is_not_trusted_and_the_reason_is_told(serve) -> None:
    assert "CERTIFICATE_VERIFY_FAILED" in str(await fail_to_dial(await serve(), None))


async def test_a3_a_certificate_for_another_name_is_not_trusted(serve, trusting) -> None:
    assert "mismatch" in str(await fail_to_dial(await serve(), trusting, host="127.0.0.1"))


async def test_a3_an_expired_certificate_is_not_trusted(serve, authority, trusting) -> None:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    old = authority.issue_cert("localhost", not_before=yesterday - dt.timedelta(days=9), not_after=yesterday)

    assert "expired" in str(await fail_to_dial(await serve(old), trusting))


async def test_a3_a_server_without_tls_is_told_apart(nursery, trusting) -> None:
    async def greet(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
    failure = await fail_to_dial(listeners[0].socket.getsockname()[1], trusting)

    assert "WRONG_VERSION_NUMBER" in str(failure) or "record layer" in str(failure)
    nursery.cancel_scope.cancel()


async def test_a3_an_end_in_the_handshake_is_a_failure_of_tls(nursery, trusting) -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        await stream.receive_some()

    listeners = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
    await fail_to_dial(listeners[0].socket.getsockname()[1], trusting)
    nursery.cancel_scope.cancel()


async def test_a3_a_run_tries_once_and_never_without_verification(serve) -> None:
    async with triplane.open_engine(Endpoint(f"wss://localhost:{await serve()}/v1")) as engine:
        with pytest.raises(ConnectFailed) as caught:
            await engine.run(AGENT, "hello")
        assert (1, 1) == (caught.value.attempts, engine.statistics().pool.dial_failures)


async def test_an_environment_of_which_no_context_can_be_made_ends_no_engine(
    serve, monkeypatch, tmp_path
) -> None:
    endpoint = Endpoint(f"wss://localhost:{await serve()}/v1")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    async with triplane.open_engine(endpoint) as engine:
        for _ in range(2):
            with pytest.raises(ConnectFailed, match="SSL… of the environment") as caught:
                await engine.run(AGENT, "hello")

    assert ("tls", 1) == (caught.value.stage, caught.value.attempts)


async def test_a4_an_authority_of_ones_own_is_honoured(serve, trusting) -> None:
    endpoint = Endpoint(f"wss://localhost:{await serve()}/v1", ssl_context=trusting)
    async with triplane.open_engine(endpoint) as engine:
        assert "echo: hello" == (await engine.run(AGENT, "hello")).text


async def test_a4_the_authorities_of_the_environment_are_honoured(
    serve, authority, monkeypatch, tmp_path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with triplane.open_engine(Endpoint(f"wss://localhost:{await serve()}/v1")) as engine:
        assert "echo: hello" == (await engine.run(AGENT, "hello")).text


async def test_one_context_serves_all_connections_of_an_engine(serve, authority, monkeypatch) -> None:
    """Building one costs tens of milliseconds."""
    built = 0

    def build() -> ssl.SSLContext:
        nonlocal built
        built += 1
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        return context

    endpoint = Endpoint(f"wss://localhost:{await serve()}/v1")
    monkeypatch.setattr("triplane.net.dial.ssl.create_default_context", build)
    async with triplane.open_engine(endpoint) as engine, engine.lane(), engine.lane():
        assert (2, 1) == (engine.statistics().opened, built)
