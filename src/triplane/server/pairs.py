"""Calls that the client answers, and how each is joined to its answer. Pure data.

Other calls are executed by the service, which sends their outputs itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import attrs

__all__ = ["ANSWERS", "CALLS", "Pair"]

# What a pair is joined by, on either side, if it is not `call_id`.
_CALL_ID: Final = ("call_id",)


@final
@attrs.frozen
class Pair:
    """A kind of call and of the item that answers it.

    Attributes:
        call: the type of the call.
        answer: the type of the item that answers it.
        words: what error messages call it.
        call_keys: the fields of the call that an answer may name, the first of which error messages name.
        answer_keys: the fields of an answer that may name the call; the first one that is there does.
        needs_key: whether an answer has to name its call.
    """

    call: str
    answer: str
    words: str
    call_keys: tuple[str, ...] = _CALL_ID
    answer_keys: tuple[str, ...] = _CALL_ID
    needs_key: bool = True

    def keys_of(self, call: Mapping[str, Any]) -> list[str]:
        """Return the names by which `call` can be answered."""
        return [value for key in self.call_keys if isinstance(value := call.get(key), str)]

    @staticmethod
    def is_the_clients(call: Mapping[str, Any]) -> bool:
        """Tell whether it is the client who answers `call`, which has a name."""
        environment = call.get("environment")
        # A container belongs to the service.
        hosted = isinstance(environment, Mapping) and environment.get("type") == "container_reference"
        return not hosted and call.get("execution") != "server"

    def key_of(self, answer: Mapping[str, Any]) -> str | None:
        """Return the name of the call that `answer` answers; None if it names none."""
        values = (answer.get(key) for key in self.answer_keys)
        return next((value for value in values if isinstance(value, str)), None)


_PAIRS: Final = (
    Pair("function_call", "function_call_output", "function call"),
    Pair("custom_tool_call", "custom_tool_call_output", "custom tool call"),
    Pair("shell_call", "shell_call_output", "shell call"),
    # The types of the openai package have no `call_id` in the output, and the service reads nothing else.
    Pair(
        "local_shell_call",
        "local_shell_call_output",
        "local shell call",
        call_keys=("call_id", "id"),
        answer_keys=("call_id", "id"),
    ),
    Pair("apply_patch_call", "apply_patch_call_output", "apply patch call"),
    Pair("computer_call", "computer_call_output", "computer call"),
    Pair("tool_search_call", "tool_search_output", "tool search call", needs_key=False),
    Pair(
        "mcp_approval_request",
        "mcp_approval_response",
        "MCP approval request",
        call_keys=("id",),
        answer_keys=("approval_request_id",),
    ),
)

CALLS: Final[Mapping[str, Pair]] = {pair.call: pair for pair in _PAIRS}
"""The pairs by the type of the call."""

ANSWERS: Final[Mapping[str, Pair]] = {pair.answer: pair for pair in _PAIRS}
"""The pairs by the type of the answer."""
