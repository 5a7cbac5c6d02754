"""HTTP proxies: which one leads to an endpoint, and the tunnel through it (``CONNECT``, RFC 9110 section 9.3.6)."""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import attrs
import h11

from triplane.core.errors import ConfigError, ConnectFailed

from .mask import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    import trio

    from .endpoint import Endpoint

_MAX_HEAD: Final = 16 * 1024
_MAX_BODY: Final = 2_000
_RECEIVE: Final = 4_096
_ADVICE: Final = {
    403: "it does not allow connections there",
    407: "it wants a name and a password, which stand in its URL: http://name:password@host:port",
}


@attrs.frozen
class Proxy:
    """Where a proxy is and as whom to use it. Name and password are shown nowhere.

    Attributes:
        host: Its name or address, without brackets.
        port: Its port, by default 443 for ``https`` and 80 for ``http``.
        uses_tls: Whether the way to the proxy itself is encrypted.
        authorization: The value of ``Proxy-Authorization``, else None.
        named_by: Who named it: an environment variable, or ``proxy=``.
    """

    host: str
    port: int
    uses_tls: bool = False
    authorization: bytes | None = attrs.field(default=None, repr=False)
    named_by: str = attrs.field(default="proxy=", eq=False)

    def __str__(self) -> str:
        return f"{self.host} port {self.port}"

    def masked(self, text: str) -> str:
        """What the proxy says, without the password: some repeat a request in what they refuse it with."""
        if self.authorization is None:
            return text
        encoded = self.authorization.removeprefix(b"Basic ")
        both = base64.b64decode(encoded).decode()
        return Mask((encoded.decode(), both, both.partition(":")[2])).text(text)

    @classmethod
    def at(cls, url: str, *, named_by: str = "proxy=") -> Proxy:
        """The proxy at a URL; one without a scheme is taken for ``http``.

        Args:
            url: Such as ``http://name:password@proxy.example:3128``.
            named_by: Who named it, for the error.

        Raises:
            ConfigError: It is no URL of an HTTP proxy. The message does not repeat it: it may hold a password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError:
            raise ConfigError(f"the proxy's URL in {named_by} cannot be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ConfigError(
                f"the proxy's URL in {named_by} must be of the form http://host:port or https://host:port;"
                " other kinds, such as SOCKS, are not supported"
            )
        authorization = None
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + base64.b64encode(credentials.encode())
        uses_tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if uses_tls else 80), uses_tls, authorization, named_by)


def proxy_for(endpoint: Endpoint, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that leads to an endpoint; None if the way is direct.

    What the endpoint itself says counts. Else the environment is read as curl reads it: ``HTTPS_PROXY`` for ``wss``,
    ``HTTP_PROXY`` for ``ws``, else ``ALL_PROXY``; ``NO_PROXY`` names hosts, domains, addresses and networks that are
    reached directly, or is ``*``. Names are looked for in lower case first. This machine's own addresses never need
    a proxy.

    Raises:
        ConfigError: A proxy is named that cannot be one.
    """
    if endpoint.proxy != "environment":
        return None if endpoint.proxy is None else Proxy.at(endpoint.proxy)
    for name in ("https_proxy" if endpoint.uses_tls else "http_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if url := environ.get(spelling, "").strip():
                if _is_excepted(endpoint.host, endpoint.port, environ):
                    return None
                return Proxy.at(url, named_by=spelling)
    return None


def _is_excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    excepted = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_matches(entry, host, port, address) for entry in excepted.lower().replace(",", " ").split())


def _matches(
    entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None
) -> bool:
    if entry == "*":
        return True
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]").lstrip(".")
    return bool(entry) and (host == entry or host.endswith(f".{entry}"))


async def open_tunnel(stream: trio.abc.Stream, proxy: Proxy, host: str, port: int) -> None:
    """Ask a proxy, over a stream to it, to lead the stream on to a host. The deadline is the caller's.

    Raises:
        ConnectFailed: It refused, or what it said is not HTTP.
        trio.BrokenResourceError: The connection to the proxy is lost.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [(b"Host", target.encode())]
    if proxy.authorization is not None:
        headers.append((b"Proxy-Authorization", proxy.authorization))
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
    request = connection.send(h11.Request(method="CONNECT", target=target, headers=headers))
    assert request is not None
    await stream.send_all(request + (connection.send(h11.EndOfMessage()) or b""))
    response: h11.Response | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(_RECEIVE)))
            elif isinstance(event, h11.Response):
                response = event
                if 200 <= event.status_code < 300:
                    break
            elif isinstance(event, h11.Data) and len(body) < _MAX_BODY:
                body += event.data
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or len(body) >= _MAX_BODY:
                raise _refused(proxy, target, response, body)
    except h11.RemoteProtocolError as error:
        if response is not None:
            # Its body broke off; the refusal stands.
            raise _refused(proxy, target, response, body) from None
        words = proxy.masked(str(error))
        raise ConnectFailed(f"the proxy {proxy} did not answer in HTTP: {words}", stage="proxy") from None
    if connection.trailing_data[0]:
        # Nobody speaks before the client in TLS or in a WebSocket upgrade, so this is no tunnel.
        raise ConnectFailed(f"the proxy {proxy} sent bytes that are not the endpoint's", stage="proxy")


def _refused(proxy: Proxy, target: str, response: h11.Response | None, body: bytes) -> ConnectFailed:
    if response is None:
        return ConnectFailed(f"the proxy {proxy} closed the connection without an answer", stage="proxy")
    status = response.status_code
    advice = _ADVICE.get(status, "see status and body")
    return ConnectFailed(
        f"the proxy {proxy} refused to connect to {target} with HTTP status {status}: {advice}",
        stage="proxy",
        status=status,
        body=proxy.masked(body.decode(errors="replace")[:_MAX_BODY]),
    )
