"""What the doctor finds at endpoints that are well, and at those that are not."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial

import attrs
import orjson
import pytest
import trio
import trio.testing
import trustme

from triplane import Endpoint, EngineOptions
from triplane.doctor import examine
from triplane.doctor.checks import NAMES
from triplane.server import (
    CloseAtOnce,
    CloseSocket,
    ErrorEvent,
    IgnoreUpgrade,
    RedirectUpgrade,
    RefuseUpgrade,
    Server,
    SlowPong,
    serve,
)

KEY = "sk-very-secret-canary"
TALK = ("ping", "turn", "continuation", "warm-up", "lanes")


class Memory:
    """Leads every name to one server over memory streams."""

    def __init__(self, nursery: trio.Nursery, server: Server) -> None:
        self._nursery = nursery
        self._server = server
        self.open = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        self.open += 1
        try:
            await self._server.handle(stream)
        finally:
            self.open -= 1


@pytest.fixture
async def examined(nursery):
    """Examines a server with some options over memory streams; the report, whose checks hold no key."""

    async def make(*, url="ws://memory.example/v1", api_key=None, model="m", environ=None, **options):
        server = Server(**{"model": "directive", "allowed_hosts": ["memory.example"], **options})
        network = Memory(nursery, server)
        told: list[str] = []
        report = await examine(
            Endpoint(url, api_key=api_key),
            model=model,
            patience=30,
            network=network,
            environ=environ or {},
            told=lambda check: told.append(check.name),
        )
        # Told as they were made, in the order of the report, each once; and nothing of it stays open.
        assert list(NAMES) == told == [check.name for check in report.checks]
        await trio.testing.wait_all_tasks_blocked()
        assert 0 == network.open
        assert "canary" not in f"{report}{orjson.dumps(report.as_json())}"
        return report

    return make


def statuses(report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


WELL = {
    **dict.fromkeys(("url", "dns", "tcp", "upgrade", "auth", *TALK, "http"), "ok"),
    **dict.fromkeys(("proxy", "tls", "age limit"), "skipped"),
}


async def test_all_is_well(examined, autojump_clock) -> None:
    report = await examined(api_key=KEY)

    assert WELL == statuses(report)
    assert report.is_healthy
    assert ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"] == report["dns"].facts["addresses"]
    assert "192.0.2.1, 2001:db8::1, 192.0.2.2 and 1 more" == report["dns"].found
    assert "the key was accepted" == report["auth"].found
    assert "m" == report["turn"].facts["model"]
    assert report["turn"].facts["output"] > 0
    assert {"lanes": True} == report["lanes"].facts


@pytest.mark.parametrize("mode", ["azure", "xai", "spec", "rejecting"])
async def test_a_server_without_lanes_is_well(examined, autojump_clock, mode) -> None:
    report = await examined(mode=mode)

    assert {**WELL, "lanes": "skipped"} == statuses(report)
    assert report.is_healthy
    assert "one response at a time" in report["lanes"].found


async def test_without_a_model_no_turn_is_paid_for(examined, autojump_clock) -> None:
    report = await examined(model=None)

    assert {**WELL, **dict.fromkeys(TALK[1:], "skipped")} == statuses(report)
    assert "needs --model" in report["turn"].found


async def test_a_server_of_ones_own_is_asked_for_its_models(nursery) -> None:
    handle = await nursery.start(partial(serve, api_key=KEY))
    report = await examine(Endpoint(handle.url, api_key=KEY), environ={})
    nursery.cancel_scope.cancel()

    assert {**WELL, "dns": "skipped"} == statuses(report)
    assert "echo" == report["turn"].facts["model"]


async def test_a_wrong_key(nursery) -> None:
    handle = await nursery.start(partial(serve, api_key="another-key"))
    for key, advice in ((KEY, "not revoked"), (None, "no key was sent: set OPENAI_API_KEY")):
        report = await examine(Endpoint(handle.url, api_key=key), environ={})

        assert ("skipped", "failed", "failed") == (
            report["upgrade"].status,
            report["auth"].status,
            report["http"].status,
        )
        assert 401 == report["auth"].facts["status"]
        assert advice in report["auth"].advice
        assert {"skipped"} == {report[name].status for name in TALK}
        assert not report.is_healthy
        assert "canary" not in f"{report}"
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [1008, 4401])
async def test_let_in_and_put_out_at_once(examined, autojump_clock, code) -> None:
    report = await examined(api_key=KEY, faults=[CloseAtOnce(code, reason="no such account")])

    assert ("ok", "failed") == (report["upgrade"].status, report["auth"].status)
    assert {"close_code": code, "close_reason": "no such account"} == report["auth"].facts
    assert {"skipped"} == {report[name].status for name in TALK}


@pytest.mark.parametrize(
    ("fault", "words", "advice"),
    [
        (RefuseUpgrade(404), "HTTP status 404", "check the URL's path"),
        (RefuseUpgrade(426), "HTTP status 426", "--transport auto"),
        (RefuseUpgrade(426), "HTTP status 426", "check the URL's path"),
        (RefuseUpgrade(429, headers={"Retry-After": "70"}), "HTTP status 429", "asks to wait 70 s"),
        (RefuseUpgrade(503), "HTTP status 503", ""),
        (RedirectUpgrade("https://elsewhere.example/v1"), "it redirects to another place", ""),
        (IgnoreUpgrade(), "did not answer the upgrade within 15 s", ""),
    ],
)
async def test_a_refused_upgrade(examined, autojump_clock, fault, words, advice) -> None:
    report = await examined(faults=[fault])

    assert "failed" == report["upgrade"].status
    assert words in report["upgrade"].found
    assert advice == report["upgrade"].advice or (advice and advice in report["upgrade"].advice)
    assert {"skipped"} == {report[name].status for name in ("auth", *TALK)}
    # HTTP may work all the same.
    assert "ok" == report["http"].status


async def test_a_redirect_is_told_of(examined, autojump_clock) -> None:
    report = await examined(faults=[RedirectUpgrade("/v1/responses?x=1", nth=1)])

    assert WELL == statuses(report)
    assert "after a redirect to /v1/responses?x=1" in report["upgrade"].found


async def test_a_ping_that_is_not_answered(examined, autojump_clock) -> None:
    report = await examined(faults=[SlowPong()])

    assert {**WELL, "ping": "failed"} == statuses(report)
    assert "no pong came within 5 s" in report["ping"].found


async def test_a_model_that_is_not_there(examined, autojump_clock) -> None:
    report = await examined(model="nonesuch", strict_models=True)

    assert ["failed", "skipped", "skipped"] == [
        report[name].status for name in ("turn", "continuation", "warm-up")
    ]
    assert "model_not_found" in report["turn"].found
    assert "check --model" in report["turn"].advice
    assert not report.is_healthy


async def test_a_server_that_forgets(examined, autojump_clock) -> None:
    fault = ErrorEvent(0, code="previous_response_not_found", status=400, message="gone", nth=2)
    report = await examined(faults=[fault])

    assert {**WELL, "continuation": "failed"} == statuses(report)
    assert "previous_response_not_found (400)" in report["continuation"].found
    assert "whole conversation" in report["continuation"].advice


async def test_a_server_that_refuses_warm_ups_is_well(examined, autojump_clock) -> None:
    report = await examined(warm_up="refuse")

    assert ("skipped", True) == (report["warm-up"].status, report.is_healthy)
    assert report["warm-up"].found.startswith("not offered: ")


@pytest.mark.parametrize(("nth", "failed"), [(1, "turn"), (2, "continuation"), (3, "warm-up"), (4, "lanes")])
async def test_a_connection_that_breaks(examined, autojump_clock, nth, failed) -> None:
    report = await examined(faults=[CloseSocket(0, code=1011, reason="oops", nth=nth)])

    assert "failed" == report[failed].status
    assert "1011" in report[failed].found
    rest = NAMES[NAMES.index(failed) + 1 : NAMES.index("http")]
    assert {"skipped"} >= {report[name].status for name in rest}
    assert "ok" == report["http"].status


async def test_a_name_that_is_not_known(autojump_clock) -> None:
    class Nowhere:
        async def resolve(self, host: str, port: int) -> list[str]:
            await trio.lowlevel.checkpoint()
            raise OSError("no such name")

        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            raise AssertionError

    report = await examine(Endpoint("wss://api.openai.com/v1"), network=Nowhere(), environ={})

    assert ("ok", "failed") == (report["url"].status, report["dns"].status)
    assert "no such name" in report["dns"].found
    assert {"not reached"} == {report[name].found for name in NAMES[2:-1]}
    # What is known without asking is told.
    assert "60 min, as documented; connections are replaced after 55 min" == report["age limit"].found


@pytest.mark.parametrize(
    ("endpoint", "found", "advised"),
    [
        (Endpoint.xai("k"), "25 min, as documented; connections are replaced after 24 min", False),
        (
            Endpoint("https://api.x.ai/v1"),
            "25 min, as documented; connections are replaced after 55 min",
            True,
        ),
        (
            Endpoint.azure("r", api_key="k"),
            "60 min, as documented; connections are replaced after 55 min",
            False,
        ),
        (
            attrs.evolve(Endpoint.openai("k"), max_age=None),
            "60 min, as documented; connections are replaced never",
            True,
        ),
    ],
)
async def test_the_age_limit(autojump_clock, endpoint, found, advised) -> None:
    class Closed:
        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            raise OSError("closed")

    report = await examine(endpoint, network=Closed(), environ={})

    assert (found, advised) == (report["age limit"].found, bool(report["age limit"].advice))


async def test_a_proxy_in_the_way(nursery, autojump_clock) -> None:
    server = Server(model="directive", allowed_hosts=["memory.example"])

    class ToTheProxy:
        async def resolve(self, host: str, port: int) -> list[str]:
            await trio.lowlevel.checkpoint()
            return ["192.0.2.9"]

        async def connect(self, host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(self._lead_on, theirs)
            return ours

        async def _lead_on(self, stream: trio.abc.Stream) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            await server.handle(stream)

    environ = {"HTTP_PROXY": "http://name:canary-password@proxy.example:3128"}
    report = await examine(
        Endpoint("ws://memory.example/v1"), model="m", network=ToTheProxy(), environ=environ
    )

    assert {**WELL, "proxy": "ok"} == statuses(report)
    assert "leads on, through proxy.example port 3128" == report["proxy"].found
    assert report["dns"].found.startswith("of the proxy proxy.example: ")
    assert "canary" not in f"{report}"

    refused = await examine(
        Endpoint("ws://memory.example/v1"), network=ToTheProxy(), environ={"HTTP_PROXY": "socks5://p"}
    )
    assert ("failed", "skipped") == (refused["proxy"].status, refused["upgrade"].status)


async def test_a_port_where_nothing_listens() -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        report = await examine(Endpoint.local(taken.getsockname()[1]), environ={})

    assert ("skipped", "failed") == (report["dns"].status, report["tcp"].status)
    assert "refused" in report["tcp"].found


async def test_a_server_that_speaks_something_else(nursery) -> None:
    async def greet(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"SSH-2.0-OpenSSH_9.2\r\n")
        await stream.receive_some()

    listeners = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
    report = await examine(
        Endpoint.local(listeners[0].socket.getsockname()[1]),
        environ={},
        options=EngineOptions(upgrade_timeout=5),
    )
    nursery.cancel_scope.cancel()

    assert ("failed", "failed") == (report["upgrade"].status, report["http"].status)
    assert "no answer to a POST" in report["http"].found


async def test_a_certificate_of_an_unknown_authority_and_of_a_known_one(nursery) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    server = Server(model="directive", allowed_hosts=["localhost"])

    async def handle(stream: trio.abc.Stream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await server.handle(stream)

    (listener,) = await nursery.start(
        partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1", https_compatible=True)
    )
    url = f"wss://localhost:{listener.transport_listener.socket.getsockname()[1]}/v1"
    strange = await examine(Endpoint(url), environ={})
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    well = await examine(Endpoint(url, ssl_context=trusting), environ={})
    nursery.cancel_scope.cancel()

    assert ("failed", "skipped") == (strange["tls"].status, strange["upgrade"].status)
    assert "CERTIFICATE_VERIFY_FAILED" in strange["tls"].found
    assert "SSL_CERT_FILE" in strange["tls"].advice
    assert {**WELL, "tls": "ok"} == statuses(well)
    assert well["tls"].found.startswith("TLSv1.3, certificate by trustme")
    assert well["tls"].facts["certificate_days"] > 0


async def test_a_cancelled_examination_leaves_nothing_open(nursery, autojump_clock) -> None:
    network = Memory(nursery, Server(model="directive", allowed_hosts=["memory.example"], latency=100))
    with trio.move_on_after(50) as scope:
        await examine(Endpoint("ws://memory.example/v1"), model="m", network=network, environ={})
    await trio.testing.wait_all_tasks_blocked()

    assert scope.cancelled_caught
    assert 0 == network.open
