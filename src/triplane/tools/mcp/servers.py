"""How an MCP server is reached: as a process of its own, or at a URL. Neither value shows a secret in its repr."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import attrs

from triplane.core.errors import ConfigError
from triplane.tools.results import redact

# Shorter values are words such as "1" and "true", and would be found everywhere.
_SHORTEST_SECRET = 6


def _words(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str) or not isinstance(command, Sequence):
        raise ConfigError(
            f"the command of an MCP server is a list of words, a program and its arguments, not {type(command).__name__}"
        )
    words = tuple(command)
    if not words or not words[0] or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ConfigError("the command of an MCP server is a list of words, a program and its arguments")
    return words


def _env(given: Mapping[str, str]) -> Mapping[str, str]:
    return _texts(given, "env")


def _headers(given: Mapping[str, str]) -> Mapping[str, str]:
    return _texts(given, "headers")


def _texts(given: Mapping[str, str], what: str) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} of an MCP server is a mapping of texts, not {type(given).__name__}")
    texts = dict(given)
    for name, text in texts.items():
        # No message shows the value: it may be a secret.
        if not isinstance(name, str) or not isinstance(text, str):
            raise ConfigError(f"{what} of an MCP server is a mapping of texts; {name!r} is not one")
        if any(mark in name + text for mark in "\0\r\n"):
            raise ConfigError(f"{what} of an MCP server: {name!r} holds a line break or a NUL")
    return MappingProxyType(texts)


def _names(given: Mapping[str, str]) -> str:
    return f"<{', '.join(given)}>" if given else "<none>"


@attrs.frozen(kw_only=True)
class Stdio:
    """A server that is a process of its own, spoken to over its stdin and stdout.

    It gets a process group of its own, which is killed whole in the end.

    Attributes:
        command: The program and its arguments. Of these only the program is shown anywhere.
        env: Variables for it. Besides it gets HOME, LOGNAME, PATH, SHELL, TERM and USER of this process's environment, and
            nothing else.
        cwd: Where to run it. Default: the current directory.

    Raises:
        ConfigError: A field is not what it should be.
    """

    command: tuple[str, ...] = attrs.field(
        converter=_words, kw_only=False, repr=lambda words: f"({words[0]!r}, …)"
    )
    env: Mapping[str, str] = attrs.field(factory=dict, converter=_env, repr=_names)
    cwd: str | os.PathLike[str] | None = None

    @property
    def shown(self) -> str:
        """What it is called where it has no name."""
        return os.path.basename(self.command[0])  # noqa: PTH119  # it may be a name without a path

    def secrets(self) -> Iterable[str]:
        """What no message may hold."""
        return self.env.values()


def _check_url(_instance: object, _attribute: object, url: Any) -> None:
    if not isinstance(url, str):
        raise ConfigError(f"the URL of an MCP server is text, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("the URL of an MCP server is one of http or https, with a host")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "the URL of an MCP server holds a name or a password; pass headers={'Authorization': …} instead, which are"
            " never shown"
        )


@attrs.frozen(kw_only=True)
class Http:
    """A server at a URL, spoken to by the protocol's streamable HTTP.

    Attributes:
        url: Its endpoint, ``http`` or ``https``. Libraries log URLs, so keys belong into `headers`.
        headers: Sent with every request, such as ``{"Authorization": "Bearer …"}``.
        auth: An ``httpx2.Auth`` that signs each request, such as the SDK's OAuth providers. Default: None.

    Raises:
        ConfigError: A field is not what it should be, or the URL holds a user's name or password.
    """

    url: str = attrs.field(kw_only=False, validator=_check_url, repr=lambda url: repr(_without_query(url)))
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_headers, repr=_names)
    auth: Any = attrs.field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """What it is called where it has no name."""
        return _without_query(self.url)

    def secrets(self) -> Iterable[str]:
        """What no message may hold."""
        for value in self.headers.values():
            yield value
            # A server that complains about "Bearer x" may do so about x alone.
            yield from value.split()


Server = Stdio | Http


def _without_query(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]


def concealing(server: Server) -> re.Pattern[str] | None:
    """A pattern of what was given as a secret, the longest first; None if nothing was."""
    values = {value for value in server.secrets() if len(value) >= _SHORTEST_SECRET}
    if not values:
        return None
    return re.compile("|".join(re.escape(value) for value in sorted(values, key=len, reverse=True)))


def concealed(text: str, secrets: re.Pattern[str] | None) -> str:
    """`text` without the secrets, nor anything else that looks like one."""
    return redact(text if secrets is None else secrets.sub("[redacted]", text))
