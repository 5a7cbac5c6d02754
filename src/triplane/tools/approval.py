"""Whether a call waits for a person: what its tool's `needs_approval` says of its arguments."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from . import results
from .arguments import InvalidArgumentsError
from .secrets import UnknownSecretError, structured

if TYPE_CHECKING:
    from triplane.core.outcome import ToolCall

    from .secrets import Vault
    from .tool import Tool


def asks_first(tool: Tool, call: ToolCall, vault: Vault) -> str | None:
    """Why a call must not run before a person has approved it; None if it may.

    Empty where its tool says so. Where the tool's function could not say, the call waits, and this tells why. Nobody is
    asked about arguments that do not fit: the model hears of those. Not a checkpoint.

    Args:
        tool: The tool.
        call: The call.
        vault: What the masks in its arguments stand for. The tool's function sees the secrets, and what it says does
            not show them.
    """
    asks = tool.needs_approval
    if asks is False:
        return None
    try:
        arguments = structured(tool, call.arguments, vault)
    except (InvalidArgumentsError, UnknownSecretError):
        return None
    if asks is True:
        return ""
    try:
        answer: Any = asks(arguments)
    except Exception as error:  # noqa: BLE001  (whoever cannot say whether to ask, asks)
        masked = (lambda text: vault.masked(text, call.arguments)) if tool.secrets else str
        return f"needs_approval could not tell: {results.describe_error(error, masked)}"
    if answer is True or answer is False:
        return "" if answer else None
    if inspect.iscoroutine(answer):
        answer.close()  # or Python warns that nobody awaited it
    return f"needs_approval returned a {type(answer).__name__} and not True or False"
