"""HTTP connections: several requests, bodies of all kinds, and an end for whoever is slow or gone."""

from __future__ import annotations

import gzip
import re

import orjson
import pytest
import trio
import trio.testing
from http_client import HttpClient

from triplane.server import Text
from triplane.server.http.head import MAX_HEAD

CREATE = {"model": "directive", "input": "x"}
PATH = "/v1/responses"


async def closed(client) -> bool:
    try:
        return await client.stream.receive_some() == b""
    except trio.BrokenResourceError:
        return True


async def test_a_connection_carries_several_requests(http):
    client = await http()

    for _ in range(3):
        assert (await client.post("x")).status == 200
        assert (await client.post("x", stream=True)).types[-1] == "completed"
        assert (await client.ask("GET", "/nothing")).status == 404
        assert (await client.ask("HEAD", "/healthz")).content == b""

    assert client.server.statistics().connections_opened == 1


async def test_an_upgrade_may_follow_requests(connect):
    client = await connect(upgrade=False)
    assert (await HttpClient(client.stream).ask("GET", "/healthz")).status == 200

    await client.connect()

    assert (await client.ask("hello")).text == "echo: hello"


async def test_requests_sent_ahead_are_answered_in_order(http):
    client = await http()
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    create = orjson.dumps({**CREATE, "input": "WAIT 10\nSAY 1 a"})
    post = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(create), create)

    await client.stream.send_all(post + head % b"/nothing" + head % b"/healthz")

    received = b""
    while b'{"status":"ok"}' not in received:
        received += await client.stream.receive_some()
    assert re.findall(rb"HTTP/1.1 (\d+) ", received) == [b"200", b"404", b"200"]


@pytest.mark.parametrize(("version", "connection"), [(b"1.1", b"close"), (b"1.0", b"x")])
async def test_the_client_decides_whether_the_connection_stays(http, version, connection):
    client = await http()

    await client.stream.send_all(
        b"GET /healthz HTTP/%b\r\nHost: x\r\nConnection: %b\r\n\r\n" % (version, connection)
    )

    received = b""
    while data := await client.stream.receive_some():
        received += data
    assert received.endswith(b'{"status":"ok"}')


async def test_a_chunked_body(http):
    client = await http()
    body = orjson.dumps(CREATE)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)

    await client.stream.send_all(
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )

    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_waits_is_told_to_go_on(http):
    client = await http()
    body = orjson.dumps(CREATE)
    head = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    await client.stream.send_all(head % len(body))

    assert await client.stream.receive_some() == b"HTTP/1.1 100 \r\n\r\n"
    await client.stream.send_all(body)

    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_waits_in_vain_is_not_told_to_go_on(http, autojump_clock):
    client = await http(api_key="sk-1")
    await client.stream.send_all(
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )

    answer = await client.stream.receive_some()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in answer
    assert await closed(client)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(http, autojump_clock, chunked):
    client = await http(max_body_size=1000)
    fields = {"Transfer_Encoding": "chunked"} if chunked else {}
    exact = orjson.dumps({**CREATE, "input": "x" * (1000 - len(orjson.dumps({**CREATE, "input": ""})))})
    assert len(exact) == 1000

    assert (await client.ask("POST", PATH, body=exact, **fields)).status == 200
    answer = await client.ask("POST", PATH, body=exact + b" ", **fields)

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert answer.headers["connection"] == "close"
    assert await closed(client)


async def test_a_large_body_arrives(http):
    client = await http()

    answer = await client.post("x" * 3_000_000)

    assert answer.json["usage"]["input_tokens"] > 700_000


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (
            gzip.compress(orjson.dumps(CREATE), mtime=0),
            {"Content_Encoding": "gzip"},
            415,
            "unsupported_content_encoding",
        ),
        (orjson.dumps(CREATE), {"Content_Type": "text/plain"}, 415, None),
        (b"{", {}, 400, "invalid_json"),
        (b"[]", {}, 400, "invalid_type"),
        (b"\xff", {}, 400, "invalid_json"),
        (b"[" * 100_000, {}, 400, "invalid_json"),
        (b"", {}, 400, "missing_required_parameter"),
    ],
)
async def test_bodies_that_are_no_requests(http, autojump_clock, body, headers, status, code):
    client = await http()

    answer = await client.ask("POST", PATH, body=body, **headers)

    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"]
)
async def test_content_types_that_are_json(http, kind):
    client = await http()

    assert (await client.ask("POST", PATH, CREATE, Content_Type=kind)).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ],
)
async def test_bodies_that_end_early_or_never_begin(http, data):
    client = await http()
    await client.stream.send_all(data)
    await client.stream.send_stream.aclose()

    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert await closed(client)


async def test_a_body_that_never_comes(http, autojump_clock):
    client = await http(body_timeout=20, close_timeout=1)
    await client.stream.send_all(b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")

    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 408 ")
    assert trio.current_time() == 20
    assert await closed(client)
    assert trio.current_time() <= 21


async def test_an_idle_connection_ends(http, autojump_clock):
    client = await http(keep_alive_timeout=50, handshake_timeout=5)
    assert (await client.ask("GET", "/healthz")).status == 200

    assert await closed(client)
    assert trio.current_time() == 50


async def test_a_head_may_take_its_time_after_an_idle_connection_too(http, autojump_clock):
    client = await http(keep_alive_timeout=50, handshake_timeout=5)
    assert (await client.ask("GET", "/healthz")).status == 200
    await trio.sleep(49)
    await client.stream.send_all(b"GET /he")
    await trio.sleep(4)

    await client.stream.send_all(b"althz HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_the_second_head_has_its_limit_too(http):
    client = await http()
    assert (await client.ask("GET", "/healthz")).status == 200

    await client.stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * MAX_HEAD)

    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 431 ")


class Endless:
    """Says more and more, and counts."""

    name = "endless"

    def __init__(self) -> None:
        self.said = 0

    def respond(self, request):
        while True:
            self.said += 1
            yield Text("x" * 1000)


async def test_a_reader_that_stops_is_waited_for_and_then_given_up(http, autojump_clock):
    model = Endless()
    client = await http(model=model, send_timeout=30, pair=trio.testing.lockstep_stream_pair)
    await client.send("POST", PATH, {"model": "endless", "stream": True})
    await client.head()
    await trio.testing.wait_all_tasks_blocked()
    made = model.said

    await trio.sleep(29)
    assert (model.said, client.server.statistics().connections_now) == (made, 1)
    # What is made ahead is bounded.
    assert made < 100
    await trio.sleep(2)

    assert client.server.statistics().connections_now == 0


async def test_a_client_that_leaves_before_its_answer_is_not_waited_for(http, autojump_clock):
    client = await http(latency=1000)
    await client.send("POST", PATH, CREATE)
    await trio.testing.wait_all_tasks_blocked()

    await client.stream.aclose()
    await trio.testing.wait_all_tasks_blocked()

    assert client.server.statistics().connections_now == 0
    assert client.server.statistics().responses_completed == 0


async def test_shutting_down_ends_an_answer_at_once(connect, autojump_clock):
    client = await connect(upgrade=False, latency=1000)
    await HttpClient(client.stream).send("POST", PATH, CREATE)
    await trio.testing.wait_all_tasks_blocked()

    client.shut_down()

    assert await client.stream.receive_some() == b""
    assert trio.current_time() == 0
