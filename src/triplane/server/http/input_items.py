"""The items of a request as HTTP shows them, in pages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from triplane.server.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triplane.server.conversation import Item

__all__ = ["page", "shown"]

_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
}
# Those whose status the API fills in.
_WITH_STATUS: Final = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
)
_MAX_LIMIT: Final = 100


def shown(response_id: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Return `items` with the fields that the client may leave out.

    An item that came without an id gets one that follows from its place, so that it is the same every time.
    """
    seed = response_id.partition("_")[2]
    result: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        kind = str(item.get("type", "message"))
        full: dict[str, Any] = {"id": f"{_PREFIXES.get(kind, 'item')}_{seed}{index:04x}", "type": kind}
        if kind in _WITH_STATUS:
            full["status"] = "completed"
        full |= {name: value for name, value in item.items() if value is not None}
        if kind == "message" and isinstance(full.get("content"), str):
            full["content"] = [_text_part(full["content"], full.get("role"))]
        result.append(full)
    return result


def _text_part(text: str, role: object) -> dict[str, Any]:
    if role == "assistant":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "input_text", "text": text}


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return the page of `items` that `query` asks for by `limit`, `order` and `after`.

    Raises:
        Refused: a parameter has a value that it cannot have.
    """
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise _invalid("order", order, "'asc' or 'desc'")
    text = query.get("limit", "20")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MAX_LIMIT):
        raise _invalid("limit", text, f"an integer from 1 to {_MAX_LIMIT}")
    ordered = list(items) if order == "asc" else list(reversed(items))
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise _invalid("after", after, "the id of one of the items")
        ordered = ordered[ids.index(after) + 1 :]
    data = ordered[: int(text)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(ordered) > len(data),
    }


def _invalid(param: str, value: str, wanted: str) -> Refused:
    return Refused(f"Invalid '{param}': {value[:100]!r} is not {wanted}.", code="invalid_value", param=param)
