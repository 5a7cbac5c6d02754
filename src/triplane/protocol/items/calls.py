"""Calls of the client's own tools, and their outputs."""

from typing import ClassVar

import attrs

from triplane.protocol._families import Family
from triplane.protocol._wire import Wire
from triplane.protocol.content import ContentPart

from ._base import Item


@attrs.frozen(eq=False, repr=False)
class Caller(Wire):
    """Who made a call. Copy it to the call's output. Base of the caller classes."""

    type: ClassVar[str]
    family: ClassVar[Family] = Family(
        {"direct": "items.calls:DirectCaller", "program": "items.calls:ProgramCaller"},
        "items.calls:UnknownCaller",
    )


@attrs.frozen(eq=False, repr=False)
class UnknownCaller(Caller):
    """A caller of a type that this version does not know."""

    type: str  # type: ignore[misc]  # pyright: ignore[reportIncompatibleVariableOverride]


class DirectCaller(Caller):
    """The model called the tool itself."""

    __slots__ = ()
    type: ClassVar[str] = "direct"


@attrs.frozen(eq=False, repr=False)
class ProgramCaller(Caller):
    """A program that the model wrote called the tool (programmatic tool calling)."""

    type: ClassVar[str] = "program"
    caller_id: str


@attrs.frozen(eq=False, repr=False)
class FunctionCall(Item):
    """The model wants a function called.

    ``arguments`` is JSON text, complete once ``status`` is ``completed``.
    """

    type: ClassVar[str] = "function_call"
    call_id: str
    name: str
    arguments: str
    status: str | None = None
    namespace: str | None = None
    async_: bool | None = None
    """The model goes on without waiting; the output may follow in any later request of the chain."""
    caller: Caller | None = None


@attrs.frozen(eq=False, repr=False)
class FunctionCallOutput(Item):
    """What a function returned: text, or parts.

    Every call that is not async needs its output in the next request.
    """

    type: ClassVar[str] = "function_call_output"
    output: str | tuple[ContentPart, ...]
    call_id: str | None = None
    status: str | None = None
    name: str | None = None
    namespace: str | None = None
    caller: Caller | None = None
    created_by: str | None = None


@attrs.frozen(eq=False, repr=False)
class CustomToolCall(Item):
    """The model wants a custom tool called, with free text as its ``input``."""

    type: ClassVar[str] = "custom_tool_call"
    call_id: str
    name: str
    input: str
    namespace: str | None = None
    async_: bool | None = None
    """The model goes on without waiting; the output may follow in any later request of the chain."""
    caller: Caller | None = None


@attrs.frozen(eq=False, repr=False)
class CustomToolCallOutput(Item):
    """What a custom tool returned: text, or parts."""

    type: ClassVar[str] = "custom_tool_call_output"
    call_id: str
    output: str | tuple[ContentPart, ...]
    status: str | None = None
    caller: Caller | None = None
    created_by: str | None = None
