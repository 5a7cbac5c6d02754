"""The side of a recording that faces the real endpoint: HTTP by httpx2 on Trio, WebSockets over a stream of ours."""

from __future__ import annotations

import base64
import importlib.util
import secrets
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final
from urllib.parse import urlsplit

import attrs
import h11
import trio

from triplane.core.errors import ConfigError, ConnectFailed
from triplane.core.options import EngineOptions
from triplane.net.dial import Dialler, TcpNetwork
from triplane.net.endpoint import Endpoint

from .errors import CassetteError
from .front import HOP_BY_HOP
from .websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from triplane.net.dial import Network

__all__ = ["Refusal", "Upstream", "UpstreamFailed"]

_CONNECT_SECONDS: Final = 30.0
# A model may think for a long time before it says anything.
_READ_SECONDS: Final = 900.0
_UPGRADE_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 2.0


class UpstreamFailed(Exception):  # noqa: N818 - told to the client as HTTP 502; never leaves this package
    """The endpoint could not be reached, or did not answer like one."""


@attrs.frozen
class Refusal:
    """The answer to an upgrade that was refused."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@final
class Upstream:
    """A real endpoint, by its base URL."""

    def __init__(self, base_url: str, *, network: Network | None = None) -> None:
        try:
            self._endpoint = Endpoint(base_url)
        except ConfigError as error:
            raise CassetteError(
                f"upstream is a base URL such as https://api.openai.com/v1: {error}"
            ) from error
        if not base_url.startswith(("https:", "http:")):
            raise CassetteError(
                "upstream is a base URL such as https://api.openai.com/v1, for HTTP and WebSockets"
            )
        self._base = base_url.rstrip("/")
        self._dialler = Dialler(network or TcpNetwork(), EngineOptions())
        self._client: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Close what was opened for HTTP when the block ends."""
        if importlib.util.find_spec("httpx2") is None:
            raise CassetteError("recording needs an extra: pip install 'triplane[cassette]'")
        try:
            yield
        finally:
            if self._client is not None:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await self._client.aclose()

    def _http(self) -> httpx2.AsyncClient:
        """Return the HTTP client, which costs too much to be made for those who need none."""
        import httpx2  # noqa: PLC0415 - see `ask`

        if self._client is None:
            timeout = httpx2.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
            self._client = httpx2.AsyncClient(timeout=timeout, verify=self._base.startswith("https:"))
        return self._client

    def url(self, target: str) -> str:
        """Return the URL upstream of a target here, whose base path is /v1."""
        return self._base + target.removeprefix("/v1")

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return a client's headers as they are passed on: without those of this connection, and uncompressed."""
        kept = {
            name: value
            for name, value in headers.items()
            if name not in HOP_BY_HOP and not name.startswith("sec-websocket-") and name != "host"
        }
        return {**kept, "accept-encoding": "identity"}

    @asynccontextmanager
    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; the block may read its answer's body with `aiter_raw`.

        Raises:
            UpstreamFailed: there is no answer, or its body was cut short.
        """
        import httpx2  # noqa: PLC0415 - only those who record need the extra

        try:
            async with self._http().stream(
                method, self.url(target), headers=self.headers(headers), content=body
            ) as response:
                yield response
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise UpstreamFailed(f"{method} {self.url(target)} failed: {error!r}") from error

    @asynccontextmanager
    async def connect(
        self, target: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[WebSocket, Mapping[str, str]] | Refusal]:
        """Open a WebSocket: the socket and the headers of its answer, or the refusal.

        Raises:
            UpstreamFailed: there is no answer.
        """
        url = self.url(target)
        try:
            stream = await self._dialler.dial(self._endpoint)
        except ConnectFailed as error:
            raise UpstreamFailed(str(error)) from error
        try:
            parts = urlsplit(url)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            answer: tuple[WebSocket, Mapping[str, str]] | Refusal | None = None
            with trio.move_on_after(_UPGRADE_SECONDS):
                answer = await _upgrade(stream, self._endpoint.authority, path, self.headers(headers))
            if answer is None:
                raise UpstreamFailed(f"{url} did not answer the upgrade within {_UPGRADE_SECONDS:g} s")
            yield answer
        finally:
            await trio.aclose_forcefully(stream)


async def _upgrade(
    stream: trio.abc.Stream, host: str, path: str, headers: Mapping[str, str]
) -> tuple[WebSocket, Mapping[str, str]] | Refusal:
    http = h11.Connection(h11.CLIENT)
    fields = [
        ("host", host),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", base64.b64encode(secrets.token_bytes(16)).decode()),
        *headers.items(),
    ]
    request = http.send(h11.Request(method="GET", target=path, headers=fields)) or b""
    body = bytearray()
    head: h11.Response | None = None
    try:
        await stream.send_all(request + (http.send(h11.EndOfMessage()) or b""))
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return WebSocket(stream, client=True, rest=http.trailing_data[0]), _plain(event)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Refusal(head.status_code, _plain(head), bytes(body))
            elif isinstance(event, h11.ConnectionClosed):
                raise UpstreamFailed("the connection ended before the upgrade was answered")
    except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
        raise UpstreamFailed(f"the upgrade was not answered: {error}") from error


def _plain(head: h11.Response | h11.InformationalResponse) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
