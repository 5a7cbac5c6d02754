"""Who is let in: names that web pages may have made up, and web pages."""

from __future__ import annotations

import pytest
import trio
from http_client import HttpClient
from server_client import Client, Rejected

from triplane.server import OptionError, Server
from triplane.server.http.head import BadRequest, Head
from triplane.server.origin import Gate, Peer, _plain, is_address, is_loopback

HERE = "127.0.0.1"


def head(method="GET", **headers: str) -> Head:
    fields = {name.replace("_", "-").lower().encode(): value.encode() for name, value in headers.items()}
    return Head(method, "/", {}, "/", b"1.1", fields)


@pytest.mark.parametrize(
    "name", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"]
)
def test_names_that_mean_this_machine(name):
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["", "localhost.example", "example", "128.0.0.1", "0.0.0.0", "::2", "127.0.0.1.nip.io"]
)
def test_names_that_may_mean_another(name):
    assert not is_loopback(name)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "127.0.0.1:80",
        "[::1]:80",
        "::1:8080",
        "192.168.1.5:80",
        "box:80",
        "BOX",
    ],
)
def test_hosts_that_are_ours(host):
    Gate(["Box"], []).check(head(Host=host), "192.168.1.5")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "192.168.1.6",
        "",
        "localhost.evil.example",
        "boxer",
        "[::2]:80",
        ":::",
    ],
)
def test_a_foreign_host_is_misdirected(host):
    with pytest.raises(BadRequest) as caught:
        Gate(["box"], []).check(head(Host=host), "192.168.1.5")

    assert (caught.value.status, caught.value.code) == (421, "host_not_allowed")
    assert "allowed_hosts" in caught.value.message


async def test_the_name_that_it_listens_on_is_its_own(listening, monkeypatch):
    monkeypatch.setattr("triplane.server.app.trio.open_tcp_listeners", _on_loopback)
    async with listening(host="box.example") as handle:
        async with await trio.open_tcp_stream("127.0.0.1", handle.port) as stream:
            answer = await HttpClient(stream).ask("GET", "/healthz", Host="Box.Example:80")

    assert answer.status == 200


async def _on_loopback(port, *, host):
    assert host == "box.example"
    return await OPEN(port, host="127.0.0.1")


OPEN = trio.open_tcp_listeners


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("::", True), ("fe80::1%eth0", True), ("box", False), ("", False)],
)
def test_names_are_no_addresses(host, is_one):
    assert is_address(host) == is_one


def test_any_host_is_ours_if_we_say_so():
    Gate(["*"], []).check(head(Host="evil.example"), HERE)


def test_a_name_does_not_matter_where_there_is_no_network():
    Gate([], []).check(head(Host="memory"), None)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://127.0.0.1",
        "http://[::1]:80",
        "https://app.example",
        "http://box",
        "http://box:8",
    ],
)
def test_origins_that_are_let_in(origin):
    Gate(["box"], ["https://app.example"]).check(head(Host="localhost", Origin=origin), HERE)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "null",
        "",
        "file://localhost",
        "http://[",
    ],
)
@pytest.mark.parametrize("hosts", [["box"], ["*"]])
def test_a_foreign_origin_is_forbidden(origin, hosts):
    with pytest.raises(BadRequest) as caught:
        Gate(hosts, ["https://app.example"]).check(head(Host="localhost", Origin=origin), HERE)

    assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")
    assert "allowed_origins" in caught.value.message


def test_any_origin_is_let_in_if_we_say_so():
    Gate([], ["*"]).check(head(Host="localhost", Origin="null"), HERE)


async def test_upgrades_and_requests_of_foreign_pages_are_refused_alike(connect):
    with pytest.raises(Rejected) as caught:
        await connect(headers={"Origin": "https://evil.example"})
    answers = [
        await HttpClient((await connect(upgrade=False)).stream).ask(*request, Origin="https://evil.example")
        for request in (
            ("GET", "/healthz"),
            ("POST", "/v1/responses", {"model": "directive"}),
            ("DELETE", "/_triplane/journal"),
            ("OPTIONS", "/v1/responses"),
        )
    ]

    assert caught.value.status == 403
    assert [answer.status for answer in answers] == [403] * 4


async def test_a_page_that_is_let_in_can_read_what_it_gets(connect):
    page = "https://app.example"
    client = HttpClient((await connect(upgrade=False, allowed_origins=[page], api_key="sk-1")).stream)

    preflight = await client.ask(
        "OPTIONS",
        "/v1/responses",
        Origin=page,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type",
    )
    answer = await client.ask(
        "POST", "/v1/responses", {"model": "directive"}, Origin=page, Authorization="Bearer sk-1"
    )

    assert preflight.status == 200
    assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == page
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "options",
    [
        {"allowed_hosts": "box"},
        {"allowed_hosts": [5]},
        {"allowed_origins": "https://app.example"},
        {"max_body_size": 0},
        {"keep_alive_timeout": 0},
        {"body_timeout": 0},
        {"max_journal": -1},
        {"control": "no"},
    ],
)
def test_options_that_have_no_such_value(options):
    with pytest.raises(OptionError):
        Server(**options)


def test_addresses_are_compared_as_they_stand_in_urls():
    assert [_plain(text) for text in ("::ffff:127.0.0.1", "fe80::1%eth0", "10.0.0.1")] == [
        "127.0.0.1",
        "fe80::1",
        "10.0.0.1",
    ]


async def test_a_socket_knows_its_addresses(listening):
    async with listening() as handle:
        stream = await trio.open_tcp_stream(handle.host, handle.port)
        client = HttpClient(stream)
        assert Peer.of(stream) == Peer(HERE, HERE)
        ours = await client.ask("GET", "/healthz", Host="localhost")
        foreign = await client.ask("GET", "/healthz", Host=f"evil.example:{handle.port}")
        await stream.aclose()
        async with await trio.open_tcp_stream(handle.host, handle.port) as other:
            with pytest.raises(Rejected) as caught:
                await Client(other).connect(Origin="null")

    assert (ours.status, foreign.status, caught.value.status) == (200, 421, 403)
    assert Peer.of(stream) == Peer("", "")
