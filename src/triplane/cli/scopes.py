"""What a command is run inside of: services beside it, and the signals that end it."""

from __future__ import annotations

import signal
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs
import trio

from triplane.tools.background import open_background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# A second Ctrl-C within this time is impatience, and the cleanup is about to be over; later it is despair.
_PATIENCE = 1.0


class Service(Protocol[T_co]):
    """What `trio.Nursery.start` starts."""

    async def __call__(self, *, task_status: trio.TaskStatus[T_co]) -> None:
        """Run until cancelled; report readiness through `task_status`."""
        ...


@asynccontextmanager
async def background(service: Service[T]) -> AsyncIterator[T]:
    """Run a service for as long as the block lasts; the block gets what the service reports when it is ready.

    An error of the block, or of the service before it was ready, comes out as it was raised. An error of the
    running service cancels the block and comes out in a group.
    """
    async with open_background() as nursery:
        try:
            yield await nursery.start(service)
        finally:
            nursery.cancel_scope.cancel(reason="the block beside the service has ended")


@attrs.define(eq=False)
class Interruption:
    """Whether a signal has ended the work.

    Attributes:
        scope: What a signal cancels. Enter it around the work, inside of what the work's cleanup needs.
        received: The first signal that came, even if it came too late to cancel anything.
    """

    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)
    received: signal.Signals | None = None

    def __bool__(self) -> bool:
        """Whether the work was cut short. A signal that came after its last step has not done so."""
        return self.scope.cancelled_caught

    @property
    def exit_status(self) -> int:
        """What a shell reports for a program that a signal ended: 130 for Ctrl-C."""
        return 128 + (self.received or signal.SIGINT)

    def _come(self, number: signal.Signals) -> None:
        self.received = self.received or number
        self.scope.cancel(reason=f"{number.name} was received")


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """While the block lasts, Ctrl-C, SIGTERM and SIGHUP cancel the scope of what this yields.

    No KeyboardInterrupt is raised: it could come between any two steps of any task, even between the arrival of a
    frame and its entry in the log. A cancelled scope lets every block inside end in good order. Signals that come
    while that goes on are ignored for a second; after that one ends the process at once, with nothing in good order.

    For Trio's main thread. Entering and leaving are no checkpoints.
    """
    interruption = Interruption()
    token = trio.lowlevel.current_trio_token()
    first: float | None = None

    def receive(number: int, _frame: object) -> None:
        nonlocal first
        if first is None:
            first = time.monotonic()
            token.run_sync_soon(interruption._come, signal.Signals(number))  # noqa: SLF001  # made for this
        elif time.monotonic() - first > _PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, receive) for number in _ending_signals()}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending_signals() -> list[signal.Signals]:
    signals = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    # Under nohup the terminal may go.
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signals.append(hangup)
    return signals
