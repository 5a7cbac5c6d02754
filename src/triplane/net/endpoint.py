"""Where to connect and as whom."""

from __future__ import annotations

import importlib
import math
import os
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal, cast, get_args
from urllib.parse import urljoin, urlsplit

import attrs

from triplane.core.errors import ConfigError
from triplane.core.transport import Transport, TransportSetting

from .mask import Mask
from .proxy import Proxy
from .websocket_url import in_ascii, websocket_url
from .wire import WireName, require_library

Compression = Literal["deflate"]
Region = Literal["us", "eu", "ae", "au", "in", "jp"]
Service = Literal["openai", "azure", "xai"]
LaneSupport = Literal["auto", "none", "named"]
Steering = Literal["auto", "none"]
Namespaces = Literal["auto", "none"]

_RESOURCE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
# No blanks at the ends: a key with a newline or a space pasted behind it is the classic mistake.
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?\Z")
# These belong to the WebSocket handshake or to the credentials; a second copy would be a way to smuggle.
_OWN_HEADERS = {"host", "authorization", "connection", "upgrade", "content-length", "transfer-encoding"}


def _check_key(_instance: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value or not _HEADER_VALUE.match(value)):
        raise ConfigError(
            "api_key must be text that fits in an HTTP header: printable ASCII, not empty, no blanks at its ends"
        )


def _check_hook(_instance: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise ConfigError("refresh_key must be an async function that returns a fresh key")
    try:
        hash(value)
    except TypeError:
        raise ConfigError(
            "refresh_key must be hashable, as functions are: connections are shared between equal endpoints"
        ) from None


def _check_headers(_instance: object, _attribute: attrs.Attribute[Any], value: Mapping[str, str]) -> None:
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.match(name) or _is_our_own(name.lower()):
            raise ConfigError(f"{name!r} cannot be an extra header of an endpoint")
        if not isinstance(text, str) or not _HEADER_VALUE.match(text):
            raise ConfigError(f"the header {name!r} must be printable ASCII")


def _is_our_own(name: str) -> bool:
    return name in _OWN_HEADERS or name.startswith("sec-websocket-")


def _check_context(_instance: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, ssl.SSLContext) or value.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ConfigError(
            "ssl_context must be an ssl.SSLContext for clients; see ssl.create_default_context()"
        )


def _check_age(_instance: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # A whole number can be larger than any float.
    if not is_number or not (0 < cast("float", value) <= sys.float_info.max or value == math.inf):
        raise ConfigError("max_age must be a number of seconds above 0, or None for connections of any age")


def _check_proxy(_instance: object, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None or value == "environment":
        return
    if not isinstance(value, str):
        raise ConfigError(f'proxy= takes a URL, None or "environment", not {type(value).__name__}')
    Proxy.at(value)


def _one_of(*accepted: str) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in accepted:
            known = ", ".join(map(repr, accepted))
            raise ConfigError(f"this version of Triplane has {attribute.name}={known}, not {value!r}")

    return check


def _check_wire(instance: object, attribute: attrs.Attribute[Any], value: WireName) -> None:
    _one_of("trio-websocket", "websockets")(instance, attribute, value)
    require_library(value)


def _check_compression(instance: Endpoint, _attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and value != "deflate":
        raise ConfigError(f'compression= takes "deflate" or None, not {value!r}')
    if value is not None and instance.wire != "websockets":
        raise ConfigError('compression="deflate" needs wire="websockets"; trio-websocket cannot compress')


def check_transport(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a transport, and see that what it needs is installed.

    Raises:
        ConfigError: It is none, or it needs an extra.
    """
    _one_of("websocket", "http", "auto")(_instance, attribute, value)
    if value != "websocket":
        try:
            # Here and not at the first request, where it would hold everybody up.
            importlib.import_module("httpcore2")
        except ImportError:
            raise ConfigError(f"transport={value!r} needs an extra: pip install 'triplane[http]'") from None


def _as_headers(headers: Mapping[str, str]) -> _Headers:
    if isinstance(headers, _Headers):
        return headers
    try:
        return _Headers(dict(headers))
    except (TypeError, ValueError):
        raise ConfigError("headers= takes a mapping of names to text") from None


class _Headers(Mapping[str, str]):
    """Headers that nobody can change, that can be part of a key, and that do not show their values."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __hash__(self) -> int:
        return hash(frozenset(self._headers.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Headers) and other._headers == self._headers

    def __repr__(self) -> str:
        return f"<{', '.join(self) or 'none'}>"


@attrs.frozen
class Endpoint:
    """Where to connect and as whom. Hashable; connections are shared only between equal endpoints.

    Neither the key nor a header's value appears in a repr, a log, a ledger or an error.

    Attributes:
        url: A base URL (``https://host/v1``) or a WebSocket URL (``wss://host/v1/responses``); always the latter
            once constructed.
        api_key: Sent as ``Authorization: Bearer …`` with the upgrade, else no such header.
        refresh_key: An async function that returns a fresh key; called when the server refuses the key with 401 or 403,
            and for the first one if `api_key` is None. Each connection that is refused asks once, and those that are
            refused at the same time share one call; the fresh key is used from then on. It runs in a task of the engine,
            for at most `EngineOptions.refresh_timeout`; if it fails, connecting fails with ``stage="auth"``.
        headers: More headers for the upgrade, such as ``OpenAI-Project``.
        wire: The WebSocket library: ``"trio-websocket"``, or ``"websockets"`` (extra ``triplane[fast]``), which costs
            less CPU time.
        compression: ``"deflate"`` offers permessage-deflate to the server, with ``wire="websockets"``. It costs CPU
            time and memory, and pays on slow links only.
        transport: ``"websocket"``; ``"http"`` for ``POST`` requests and server-sent events; ``"auto"`` for WebSockets
            where the server has them and HTTP where it has not, or where a request is too large for a WebSocket. The
            last two need the extra ``triplane[http]``.
        lanes: Whether the server has lanes (``stream_id``): ``"named"``; ``"none"``; ``"auto"`` to find out by the
            answer to the first request. It makes a difference with `EngineOptions.lanes_per_connection` above 1.
        max_age: Seconds after which a connection is replaced, at the end of the turn in hand; up to a tenth earlier, so
            that connections do not all go at once. None: never. By default 55 minutes, since OpenAI ends connections
            after 60 (OpenAI WebSocket-mode guide).
        steering: ``"auto"``: a run steers responses by ``response.steer`` until the server shows that it does not know
            it; ``"none"``: what steers say goes with the next request.
        namespaces: ``"auto"``: tools in namespaces, the search for tools and tools that it loads go up as an agent has
            them; ``"none"``: the server knows nothing of all that, and an agent that has such tools is refused.
        proxy: The URL of an HTTP proxy, such as ``http://name:password@host:3128``; None to connect directly;
            ``"environment"`` for what ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` say.
        ssl_context: For ``wss``; by default one context with the system's authorities, built once for an engine.

    Raises:
        ConfigError: A value cannot work, or needs an extra. The message never repeats the key.
    """

    url: str = attrs.field(converter=websocket_url)
    api_key: str | None = attrs.field(default=None, repr=False, kw_only=True, validator=_check_key)
    refresh_key: Callable[[], Awaitable[str]] | None = attrs.field(
        default=None, repr=False, kw_only=True, validator=_check_hook
    )
    headers: Mapping[str, str] = attrs.field(
        factory=dict, kw_only=True, converter=_as_headers, validator=_check_headers
    )
    wire: WireName = attrs.field(default="trio-websocket", kw_only=True, validator=_check_wire)
    compression: Compression | None = attrs.field(default=None, kw_only=True, validator=_check_compression)
    transport: TransportSetting = attrs.field(default="websocket", kw_only=True, validator=check_transport)
    lanes: LaneSupport = attrs.field(default="auto", kw_only=True, validator=_one_of("auto", "none", "named"))
    max_age: float | None = attrs.field(default=55 * 60.0, kw_only=True, validator=_check_age)
    steering: Steering = attrs.field(default="auto", kw_only=True, validator=_one_of("auto", "none"))
    namespaces: Namespaces = attrs.field(default="auto", kw_only=True, validator=_one_of("auto", "none"))
    proxy: str | None = attrs.field(default="environment", repr=False, kw_only=True, validator=_check_proxy)
    ssl_context: ssl.SSLContext | None = attrs.field(
        default=None, repr=False, kw_only=True, validator=_check_context
    )

    @property
    def host(self) -> str:
        """The host name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, by default 443 for ``wss`` and 80 for ``ws``."""
        return urlsplit(self.url).port or (443 if self.uses_tls else 80)

    @property
    def uses_tls(self) -> bool:
        """Whether the URL is ``wss``."""
        return self.url.startswith("wss:")

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        return urlsplit(self.url).netloc

    @property
    def resource(self) -> str:
        """Path and query of the upgrade request."""
        parts = urlsplit(self.url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def over(self, transport: Transport) -> Endpoint:
        """The same by one transport. Over HTTP nothing has to be replaced for its age."""
        if transport == "http":
            return attrs.evolve(self, transport="http", max_age=None)
        return attrs.evolve(self, transport="websocket")

    def redirected(self, location: str) -> str | None:
        """Path and query that a redirect leads to; None if it leads to another origin, where credentials must not go.

        Args:
            location: The value of a ``Location`` header, relative or not.
        """
        # Header values are bytes, and come as Latin-1. Whatever they are, what is sent must be the target of a request.
        location = in_ascii(location, "latin-1")
        try:
            target = urlsplit(urljoin(self.url.replace("ws", "http", 1), location))
            port = target.port
        except ValueError:
            return None
        default = {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(target.scheme)
        uses_tls = target.scheme in ("https", "wss")
        if default is None or (uses_tls, target.hostname, port or default) != (
            self.uses_tls,
            self.host,
            self.port,
        ):
            return None
        return f"{target.path or '/'}?{target.query}" if target.query else target.path or "/"

    def masked(self, text: str) -> str:
        """What a server says, without our credentials."""
        return self.mask.text(text)

    @property
    def mask(self) -> Mask:
        """What takes our credentials out of what a server says."""
        return Mask(filter(None, (self.api_key, *self.headers.values())))

    def upgrade_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the upgrade request, credentials included. Not for logs."""
        pairs = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if self.api_key is not None:
            pairs.append((b"Authorization", b"Bearer " + self.api_key.encode()))
        return pairs

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, service: Service = "openai") -> Endpoint:
        """The endpoint that the environment names, in the names that the services' own clients read.

        For OpenAI, ``OPENAI_API_KEY`` is required; ``OPENAI_BASE_URL``, ``OPENAI_ORG_ID`` and ``OPENAI_PROJECT_ID`` are
        used where they are set. For Azure, ``AZURE_OPENAI_API_KEY`` and ``AZURE_OPENAI_ENDPOINT`` are required; for xAI,
        ``XAI_API_KEY``. Which service it is, the environment does not decide: nothing goes to one that was not named.

        Raises:
            ConfigError: Something required is not set.
        """
        source = os.environ if environ is None else environ
        if service == "azure":
            return cls.azure(
                _required(source, "AZURE_OPENAI_ENDPOINT"), api_key=_required(source, "AZURE_OPENAI_API_KEY")
            )
        if service == "xai":
            return cls.xai(_required(source, "XAI_API_KEY"))
        if service != "openai":
            raise ConfigError(f'service= takes "openai", "azure" or "xai", not {service!r}')
        return cls.openai(
            _required(source, "OPENAI_API_KEY"),
            base_url=source.get("OPENAI_BASE_URL") or None,
            organization=source.get("OPENAI_ORG_ID") or None,
            project=source.get("OPENAI_PROJECT_ID") or None,
        )

    @classmethod
    def openai(
        cls,
        api_key: str,
        *,
        base_url: str | None = None,
        region: Region | None = None,
        organization: str | None = None,
        project: str | None = None,
    ) -> Endpoint:
        """OpenAI's own endpoint.

        Args:
            api_key: The key.
            base_url: Another base URL, by default ``https://api.openai.com/v1``.
            region: Where data stays: the host is then ``eu.api.openai.com``, for instance (openai-python 3.52.0).
            organization: Sent as ``OpenAI-Organization``.
            project: Sent as ``OpenAI-Project``.

        Raises:
            ConfigError: Both a base URL and a region are given, or the region is unknown.
        """
        if region is not None:
            if base_url is not None:
                raise ConfigError("base_url= and region= both name a host; give one of them")
            if region not in get_args(Region):
                known = ", ".join(get_args(Region))
                raise ConfigError(f"region= takes one of {known}, not {region!r}; for others pass base_url=")
            base_url = f"https://{region}.api.openai.com/v1"
        named = {"OpenAI-Organization": organization, "OpenAI-Project": project}
        return cls(
            base_url or "https://api.openai.com/v1",
            api_key=api_key,
            headers={name: value for name, value in named.items() if value},
        )

    @classmethod
    def azure(
        cls,
        resource: str,
        *,
        api_key: str | None = None,
        refresh_key: Callable[[], Awaitable[str]] | None = None,
    ) -> Endpoint:
        """An Azure OpenAI resource (Microsoft's WebSocket-mode page). It has no lanes: one response at a time.

        Args:
            resource: The resource's name, or the endpoint that Azure shows for it:
                ``https://NAME.openai.azure.com``.
            api_key: A key or an Entra token for the scope ``https://ai.azure.com/.default``; both are sent as a bearer
                token.
            refresh_key: See `Endpoint`; Entra tokens expire.

        Raises:
            ConfigError: The resource can be neither.
        """
        if not isinstance(resource, str) or ("://" not in resource and not _RESOURCE.match(resource)):
            raise ConfigError(f"{resource!r} cannot be the name of an Azure resource")
        base = resource if "://" in resource else f"https://{resource}.openai.azure.com"
        if not base.partition("://")[2].partition("/")[2].strip("/"):
            base = base.rstrip("/") + "/openai/v1"
        return cls(base, api_key=api_key, refresh_key=refresh_key, lanes="none", steering="none")

    @classmethod
    def xai(cls, api_key: str) -> Endpoint:
        """The endpoint of xAI, which ends connections after 25 minutes (xAI WebSocket-mode guide). It has no lanes.

        Nothing is documented of namespaces there; `attrs.evolve` it with ``namespaces="auto"`` to try.

        Raises:
            ConfigError: The key cannot be one.
        """
        return cls(
            "https://api.x.ai/v1",
            api_key=api_key,
            lanes="none",
            steering="none",
            namespaces="none",
            max_age=24 * 60.0,
        )

    @classmethod
    def local(cls, port: int, *, api_key: str | None = None) -> Endpoint:
        """A server on this machine's loopback, such as `triplane.server`'s.

        Raises:
            ConfigError: The port or the key cannot be one.
        """
        return cls(f"ws://127.0.0.1:{port}/v1/responses", api_key=api_key)


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise ConfigError(
            f"{name} is not set; set it, or pass an Endpoint to open_engine"
            " (Endpoint.local(port) for a server of your own)"
        )
    return value
