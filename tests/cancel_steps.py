"""Cancelling an operation at a step of the scheduler, so that a test can do so at each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the scheduler is about to run its n-th task step."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancelled_at(step: int, operation: Callable[[], Awaitable[object]]) -> tuple[bool, int]:
    """Run an operation and cancel it at a step, at none with 0; whether it was cancelled, and how many steps it took."""
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught, instrument.steps
