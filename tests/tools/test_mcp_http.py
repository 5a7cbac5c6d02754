"""MCP over HTTP with a server that answers as a server should not, request by request."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
import trio
from tool_bench import Recorder, call, run_all, run_one, until

from triplane.core.errors import ConfigError, McpFailed
from triplane.tools import FailurePolicy, Tool, ToolFailedError, mcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JSON = "application/json"


@attrs.define
class Rude:
    """A server of MCP, before 2026, by hand."""

    answers: dict[str, Any] = attrs.field(factory=dict)
    heard: list[Any] = attrs.field(factory=list)
    headers: list[dict[str, str]] = attrs.field(factory=list)
    sessions: int = 0
    url: str = ""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def serve(self, listener: trio.SocketListener) -> None:
        with self.scope:
            await trio.serve_listeners(self.handle, [listener])

    async def handle(self, stream: trio.SocketStream) -> None:
        try:
            await self._handle(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _handle(self, stream: trio.SocketStream) -> None:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                if not (chunk := await stream.receive_some()):
                    return
                buffer += chunk
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            while len(buffer) < int(headers.get("content-length", 0)):
                buffer += await stream.receive_some()
            size = int(headers.get("content-length", 0))
            body, buffer = buffer[:size], buffer[size:]
            message = orjson.loads(body) if body else {"method": first.split()[0]}
            self.heard.append(message)
            self.headers.append(headers)
            if not await self._answer(stream, message, headers):
                return

    async def _answer(self, stream: trio.SocketStream, message: Any, headers: dict[str, str]) -> bool:
        method = message["method"]
        name = message.get("params", {}).get("name", method)
        answer = self.answers.get(name, self.answers.get(method))
        if answer == "hang":
            await trio.sleep_forever()
        if answer == "reset":
            return False
        if answer == "cut":
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            )
            return False
        if answer == "stream":
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: nothing is said\r\n\r\n"
            )
            await stream.receive_some()
            self.heard.append({"method": "hung up", "name": name})
            return False
        if isinstance(answer, tuple):
            await stream.send_all(response(*answer))
            return True
        if method == "initialize":
            self.sessions += 1
            said = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
            result: Any = {**said, "serverInfo": {"name": "rude", "version": "1"}}
        elif method == "tools/list":
            names = ["fine", "other"]
            result = {"tools": [{"name": each, "inputSchema": {"type": "object"}} for each in names]}
        elif method == "tools/call":
            result = {"content": [{"type": "text", "text": answer or "fine"}]}
        elif "id" not in message:
            status = 405 if method in ("GET", "DELETE") else 202
            await stream.send_all(response(status, "", ""))
            return True
        else:
            error = {"code": -32601, "message": "no such method"}
            await stream.send_all(response(400, JSON, {"jsonrpc": "2.0", "id": None, "error": error}))
            return True
        session = f"mcp-session-id: {self.sessions}" if method == "initialize" else ""
        await stream.send_all(
            response(200, JSON, {"jsonrpc": "2.0", "id": message["id"], "result": result}, session)
        )
        return True


def response(status: int, kind: str, body: Any, *more: str) -> bytes:
    content = body if isinstance(body, bytes) else orjson.dumps(body) if kind == JSON else body.encode()
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-type: {kind}",
        f"content-length: {len(content)}",
        *filter(None, more),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


@asynccontextmanager
async def rude(**answers: Any) -> AsyncIterator[Rude]:
    server = Rude(answers)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(server.serve, listener)
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
        yield server
        nursery.cancel_scope.cancel()


def by_name(server: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in server.tools}


async def test_nobody_there() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
    await listener.aclose()
    with pytest.raises(McpFailed, match=f"the MCP server '{url}' could not be opened: ConnectError"):
        async with mcp.open_mcp(mcp.Http(url + "?secret=1")):
            raise AssertionError


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"server/discover": (401, "text/plain", "who are you?"), "initialize": (401, "text/plain", "who are you?")},
         "could not be opened: HTTP status 401; check headers= or auth=: who are you?"),
        ({"initialize": (404, JSON, {"detail": "Not Found"})}, "could not be opened: Not Found"),
        ({"initialize": (404, "text/plain", "gone")}, "could not be opened: HTTP status 404: gone"),
        ({"server/discover": (404, "text/plain", "what?"), "initialize": (503, "text/plain", "busy")},
         "could not be opened: HTTP status 503: busy"),
        ({"initialize": (500, "text/html", "<h1>" + "x" * 9_000)}, "could not be opened: HTTP status 500: <h1>xxx"),
        ({"server/discover": "hang"}, "did not answer within 0.3 s"),
        ({"tools/list": "stream"}, "did not answer within 0.3 s"),
    ],
)  # fmt: skip
async def test_what_cannot_be_opened(answers: Any, words: str) -> None:
    async with rude(**answers) as server:
        with pytest.raises(McpFailed) as caught:
            async with mcp.open_mcp(
                mcp.Http(server.url), name="rude", start_timeout=0.3 if "within" in words else 20
            ):
                raise AssertionError

    assert str(caught.value).startswith(f"the MCP server 'rude' {words}")
    assert len(str(caught.value)) < 1_000
    # The same again would be told the same.
    assert (
        "change" if "status 40" in words or "Not Found" in words else "retry"
    ) == caught.value.receipt.next


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("reset", "McpFailed: the MCP server 'rude' could not be reached: RemoteProtocolError"),
        ("cut", "McpToolError: Failed to parse JSON response: RemoteProtocolError"),
        ((503, "text/plain", "busy"), "McpFailed: the MCP server 'rude' could not be reached: HTTP status 503: busy"),
        ((200, JSON, b"x" * (17 * 2**20)), "Failed to parse JSON response: the answer is longer than 16,777,216 bytes"),
        ((200, JSON, "", "content-encoding: gzip"), "could not be reached: the answer is compressed"),
        ((200, "text/event-stream", "data: {\r\n\r\n"), "McpToolError: Failed to parse SSE message"),
        ((200, "text/event-stream", ": nothing\r\n\r\n"), "McpFailed: the MCP server 'rude' broke its answer off"),
        ((200, "text/plain", "hello"), "McpToolError: Unexpected content type: text/plain"),
        ((302, "", "", "location: http://127.0.0.1:1/x"), "not followed"),
    ],
)  # fmt: skip
async def test_one_call_that_fails_is_no_other_s(answer: Any, words: str) -> None:
    """In the SDK's transport it would end the session, with all that is under way."""
    observer = Recorder()
    async with (
        rude(other=answer, fine="hang") as server,
        mcp.open_mcp(mcp.Http(server.url), name="rude") as opened,
    ):
        tools = by_name(opened)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_one, tools["fine"], observer)
            await until(lambda: any(heard.get("params", {}).get("name") == "fine" for heard in server.heard))
            outcome = await run_one(tools["other"])
            assert not observer.outcomes, "it is still under way"
            nursery.cancel_scope.cancel()
        server.answers["fine"] = "still here"
        assert "still here" == (await run_one(tools["fine"])).output

    assert "failed" == outcome.kind
    assert words in outcome.output
    assert 1 == server.sessions


@pytest.mark.parametrize("how", ["hang", "stream"])
async def test_a_call_that_is_cancelled(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is told, which holds up nobody even if it does not answer."""
    monkeypatch.setattr("triplane.tools.mcp.http._NOTICE", 600)
    answers = {"other": how, "notifications/cancelled": "hang"}
    async with rude(**answers) as server, mcp.open_mcp(mcp.Http(server.url)) as opened:
        tools = by_name(opened)
        for _ in range(2):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    count = len(server.heard)
                    nursery.start_soon(run_one, tools["other"], Recorder())
                    await until(lambda count=count: len(server.heard) > count)
                    scope.cancel()
            assert "fine" == (await run_one(tools["fine"])).output
        await until(
            lambda: (
                2 == len([heard for heard in server.heard if heard["method"] == "notifications/cancelled"])
            )
        )


async def test_a_cancelled_request_is_hung_up() -> None:
    async with rude(other="stream") as server, mcp.open_mcp(mcp.Http(server.url)) as opened:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_one, by_name(opened)["other"], Recorder())
                await until(lambda: server.heard[-1]["method"] == "tools/call")
                scope.cancel()
        await until(lambda: server.heard[-1] == {"method": "hung up", "name": "other"})


async def test_a_session_that_was_forgotten() -> None:
    """Another is begun by the next call."""
    async with rude(
        DELETE="hang",
        other=(404, JSON, {"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "?"}}),
    ) as server:
        async with mcp.open_mcp(mcp.Http(server.url), name="rude", close_timeout=0.05) as opened:
            tools = by_name(opened)
            outcome = await run_one(attrs.evolve(tools["other"], timeout=20))
            assert "fine" == (await run_one(tools["fine"])).output

    assert "The tool failed. McpFailed: the MCP server 'rude' has forgotten the session" == outcome.output
    assert 2 == server.sessions


async def test_a_server_that_goes_away() -> None:
    """Each call has an outcome, and the block is left as if nothing was."""
    observer = Recorder()
    async with rude(other="hang") as server, mcp.open_mcp(mcp.Http(server.url), name="rude") as opened:
        tools = by_name(opened)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_one, tools["other"], observer)
            await until(lambda: server.heard[-1]["method"] == "tools/call")
            server.scope.cancel()
        late = await run_one(tools["fine"])

    assert "McpFailed: the MCP server 'rude' could not be reached: " in observer.outcomes["c1"].output
    assert "could not be reached: ConnectError" in late.output


async def test_closing_has_an_end() -> None:
    async with rude(DELETE="hang") as server:
        async with mcp.open_mcp(mcp.Http(server.url), close_timeout=0.05):
            pass

    assert "DELETE" == server.heard[-1]["method"]


async def test_a_cancelled_block_closes_it_in_good_order() -> None:
    async with rude() as server:
        with trio.CancelScope() as scope:
            async with mcp.open_mcp(mcp.Http(server.url)):
                scope.cancel()
                await trio.sleep_forever()

    assert "DELETE" == server.heard[-1]["method"]


async def test_headers_and_auth(caplog: pytest.LogCaptureFixture) -> None:
    import httpx2

    caplog.set_level(logging.DEBUG)

    class Signed(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["Signature"] = "sealed with a kiss"
            yield request

    async with rude(
        other=(200, "text/plain", ""), fine=(403, "text/plain", "not with sesame-open")
    ) as server:
        given = mcp.Http(server.url, headers={"Authorization": "Bearer sesame-open"}, auth=Signed())
        async with mcp.open_mcp(given) as opened:
            outcome = await run_one(by_name(opened)["fine"])

    assert all("Bearer sesame-open" == headers["authorization"] for headers in server.headers)
    assert all("sealed with a kiss" == headers["signature"] for headers in server.headers)
    assert "refused the call: HTTP status 403; check headers= or auth=: not with [redacted]" in outcome.output
    assert "sesame" not in caplog.text + repr(given)
    assert "Authorization" in repr(given)


@pytest.mark.parametrize("body", [("text/plain", "expired"), (JSON, {"error": "invalid_token"})])
async def test_credentials_that_are_no_longer_taken(body: Any) -> None:
    """Only other ones help, so nobody is told to try again; and the session stands."""
    observer = Recorder()
    async with rude(other=(401, *body)) as server, mcp.open_mcp(mcp.Http(server.url), name="rude") as opened:
        tools = by_name(opened)
        with pytest.raises(ToolFailedError) as caught:
            await run_all(
                call("other"), tools=opened.tools, observer=observer, policy=FailurePolicy(on_error="raise")
            )
        fine = await run_one(tools["fine"])

    failure = caught.value.__cause__
    assert isinstance(failure, McpFailed)
    assert ("call", "change") == (failure.moment, failure.receipt.next)
    words = "the MCP server 'rude' refused the call: HTTP status 401; check headers= or auth=: "
    assert f"The tool failed. McpFailed: {words}" in observer.outcomes["c1"].output
    assert ("fine", 1) == (fine.output, server.sessions)


async def test_no_secret_where_an_answer_is_cut() -> None:
    body = "x" * 490 + " sesame-open"
    async with rude(other=(403, "text/plain", body), fine="") as server:
        async with mcp.open_mcp(mcp.Http(server.url, headers={"Authorization": "sesame-open"})) as opened:
            outcome = await run_one(by_name(opened)["other"])

    assert "xxx [redact" in outcome.output
    assert "sesame" not in outcome.output


@pytest.mark.parametrize(
    "given",
    [
        {"url": "ftp://host/"}, {"url": "http://"}, {"url": "http://user:word@host/"}, {"url": "http://host:x/"}, {"url": 3},
        {"url": "http://host/", "headers": {"A": "b\r\nC: d"}}, {"url": "http://host/", "headers": {"A": 1}},
    ],
)  # fmt: skip
def test_urls_that_are_none(given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        mcp.Http(**given)

    assert "word@" not in str(caught.value)
