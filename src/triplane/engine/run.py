"""One run in the hands of a program: its events by cursor, its state, its result."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import trio

from triplane.core.errors import RunFailed, TriplaneError

from .background import open_background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from triplane.core.reducer import RunState
    from triplane.core.store import RunLog

    from .driver import Driver
    from .feed import Feed, Reader, RunEvent


@final
class Run:
    """A run that is being driven in the background of `Engine.open_run`.

    Iterating it yields typed events, each recorded before it is delivered: the server's events, and the records of
    what the engine did (`RunStarted`, `RequestSent`, `ToolStarted`, `ToolFinished`, …). Each ``async for`` is a
    cursor of its own from the run's first event on. A cursor that sleeps delays nobody; one that falls
    `EngineOptions.max_unread` bytes behind makes the run stop reading its socket until it catches up, is closed, or
    is left with ``break``.
    """

    def __init__(self, driver: Driver, feed: Feed, count: Callable[[int], None]) -> None:
        self._driver = driver
        self._count = count
        self._over = trio.Event()
        self._feed = feed
        self._final: RunState | None = None
        self._failure: TriplaneError | None = None
        self._failure_shown = False

    def __repr__(self) -> str:
        now = self.state
        return f"<Run {self.run_id}: {now.status}, {now.turns} turns, {len(now.tool_calls)} tool calls>"

    @property
    def run_id(self) -> str:
        """The run's id, under which the ledger keeps its log."""
        return self._feed.log.run_id

    @property
    def log(self) -> RunLog:
        """The run's log, for reading."""
        return self._feed.log

    @property
    def state(self) -> RunState:
        """The run now. Costs the length of the last response and the number of calls."""
        return self._driver.state()

    @property
    def result(self) -> RunState:
        """The final state.

        Raises:
            RunFailed: The run has not ended yet, or ended without a result.
            TriplaneError: The run failed; this is why.
        """
        if self._failure is not None:
            self._failure_shown = True
            raise self._failure.again()
        if self._final is None:
            if self._over.is_set():
                words = "the run has no result: it was cancelled; its log says how far it had come"
            else:
                words = "the run has no result yet; iterate it to its end, or await run.wait()"
            raise RunFailed(words, run_id=self.run_id, receipt=self._driver.receipt())
        return self._final

    async def wait(self) -> RunState:
        """Return the final state once the run has ended. A checkpoint.

        Raises:
            TriplaneError: The run failed; this is why.
        """
        await self._over.wait()
        return self.result

    def __aiter__(self) -> RunEvents:
        return RunEvents(self, self._feed.reader())

    async def _drive(self) -> None:
        """Drive to the end. A failure is a value here: nothing but bugs raises into a nursery."""
        self._count(1)
        try:
            self._final = await self._driver.drive()
        except TriplaneError as failure:
            self._failure = failure
        finally:
            self._count(-1)
            self._over.set()

    def _take_failure(self) -> TriplaneError | None:
        self._failure_shown = True
        return self._failure

    def _show_failure(self) -> None:
        if self._failure is not None and not self._failure_shown:
            self._failure_shown = True
            raise self._failure.again()


@final
class RunEvents:
    """The events of a run by a cursor of its own. Ends with the run; raises what made it fail."""

    def __init__(self, run: Run, reader: Reader) -> None:
        self._run = run
        self._reader = reader

    def __aiter__(self) -> RunEvents:
        return self

    async def __anext__(self) -> RunEvent:
        """The next event. A checkpoint; cancelling it loses nothing.

        Raises:
            StopAsyncIteration: The run has ended and everything was read.
            TriplaneError: The run failed and everything was read. The first cursor to get there raises it.
        """
        try:
            return await self._reader.__anext__()
        except StopAsyncIteration:
            pass
        # The log ends a moment before the driver does, which still makes it durable.
        await self._run._over.wait()  # noqa: SLF001  # one thing in two classes
        self._run._show_failure()  # noqa: SLF001
        raise StopAsyncIteration

    def close(self) -> None:
        """Stop following. Idempotent. Not a checkpoint."""
        self._reader.close()


@asynccontextmanager
async def driven(run: Run) -> AsyncIterator[Run]:
    """Drive a run in a nursery of its own for as long as the block lasts; leaving early cancels it.

    The body's own error comes out as it was raised. A failure of the run that nobody has seen comes out at the end.
    """
    async with open_background() as background:
        background.start_soon(run._drive, name=f"run {run.run_id}")  # noqa: SLF001  # made for this
        try:
            yield run
        finally:
            background.cancel_scope.cancel(reason="open_run was left")
    run._show_failure()  # noqa: SLF001
