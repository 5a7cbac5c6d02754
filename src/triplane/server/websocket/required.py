"""What the client owes a response before it can go on: the outputs of its own tools, and approvals. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triplane.server.pairs import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from triplane.server.conversation import Item

__all__ = ["required_input"]


def required_input(output: Iterable[Item]) -> list[dict[str, Any]]:
    """Return a stub of each input item that `output` waits for: its identifying fields, without any result.

    The output of an async call may come in any later request of the chain, so nothing waits for it.
    """
    stubs = []
    for item in output:
        pair = CALLS.get(str(item.get("type")))
        if pair is None or item.get("async") or not pair.is_the_clients(item):
            continue
        if not (keys := pair.keys_of(item)):
            continue
        stub: dict[str, Any] = {"type": pair.answer, pair.answer_keys[0]: keys[0]}
        if pair.call == "function_call":
            stub["name"] = item.get("name")
        elif pair.call == "tool_search_call":
            stub["execution"] = "client"
        stubs.append(stub)
    return stubs
