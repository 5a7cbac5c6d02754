"""What an MCP server answers, as a tool returns it: texts, images and files, and words for what a model is not given."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import mcp_types

from triplane.tools.content import File, Image
from triplane.tools.values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

# https://platform.openai.com/docs/guides/images-vision#image-input-requirements; a request with another one is refused
# as a whole.
_IMAGES = frozenset(("image/png", "image/jpeg", "image/webp", "image/gif"))

Part = str | Image | File


def value_of(result: mcp_types.CallToolResult) -> Any:
    """What the tool returned: a text, or a list of parts if there is more than text.

    Structured content is for programs, and servers say it in a text as well; so it counts only where there is nothing else.
    """
    parts = [part for block in result.content for part in _parts(block)]
    if not parts and result.structured_content is not None:
        return to_json(result.structured_content).decode()
    if any(not isinstance(part, str) for part in parts):
        return parts
    return "\n".join(map(str, parts))


def text_of(result: mcp_types.CallToolResult) -> str:
    """The same in words alone."""
    value = value_of(result)
    if isinstance(value, str):
        return value
    return "\n".join(part if isinstance(part, str) else part.words() for part in value)


def _parts(block: mcp_types.ContentBlock) -> Iterable[Part]:
    match block:
        case mcp_types.TextContent():
            yield block.text
        case mcp_types.ImageContent():
            yield _media(block.data, block.mime_type, "image")
        case mcp_types.AudioContent():
            yield _media(block.data, block.mime_type, "audio")
        case mcp_types.ResourceLink():
            told = [
                str(block.uri),
                *filter(None, (block.title or block.name, block.mime_type, block.description)),
            ]
            yield f"[resource: {', '.join(told)}]"
        case mcp_types.EmbeddedResource():
            resource = block.resource
            uri, kind = str(resource.uri), resource.mime_type
            if isinstance(resource, mcp_types.TextResourceContents):
                yield f"[resource: {uri}{f', {kind}' if kind else ''}]"
                yield resource.text
            else:
                yield f"[resource: {uri}]"
                yield _media(resource.blob, kind or "application/octet-stream", "file", uri)


def _media(data: str, kind: str, word: str, uri: str = "") -> Part:
    try:
        content = binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return f"[{word}: {kind}, whose data is not base64]"
    if kind.lower() in _IMAGES and content:
        return Image(content, media_type=kind.lower())
    if kind.lower() == "application/pdf":
        name = unquote(urlsplit(uri).path).rpartition("/")[2]
        return File(content, name if name.lower().endswith(".pdf") else "file.pdf")
    return f"[{word}: {kind}, {len(content):,} bytes, which are not shown]"
