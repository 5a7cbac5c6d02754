"""Tasks in the background of a block, whose own errors come out as they were raised."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """A nursery that its block's caller need not know of.

    A nursery wraps whatever is raised in it into a group. Here the block's own error comes out bare once all tasks
    have ended; an error of a background task, which can only be a bug, comes out in a group with the block's error
    beside it. The tasks are not cancelled when the block is left: the block does that, where it wants it.
    """
    block_error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                # A cancellation belongs to a scope around it and must pass through the nursery to get there.
                if _holds_cancelled(error):
                    raise
                block_error = error
    except BaseExceptionGroup as group:
        if block_error is None:
            raise
        raise BaseExceptionGroup(
            "a block and the tasks in its background", [block_error, *group.exceptions]
        ) from None
    if block_error is not None:
        raise block_error


def _holds_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
