"""What tests ask about one request of a client. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from triplane.server.client_requests import ClientRequest

__all__ = ["FACTS", "describe", "fact"]

FACTS: Final = (
    "kind",
    "transport",
    "model",
    "text",
    "instructions",
    "tools",
    "previous_response_id",
    "lane",
    "where",
)
_TEXT_SHOWN: Final = 60


def fact(request: ClientRequest, name: str) -> Any:
    """Return one of `FACTS`: None where the request says nothing of it.

    `text` is that of all its input, messages and outputs of tools, one per line; `tools` the names of those it offers,
    or the type of one without a name; `where` is the request itself.
    """
    fields: Mapping[str, Any] = request.json if isinstance(request.json, dict) else {}
    match name:
        case "kind" | "transport" | "lane":
            return getattr(request, name)
        case "model" | "instructions" | "previous_response_id":
            value = fields.get(name)
            return value if isinstance(value, str) else None
        case "text":
            return "\n".join(_texts(fields.get("input")))
        case "tools":
            return tuple(_tools(fields.get("tools")))
    return request


def describe(request: ClientRequest) -> str:
    """Return one line about a request, for a message that lists several."""
    what = "" if request.kind == "response.create" else f" {request.kind or 'that has no type'}"
    shown = []
    for name in ("lane", "model", "text", "tools", "previous_response_id"):
        value = fact(request, name)
        if name == "text" and len(value) > _TEXT_SHOWN:
            value = f"{value[: _TEXT_SHOWN - 3]}..."
        if value:
            shown.append(f"{name}={list(value) if name == 'tools' else value!r}")
    return f"{request.transport}{what}, {', '.join(shown)}" if shown else f"{request.transport}{what}"


def _texts(given: object) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    for item in given if isinstance(given, list) else ():
        if isinstance(item, dict):
            yield from _texts_of_content(item.get("content", item.get("output")))


def _texts_of_content(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and isinstance(text := part.get("text"), str):
            yield text


def _tools(given: object) -> Sequence[str]:
    tools = [tool for tool in given if isinstance(tool, dict)] if isinstance(given, list) else []
    return [str(tool.get("name", tool.get("type"))) for tool in tools]
