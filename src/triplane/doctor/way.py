"""The way to an endpoint, as the dialler reports it: each stage that is passed, and the one that was not."""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING, Any, Final, final

import trio

from .checks import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from triplane.core.errors import ConnectFailed
    from triplane.net.dial import Passed
    from triplane.net.endpoint import Endpoint

    from .checks import Name

_MOST_ADDRESSES: Final = 3
_DAY: Final = 86_400.0
# With fewer days left, somebody should know.
_FEW_DAYS: Final = 14
_ADVICE: Final[Mapping[str, str]] = {
    "dns": "look whether this machine can resolve other names",
    "tcp": "check host and port, and firewalls on the way",
    "proxy": "check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY",
    "tls": "look whether this port speaks TLS at all; a URL with ws:// goes without",
}
_UNTRUSTED: Final = "if the certificate is right, trust its authority with SSL_CERT_FILE, or in a program with Endpoint(ssl_context=…)"


@final
class Way:
    """Turns what a dialler passes into checks.

    Args:
        endpoint: Where the way leads.
        note: Takes each check, the first of a name only.
        now: Seconds since 1970, to see how long a certificate is valid.
    """

    def __init__(self, endpoint: Endpoint, note: Callable[[Check], None], now: float) -> None:
        self._endpoint = endpoint
        self._note = note
        self._now = now
        self._since = trio.current_time()
        self._proxy = ""

    def begin(self) -> None:
        """From here on time counts."""
        self._since = trio.current_time()

    def elapsed(self) -> float:
        """Seconds since the last stage that was passed."""
        return trio.current_time() - self._since

    def passed(self, stage: Passed) -> None:
        """Note a stage that the dialler has passed."""
        now = trio.current_time()
        took, self._since = now - self._since, now
        match stage.stage:
            case "url" if (stage.host, stage.port) != (self._endpoint.host, self._endpoint.port):
                self._proxy = f"{stage.host} port {stage.port}"
            case "dns":
                self._note(_resolved(stage, self._proxy, took))
            case "tcp":
                self._note(_connected(stage, self._proxy, took))
                if not self._proxy:
                    self._note(Check("proxy", "skipped", "none: the way is direct"))
                if not self._endpoint.uses_tls:
                    self._note(Check("tls", "skipped", "the URL is ws://, without encryption"))
            case "proxy":
                self._note(Check("proxy", "ok", f"leads on, through {self._proxy}", seconds=took))
            case "tls" if stage.host == self._endpoint.host:
                self._note(_encrypted(stage, took, self._now))

    def failed(self, failure: ConnectFailed) -> None:
        """Note the stage at which the dialler failed."""
        name: Name = "proxy" if failure.stage == "url" else failure.stage
        facts = {} if failure.status is None else {"status": failure.status}
        # What cannot be reached may be the proxy.
        about: Name = "proxy" if self._proxy and name in ("dns", "tcp") else name
        advice = _UNTRUSTED if _is_about_trust(failure) else _ADVICE.get(about, "")
        self._note(Check(name, "failed", str(failure), advice, self.elapsed(), facts))


def _resolved(stage: Passed, proxy: str, took: float) -> Check:
    addresses = list(stage.addresses)
    whose = f"of the proxy {stage.host}: " if proxy else ""
    if _is_address(stage.host):
        return Check("dns", "skipped", f"{whose}an address needs no name", facts={"addresses": addresses})
    more = f" and {len(addresses) - _MOST_ADDRESSES} more" if len(addresses) > _MOST_ADDRESSES else ""
    found = f"{whose}{', '.join(addresses[:_MOST_ADDRESSES])}{more}"
    return Check("dns", "ok", found, seconds=took, facts={"addresses": addresses})


def _connected(stage: Passed, proxy: str, took: float) -> Check:
    peer = stage.stream.socket.getpeername() if isinstance(stage.stream, trio.SocketStream) else None
    address = stage.host if peer is None else str(peer[0])
    found = f"{'the proxy at ' if proxy else ''}{address} port {stage.port}"
    return Check("tcp", "ok", found, seconds=took, facts={"address": address, "port": stage.port})


def _encrypted(stage: Passed, took: float, now: float) -> Check:
    stream = stage.stream
    assert isinstance(stream, trio.SSLStream), "what the dialler passes with this stage"
    version = stream.version() or "TLS"
    certificate: Mapping[str, Any] = stream.getpeercert() or {}
    facts: dict[str, Any] = {"version": version}
    if "notAfter" not in certificate:
        # A context that verifies nothing keeps nothing.
        return Check("tls", "ok", f"{version}, certificate not verified", seconds=took, facts=facts)
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - now) // _DAY)
    issuer = _organisation(certificate.get("issuer", ()))
    facts |= {"certificate_expires": certificate["notAfter"], "certificate_days": days, "issuer": issuer}
    found = f"{version}, certificate by {issuer or 'an unnamed authority'} for {days} more days"
    advice = f"the certificate expires on {certificate['notAfter']}: renew it" if days < _FEW_DAYS else ""
    return Check("tls", "ok", found, advice, took, facts)


def _organisation(names: Any) -> str:
    """Who is meant by a certificate's distinguished name."""
    parts = {key: value for relative in names for key, value in relative}
    return str(parts.get("organizationName") or parts.get("commonName") or "")


def _is_about_trust(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__
    return error is not None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
