"""The HTTP side: request heads of all kinds, the plain resources, upgrades that are refused."""

from __future__ import annotations

import h11
import orjson
import pytest
import trio
from server_client import Rejected

from triplane.server import RefuseUpgrade

UPGRADE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def head(method="GET", target="/healthz", headers=None, version="1.1") -> bytes:
    fields = {"Host": "localhost", **(headers or {})}
    lines = [f"{method} {target} HTTP/{version}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode()


async def answer(client, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Read one answer, up to the end of the connection."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Upgrade", "websocket")]))
    parser.send(h11.EndOfMessage())
    response, body = None, b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            parser.receive_data(await client.stream.receive_some())
        elif isinstance(event, (h11.Response, h11.InformationalResponse)):
            response = event
            if response.status_code == 101:
                break
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    return response.status_code, {n.decode(): v.decode() for n, v in response.headers}, body


async def ask(client, data: bytes, method: str = "GET"):
    await client.stream.send_all(data)
    status, headers, body = await answer(client, method)
    assert headers["content-type"] == "application/json"
    return status, headers, orjson.loads(body) if body else None


@pytest.mark.parametrize(
    "target", ["/healthz", "/healthz?verbose=1", "http://localhost/healthz", "/healthz#x"], ids=str
)
async def test_healthz(connect, target):
    client = await connect(upgrade=False)

    status, _, body = await ask(client, head(target=target))

    assert (status, body) == (200, {"status": "ok"})


async def test_models(connect):
    client = await connect(upgrade=False, model={"gpt-5.5": "directive"})

    _, _, body = await ask(client, head(target="/v1/models"))

    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["directive", "echo", "gpt-5.5", "mender", "surveyor"]
    assert body["data"][0] == {
        "id": "directive",
        "object": "model",
        "created": 1_800_000_000,
        "owned_by": "triplane",
    }


@pytest.mark.parametrize("target", ["/healthz", "/nothing"])
async def test_head_has_no_body(connect, target):
    client = await connect(upgrade=False)

    status, headers, body = await ask(client, head("HEAD", target), "HEAD")

    assert status == (200 if target == "/healthz" else 404)
    assert int(headers["content-length"]) > 0
    assert body is None


@pytest.mark.parametrize(
    ("request_head", "status", "extra"),
    [
        (head(target="/"), 404, {}),
        (head(target="/v1/chat/completions"), 404, {}),
        (head("POST", "/healthz", {"Content-Length": "0"}), 405, {"allow": "GET, HEAD"}),
        (head("DELETE", "/v1/models"), 405, {"allow": "GET, HEAD"}),
        (head("PUT", "/v1/responses", {"Content-Length": "2"}) + b"{}", 405, {"allow": "GET, POST, HEAD", "connection": "close"}),
        (head(target="/v1/responses"), 426, {"upgrade": "websocket"}),
        (head(target="/v1/responses", headers={"Upgrade": "h2c", "Connection": "Upgrade"}), 426, {}),
        (head(target="/v1/responses", headers={**UPGRADE, "Connection": None}), 400, {}),
        (head(target="/v1/responses", headers={**UPGRADE, "Sec-WebSocket-Key": None}), 400, {}),
        (head(target="/v1/responses", headers={**UPGRADE, "Sec-WebSocket-Key": "c2hvcnQ="}), 400, {}),
        (head(target="/v1/responses", headers={**UPGRADE, "Sec-WebSocket-Key": "%%%"}), 400, {}),
        (head(target="/v1/responses", headers={**UPGRADE, "Sec-WebSocket-Version": "8"}), 426, {"sec-websocket-version": "13"}),
        (head(target="/v1/responses", headers={**UPGRADE, "Content-Length": "3"}) + b"abc", 400, {}),
        (head(target="/v1/responses", headers=UPGRADE, version="1.0"), 400, {}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n", 400, {}),
        (b"GET /healthz\r\n\r\n", 400, {}),
        (head(headers={"Host": None}), 400, {}),
        (head(headers={"Bad Name": "x"}), 400, {}),
        (head(headers={"X": "a" * 70_000}), 431, {}),
        (head(target="http://[/"), 400, {}),
        (head(target="*"), 404, {}),
    ],
)  # fmt: skip
async def test_errors_explain_themselves(connect, autojump_clock, request_head, status, extra):
    client = await connect(upgrade=False)

    got, headers, body = await ask(client, request_head)

    assert got == status
    assert headers.items() >= extra.items()
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["message"]


async def test_a_head_in_single_bytes(connect):
    client = await connect(upgrade=False)
    for byte in head(target="/v1/responses", headers=UPGRADE):
        await client.stream.send_all(bytes([byte]))
        await trio.testing.wait_all_tasks_blocked()

    status, headers, _ = await answer(client)

    assert status == 101
    # The example of RFC 6455, section 1.3.
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_frames_right_behind_the_head_are_not_lost(connect):
    client = await connect(upgrade=False)
    ping = b"\x89\x84\0\0\0\0ping"

    await client.stream.send_all(head(target="/v1/responses", headers=UPGRADE) + ping)

    assert (await answer(client))[0] == 101
    assert await client.stream.receive_some() == b"\x8a\x04ping"


async def test_only_the_head_counts_against_its_limit(connect):
    client = await connect(upgrade=False)
    pings = b"\x89\x84\0\0\0\0ping" * 1000

    await client.stream.send_all(head(target="/v1/responses", headers={**UPGRADE, "X": "x" * 62_000}) + pings)

    assert (await answer(client))[0] == 101


@pytest.mark.parametrize(
    "target", ["/v1/responses", "/responses", "/v1/responses?model=x", "ws://h/v1/responses"]
)
async def test_upgrade(connect, target):
    client = await connect(upgrade=False)

    await client.stream.send_all(
        head(target=target, headers={**UPGRADE, "Host": "ex\xe4mple", "X-Odd": '"~"'})
    )

    assert (await answer(client))[0] == 101


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc"])
async def test_a_head_that_never_completes(connect, autojump_clock, sent):
    client = await connect(upgrade=False, handshake_timeout=7)
    await client.stream.send_all(sent)

    assert await client.stream.receive_some() == b""
    assert trio.current_time() == 7


async def test_a_head_that_drips_in_too_slowly(connect, autojump_clock):
    client = await connect(upgrade=False, handshake_timeout=7)

    with pytest.raises(trio.BrokenResourceError):
        for byte in head(headers={"X": "x" * 100}):
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(1)

    assert trio.current_time() == pytest.approx(8, abs=1)


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_a_client_that_leaves_in_mid_head(connect, sent):
    client = await connect(upgrade=False)
    if sent:
        await client.stream.send_all(sent)
    await client.stream.send_stream.aclose()

    received = await client.stream.receive_some()

    assert received.startswith(b"HTTP/1.1 400 ") if sent else received == b""


async def test_an_endless_head_is_cut_off(connect):
    client = await connect(upgrade=False)
    await client.stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    for _ in range(5):
        await client.stream.send_all(b"x" * 16_384)

    status, _, _ = await answer(client)

    assert status == 431


KEY = "sk-wörd"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
    ],
)
@pytest.mark.parametrize("target", ["/v1/responses", "/v1/models"])
async def test_a_wrong_key(connect, caplog, target, authorization):
    client = await connect(upgrade=False, api_key=KEY)

    status, headers, body = await ask(
        client, head(target=target, headers={**UPGRADE, "Authorization": authorization})
    )

    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert headers["www-authenticate"] == "Bearer"
    assert "wörd" not in str(body) + caplog.text + repr(client.server) + repr(client.server._options)
    assert client.server.statistics().upgrades == 0


async def test_the_right_key(connect):
    client = await connect(api_key="sk-1", headers={"Authorization": "bearer sk-1"})

    assert (await client.ask("hello")).text == "echo: hello"


async def test_a_bad_header_is_not_quoted(connect):
    """h11 quotes the line it cannot read, which may hold the key."""
    client = await connect(upgrade=False, api_key="sk-1")

    _, _, body = await ask(client, head(headers={"Authorization": "Bearer sk-secret\x00"}))

    assert "secret" not in str(body)


async def test_healthz_needs_no_key(connect):
    client = await connect(upgrade=False, api_key="sk-1")

    assert (await ask(client, head()))[0] == 200


async def test_refused_upgrades(connect):
    faults = [
        RefuseUpgrade(503, headers={"Retry-After": "1"}, nth=1),
        RefuseUpgrade(429, body=b'{"error":{"message":"slow down"}}', nth=2),
    ]
    with pytest.raises(Rejected) as first:
        await connect(faults=faults)
    with pytest.raises(Rejected) as second:
        await connect()
    client = await connect()

    assert (first.value.status, first.value.headers["retry-after"]) == (503, "1")
    assert first.value.error["type"] == "server_error"
    assert (second.value.status, second.value.error) == (429, {"message": "slow down"})
    assert client.server.statistics().upgrades == 3
    assert client.server.statistics().upgrades_refused == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "invalid_request_error"), (500, "server_error"), (599, "server_error")]
)
async def test_any_final_status_can_refuse(connect, status, kind):
    with pytest.raises(Rejected) as caught:
        await connect(faults=[RefuseUpgrade(status)])

    assert (caught.value.status, caught.value.error["type"]) == (status, kind)


async def test_every_upgrade_refused(connect):
    for _ in range(3):
        with pytest.raises(Rejected) as caught:
            await connect(faults=[RefuseUpgrade(403)])
        assert caught.value.status == 403
