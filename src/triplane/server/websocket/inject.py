"""`response.inject`, of the multi-agent beta: outputs of tools for a response that is being made. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, final

import attrs

from triplane.server.conversation import Item
from triplane.server.errors import Refused

from .wire import Close

if TYPE_CHECKING:
    from triplane.server.stream import ResponseStream

__all__ = ["BETA", "MALFORMED", "Inject", "check_inject", "parse_inject"]

BETA: Final = "responses_multi_agent=v1"
"""What the `OpenAI-Beta` header of the upgrade has to say for `response.inject` to be known."""

MALFORMED: Final = Close(1008, "A response.inject does not match its schema.")
"""How the socket is closed after such a message; that it is closed is documented, the code is not."""


@final
@attrs.frozen
class Inject:
    """One `response.inject`."""

    response_id: str
    items: Sequence[Item]

    def failure(self, *, ended: bool) -> dict[str, Any]:
        """Return the fields of the `response.inject.failed` that hands the input back.

        Args:
            ended: whether the response is over, or there is none that waits for anything.
        """
        error = (
            {"code": "response_already_completed", "message": "The response has already completed."}
            if ended
            else {"code": "response_not_found", "message": "No such response waits for input here."}
        )
        return {"response_id": self.response_id, "input": self.items, "error": error}


def parse_inject(frame: Mapping[str, Any]) -> Inject:
    """Check a `response.inject`.

    Raises:
        Refused: it does not match the schema. The socket has to be closed.
    """
    response_id, items = frame.get("response_id"), frame.get("input")
    if not isinstance(response_id, str):
        raise _malformed("'response_id' must be a string.", "response_id")
    if not isinstance(items, list) or not items:
        raise _malformed("'input' must be a non-empty array.", "input")
    extra = sorted(frame.keys() - {"type", "response_id", "input"})
    if extra:
        raise _malformed(f"Unknown parameter: '{extra[0][:100]}'.", extra[0][:100])
    for index, item in enumerate(items):
        where = f"input[{index}]"
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            raise _malformed(f"'{where}' must be an input item.", where)
        if not item["type"].endswith("_output"):
            raise _malformed(f"'{where}' must be the output of a tool.", where)
        if not isinstance(item.get("call_id"), str):
            raise _malformed(f"'{where}.call_id' must be a string.", f"{where}.call_id")
        if item["type"] in ("function_call_output", "custom_tool_call_output") and not isinstance(
            item.get("output"), (str, list)
        ):
            raise _malformed(f"'{where}.output' must be a string or an array.", f"{where}.output")
    return Inject(response_id, items)


def _malformed(message: str, param: str) -> Refused:
    return Refused(message, param=param)


def check_inject(inject: Inject, stream: ResponseStream) -> None:
    """Check that the outputs are those that a response waits for, each of them once.

    Raises:
        Refused: one is not.
    """
    missing = {(stub["type"], stub.get("call_id")) for stub in stream.missing}
    for item in inject.items:
        key = item["type"], item["call_id"]
        if key not in missing:
            raise Refused(
                f"No tool call found for {item['type']} with call_id {item['call_id']}.", param="input"
            )
        missing.remove(key)
