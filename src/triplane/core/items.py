"""Facts about items that decisions need: whose they are, which calls somebody must answer, and with what.

Items are wire data, so every look at one is a guarded look: a key may be absent, or hold anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .outcome import CallKind
    from .records import Item

# Calls that the client runs, and the items that answer them (openai-python 3.52.0). The pairs share a ``call_id``.
CLIENT_CALLS: Final[dict[CallKind, str]] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "tool_search_call": "tool_search_output",
}
_CALL_OF_ANSWER: Final[dict[str, str]] = {answer: call for call, answer in CLIENT_CALLS.items()}
# What else only a client sends, besides messages.
_FROM_CLIENT: Final = frozenset(
    {*_CALL_OF_ANSWER, "mcp_approval_response", "configuration_update", "compaction_trigger"}
    | {"item_reference", "additional_tools"}
)


def kind_of(item: Item) -> str:
    """An item's type. The short form of a message has none; an item whose type is no word is of no type."""
    kind = item.get("type", "message")
    return kind if isinstance(kind, str) else ""


def is_from_model(item: Item) -> bool:
    """Whether an item is the model's own, or the server's, and not what a client put in."""
    kind = kind_of(item)
    return item.get("role") == "assistant" if kind == "message" else kind not in _FROM_CLIENT


def is_cut_off(item: Item) -> bool:
    """Whether the model stopped in the middle of the item: its arguments or its text are not whole."""
    return item.get("status") == "incomplete"


def is_for_client(call: Item) -> bool:
    """Whether an item is a call that the client runs; some types of calls are run by either side."""
    kind = kind_of(call)
    if kind == "tool_search_call":
        return call.get("execution") == "client"
    if kind == "shell_call":
        environment = call.get("environment")
        return not (isinstance(environment, dict) and environment.get("type") == "container_reference")
    return kind in CLIENT_CALLS


def pair_of(item: Item) -> tuple[str, str] | None:
    """What a call and its answer have in common: the call's type and the call id. None for other items."""
    kind = kind_of(item)
    call = kind if kind in CLIENT_CALLS else _CALL_OF_ANSWER.get(kind)
    # The answer to a local shell call names it by ``id``.
    call_id = item.get("call_id", item.get("id") if kind == "local_shell_call_output" else None)
    return (call, call_id) if call is not None and isinstance(call_id, str) else None


def is_answer(item: Item) -> bool:
    """Whether an item is the answer to a call that the client runs."""
    return kind_of(item) in _CALL_OF_ANSWER


def text_of(items: Iterable[Item]) -> str:
    """The visible text of the message items among `items`, refusals included."""
    pieces: list[str] = []
    for item in items:
        content = item.get("content")
        if kind_of(item) != "message" or not isinstance(content, list):
            continue
        for part in content:
            if isinstance(part, dict):
                piece = part.get("text") if part.get("type") == "output_text" else part.get("refusal")
                if isinstance(piece, str):
                    pieces.append(piece)
    return "".join(pieces)
