"""Which call of the client's tools an item is: one reading of all their kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from .items import is_cut_off, is_for_client
from .outcome import CallKind, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .records import Item

# The kinds that name no tool: what theirs is called, and which keys of the item say what is to be done.
_NAMELESS: Final[Mapping[str, tuple[str, CallKind, tuple[str, ...]]]] = {
    "shell_call": ("shell", "shell_call", ("action",)),
    "local_shell_call": ("local_shell", "local_shell_call", ("action",)),
    "apply_patch_call": ("apply_patch", "apply_patch_call", ("operation",)),
    "computer_call": ("computer", "computer_call", ("action", "actions", "pending_safety_checks")),
    "tool_search_call": ("tool_search", "tool_search_call", ("arguments",)),
}


def call_of(item: Item) -> ToolCall | None:
    """The call that an item is; None if it is none of the client's, cannot be answered, or was cut off."""
    kind = item.get("type")
    namespace, caller = item.get("namespace"), item.get("caller")
    name: object
    arguments: object
    wire: CallKind
    if kind == "function_call":
        wire, name, arguments = "function_call", item.get("name"), item.get("arguments")
    elif kind == "custom_tool_call":
        wire, name, arguments = "custom_tool_call", item.get("name"), item.get("input")
    elif isinstance(kind, str) and kind in _NAMELESS and is_for_client(item):
        name, wire, keys = _NAMELESS[kind]
        arguments = _as_json(item, keys)
    else:
        return None
    call_id = item.get("call_id")
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str)):
        return None
    if is_cut_off(item):
        return None
    return ToolCall(
        call_id,
        name,
        arguments,
        wire,
        namespace=namespace if isinstance(namespace, str) else None,
        caller=caller if isinstance(caller, dict) else None,
        is_async=item.get("async") is True,
    )


def _as_json(item: Item, keys: tuple[str, ...]) -> str:
    """What is to be done: the one key's value, or those of several that are there. Equal calls give equal texts."""
    said: Any = item.get(keys[0])
    if len(keys) > 1:
        said = {key: item[key] for key in keys if item.get(key) is not None}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
