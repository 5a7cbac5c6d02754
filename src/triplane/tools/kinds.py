"""How each kind of tool is run: the seam between a call, with its limits, and the code that it runs.

A producer is awaited under the call's scope and either returns a value or writes to the call's output as it goes.
Whatever a call promises (its deadline, its cap, one outcome) is kept by the runtime around it, for every kind alike. A
new kind of tool is a new producer.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, Protocol

import attrs
import trio

from .context import Progress, ToolContext
from .output import CallOutput
from .threads import run_in_thread


@attrs.frozen(kw_only=True)
class Production:
    """One attempt at a call, for the producer.

    Attributes:
        context: What a tool may know of its call.
        output: Takes what is produced while it is. What is written there counts, and not what is returned.
        on_late: Told when a thread that nobody waited for has ended.
        content: What the answer to the call holds besides text, so far: parts as wire data, see `ToolOutcome.content`.
            A producer that adds to it need not return or write anything. It counts however the call ends.
    """

    context: ToolContext
    output: CallOutput
    on_late: Callable[[], object]
    content: list[Mapping[str, Any]] = attrs.field(factory=list)


class Producer(Protocol):
    """How a tool's code is run."""

    async def __call__(self, arguments: dict[str, Any], production: Production, /) -> Any:
        """Run it and return its value, None if it wrote to the output.

        Raises:
            Exception: The tool failed.

        Cancellation: must end soon and leave nothing behind. It happens at the deadline, when the output is full, and
        when nobody wants the call any more. Checkpoints: always.
        """
        ...


def producer_of(function: Callable[..., Any], name: str) -> Producer:
    """What runs `function`: async, an async iterator's, or a sync one in a thread."""
    if _is(function, inspect.isasyncgenfunction):
        return Streaming(function)
    if _is(function, inspect.iscoroutinefunction):
        return Awaiting(function)
    return Threaded(function, f"tool {name}")


def is_generator(function: Callable[..., Any]) -> bool:
    """Whether it is a sync generator, which is none of the kinds."""
    return _is(function, inspect.isgeneratorfunction)


def _is(function: Callable[..., Any], question: Callable[[Any], bool]) -> bool:
    return question(function) or question(type(function).__call__)


@attrs.frozen
class Awaiting:
    """Runs an async function."""

    function: Callable[..., Any]

    async def __call__(self, arguments: dict[str, Any], production: Production) -> Any:
        """See `Producer`."""
        value = await self.function(**arguments)
        if isinstance(value, AsyncIterator):
            return await _stream(value, production)
        return value


@attrs.frozen
class Streaming:
    """Runs a function that returns an async iterator, and takes what that yields: text, bytes or `Progress`."""

    function: Callable[..., Any]

    async def __call__(self, arguments: dict[str, Any], production: Production) -> Any:
        """See `Producer`."""
        return await _stream(self.function(**arguments), production)


@attrs.frozen
class Threaded:
    """Runs a sync function in a worker thread, which is left behind if it does not end in time."""

    function: Callable[..., Any]
    thread_name: str

    async def __call__(self, arguments: dict[str, Any], production: Production) -> Any:
        """See `Producer`."""
        value = await run_in_thread(
            lambda: self.function(**arguments), name=self.thread_name, on_late=production.on_late
        )
        if isinstance(value, AsyncIterator):
            return await _stream(value, production)
        return value


class WrongPieceError(Exception):
    """An async iterator yielded something that is not output; the message says what."""


async def _stream(pieces: AsyncIterator[Any], production: Production) -> None:
    output = production.output
    closing: AbstractAsyncContextManager[object] = nullcontext()
    if inspect.isasyncgen(pieces):
        closing = aclosing(pieces)
    async with closing:
        async for piece in pieces:
            if isinstance(piece, str | bytes | bytearray | memoryview):
                if not await output.send(piece):
                    break
            elif isinstance(piece, Progress):
                production.context.report(piece)
                await trio.lowlevel.checkpoint()
            else:
                raise WrongPieceError(
                    f"it yielded a {type(piece).__name__}; an iterator yields str, bytes or Progress"
                )
    output.write("")
    await trio.lowlevel.checkpoint()
