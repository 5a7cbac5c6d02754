"""From an endpoint to a byte stream: DNS, TCP, a proxy and TLS, each under its own deadline."""

from __future__ import annotations

import os
import random
import socket
import ssl
from typing import TYPE_CHECKING, Protocol, final, runtime_checkable

import attrs
import trio

from triplane.core.errors import ConfigError, ConnectFailed, ConnectStage
from triplane.core.remembered import Remembered

from .happy_eyeballs import first_to_connect, in_order
from .opening import Approach, Opening
from .proxy import Proxy, open_tunnel, proxy_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from triplane.core.options import EngineOptions

    from .endpoint import Endpoint


class Network(Protocol):
    """What an engine opens streams with: `open_engine(network=...)`. Tests pass one of memory streams."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """Open a TCP connection.

        Raises:
            OSError: It could not be opened; `socket.gaierror` when the name could not be resolved.
        """
        ...


@runtime_checkable
class Resolver(Protocol):
    """A network that resolves names in a step of its own. One that does not gets names to connect to."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host, at least one, in order of preference.

        Raises:
            OSError: There are none, or nobody knows.
        """
        ...


@final
class TcpNetwork:
    """The real network. Names are resolved as Trio resolves them: see `trio.socket.set_custom_hostname_resolver`."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """See `Resolver.resolve`."""
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """See `Network.connect`."""
        return await trio.open_tcp_stream(host, port)


@attrs.frozen
class Passed:
    """A stage that was passed on the way to an endpoint, for whoever wants to tell of it.

    Attributes:
        stage: ``"url"`` once it is known where to connect, then ``"dns"``, ``"tcp"``, ``"proxy"`` and ``"tls"``.
        host: Of what was reached: the endpoint, or its proxy.
        port: Likewise.
        addresses: What its name was resolved to; empty in other stages than ``"dns"``.
        stream: What there is so far, from ``"tcp"`` on.
    """

    stage: ConnectStage
    host: str
    port: int
    addresses: tuple[str, ...] = ()
    stream: trio.abc.Stream | None = None


@final
class Dialler:
    """Opens streams. Keeps the one TLS context, since building one costs tens of milliseconds.

    Args:
        network: How TCP connections are made.
        options: Deadlines and the pace.
        environ: Where proxies are looked for, by default the process's environment.
        rng: For jitter.
        told: Gets each stage that is passed. Not for counting attempts: those that fail are not told of.
    """

    def __init__(
        self,
        network: Network,
        options: EngineOptions,
        environ: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
        *,
        told: Callable[[Passed], None] | None = None,
    ) -> None:
        self._told = told or (lambda _stage: None)
        self._network = network
        self._options = options
        self._environ = os.environ if environ is None else environ
        self._rng = rng or random.Random()  # noqa: S311  # jitter, no secrets
        self._default_context: ssl.SSLContext | None = None
        self._approaches = Remembered(self._new_approach, may_go=lambda approach: not approach.is_busy)

    def opening(self, endpoint: Endpoint) -> Opening:
        """An attempt to open a WebSocket, which shares key and pace with all others to the endpoint."""
        return Opening(endpoint, self.approach(endpoint), self, self._options)

    def approach(self, endpoint: Endpoint) -> Approach:
        """What all connections to the endpoint share, by whichever transport."""
        return self._approaches[endpoint.over("websocket")]

    def _new_approach(self, shared: Endpoint) -> Approach:
        return Approach(shared, self._options, self._rng)

    async def dial(self, endpoint: Endpoint) -> trio.abc.Stream:
        """Open a stream to an endpoint, through its proxy and through TLS where its URL says so.

        Raises:
            ConnectFailed: DNS, TCP, the proxy or TLS failed, or took longer than its option allows.
        """
        try:
            proxy = proxy_for(endpoint, self._environ)
        except ConfigError as error:
            raise ConnectFailed(str(error), stage="url") from None
        stream = await (self._connect_to(endpoint) if proxy is None else self._connect_to_proxy(proxy))
        try:
            if proxy is not None:
                await self._lead_on(stream, proxy, endpoint)
                self._told(Passed("proxy", endpoint.host, endpoint.port, stream=stream))
            if endpoint.uses_tls:
                stream = await self._wrap(endpoint.host, self._context(endpoint.ssl_context), stream)
                self._told(Passed("tls", endpoint.host, endpoint.port, stream=stream))
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def _connect_to(self, place: Endpoint | Proxy) -> trio.abc.Stream:
        self._told(Passed("url", place.host, place.port))
        return await self._connect(place.host, place.port)

    async def _connect_to_proxy(self, proxy: Proxy) -> trio.abc.Stream:
        try:
            stream = await self._connect_to(proxy)
            if not proxy.uses_tls:
                return stream
            try:
                return await self._wrap(proxy.host, self._context(None), stream)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        except ConnectFailed as failure:
            # Whoever reads it may not know that there is a proxy.
            failure.message = (
                f"the proxy {proxy}, named by {proxy.named_by}, cannot be used: {failure.message}"
            )
            raise

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        addresses = await self._resolve(host, port)
        self._told(Passed("dns", host, port, addresses=tuple(addresses or ())))
        stream = await self._race(host, port, addresses)
        self._told(Passed("tcp", host, port, stream=stream))
        return stream

    async def _race(self, host: str, port: int, addresses: Sequence[str] | None) -> trio.abc.Stream:
        place = f"{host} port {port}"
        with trio.move_on_after(self._options.tcp_timeout):
            try:
                if addresses is None:
                    return await self._network.connect(host, port)
                return await first_to_connect(addresses, lambda address: self._network.connect(address, port))
            except (socket.gaierror, UnicodeError) as error:
                raise _unresolved(host, error) from error
            except OSError as error:
                raise ConnectFailed(
                    f"no TCP connection to {place} ({_words(error)}); is a server running there?", stage="tcp"
                ) from error
        raise ConnectFailed(
            f"no TCP connection to {place} within {self._options.tcp_timeout:g} s (option tcp_timeout)",
            stage="tcp",
        )

    async def _resolve(self, host: str, port: int) -> Sequence[str] | None:
        """A host's addresses, in the order in which to try them; None if the network resolves names itself."""
        if not isinstance(self._network, Resolver):
            return None
        with trio.move_on_after(self._options.dns_timeout):
            try:
                addresses = in_order(await self._network.resolve(host, port))
            # UnicodeError is Python's word for a name that cannot be one; ValueError, here, for what is no address.
            except (OSError, ValueError) as error:
                raise _unresolved(host, error) from error
            if not addresses:
                raise _unresolved(host, "it has no addresses")
            return addresses
        raise ConnectFailed(
            f"the name {host!r} was not resolved within {self._options.dns_timeout:g} s (option dns_timeout);"
            " check the DNS",
            stage="dns",
        )

    async def _lead_on(self, stream: trio.abc.Stream, proxy: Proxy, endpoint: Endpoint) -> None:
        with trio.move_on_after(self._options.proxy_timeout):
            try:
                await open_tunnel(stream, proxy, endpoint.host, endpoint.port)
            except trio.BrokenResourceError as error:
                raise ConnectFailed(
                    f"the connection to the proxy {proxy} broke off", stage="proxy"
                ) from error
            return
        raise ConnectFailed(
            f"the proxy {proxy} did not lead on to {endpoint.host} within {self._options.proxy_timeout:g} s"
            " (option proxy_timeout)",
            stage="proxy",
        )

    async def _wrap(self, host: str, context: ssl.SSLContext, stream: trio.abc.Stream) -> trio.abc.Stream:
        with trio.move_on_after(self._options.tls_timeout):
            try:
                wrapped = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
                await wrapped.do_handshake()
            # ValueError is the ssl module's word for a host name or a context that it cannot use.
            except (trio.BrokenResourceError, ssl.SSLError, ValueError) as error:
                cause = error.__cause__ or error
                raise ConnectFailed(
                    f"the TLS handshake with {host} failed: {_words(cause)}; to trust an authority of your"
                    " own pass ssl_context= to the Endpoint",
                    stage="tls",
                ) from error
            return wrapped
        raise ConnectFailed(
            f"the TLS handshake with {host} took longer than {self._options.tls_timeout:g} s"
            " (option tls_timeout)",
            stage="tls",
        )

    def _context(self, given: ssl.SSLContext | None) -> ssl.SSLContext:
        if given is not None:
            return given
        if self._default_context is None:
            try:
                self._default_context = ssl.create_default_context()
            except OSError as error:
                # What the environment names is read here: SSLKEYLOGFILE, for one.
                raise ConnectFailed(
                    f"there is no context for TLS ({_words(error)}); look at the variables SSL… of the environment,"
                    " or pass ssl_context= to the Endpoint",
                    stage="tls",
                ) from error
        return self._default_context


def _unresolved(host: str, why: object) -> ConnectFailed:
    return ConnectFailed(
        f"the name {host!r} could not be resolved ({why}); check the URL and the DNS", stage="dns"
    )


def _words(error: BaseException) -> str:
    """What an error says; of a lost race, what each attempt met."""
    return "; ".join(dict.fromkeys(_causes(error)))


def _causes(error: BaseException) -> Iterator[str]:
    if isinstance(error.__cause__, BaseExceptionGroup):
        for cause in error.__cause__.exceptions:
            yield from _causes(cause)
    else:
        yield str(error) or type(error).__name__
