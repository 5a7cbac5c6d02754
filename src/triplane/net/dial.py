"""From an endpoint to a byte stream: DNS, TCP and TLS, each under its own deadline."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Protocol, final

import trio

from triplane.core.errors import ConnectFailed

if TYPE_CHECKING:
    from triplane.core.options import EngineOptions

    from .endpoint import Endpoint


class Network(Protocol):
    """What dialling needs of the network. Tests pass one of memory streams."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """Open a TCP connection.

        Raises:
            OSError: It could not be opened; `socket.gaierror` when the name could not be resolved.
        """
        ...


@final
class TcpNetwork:
    """The real network: Trio's happy eyeballs over DNS and TCP."""

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        """See `Network.connect`."""
        return await trio.open_tcp_stream(host, port)


@final
class Dialler:
    """Opens streams. Keeps the one TLS context, since building one costs tens of milliseconds."""

    def __init__(self, network: Network, options: EngineOptions) -> None:
        self._network = network
        self._options = options
        self._default_context: ssl.SSLContext | None = None

    async def dial(self, endpoint: Endpoint) -> trio.abc.Stream:
        """Open a stream to an endpoint, through TLS where its URL says so.

        Raises:
            ConnectFailed: DNS, TCP or TLS failed, or took longer than its option allows.
        """
        stream = await self._connect(endpoint)
        if not endpoint.uses_tls:
            return stream
        try:
            return await self._wrap(endpoint, stream)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _connect(self, endpoint: Endpoint) -> trio.abc.Stream:
        place = f"{endpoint.host} port {endpoint.port}"
        with trio.move_on_after(self._options.tcp_timeout):
            try:
                return await self._network.connect(endpoint.host, endpoint.port)
            except (socket.gaierror, UnicodeError) as error:
                raise ConnectFailed(
                    f"the name {endpoint.host!r} could not be resolved ({error}); check the URL and the DNS",
                    stage="dns",
                ) from error
            except OSError as error:
                raise ConnectFailed(
                    f"no TCP connection to {place} ({_words(error)}); is a server running there?", stage="tcp"
                ) from error
        raise ConnectFailed(
            f"no TCP connection to {place} within {self._options.tcp_timeout:g} s (option tcp_timeout)",
            stage="tcp",
        )

    async def _wrap(self, endpoint: Endpoint, stream: trio.abc.Stream) -> trio.abc.Stream:
        with trio.move_on_after(self._options.tls_timeout):
            try:
                wrapped = trio.SSLStream(
                    stream, self._context(endpoint), server_hostname=endpoint.host, https_compatible=True
                )
                await wrapped.do_handshake()
            # ValueError is the ssl module's word for a host name or a context that it cannot use.
            except (trio.BrokenResourceError, ssl.SSLError, ValueError) as error:
                cause = error.__cause__ or error
                raise ConnectFailed(
                    f"the TLS handshake with {endpoint.host} failed: {_words(cause)}; to trust an authority of your"
                    " own pass ssl_context= to the Endpoint",
                    stage="tls",
                ) from error
            return wrapped
        raise ConnectFailed(
            f"the TLS handshake with {endpoint.host} took longer than {self._options.tls_timeout:g} s"
            " (option tls_timeout)",
            stage="tls",
        )

    def _context(self, endpoint: Endpoint) -> ssl.SSLContext:
        if endpoint.ssl_context is not None:
            return endpoint.ssl_context
        if self._default_context is None:
            self._default_context = ssl.create_default_context()
        return self._default_context


def _words(error: BaseException) -> str:
    """What an error says, the causes of a failed happy-eyeballs race included."""
    causes = error.__cause__.exceptions if isinstance(error.__cause__, BaseExceptionGroup) else (error,)
    seen = dict.fromkeys(str(cause) or type(cause).__name__ for cause in causes)
    return "; ".join(seen)
