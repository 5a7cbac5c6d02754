"""Which parts of a request nobody but the server may see. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["hide_fields", "hide_headers", "hide_target"]

_HIDDEN: Final = "[hidden]"
# A browser's WebSocket has no headers of its own and puts its key among the subprotocols.
_HEADERS: Final = re.compile(
    r"(?i)(proxy-)?authorization|(set-)?cookie|sec-websocket-protocol|.*(api[-_]?key|token|secret).*"
)
# A tool on another server is called with the credentials in its definition.
_FIELDS: Final = re.compile(
    r"(?i)authorization|(x-)?api[-_]?key|access[-_]?token|(client[-_]?)?secret|password|cookie"
)
_PARAMETERS: Final = re.compile(r"(?i)([?&](?:[^=&]*(?:key|token|secret|password|authorization))=)[^&#]*")


def hide_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers by their names in lower case, without those that hold secrets."""
    return {name.lower(): value for name, value in headers if not _HEADERS.fullmatch(name)}


def hide_target(target: str) -> str:
    """Return a request target with the secrets in its query hidden."""
    return _PARAMETERS.sub(rf"\g<1>{quote(_HIDDEN)}", target)


def hide_fields(value: Any, secret: str | None = None) -> Any:
    """Hide, in place, the strings in fields that hold secrets, and `secret` itself anywhere. Return the value."""
    # Not by recursion, for which JSON can be nested too deeply.
    root = [value]
    pending: list[Any] = [root]
    while pending:
        current = pending.pop()
        for key, item in current.items() if isinstance(current, dict) else enumerate(current):
            if isinstance(item, (dict, list)):
                pending.append(item)
            elif isinstance(item, str):
                if isinstance(key, str) and _FIELDS.fullmatch(key):
                    current[key] = _HIDDEN
                elif secret is not None and secret in item:
                    current[key] = item.replace(secret, _HIDDEN)
    return root[0]
