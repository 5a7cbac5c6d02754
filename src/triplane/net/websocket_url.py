"""From the URL that a user has to the one that is connected to."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from triplane.core.errors import ConfigError

# What stays as it is in a request's target: printable ASCII, save blanks.
_IN_TARGETS: Final = "".join(map(chr, range(0x21, 0x7F)))


def websocket_url(url: str) -> str:
    """The WebSocket URL for a base URL or a WebSocket URL.

    ``https`` becomes ``wss`` and ``http`` becomes ``ws``; ``/responses`` is appended unless the path ends with it; a
    query string is kept. This is how openai-python 3.52.0 derives it. What is not ASCII is written as HTTP has to have
    it: in percents, a host's name in its ``xn--`` form. A name that could be two, as one with ß, is refused.

    Raises:
        ConfigError: It is no URL of an endpoint. The message does not repeat it: a key may have been pasted into it.
    """
    if not isinstance(url, str):
        raise ConfigError(f"an endpoint's URL must be text, not {type(url).__name__}")
    if not url.isprintable() or " " in url:
        raise ConfigError("an endpoint's URL must be without spaces and control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The standard library's words repeat the URL, and a key may have been pasted into it.
        raise ConfigError("the endpoint's URL cannot be read; its port is a number from 1 to 65535") from None
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None:
        raise ConfigError(
            "an endpoint's URL begins with wss://, ws://, https:// or http://, as in"
            " wss://api.openai.com/v1/responses; "
            + (
                f"{parts.scheme}: is none of these"
                if parts.scheme
                else "what was given begins with none of these"
            )
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError("an endpoint's URL must not hold credentials; pass api_key= instead")
    if not parts.hostname or port == 0:
        raise ConfigError("an endpoint's URL needs a host and a port other than 0")
    path = parts.path.rstrip("/")
    if not path.endswith("/responses"):
        path += "/responses"
    return urlunsplit((scheme, _ascii_authority(parts.netloc), in_ascii(path), in_ascii(parts.query), ""))


def in_ascii(text: str, encoding: str = "utf-8") -> str:
    """Text as it can stand in the target of a request."""
    return quote(text, safe=_IN_TARGETS, encoding=encoding, errors="replace")


def _ascii_authority(authority: str) -> str:
    if authority.isascii():
        return authority
    host, colon, port = authority.partition(":")
    try:
        name = host.encode("idna")
        # The standard library knows the rules of 2003 alone. Where those change a letter, as ß into ss, today's rules
        # may lead to somebody else, who would get the key.
        if name.decode("idna").lower() == host.lower():
            return f"{name.decode()}{colon}{port.encode('ascii').decode()}"
    except UnicodeError:
        pass
    raise ConfigError("the host in the endpoint's URL cannot be a name, or could be two; give its xn-- form")
