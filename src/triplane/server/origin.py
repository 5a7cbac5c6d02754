"""Who may talk to the server: the names it answers to, and the web pages that may use it. Pure.

A server on a loopback address is still within reach of every web page that its user looks at. Such a page cannot hide
its `Origin`, and if it has a name of its own resolve to the loopback address ("DNS rebinding"), that name is in `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, final
from urllib.parse import urlsplit

import attrs
import trio

from .http.head import BadRequest

if TYPE_CHECKING:
    from .http.head import Head

__all__ = ["Gate", "Peer", "cors_headers", "is_address", "is_loopback"]


@final
@attrs.frozen
class Peer:
    """Who is at the other end.

    Attributes:
        address: the client's, None where there is none, as on a pair of memory streams.
        local_address: the one that it is connected to.
    """

    address: str | None
    local_address: str | None

    @classmethod
    def of(cls, stream: trio.abc.Stream) -> Peer:
        """Return who is at the other end of `stream`."""
        if not isinstance(stream, trio.SocketStream):
            return cls(None, None)
        try:
            peer, local = stream.socket.getpeername(), stream.socket.getsockname()
        except OSError:
            return cls("", "")  # it went away already
        return cls(_plain(peer[0]), _plain(local[0])) if isinstance(peer, tuple) else cls(None, None)

    @property
    def on_this_machine(self) -> bool:
        """Whether no other machine is involved."""
        return self.address is None or is_loopback(self.address)


def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address without a port, can only mean this machine."""
    name = host.lower().strip("[]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Tell whether `host` is an IP address, and not a name of one."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@final
@attrs.frozen
class Gate:
    """What is let in.

    Attributes:
        hosts: names, beside those of this machine, that requests may be addressed to; "*" is all.
        origins: origins, beside pages of this machine, that may send requests, such as "https://example.org"; "*" is
            all.
    """

    hosts: frozenset[str] = attrs.field(converter=_lower)
    origins: Collection[str]

    def check(self, head: Head, local_address: str | None) -> None:
        """Check whom `head` is addressed to, and which page sends it.

        Args:
            head: of the request.
            local_address: that the client is connected to; None if it is no network address. Then nobody can have
                been led here by a name, and the name does not matter.

        Raises:
            BadRequest: it is not let in.
        """
        host = head.headers.get(b"host", b"").decode("latin-1")
        if local_address is not None and not self._is_ours(_name(host), local_address):
            raise BadRequest(
                421,
                f"This server does not answer to the name {host[:100]!r}. If it should, start it with "
                "allowed_hosts=[that name].",
                code="host_not_allowed",
            )
        origin = head.headers.get(b"origin")
        if origin is not None and not self.allows_origin(origin.decode("latin-1"), local_address):
            raise BadRequest(
                403,
                f"Pages of {origin.decode('latin-1')[:100]!r} may not use this server. If they should, start it with "
                "allowed_origins=[that origin].",
                code="origin_not_allowed",
            )

    def allows_origin(self, origin: str, local_address: str | None) -> bool:
        """Tell whether pages of `origin` may send requests."""
        if "*" in self.origins or origin in self.origins:
            return True
        try:
            url = urlsplit(origin)
            name = url.hostname or ""
        except ValueError:
            return False
        # As for hosts, but "*" there says nothing about pages.
        return url.scheme in ("http", "https") and (
            is_loopback(name) or name == local_address or name in self.hosts
        )

    def _is_ours(self, name: str, local_address: str) -> bool:
        return "*" in self.hosts or name in self.hosts or name == local_address or is_loopback(name)


def _name(host: str) -> str:
    """Return the host without its port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    # trio-websocket forgets the brackets of an IPv6 address.
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _plain(address: str) -> str:
    """Return an address as it stands in a URL: without its zone, and IPv4 as IPv4."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    return str(getattr(plain, "ipv4_mapped", None) or plain)


def cors_headers(head: Head) -> dict[str, str]:
    """Return what tells a browser that its page, which was let in, may read the answer."""
    origin = head.headers.get(b"origin")
    if origin is None:
        return {}
    headers = {"Access-Control-Allow-Origin": origin.decode("latin-1"), "Vary": "Origin"}
    if head.method == "OPTIONS":
        wanted = head.headers.get(b"access-control-request-headers", b"").decode("latin-1")
        headers |= {
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": wanted,
            "Access-Control-Max-Age": "600",
        }
    else:
        headers["Access-Control-Expose-Headers"] = "x-request-id"
    return headers
