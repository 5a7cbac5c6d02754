"""What a cassette must not say. Pure.

The same is done to what is recorded and, before it is compared, to what a client asks of a replay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, final

import attrs

if TYPE_CHECKING:
    from .content import Content

__all__ = ["REDACTED", "Redaction"]

REDACTED: Final = "[redacted]"

_HEADERS: Final = (
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "cookie",
    "set-cookie",
    "openai-organization",
    "openai-project",
    "chatgpt-account-id",
)
# Names of such fields in requests, as in the definition of an MCP tool.
_FIELDS: Final = (
    "authorization",
    "api_key",
    "api-key",
    "apikey",
    "x-api-key",
    "access_token",
    "refresh_token",
    "client_secret",
    "password",
    "secret",
    "cookie",
)
_KEY: Final = re.compile(r"\b(?:sk|sess|ek)-[A-Za-z0-9_-]{16,}")
# What is shorter is a word such as "local" or "test", which a text may well contain.
_SHORTEST_SECRET: Final = 16


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@final
@attrs.frozen
class Redaction:
    """What is replaced by "[redacted]".

    Attributes:
        headers: names of headers, beside those that always are: credentials, cookies, organisation and project.
        fields: names of JSON fields whose value is replaced, wherever they stand, beside the usual ones for secrets.
        hook: gets each JSON value, once the rest is done, and returns the value to record. It may change what it
            gets. It must return the same for the same value, or a replay will find differences.

    The values of redacted headers are replaced wherever else they occur, and so is all that looks like a key of
    OpenAI's.
    """

    headers: frozenset[str] = attrs.field(default=frozenset(), converter=_lower)
    fields: frozenset[str] = attrs.field(default=frozenset(), converter=_lower)
    hook: Callable[[Any], Any] | None = None

    def secrets(self, headers: Mapping[str, str]) -> frozenset[str]:
        """Return the values in these headers that must not appear anywhere."""
        words = {
            word
            for name, value in headers.items()
            if self._is_secret(name)
            for word in (value, *value.replace(";", " ").replace("=", " ").split())
        }
        return frozenset(word for word in words if len(word) >= _SHORTEST_SECRET)

    def of_headers(self, headers: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
        """Return headers as they may be recorded."""
        return {
            name: REDACTED if self._is_secret(name) else self.of_text(value, secrets)
            for name, value in headers.items()
        }

    def of_text(self, text: str, secrets: frozenset[str]) -> str:
        """Return a text as it may be recorded."""
        # The longest first: one may be part of another.
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return _KEY.sub(REDACTED, text)

    def of_content(self, content: Content, secrets: frozenset[str]) -> Content:
        """Return content as it may be recorded."""

        def change(value: Any) -> Any:
            value = self._of_value(value, secrets)
            return self.hook(value) if self.hook is not None and not isinstance(value, str) else value

        return content.changed(change)

    def _of_value(self, value: Any, secrets: frozenset[str]) -> Any:
        if isinstance(value, str):
            return self.of_text(value, secrets)
        if isinstance(value, list):
            return [self._of_value(each, secrets) for each in value]
        if isinstance(value, dict):
            return {name: self._of_field(name, each, secrets) for name, each in value.items()}
        return value

    def _of_field(self, name: str, value: Any, secrets: frozenset[str]) -> Any:
        # A schema may describe a parameter of such a name; then its value is an object.
        if name.lower() in self.fields or (name.lower() in _FIELDS and isinstance(value, str)):
            return REDACTED
        return self._of_value(value, secrets)

    def _is_secret(self, name: str) -> bool:
        return name.lower() in _HEADERS or name.lower() in self.headers
