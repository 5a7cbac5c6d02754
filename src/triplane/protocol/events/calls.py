"""Calls of the client's own tools, as their arguments are written.

None of these events has a ``call_id``: it is on the item, which `ResponseOutputItemAdded` and
`ResponseOutputItemDone` carry.
"""

from typing import ClassVar

import attrs

from ._shapes import ItemDelta, ItemEvent


class ResponseFunctionCallArgumentsDelta(ItemDelta):
    """The next piece of a function call's arguments, which are JSON text once they are whole."""

    __slots__ = ()
    type: ClassVar[str] = "response.function_call_arguments.delta"


@attrs.frozen(eq=False, repr=False)
class ResponseFunctionCallArgumentsDone(ItemEvent):
    """The whole arguments of a function call. Some servers add the ``name``."""

    type: ClassVar[str] = "response.function_call_arguments.done"
    arguments: str
    name: str | None = None


class ResponseCustomToolCallInputDelta(ItemDelta):
    """The next piece of a custom tool's free-text input."""

    __slots__ = ()
    type: ClassVar[str] = "response.custom_tool_call_input.delta"


@attrs.frozen(eq=False, repr=False)
class ResponseCustomToolCallInputDone(ItemEvent):
    """The whole input of a custom tool."""

    type: ClassVar[str] = "response.custom_tool_call_input.done"
    input: str
