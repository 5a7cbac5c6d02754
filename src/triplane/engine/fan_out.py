"""Many runs at once, a few at a time: results as they finish."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

import attrs
import trio

from triplane.core.errors import TriplaneError
from triplane.tools.background import open_background

from .run import Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from triplane.core.records import Item
    from triplane.core.run_state import RunState

    from .agent import Agent


@attrs.frozen
class FanOutResult:
    """How one run of a fan-out ended.

    Attributes:
        index: The place of its input.
        run: The run, for its state and its log.
        error: Why it failed, else None.
    """

    index: int
    run: Run
    error: TriplaneError | None = None

    @property
    def result(self) -> RunState:
        """The run's final state.

        Raises:
            TriplaneError: The run failed; this is why.
        """
        if self.error is not None:
            raise self.error.again()
        return self.run.result


@final
class FanOutResults:
    """The results of a fan-out, to be iterated once.

    Attributes:
        runs: The runs that have begun, by the place of their input: for watching them while they run.
    """

    def __init__(self, receive: trio.MemoryReceiveChannel[FanOutResult], *, ordered: bool) -> None:
        self.runs: dict[int, Run] = {}
        self._receive = receive
        self._ordered = ordered
        self._next = 0
        self._early: dict[int, FanOutResult] = {}

    def __aiter__(self) -> FanOutResults:
        return self

    async def __anext__(self) -> FanOutResult:
        """The next result. A checkpoint; cancelling it loses nothing.

        Raises:
            StopAsyncIteration: All have been given.
        """
        if not self._ordered:
            try:
                return await self._receive.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        await trio.lowlevel.checkpoint()
        while self._next not in self._early:
            try:
                result = await self._receive.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            self._early[result.index] = result
        self._next += 1
        return self._early.pop(self._next - 1)


@asynccontextmanager
async def fanned_out(
    jobs: Sequence[tuple[Agent, tuple[Item, ...]]],
    start: Callable[[Agent, tuple[Item, ...]], Run],
    *,
    max_runs: int,
    ordered: bool,
) -> AsyncIterator[FanOutResults]:
    """Run all jobs, at most `max_runs` at once, for as long as the block lasts.

    Args:
        jobs: An agent and an input for each run.
        start: Makes a run of them that has not begun.
        max_runs: How many run at once.
        ordered: Whether results come in the order of the jobs.
    """
    # Every result has its place from the start, so a consumer that sleeps delays no run.
    send, receive = trio.open_memory_channel[FanOutResult](len(jobs))
    results = FanOutResults(receive, ordered=ordered)
    waiting = iter(enumerate(jobs))

    async def work() -> None:
        for index, (agent, first_input) in waiting:
            run = results.runs[index] = start(agent, first_input)
            await run._drive()  # noqa: SLF001  # a failure is a value here
            send.send_nowait(FanOutResult(index, run, run._take_failure()))  # noqa: SLF001

    async def work_all() -> None:
        with send:
            async with trio.open_nursery() as workers:
                for number in range(min(max_runs, len(jobs))):
                    workers.start_soon(work, name=f"fan-out worker {number}")

    with receive:
        async with open_background() as background:
            background.start_soon(work_all, name="fan-out")
            try:
                yield results
            finally:
                background.cancel_scope.cancel(reason="fan_out was left")
